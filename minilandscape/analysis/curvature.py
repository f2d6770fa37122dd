"""Curvature at a point: the extreme eigenvalues and the trace of the Hessian, from Hessian-vector products."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..display import as_html, number, svg_of, text_lines
from ..files import read_result, write_result
from ..hessian import Differences, Exact
from ..landscape import Evaluations, LandscapeError, as_landscape, describe_point, one_point
from ..noise import measure_noise, product_step
from .blocks import Restricted, coordinates_of
from .difference_steps import MAY_BE_MISSING, accurate_step, not_found, too_large
from .lanczos import Products
from .shown_spectra import curvature_rows, plot_curvature
from .spectrum_ends import PROBES, Ends, Options, both_ends, is_whole, refined_ends, trace_of

#: A function is smooth where finite differences, with a step of this power of the precision, differ from exact products
#: by no more than this part.
SMOOTH_STEP, SMOOTH = 1 / 3, 1e-2
#: Rounding leaves errors of this many times the precision in eigenvalues, relative to the largest one.
ROUNDED = 30

_ARRAYS = ("point", "lowest", "lowest_residuals", "lowest_modes", "highest", "highest_residuals", "highest_modes")
_NUMBERS = (
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


@dataclass(frozen=True, repr=False)
class Curvature:
    """The extreme eigenvalues and the trace of the Hessian H at a point, zero modes removed.

    Returned by :func:`curvature`.

    Attributes
    ----------
    point, value, gradient_norm
        (D,), f(point), and the Euclidean norm of ∇f(point). Of a block: its coordinates alone.
    lowest, highest
        (k,): eigenvalues, the lowest ascending and the highest descending, in units of f over length squared.
    lowest_modes, highest_modes
        (k, D): their unit eigenvectors v.
    lowest_residuals, highest_residuals
        (k,): |H v − λ v|, the larger of those at the finite-difference step and at a quarter of it; of exact products
        at least what rounding leaves. An eigenvalue of H lies within this distance of λ.
    trace, trace_error
        Σ λ, and its standard error, which is 0 where all eigenvalues were computed.
    step
        h of the finite differences of gradients; 0 where products are exact.
    zero_modes
        Number of directions removed because they do not change f.
    converged
        Whether all residuals are small, products at a quarter of the step agree, and restarted Lanczos iterations found
        nothing beyond either end. Eigenvalues that are not converged are returned all the same.
    reason
        Why they are not converged, and what helps; empty where they are.
    evaluations
        Values and gradients evaluated.
    exact, products
        Whether the landscape has exact Hessian-vector products, and how many were computed.
    piecewise
        Whether exact products describe one smooth region around the point only, as in a network of ReLUs: the landscape
        declares it, or finite differences over a short distance differ.
    difference
        The relative difference between exact products and finite differences over a short distance; NaN where products
        are finite differences.
    block
        Names of the parameter blocks whose diagonal block of the Hessian this is; empty for the whole Hessian.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> found = ml.curvature(land, land.saddles[0])
    >>> found.lowest.round(1).tolist(), found.converged
    ([-750.9, 490.2], True)
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

    def __repr__(self) -> str:
        """One line: the extreme eigenvalues, the trace, and whether they are converged."""
        lowest, highest = (number(float(v[0])) if len(v) else "not found" for v in (self.lowest, self.highest))
        state = "converged" if self.converged else "not converged"
        return f"<Curvature: lowest eigenvalue {lowest}, highest {highest}, trace {number(self.trace)}, {state}>"

    def summary(self) -> str:
        """Describe the eigenvalues, the trace and their accuracy in lines of text."""
        return text_lines(curvature_rows(self))

    def _repr_html_(self) -> str:
        return as_html("Curvature", curvature_rows(self), svg_of(self.plot()))

    def plot(self, axes: Any = None) -> Any:
        """Draw both ends of the spectrum over the rank, with residuals as error bars.

        The scale is logarithmic on both sides of 0 where the eigenvalues span decades.

        Parameters
        ----------
        axes
            Matplotlib axes; new ones if None.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return plot_curvature(self, axes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` that :func:`load_curvature` reads."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        arrays = {name: getattr(self, name) for name in _ARRAYS}
        write_result(path, "curvature", arrays, {**numbers, "evaluations": vars(self.evaluations).copy()})


def load_curvature(path: str | os.PathLike[str]) -> Curvature:
    """Read a result that :meth:`Curvature.save` wrote.

    Parameters
    ----------
    path
        The ``.npz``.

    Returns
    -------
    Curvature

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or holds another kind of result; the message names it.

    Examples
    --------
    >>> import os, tempfile
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = os.path.join(folder, "curvature.npz")
    ...     ml.curvature(land, land.saddles[0]).save(file)
    ...     found = ml.load_curvature(file)
    >>> found.converged
    True
    """
    arrays, stored = read_result(path, "curvature")
    known: dict[str, Any] = {**arrays, **{name: stored[name] for name in _NUMBERS if name in stored}}
    return Curvature(**known, evaluations=Evaluations(**stored["evaluations"]))


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
    r"""Compute the n lowest and n highest eigenvalues of the Hessian at a point, and its trace.

    The eigenvalues λ and unit eigenvectors v solve

    .. math:: H v = \lambda v, \qquad H_{ij} = \frac{\partial^2 f}{\partial x_i \, \partial x_j}.

    H is never formed. Hessian-vector products are exact where the landscape has a method ``hessian_products``, as
    PyTorch and JAX landscapes have; elsewhere they are finite differences of gradients,

    .. math:: H v \approx \frac{\nabla f(x + h v) - \nabla f(x - h v)}{2 h}, \qquad |v| = 1.

    With at most 60 coordinates (or 4n), products with all unit vectors give the whole spectrum. With more, Lanczos
    iterations [1]_ find both ends and restart with the eigenvectors deflated until no repeated eigenvalue is found.
    Hutch++ [2]_ estimates the trace: it is exact on the eigenvectors found and on the range of H times random vectors;
    on the rest it is the mean of vᵀ H v over vectors v of random signs.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` accepts. For finite differences, use double
        precision if you can.
    point
        (D,).
    n
        Number of eigenvalues at each end.
    probes
        Products for the trace; None: 20. Invalid where the whole spectrum is computed.
    tolerance
        An eigenvalue λ is converged if its residual |H v − λ v| is at most ``tolerance`` times |λ|, or times a
        thousandth of the largest |λ|.
    step
        h, in the unit of the coordinates. None: exact products where the landscape has them; else the step that suits
        the noise of the gradients (:func:`~minilandscape.noise.product_step`), or a smaller one where products with
        random vectors then agree better with those at a quarter of the step, as near the kinks of ReLUs.
    seed
        Seed of the random vectors; None: 0. Invalid where the whole spectrum is computed, since nothing is random then.
    block
        Names of parameter blocks, or patterns such as ``"conv1.*"``: computes the diagonal block of the Hessian that
        belongs to these parameters.
    callback
        Called as ``callback(products)`` after every product.

    Returns
    -------
    Curvature

    Raises
    ------
    LandscapeError
        If the value or a gradient is not finite, or ``zero_modes`` of the landscape returns something invalid or all
        directions.
    ValueError
        If the point is not one finite vector of the landscape's size, a number is out of range, or ``probes`` or
        ``seed`` is given where it has no effect.
    TypeError
        If the point holds no real numbers.

    Notes
    -----
    A network of ReLUs is piecewise smooth. Exact products, and finite differences with a small ``step``, measure the
    curvature within one smooth region; a larger step also includes the kinks between regions.
    ``Curvature.piecewise`` says whether this matters.

    References
    ----------
    .. [1] R. B. Lehoucq, D. C. Sorensen and C. Yang, "ARPACK Users' Guide", SIAM (1998).
    .. [2] R. A. Meyer, C. Musco, C. Musco and D. P. Woodruff, "Hutch++: optimal stochastic trace estimation", SOSA
       (2021).

    Examples
    --------
    At a first-order saddle one eigenvalue is negative.

    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> found = ml.curvature(land, land.saddles[0])
    >>> int((found.lowest < 0).sum()), found.converged
    (1, True)
    """
    for name, given, least in (("n", n, 1), ("probes", PROBES if probes is None else probes, 0)):
        if not isinstance(given, (int, np.integer)) or given < least:
            raise ValueError(f"{name} is {given}; expected a whole number, at least {least}")
    if not (tolerance > 0 and np.isfinite(tolerance)) or not (step is None or (step > 0 and np.isfinite(step))):
        raise ValueError(f"tolerance is {tolerance} and step {step}; expected positive, finite numbers")
    x = one_point("the point", point, landscape)
    land = as_landscape(landscape, x.size)
    if block is not None:
        coordinates = coordinates_of(land, block)
        land, x = Restricted(land, x, coordinates), x[coordinates]
    options = Options(n, probes, tolerance, seed, callback)
    if step is None and getattr(land, "hessian_products", None) is not None:
        measured = _by_exact_products(Exact(land), x, options)
    else:
        measured = _by_differences(land, x, step, options)
    return measured if block is None else replace(measured, block=block if isinstance(block, str) else ", ".join(block))


def whole_spectrum(landscape: Any, point: np.ndarray, n: int, whole_vector: bool = True) -> bool:
    """Check whether :func:`curvature` computes the whole spectrum of a point (D,) or block; nothing is random then."""
    if not whole_vector:  # zero modes belong to the whole vector
        return is_whole(point.size, n)
    land = as_landscape(landscape, point.size)
    return is_whole(point.size - len(Differences(land, 1.0).zero_modes(point.astype(np.float64))), n)


def _value_and_gradient(differences: Differences, x: np.ndarray) -> tuple[float, np.ndarray]:
    values, gradients = differences.stack(x[None])
    if not (np.isfinite(values).all() and np.isfinite(gradients).all()):
        raise LandscapeError(f"the value or the gradient at {describe_point(x)} is not finite ({values[0]})", x)
    return float(values[0]), gradients[0]


def _by_exact_products(exact: Exact, x: np.ndarray, options: Options) -> Curvature:
    value, gradient = _value_and_gradient(exact, x)
    zero = exact.zero_modes(x)
    whole, rng = options.whole(x.size - len(zero)), options.generator()
    products = Products(exact, x, zero, options.callback)
    ends = both_ends(products, options, whole, rng)
    reason = ""
    if ends.missing:
        reason = not_found(ends.missing)
    elif not ends.small_residuals(options.tolerance):
        reason = too_large(*ends.worst("residuals", options.tolerance))
        if np.finfo(exact.landscape.dtype).bits < 64:
            reason += ", the precision of the landscape: compute it in double precision"
        else:
            reason += ": they are rounded to fewer digits, or are not those of a symmetric matrix"
    elif not ends.none_missing:
        reason = MAY_BE_MISSING
    trace = trace_of(products, ends, whole, rng, options.probes)
    return _result(products, value, gradient, ends, trace, reason, _relative_difference(exact, x, zero))


def _relative_difference(exact: Exact, x: np.ndarray, zero: np.ndarray) -> float:
    """Compare an exact product with a finite difference along a random direction; the relative difference."""
    v = np.random.default_rng(1).standard_normal(x.size)
    v -= zero.T @ (zero @ v)
    v /= np.linalg.norm(v)
    eps = float(np.finfo(exact.landscape.dtype).eps)
    step = eps**SMOOTH_STEP * (float(np.linalg.norm(x)) or 1.0)
    _, slopes = exact.stack(np.stack([x + step * v, x - step * v]))
    product, difference = exact.products(x, v[None])[0], (slopes[0] - slopes[1]) / (2 * step)
    distance = float(np.linalg.norm(difference - product))
    noise = eps * float(np.abs(slopes).max()) * np.sqrt(x.size) / step
    return max(distance - noise, 0.0) / (float(np.linalg.norm(product)) or 1.0)


def _by_differences(land: Any, x: np.ndarray, step: float | None, options: Options) -> Curvature:
    """The curvature by finite differences, whose step is reduced where the gradient has kinks."""
    _check_step(land, x, step)
    differences = Differences(land, 1.0 if step is None else step)
    value, gradient = _value_and_gradient(differences, x)
    zero = differences.zero_modes(x)
    whole, rng = options.whole(x.size - len(zero)), options.generator()
    noise = measure_noise(land, x, known=(value, gradient))
    products = Products(differences, x, zero, options.callback)
    if step is None:
        v = np.random.default_rng(1).standard_normal((2, x.size))
        differences.step = accurate_step(products, product_step(noise)[0], v, noise, options.tolerance)
    ends, reason = refined_ends(products, options, whole, rng, noise, fixed_step=step is not None)
    trace = trace_of(products, ends, whole, rng, options.probes)
    measured = _result(products, value, gradient, ends, trace, reason)
    return replace(measured, evaluations=measured.evaluations + noise.evaluations)


def _check_step(land: Any, x: np.ndarray, step: float | None) -> None:
    """Refuse a step that rounding removes."""
    farthest = np.abs(x).max()
    if step is not None and not land.dtype.type(farthest + step) > land.dtype.type(farthest):
        least = float(np.finfo(land.dtype).eps) * farthest
        raise ValueError(
            f"step is {step}, which is lost beside a coordinate of {farthest:.3g}; expected above {least:.3g}"
        )


def _result(
    products: Products,
    value: float,
    gradient: np.ndarray,
    ends: Ends,
    trace: tuple[float, float],
    reason: str,
    difference: float = float("nan"),
) -> Curvature:
    lowest, highest = ends.found
    differences = products.differences
    exact = isinstance(differences, Exact)
    rounding = ROUNDED * float(np.finfo(differences.landscape.dtype).eps) * ends.largest if exact else 0.0
    return Curvature(
        point=products.x,
        value=value,
        gradient_norm=float(np.linalg.norm(gradient)),
        lowest=lowest.values,
        lowest_residuals=np.maximum(lowest.residuals, rounding),
        lowest_modes=lowest.vectors,
        highest=highest.values,
        highest_residuals=np.maximum(highest.residuals, rounding),
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
        piecewise=bool(exact and (difference > SMOOTH or getattr(differences.landscape, "kinks", ()))),
        difference=difference,
    )
