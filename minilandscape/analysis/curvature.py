"""Curvature at a point: both ends of the Hessian's spectrum and its trace, from Hessian-vector products."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from ..files import read_result, write_result
from ..hessian import FEW_COORDINATES, Differences, Exact
from ..landscape import Evaluations, LandscapeError, as_landscape, describe_point, vector
from ..noise import Noise, measure_noise, product_step
from .blocks import Restricted, coordinates_of

#: Random vectors for the trace.
PROBES = 20
#: Products are compared with those of a step so many times smaller; such steps tried at most, and spectra computed.
FINER, MOST_STEPS, ATTEMPTS = 4, 16, 3
#: A change of products that is no more than so many times what noise explains is noise.
NOISE = 5
#: A function is smooth where products by differences, over this power of the precision, differ from exact ones by no
#: more than this part.
SMOOTH_STEP, SMOOTH = 1 / 3, 1e-2

_ARRAYS = ("point", "lowest", "lowest_residuals", "lowest_modes", "highest", "highest_residuals", "highest_modes")
_FACTS = (
    "value",
    "gradient_norm",
    "trace",
    "trace_error",
    "step",
    "zero_modes",
    "converged",
    "reason",
    "exact",
    "products",
    "piecewise",
    "difference",
    "block",
)


@dataclass(frozen=True)
class Curvature:
    """What is known of the Hessian H at a point, its zero modes left out.

    Attributes
    ----------
    point, value, gradient_norm
        (D,), f there, and |∇f|; of a block, its coordinates alone.
    lowest, highest
        (k,): eigenvalues, the lowest ascending and the highest descending.
    lowest_modes, highest_modes
        (k, D): their unit eigenvectors v.
    lowest_residuals, highest_residuals
        (k,): |H v − λ v|, by products at the step or at a quarter of it, whichever is larger; there is an eigenvalue as
        near to λ as that.
    trace, trace_error
        Σ λ, and its standard error; 0 where all eigenvalues are known.
    step
        h of the differences of gradients; 0 where products are exact.
    zero_modes
        How many directions were left out because they leave the value alone.
    converged
        Whether all residuals are small, products at a step four times smaller agree, and a last look found nothing
        beyond either end. Eigenvalues that are not so are given all the same, with their residuals.
    reason
        Why they are not, and what helps; empty where they are.
    evaluations
        Points evaluated.
    exact, products
        Whether Hessian-vector products are the landscape's own, exact ones, and how many of those there were.
    piecewise
        Whether exact products are those of a smooth piece, which ends near the point, as of a network of ReLUs: the
        landscape says so, or differences over a short distance differ.
    difference
        How much products by differences over a short distance differ from exact ones, as a part of them; NaN where
        products are differences.
    block
        The names of the part of the vector whose diagonal block of the Hessian this is; empty for all of it.
    """

    point: np.ndarray
    value: float
    gradient_norm: float
    lowest: np.ndarray
    lowest_residuals: np.ndarray
    lowest_modes: np.ndarray
    highest: np.ndarray
    highest_residuals: np.ndarray
    highest_modes: np.ndarray
    trace: float
    trace_error: float
    step: float
    zero_modes: int
    converged: bool
    evaluations: Evaluations
    reason: str = ""
    exact: bool = False
    products: int = 0
    piecewise: bool = False
    difference: float = float("nan")
    block: str = ""

    def plot(self, axes: Any = None) -> Any:
        """Draws both ends of the spectrum over their rank, on new axes if None; returns them."""
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 4), layout="constrained").subplots()
        for name, values, residuals in (
            ("highest", self.highest, self.highest_residuals),
            ("lowest", self.lowest, self.lowest_residuals),
        ):
            axes.errorbar(np.arange(1, len(values) + 1), values, residuals, fmt="o", ms=5, capsize=3, label=name)
        axes.axhline(0, color="0.6", lw=0.8)
        axes.set(xlabel="rank", ylabel="eigenvalue of the Hessian")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(frameon=False)
        return axes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_curvature` reads."""
        facts = {name: getattr(self, name) for name in _FACTS}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_result(path, "curvature", arrays, {**facts, "evaluations": vars(self.evaluations).copy()})


def load_curvature(path: str | os.PathLike[str]) -> Curvature:
    """Reads what :meth:`Curvature.save` wrote; ValueError names the file where it is damaged."""
    arrays, facts = read_result(path, "curvature")
    known: dict[str, Any] = {**arrays, **{name: facts[name] for name in _FACTS if name in facts}}
    return Curvature(**known, evaluations=Evaluations(**facts["evaluations"]))


