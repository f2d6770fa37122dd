"""Searches for the saddle between two minima: this project's, and those of others over ASE's interface.

A method takes a system and a landscape of it that has counted nothing yet, and returns a :class:`Found`.
"""

from __future__ import annotations

import importlib.util
import tempfile
import warnings
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from typing import Any

import numpy as np

import minilandscape as ml

from .systems import System

#: Calls after which a search has failed.
MOST_CALLS = 5000
#: Moving images of bands: the usual numbers for islands on a surface, and for molecules.
IMAGES = {"heptamer": 5, "adatom": 5, "baker": 8}
#: Coordinates of a band above which BFGS, which diagonalises a matrix of that size at every step, is left out.
DENSE = 1500


@dataclass(frozen=True)
class Found:
    """What a search came to.

    Attributes
    ----------
    value
        The energy of the saddle; None where there is none.
    calls
        Points evaluated until the first stationary point was there.
    verified
        Points evaluated until it was verified, with the rest of the chain; None where that is not done.
    rounds
        Requests that wait for each other: images of a band are evaluated side by side.
    converged
        As the method itself sees it.
    connects
        Whether the saddle was found to connect the two minima; None where that is not asked.
    reason
        Why not converged, if not.
    """

    value: float | None
    calls: int
    rounds: int
    converged: bool
    verified: int | None = None
    connects: bool | None = None
    reason: str = "converged"


@dataclass(frozen=True)
class Method:
    """A search, the packages that it needs, and the systems that it applies to."""

    search: Callable[[System, Any], Found]
    packages: tuple[str, ...] = ()
    applies: Callable[[System], bool] = lambda system: True

    @property
    def missing(self) -> list[str]:
        """Packages that are not installed."""
        return [name for name in self.packages if importlib.util.find_spec(name) is None]


def ours(verify: bool) -> Callable[[System, Any], Found]:
    """This project's."""

    def search(system: System, land: Any) -> Found:
        found = ml.find_saddle(land, system.start, system.end, tolerance=system.tolerance, verify=verify)
        value = None if found.saddle is None else found.saddle.value
        calls = found.calls["path"] + found.calls["search"]
        if verify:
            return Found(value, calls, found.rounds, found.converged, land.calls, found.converged, found.reason)
        converged = value is not None and found.saddle.residual <= system.tolerance
        return Found(value, calls, found.rounds, converged, reason=found.reason)

    return search


def band(optimizer: str) -> Callable[[System, Any], Found]:
    """ASE's nudged elastic band, its highest image climbing from the beginning."""

    def search(system: System, land: Any) -> Found:
        import ase.optimize
        from ase.mep.neb import NEB, NEBOptimizer

        images = _images(system, land, IMAGES.get(system.group, 7))
        # ASE's own are made for barriers of about 1 eV over some Å.
        springs = system.barrier if system.group == "analytic" else 0.1
        neb = NEB(images, springs, climb=True, method="improvedtangent")
        if _is_free(system):
            neb.interpolate("idpp")
        for image in images:
            image.calc = _forces(land)
        kind = NEBOptimizer if optimizer == "ODE" else getattr(ase.optimize, optimizer)
        run = kind(neb, logfile=None)
        try:
            run.run(fmax=system.tolerance, steps=MOST_CALLS // (len(images) - 2))
        except Exception as error:  # of the calculator, or too many calls
            return Found(None, land.calls, run.nsteps + 2, False, reason=f"{type(error).__name__}: {error}")
        converged = bool(neb.get_residual() <= system.tolerance)  # NEBOptimizer returns True when its steps are over
        highest = max(image.get_potential_energy() for image in images[1:-1])
        reason = "converged" if converged else "steps"
        return Found(highest, land.calls, run.nsteps + 2, converged, reason=reason)

    return search


def path_then_sella(system: System, land: Any) -> Found:
    """The highest of seven points of this project's path after two steps, then Sella."""
    options: dict[str, Any] = {"solver": "auto", "n_points": 7, "n_terms": 4, "budget": 14}
    if _is_free(system):
        options["initial"] = _interpolated(system, land, 7)
    path = ml.find_path(land, system.start, system.end, **options)
    t = path.t[path.values.argmax()]
    before, top, after = path.points(np.clip([t - 0.01, t, t + 0.01], 0, 1))
    return _sella(system, land, top, after - before, land.rounds)


def maxflux_then_sella(system: System, land: Any) -> Found:
    """Direct MaxFlux with three moving points to its middle tolerance, as PyDMF's authors advise, then Sella."""
    from dmf import DirectMaxFlux, interpolate_fbenm

    ends = _images(system, land, 0)
    free = _is_free(system)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):  # Ipopt writes files
        quiet = {"print_level": 0, "sb": "yes"}
        coefficients = interpolate_fbenm(ends, correlated=True, ipopt_options=quiet).coefs.copy() if free else None
        flux = DirectMaxFlux(ends, coefs=coefficients, nmove=3, update_teval=True, remove_rotation_and_translation=free)
        flux.add_ipopt_options(quiet)
        for image in flux.images:
            image.calc = _forces(land)
        flux.solve(tol="middle")
    top, tangent = (flux.get_positions(t=np.array(flux.history.tmax[-1:]), nu=nu).ravel() for nu in (0, 1))
    return _sella(system, land, top, tangent, len(flux.history.tmax) + 1)


