"""Checkpoints of JAX: arrays by name, read from the files that its libraries write, and matched with a tree's names."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..display import listed
from .jax_tree import is_floating, is_key

#: Parts of the name of an array that belongs to the state of an optimiser, whose moments are trees of the same names.
OPTIMISERS = frozenset({"opt_state", "opt_states", "optimizer", "optimizer_state"})
#: What nnx puts after the name of each array.
LAST = ".value"
#: What a folder holds that Orbax has written as one tree.
OF_ORBAX = "_METADATA"
#: What files end in that equinox has written.
OF_EQUINOX = ".eqx"
#: How to go on where a file cannot be read.
CONVERT = "write its parameters as a vector, numpy.save({0!r}, landscape.vector(parameters)), and give that file"


def joined(parts: Iterable[Any]) -> str:
    """Join the keys that lead to an array to a name: ``params.Dense_0.kernel``.

    Flat files keep them in one text, with ``/`` or ``.`` between or as ``['params']['Dense_0']``; the name is the same.
    """
    return re.sub(r"[/.\[\]'\"]+", ".", ".".join(str(part) for part in parts)).strip(".")


def names_of(tree: Any) -> list[str]:
    """The names of a tree's leaves, in their order."""
    return [joined(map(_key, path)) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def _key(entry: Any) -> Any:
    """The key, index or attribute of one step into a tree."""
    return next((getattr(entry, name) for name in ("key", "idx", "name") if hasattr(entry, name)), entry)


def read_arrays(file: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of a checkpoint by name; none but plain arrays are read, and nothing is unpickled.

    Parameters
    ----------
    file
        ``.msgpack`` of flax, a folder of Orbax, ``.safetensors``, or ``.npz`` with an array for each name.

    Returns
    -------
    dict
        Name -> array, keys of random numbers left out.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is of another kind or damaged, or the package that reads it is missing.
    """
    path = Path(file)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    reader = _orbax if path.is_dir() else READERS.get(path.suffix.lower())
    if reader is None:
        pickled = ", since a pickle can run any code" if path.suffix.lower() in (".pkl", ".pickle") else ""
        raise ValueError(
            f"{path} is not read here{pickled}; expected {', '.join([*READERS, OF_EQUINOX])} or a folder of Orbax. Or "
            + CONVERT.format(f"{path.stem}.npy")
        )
    tree = reader(path)
    leaves = jax.tree_util.tree_leaves(tree)
    arrays = {n: leaf for n, leaf in zip(names_of(tree), leaves, strict=True) if not is_key(leaf)}
    return {name: np.asarray(leaf) for name, leaf in arrays.items() if hasattr(leaf, "shape") or np.isscalar(leaf)}


def read_tree(file: str | Path, tree: Any) -> Any:
    """Read a checkpoint as a tree like another one, whose names and shapes it has to have.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        As for :func:`read_arrays` and :func:`matched`.
    """
    path = Path(file)
    if path.suffix.lower() == OF_EQUINOX and path.exists():
        return _equinox(path, tree)
    return matched(str(file), read_arrays(file), tree)


def _equinox(path: Path, tree: Any) -> Any:
    """Read a file that has no names, only the leaves in their order, each of the shape and type of the tree's."""
    equinox = _imported("equinox", path)
    with path.open("rb") as file:
        read = _restored(path, lambda: equinox.tree_deserialise_leaves(file, tree), "equinox of such a tree")
        if file.read(1):  # equinox stops after the tree's last leaf
            raise ValueError(f"{path} holds more than the landscape's tree: its first leaves alone have these shapes")
    return read


def _imported(package: str, path: Path) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError:
        name = "orbax-checkpoint" if package.startswith("orbax") else package.partition(".")[0]
        raise ValueError(f"{path} requires the package {name}: pip install {name}") from None


def _msgpack(path: Path) -> Any:
    flax = _imported("flax.serialization", path)
    return _restored(path, lambda: flax.msgpack_restore(path.read_bytes()), "flax.serialization.to_bytes")


def _safetensors(path: Path) -> Any:
    safetensors = _imported("safetensors.numpy", path)
    return _restored(path, lambda: safetensors.load_file(path), "safetensors")


def _npz(path: Path) -> Any:
    def read() -> dict[str, np.ndarray]:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)

    return _restored(path, read, "numpy.savez")


def _orbax(path: Path) -> Any:
    """The tree of a folder, or of the only one in it, as a checkpoint manager writes a step."""
    folders = [path] if (path / OF_ORBAX).exists() else sorted(each.parent for each in path.glob(f"*/{OF_ORBAX}"))
    if not folders:
        steps = sorted((each.parent.parent for each in path.glob(f"*/*/{OF_ORBAX}")), key=_step)
        what = f"holds the steps {listed(each.name for each in steps)}: give one, {steps[-1]}" if steps else ""
        raise ValueError(f"{path} {what or 'is a folder; expected a checkpoint of Orbax or a file'}")
    if len(folders) > 1:
        raise ValueError(f"{path} holds {listed(each.name for each in folders)}: give one, {folders[0]}")
    ocp = _imported("orbax.checkpoint", path)

    def read() -> Any:
        # As NumPy arrays: those of other devices are read on a machine without them.
        checkpointer, folder = ocp.PyTreeCheckpointer(), folders[0].resolve()
        saved = checkpointer.metadata(folder).item_metadata
        as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), saved)
        return checkpointer.restore(folder, restore_args=as_numpy)

    return _restored(path, read, "Orbax")