def curvature(
    landscape: Any,
    point: Any,
    n: int = 5,
    *,
    probes: int | None = None,
    tolerance: float = 1e-3,
    step: float | None = None,
    seed: int | None = None,
    block: str | Sequence[str] | None = None,
    callback: Callable[[int], Any] | None = None,
) -> Curvature:
    """Compute the highest and lowest eigenvalues of the Hessian at a point, and its trace.

    With up to 60 coordinates, or 4n, all of the spectrum. With more, Lanczos iterations for both ends,
    which start again until no repeated eigenvalue turns up, and for the trace Hutch++ (Meyer, Musco, Musco and
    Woodruff, 2021): exact on the eigenvectors found and on the range of H times some random vectors, and the mean of
    vᵀ H v over vectors v of random signs on what is left.

    Products are exact where the landscape has a method ``hessian_products``, as PyTorch and JAX have, and differences
    of gradients elsewhere.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes. Where products are differences of gradients,
        give double precision where it can be had.
    point
        (D,).
    n
        Eigenvalues at each end.
    probes
        Products for the trace, 20 if None. Refused where all of the spectrum is computed.
    tolerance
        A residual is small below this part of its eigenvalue, or of a thousandth of the largest.
    step
        h of [∇f(x + h v) − ∇f(x − h v)] / 2h, |v| = 1. None takes exact products where there are
        some, else the step that suits the noise of the gradients
        (:func:`~minilandscape.noise.product_step`), or a smaller one at which products with random vectors agree better
        with those at a quarter of it, as beside the kinks of ReLUs.
    seed
        Of the random vectors, 0 if None. Refused where all of the spectrum is computed: nothing is random then.
    block
        Names of parts of the vector, or patterns such as ``"conv1.*"``: the Hessian's diagonal block of these alone.
    callback
        ``callback(products)`` after every product.

    Returns
    -------
    Curvature

    Raises
    ------
    LandscapeError
        If the value or the gradient at the point, or beside it, is not finite, or the landscape's zero modes are none
        or all directions.
    ValueError
        If the point is not one finite vector of the landscape's size, a number is out of range, or ``probes`` or
        ``seed`` is given where it has no effect.
    TypeError
        If the point is no vector of real numbers.

    Notes
    -----
    A network of ReLUs is made of smooth pieces; exact products and a small ``step`` see the curvature of the piece, a
    larger one that of the bends between pieces as well. ``piecewise`` of a result says so.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> bool(ml.curvature(land, land.saddles[0]).lowest[0] < 0)
    True
    """
    for name, number, least in (("n", n, 1), ("probes", PROBES if probes is None else probes, 0)):
        if not isinstance(number, (int, np.integer)) or number < least:
            raise ValueError(f"{name} is {number}; expected a whole number, at least {least}")
    if not (tolerance > 0 and np.isfinite(tolerance)) or not (step is None or (step > 0 and np.isfinite(step))):
        raise ValueError(f"tolerance is {tolerance} and step {step}; expected positive, finite numbers")
    x = vector("the point", point, landscape).astype(np.float64)
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"the point has shape {x.shape}; expected one finite vector (D,)")
    land = as_landscape(landscape, x.size)
    if block is not None:
        coordinates = coordinates_of(land, block)
        land, x = Restricted(land, x, coordinates), x[coordinates]
    if step is None and getattr(land, "hessian_products", None) is not None:
        measured = _exact(Exact(land), x, n, probes, tolerance, seed, callback)
    else:
        measured = _by_differences(land, x, n, probes, tolerance, step, seed, callback)
    return measured if block is None else replace(measured, block=block if isinstance(block, str) else ", ".join(block))


def _value_and_gradient(differences: Differences, x: np.ndarray) -> tuple[float, np.ndarray]:
    values, gradients = differences.stack(x[None])
    if not (np.isfinite(values).all() and np.isfinite(gradients).all()):
        raise LandscapeError(f"the value or the gradient at {describe_point(x)} is not finite ({values[0]})", x)
    return float(values[0]), gradients[0]


def _refuse_random(free: int, n: int, probes: int | None, seed: int | None) -> bool:
    """Whether all of the spectrum is computed; ValueError if options of random vectors are given then."""
    whole = _whole(free, n)
    if whole and not (probes is None and seed is None):
        raise ValueError(
            f"probes is {probes} and seed {seed}, but of {free} coordinates all of the spectrum is computed, and "
            "nothing is random; remove them"
        )
    return whole


