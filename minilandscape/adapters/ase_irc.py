"""The intrinsic reaction coordinate: steepest descent from a saddle in mass-weighted coordinates, both ways."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms
from scipy.optimize import brentq

from ..display import count
from ..landscape import LandscapeError
from .ase_landscape import AseLandscape
from .ase_modes import imaginary_mode, springs

#: The first step, the least and the longest, √amu Å.
STEP, LEAST, MOST = 0.1, 0.01, 0.4
#: Steps on one side, and corrections of one step, at most.
STEPS, CORRECTIONS = 200, 8
#: A step ends where the force along the sphere is less than this part of all, or of the small one.
ACROSS = 0.05
#: Turns of the path in one step, in radians, below which the next is longer, and above which it is halved.
STRAIGHT, BENT = 0.15, 0.6
#: What springs between neighbours leave free has this curvature in the model, eV/Å².
SOFT = 1.0
#: A step gets farther than this part of its length.
BACK = 0.5
#: The next step is longer by this factor.
LONGER = 1.5


@dataclass(frozen=True, repr=False)
class ReactionPath:
    """The path of steepest descent from a saddle in mass-weighted coordinates, from one side to the other.

    Attributes
    ----------
    images
        The structures, with energies and forces.
    s
        (K,): the length along the path, √amu Å; 0 at the saddle, negative on the first side.
    energies
        (K,), eV.
    fmax
        (2,): the largest forces at the two ends, eV/Å.
    finished
        Whether both sides have come to forces that are small.
    reason
        Why not; ``"finished"`` if so.
    calls
        Structures calculated, the saddle's own mode included where it had to be computed.
    """

    images: tuple[Atoms, ...]
    s: np.ndarray
    energies: np.ndarray
    fmax: tuple[float, float]
    finished: bool
    reason: str
    calls: int

    def __repr__(self) -> str:
        """One line: the length on both sides, how far the energy falls, and whether both sides are finished."""
        falls = self.energies.max() - self.energies[[0, -1]]
        sides = f"{-self.s[0]:.2f} and {self.s[-1]:.2f} √amu Å, falls by {falls[0]:.4f} and {falls[1]:.4f} eV"
        return f"ReactionPath({sides}, {self.reason}, {count(self.calls, 'calculation')})"

    def plot(self, axes: Any = None) -> Any:
        """Draw energy (eV, from the saddle's) over s (√amu Å); return the axes, new ones if None."""
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 4), layout="constrained").subplots()
        axes.plot(self.s, self.energies - self.energies.max(), ".-", ms=4)
        axes.plot(0, 0, "C3x", label="saddle")
        axes.set(xlabel="reaction coordinate s (√amu Å)", ylabel="energy below the saddle (eV)")
        axes.legend(frameon=False)
        return axes


