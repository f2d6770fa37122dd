"""Analytic landscapes with known stationary points: test systems of chemistry and physics.

All accept stacks of points. All except ``LennardJones`` list stationary points in ``minima`` and ``saddles``: (K, D)
arrays, refined until the gradient is of the order of rounding errors (``Leps.minima`` are points in valleys). The first
saddle is the highest point of the minimum-energy path between the first two minima. Other stationary points may exist.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from .landscape import LandscapeDefaults, read_stack

#: Atoms count as collinear if the angle between the line and the vector from each atom to the next is below this
#: (radians; 0.57 degrees). Optimisers stopped at 0.05 eV/Å leave linear molecules bent by up to half a degree.
STRAIGHT = 1e-2
#: Frozen atoms count as collinear if their distance from the line is below this fraction of its length: rounding in
#: files.
FROZEN_STRAIGHT = 1e-4


class Potential(LandscapeDefaults):
    """A landscape given by a formula; ``minima`` and ``saddles`` (K, D) list stationary points."""

    names_points = True
    minima: np.ndarray
    saddles: np.ndarray

    def values(self, points: Any) -> np.ndarray:
        """Evaluate values: (P, D) -> (P,)."""
        return self.values_and_gradients(points)[0]

    def values_and_gradients(self, points: Any) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate values and gradients: (P, D) -> (P,), (P, D)."""
        points = read_stack(points, self.size)
        # Values that overflow are walls, not errors: they are infinite, and their gradients arbitrary.
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            values, gradients = self._evaluate(points)
        return np.where(np.isnan(values), np.inf, values), gradients

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        raise NotImplementedError


class Fig3(Potential):
    """The two-dimensional landscape of the paper's Fig. 3.

    f(r) = −Σ_c exp(−3|r−c|²) + Σ_d exp(−15|r−d|²) + C, with c = (−0.5, −0.5), (0.5, 0.0), d = (−0.2, −0.4), (0.0, 0.3).

    Parameters
    ----------
    constant
        C.

    Notes
    -----
    With C = 1.019: minima 0.108702 at (−0.61380, −0.53542) and −0.000036 at (0.48810, −0.02226); saddles 0.624388 at
    (−0.16473, −0.06992), the lowest between them, and 0.637252 at (0.05289, −0.68816).
    """

    size = 2
    START = (-0.62, -0.54)
    END = (0.49, -0.02)
    N_POINTS = 100
    minima = np.array([[-0.613801612515148, -0.535415525054325], [0.488100218007328, -0.022255460631841]])
    saddles = np.array([[-0.164726548540438, -0.069917182061878], [0.052889530253715, -0.688158207771364]])

    _wells = np.array([[-0.5, -0.5], [0.5, 0.0]])
    _peaks = np.array([[-0.2, -0.4], [0.0, 0.3]])

    def __init__(self, constant: float = 1.019) -> None:
        self.constant = constant

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values, gradients = np.full(len(points), self.constant), np.zeros(points.shape)
        for centres, sign, width in ((self._wells, -1, 3), (self._peaks, 1, 15)):
            away = points[:, None] - centres
            bumps = sign * np.exp(-width * (away**2).sum(axis=2))
            values += bumps.sum(axis=1)
            gradients -= 2 * width * (bumps[:, :, None] * away).sum(axis=1)
        return values, gradients


