"""The spectral density of the Hessian at a point, by stochastic Lanczos quadrature."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..files import read_result, write_result
from ..hessian import Differences, Exact
from ..landscape import Evaluations, LandscapeError, as_landscape, describe_point, vector
from ..noise import measure_noise, product_step
from .blocks import Restricted, coordinates_of

#: The width of the curve that is drawn in place of each node, as a part of the spectrum's range.
WIDTH = 0.01
#: An iteration has found an invariant subspace where its next vector is shorter than this part of the largest, of exact
#: products and of differences. Nodes of less weight than this are rounding.
BREAKDOWN, BREAKDOWN_OF_DIFFERENCES, WEIGHT = 1e-10, 1e-6, 1e-12


@dataclass(frozen=True)
class SpectralDensity:
    """The density of the Hessian's eigenvalues, φ(λ) = (1/D) Σ_i δ(λ − λ_i), as quadrature nodes.

    Attributes
    ----------
    nodes, weights
        (probes, steps): each probe's Ritz values, and their weights, which add to 1.
    size
        D without zero modes: how many eigenvalues there are.
    zero_modes
        How many directions were left out because they leave the value alone.
    exact
        Whether Hessian-vector products are the landscape's own, exact ones.
    products
        How many there were.
    step
        h of the differences of gradients; 0 where products are exact.
    evaluations
        Points evaluated.
    metadata
        The seed, and the names of the block.
    """

    nodes: np.ndarray
    weights: np.ndarray
    size: int
    zero_modes: int
    exact: bool
    products: int
    step: float
    evaluations: Evaluations
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def lowest(self) -> float:
        """The lowest node: a bound from above on the lowest eigenvalue."""
        return float(self.nodes[self.weights > WEIGHT].min())

    @property
    def highest(self) -> float:
        """The highest node: a bound from below on the highest eigenvalue."""
        return float(self.nodes[self.weights > WEIGHT].max())

    def moment(self, k: int) -> tuple[float, float]:
        """(1/D) Σ λᵏ, and its standard error over the probes; D times the first is the trace."""
        samples = (self.weights * self.nodes**k).sum(axis=1)
        error = np.std(samples, ddof=1) / np.sqrt(len(samples)) if len(samples) > 1 else float("nan")
        return float(samples.mean()), float(error)

    def density(self, eigenvalues: Any, width: float | None = None) -> np.ndarray:
        """φ at some eigenvalues (n,), each node spread by a Gaussian.

        Parameters
        ----------
        width
            Its standard deviation; None takes 1 % of the range of the nodes.
        """
        x = np.asarray(eigenvalues, dtype=np.float64)
        width = width or WIDTH * (self.highest - self.lowest) or abs(self.highest) * WIDTH or 1.0
        z = (x[..., None] - self.nodes.ravel()) / width
        curves = np.exp(-0.5 * z**2) / (np.sqrt(2 * np.pi) * width)
        found: np.ndarray = curves @ self.weights.ravel() / len(self.nodes)
        return found

    def plot(self, axes: Any = None, width: float | None = None) -> Any:
        """Draws the density on a logarithmic scale, on new axes if None; returns them."""
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 4), layout="constrained").subplots()
        room = 0.05 * (self.highest - self.lowest) or 1.0
        x = np.linspace(self.lowest - room, self.highest + room, 1000)
        y = self.density(x, width)
        floor = 1 / (self.size * (self.highest - self.lowest + 2 * room))
        axes.semilogy(x, np.maximum(y, 1e-3 * floor), lw=1.2)
        axes.fill_between(x, 1e-3 * floor, np.maximum(y, 1e-3 * floor), alpha=0.25)
        axes.axvline(0, color="0.6", lw=0.8)
        axes.set(xlabel="eigenvalue of the Hessian", ylabel="spectral density", ylim=(0.1 * floor, None))
        return axes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_spectral_density` reads."""
        names = ("size", "zero_modes", "exact", "products", "step", "metadata")
        document = {name: getattr(self, name) for name in names} | {"evaluations": vars(self.evaluations).copy()}
        write_result(path, "spectral density", {"nodes": self.nodes, "weights": self.weights}, document)


def load_spectral_density(path: str | os.PathLike[str]) -> SpectralDensity:
    """Reads what :meth:`SpectralDensity.save` wrote; ValueError names the file where it is damaged."""
    arrays, document = read_result(path, "spectral density")
    names = ("size", "zero_modes", "exact", "products", "step", "metadata")
    known: dict[str, Any] = {**arrays, **{name: document[name] for name in names}}
    return SpectralDensity(**known, evaluations=Evaluations(**document["evaluations"]))