def _exact(
    exact: Exact,
    x: np.ndarray,
    n: int,
    probes: int | None,
    tolerance: float,
    seed: int | None,
    callback: Callable[[int], Any] | None,
) -> Curvature:
    """The curvature by exact products."""
    value, gradient = _value_and_gradient(exact, x)
    zero = exact.zero_modes(x)
    whole = _refuse_random(x.size - len(zero), n, probes, seed)
    rng = np.random.default_rng(0 if seed is None else seed)
    products = _Products(exact, x, zero, callback)
    ends, everything, complete = _spectrum(products, n, whole, rng, tolerance)
    found = [_verified(products, *end) for end in ends]
    largest = max(float(np.abs(end.values).max(initial=0)) for end in found)
    missing = sum(min(n, x.size - len(zero)) - len(end.values) for end in found)
    small = all((end.residuals <= _small(end.values, largest, tolerance)).all() for end in found)
    reason = ""
    if missing:
        reason = f"the Lanczos iterations did not find {missing} of the eigenvalues; ask for fewer"
    elif not small:
        reason = "the precision of the landscape leaves larger residuals: compute it in double precision"
    elif not complete:
        reason = "an eigenvalue beyond those found, or a repeated one, may be missing; ask for more or fewer of them"
    trace = everything if whole else _trace(products, found, rng, PROBES if probes is None else probes)
    return _result(products, value, gradient, found, trace, reason, _difference(exact, x, zero))


def _difference(exact: Exact, x: np.ndarray, zero: np.ndarray) -> float:
    """How much a product by differences differs from the exact one, as a part of it, along a random direction."""
    v = np.random.default_rng(1).standard_normal(x.size)
    v -= zero.T @ (zero @ v)
    v /= np.linalg.norm(v)
    eps = float(np.finfo(exact.landscape.dtype).eps)
    step = eps**SMOOTH_STEP * (float(np.linalg.norm(x)) or 1.0)
    _, slopes = exact.stack(np.stack([x + step * v, x - step * v]))
    product, difference = exact.products(x, v[None])[0], (slopes[0] - slopes[1]) / (2 * step)
    apart = float(np.linalg.norm(difference - product))
    noise = eps * float(np.abs(slopes).max()) * np.sqrt(x.size) / step
    return max(apart - noise, 0.0) / (float(np.linalg.norm(product)) or 1.0)


def _by_differences(
    land: Any,
    x: np.ndarray,
    n: int,
    probes: int | None,
    tolerance: float,
    step: float | None,
    seed: int | None,
    callback: Callable[[int], Any] | None,
) -> Curvature:
    """The curvature by differences of gradients, whose step is shortened where the gradient has kinks."""
    farthest = np.abs(x).max()
    if step is not None and not land.dtype.type(farthest + step) > land.dtype.type(farthest):
        least = float(np.finfo(land.dtype).eps) * farthest
        raise ValueError(
            f"step is {step}, which is lost beside a coordinate of {farthest:.3g}; expected above {least:.3g}"
        )
    differences = Differences(land, 1.0 if step is None else step)
    value, gradient = _value_and_gradient(differences, x)
    zero = differences.zero_modes(x)
    D, free = x.size, x.size - len(zero)
    whole = _refuse_random(free, n, probes, seed)
    rng = np.random.default_rng(0 if seed is None else seed)
    noise = measure_noise(land, x, known=(value, gradient))
    products = _Products(differences, x, zero, callback)
    if step is None:
        v = np.random.default_rng(1).standard_normal((2, D))
        differences.step = _step(products, product_step(noise)[0], v, noise, tolerance)
    for attempt in range(ATTEMPTS):
        ends, trace, complete = _spectrum(products, n, whole, rng, tolerance)
        found = [_verified(products, *end) for end in ends]
        largest = max(float(np.abs(end.values).max(initial=0)) for end in found)
        changed = max(end.changed for end in found)
        missing = sum(min(n, free) - len(end.values) for end in found)
        small = all((end.residuals <= _small(end.values, largest, tolerance)).all() for end in found)
        if complete and small and not missing:
            reason = ""
            break
        reason = _reason(noise, differences.step, changed, tolerance * largest, missing)
        # The extreme eigenvectors cross kinks sooner than random vectors.
        vectors = np.concatenate([end.vectors for end in found])
        if step is not None or not changed > 0.1 * tolerance * largest or not len(vectors):
            break
        shorter = _step(products, differences.step / FINER, vectors, noise, tolerance)
        if attempt + 1 == ATTEMPTS or not products.change(vectors, shorter) < 0.5 * changed:
            break
        differences.step = shorter
    if not whole:
        trace = _trace(products, found, rng, PROBES if probes is None else probes)
    measured = _result(products, value, gradient, found, trace, reason)
    return replace(measured, evaluations=measured.evaluations + noise.evaluations)


