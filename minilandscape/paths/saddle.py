"""The saddle certificate: climbs from a path's highest point to the stationary point, and proves what it is."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from ..backend import to_device, to_host
from ..files import read_result, write_result
from ..hessian import FEW_COORDINATES, Differences
from ..landscape import Evaluations, LandscapeError, as_landscape, vector
from ..optimizers.lbfgs import two_loop
from .result import Path

#: A residual is small below this part of (height above the path's lowest value) / (distance of its ends).
RESIDUAL = 1e-6
#: Products have an error of about eps^(2/3) of the stiffest mode; an eigenvalue below so many times that has no sign.
UNSURE = 1000
#: A curvature that changes its sign within this part of the distance of the ends belongs to a degenerate point.
NEAR = 1e-3
#: Zero modes turn by so much at most over a way as long as the distance of the ends.
TURNS = 10
#: Steps at most: of the climb, and of each descent.
MOST_CLIMBS, MOST_DESCENTS = 200, 3000
#: Longest step, as a part of the distance of the ends: of the climb at first, and of the descents.
FIRST_TRUST, LONGEST_DESCENT = 0.03, 0.02
#: Stationary points with several negative eigenvalues that a climb leaves before it takes one.
HIGHER_POINTS = 5
#: With many coordinates, vectors of the Lanczos iterations: to follow a mode, and for a proof; restarts at most.
VECTORS, PROOF_VECTORS, RESTARTS = 40, 80, 200
#: An eigenvalue within this part of itself has the right sign.
SIGN = 0.2
#: The chance to miss a second negative eigenvalue, and the products at most that make it so small.
MISSED, PROOF_PRODUCTS = 1e-6, 16_000
#: Looks at most, each ten times as close, for an eigenvalue that is known to be there.
LOOKS = 5
#: Eigenvalues in the result at most.
REPORTED = 6
#: Products of the conjugate gradients for the step across, at most.
MOST_PRODUCTS = 200
#: The climb ends when so many steps have not lowered the residual by a tenth.
STALLS = 25
#: An end is reached when it lies within this part of the distance of the ends.
REACHED = 0.02
#: A descent ends where so many steps in a row had to be cut a thousandfold and more: it stands before a wall.
WALLS = 5
#: A descent leaves the saddle by this part of the distance of the ends.
PUSH = 0.005


#: A path is looked at for minima in so many intervals at least.
INTERVALS = 49


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


class _Surface(Differences):
    """A landscape, and the lowest modes of its Hessian."""

    def __init__(self, landscape: Any, step: float) -> None:
        super().__init__(landscape, step)
        self.stiffest = 0.0

    def error(self, values: np.ndarray) -> float:
        """Eigenvalues smaller than this may be zero."""
        stiffest = max(self.stiffest, float(np.abs(values).max(initial=0)))
        return UNSURE * float(np.finfo(self.landscape.dtype).eps) ** (2 / 3) * stiffest

    def lowest(
        self, x: np.ndarray, zero: np.ndarray, guess: np.ndarray | None, proved: int = 2
    ) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, ascending, and eigenvectors (rows) of the Hessian without its zero modes.

        All of them with few coordinates. With many, the lowest that a guess leads to; or, without a guess, the two
        lowest, their signs proved; or, if one is to be proved, a negative one, and none where there is none.
        """
        D = x.size
        if D <= FEW_COORDINATES:
            return self.whole_spectrum(x, zero)

        def product(v: np.ndarray, aside: np.ndarray) -> np.ndarray:
            along = aside @ v.ravel()
            Hv = self.products(x, (v.ravel() - aside.T @ along)[None])[0]
            if not np.isfinite(Hv).all():
                raise LandscapeError("the gradient is not finite beside it", x)
            result: np.ndarray = Hv - aside.T @ (aside @ Hv) + self.stiffest * (aside.T @ along)
            return result

        def lanczos(aside: np.ndarray, start: np.ndarray, ncv: int, tol: float, which: str = "SA") -> Any:
            operator = LinearOperator((D, D), matvec=lambda v: product(v, aside), dtype=np.float64)
            options = {"ncv": min(ncv, D - 1), "maxiter": RESTARTS, "tol": tol}
            values, vectors = eigsh(operator, k=1, which=which, v0=start, **options)
            return values, vectors.T

        rng = np.random.default_rng(1)
        if self.stiffest == 0 or (guess is None and proved == 2):  # modes are put there aside, in nobody's way
            self.stiffest = 0.0  # of an earlier point, where it may have been far stiffer
            if not product(rng.standard_normal(D), zero).any():
                raise LandscapeError("its products with vectors are all zero: the landscape is flat there", x)
            self.stiffest = abs(float(lanczos(zero, rng.standard_normal(D), VECTORS, 0.1, "LM")[0][0]))
        if guess is not None:
            return lanczos(zero, guess, VECTORS, 1e-3)
        # From one start Lanczos iterations see one vector of a degenerate pair, and of a symmetric start nothing that
        # breaks the symmetry. So they start anywhere, and what they found is put aside for a second look.
        values, vectors = np.zeros(0), np.zeros((0, D))
        if proved == 2:
            values, vectors = lanczos(zero, rng.standard_normal(D), PROOF_VECTORS, 1e-2)
        aside = np.concatenate([zero, vectors])

        def none_below(floor: float) -> bool:
            return self.none_below(floor, lambda v: product(v, aside), rng.standard_normal(D))

        # What is zero within the error makes no saddle, but may be a minimum's.
        floor = self.error(values) if proved == 2 else -self.error(values)
        if proved == 1 and none_below(floor):
            return values, vectors
        # The last look has to tell no more than a sign. It may come to rest on an eigenvalue before a softer one below
        # has emerged; then closer looks find that.
        for tol in SIGN * 0.1 ** np.arange(LOOKS):
            value, vector = lanczos(aside, rng.standard_normal(D), PROOF_VECTORS, tol)
            if value[0] <= floor or none_below(max(floor, 0.5 * float(value[0]))):
                break
        else:
            raise RuntimeError(f"an eigenvalue below {value[0]:.3g} is there, but its mode is not found")
        values, vectors = np.concatenate([values, value]), np.concatenate([vectors, vector])
        order = np.argsort(values)
        return values[order], vectors[order]

    def none_below(self, floor: float, product: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> bool:
        """Whether all eigenvalues of an operator lie above a floor; a wrong yes has a chance of ``MISSED``.

        The k-th vector of the Lanczos recurrence is p_k(H) v, and p_k(λ)² grows below the lowest Ritz value the further
        down λ is. An eigenvector u with an eigenvalue there has (u·v)² Σ p_k(λ)² = Σ (u·v_k)² ≤ 1. The sum at the
        floor thus bounds its part in v; in a random v, |u·v| < s has a chance below s √(2D/π). A Ritz value below the
        floor, a pivot of T − floor that is not positive, says no. Neither needs vectors kept nor restarts.
        """
        enough = 2 * start.size / (np.pi * MISSED**2)
        before, v = np.zeros_like(start), start / np.linalg.norm(start)
        beta, pivot, p, total = 0.0, 1.0, 1.0, 1.0
        for _ in range(PROOF_PRODUCTS):
            w = product(v) - beta * before
            alpha = float(v @ w)
            pivot = alpha - floor - beta**2 / pivot
            if pivot <= 0:
                return False
            w = w - alpha * v
            beta = float(np.linalg.norm(w))
            if beta == 0:  # all that v contains has been seen
                return True
            p *= pivot / beta  # but for its sign
            total += p * p
            if total >= enough:
                return True
            before, v = v, w / beta
        raise RuntimeError(f"{PROOF_PRODUCTS} products do not tell whether an eigenvalue lies below {floor:.3g}")


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
        over the distance of its ends, the range cut to the saddle's own height so that a spike does not count (of a
        point: 1e-6 of the largest component of the gradients there and 3 % of about the coordinates' size, but no less
        than one, on both sides, cut to what such a way makes of the stiffest eigenvalue where the climb ends).

    Returns
    -------
    Saddle
        ``converged`` only if all of it is proved; ``reason`` says what is not.

    Raises
    ------
    LandscapeError
        If the start itself cannot be evaluated, or the landscape's zero modes are none or all directions.
    ValueError
        If the point or the direction is not finite or of another size, or the residual is not positive.
    TypeError
        If the point is no vector of real numbers.

    Notes
    -----
    What cannot be told from a saddle of exactly one negative eigenvalue is refused: eigenvalues that are zero within
    the error of the differences (directions that leave the value alone belong into ``zero_modes``), zero modes z with
    |H z| above that error, and degenerate points, along whose two lowest modes the curvature changes its sign within
    0.1 % of the distance of the ends. With more than 60 coordinates the chance to miss a second negative eigenvalue is
    one in a million. A descent that comes to rest where the Hessian has a negative eigenvalue goes on from there.
    """
    if residual is not None and not (residual > 0 and np.isfinite(residual)):
        raise ValueError(f"residual is {residual}; expected a positive, finite number")
    if isinstance(path, Path):
        land = as_landscape(landscape, path.start.size)
        ends = np.stack([path.start, path.end]).astype(np.float64)
        scale = float(np.linalg.norm(np.asarray(to_host(land.displacement(ends[0], ends[1])), dtype=np.float64)))
        t = path.dense_t if np.isfinite(path.dense_t) else float(path.t[path.values.argmax()])
        x = path.points(t)[0].astype(np.float64)
        around = np.clip([t - 1e-3, t + 1e-3], 0, 1)
        tangent = np.subtract(*path.points(around)[::-1]).astype(np.float64)
        tolerance = _tolerance(path, scale)
        at_an_end = t in (0.0, 1.0)
    else:
        x = vector("the start", path, landscape).astype(np.float64)
        if x.ndim != 1 or not np.isfinite(x).all():
            raise ValueError(f"the start has shape {x.shape}; expected one finite point (D,), or a Path")
        land = as_landscape(landscape, x.size)
        ends, tangent, tolerance, at_an_end = None, None, None, False
        scale = max(1.0, float(np.sqrt((x**2).mean())))
    if direction is not None:
        tangent = np.asarray(to_host(direction), dtype=np.float64)
        if tangent.shape != x.shape or not np.isfinite(tangent).all() or not tangent.any():
            raise ValueError(f"direction has shape {tangent.shape}; expected {x.shape}, finite and not zero")
    eps = float(np.finfo(land.dtype).eps)
    surface = _Surface(land, eps ** (1 / 3) * scale)
    values, gradients = surface.stack(x[None])
    value, g = float(values[0]), gradients[0]
    if not (np.isfinite(value) and np.isfinite(g).all()):
        raise LandscapeError(f"the value or gradient at the start of the climb is not finite ({value})", x)
    guess = tangent if tangent is not None and tangent.any() else np.random.default_rng(0).standard_normal(x.size)
    guess = guess / np.linalg.norm(guess)
    if tolerance is None:
        largest = np.abs(g).max()
        for side in (-1, 1):
            beside = np.abs(surface.value_and_gradient(x + side * FIRST_TRUST * scale * guess)[1]).max()
            largest = max(largest, beside) if np.isfinite(beside) else largest
        tolerance = _constant(RESIDUAL * float(largest))
    if residual is not None:
        tolerance = _constant(residual)
    climb = _Climb(surface, x, value, g, guess, scale, tolerance, from_a_slope=ends is None and residual is None)
    reason = "the highest point of the path is its end: there is no barrier" if at_an_end else climb.run()
    reason = climb.doubt() if reason is None else reason
    values, vectors = climb.values, climb.vectors
    minima, minima_values = np.full((2, x.size), np.nan), np.full(2, np.nan)
    connects = False
    mode = vectors[0] if len(vectors) else np.zeros(x.size)
    if reason is None:
        if tangent is not None and mode @ tangent < 0:
            mode = -mode
        finished = True
        for k, sign in enumerate((-1, 1)):
            way = sign * mode
            found = _descend(surface, climb.x, way, climb.value, scale, climb.tolerance)
            minima[k], minima_values[k], ended = found
            finished &= ended
        if not finished:
            reason = (
                "a descent has not come to rest: a valley goes on or ends at a wall, or the gradient is not that of "
                "the values"
            )
        elif ends is not None:
            connects = _connects(land, surface, ends, minima, scale)
    return Saddle(
        point=climb.x,
        value=climb.value,
        residual=float(np.abs(climb.g).max()),
        eigenvalues=values[:REPORTED],
        zero_modes=len(climb.zero),
        mode=mode,
        minima=minima,
        minima_values=minima_values,
        connects_ends=connects,
        converged=reason is None,
        reason=reason or "converged",
        evaluations=surface.evaluations,
    )


def _constant(tolerance: float) -> Callable[[float], float]:
    return lambda value: tolerance


def _tolerance(path: Path, scale: float) -> Callable[[float], float]:
    """The residual that is small at a point of some value: a spike of the path must not make everything small."""
    low, middle, high = (float(f(path.values)) for f in (np.min, np.median, np.max))
    return lambda value: RESIDUAL * min(high - low, max(middle - low, abs(value - low))) / scale


class _Climb:
    """Eigenvector following from x; ``run`` says why it failed, or None, and ``doubt`` why it is no saddle."""

    def __init__(
        self,
        surface: _Surface,
        x: np.ndarray,
        value: float,
        gradient: np.ndarray,
        guess: np.ndarray,
        scale: float,
        tolerance: Callable[[float], float],
        from_a_slope: bool,
    ) -> None:
        self.surface, self.x, self.value, self.whole = surface, x, value, gradient
        self.from_a_slope = from_a_slope
        self.guess, self.scale, self.limit = guess, scale, tolerance
        self.values, self.vectors = np.zeros(0), np.zeros((0, x.size))
        self._project()

    @property
    def tolerance(self) -> float:
        return self.limit(self.value)

    def _look(self, x: np.ndarray) -> None:
        self.x = x
        self.value, self.whole = self.surface.value_and_gradient(x)
        self._project()

    def _project(self) -> None:
        """The gradient without the zero modes."""
        self.zero = self.surface.zero_modes(self.x)
        self.g = self.whole - self.zero.T @ (self.zero @ self.whole)

    def doubt(self) -> str | None:
        values, error = self.values, self.surface.error(self.values)
        if (np.abs(values[:2]) <= error).any():
            return (
                f"an eigenvalue is zero within its error of {error:.3g}: the surface is flat or degenerate there; a "
                "direction that leaves the value alone belongs into the landscape's zero_modes"
            )
        negative = int((values < 0).sum())
        if negative != 1:
            several = len(values) < self.x.size - len(self.zero) and negative == len(values)
            count = f"{'at least ' if several else ''}{negative} eigenvalue{'' if negative == 1 else 's'}"
            return f"{count} negative; a saddle has exactly one"
        step, modes = NEAR * self.scale, self.vectors[:2]
        try:
            bends = np.linalg.norm(self.surface.products(self.x, self.zero), axis=1) if len(self.zero) else np.zeros(1)
            # What leaves the value alone may turn, as rotations do, and its products then hold a part of the gradient.
            most = error + TURNS * float(np.linalg.norm(self.whole)) / self.scale
            if not (bends <= most).all():
                return (
                    f"a zero mode of the landscape bends: |H z| is {bends.max():.3g}, {most:.3g} at most was expected; "
                    "zero_modes names directions that do not leave the value alone"
                )
            _, gradients = self.surface.stack(np.concatenate([self.x + step * modes, self.x - step * modes]))
        except LandscapeError as failure:
            return f"the landscape beside the stationary point could not be evaluated: {failure}"
        slopes = np.einsum("smd,md->sm", gradients.reshape(2, len(modes), -1), modes)
        bent = np.abs(slopes.sum(axis=0) - 2 * modes @ self.whole) / step
        if not (bent < np.abs(values[:2])).all():
            return "the point is degenerate: the curvature along one of its lowest modes changes its sign close by"
        return None

    def _small(self) -> bool:
        """Whether the residual is small beside the curvature too: a slope as steep as the start's may be any."""
        if self.from_a_slope:
            stiffest = max(self.surface.stiffest, float(np.abs(self.values).max()))
            part = max(RESIDUAL * FIRST_TRUST, 10 * float(np.finfo(self.surface.landscape.dtype).eps))
            self.limit = _constant(min(self.tolerance, part * stiffest * self.scale))
        return bool(np.abs(self.g).max() <= self.tolerance)

    def run(self) -> str | None:
        trust, left = FIRST_TRUST * self.scale, 0
        followed = self.guess
        least, stalled = float("inf"), 0
        for _ in range(MOST_CLIMBS):
            if np.abs(self.g).max() < 0.9 * least:
                least, stalled = float(np.abs(self.g).max()), 0
            elif (stalled := stalled + 1) > STALLS:
                break
            try:
                arrived = bool(np.abs(self.g).max() <= self.tolerance)
                self.surface.known = None if arrived else self.whole
                self.values, self.vectors = self.surface.lowest(self.x, self.zero, None if arrived else followed)
                arrived = arrived and self._small()
                # Where not just one mode is negative, the one along the path is climbed, not the softest beside it.
                one = (self.values < 0).sum() == 1
                up = 0 if one else int(np.argmax(np.abs(self.vectors @ followed)))
                step, saddle_like = (None, True) if arrived else self._step(up, trust)
            except (LandscapeError, RuntimeError, np.linalg.LinAlgError) as error:
                return f"the Hessian at a residual of {np.abs(self.g).max():.3g} could not be looked at: {error}"
            before = self.x, self.value, self.g, self.zero, self.whole
            if step is None:
                if len(self.values) < 2 or self.values[1] >= -self.surface.error(self.values) or left == HIGHER_POINTS:
                    return None
                # A point of higher index, where symmetry has led: another negative mode leads down from it.
                left += 1
                followed = self.vectors[up]
                self._look(self.x + FIRST_TRUST * self.scale * self.vectors[int(up == 0)])
                if not (np.isfinite(self.value) and np.isfinite(self.g).all()):
                    self.x, self.value, self.g, self.zero, self.whole = before
                    return None
                continue
            size = float(np.linalg.norm(step))
            if size > trust:
                step, size = step * (trust / size), trust
            predicted = float(np.linalg.norm(self.g))
            self._look(self.x + step)
            index_one = saddle_like and self.values[0] < 0 and (len(self.values) == 1 or self.values[1] > 0)
            grew = float(np.linalg.norm(self.g)) > predicted
            if not (np.isfinite(self.value) and np.isfinite(self.g).all()) or (grew and index_one):
                self.x, self.value, self.g, self.zero, self.whole = before
                trust = 0.3 * size
                if trust < 1e-12 * self.scale:
                    return f"the residual stays at {np.abs(self.g).max():.3g}; {self.tolerance:.3g} was to be reached"
                continue
            trust = min(2 * trust, 4 * FIRST_TRUST * self.scale)
            followed = self.vectors[up]
        after = f", after {left} stationary points with several negative eigenvalues" if left else ""
        return f"the climb stopped at a residual of {np.abs(self.g).max():.3g}; expected {self.tolerance:.3g}{after}"

    def _step(self, up: int, trust: float) -> tuple[np.ndarray, bool]:
        """Uphill along one mode, downhill along all others, each by its Newton length; whether all else curves up."""
        along = self.vectors @ self.g
        floor = 1e-8 * float(np.abs(self.values).max()) or 1.0
        lengths = -along / np.maximum(np.abs(self.values), floor)
        lengths[up] *= -1
        if along[up] == 0 and self.values[up] > 0:  # on a ridge's side without a slope: leave it
            lengths[up] = FIRST_TRUST * self.scale
        step: np.ndarray = self.vectors.T @ lengths
        known = np.concatenate([self.vectors, self.zero])
        if len(known) == self.x.size:
            return step, True
        across, curves_up = self._across(known, trust)
        return step + across, curves_up

    def _across(self, known: np.ndarray, trust: float) -> tuple[np.ndarray, bool]:
        """Downhill in the rest by conjugate gradients, which follow a negative curvature down instead of up."""
        p = known.T @ (known @ self.g) - self.g
        r, step = p, np.zeros_like(p)
        enough = max(0.01 * float(np.linalg.norm(r)), 1e-10 * float(np.linalg.norm(self.g)))
        for _ in range(MOST_PRODUCTS):
            if np.linalg.norm(r) <= enough:
                break
            Hp = self.surface.products(self.x, p[None])[0]
            if not np.isfinite(Hp).all():
                raise LandscapeError("the gradient is not finite beside it", self.x)
            Hp = Hp - known.T @ (known @ Hp)
            curvature = float(p @ Hp)
            if curvature <= 0:
                return step + p * (trust / np.linalg.norm(p)), False
            new = r - float(r @ r) / curvature * Hp
            step = step + float(r @ r) / curvature * p
            p = new + float(new @ new) / float(r @ r) * p
            r = new
        return step, True