def spectral_density(
    landscape: Any,
    point: Any,
    *,
    probes: int = 8,
    steps: int = 60,
    seed: int = 0,
    block: str | Sequence[str] | None = None,
    step: float | None = None,
    callback: Callable[[int], Any] | None = None,
) -> SpectralDensity:
    """Estimate the density of all eigenvalues of the Hessian at a point.

    Stochastic Lanczos quadrature (Ubaru, Chen and Saad, 2017; Ghorbani, Krishnan and Xiao, 2019): Lanczos iterations
    from random vectors of Gaussian numbers, orthogonalised in full; the eigenvalues of each tridiagonal matrix are
    quadrature nodes, and the squares of the first components of its eigenvectors their weights. Moments up to
    2 · steps − 1 are exact but for the random vectors.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes. Products are exact where it has a method
        ``hessian_products``, and differences of gradients elsewhere.
    point
        (D,).
    probes
        Random vectors.
    steps
        Lanczos iterations of each, no more than there are coordinates. They keep ``steps`` vectors of D numbers.
    seed
        Of the random vectors.
    block
        Names of parts of the vector, or patterns such as ``"conv1.*"``: the Hessian's diagonal block of these alone.
    step
        h of the differences; None takes exact products where there are some, else what suits the measured noise.
    callback
        ``callback(products)`` after every iteration.

    Returns
    -------
    SpectralDensity

    Raises
    ------
    LandscapeError
        If value, gradient or a product are not finite.
    ValueError
        If the point is not one finite vector of the landscape's size, or a number is out of range.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> land = lambda x: (0.5 * (np.arange(1, 101) * x**2).sum(), np.arange(1, 101) * x)
    >>> found = ml.spectral_density(land, np.ones(100), probes=20)
    >>> abs(found.moment(1)[0] - 50.5) < 4 * found.moment(1)[1]
    True
    """
    for name, number, least in (("probes", probes, 1), ("steps", steps, 1), ("seed", seed, 0)):
        if not isinstance(number, (int, np.integer)) or number < least:
            raise ValueError(f"{name} is {number}; expected a whole number, at least {least}")
    if not (step is None or (step > 0 and np.isfinite(step))):
        raise ValueError(f"step is {step}; expected a positive, finite number")
    x = vector("the point", point, landscape).astype(np.float64)
    if x.ndim != 1 or not x.size or not np.isfinite(x).all():
        raise ValueError(f"the point has shape {x.shape}; expected one finite vector (D,)")
    land = as_landscape(landscape, x.size)
    metadata: dict[str, Any] = {"seed": int(seed)}
    if block is not None:
        coordinates = coordinates_of(land, block)
        land, x = Restricted(land, x, coordinates), x[coordinates]
        metadata["block"] = block if isinstance(block, str) else ", ".join(block)
    differences = _differences(land, x, step)
    zero = differences.zero_modes(x)
    free, rng = x.size - len(zero), np.random.default_rng(seed)
    nodes, weights = np.zeros((probes, min(steps, free))), np.zeros((probes, min(steps, free)))
    done: int = 0
    breakdown = BREAKDOWN if isinstance(differences, Exact) else BREAKDOWN_OF_DIFFERENCES

    def product(v: np.ndarray) -> np.ndarray:
        nonlocal done
        Hv = differences.products(x, v[None])[0]
        if not np.isfinite(Hv).all():
            raise LandscapeError(f"the gradient beside {describe_point(x)} is not finite", x)
        done += 1
        if callback is not None:
            callback(done)
        result: np.ndarray = Hv - zero.T @ (zero @ Hv)
        return result

    for k in range(probes):
        v = rng.standard_normal(x.size)
        found = _lanczos(product, v - zero.T @ (zero @ v), nodes.shape[1], breakdown)
        nodes[k, : len(found[0])], weights[k, : len(found[0])] = found
        nodes[k, len(found[0]) :] = found[0][-1]
    return SpectralDensity(
        nodes=nodes,
        weights=weights,
        size=free,
        zero_modes=len(zero),
        exact=isinstance(differences, Exact),
        products=done,
        step=differences.step,
        evaluations=differences.evaluations,
        metadata=metadata,
    )


def _differences(land: Any, x: np.ndarray, step: float | None) -> Differences:
    """Exact products where there are some, else differences over a step that suits the noise."""
    if step is None and getattr(land, "hessian_products", None) is not None:
        return Exact(land)
    if step is not None:
        return Differences(land, step)
    noise = measure_noise(land, x)
    differences = Differences(land, product_step(noise)[0])
    differences.evaluations += noise.evaluations
    return differences


def _lanczos(
    product: Callable[[np.ndarray], np.ndarray], v: np.ndarray, steps: int, least: float
) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values and the squares of their vectors' first components."""
    basis = np.zeros((steps, v.size))
    basis[0] = v / np.linalg.norm(v)
    diagonal: list[float] = []
    beside: list[float] = []
    for k in range(steps):
        w = product(basis[k])
        diagonal.append(float(w @ basis[k]))
        for _ in range(2):  # once more, for the rounding of a small remainder
            w = w - basis[: k + 1].T @ (basis[: k + 1] @ w)
        length = float(np.linalg.norm(w))
        if k + 1 == steps or length <= least * max(map(abs, [*diagonal, *beside])):
            break
        beside.append(length)
        basis[k + 1] = w / length
    values, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(beside, 1) + np.diag(beside, -1))
    return values, vectors[0] ** 2