def _result(
    products: _Products,
    value: float,
    gradient: np.ndarray,
    found: Sequence[_End],
    trace: tuple[float, float],
    reason: str,
    difference: float = float("nan"),
) -> Curvature:
    lowest, highest = found
    differences = products.differences
    exact = isinstance(differences, Exact)
    return Curvature(
        point=products.x,
        value=value,
        gradient_norm=float(np.linalg.norm(gradient)),
        lowest=lowest.values,
        lowest_residuals=lowest.residuals,
        lowest_modes=lowest.vectors,
        highest=highest.values,
        highest_residuals=highest.residuals,
        highest_modes=highest.vectors,
        trace=trace[0],
        trace_error=trace[1],
        step=differences.step,
        zero_modes=len(products.zero),
        converged=not reason,
        evaluations=differences.evaluations,
        reason=reason,
        exact=exact,
        products=differences.done if isinstance(differences, Exact) else 0,
        piecewise=exact and (difference > SMOOTH or bool(getattr(differences.landscape, "kinks", ()))),
        difference=difference,
    )


class _Products:
    """Hessian-vector products at a point without its zero modes, counted."""

    def __init__(
        self, differences: Differences, x: np.ndarray, zero: np.ndarray, callback: Callable[[int], Any] | None
    ) -> None:
        self.differences, self.x, self.zero = differences, x, zero
        self._callback, self._done = callback, 0

    def __call__(self, v: np.ndarray) -> np.ndarray:
        """H v for rows v."""
        Hv = self.differences.products(self.x, v - (v @ self.zero.T) @ self.zero)
        if not np.isfinite(Hv).all():
            raise LandscapeError(f"the gradient beside {describe_point(self.x)} is not finite", self.x)
        self._done += len(v)
        if self._callback is not None:
            self._callback(self._done)
        result: np.ndarray = Hv - (Hv @ self.zero.T) @ self.zero
        return result

    def at(self, v: np.ndarray, step: float) -> np.ndarray:
        """H v by another step, one vector after another."""
        usual, self.differences.step = self.differences.step, step
        try:
            return np.concatenate([self(row[None]) for row in v])
        finally:
            self.differences.step = usual

    def change(self, v: np.ndarray, step: float) -> float:
        """How far the products at a step and at a smaller one differ at most."""
        changes = np.linalg.norm(self.at(v, step) - self.at(v, step / FINER), axis=1)
        return float(changes.max())


@dataclass(frozen=True)
class _End:
    """Eigenvalues at one end of the spectrum, how much products at a smaller step differ, and H times the vectors."""

    values: np.ndarray
    residuals: np.ndarray
    vectors: np.ndarray
    changed: float
    images: np.ndarray


def _spectrum(
    products: _Products, n: int, whole: bool, rng: np.random.Generator, tolerance: float
) -> tuple[list[tuple[np.ndarray, np.ndarray]], tuple[float, float], bool]:
    """Eigenvalues and vectors of both ends, the trace if all are known, and whether a last look found no others."""
    x, zero = products.x, products.zero
    if whole:
        everything, modes = products.differences.whole_spectrum(x, zero)
        k = min(n, len(everything))
        return (
            [(everything[:k], modes[:k]), (everything[::-1][:k], modes[::-1][:k])],
            (float(everything.sum()), 0.0),
            True,
        )
    D, complete = x.size, True
    start = rng.standard_normal(D)
    start -= zero.T @ (zero @ start)
    size = float(np.linalg.norm(products(start[None]))) / float(np.linalg.norm(start))
    if not size > 0:
        raise LandscapeError(f"the Hessian at {describe_point(x)} times a random vector is zero", x)

    def scaled(v: np.ndarray) -> np.ndarray:
        """In units of a typical product: ARPACK takes eigenvalues below 4e-11 to be converged at once."""
        return products(v) / size

    # Zero modes have the eigenvalue 0 here, which lies between the ends or is no matter: they are taken out below.
    operator = LinearOperator((D, D), matvec=lambda v: scaled(v.reshape(1, -1))[0], dtype=np.float64)
    ends = [_end(operator, which, n, zero, start, tolerance) for which in ("SA", "LA")]
    most = max(float(np.abs(eigenvalues).max(initial=0)) for eigenvalues, _ in ends)
    for k, which in enumerate(("SA", "LA")):
        if len(ends[k][0]):
            eigenvalues, vectors, seen = _repeated(scaled, which, zero, *ends[k], most, rng, tolerance)
            ends[k] = (eigenvalues, vectors)
            complete &= seen
    return [(size * eigenvalues, vectors) for eigenvalues, vectors in ends], (float("nan"), float("nan")), complete


