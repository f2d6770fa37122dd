"""What to say where users go wrong: what a file is, and what to write instead."""

from __future__ import annotations

import ast
import importlib.util
import traceback
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from minilandscape.display import listed, nearest

from .options import UsageError

#: What files of PyTorch modules end in.
CHECKPOINTS = (".pt", ".pth", ".ckpt", ".bin", ".safetensors")
#: What files of trees of JAX end in.
TREES = (".msgpack", ".eqx")
#: What files of structures end in, of those that are met most.
STRUCTURES = (".xyz", ".extxyz", ".traj", ".cif", ".poscar", ".contcar", ".vasp", ".pdb", ".gen", ".db")

MAKE_MODULE = """\
Write my_net.py, and add --landscape my_net:make

    def make():
        module = MyNet()                     # as when the checkpoints were trained
        inputs, targets = my_training_data()
        return module, torch.nn.functional.cross_entropy, inputs, targets

The documentation's page on PyTorch has an example."""

MAKE_TREE = """\
Write my_net.py, and add --landscape my_net:make

    from minilandscape.adapters.jax import JaxLandscape

    def make():
        inputs, targets = my_training_data()
        return JaxLandscape(loss, parameters, data=(inputs, targets))

Here loss(parameters, inputs, targets) is the mean loss, and parameters any tree like those of the checkpoints. The
documentation's page on JAX has an example."""

MAKE_ENERGY = """\
Is it a point of a function of your own? Write my_energy.py, and add --landscape my_energy:f

    def f(x):                                # x: (D,)
        return value, gradient               # a number, and (D,)"""


def file_is_missing(file: str) -> FileNotFoundError:
    """That a file does not exist, and one that is called much like it."""
    folder = Path(file).parent
    names = [each.name for each in folder.iterdir()] if folder.is_dir() else []
    found = get_close_matches(Path(file).name, names, n=1, cutoff=0.75)
    return FileNotFoundError(f"{file} does not exist" + (f" (did you mean {folder / found[0]}?)" if found else ""))


def not_vectors(file: str) -> ValueError | None:
    """What a file is that is given in place of vectors; None where nothing is known of it."""
    path = Path(file)
    if _is_of_jax(path):
        error = ValueError(
            f"{file} is a checkpoint of a tree of JAX: name what makes its loss, as --landscape my_net:make"
        )
        error.add_note(MAKE_TREE)
        return error
    if path.is_dir():
        inside = sorted(path.glob("*.npy"))
        example = f", such as {inside[0]}" if inside else ""
        return ValueError(f"{file} is a folder; expected a .npy file of weights{example}")
    if path.suffix.lower() in CHECKPOINTS:
        error = ValueError(
            f"{file} is a checkpoint of a module of your own: name what makes the module, with its loss and data, as "
            "--landscape my_net:make"
        )
        error.add_note(MAKE_MODULE)
        return error
    if (error_of_path := path_for_weights(file)) is not None:
        return error_of_path
    if names := _arrays(path):
        error = ValueError(
            f"{file} holds arrays ({listed(names)}); expected a .npy file of weights, or, for a tree of JAX, a "
            "--landscape that makes a JaxLandscape"
        )
        error.add_note(MAKE_TREE)
        return error
    if path.suffix.lower() in STRUCTURES:
        return ValueError(
            f"{file} is a structure; expected a .npy file of weights: connect takes two structures with --calculator"
        )
    return None


def path_for_weights(file: str) -> ValueError | None:
    """That a file holds a path, in place of weights; None where it does not."""
    if Path(file).suffix.lower() != ".npz" or not _is_path(Path(file)):
        return None
    return ValueError(
        f"{file} holds a path; expected weights (.npy): connect resumes a path with --from {file}, surface draws one "
        f"with --path {file}"
    )


def is_checkpoint(file: str) -> bool:
    """Whether a file is a checkpoint, by its name, or a folder that Orbax has written."""
    return Path(file).suffix.lower() in CHECKPOINTS or _is_of_jax(Path(file))


def _is_of_jax(path: Path) -> bool:
    """Whether a file is of a tree of JAX by its name, or Orbax has written it: a tree, a step, or several steps."""
    of_orbax = (next(path.glob(depth + "_METADATA"), None) is not None for depth in ("", "*/", "*/*/"))
    return path.suffix.lower() in TREES or any(of_orbax)


def _is_path(file: Path) -> bool:
    from minilandscape.paths import load_path

    try:
        load_path(file)
    except (ValueError, OSError, KeyError):
        return False
    return True


def _arrays(file: Path) -> list[str]:
    """The names of the arrays of a .npz file; none of another."""
    if file.suffix.lower() != ".npz":
        return []
    try:
        with np.load(file) as arrays:
            return list(arrays.files)
    except (ValueError, OSError, BadZipFile):
        return []


def no_checkpoint_landscape(file: str, landscape: str) -> ValueError:
    """That a landscape reads no checkpoints."""
    _, _, name = landscape.partition(":")
    of_jax = _is_of_jax(Path(file))
    what, returned = ("tree of JAX", "a JaxLandscape") if of_jax else ("PyTorch module", "(module, loss, data)")
    error = ValueError(
        f"{file} is a checkpoint, but --landscape {landscape} makes no landscape of a {what}; {name} should return "
        f"{returned}"
    )
    error.add_note(MAKE_TREE if of_jax else MAKE_MODULE)
    return error


def no_name_of_landscape(spec: str) -> UsageError:
    """That --landscape is not MODULE:NAME; what its module defines, where it is here."""
    head, _, name = spec.partition(":")
    module = head.removesuffix(".py")
    functions = _functions(module)
    if name or not functions:
        return UsageError(f"--landscape is {spec!r}; expected MODULE:NAME, such as my_energy:make")
    listed = " or ".join(f"{module}:{each}" for each in functions[:4])
    return UsageError(f"--landscape is {spec!r}; expected MODULE:NAME, here {listed}")


def about_landscape(spec: str, error: ValueError) -> str:
    """What more there is to say of a landscape that cannot be made: where it was looked for, or failed."""
    module, _, name = spec.partition(":")
    if isinstance(error.__cause__, Exception):
        return _where(error.__cause__)
    functions = _functions(module)
    if functions and name not in functions:
        return nearest(name, functions) or f"; {module}.py defines {', '.join(functions[:4])}"
    if not functions and not _found(module):
        here = [each.stem for each in Path().glob("*.py")]
        return f"; the current folder is {Path().resolve()}{nearest(module, here)}"
    return ""


def _found(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _where(error: BaseException) -> str:
    """The line of the user's code at which an exception was raised."""
    frames = traceback.extract_tb(error.__traceback__)
    library = str(Path(__file__).parent.parent)
    own = [frame for frame in frames if "importlib" not in frame.filename and not frame.filename.startswith(library)]
    if not own:
        return "; --debug shows the traceback"
    return f" ({Path(own[-1].filename).name}, line {own[-1].lineno}); --debug shows the traceback"


def _functions(module: str) -> list[str]:
    """The public functions and classes of a module in the current folder, which is not imported for it."""
    file = Path(*module.split(".")).with_suffix(".py")
    try:
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return []
    kinds: Any = (ast.FunctionDef, ast.ClassDef)
    return [each.name for each in tree.body if isinstance(each, kinds) and not each.name.startswith("_")]
