"""Structures that are named on the command line: FILE, FILE@INDEX or FILE@SLICE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from minilandscape.display import nearest

from .hints import file_is_missing
from .output import note


def read_structure(name: str) -> Any:
    """The one structure of FILE (its last) or FILE@INDEX."""
    from ase import Atoms

    found = _read(name, -1)
    if not isinstance(found, Atoms):
        raise ValueError(f"{name} names {len(found)} structures; expected one, as {file_and_index(name)[0]}@0")
    return found


def read_images(name: str, kinds: Sequence[str]) -> list[Any]:
    """The structures of FILE, all of them, or FILE@SLICE; a word that is no file may have been meant for a kind."""
    if not Path(name).suffix and "@" not in name and not Path(name).exists():
        raise ValueError(
            f"--images is {name!r}{nearest(name, kinds)}; expected a file that ASE reads, or {', '.join(kinds)}"
        )
    found = _read(name, ":")
    return list(found) if isinstance(found, list) else [found]


def _read(name: str, default: Any) -> Any:
    """What a file says, read by ASE; ValueError in one line where it cannot."""
    from ase.io.formats import UnknownFileTypeError

    from minilandscape.adapters.ase import UnclearStructure, read_structures

    file, index = file_and_index(name)
    _check_file(file)
    try:
        found, remarks = read_structures(file, default if index is None else index)
    except UnclearStructure:
        raise
    except UnknownFileTypeError:
        raise ValueError(
            f"ASE does not know the format of {file}; expected a name that says it, such as .xyz, .traj, .cif or POSCAR"
        ) from None
    except Exception as error:  # the readers of a hundred formats raise anything
        if index is not None and (n := number_of_structures(file)):
            raise ValueError(
                f"{file} holds {n} structure{'s' * (n > 1)}, counted from 0; there is no @{index}"
            ) from None
        if isinstance(error, KeyError) and Path(file).suffix == ".xyz":
            raise ValueError(f"{file} names an atom {error}; expected symbols of elements, as C or Cl") from None
        why = " ".join(str(error).split())
        raise ValueError(f"{file} cannot be read by ASE: {type(error).__name__}{': ' * bool(why)}{why}") from error
    for remark in remarks:
        note(remark)
    return found


def _check_file(file: str) -> None:
    """That there is such a file, which holds something; an @ that is followed by no index is named."""
    path, (head, _, tail) = Path(file), file.rpartition("@")
    if head and not path.exists() and Path(head).is_file():
        raise ValueError(f"{file}: {tail!r} is no index; expected a number, as {head}@0, or a slice, as {head}@-7:")
    if path.is_dir():
        raise ValueError(f"{file} is a folder; expected a file that ASE reads")
    if not path.exists():
        raise file_is_missing(file)
    if not path.stat().st_size:
        raise ValueError(f"{file} is empty; expected a file that ASE reads")


def number_of_structures(file: str) -> int:
    """How many a file holds; 0 where it cannot be read."""
    from minilandscape.adapters.ase_files import read_structures

    try:
        return len(read_structures(file, ":")[0])
    except Exception:
        return 0


def file_and_index(name: str) -> tuple[str, str | None]:
    """FILE and INDEX of FILE@INDEX; a file whose own name looks like that comes first."""
    file, at, index = name.rpartition("@")
    if not at or Path(name).exists() or not index or set(index) - set("-:0123456789"):
        return name, None
    return file, index
