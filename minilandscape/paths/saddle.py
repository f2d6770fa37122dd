"""The saddle certificate: climbs from a path's highest point to the stationary point, and proves what it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg, eigsh

from ..backend import to_device, to_host
from ..files import read_result, write_result
from ..landscape import Evaluations, LandscapeError, as_landscape
from ..optimizers.lbfgs import two_loop
from .result import Path

#: A residual is small below this part of (range of the values on the path) / (distance of its ends).
RESIDUAL = 1e-6
#: Steps at most: of the climb, and of each descent.
MOST_CLIMBS, MOST_DESCENTS = 200, 3000
#: Longest step, as a part of the distance of the ends: of the climb at first, and of the descents.
FIRST_TRUST, LONGEST_DESCENT = 0.03, 0.02
#: Stationary points with several negative eigenvalues that a climb leaves before it takes one.
HIGHER_POINTS = 5
#: Up to this many coordinates the products with all unit vectors give the whole spectrum.
FEW_COORDINATES = 60
#: Eigenvalues that are asked for beyond that; vectors and restarts of the Lanczos iterations at most.
LOWEST, VECTORS, RESTARTS = 3, 40, 200
#: The climb ends when so many steps have not lowered the residual by a tenth.
STALLS = 25
#: An end is reached when it lies within this part of the distance of the ends.
REACHED = 0.02
#: A descent leaves the saddle by this part of the distance of the ends.
PUSH = 0.005


@dataclass(frozen=True)
class Saddle:
    """A stationary point, and what is known of it.

    Attributes
    ----------
    point, value
        (D,), and f there.
    residual
        The largest component of the gradient there.
    eigenvalues
        The lowest of the Hessian, ascending, zero modes left out.
    zero_modes
        How many directions were left out because they leave the value alone.
    mode
        (D,): the eigenvector of the lowest.
    minima, minima_values
        (2, D), (2,): where the descents on both sides end, the side of the path's start first.
    connects_ends
        Whether these are the path's ends, within 2 % of their distance.
    converged
        A small residual, exactly one negative eigenvalue, and both descents finished.
    reason
        Why not; ``"converged"`` if so.
    evaluations
        Points evaluated.
    """

    point: np.ndarray
    value: float
    residual: float
    eigenvalues: np.ndarray
    zero_modes: int
    mode: np.ndarray
    minima: np.ndarray
    minima_values: np.ndarray
    connects_ends: bool
    converged: bool
    reason: str
    evaluations: Evaluations

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_saddle` reads."""
        arrays = {name: getattr(self, name) for name in ("point", "eigenvalues", "mode", "minima", "minima_values")}
        names = ("value", "residual", "zero_modes", "connects_ends", "converged", "reason")
        facts = {name: getattr(self, name) for name in names}
        write_result(path, "saddle", arrays, {**facts, "evaluations": vars(self.evaluations).copy()})


def load_saddle(path: str | os.PathLike[str]) -> Saddle:
    """Reads what :meth:`Saddle.save` wrote; ValueError names the file where it is damaged."""
    arrays, facts = read_result(path, "saddle")
    counts = Evaluations(**facts.pop("evaluations"))
    known: dict[str, Any] = {k: v for k, v in {**arrays, **facts}.items() if k not in ("format", "kind")}
    return Saddle(**known, evaluations=counts)


