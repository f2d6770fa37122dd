"""Pairs of minima, the landscape between them, and the energy of the saddle that connects them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from minilandscape.analysis.atom_alignment import align_atoms
from minilandscape.data.cache import cache_file
from minilandscape.potentials import (
    AnaPot,
    Camelback,
    Fig3,
    LennardJones,
    Leps,
    LepsOscillator,
    MullerBrown,
)

#: Energies of saddles above the start that no formula gives: name -> {"barrier", "from"}.
KNOWN: dict[str, dict[str, Any]] = json.loads(Path(__file__).with_name("known.json").read_text())
#: A barrier is the known one within what forces of the tolerance do over so many Å (or σ): 3 meV at 0.01 eV/Å. Where
#: there are no atoms, within this part of it.
WITHIN_LENGTH, WITHIN = 0.3, 1e-4
POTENTIALS = {
    "muller-brown": MullerBrown,
    "leps": Leps,
    "leps-oscillator": LepsOscillator,
    "camelback": Camelback,
    "fig3": Fig3,
    "anapot": AnaPot,
}
#: Moves of LJ13: the vacancy among the icosahedron's surface, and how far from it the atom lies that left it.
LJ13 = {
    "lj13-near": ("whole", "near"),
    "lj13-middle": ("whole", "middle"),
    "lj13-far": ("whole", "far"),
    "lj13-near-middle": ("near", "middle"),
    "lj13-middle-far": ("middle", "far"),
}


@dataclass(frozen=True)
class System:
    """Two minima and what is known of the saddle between them.

    Attributes
    ----------
    name, group
        Its own, and that of the table it belongs to.
    landscape
        Makes a landscape that counts from 0: ``calls`` are points of which energy and gradient were asked, ``rounds``
        the requests they came in. Nothing that is asked again is free.
    start, end
        (D,).
    tolerance
        The largest force that counts as none: of an atom where there are atoms, else of a component.
    barrier
        The right saddle's energy above the start's; None where it is not known.
    atoms
        Whether coordinates are those of atoms, three each.
    """

    name: str
    group: str
    landscape: Callable[[], Any]
    start: np.ndarray
    end: np.ndarray
    tolerance: float
    barrier: float | None
    atoms: bool = True

    @property
    def within(self) -> float:
        """How near to the known barrier a barrier is right."""
        return WITHIN_LENGTH * self.tolerance if self.atoms else WITHIN * (self.barrier or 0)

    def largest_force(self, gradient: np.ndarray) -> float:
        """What ``tolerance`` bounds, of a gradient (D,)."""
        return float(np.linalg.norm(gradient.reshape(-1, 3 if self.atoms else 1), axis=1).max())


def names(data: Path | None = None, lj38: bool = False) -> list[str]:
    """The systems that can be made here; those of files where a folder with them is given."""
    found = [*POTENTIALS, "lj6", *LJ13]
    if lj38 and data is not None:
        found.append("lj38")
    if _installed("ase"):
        found += ["al100", "al110"]
        if data is not None:
            products = (data / "heptamer").glob("product_*.con")
            found += [f"heptamer-{k}" for k in sorted(int(file.stem.split("_")[1]) for file in products)]
    if _installed("tblite") and data is not None:
        found += [f"baker-{folder.name}" for folder in sorted((data / "baker").glob("*/"))]
    return found


def system(name: str, data: Path | None = None) -> System:
    """One of :func:`names`; ValueError if it is none."""
    if name not in names(data, lj38=True):
        raise ValueError(
            f"no system is called {name!r} here; `python -m benchmarks saddles --list` names them, with --data FOLDER "
            "those of files as well"
        )
    if name in POTENTIALS:
        return _analytic(name)
    if name.startswith("lj"):
        return _cluster(name, data)
    if name.startswith("al"):
        return _adatom(name)
    assert data is not None
    return _heptamer(name, data) if name.startswith("heptamer-") else _molecule(name, data)


class _Counting:
    """Counts what is asked of the landscape that it is mixed into."""

    calls = rounds = 0

    def values(self, points: Any) -> np.ndarray:
        return self.values_and_gradients(points)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, Any]:
        self.calls += len(points)
        self.rounds += 1
        return super().values_and_gradients(points)  # type: ignore[misc]


def _counting(kind: type, *arguments: Any) -> Any:
    return type(kind.__name__, (_Counting, kind), {})(*arguments)


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _known(name: str) -> float | None:
    return KNOWN[name]["barrier"] if name in KNOWN else None


def _analytic(name: str) -> System:
    kind = POTENTIALS[name]
    land = kind()
    start, end = land.minima[:2]
    low, high = land.values(np.stack([start, land.saddles[0]]))
    tolerance = 0.1 if kind is MullerBrown else 0.01  # its barrier is a hundred times as high as theirs
    return System(name, "analytic", lambda: _counting(kind), start, end, tolerance, float(high - low), atoms=False)


def _cluster(name: str, data: Path | None) -> System:
    start, end = (
        _files_of_lj38(data) if name == "lj38" else _minima_of_lj6() if name == "lj6" else _minima_of_lj13(name)
    )
    n = start.size // 3
    return System(name, f"lj{n}", lambda: _counting(LennardJones, n), start, end, 0.01, _known(name))


def _relaxed(positions: np.ndarray) -> np.ndarray:
    """(3n,): the minimum of the cluster that BFGS comes to."""
    land = LennardJones(len(positions))

    def f(x: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = land.values_and_gradients(x[None])
        return float(values[0]), gradients[0]

    point: np.ndarray = minimize(f, positions.ravel(), jac=True, method="BFGS", options={"gtol": 1e-8}).x
    return point


def _minima_of_lj6() -> tuple[np.ndarray, np.ndarray]:
    """The octahedron and a trigonal bipyramid with a cap on one face, like atoms matched."""
    start = _relaxed(0.79 * np.concatenate([np.eye(3), -np.eye(3)]))
    capped = [[0.56, 0, 0], [-0.28, 0.49, 0], [-0.28, -0.49, 0], [0, 0, 0.9], [0, 0, -0.9], [0.75, 0.75, 0.8]]
    return start, align_atoms(start, _relaxed(np.array(capped)), warn=False)


def _minima_of_lj13(name: str) -> tuple[np.ndarray, np.ndarray]:
    start, end = (_relaxed(_icosahedron(place)) for place in LJ13[name])
    return start, align_atoms(start, end, np.arange(13), warn=False)  # every atom keeps its label


def _icosahedron(place: str) -> np.ndarray:
    """(13, 3): an atom in the middle of twelve, or of eleven and one that has left its place for the top of a face."""
    golden = (1 + 5**0.5) / 2
    corners = np.array([[0, a, b * golden] for a in (1, -1) for b in (1, -1)])
    corners = 1.08 * np.concatenate([np.roll(corners, k, axis=1) for k in range(3)]) / np.hypot(1, golden)
    if place == "whole":
        return np.concatenate([np.zeros((1, 3)), corners])
    # The faces around a corner have cosines of 0.79 with it, the next five 0.19, then −0.19 and −0.79.
    apart = np.linalg.norm(corners[:, None] - corners, axis=2)
    side = apart[apart > 0].min() * 1.01
    triples = [(i, j, k) for i in range(12) for j in range(i) for k in range(j)]
    faces = [list(t) for t in triples if apart[np.ix_(t, t)].max() < side]
    tops = np.array([corners[face].sum(axis=0) for face in faces])
    tops *= 1.65 / np.linalg.norm(tops, axis=1, keepdims=True)
    cosine = tops @ corners[0] / np.linalg.norm(corners[0]) / 1.65
    wanted = {"near": 0.188, "middle": -0.188, "far": -0.795}[place]
    # Of equal faces the one nearest to a direction of no symmetry, so that the moves fit to each other.
    fits = np.flatnonzero(np.abs(cosine - wanted) < 0.01)
    moved = corners.copy()
    moved[0] = tops[fits[(tops[fits] @ [0.2, 0.9, 0.4]).argmax()]]
    return np.concatenate([np.zeros((1, 3)), moved])


def _files_of_lj38(data: Path | None) -> tuple[np.ndarray, np.ndarray]:
    assert data is not None
    start, end = (np.loadtxt(data / "lj38" / f"{x}.xyz", skiprows=2, usecols=(1, 2, 3)) for x in ("fcc", "icosahedral"))
    return start.ravel(), end.ravel()


def _adatom(name: str) -> System:
    """An aluminium atom on aluminium moves to the next hollow: ASE's tutorial, and along the trenches of Al(110)."""
    from ase.build import add_adsorbate, fcc100, fcc110
    from ase.calculators.emt import EMT
    from ase.constraints import FixAtoms

    slab = fcc100("Al", size=(2, 2, 3)) if name == "al100" else fcc110("Al", size=(2, 3, 4))
    add_adsorbate(slab, "Al", 1.7 if name == "al100" else 1.3, "hollow")
    slab.center(axis=2, vacuum=4.0)
    slab.set_constraint(FixAtoms(mask=slab.get_tags() > (1 if name == "al100" else 2)))
    moved = slab.copy()
    moved.positions[-1] += slab.cell[0] / 2 if name == "al100" else slab.cell[1] / 3
    return _with_ase(name, "adatom", _relax(slab, EMT), _relax(moved, EMT), EMT, 0.01)


