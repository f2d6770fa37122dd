"""Checkpoints of JAX: arrays by name, read from the files that its libraries write, and matched with a tree's names."""

from __future__ import annotations

import importlib
import itertools
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from ..display import listed
from .jax_tree import is_floating, is_key

#: Parts of the name of an array that belongs to the state of an optimiser.
OPTIMISERS = frozenset({"opt_state", "opt_states", "optimizer_state", "opt"})
#: Names of trees of moments in such a state, which have the names of the parameters.
MOMENTS = frozenset({"mu", "nu", "trace", "momentum"})
#: The tree of parameters in the variables of flax; files and landscapes may be of either.
PARAMETERS = "params."
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


def named(what: str, tree: Any) -> dict[str, Any]:
    """Name the leaves of a tree, in their order; ValueError where two have one name."""
    with_paths = jax.tree_util.tree_flatten_with_path(tree)[0]
    leaves = {joined(map(_key, path)): leaf for path, leaf in with_paths}
    if len(leaves) < len(with_paths):
        raise ValueError(f"{what} holds two arrays of one name: a key of it has '/' or '.' as those between keys")
    return leaves


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
    if path.suffix.lower() == ".npy":
        raise ValueError(f"{path} is no checkpoint; expected one, or numpy.load of a vector")
    reader = _orbax if path.is_dir() else READERS.get(path.suffix.lower())
    if reader is None:
        pickled = ", since a pickle can run any code" if path.suffix.lower() in (".pkl", ".pickle") else ""
        kinds = ", ".join([*filter(None, READERS), OF_EQUINOX])
        raise ValueError(
            f"{path} is not read here{pickled}; expected {kinds} or a folder of Orbax. Or "
            + CONVERT.format(f"{path.stem}.npy")
        )
    tree = reader(path)
    leaves = named(str(path), tree)
    return {name: np.asarray(leaf) for name, leaf in leaves.items() if hasattr(leaf, "shape") and not is_key(leaf)}


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
    if path.suffix.lower() == OF_EQUINOX and path.is_file():
        return _equinox(path, tree)
    return matched(str(file), read_arrays(file), tree)


def _equinox(path: Path, tree: Any) -> Any:
    """Read a file that has no names, only the leaves in their order, each of the shape of the tree's.

    A line of hyperparameters may stand before them, as equinox's documentation writes one.
    """
    equinox = _imported("equinox", path)

    def leaf_of(file: Any, like: Any) -> Any:
        """A floating array, in the tree's precision; anything else as equinox reads it."""
        if not is_floating(like):
            return equinox.default_deserialise_filter_spec(file, like)
        return jax.numpy.load(file).astype(like.dtype)

    with path.open("rb") as file:
        if file.read(1) == b"{":
            file.readline()
        else:
            file.seek(0)
        read = _restored(
            path, lambda: equinox.tree_deserialise_leaves(file, tree, filter_spec=leaf_of), "equinox of such a tree"
        )
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
    """The tree of a folder, or those of all items in it, as a checkpoint manager writes a step."""
    folders = [path] if (path / OF_ORBAX).exists() else sorted(each.parent for each in path.glob(f"*/{OF_ORBAX}"))
    if not folders:
        steps = sorted({each.parent.parent for each in path.glob(f"*/*/{OF_ORBAX}")}, key=_step)
        what = f"holds the steps {listed(each.name for each in steps)}: give one, {steps[-1]}" if steps else ""
        raise ValueError(f"{path} {what or 'is a folder; expected a checkpoint of Orbax or a file'}")
    ocp = _imported("orbax.checkpoint", path)
    log = logging.getLogger("absl")  # Orbax warns of files that single items do not have

    def read(folder: Path) -> Any:
        # Arrays as NumPy's: those of other devices are read on a machine without them.
        checkpointer = ocp.PyTreeCheckpointer()
        saved = checkpointer.metadata(folder.resolve()).item_metadata
        kinds = jax.tree.map(lambda leaf: ocp.RestoreArgs(np.ndarray if hasattr(leaf, "shape") else None), saved)
        return checkpointer.restore(folder.resolve(), restore_args=kinds)

    level = log.level
    log.setLevel(logging.ERROR)
    try:
        items = {folder.name: _restored(path, lambda folder=folder: read(folder), "Orbax") for folder in folders}
    finally:
        log.setLevel(level)
    return items if folders != [path] or path.name in OPTIMISERS else items[path.name]


def _step(folder: Path) -> tuple[int, str]:
    """Make a key by which numbers are sorted by size."""
    return len(folder.name), folder.name


def _restored(path: Path, read: Any, writer: str) -> Any:
    """What a reader returns; ValueError where the file is not what it expects."""
    try:
        return read()
    except Exception as error:  # each of these libraries raises what it likes
        text = " ".join(str(error).split())[:300]
        raise ValueError(f"{path} is no file of {writer}, or is damaged ({type(error).__name__}: {text})") from None