def reaction_path(
    saddle: Atoms, calculator: Any = None, *, fmax: float = 0.05, towards: Atoms | None = None, workers: int = 1
) -> ReactionPath:
    r"""Follow the intrinsic reaction coordinate (IRC) from a saddle down both ways [1]_.

    dq/ds = −g / |g| in mass-weighted coordinates q = √m x, by steps of second order [2]_: each is half along the
    gradient at its beginning, and ends where the energy is least on the sphere around its middle, whose radius is that
    half. The model of the Hessian that finds that place begins with springs between neighbours and learns from every
    calculation (BFGS). The steps adapt themselves to how the path turns, from 0.01 to 0.4 √amu Å.

    Parameters
    ----------
    saddle
        A first-order saddle, such as ``found.saddle`` of :func:`barrier`, or Sella's.
    calculator
        As in :class:`AseLandscape`; None takes the atoms' own.
    fmax
        A side ends where the largest force is below this, eV/Å, or where its steps have come to a minimum.
    towards
        A structure on the first side; None leaves the order of the sides to chance.
    workers
        Calculations side by side, in threads, for the saddle's mode.

    Raises
    ------
    ValueError
        If there is no negative curvature at the saddle.
    LandscapeError
        If the calculator fails beside the saddle.

    References
    ----------
    .. [1] K. Fukui, "The path of chemical reactions – the IRC approach", Acc. Chem. Res. 14, 363 (1981).
    .. [2] C. Gonzalez, H. B. Schlegel, "Reaction path following in mass-weighted internal coordinates", J. Phys. Chem.
           94, 5523 (1990).

    Examples
    --------
    >>> from ase.build import add_adsorbate, fcc100
    >>> from ase.calculators.emt import EMT
    >>> from ase.constraints import FixAtoms
    >>> from ase.optimize import BFGS
    >>> slab = fcc100("Al", (2, 2, 2), vacuum=5.0)
    >>> slab.set_constraint(FixAtoms(range(8)))
    >>> add_adsorbate(slab, "Al", 2.0, "bridge")  # between two hollows, where symmetry keeps it
    >>> slab.calc = EMT()
    >>> relaxed = BFGS(slab, logfile=None).run(fmax=0.005)
    >>> found = reaction_path(slab, EMT)
    >>> found.finished, bool(abs(found.s[0] + found.s[-1]) < 0.1)  # as long on both sides
    (True, True)
    """
    if not fmax > 0:
        raise ValueError(f"fmax is {fmax}; expected a force above 0, in eV/Å")
    land = AseLandscape(saddle, calculator, workers=workers)
    x = land.vector(saddle)
    rng = np.random.default_rng(0)
    found = imaginary_mode(land, x, rng.standard_normal(x.size), 0.0)
    if not np.isfinite(found.frequency):
        raise ValueError("the curvature is nowhere negative at the saddle; expected one negative eigenvalue")
    mode = found.mode
    if towards is not None and land.displacement(x, land.vector(towards)) @ (mode / land.root_masses) < 0:
        mode = -mode
    return follow(land, x, mode, fmax, found.calls)


def follow(land: AseLandscape, x: np.ndarray, mode: np.ndarray, fmax: float, calls: int = 0) -> ReactionPath:
    """Follow the reaction path from a saddle x (D,), the first side towards the mass-weighted mode (D,)."""
    counted = land.calculations
    root = land.root_masses
    (energy,), (gradient,) = land.values_and_gradients(x[None])
    top = _Seen(root * x, float(energy), gradient / root)
    sides = [_Side(land, root, top, sign * mode, fmax) for sign in (1.0, -1.0)]
    ways = [side.run() for side in sides]
    seen = [*ways[0][::-1], top, *ways[1]]
    lengths = [np.cumsum([np.linalg.norm(b.q - a.q) for a, b in zip([top, *way], way, strict=False)]) for way in ways]
    reasons = [f"the {name} side {side.reason}" for name, side in zip(("first", "second"), sides, strict=True)]
    reasons = [text for text, side in zip(reasons, sides, strict=True) if not side.finished]
    return ReactionPath(
        images=tuple(land.calculated(point.q / root, point.energy, point.g * root) for point in seen),
        s=np.concatenate([-lengths[0][::-1], [0.0], lengths[1]]),
        energies=np.array([point.energy for point in seen]),
        fmax=(land.residual(seen[0].g * root), land.residual(seen[-1].g * root)),
        finished=not reasons,
        reason="; ".join(reasons) or "finished",
        calls=calls + land.calculations - counted,
    )


@dataclass(frozen=True)
class _Seen:
    """A point in mass-weighted coordinates, its energy and gradient there."""

    q: np.ndarray
    energy: float
    g: np.ndarray


