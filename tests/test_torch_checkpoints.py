"""Files of checkpoints: tensors alone are read, and a file that holds more is refused with what converts it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from minilandscape.adapters.torch import TorchLandscape  # noqa: E402


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def landscape(module: nn.Module, **options: Any) -> TorchLandscape:
    return TorchLandscape(module, nn.functional.mse_loss, torch.ones(5, 3), torch.zeros(5, 2), **options)


class Executes:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return open, (str(self.file), "w")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    file, trace = tmp_path / "a.pt", tmp_path / "trace"
    torch.save({"state_dict": net(1).state_dict(), "logger": Executes(trace)}, file)
    with pytest.raises(ValueError, match=r"a\.pt holds more than tensors \(.*open.*python -c "):
        landscape(net()).vector(file)
    assert not trace.exists()


@pytest.mark.parametrize("kind", ["module", "dictionary", "script"])
@pytest.mark.filterwarnings("ignore:.*torch.jit.*:")
def test_the_line_that_converts_does(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "net.pt"
    if kind == "script":
        torch.jit.save(torch.jit.script(net(1)), file)
    elif kind == "module":
        torch.save(net(1), file)
    else:
        torch.save({"model": net(1), "args": Path("x"), "epoch": 3}, file)
    land = landscape(net())
    with pytest.raises(ValueError, match="python -c ") as refused:
        land.vector(file)
    line = str(refused.value).split("python -c ")[1]
    exec(shlex.split(line)[0], {})
    assert np.array_equal(land.vector(tmp_path / "net.tensors.pt"), land.vector(net(1)))


def test_safetensors(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    safetensors.save_file(net(1).state_dict(), tmp_path / "a.safetensors")
    land = landscape(net())
    assert np.array_equal(land.vector(tmp_path / "a.safetensors"), land.vector(net(1)))
    (tmp_path / "b.safetensors").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"b\.safetensors is no file of safetensors"):
        land.vector(tmp_path / "b.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 and no more", b"\x80\x02}q\x00."])
def test_other_files_are_refused_by_name(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.pt (is no file of torch\.save|holds)"):
        landscape(net()).vector(tmp_path / "a.pt")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        landscape(net()).vector(tmp_path)
    torch.save(torch.ones(3), tmp_path / "t.pt")
    with pytest.raises(TypeError, match=r"t\.pt is Tensor; expected a state_dict"):
        landscape(net()).vector(tmp_path / "t.pt")
    torch.save({"optimizer": {"lr": 0.1}}, tmp_path / "o.pt")
    with pytest.raises(ValueError, match=r"o\.pt holds optimizer; expected the keys .* 0\.weight"):
        landscape(net()).vector(tmp_path / "o.pt")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_modules_of_16_bits_are_evaluated_in_single_precision(dtype: Any) -> None:
    half = net(1).to(dtype)
    land = TorchLandscape(half, nn.functional.mse_loss, torch.ones(5, 3, dtype=dtype), torch.zeros(5, 2, dtype=dtype))
    assert land.dtype == np.float32
    x = land.vector(half.state_dict())
    with torch.no_grad():
        expected = float(nn.functional.mse_loss(half.float()(torch.ones(5, 3)), torch.zeros(5, 2)))
    assert land.values(x[None])[0] == pytest.approx(expected, rel=1e-6)
    again = land.load(x, net(2).to(dtype))
    assert again[0].weight.dtype == dtype
    assert np.array_equal(land.vector(again), x)


def test_patterns_choose_the_coordinates() -> None:
    land = landscape(net(), parameters="2.*")
    assert [block.name for block in land.blocks] == ["2.weight", "2.bias"]
    assert land.frozen == ("0.weight", "0.bias")
    assert "2 parameter tensors stay as they are" in repr(land)
    assert land.size == 10
    moved = land.load(land.vector() + 1)
    assert torch.equal(moved[0].weight, net()[0].weight)
    assert torch.equal(moved[2].bias, net()[2].bias + 1)
    every = landscape(net())
    assert land.values(land.vector(moved)[None])[0] == pytest.approx(every.values(every.vector(moved)[None])[0])
    both = landscape(net(), parameters=["2.weight", "0.bias"])
    assert [block.name for block in both.blocks] == ["0.bias", "2.weight"]  # the module's order
    with pytest.raises(ValueError, match=r"names 'head\.\*', which is none .* there are 0\.weight"):
        landscape(net(), parameters=["2.*", "head.*"])
    with pytest.raises(ValueError, match=r"other parameters that are no coordinates .* 0\.weight"):
        land.vector(net(1))
