"""What atoms carry beside their places: charges, magnetic moments, tags, masses; charge and spin of the whole."""

from __future__ import annotations

from collections import Counter

import numpy as np
from ase import Atoms

from ..display import count

#: By how much two numbers may differ and be one, as rounding in files does.
SAME = 1e-6
#: No two atoms bond that are nearer than this, Å.
NEAR = 0.5
#: What two structures may say of the whole in ``atoms.info``, and what it is where nothing is said.
OF_THE_WHOLE = (("charge", 0), ("spin", None), ("multiplicity", None))


def carried(atoms: Atoms, others: Atoms) -> dict[str, np.ndarray]:
    """Return what each atom carries, by name: (n,), or (n, 3) for moments along three axes.

    Tags and masses only where the others have any, since files that hold none say nothing of them.
    """
    states = {
        "initial charges": atoms.get_initial_charges(),
        "initial magnetic moments": atoms.get_initial_magnetic_moments(),
    }
    if others.has("tags"):
        states["tags"] = atoms.get_tags()
    if others.has("masses"):
        states["masses"] = atoms.get_masses()
    return states


def kinds_of(atoms: Atoms, tags: bool = False) -> np.ndarray:
    """Number the atoms (n,) so that those of one number may be exchanged: one element, charge, moment and mass.

    Tags are names without an effect on energies; they tell atoms apart only if asked for.
    """
    states = {name: state for name, state in carried(atoms, atoms).items() if name != "tags" or tags}
    return classes(np.column_stack([atoms.numbers, *states.values()]))


def classes(rows: np.ndarray) -> np.ndarray:
    """Number rows (n, k) so that equal ones, within rounding, have one number: (n,)."""
    numbered = np.empty(rows.shape, dtype=np.int64)
    for column, into in zip(rows.T, numbered.T, strict=True):
        order = np.argsort(column)
        into[order] = np.concatenate([[0], np.cumsum(np.diff(column[order]) > SAME)])
    return np.unique(numbered, axis=0, return_inverse=True)[1].reshape(-1)


def differ(theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Tell which atoms (n,) carry something else."""
    return np.asarray((np.abs(theirs - ours) > SAME).reshape(len(ours), -1).any(axis=1))


def counted(state: np.ndarray) -> str:
    """Describe what some atoms carry: each value, and how many have it. Of components, (n, 3) of bool: their axes."""
    found = Counter(_axes(value) if state.dtype == bool else _numbers(value) for value in state)
    return ", ".join(f"{value} ({count(n, 'atom')})" for value, n in sorted(found.items()))


def _numbers(value: np.ndarray) -> str:
    return " ".join(f"{number:g}" for number in np.atleast_1d(value))


def _axes(components: np.ndarray) -> str:
    return "".join(axis for axis, one in zip("xyz", components, strict=True) if one) or "none"


def refuse_unknown_places(atoms: Atoms, name: str) -> None:
    """Raise ValueError where the place of an atom is no number."""
    (lost,) = np.nonzero(~np.isfinite(atoms.positions).all(axis=1))
    if lost.size:
        k = int(lost[0])
        raise ValueError(
            f"{name} has no place for {count(lost.size, 'atom')}, the first {atoms.symbols[k]}{k} at "
            f"{atoms.positions[k].tolist()}; expected finite numbers, Å"
        )


def closest_atoms(atoms: Atoms) -> str | None:
    """Name the two closest atoms and their distance where they are nearer than any two atoms bond; None elsewhere."""
    if len(atoms) < 2 or not np.isfinite(atoms.positions).all():
        return None
    apart = atoms.get_all_distances(mic=bool(atoms.pbc.any()))
    np.fill_diagonal(apart, np.inf)
    i, j = (int(k) for k in np.unravel_index(apart.argmin(), apart.shape))
    return (
        f"{atoms.symbols[i]}{i} and {atoms.symbols[j]}{j} are {apart[i, j]:.2g} Å apart" if apart[i, j] < NEAR else None
    )


def refuse_partial_occupancy(atoms: Atoms, name: str) -> None:
    """Raise ValueError where a file has several atoms, or a part of one, on a site: ASE's reader takes one of them."""
    occupancy = atoms.info.get("occupancy")
    for site, parts in occupancy.items() if isinstance(occupancy, dict) else ():
        if len(parts) > 1 or any(part < 1 - SAME for part in parts.values()):
            mixed = ", ".join(f"{part:g} {symbol}" for symbol, part in parts.items())
            raise ValueError(
                f"{name} has sites of partial occupancy: {mixed} at site {site}; expected a structure with one whole "
                "atom on each, such as an ordered supercell"
            )


def refuse_another_state(atoms: Atoms, ours: Atoms) -> None:
    """Raise ValueError where charges, moments, tags, masses, or charge and spin of the whole differ."""
    advice = "set them to the landscape's, or make another landscape of these atoms"
    known = carried(ours, atoms)
    for name, theirs in carried(atoms, atoms).items():
        expected = known[name]
        if theirs.shape != expected.shape:
            raise ValueError(
                f"the atoms have {name} of shape {theirs.shape}; expected the landscape's, {expected.shape}: {advice}"
            )
        if (other := differ(theirs, expected)).any():
            k = int(other.argmax())
            raise ValueError(
                f"the atoms have other {name} than the landscape's: atom {k} has {theirs[k]}, expected {expected[k]}"
                f"{f'; {other.sum()} atoms differ' if other.sum() > 1 else ''}: {advice}"
            )
    for name, default in OF_THE_WHOLE:
        named, expected = np.asarray(atoms.info.get(name, default)), np.asarray(ours.info.get(name, default))
        if not np.array_equal(named, expected):
            raise ValueError(
                f"the atoms have {named} for info[{name!r}]; expected the landscape's, {expected}: {advice}"
            )