class _Side:
    """One side of the path."""

    def __init__(self, land: AseLandscape, root: np.ndarray, top: _Seen, mode: np.ndarray, fmax: float) -> None:
        self.land, self.root, self.fmax = land, root, fmax
        self.here, self.mode = top, mode / np.linalg.norm(mode)
        self.hessian = (springs(land, top.q / root) + SOFT * np.eye(root.size)) / np.outer(root, root)
        self.finished, self.reason = False, ""

    def run(self) -> list[_Seen]:
        """The points after the saddle."""
        way: list[_Seen] = []
        step, onward, most = STEP, self.mode, 0.0
        while len(way) < STEPS:
            try:
                there = self._stepped(onward, step)
            except LandscapeError as error:
                self.reason = f"met a geometry that could not be calculated: {error}"
                return way
            turn = _angle(onward, -there.g) if np.linalg.norm(there.g) > 0 else 0.0
            # Where the minimum is inside the sphere the path turns round, or stays where it is.
            stays = float(np.linalg.norm(there.q - self.here.q)) < BACK * step
            passed = there.energy >= self.here.energy or turn > BENT or stays
            if passed and step > LEAST:
                step = max(step / 2, LEAST)
                continue
            if passed:
                force = self.land.residual(self.here.g * self.root)
                self.reason = f"falls no further at an fmax of {force:.2g} eV/Å" if way else "does not fall"
                return way
            way.append(there)
            self.here, onward = there, -there.g / np.linalg.norm(there.g)
            # Beside the saddle forces are small too, and rise.
            force = self.land.residual(there.g * self.root)
            if force <= self.fmax and force < most:
                self.finished = True
                return way
            most = max(most, force)
            step = min(LONGER * step, MOST) if turn < STRAIGHT else step
        self.reason = f"has not ended after {STEPS} steps"
        return way

    def _stepped(self, onward: np.ndarray, step: float) -> _Seen:
        """The end of a step, where the energy is least on the sphere around its middle."""
        middle, radius = self.here.q + 0.5 * step * onward, 0.5 * step
        p, before = radius * onward, self.here
        for _ in range(CORRECTIONS):
            there = self._calculated(middle + p)
            self._learn(there.q - before.q, there.g - before.g)
            before = there
            across = there.g - p * (there.g @ p) / radius**2
            small = ACROSS * max(float(np.linalg.norm(there.g)), self.fmax / float(self.root.max()))
            if np.linalg.norm(across) <= small:
                break
            p = _least_on_sphere(self.hessian, there.g, p, radius)
        return there

    def _calculated(self, q: np.ndarray) -> _Seen:
        (energy,), (gradient,) = self.land.values_and_gradients((q / self.root)[None])
        if not (np.isfinite(energy) and np.isfinite(gradient).all()):
            raise LandscapeError("the energy or a force is not finite", q / self.root)
        return _Seen(q, float(energy), gradient / self.root)

    def _learn(self, d: np.ndarray, y: np.ndarray) -> None:
        """The BFGS update, left out where the curvature along the step is not positive."""
        Hd = self.hessian @ d
        if d @ y > 1e-3 * abs(d @ Hd):
            self.hessian += np.outer(y, y) / (d @ y) - np.outer(Hd, Hd) / (d @ Hd)


def _least_on_sphere(hessian: np.ndarray, g: np.ndarray, p: np.ndarray, radius: float) -> np.ndarray:
    """p + d of length radius with the least g · d + d · H d / 2: (H − μ)(p + d) = H p − g, μ below all eigenvalues."""
    values, vectors = np.linalg.eigh(hessian)
    b = vectors.T @ (hessian @ p - g)
    size = float(np.linalg.norm(b)) or 1.0

    def excess(mu: float) -> float:
        return float(np.linalg.norm(b / (values - mu))) - radius

    high = values[0] - 1e-9 * max(size / radius, abs(values[0]))
    low = values[0] - 2 * size / radius
    if excess(high) <= 0:  # nothing of it lies along the softest mode
        return radius * p / np.linalg.norm(p)
    mu = brentq(excess, low, high, xtol=1e-14 * max(abs(low), 1e-300))
    return np.asarray(vectors @ (b / (values - mu)))


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.arccos(np.clip(cosine, -1, 1)))
