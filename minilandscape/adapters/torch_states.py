"""States of a module: read from checkpoints as they are, compared with a landscape's module, copied."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from ..display import listed

#: What compiling and sharding put into the middle of a key, and what wrappers put before all of them.
INSIDE, BEFORE = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"), ("module.", "model.")
#: A checkpoint's state lies at most so many dictionaries deep.
DEEPEST = 3
#: Keeps the tensors of a file that holds more, where its author is trusted.
CONVERT = (
    "import torch; c = torch.load({0!r}, weights_only=False); f = lambda v: getattr(v, 'state_dict', lambda: v)(); "
    "c = f(c); torch.save({{k: f(v) for k, v in c.items() if hasattr(v, 'state_dict') or isinstance(v, (dict, "
    "torch.Tensor))}}, {1!r})"
)


def copied(module: torch.nn.Module) -> torch.nn.Module:
    """A copy. Weights that weight_norm, spectral_norm and prune compute before every call are copied as numbers."""
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, torch.Tensor) and not value.is_leaf
    }
    try:
        return _not_compiled(copy.deepcopy(module, computed))
    except Exception as error:
        raise ValueError(
            f"the module cannot be copied ({type(error).__name__}: {error}); expected one whose attributes are "
            "parameters, buffers and what copy.deepcopy takes"
        ) from error


def unwrapped(module: torch.nn.Module) -> torch.nn.Module:
    """The module inside DataParallel, DistributedDataParallel and torch.compile."""
    while True:
        parallel = isinstance(module, (torch.nn.DataParallel, torch.nn.parallel.DistributedDataParallel))
        inside = getattr(module, "module" if parallel else "_orig_mod", None)
        if not isinstance(inside, torch.nn.Module):
            return module
        module = inside


def _not_compiled(module: torch.nn.Module) -> torch.nn.Module:
    """The module with its compiled parts replaced by what they were compiled of."""
    for part in module.modules():
        for name, child in list(part.named_children()):
            if unwrapped(child) is not child:
                setattr(part, name, unwrapped(child))
    return module


def under_keys_of(module: torch.nn.Module, state: Mapping[str, Any]) -> dict[str, Any]:
    """A state under the keys of a module, whose parts may be compiled."""
    found = _canonical(state)
    return {key: found[next(iter(_canonical({key: 0})))] for key in module.state_dict()}


def not_persistent(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Buffers that the state_dict leaves out."""
    state = module.state_dict()
    return {name: buffer for name, buffer in module.named_buffers() if name not in state}