class MullerBrown(Potential):
    """The surface of Müller and Brown (1979), f = Σ_k A_k exp(a_k (x−x_k)² + b_k (x−x_k)(y−y_k) + c_k (y−y_k)²).

    Notes
    -----
    Minima −146.699517 at (−0.558224, 1.441726), −108.166724 at (0.623499, 0.028038) and −80.767818 at
    (−0.050011, 0.466694); saddles −40.664844 at (−0.822002, 0.624313) and −72.248940 at (0.212487, 0.292988).
    ``minima`` has the two deep ones first.
    """

    size = 2
    minima = np.array(
        [
            [-0.558223634633024, 1.441725841804669],
            [0.623499404930877, 0.028037758528686],
            [-0.050010822998206, 0.466694104871972],
        ]
    )
    saddles = np.array([[-0.822001558732732, 0.624312802814871], [0.212486582000662, 0.292988325107368]])

    _A = np.array([-200.0, -100.0, -170.0, 15.0])
    _a, _b, _c = np.array([-1.0, -1.0, -6.5, 0.7]), np.array([0.0, 0.0, 11.0, 0.6]), np.array([-10.0, -10.0, -6.5, 0.7])
    _x, _y = np.array([1.0, 0.0, -0.5, -1.0]), np.array([0.0, 0.5, 1.5, 1.0])

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = points[:, :1] - self._x, points[:, 1:] - self._y
        terms = self._A * np.exp(self._a * x**2 + self._b * x * y + self._c * y**2)
        by_x = (terms * (2 * self._a * x + self._b * y)).sum(axis=1)
        by_y = (terms * (self._b * x + 2 * self._c * y)).sum(axis=1)
        return terms.sum(axis=1), np.stack([by_x, by_y], axis=1)


class Camelback(Potential):
    """The six-hump camelback (Dixon and Szegő, 1978), f = (4 − 2.1x² + x⁴/3) x² + xy + (4y² − 4) y².

    Notes
    -----
    Minima −1.031628 at ±(0.089842, −0.712656), −0.215464 at ±(1.703607, −0.796084) and 2.104250 at
    ±(1.607105, 0.568651). From (−1.703607, 0.796084) to (0.089842, −0.712656) the lowest saddle is 0.543719.
    """

    size = 2
    minima = np.array([[-1.703606714969981, 0.796083568672625], [0.089842013100318, -0.712656403020740]])
    saddles = np.array([[-1.109205336804787, 0.768268092509540]])

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = points.T
        values = (4 - 2.1 * x**2 + x**4 / 3) * x**2 + x * y + (4 * y**2 - 4) * y**2
        by_x = 8 * x - 8.4 * x**3 + 2 * x**5 + y
        return values, np.stack([by_x, x + 16 * y**3 - 8 * y], axis=1)


class AnaPot(Potential):
    """The quartic of two coordinates called AnaPot in pysisyphus, f = 4 + 4.5x − 4y + x² + 2y² − 2xy + x⁴ − 2x²y.

    Notes
    -----
    Minima −0.513409 at (−1.052741, 1.027761) and 0.985554 at (1.941010, 3.854264); the saddle between them 2.809105 at
    (0.611731, 1.492973). There are no other stationary points: they have y = 1 + x/2 + x²/2, with x the three roots of
    4x³ − 6x² − 6x + 5.
    """

    size = 2
    minima = np.array([[-1.052741308263152, 1.02776147693023], [1.941010272428534, 3.854265575050814]])
    saddles = np.array([[0.6117310358346176, 1.492972948018956]])

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = points.T
        values = 4 + 4.5 * x - 4 * y + x**2 + 2 * y**2 - 2 * x * y + x**4 - 2 * x**2 * y
        by_x = 4.5 + 2 * x - 2 * y + 4 * x**3 - 4 * x * y
        return values, np.stack([by_x, -4 + 4 * y - 2 * x - 2 * x**2], axis=1)