def _step(folder: Path) -> tuple[int, str]:
    """Make a key by which numbers are sorted by size."""
    return len(folder.name), folder.name


def _restored(path: Path, read: Any, writer: str) -> Any:
    """What a reader returns; ValueError where the file is not what it expects."""
    try:
        return read()
    except Exception as error:  # each of these libraries raises what it likes
        text = " ".join(str(error).split())[:120]
        raise ValueError(f"{path} is no file of {writer}, or is damaged ({type(error).__name__}: {text})") from None


READERS = {".msgpack": _msgpack, ".safetensors": _safetensors, ".npz": _npz}


def matched(what: str, arrays: Mapping[str, np.ndarray], tree: Any) -> Any:
    """Find the leaves of a tree among the arrays of a checkpoint.

    Parameters
    ----------
    what
        The checkpoint's name, for messages.
    arrays
        By name. The tree may lie deeper than at the top, and may itself be one part of a tree, such as ``params``. The
        state of an optimiser is left out.
    tree
        With the names and shapes that are expected. Leaves that are no floating arrays stay as they are where the
        checkpoint has none.

    Raises
    ------
    ValueError
        If the names or shapes of floating arrays differ, several parts of the checkpoint have them, or it holds other
        floating arrays, on which the loss may depend.
    """
    leaves, structure = jax.tree_util.tree_flatten(tree)
    names = _plain(dict(zip(names_of(tree), leaves, strict=True)))
    inside = dict(zip(_without_shared_keys(list(names)), leaves, strict=True))
    expected = [name for name, leaf in inside.items() if is_floating(leaf)]
    found = _plain({name: a for name, a in arrays.items() if OPTIMISERS.isdisjoint(name.split("."))})
    places = [place for place in _places(found, expected[0]) if all(joined((place, n)) in found for n in expected)]
    if not places:
        own = listed(name for name, leaf in names.items() if is_floating(leaf))
        raise ValueError(f"{what} holds {listed(found)}; expected the arrays of the landscape's tree, {own}")
    if len(places) > 1:
        where = " and ".join(place or "the top" for place in places)
        raise ValueError(f"{what} holds {len(places)} trees of these names, in {where}: {CONVERT.format('a.npy')}")
    taken = {joined((places[0], name)): leaf for name, leaf in inside.items()}
    for name, leaf in taken.items():
        if is_floating(leaf) and found[name].shape != leaf.shape:
            raise ValueError(f"{name} of {what} has shape {found[name].shape}; expected {leaf.shape}")
    others = [name for name, a in found.items() if name not in taken and is_floating(a) and a.ndim]
    if others:
        raise ValueError(
            f"{what} also holds {listed(others)}, which the landscape's tree has not: the checkpoint's loss may depend "
            "on them. Make the landscape of a tree with them; or, where its loss does without, "
            + CONVERT.format("a.npy")
        )
    return jax.tree_util.tree_unflatten(structure, [found.get(name, leaf) for name, leaf in taken.items()])


def _plain(arrays: dict[str, Any]) -> dict[str, Any]:
    """Take away what nnx puts after each name, where all arrays have it."""
    all_have = all(name.endswith(LAST) for name, a in arrays.items() if is_floating(a) and len(a.shape) > 0)
    return {name.removesuffix(LAST): a for name, a in arrays.items()} if all_have else arrays


def _without_shared_keys(names: list[str]) -> list[str]:
    """The names without the keys that all of them begin with."""
    parts = [name.split(".") for name in names]
    shared = 0
    while all(len(each) > shared + 1 for each in parts) and len({each[shared] for each in parts}) == 1:
        shared += 1
    return [".".join(each[shared:]) for each in parts]


def _places(arrays: Mapping[str, Any], first: str) -> list[str]:
    """What stands before a name, wherever an array has it."""
    return [joined((name.removesuffix(first),)) for name in arrays if f".{name}".endswith(f".{first}")]