class _Surface:
    """A landscape with counts, in float64 on the host, and products with its Hessian by differences of gradients."""

    def __init__(self, landscape: Any, step: float) -> None:
        self.landscape, self.step = landscape, step
        self.stiffest = 0.0
        self.known: np.ndarray | None = None
        self.evaluations = Evaluations()

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        values, gradients = self.stack(x[None])
        return float(values[0]), gradients[0]

    def stack(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        self.evaluations.gradients += len(points)
        points = to_device(points, self.landscape.device, self.landscape.dtype)
        values, gradients = self.landscape.values_and_gradients(points)
        return values, to_host(gradients).astype(np.float64)

    def products(self, x: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """H v for rows v (n, D), all in one batch, by [∇f(x + h v) − ∇f(x − h v)] / 2h.

        Where the gradient at x is known, and the product need not be exact, by [∇f(x + h v) − ∇f(x)] / h.
        """
        sizes = np.linalg.norm(directions, axis=1, keepdims=True)
        units = np.divide(directions, sizes, out=np.zeros_like(directions), where=sizes > 0)
        if self.known is not None:
            _, gradients = self.stack(x + self.step * units)
            return sizes * (gradients - self.known) / self.step
        _, gradients = self.stack(np.concatenate([x + self.step * units, x - self.step * units]))
        ahead, behind = gradients[: len(units)], gradients[len(units) :]
        return sizes * (ahead - behind) / (2 * self.step)

    def zero_modes(self, x: np.ndarray) -> np.ndarray:
        """(Z, D), orthonormal."""
        modes = np.asarray(to_host(self.landscape.zero_modes(x)), dtype=np.float64).reshape(-1, x.size)
        if not len(modes):
            return modes
        _, sizes, rows = np.linalg.svd(modes, full_matrices=False)
        return rows[sizes > 1e-10 * sizes.max()]

    def lowest(self, x: np.ndarray, zero: np.ndarray, guess: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, ascending, and eigenvectors (rows) of the Hessian without its zero modes: all, or n of them."""
        D, Z = x.size, len(zero)
        if D <= FEW_COORDINATES:
            # The complement's own basis, so that zero modes cannot mix in.
            basis = np.linalg.svd(zero, full_matrices=True)[2][Z:] if Z else np.eye(D)
            H = basis @ self.products(x, basis).T
            values, vectors = np.linalg.eigh(0.5 * (H + H.T))
            return values, vectors.T @ basis

        def product(v: np.ndarray) -> np.ndarray:
            along = zero @ v.ravel()
            Hv = self.products(x, (v.ravel() - zero.T @ along)[None])[0]
            result: np.ndarray = Hv - zero.T @ (zero @ Hv) + self.stiffest * (zero.T @ along)
            return result

        operator = LinearOperator((D, D), matvec=product, dtype=np.float64)
        if self.stiffest == 0:  # zero modes are put where they are in nobody's way
            (largest,) = eigsh(operator, k=1, which="LM", v0=guess, tol=0.1, return_eigenvectors=False)
            self.stiffest = abs(float(largest))
        # The signs have to be right, and the first vector good enough to follow.
        options = {"k": n, "which": "SA", "v0": guess, "ncv": VECTORS, "maxiter": RESTARTS}
        values, vectors = eigsh(operator, tol=1e-3 if n == 1 else 1e-2, **options)
        order = np.argsort(values)
        return values[order], vectors.T[order]


def refine_saddle(landscape: Any, path: Path | Any, direction: Any = None, *, residual: float | None = None) -> Saddle:
    """Climbs to the stationary point near a path's highest point, and finds out what it is.

    Eigenvector following: along the lowest mode of the Hessian the step goes uphill, along all others downhill, each
    by its Newton length, within a trust radius. The Hessian is never formed beyond its products with vectors,
    H v = [∇f(x + hv) − ∇f(x − hv)] / 2h; with more than 60 coordinates its lowest modes come from Lanczos iterations,
    and the step in the rest from conjugate gradients. From the saddle the value is followed downhill on both sides.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes; its zero modes are kept out.
    path
        Of :func:`find_path`; or a point (D,) to start from, which has no ends to connect.
    direction
        (D,): the uphill direction at the start; None takes the path's tangent.
    residual
        The largest component of the gradient that counts as none; None takes 1e-6 of the values' range on the path
        over the distance of its ends (of a point: 1e-6 of the largest component of the gradient there).

    Returns
    -------
    Saddle
        ``converged`` only if all of it is proved; ``reason`` says what is not.

    Raises
    ------
    LandscapeError
        If the start itself cannot be evaluated.
    ValueError
        If the point is not finite or of another size.
    """
    if isinstance(path, Path):
        land = as_landscape(landscape, path.start.size)
        ends = np.stack([path.start, path.end]).astype(np.float64)
        scale = float(np.linalg.norm(np.asarray(to_host(land.displacement(ends[0], ends[1])), dtype=np.float64)))
        t = path.dense_t if np.isfinite(path.dense_t) else float(path.t[path.values.argmax()])
        x = path.points(t)[0].astype(np.float64)
        around = np.clip([t - 1e-3, t + 1e-3], 0, 1)
        tangent = np.subtract(*path.points(around)[::-1]).astype(np.float64)
        tolerance = RESIDUAL * float(np.ptp(path.values)) / scale
        at_an_end = t in (0.0, 1.0)
    else:
        x = np.asarray(to_host(path), dtype=np.float64)
        if x.ndim != 1 or not np.isfinite(x).all():
            raise ValueError(f"the start has shape {x.shape}; expected one finite point (D,), or a Path")
        land = as_landscape(landscape, x.size)
        ends, tangent, tolerance, at_an_end = None, None, None, False
        scale = max(1.0, float(np.sqrt((x**2).mean())))
    if direction is not None:
        tangent = np.asarray(to_host(direction), dtype=np.float64)
    eps = float(np.finfo(land.dtype).eps)
    surface = _Surface(land, eps ** (1 / 3) * scale)
    value, g = surface.value_and_gradient(x)
    if not (np.isfinite(value) and np.isfinite(g).all()):
        raise LandscapeError(f"the value or gradient at the start of the climb is not finite ({value})", x)
    if residual is not None:
        tolerance = residual
    elif tolerance is None:
        tolerance = RESIDUAL * float(np.abs(g).max())
    climb = _Climb(surface, x, tangent, scale, tolerance)
    reason = "the highest point of the path is its end: there is no barrier" if at_an_end else climb.run()
    values, vectors = climb.values, climb.vectors
    if reason is None and not (values[0] < 0 and (len(values) == 1 or values[1] > 0)):
        reason = f"{int((values < 0).sum())} eigenvalues are negative; a saddle has exactly one"
    minima, minima_values = np.full((2, x.size), np.nan), np.full(2, np.nan)
    connects = False
    mode = vectors[0] if len(vectors) else np.zeros(x.size)
    if reason is None:
        if tangent is not None and mode @ tangent < 0:
            mode = -mode
        finished = True
        for k, sign in enumerate((-1, 1)):
            minima[k], minima_values[k], ended = _descend(surface, climb.x, sign * mode, climb.value, scale, tolerance)
            finished &= ended
        if not finished:
            reason = "a descent has not come to rest: a valley goes on, or the gradient is not that of the values"
        elif ends is not None:
            connects = _connects(land, surface, ends, minima, scale)
    return Saddle(
        point=climb.x,
        value=climb.value,
        residual=float(np.abs(climb.g).max()),
        eigenvalues=values[: 2 * LOWEST],
        zero_modes=len(climb.zero),
        mode=mode,
        minima=minima,
        minima_values=minima_values,
        connects_ends=connects,
        converged=reason is None,
        reason=reason or "converged",
        evaluations=surface.evaluations,
    )


class _Climb:
    """Eigenvector following from x; ``run`` says why it failed, or None."""

    def __init__(self, surface: _Surface, x: np.ndarray, tangent: Any, scale: float, tolerance: float) -> None:
        self.surface, self.x, self.scale, self.tolerance = surface, x, scale, tolerance
        self.guess = np.random.default_rng(0).standard_normal(x.size) if tangent is None else tangent
        self.zero = np.zeros((0, x.size))
        self.values, self.vectors = np.zeros(0), np.zeros((0, x.size))
        self._look()

    def _look(self) -> None:
        """Value and gradient at x, the zero modes taken out."""
        self.value, self.whole = self.surface.value_and_gradient(self.x)
        g = self.whole
        self.zero = self.surface.zero_modes(self.x)
        self.g = g - self.zero.T @ (self.zero @ g)

    def run(self) -> str | None:
        trust, left = FIRST_TRUST * self.scale, 0
        followed = self.guess / np.linalg.norm(self.guess) if np.any(self.guess) else self.guess
        least, stalled = float("inf"), 0
        for _ in range(MOST_CLIMBS):
            if np.abs(self.g).max() < 0.9 * least:
                least, stalled = float(np.abs(self.g).max()), 0
            elif (stalled := stalled + 1) > STALLS:
                break
            try:
                arrived = bool(np.abs(self.g).max() <= self.tolerance)
                n, self.surface.known = (LOWEST, None) if arrived else (1, self.whole)
                self.values, self.vectors = self.surface.lowest(self.x, self.zero, followed, n)
            except (LandscapeError, ArithmeticError, RuntimeError, np.linalg.LinAlgError) as error:
                return f"the Hessian could not be looked at: {error}"
            # Where not just one mode is negative, the one along the path is climbed, not the softest one beside it.
            one = (self.values < 0).sum() == 1
            up = 0 if one else int(np.argmax(np.abs(self.vectors @ followed)))
            if arrived:
                if len(self.values) < 2 or self.values[1] >= 0 or left == HIGHER_POINTS:
                    return None
                # A point of higher index, where symmetry has led: another negative mode leads down from it.
                left += 1
                followed = self.vectors[up]
                self.x = self.x + FIRST_TRUST * self.scale * self.vectors[int(up == 0)]
                self._look()
                continue
            step = self._step(up)
            size = float(np.linalg.norm(step))
            if size > trust:
                step, size = step * (trust / size), trust
            before = self.x, self.value, self.g, self.zero, self.whole
            predicted = float(np.linalg.norm(self.g))
            self.x = self.x + step
            try:
                self._look()
            except LandscapeError:
                self.value = float("nan")
            index_one = self.values[0] < 0 and (len(self.values) == 1 or self.values[1] > 0)
            grew = float(np.linalg.norm(self.g)) > (1.0 if index_one else 3.0) * predicted
            if not (np.isfinite(self.value) and np.isfinite(self.g).all()) or (grew and index_one):
                self.x, self.value, self.g, self.zero, self.whole = before
                trust = 0.3 * size
                if trust < 1e-12 * self.scale:
                    return f"the residual stays at {np.abs(self.g).max():.3g}; {self.tolerance:.3g} was to be reached"
                continue
            trust = min(2 * trust, 4 * FIRST_TRUST * self.scale)
            followed = self.vectors[up]
        return f"the climb stopped at a residual of {np.abs(self.g).max():.3g}; expected {self.tolerance:.3g}"

    def _step(self, up: int) -> np.ndarray:
        """Uphill along one mode, downhill along all others, each by its Newton length."""
        along = self.vectors @ self.g
        floor = 1e-8 * float(np.abs(self.values).max()) or 1.0
        lengths = -along / np.maximum(np.abs(self.values), floor)
        lengths[up] *= -1
        if along[up] == 0 and self.values[up] > 0:  # on a ridge's side without a slope: leave it
            lengths[up] = FIRST_TRUST * self.scale
        step: np.ndarray = self.vectors.T @ lengths
        known = np.concatenate([self.vectors, self.zero])
        rest = self.g - known.T @ (known @ self.g)
        if len(known) < self.x.size and np.linalg.norm(rest) > 1e-10 * np.linalg.norm(self.g):

            def product(v: np.ndarray) -> np.ndarray:
                v = v - known.T @ (known @ v)
                Hv = self.surface.products(self.x, v[None])[0]
                projected: np.ndarray = Hv - known.T @ (known @ Hv)
                return projected

            operator = LinearOperator((self.x.size,) * 2, matvec=product, dtype=np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                found, _ = cg(operator, -rest, rtol=0.01, maxiter=200)
            step = step + found if np.isfinite(found).all() else step
        return step


def _descend(
    surface: _Surface, saddle: np.ndarray, way: np.ndarray, top: float, scale: float, tolerance: float
) -> tuple[np.ndarray, float, bool]:
    """Downhill from beside the saddle by L-BFGS with short steps that never rise: the end, its value, if at rest."""
    push = PUSH * scale
    x = saddle + push * way
    value, g = surface.value_and_gradient(x)
    while not value < top and push > 1e-6 * scale:  # pushed beyond the valley: stay nearer
        push *= 0.5
        x = saddle + push * way
        value, g = surface.value_and_gradient(x)
    s: tuple[np.ndarray, ...] = ()
    y: tuple[np.ndarray, ...] = ()
    for _ in range(MOST_DESCENTS):
        if np.abs(g).max() <= tolerance:
            return x, value, True
        p = two_loop(g, s, y)
        if not p @ g > 0:
            s, y, p = (), (), g
        step = -p if s else -g * (LONGEST_DESCENT * scale / np.linalg.norm(g))
        size = float(np.linalg.norm(step))
        step *= min(1.0, LONGEST_DESCENT * scale / size)
        moved = False
        for _ in range(40):
            try:
                new_value, new_g = surface.value_and_gradient(x + step)
            except LandscapeError:
                new_value = float("inf")
            # At the bottom values no longer resolve what gradients do.
            flat = abs(new_value - value) <= 1e-14 * abs(value)
            if np.isfinite(new_value) and (
                new_value <= value + 1e-4 * float(step @ g) or (flat and np.abs(new_g).max() < np.abs(g).max())
            ):
                moved = True
                break
            step *= 0.3
        if not moved:
            if not s:
                return x, value, False
            s, y = (), ()
            continue
        ds, dy = step, new_g - g
        if float(ds @ dy) > 1e-12 * float(np.linalg.norm(ds) * np.linalg.norm(dy)):
            s, y = (*s, ds)[-10:], (*y, dy)[-10:]
        x, value, g = x + step, new_value, new_g
    return x, value, False


def _connects(land: Any, surface: _Surface, ends: np.ndarray, minima: np.ndarray, scale: float) -> bool:
    def apart(a: np.ndarray, b: np.ndarray) -> float:
        away = np.asarray(to_host(land.displacement(a, b)), dtype=np.float64)
        zero = surface.zero_modes(b)
        return float(np.linalg.norm(away - zero.T @ (zero @ away)))

    near = np.array([[apart(end, minimum) <= REACHED * scale for minimum in minima] for end in ends])
    return bool((near[0, 0] and near[1, 1]) or (near[0, 1] and near[1, 0]))


def split_at_minima(landscape: Any, path: Path, *, least: float = 0.02) -> np.ndarray:
    """The chain of minima that a path passes through: its start, what lies at its inner low points, and its end.

    Parameters
    ----------
    path
        Of :func:`find_path`.
    least
        How deep a low point has to lie below the lower of the peaks beside it, as a part of the values' range.

    Returns
    -------
    ndarray
        (K, D), K of at least 2; each low point followed downhill to rest, those left out that come to rest where
        another did.
    """
    land = as_landscape(landscape, path.start.size)
    scale = float(np.linalg.norm(np.asarray(to_host(land.displacement(path.start, path.end)), dtype=np.float64)))
    span = float(np.ptp(path.values))
    surface = _Surface(land, float(np.finfo(land.dtype).eps) ** (1 / 3) * scale)
    chain = [path.start.astype(np.float64)]
    values = path.values
    for k in range(1, len(values) - 1):
        if not (values[k] <= values[k - 1] and values[k] < values[k + 1]):
            continue
        if min(values[:k].max(), values[k + 1 :].max()) - values[k] < least * span:
            continue
        x = path.points(path.t[k])[0].astype(np.float64)
        still = np.zeros_like(x)
        found, _, ended = _descend(surface, x, still, float("inf"), scale, RESIDUAL * span / scale)
        others = [*chain, path.end]
        apart = [np.linalg.norm(np.asarray(to_host(land.displacement(found, o)), dtype=np.float64)) for o in others]
        if ended and min(apart) > REACHED * scale:
            chain.append(found)
    return np.stack([*chain, path.end.astype(np.float64)])