class Leps(Potential):
    """The LEPS potential of three atoms on a line, model I of Jónsson, Mills and Jacobsen (1998), over (r_AB, r_BC).

    V = q_AB + q_BC + q_AC − √(j_AB² + j_BC² + j_AC² − j_AB j_BC − j_BC j_AC − j_AB j_AC), r_AC = r_AB + r_BC, with
    q = Q/(1+s), j = J/(1+s), Q = (d/2)(3/2 e^(−2αx) − e^(−αx)), J = (d/4)(e^(−2αx) − 6 e^(−αx)), x = r − r₀.

    Parameters
    ----------
    s_bc
        s of BC (b in the source): 0.30 for model I.

    Notes
    -----
    AB + C at −4.52 and A + BC at −3.650769 are valleys that extend to infinity; ``minima`` has a point in each of them
    with the third atom 4 Å away, where the slope along the valley is below 0.01 eV/Å. The saddle between them is
    −3.176913 at (1.149378, 0.862469). Energies in eV, distances in Å.
    """

    size = 2
    ALPHA, R0 = 1.942, 0.742
    D_AB = D_BC = 4.746
    D_AC = 3.445
    S_AB = S_AC = 0.05
    minima = np.array([[0.742, 4.0], [4.0, 0.742]])
    saddles = np.array([[1.149377993366123, 0.862468769946930]])

    def __init__(self, s_bc: float = 0.30) -> None:
        self.s_bc = s_bc

    def _pair(self, r: np.ndarray, d: float, s: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """q, dq/dr, j, dj/dr."""
        e = np.exp(-self.ALPHA * (r - self.R0))
        q, dq = 0.5 * d * (1.5 * e**2 - e), 0.5 * d * self.ALPHA * (e - 3 * e**2)
        j, dj = 0.25 * d * (e**2 - 6 * e), 0.25 * d * self.ALPHA * (6 * e - 2 * e**2)
        return q / (1 + s), dq / (1 + s), j / (1 + s), dj / (1 + s)

    def _by_distances(self, ab: np.ndarray, bc: np.ndarray, ac: np.ndarray) -> tuple[np.ndarray, ...]:
        """V and its derivatives by the three distances."""
        q1, dq1, j1, dj1 = self._pair(ab, self.D_AB, self.S_AB)
        q2, dq2, j2, dj2 = self._pair(bc, self.D_BC, self.s_bc)
        q3, dq3, j3, dj3 = self._pair(ac, self.D_AC, self.S_AC)
        root = np.sqrt(j1**2 + j2**2 + j3**2 - j1 * j2 - j2 * j3 - j1 * j3)
        V = q1 + q2 + q3 - root
        twice = 2 * np.maximum(root, np.finfo(float).tiny)
        return (
            V,
            dq1 - dj1 * (2 * j1 - j2 - j3) / twice,
            dq2 - dj2 * (2 * j2 - j1 - j3) / twice,
            dq3 - dj3 * (2 * j3 - j2 - j1) / twice,
        )

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ab, bc = points.T
        V, by_ab, by_bc, by_ac = self._by_distances(ab, bc, ab + bc)
        return V, np.stack([by_ab + by_ac, by_bc + by_ac], axis=1)


class LepsOscillator(Leps):
    """LEPS with an oscillator, model II of Jónsson, Mills and Jacobsen (1998), over (r_AB, x).

    V = LEPS(r_AB, r_AC − r_AB) with r_AC = 3.742 fixed and s_BC = 0.80, and 2 k_c (r_AB − (r_AC/2 − x/c_c))² with
    k_c = 0.2025, c_c = 1.154.

    Notes
    -----
    Minima −4.509176 at (0.741521, 1.303419) and −2.620287 at (3.001276, −1.304338); the saddle between them −0.875225
    at (2.020828, −0.172901).
    """

    minima = np.array([[0.74152066011974, 1.30341915822182], [3.001275805357214, -1.304338279382224]])
    saddles = np.array([[2.020827734366342, -0.172901205458759]])
    R_AC, K_C, C_C = 3.742, 0.2025, 1.154

    def __init__(self, s_bc: float = 0.80) -> None:
        super().__init__(s_bc)

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        ab, x = points.T
        V, by_ab, by_bc, _ = self._by_distances(ab, self.R_AC - ab, np.full_like(ab, self.R_AC))
        stretch = ab - (self.R_AC / 2 - x / self.C_C)
        values = V + 2 * self.K_C * stretch**2
        force = 4 * self.K_C * stretch
        return values, np.stack([by_ab - by_bc + force, force / self.C_C], axis=1)


class LennardJones(Potential):
    """A cluster of n like atoms, V = 4 Σ_{i<j} (r_ij^−12 − r_ij^−6), coordinates (x₁, y₁, z₁, x₂, …).

    Parameters
    ----------
    n_atoms
        n, at least 2.

    Notes
    -----
    LJ4: the tetrahedron −6 and, between two of its labellings, a saddle −5.07342. LJ6: the octahedron −12.712062 and a
    capped trigonal bipyramid −12.302928, connected by a saddle −12.079031.
    """

    def __init__(self, n_atoms: int) -> None:
        if n_atoms < 2:
            raise ValueError(f"n_atoms is {n_atoms}; expected at least 2")
        self.n_atoms, self.size = n_atoms, 3 * n_atoms
        self._i, self._j = np.triu_indices(n_atoms, 1)

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x = points.reshape(len(points), self.n_atoms, 3)
        away = x[:, self._i] - x[:, self._j]
        inverse = 1 / (away**2).sum(axis=2)
        sixth = inverse**3
        values = 4 * (sixth**2 - sixth).sum(axis=1)
        pull = (24 * inverse * (sixth - 2 * sixth**2))[:, :, None] * away
        gradients = np.zeros_like(x)
        for k in range(self.n_atoms):
            gradients[:, k] = pull[:, self._i == k].sum(axis=1) - pull[:, self._j == k].sum(axis=1)
        return values, gradients.reshape(points.shape)

    def zero_modes(self, point: Any) -> np.ndarray:
        """Compute translations and rotations (Z, 3n), orthonormal; Z = 5 where all atoms lie on a line, else 6."""
        return rigid_motions(np.asarray(point, dtype=np.float64).reshape(-1, 3))


def rigid_motions(positions: Any, rotations: bool = True, *, frozen: Any = (), period: Any = None) -> np.ndarray:
    """Compute the rigid motions of atoms, translations and rotations, which keep every distance.

    Parameters
    ----------
    positions
        (n, 3): positions of the atoms.
    rotations
        False where the surroundings are not isotropic, such as a cell that is periodic in two or three directions.
    frozen
        Indices, or a mask (n,), of atoms that do not move. With frozen atoms there is no translation; one frozen atom
        permits the rotations about it, several on one line the rotation about the line, others none.
    period
        (3,): the period of a wire, which permits the rotation about its axis. None where there is none.

    Returns
    -------
    ndarray
        (Z, 3m), orthonormal, over the m atoms that are not frozen.

    Raises
    ------
    ValueError
        If positions, mask or period have another shape, or the period is 0.

    Notes
    -----
    Atoms on a line have no rotation about it. A molecule close to a linear minimum or saddle is slightly bent. There
    the rotation about its long axis moves the atoms like one of the two degenerate bending modes, and its curvature is
    that of the bending mode, not 0, however small the angle. So atoms count as collinear where the vector from each
    atom to the next deviates from the line by no more than 0.57 degrees. This angle, unlike the ratio of width to
    length, does not mistake a long zigzag chain for a line.
    """
    positions, frozen = np.asarray(positions, dtype=np.float64), np.asarray(frozen)
    if positions.ndim != 2 or positions.shape[1] != 3:
        raise ValueError(f"positions have shape {positions.shape}; expected (n, 3), as x.reshape(-1, 3) makes them")
    if frozen.dtype == bool and frozen.shape != positions.shape[:1]:
        raise ValueError(f"frozen is a mask of shape {frozen.shape}; expected ({len(positions)},)")
    if period is not None and (np.shape(period) != (3,) or not np.linalg.norm(period) > 0):
        raise ValueError(f"period is {period}; expected a vector (3,) that is not 0")
    moves = np.ones(len(positions), dtype=bool)
    moves[frozen if frozen.dtype == bool else frozen.astype(int)] = False
    fixed, free = positions[~moves], positions[moves]
    translations = np.zeros((0, free.size))
    if not len(fixed) and len(free):
        translations = np.array([np.tile(axis, len(free)) for axis in np.eye(3)]) / sqrt(len(free))
    if not rotations or not len(free):
        return translations
    about, axes = _rotations(positions, fixed, period)
    rotated = np.array([np.cross(axis, free - about).ravel() for axis in axes]).reshape(-1, free.size)
    _, sizes, rows = np.linalg.svd(rotated, full_matrices=False)
    if len(sizes) and _on_a_line(positions, period):
        sizes[-1] = 0
    return np.concatenate([translations, rows[sizes > 0]])


def _rotations(positions: np.ndarray, fixed: np.ndarray, period: Any) -> tuple[np.ndarray, np.ndarray]:
    """Find a point (3,), and the axes (k, 3) through it about which the atoms may rotate; k is 0, 1 or 3."""
    if period is not None:
        axis = np.asarray(period, dtype=np.float64)
        # A frozen atom of a wire has an image in every period.
        fixed = np.concatenate([fixed, fixed + axis])
        if not len(fixed):
            return positions.mean(axis=0), axis[None] / np.linalg.norm(axis)
    if not len(fixed):
        return positions.mean(axis=0), np.eye(3)
    centre = fixed.mean(axis=0)
    sizes, axes = np.linalg.svd(fixed - centre, full_matrices=False)[1:] if len(fixed) > 1 else (np.zeros(1), np.eye(3))
    if not sizes[0] > 0:
        return centre, np.eye(3)
    on_a_line = len(sizes) < 2 or sizes[1] <= FROZEN_STRAIGHT * sizes[0]
    return centre, axes[:1] if on_a_line else np.zeros((0, 3))


def _on_a_line(positions: np.ndarray, period: Any) -> bool:
    """Decide whether atoms, or those of a wire, lie on one straight line."""
    away = positions - positions.mean(axis=0)
    axis = (
        np.linalg.svd(away, full_matrices=False)[2][0]
        if period is None
        else np.asarray(period) / np.linalg.norm(period)
    )
    along = away @ axis
    if period is not None:
        # The image of the first atom in the next period closes the chain.
        along %= np.linalg.norm(period)
    beside = away - np.outer(away @ axis, axis)
    order = np.argsort(along, kind="stable")
    steps, aside = np.diff(along[order]), np.diff(beside[order], axis=0)
    if period is not None:
        steps = np.append(steps, np.linalg.norm(period) + along[order[0]] - along[order[-1]])
        aside = np.concatenate([aside, beside[order[:1]] - beside[order[-1:]]])
    return bool((np.linalg.norm(aside, axis=1) <= STRAIGHT * steps).all())


class Rosenbrock(Potential):
    """The valley of Rosenbrock (1960), f = Σ_i 100 (x_{i+1} − x_i²)² + (1 − x_i)²; its lowest minimum 0 at (1, …, 1).

    Parameters
    ----------
    size
        D, at least 2.

    Notes
    -----
    ``minima`` has that one. With 4 coordinates or more there is another near (−1, 1, …, 1), of value 3.9308 for D = 5;
    the saddles between the two are not listed.
    """

    def __init__(self, size: int = 2) -> None:
        if size < 2:
            raise ValueError(f"size is {size}; expected at least 2")
        self.size = size
        self.minima, self.saddles = np.ones((1, size)), np.zeros((0, size))

    def _evaluate(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        bend, flat = points[:, 1:] - points[:, :-1] ** 2, 1 - points[:, :-1]
        gradients = np.zeros_like(points)
        gradients[:, :-1] = -400 * points[:, :-1] * bend - 2 * flat
        gradients[:, 1:] += 200 * bend
        return (100 * bend**2 + flat**2).sum(axis=1), gradients