def _descend(
    surface: _Surface, saddle: np.ndarray, way: np.ndarray, top: float, scale: float, tolerance: float
) -> tuple[np.ndarray, float, bool]:
    """Downhill from beside the saddle to a minimum: it, its value, and whether it is at rest."""
    push = PUSH * scale
    x = saddle + push * way
    value, g = surface.value_and_gradient(x)
    while not value < top and push > 1e-6 * scale:  # pushed beyond the valley: stay nearer
        push *= 0.5
        x = saddle + push * way
        value, g = surface.value_and_gradient(x)
    if not (np.isfinite(value) and np.isfinite(g).all()):
        return x, value, False
    for _ in range(HIGHER_POINTS):
        x, value, g, ended = _relax(surface, x, value, g, scale, tolerance)
        if not ended:
            return x, value, False
        # Symmetry leads from a saddle to the next one as well as to a minimum.
        surface.known = None
        try:
            values, vectors = surface.lowest(x, surface.zero_modes(x), None, proved=1)
            if not (values[:1] < 0).any():
                return x, value, True
            beside = x + PUSH * scale * np.array([[1.0], [-1.0]]) * vectors[0]
            new_values, gradients = surface.stack(beside)
        except (LandscapeError, RuntimeError, np.linalg.LinAlgError):
            return x, value, False
        k = int(np.argmin(new_values))
        # Where a valley levels off its curvature may be negative, but nothing is gained by going on.
        if not new_values[k] < value - 2 * tolerance * PUSH * scale:
            return x, value, bool(np.isfinite(new_values).all())
        x, value, g = beside[k], float(new_values[k]), gradients[k]
    return x, value, False