def equal(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether b in a's precision is a."""
    if a.shape != b.shape:
        return False
    b = b.to(a)
    return bool(((a == b) | ((a != a) & (b != b))).all())


def read_checkpoint(file: str | Path) -> Any:
    """What a file of torch.save or of safetensors holds; nothing but tensors and plain containers is unpickled.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file holds more than tensors, with the line that converts it, or is damaged.
    """
    path = Path(file)
    if not path.is_file():
        what = "is a folder; expected a file of torch.save or safetensors" if path.is_dir() else "does not exist"
        raise FileNotFoundError(f"{path} {what}")
    if path.suffix == ".safetensors":
        return _safetensors(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        text = " ".join(str(error).split())
        whole = path.with_name(f"{path.stem}.tensors.pt")
        if "TorchScript" in text:
            line = f"import torch; torch.save(torch.jit.load({str(path)!r}).state_dict(), {str(whole)!r})"
            raise ValueError(f'{path} is a TorchScript archive; keep its tensors: python -c "{line}"') from None
        if "global" in text.lower() or "Unsupported operand" in text:
            raise ValueError(
                f"{path} holds more than tensors ({_what_else(text)}), which only unpickling reads, and that can run "
                "any code. If you trust the file, keep its tensors alone: "
                f'python -c "{CONVERT.format(str(path), str(whole))}"'
            ) from None
        raise ValueError(
            f"{path} is no file of torch.save, or is damaged ({type(error).__name__}: {text[:120]})"
        ) from None


def _safetensors(path: Path) -> Any:
    try:
        from safetensors.torch import load_file
    except ImportError:
        raise ValueError(f"{path} requires the package safetensors: pip install safetensors") from None
    try:
        return load_file(path)
    except Exception as error:
        raise ValueError(f"{path} is no file of safetensors, or is damaged ({error})") from None


def _what_else(text: str) -> str:
    """The name that torch.load refused."""
    _, _, after = text.partition("GLOBAL ")
    return after.split()[0] if after else "Python objects"


def names_of(module: torch.nn.Module) -> dict[str, list[str]]:
    """Keys of a state_dict -> the other keys that hold the same tensor, as tied weights do."""
    groups: dict[int, list[str]] = {}
    for name, tensor in module.state_dict(keep_vars=True).items():
        groups.setdefault(id(tensor), []).append(name)
    return {name: [other for other in group if other != name] for group in groups.values() for name in group}


def matched(what: str, source: Any, module: torch.nn.Module) -> dict[str, Any]:
    """The state of a checkpoint under the keys of a module, checked as ``load_state_dict(strict=True)`` does.

    Parameters
    ----------
    what
        Its name, for messages.
    source
        A state_dict, a dictionary that holds one, or a module. Keys may have what DataParallel, torch.compile and
        Lightning put before or into them. Of tied weights one is enough.

    Raises
    ------
    ValueError
        If no state in it has the module's keys and shapes, or several have.
    TypeError
        If it is no dictionary and no module.
    """
    if isinstance(source, torch.nn.Module):
        source = unwrapped(source).state_dict()
    if not isinstance(source, Mapping):
        raise TypeError(
            f"{what} is {type(source).__name__}; expected a state_dict, a checkpoint that holds one, a file of either, "
            "or a module"
        )
    expected, tied = module.state_dict(), names_of(module)
    candidates = list(_states("", source, DEEPEST))
    fitting = [(place, renamed) for place, s in candidates if (renamed := _renamed(s, expected, tied)) is not None]
    if len(fitting) > 1:
        places = " and ".join(place or "the dictionary itself" for place, _ in fitting)
        raise ValueError(
            f"{what} holds {len(fitting)} states of this module, in {places}; give the one that is meant, as "
            f"checkpoint{fitting[-1][0]}"
        )
    found: Mapping[str, Any] = source
    if fitting:
        found = fitting[0][1]
    elif candidates:  # the nearest one, whose keys the message compares
        found = max((s for _, s in candidates), key=lambda s: len(_canonical(s).keys() & expected.keys()))
    refuse_other_keys(what, found, expected)
    return {key: found[key] for key in expected}


def _states(place: str, source: Mapping[Any, Any], deep: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Where states lie in a checkpoint, and the states: dictionaries that hold tensors by name, and modules."""
    if any(isinstance(v, torch.Tensor) for v in source.values()) and all(isinstance(k, str) for k in source):
        yield place, source
    for key, inner in source.items() if deep else ():
        if isinstance(inner, torch.nn.Module):
            yield f"{place}[{key!r}]", unwrapped(inner).state_dict()
        elif isinstance(inner, Mapping):
            yield from _states(f"{place}[{key!r}]", inner, deep - 1)


def _canonical(state: Mapping[str, Any]) -> dict[str, Any]:
    """Without what compiling and sharding put into the keys."""
    return {".".join(part for part in key.split(".") if part not in INSIDE): v for key, v in state.items()}


def _renamed(
    state: Mapping[str, Any], expected: Mapping[str, Any], tied: Mapping[str, list[str]]
) -> dict[str, Any] | None:
    """A state under the expected keys, without wrappers' prefixes; None where its keys are others."""
    found, own = _canonical(state), {key: next(iter(_canonical({key: 0}))) for key in expected}
    while True:
        for before in ("", *BEFORE):
            # The landscape's own module may be the one that is wrapped.
            complete = _completed({before + key: v for key, v in found.items()}, own, tied)
            if complete is not None:
                return complete
        prefix = next((p for p in BEFORE if found and all(key.startswith(p) for key in found)), None)
        if prefix is None:
            return None
        found = {key.removeprefix(prefix): v for key, v in found.items()}


def _completed(found: dict[str, Any], own: Mapping[str, str], tied: Mapping[str, list[str]]) -> dict[str, Any] | None:
    """Expected key -> what was found under its canonical name; None where one is missing or left over."""
    if not found.keys() <= set(own.values()):
        return None
    complete: dict[str, Any] = {}
    for key, name in own.items():
        if name in found:
            complete[key] = found[name]
        elif key.endswith("num_batches_tracked"):  # files of old versions have none; in evaluation it counts nothing
            complete[key] = torch.tensor(0)
        else:
            partner = next((own[other] for other in tied.get(key, ()) if own[other] in found), None)
            if partner is None:
                return None
            complete[key] = found[partner]
    return complete


def refuse_other_keys(what: str, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """ValueError where a state has other keys or shapes than expected, with those that were found."""
    missing, more = [key for key in expected if key not in found], [key for key in found if key not in expected]
    if missing or more:
        difference = [(name, keys) for name, keys in (("missing", missing), ("unexpected", more)) if keys]
        raise ValueError(
            f"{what} holds {listed(found)}; expected the keys of the landscape's module, {listed(expected)} ("
            + "; ".join(f"{name}: {listed(keys)}" for name, keys in difference)
            + ")"
            + _advice(found, expected)
        )
    for key, tensor in expected.items():
        if not isinstance(tensor, torch.Tensor):  # extra state
            continue
        other = found[key]
        if not isinstance(other, torch.Tensor):
            raise ValueError(f"{what} holds {type(other).__name__} for {key}; expected a tensor (torch.as_tensor)")
        if other.shape != tensor.shape:
            raise ValueError(f"{key} of {what} has shape {tuple(other.shape)}; expected {tuple(tensor.shape)}")
        if other.is_floating_point() != tensor.is_floating_point():
            raise ValueError(f"{key} of {what} is {other.dtype}; expected {tensor.dtype}")


def _advice(found: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """What to do about keys that are the expected ones with something before them."""
    for longer, shorter, give in (
        (
            found,
            expected,
            "give the module that is wrapped, or of a state_dict "
            "{{k.removeprefix({0!r}): v for k, v in state.items() if k.startswith({0!r})}}",
        ),
        (expected, found, "make the landscape of the module that is wrapped"),
    ):
        one = next(iter(shorter), "")
        for key in longer:
            prefix = str(key).removesuffix(one)
            if one and prefix not in (key, "") and all(prefix + k in longer for k in shorter):
                return f". One has the other's with {prefix!r} before, as wrappers put it: {give.format(prefix)}"
    return ""