def _verified(products: _Products, eigenvalues: np.ndarray, vectors: np.ndarray) -> _End:
    """Residuals by exact products, or by those at the step and at a smaller one."""
    if not len(vectors):
        return _End(eigenvalues, np.zeros(0), vectors, 0.0, vectors)
    step = products.differences.step
    at_step = products.at(vectors, step)
    finer = at_step if isinstance(products.differences, Exact) else products.at(vectors, step / FINER)
    residuals = [np.linalg.norm(Hv - eigenvalues[:, None] * vectors, axis=1) for Hv in (at_step, finer)]
    changed = float(np.linalg.norm(finer - at_step, axis=1).max())
    return _End(eigenvalues, np.maximum(*residuals), vectors, changed, at_step)


def whole_spectrum(landscape: Any, point: np.ndarray, n: int, whole_vector: bool = True) -> bool:
    """Whether :func:`curvature` computes all of the spectrum, of a point (D,) or a block: nothing is random then."""
    if not whole_vector:  # zero modes belong to the whole vector
        return _whole(point.size, n)
    land = as_landscape(landscape, point.size)
    return _whole(point.size - len(Differences(land, 1.0).zero_modes(point.astype(np.float64))), n)


def _whole(free: int, n: int) -> bool:
    return free <= max(FEW_COORDINATES, 4 * n)


def _step(products: _Products, step: float, v: np.ndarray, noise: Noise, tolerance: float) -> float:
    """The step at which products with v (K, D) are most certain, no longer than the one that suits the noise.

    Where it is too long for the kinks or the curvature beside the point, products at a quarter of it differ. It is
    reduced until they agree, or until noise makes more of the difference; the best is taken.
    """
    v = v - (v @ products.zero.T) @ products.zero
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    spread = np.sqrt(noise.size) * noise.gradient
    best, least, before = step, np.inf, products.at(v, step)
    for _ in range(MOST_STEPS):
        after = products.at(v, step / FINER)
        size = float(np.linalg.norm(after, axis=1).max())
        change = float(np.linalg.norm(after - before, axis=1).max())
        if change < least:
            best, least = step, change
        if change <= 0.1 * tolerance * size or NOISE * spread * FINER / step > change:
            break
        before, step = after, step / FINER
    return best


def _reason(noise: Noise, step: float, changed: float, allowed: float, missing: int) -> str:
    """Why eigenvalues are not converged, and what helps."""
    spread = np.sqrt(noise.size) * noise.gradient * FINER / step
    better = "compute them in double precision, or converge them more tightly"
    if changed > 0.1 * allowed and changed <= NOISE * spread:
        return (
            f"the noise of the gradients, {noise.gradient:.2g} a component, leaves errors of {changed:.2g} in "
            f"Hessian-vector products: {better}"
        )
    if changed > 0.1 * allowed:
        cause = (
            f"Hessian-vector products at steps of {step:.2g} and {step / FINER:.2g} differ by {changed:.2g}: the "
            "gradient has kinks, or bends, nearer than that"
        )
        if FINER * spread > allowed:
            return f"{cause}, and smaller steps are lost in the noise of the gradients: {better}"
        return f"{cause}; give a smaller step"
    if missing:
        return f"the Lanczos iterations did not find {missing} of the eigenvalues; ask for fewer"
    return "an eigenvalue beyond those found, or a repeated one, may be missing; ask for more or fewer of them"