def _relax(
    surface: _Surface, x: np.ndarray, value: float, g: np.ndarray, scale: float, tolerance: float
) -> tuple[np.ndarray, float, np.ndarray, bool]:
    """L-BFGS with short steps that never rise: the point, its value and gradient, and whether it is at rest."""
    s: tuple[np.ndarray, ...] = ()
    y: tuple[np.ndarray, ...] = ()
    walls = 0
    for _ in range(MOST_DESCENTS):
        if np.abs(g).max() <= tolerance:
            return x, value, g, True
        p = two_loop(g, s, y)
        if not p @ g > 0:
            s, y, p = (), (), g
        step = -p if s else -g * (LONGEST_DESCENT * scale / np.linalg.norm(g))
        size = float(np.linalg.norm(step))
        step *= min(1.0, LONGEST_DESCENT * scale / size)
        full, moved = float(np.linalg.norm(step)), False
        for _ in range(40):
            new_value, new_g = surface.value_and_gradient(x + step)
            # At the bottom values no longer resolve what gradients do.
            flat = abs(new_value - value) <= 1e-14 * abs(value)
            lower = new_value <= value + 1e-4 * float(step @ g)
            if np.isfinite(new_g).all() and (lower or (flat and np.abs(new_g).max() < np.abs(g).max())):
                moved = np.isfinite(new_value)
                break
            step *= 0.3
        if not moved:
            if not s:
                break
            s, y = (), ()
            continue
        walls = walls + 1 if float(np.linalg.norm(step)) < 1e-3 * full else 0
        if walls == WALLS:
            break
        ds, dy = step, new_g - g
        if float(ds @ dy) > 1e-12 * float(np.linalg.norm(ds) * np.linalg.norm(dy)):
            s, y = (*s, ds)[-10:], (*y, dy)[-10:]
        x, value, g = x + step, new_value, new_g
    return x, value, g, bool(np.abs(g).max() <= tolerance)


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

    Notes
    -----
    Low points are looked for at the path's M points, and between them where that makes fewer than 49 intervals. A
    minimum narrower than those is not seen; the certificate of the piece then does not connect its ends.
    """
    land = as_landscape(landscape, path.start.size)
    scale = float(np.linalg.norm(np.asarray(to_host(land.displacement(path.start, path.end)), dtype=np.float64)))
    span = float(np.ptp(path.values))
    surface = _Surface(land, float(np.finfo(land.dtype).eps) ** (1 / 3) * scale)
    chain = [path.start.astype(np.float64)]
    t, values = _finely(land, path)
    for k in range(1, len(values) - 1):
        if not (values[k] <= values[k - 1] and values[k] < values[k + 1]):
            continue
        if min(values[:k].max(), values[k + 1 :].max()) - values[k] < least * span:
            continue
        x = path.points(t[k])[0].astype(np.float64)
        still = np.zeros_like(x)
        found, _, ended = _descend(surface, x, still, float("inf"), scale, RESIDUAL * span / scale)
        others = [*chain, path.end]
        apart = [np.linalg.norm(np.asarray(to_host(land.displacement(found, o)), dtype=np.float64)) for o in others]
        if ended and min(apart) > REACHED * scale:
            chain.append(found)
    return np.stack([*chain, path.end.astype(np.float64)])


def _finely(land: Any, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """t and values of a path, with points put between its own where those are few."""
    parts = -(-INTERVALS // (len(path.t) - 1))
    between = np.concatenate([np.linspace(a, b, parts + 1)[1:-1] for a, b in zip(path.t[:-1], path.t[1:], strict=True)])
    if not between.size:
        return path.t, path.values
    more = land.values(to_device(path.points(between), land.device, land.dtype))
    order = np.argsort(t := np.concatenate([path.t, between]), kind="stable")
    return t[order], np.concatenate([path.values, np.where(np.isfinite(more), more, np.inf)])[order]
