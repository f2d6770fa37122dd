"""What the tests share: small data, the strict stand-in for CuPy, and the command-line switch for long tests."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from minilandscape import backend
from minilandscape.cuda import kernels, products
from minilandscape.data import Images, Mnist

#: Modules whose tests take long and say nothing of NumPy's version: processes, signals, pages, devices, words.
ONCE = ("benchmarks", "campaign", "cuda", "devices", "docs", "examples", "options_without_effect", "packaging")
ONCE += ("path_checkpoint", "readme", "reproduce", "strict_cupy", "words", "workers", "barriers", "cli", "layers")
ONCE += ("methods", "path_options", "ase_barrier", "ase_start", "ase_irc", "ase_vibrations", "cli_screens", "shown")
ONCE += ("saddle", "path_invariants", "training", "trajectory", "ase_landscape", "symmetry", "torch_data", "noise")
ONCE += ("ase_constraints", "find_saddle", "path_endings", "cli_torch", "docstrings", "data", "path_batches")
ONCE += ("ase_files",)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--long", action="store_true", help="also run the tests that take minutes")
    parser.addoption(
        "--arithmetic", action="store_true", help="leave out the modules whose tests say nothing of NumPy's version"
    )


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process for each core; none beside pytest's own where a single file is asked for."""
    asked = {argument.partition("::")[0] for argument in config.args}
    if len(asked) == 1 and Path(*asked).is_file():
        return 0
    return backend.thread_count()


def pytest_configure_node(node: Any) -> None:
    """One thread for each of several processes: more only get in each other's way."""
    node.workerinput["threads"] = "1"


def pytest_configure(config: pytest.Config) -> None:
    if threads := getattr(config, "workerinput", {}).get("threads"):
        for name in ("MINILANDSCAPE_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):  # of processes of their own
            os.environ.setdefault(name, threads)
        threadpool_limits(int(threads))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    reason = gpu_is_missing()
    if config.getoption("--arithmetic"):
        once = {f"test_{name}.py" for name in ONCE}
        once |= {item.path.name for item in items if item.path.suffix == ".md"}
        kept = [item for item in items if item.path.name not in once or "topsearch" in item.name]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
    for item in items:
        if "long" in item.keywords and not config.getoption("--long"):
            item.add_marker(pytest.mark.skip(reason="long: run with --long"))
        if "gpu" in item.keywords and reason:
            item.add_marker(pytest.mark.skip(reason=reason))


def gpu_is_missing() -> str:
    """Why there is no GPU, or nothing."""
    try:
        backend.device_module("gpu")
    except backend.DeviceError as error:
        return str(error)
    return ""


def load_by_path(name: str) -> ModuleType:
    """A helper module that lies beside the tests."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def digits(n: int, seed: int) -> Images:
    """Blurred blobs with the statistics that matter: most pixels 0, blank borders, a class that can be learned."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    y, x = np.mgrid[:28, :28]
    angle = 2 * np.pi * labels / 10
    centre = 14 + 6 * np.stack([np.sin(angle), np.cos(angle)]) + rng.normal(0, 1.2, (2, n))
    distance = (y[None] - centre[0][:, None, None]) ** 2 + (x[None] - centre[1][:, None, None]) ** 2
    images = np.exp(-distance / 12) * rng.uniform(0.7, 1, (n, 1, 1))
    images[images < 0.1] = 0
    return Images(images.reshape(n, 784).astype(np.float32), labels.astype(np.int64))


@pytest.fixture(autouse=True)
def _torch_on_one_thread() -> Iterator[None]:
    """Small tensors gain nothing by PyTorch's threads, which wait for each other on a machine that is busy."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        yield
        return
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def small_mnist() -> Mnist:
    """300 training and 100 test images that are made, not read."""
    return Mnist(digits(300, 1), digits(100, 2), source="blobs made for the tests", key="blobs")


@pytest.fixture
def strict_cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The strict stand-in in CuPy's place, so that device "gpu" runs anywhere."""
    module = load_by_path("strict_cupy").make_module()
    monkeypatch.setitem(sys.modules, "cupy", module)
    monkeypatch.setattr("minilandscape.cuda.products.thread_cublas", lambda: module.fake_cublas)
    cached = kernels._kernel, products._offsets, backend._constant
    for made_before in cached:
        made_before.cache_clear()
    yield module
    for made_here in cached:  # a real GPU has no use for it
        made_here.cache_clear()


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test reads or writes the user's data or cache."""
    monkeypatch.setenv("MINILANDSCAPE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("MINILANDSCAPE_DATA", raising=False)
