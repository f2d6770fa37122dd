"""Curvature at a point: the ends of the Hessian's spectrum and its trace, from products with vectors alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh

from ..files import read_result, write_result
from ..hessian import FEW_COORDINATES, Differences
from ..landscape import Evaluations, LandscapeError, as_landscape, describe_point, vector

_ARRAYS = ("point", "lowest", "lowest_residuals", "lowest_modes", "highest", "highest_residuals", "highest_modes")
_FACTS = ("value", "gradient_norm", "trace", "trace_error", "step", "zero_modes", "converged")


@dataclass(frozen=True)
class Curvature:
    """What is known of the Hessian H at a point, its zero modes left out.

    Attributes
    ----------
    point, value, gradient_norm
        (D,), f there, and |∇f|.
    lowest, highest
        (k,): eigenvalues, the lowest ascending and the highest descending.
    lowest_modes, highest_modes
        (k, D): their unit eigenvectors v.
    lowest_residuals, highest_residuals
        (k,): |H v − λ v|; there is an eigenvalue as near to λ as that.
    trace, trace_error
        Σ λ, and its standard error; 0 where all eigenvalues are known.
    step
        h of the differences of gradients.
    zero_modes
        How many directions were left out because they leave the value alone.
    converged
        Whether all residuals are small, and a last look found nothing beyond either end. Eigenvalues that are not so
        are named all the same, with their residuals.
    evaluations
        Points evaluated.
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
    known: dict[str, Any] = {**arrays, **{name: facts[name] for name in _FACTS}}
    return Curvature(**known, evaluations=Evaluations(**facts["evaluations"]))


def curvature(
    landscape: Any,
    point: Any,
    n: int = 5,
    *,
    probes: int = 20,
    tolerance: float = 1e-3,
    step: float | None = None,
    seed: int = 0,
    callback: Callable[[int], Any] | None = None,
) -> Curvature:
    """The highest and lowest eigenvalues of the Hessian at a point, and its trace.

    With up to 60 coordinates, or 4n, all of the spectrum. With more, Lanczos iterations for both ends,
    which start again until no repeated eigenvalue turns up, and for the trace Hutchinson's estimate, the mean of
    vᵀ H v over vectors v of random signs.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes. Products are differences of gradients: give
        double precision where it can be had.
    point
        (D,).
    n
        Eigenvalues at each end.
    probes
        Random vectors for the trace.
    tolerance
        A residual is small below this part of its eigenvalue, or of a thousandth of the largest.
    step
        h of [∇f(x + h v) − ∇f(x − h v)] / 2h, |v| = 1; None takes ε^(1/3) times the coordinates' root mean square, at
        least 1, ε being the precision of the landscape.
    seed
        Of the random vectors.
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
        If the point is not one finite vector of the landscape's size, or a number is out of range.
    TypeError
        If the point is no vector of real numbers.

    Notes
    -----
    A network of ReLUs is made of smooth pieces; a small ``step`` sees the curvature of the piece, a larger one that of
    the bends between pieces as well.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> bool(ml.curvature(land, land.saddles[0]).lowest[0] < 0)
    True
    """
    for name, number, least in (("n", n, 1), ("probes", probes, 0)):
        if not isinstance(number, (int, np.integer)) or number < least:
            raise ValueError(f"{name} is {number}; expected a whole number, at least {least}")
    if not (tolerance > 0 and np.isfinite(tolerance)) or not (step is None or (step > 0 and np.isfinite(step))):
        raise ValueError(f"tolerance is {tolerance} and step {step}; expected positive, finite numbers")
    x = vector("the point", point, landscape).astype(np.float64)
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"the point has shape {x.shape}; expected one finite vector (D,)")
    land = as_landscape(landscape, x.size)
    if step is None:
        step = float(np.finfo(land.dtype).eps) ** (1 / 3) * max(1.0, float(np.sqrt((x**2).mean())))
    farthest = np.abs(x).max()
    if not land.dtype.type(farthest + step) > land.dtype.type(farthest):
        least = float(np.finfo(land.dtype).eps) * farthest
        raise ValueError(
            f"step is {step}, which is lost beside a coordinate of {farthest:.3g}; expected above {least:.3g}"
        )
    differences = Differences(land, step)
    values, gradients = differences.stack(x[None])
    if not (np.isfinite(values).all() and np.isfinite(gradients).all()):
        raise LandscapeError(f"the value or the gradient at {describe_point(x)} is not finite ({values[0]})", x)
    zero = differences.zero_modes(x)
    D, free = x.size, x.size - len(zero)
    done = 0

    def products(v: np.ndarray) -> np.ndarray:
        """H v without the zero modes, for rows v."""
        nonlocal done
        inside = v - (v @ zero.T) @ zero
        Hv = differences.products(x, inside)
        if not np.isfinite(Hv).all():
            raise LandscapeError(f"the gradient beside {describe_point(x)} is not finite", x)
        done += len(v)
        if callback is not None:
            callback(done)
        result: np.ndarray = Hv - (Hv @ zero.T) @ zero
        return result

    rng = np.random.default_rng(seed)
    complete = True
    if free <= max(FEW_COORDINATES, 4 * n):
        everything, modes = differences.whole_spectrum(x, zero)
        k = min(n, free)
        ends = [(everything[:k], modes[:k]), (everything[::-1][:k], modes[::-1][:k])]
        trace, trace_error = float(everything.sum()), 0.0
    else:
        # Zero modes have the eigenvalue 0 here, which lies between the ends or is no matter: they are taken out below.
        operator = LinearOperator((D, D), matvec=lambda v: products(v.reshape(1, -1))[0], dtype=np.float64)
        start = rng.standard_normal(D)
        start -= zero.T @ (zero @ start)
        if not products(start[None]).any():
            raise LandscapeError(f"the Hessian at {describe_point(x)} times a random vector is zero", x)
        ends = [_end(operator, which, n, zero, start, tolerance) for which in ("SA", "LA")]
        most = max(float(np.abs(eigenvalues).max(initial=0)) for eigenvalues, _ in ends)
        for k, which in enumerate(("SA", "LA")):
            eigenvalues, vectors, seen = _repeated(products, which, zero, *ends[k], most, rng, tolerance)
            ends[k] = (eigenvalues, vectors)
            complete &= seen
        trace, trace_error = _trace(products, rng, probes, D)
    found = []
    largest = max(float(np.abs(eigenvalues).max(initial=0)) for eigenvalues, _ in ends)
    converged = complete
    for eigenvalues, vectors in ends:
        Hv = np.concatenate([products(v[None]) for v in vectors]) if len(vectors) else vectors
        residuals = np.linalg.norm(Hv - eigenvalues[:, None] * vectors, axis=1)
        converged &= len(vectors) == min(n, free)
        converged &= bool((residuals <= _small(eigenvalues, largest, tolerance)).all())
        found.append((eigenvalues, residuals, vectors))
    norm = float(np.linalg.norm(gradients[0]))
    return Curvature(
        x, float(values[0]), norm, *found[0], *found[1], trace, trace_error, step, len(zero), converged,
        differences.evaluations,
    )  # fmt: skip


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


def _trace(
    products: Callable[[np.ndarray], np.ndarray], rng: np.random.Generator, probes: int, size: int
) -> tuple[float, float]:
    samples = []
    for _ in range(probes):
        v = rng.choice([-1.0, 1.0], size)
        samples.append(float(v @ products(v[None])[0]))
    if not samples:
        return float("nan"), float("nan")
    error = np.std(samples, ddof=1) / np.sqrt(probes) if probes > 1 else float("nan")
    return float(np.mean(samples)), float(error)