def _heptamer(name: str, data: Path) -> System:
    """A move of an island of seven atoms on Pt(111), between minima of files."""
    from ase.io import read

    from .morse import Morse

    files = ("reactant", f"product_{name.removeprefix('heptamer-')}")
    start, end = (read(data / "heptamer" / f"{file}.con", format="eon") for file in files)
    start.pbc = end.pbc = True  # eOn's cells are, ASE's reader says that they are not
    return _with_ase(name, "heptamer", start, end, lambda: Morse(0.7102, 1.6047, 2.897, 9.5), 0.01)


def _molecule(name: str, data: Path) -> System:
    """A reaction of Baker and Chan with GFN2-xTB; the relaxed ends are kept in the user's cache."""
    from ase.io import read
    from tblite.ase import TBLite

    folder = data / "baker" / name.removeprefix("baker-")
    charge, multiplicity = (int((folder / file).read_text()) for file in ("chg", "mult"))

    def calculator() -> Any:
        return TBLite(method="GFN2-xTB", charge=charge, multiplicity=multiplicity, verbosity=0)

    start, end = read(folder / "initial.xyz", index=":")
    kept = cache_file(f"benchmarks/{name}-gfn2.npy")
    if kept is not None and kept.is_file():
        start.positions, end.positions = np.load(kept)
    else:
        start, end = _relax(start, calculator), _relax(end, calculator)
        aligned = align_atoms(start.positions, end.positions, np.arange(len(start)), warn=False)
        end.positions = aligned.reshape(-1, 3)  # every atom keeps its label
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            np.save(kept, np.stack([start.positions, end.positions]))
    return _with_ase(name, "baker", start, end, calculator, 0.05)


def _relax(atoms: Any, calculator: Callable[[], Any]) -> Any:
    from ase.optimize import BFGS

    relaxed = atoms.copy()
    relaxed.calc = calculator()
    BFGS(relaxed, logfile=None).run(fmax=0.01, steps=1000)
    relaxed.calc = None
    return relaxed


def _with_ase(name: str, group: str, start: Any, end: Any, calculator: Callable[[], Any], tolerance: float) -> System:
    from minilandscape.adapters.ase import AseLandscape

    land = AseLandscape(start, calculator)
    return System(
        name,
        group,
        lambda: _counting(AseLandscape, start, calculator),
        land.vector(start),
        land.vector(end),
        tolerance,
        _known(name),
    )