#: By suffix. Files of flax that are called ``checkpoint_100`` have none.
READERS = {".msgpack": _msgpack, "": _msgpack, ".safetensors": _safetensors, ".npz": _npz}


def matched(what: str, arrays: Mapping[str, np.ndarray], tree: Any) -> Any:
    """Find the leaves of a tree among the arrays of a checkpoint.

    Parameters
    ----------
    what
        The checkpoint's name, for messages.
    arrays
        By name. The tree may lie deeper than at the top. The state of an optimiser is left out.
    tree
        With the names and shapes that are expected. Leaves that are no floating arrays stay as they are where the
        checkpoint has none.

    Raises
    ------
    ValueError
        If the names or shapes of floating arrays differ, several parts of the checkpoint have them, or it holds other
        arrays, on which the loss may depend.
    """
    leaves = named("the landscape's tree", tree)
    found = {name: a for name, a in arrays.items() if OPTIMISERS.isdisjoint(name.split("."))}
    ways = list(_ways(found, leaves))
    if not ways:
        own = listed(name or "one array" for name, leaf in leaves.items() if is_floating(leaf))
        holds = listed(found) or "the state of an optimiser alone"
        raise ValueError(f"{what} holds {holds}; expected the arrays of the landscape's tree, {own}")
    if len(ways) > 1:
        where = " and ".join(place or "the top" for place, _, _ in ways)
        raise ValueError(f"{what} holds {len(ways)} trees of these names, in {where}: {CONVERT.format('a.npy')}")
    ((_, found, names),) = ways
    for name, leaf in zip(names, leaves.values(), strict=True):
        if is_floating(leaf) and not (is_floating(found[name]) and found[name].shape == leaf.shape):
            was = found[name]
            raise ValueError(f"{name} of {what} is {was.dtype} {was.shape}; expected floating numbers {leaf.shape}")
    _refuse_left_over(what, found, names)
    filled = [found.get(name, leaf) for name, leaf in zip(names, leaves.values(), strict=True)]
    return jax.tree_util.tree_unflatten(jax.tree_util.tree_structure(tree), filled)


def _refuse_left_over(what: str, found: Mapping[str, Any], names: list[str]) -> None:
    """ValueError where a checkpoint holds arrays besides those of a tree, on which its loss may depend."""
    parents = zip(*(name.split(".")[:-1] for name in names), strict=False)  # as far as the shallowest one
    root = [keys[0] for keys in itertools.takewhile(lambda keys: len(set(keys)) == 1, parents)]
    others = [name for name, a in found.items() if name not in names and _may_matter(name, a, root)]
    if others:
        raise ValueError(
            f"{what} also holds {listed(others)}, which the landscape's tree has not: the checkpoint's loss may depend "
            "on them. Make the landscape of a tree with them; or, where its loss does without, "
            + CONVERT.format("a.npy")
        )


def _ways(arrays: dict[str, Any], leaves: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
    """Yield where a tree may lie in a checkpoint: what stands before its names, the arrays, and their names in order.

    Names are compared as they are, then without what nnx puts after each, then without ``params`` before all of a
    landscape's where the checkpoint is of these alone; the first comparison that fits anywhere is taken.
    """
    own = list(leaves)
    plain = {name.removesuffix(LAST): a for name, a in arrays.items()}
    comparisons = [(arrays, own, False), (plain, [name.removesuffix(LAST) for name in own], False)]
    if all(name.startswith(PARAMETERS) for name in own):
        comparisons.append((arrays, [name.removeprefix(PARAMETERS) for name in own], True))
    floating = [k for k, leaf in enumerate(leaves.values()) if is_floating(leaf)]
    for found, names, at_the_top in comparisons:
        places = [""] if at_the_top else _places(found, names[floating[0]])
        placed = [(place, [joined((place, name)) for name in names]) for place in places]
        fitting = [(place, full) for place, full in placed if all(full[k] in found for k in floating)]
        if fitting:
            yield from ((place, found, full) for place, full in fitting)
            return


def _places(arrays: Mapping[str, Any], first: str) -> list[str]:
    """What stands before a name, wherever an array has it, except in the moments of an optimiser."""
    if not first:  # the tree is one array
        return [name for name, a in arrays.items() if is_floating(a) and a.ndim]
    places = [joined((name.removesuffix(first),)) for name in arrays if f".{name}".endswith(f".{first}")]
    return [place for place in places if MOMENTS.isdisjoint(place.split("."))]


def _may_matter(name: str, array: Any, root: list[str]) -> bool:
    """Whether a loss may depend on an array that is left over: no counter, no metric beside the tree, no random key.

    ``root`` are the keys that all arrays of the tree have. Raw keys of random numbers are of the type uint32.
    """
    beside = name.split(".")[: len(root)] != root
    return array.dtype != np.uint32 and (array.ndim > 0 or (is_floating(array) and not beside))