def _end(
    operator: Any, which: str, n: int, zero: np.ndarray, start: np.ndarray, tolerance: float
) -> tuple[np.ndarray, np.ndarray]:
    """n eigenvalues at one end, from there inwards, and eigenvectors (rows), zero modes left out."""
    D, k = operator.shape[0], n + len(zero)
    try:
        values, vectors = eigsh(
            operator, k=k, which=which, v0=start, ncv=min(D - 1, max(4 * k, 40)), maxiter=50, tol=tolerance
        )
    except ArpackNoConvergence as stopped:
        values, vectors = stopped.eigenvalues, stopped.eigenvectors
    own = np.linalg.norm(zero @ vectors, axis=0) < 0.5
    values, vectors = values[own], vectors[:, own]
    order = np.argsort(values if which == "SA" else -values)[:n]
    return values[order], vectors[:, order].T


def _small(eigenvalues: Any, largest: float, tolerance: float) -> Any:
    """The residuals that are small."""
    return tolerance * np.maximum(np.abs(eigenvalues), 1e-3 * largest)


def _repeated(
    products: Callable[[np.ndarray], np.ndarray],
    which: str,
    zero: np.ndarray,
    values: np.ndarray,
    vectors: np.ndarray,
    largest: float,
    rng: np.random.Generator,
    tolerance: float,
) -> tuple[np.ndarray, np.ndarray, bool]:
    """An end with the further eigenvectors of repeated eigenvalues, and whether none is left to be found.

    Lanczos iterations from one start see one vector of each eigenvalue. What they found is put aside, beyond the other
    end, and they start elsewhere, until they find nothing beyond the last of the n.
    """
    sign, D = (1 if which == "SA" else -1), vectors.shape[1]
    for _ in range(2 * len(values)):
        aside = np.concatenate([zero, vectors])

        def product(v: np.ndarray, aside: np.ndarray = aside) -> np.ndarray:
            along = aside @ v.ravel()
            Hv = products((v.ravel() - aside.T @ along)[None])[0]
            result: np.ndarray = Hv - aside.T @ (aside @ Hv - sign * largest * along)
            return result

        operator = LinearOperator((D, D), matvec=product, dtype=np.float64)
        try:
            value, vector = eigsh(
                operator, k=1, which=which, v0=rng.standard_normal(D), ncv=min(D - 1, 40), maxiter=50, tol=tolerance
            )
        except ArpackNoConvergence:
            return values, vectors, False
        if sign * (values[-1] - value[0]) <= _small(values[-1], largest, tolerance):
            return values, vectors, True
        # Where the gradient has kinks beside the point a start may meet one, and what is found is no eigenvector.
        if np.linalg.norm(products(vector.T)[0] - value[0] * vector[:, 0]) > _small(value[0], largest, tolerance):
            continue
        values, vectors = np.append(values, value), np.concatenate([vectors, vector.T])
        order = np.argsort(sign * values)[: len(values) - 1]
        values, vectors = values[order], vectors[order]
    return values, vectors, False


def _trace(products: _Products, found: Sequence[_End], rng: np.random.Generator, probes: int) -> tuple[float, float]:
    """The trace and its standard error from so many products, by Hutch++ beside the eigenvectors that are known."""
    if not probes:
        return float("nan"), float("nan")

    def times(rows: np.ndarray) -> np.ndarray:
        return np.concatenate([products(row[None]) for row in rows]) if len(rows) else rows

    vectors = np.concatenate([end.vectors for end in found])
    images = np.concatenate([end.images for end in found])
    size, a_third = products.x.size, probes // 3 if probes >= 3 else 0
    # tr(Qᵀ H Q) for an orthonormal basis Q of the rows' span, whatever rows span it.
    trace = float(np.trace(np.linalg.pinv(vectors @ vectors.T, hermitian=True) @ (vectors @ images.T)))
    basis = _orthonormal_rows(vectors)
    if a_third:
        sketch = times(rng.choice([-1.0, 1.0], (a_third, size)))
        sketch = _orthonormal_rows(sketch - (sketch @ basis.T) @ basis)
        sketch = _orthonormal_rows(sketch - (sketch @ basis.T) @ basis)
        trace += float((sketch * times(sketch)).sum())
        basis = np.concatenate([basis, sketch])
    rest = rng.choice([-1.0, 1.0], (probes - 2 * a_third, size))
    rest -= (rest @ basis.T) @ basis
    samples = (rest * times(rest)).sum(axis=1)
    error = np.std(samples, ddof=1) / np.sqrt(len(samples)) if len(samples) > 1 else float("nan")
    return trace + float(samples.mean()), float(error)


def _orthonormal_rows(rows: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the rows' span."""
    _, sizes, basis = np.linalg.svd(rows, full_matrices=False)
    found: np.ndarray = basis[sizes > 1e-10 * sizes.max(initial=0)]
    return found