def geodesic_then_sella(system: System, land: Any) -> Found:
    """The highest of eight points of a geodesic interpolation, then Sella."""
    from geodesic_interpolate.geodesic import Geodesic
    from geodesic_interpolate.interpolation import redistribute

    start, end = _images(system, land, 0)
    symbols = start.get_chemical_symbols()
    raw = redistribute(symbols, [start.positions, end.positions], 10, tol=1e-2)
    smoother = Geodesic(symbols, raw, 1.7, threshold=3, friction=1e-2)
    smoother.smooth(tol=2e-3, max_iter=15)
    points = np.array(smoother.path).reshape(10, -1)
    k = 1 + land.values(points[1:-1]).argmax()
    return _sella(system, land, points[k], points[k + 1] - points[k - 1], land.rounds)


def _sella(system: System, land: Any, x: np.ndarray, tangent: np.ndarray, rounds: int) -> Found:
    """Sella from a point, the path's tangent its first guess of the mode; each of its calls waits for the last.

    Without the tangent it ends elsewhere from the straight line's middle, where a hop is symmetric, and needs as many
    calls or more from other points. Internal coordinates change nothing for these molecules.
    """
    from sella import Sella

    before = land.calls
    whole = {} if _is_free(system) else {"proj_trans": False, "proj_rot": False}
    atoms = _atoms(system, land, x)
    atoms.calc = _forces(land)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search = Sella(atoms, order=1, logfile=None, **whole)
        search.pes.v0 = np.pad(tangent, (0, -land.size % 3)) @ search.pes.get_Ufree()
        converged = bool(search.run(fmax=system.tolerance, steps=500))
    value = atoms.get_potential_energy()
    reason = "converged" if converged else "steps"
    return Found(value, land.calls, rounds + land.calls - before, converged, reason=reason)


def _is_free(system: System) -> bool:
    """Whether all atoms may move together, without a change of energy."""
    return system.group == "baker" or system.group.startswith("lj")


def _atoms(system: System, land: Any, x: np.ndarray) -> Any:
    """A point as atoms, those that are frozen left out: one atom in a plane where there are none."""
    from ase import Atoms

    if not hasattr(land, "atoms"):
        return Atoms(f"Ar{x.size // 3}", x.reshape(-1, 3)) if system.atoms else Atoms("Ar", [[*x, 0.0]])
    atoms = land.atoms(x)
    for constraint in atoms.constraints:
        del atoms[constraint.index]
    return atoms


def _forces(land: Any) -> Any:
    """A calculator whose every calculation is a counted call."""
    from ase.calculators.calculator import Calculator, all_changes

    class Forces(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, atoms: Any = None, properties: Any = None, system_changes: Any = all_changes) -> None:
            super().calculate(atoms, properties, system_changes)
            if land.calls >= MOST_CALLS:
                raise RuntimeError(f"not converged after {MOST_CALLS} calls")
            values, gradients = land.values_and_gradients(_vector(land, self.atoms)[None])
            forces = -np.pad(gradients[0], (0, -land.size % 3)).reshape(-1, 3)
            self.results = {"energy": float(values[0]), "forces": forces}

    return Forces()


def _vector(land: Any, atoms: Any) -> np.ndarray:
    point: np.ndarray = atoms.positions.ravel()[: land.size].copy()
    return point


def _images(system: System, land: Any, n: int) -> list[Any]:
    """Both minima as atoms with n images on the straight line between them, by the nearest images of the cell."""
    away = land.displacement(system.start, system.end)
    return [_atoms(system, land, system.start + t * away) for t in np.linspace(0, 1, n + 2)]


def _interpolated(system: System, land: Any, n: int) -> np.ndarray:
    """(n, D): ASE's image-dependent pair potential between the minima."""
    from ase.mep.neb import NEB

    images = _images(system, land, n)
    NEB(images, method="improvedtangent").interpolate("idpp")
    return np.stack([_vector(land, image) for image in images[1:-1]])


METHODS = {
    "minilandscape": Method(ours(verify=True)),
    "not verified": Method(ours(verify=False)),
    "ASE NEB, LBFGS": Method(band("LBFGS"), ("ase",)),
    "ASE NEB, BFGS": Method(band("BFGS"), ("ase",), lambda s: s.start.size * IMAGES.get(s.group, 7) <= DENSE),
    "ASE NEB, FIRE": Method(band("FIRE"), ("ase",)),
    "ASE NEB, ODE": Method(band("ODE"), ("ase",)),
    "path + Sella": Method(path_then_sella, ("ase", "sella"), lambda s: s.atoms),
    # Its elastic networks and its β know Å and eV.
    "PyDMF + Sella": Method(
        maxflux_then_sella,
        ("ase", "sella", "dmf", "cyipopt"),
        lambda s: s.group in ("adatom", "heptamer", "baker"),
    ),
    "geodesic + Sella": Method(geodesic_then_sella, ("ase", "sella", "geodesic_interpolate"), _is_free),
}
