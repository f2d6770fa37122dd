"""The spectral density of the Hessian at a point, by stochastic Lanczos quadrature."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..display import as_html, number, svg_of, text_lines
from ..files import read_result, write_result
from ..hessian import Differences, Exact
from ..landscape import Evaluations, as_landscape, one_point
from ..noise import measure_noise, product_step
from .blocks import Restricted, coordinates_of
from .lanczos import Products
from .quadrature import Quadrature, quadrature
from .shown_spectra import WEIGHT, density_rows, plot_density

#: The standard deviation of the Gaussian in the place of each Ritz value, as a part of the spectrum's range.
WIDTH = 0.01
#: Lanczos iterations have found an invariant subspace where the next vector is shorter than this part of the largest
#: coefficient, for exact products and for finite differences.
BREAKDOWN, BREAKDOWN_OF_DIFFERENCES = 1e-10, 1e-6
#: Up to so many coordinates all eigenvalues are computed, if that takes no more products than the random vectors.
WHOLE = 2000
_NUMBERS = ("size", "zero_modes", "exact", "products", "step", "metadata")


@dataclass(frozen=True, repr=False)
class SpectralDensity:
    r"""The density of all eigenvalues of the Hessian, as Ritz values and their weights.

    .. math:: \varphi(\lambda) = \frac{1}{D} \sum_i \delta(\lambda - \lambda_i)
              \approx \frac{1}{P} \sum_{p,k} w_{pk} \, \delta(\lambda - \theta_{pk})

    Returned by :func:`spectral_density`.

    Attributes
    ----------
    nodes, weights
        (P, k + steps): for each probe the k Ritz values θ of the first iterations, each of weight 1/D, and the Ritz
        values of the rest, in units of f over length squared. The weights w add to 1 for each probe. Where all
        eigenvalues were computed, these: (1, D).
    size
        D without zero modes: the number of eigenvalues.
    zero_modes
        Number of directions removed because they do not change f.
    exact
        Whether the landscape has exact Hessian-vector products.
    products
        Number of Hessian-vector products.
    step
        h of the finite differences of gradients; 0 where products are exact.
    evaluations
        Values and gradients evaluated.
    metadata
        The seed, the names of the block, and the error of a product by finite differences, from the measured noise.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> land = lambda x: (0.5 * (np.arange(1, 101) * x**2).sum(), np.arange(1, 101) * x)
    >>> found = ml.spectral_density(land, np.ones(100), probes=20)
    >>> found.size, round(found.lowest), round(found.highest)
    (100, 1, 100)
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

    def __repr__(self) -> str:
        """One line: the number of eigenvalues, their range and their mean."""
        size, mean = f"{self.size:,} eigenvalues", number(self.moment(1)[0])
        return f"<SpectralDensity: {size} from {number(self.lowest)} to {number(self.highest)}, mean {mean}>"

    @property
    def lowest(self) -> float:
        """The lowest Ritz value: an upper bound on the lowest eigenvalue."""
        return float(self.nodes[self.weights > WEIGHT].min())

    @property
    def highest(self) -> float:
        """The highest Ritz value: a lower bound on the highest eigenvalue."""
        return float(self.nodes[self.weights > WEIGHT].max())

    @property
    def deflated(self) -> int:
        """The dimension k of the space of the first iterations, whose density is exact; D if all eigenvalues are."""
        return int(self.metadata.get("deflated", 0))

    @property
    def width(self) -> float:
        """The standard deviation of the Gaussian that smooths each Ritz value: 1 % of their range."""
        return WIDTH * (self.highest - self.lowest) or abs(self.highest) * WIDTH or 1.0

    def moment(self, k: int) -> tuple[float, float]:
        """Estimate (1/D) Σ λᵏ and its error; D times the first moment is the trace.

        The error is the standard error of the random vectors, and the effect of the elements of the Hessian between the
        space of the first iterations and the rest, which are neglected. It is 0 where all eigenvalues were computed.
        The variance of vᵀ A v over unit vectors v in n dimensions is 2 / (n + 2) times that of the eigenvalues of A,
        which the Ritz values tell far better than the spread of a few numbers vᵀ A v.

        Parameters
        ----------
        k
            The power, at least 0.

        Returns
        -------
        tuple of float
            The moment and its error; NaN as error of a single probe.

        Examples
        --------
        >>> import numpy as np
        >>> import minilandscape as ml
        >>> round(ml.spectral_density(lambda x: (x @ x, 2 * x), np.ones(3)).moment(1)[0], 6)
        2.0
        """
        samples = (self.weights * self.nodes**k).sum(axis=1)
        rest = self.size - self.deflated
        if not rest:
            return float(samples.mean()), 0.0
        powers = self.nodes[:, self.deflated :] ** k
        if len(samples) == 1:
            error = float("nan")
        elif powers.shape[1] > k:  # nodes of one vector are exact for polynomials up to 2 · their number − 1
            weights = self.weights[:, self.deflated :] / self.weights[:, self.deflated :].sum()
            spread = float((weights * (powers - (weights * powers).sum()) ** 2).sum())
            error = rest / self.size * np.sqrt(2 / (rest + 2) * spread / len(samples))
        else:
            error = float(np.std(samples, ddof=1) / np.sqrt(len(samples)))
        if self.metadata.get("orthogonal", False):  # samples without replacement
            error *= np.sqrt(max(0.0, 1 - len(samples) / rest))
        return float(samples.mean()), float(np.hypot(error, self._neglected(k)))

    def _neglected(self, k: int) -> float:
        """The change of a moment by the neglected elements, to a diagonal element of the mean of the rest."""
        coupling = np.asarray(self.metadata.get("coupling", ()), dtype=np.float64)
        if not coupling.size:
            return 0.0
        values, rest = self.nodes[0, : coupling.size], self.nodes[:, coupling.size :]
        weights = self.weights[:, coupling.size :]
        mean = float((weights * rest).sum() / weights.sum())
        H = np.diag(np.append(values, mean))
        H[-1, :-1] = H[:-1, -1] = coupling
        return float(np.abs((np.linalg.eigvalsh(H) ** k).sum() - (values**k).sum() - mean**k) / self.size)

    def density(self, eigenvalues: Any, width: float | None = None) -> np.ndarray:
        """Compute φ at some eigenvalues (n,) -> (n,), each Ritz value smoothed by a Gaussian.

        Parameters
        ----------
        eigenvalues
            (n,).
        width
            Standard deviation of the Gaussian; None: 1 % of the range of the Ritz values.
        """
        x = np.asarray(eigenvalues, dtype=np.float64)
        width = width or self.width
        z = (x[..., None] - self.nodes.ravel()) / width
        curves = np.exp(-0.5 * z**2) / (np.sqrt(2 * np.pi) * width)
        found: np.ndarray = curves @ self.weights.ravel() / len(self.nodes)
        return found

    def summary(self) -> str:
        """Describe the range, the moments and the accuracy in lines of text."""
        return text_lines(density_rows(self))

    def _repr_html_(self) -> str:
        return as_html("Spectral density", density_rows(self), svg_of(self.plot()))

    def plot(self, axes: Any = None, width: float | None = None) -> Any:
        """Draw the density and the Ritz values on a logarithmic scale.

        The markers stand at the height of a Ritz value's own Gaussian, so that the axis to the right shows its weight.

        Parameters
        ----------
        axes
            Matplotlib axes; new ones if None.
        width
            Standard deviation of the Gaussians; None: 1 % of the range of the Ritz values.

        Returns
        -------
        matplotlib.axes.Axes
        """
        return plot_density(self, axes, width)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` that :func:`load_spectral_density` reads."""
        document = {name: getattr(self, name) for name in _NUMBERS} | {"evaluations": vars(self.evaluations).copy()}
        write_result(path, "spectral density", {"nodes": self.nodes, "weights": self.weights}, document)


def load_spectral_density(path: str | os.PathLike[str]) -> SpectralDensity:
    """Read a result that :meth:`SpectralDensity.save` wrote.

    Parameters
    ----------
    path
        The ``.npz``.

    Returns
    -------
    SpectralDensity

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or holds another kind of result; the message names it.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = os.path.join(folder, "density.npz")
    ...     ml.spectral_density(lambda x: (x @ x, 2 * x), np.ones(3)).save(file)
    ...     found = ml.load_spectral_density(file)
    >>> found.size
    3
    """
    arrays, document = read_result(path, "spectral density")
    known: dict[str, Any] = {**arrays, **{name: document[name] for name in _NUMBERS}}
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
    r"""Estimate the density of all eigenvalues of the Hessian at a point.

    Stochastic Lanczos quadrature [1]_ [2]_: from each of P random Gaussian vectors, Lanczos iterations with full
    orthogonalisation give a tridiagonal matrix T. The eigenvalues θ of T (Ritz values) are quadrature nodes, and the
    squared first components of its eigenvectors their weights w:

    .. math:: \frac{1}{D} \sum_i g(\lambda_i) \approx \frac{1}{P} \sum_{p,k} w_{pk} \, g(\theta_{pk}).

    For each random vector the quadrature is exact for polynomials g of degree up to 2 · ``steps`` − 1.

    A few outlying eigenvalues would make up most of the variance of the moments. Longer iterations from the first
    vector span a space of dimension k that holds their eigenvectors. Its density, that of the k Ritz values, is counted
    exactly, as the range of random products in [3]_. The other vectors sample the complement, of weight (D − k) / D,
    and are orthogonal to each other where they are many.

    Up to 2,000 coordinates, where D products are no more than ``probes`` · ``steps``, all eigenvalues are computed.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` accepts. Hessian-vector products are exact where it
        has a method ``hessian_products``, else finite differences of gradients.
    point
        (D,).
    probes
        The number of random vectors. From three on, the products of up to half of them, and of three at most, go to
        the first iterations.
    steps
        Lanczos iterations for each, at most D. They store up to 4 · ``steps`` vectors of D numbers.
    seed
        Seed of the random vectors; without effect where all eigenvalues are computed.
    block
        Names of parameter blocks, or patterns such as ``"conv1.*"``: the diagonal block of the Hessian that belongs to
        these parameters.
    step
        h of the finite differences, in the unit of the coordinates; None: exact products where the landscape has them,
        else the step that suits the measured noise of the gradients.
    callback
        Called as ``callback(products)`` after every iteration, or every few products.

    Returns
    -------
    SpectralDensity

    Raises
    ------
    LandscapeError
        If the value, the gradient or a product is not finite.
    ValueError
        If the point is not one finite vector of the landscape's size, or a number is out of range.

    References
    ----------
    .. [1] S. Ubaru, J. Chen and Y. Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature", SIAM J.
       Matrix Anal. Appl. 38, 1075 (2017).
    .. [2] B. Ghorbani, S. Krishnan and Y. Xiao, "An investigation into neural net optimization via Hessian eigenvalue
       density", ICML (2019).
    .. [3] R. A. Meyer, C. Musco, C. Musco and D. P. Woodruff, "Hutch++: optimal stochastic trace estimation", SOSA
       (2021).

    Examples
    --------
    The eigenvalues 1, 2, …, 100 have the mean 50.5.

    >>> import numpy as np
    >>> import minilandscape as ml
    >>> land = lambda x: (0.5 * (np.arange(1, 101) * x**2).sum(), np.arange(1, 101) * x)
    >>> found = ml.spectral_density(land, np.ones(100), probes=20)
    >>> mean, error = found.moment(1)
    >>> abs(mean - 50.5) <= 4 * error + 1e-6
    True
    """
    for name, given, least in (("probes", probes, 1), ("steps", steps, 1), ("seed", seed, 0)):
        if not isinstance(given, (int, np.integer)) or given < least:
            raise ValueError(f"{name} is {given}; expected a whole number, at least {least}")
    if not (step is None or (step > 0 and np.isfinite(step))):
        raise ValueError(f"step is {step}; expected a positive, finite number")
    x = one_point("the point", point, landscape)
    land = as_landscape(landscape, x.size)
    metadata: dict[str, Any] = {"seed": int(seed)}
    if block is not None:
        coordinates = coordinates_of(land, block)
        land, x = Restricted(land, x, coordinates), x[coordinates]
        metadata["block"] = block if isinstance(block, str) else ", ".join(block)
    differences, error = _differences(land, x, step)
    if error is not None:
        metadata["error"] = error
    zero = differences.zero_modes(x)
    free = x.size - len(zero)
    if free <= min(probes * steps, WHOLE):
        found, done = _whole(differences, x, zero, callback), free
    else:
        products = Products(differences, x, zero, callback)
        breakdown = BREAKDOWN if isinstance(differences, Exact) else BREAKDOWN_OF_DIFFERENCES
        rng = np.random.default_rng(seed)
        found = quadrature(lambda v: products(v[None])[0], zero, rng, probes, steps, breakdown)
        done = products.done
    coupling = found.coupling.tolist()
    metadata |= {"deflated": len(coupling), "coupling": coupling, "orthogonal": found.orthogonal}
    return SpectralDensity(
        nodes=found.nodes,
        weights=found.weights,
        size=free,
        zero_modes=len(zero),
        exact=isinstance(differences, Exact),
        products=done,
        step=differences.step,
        evaluations=differences.evaluations,
        metadata=metadata,
    )


def _whole(
    differences: Differences, x: np.ndarray, zero: np.ndarray, callback: Callable[[int], Any] | None
) -> Quadrature:
    """All eigenvalues, each of the same weight."""
    eigenvalues, _ = differences.whole_spectrum(x, zero, callback)
    weights = np.full((1, eigenvalues.size), 1 / eigenvalues.size)
    return Quadrature(eigenvalues[None], weights, np.zeros(eigenvalues.size), True)


def _differences(land: Any, x: np.ndarray, step: float | None) -> tuple[Differences, float | None]:
    """Exact products where the landscape has them, else finite differences with a step that suits the noise.

    Also returned is the error that the noise leaves in a product, None where it is not measured.
    """
    if step is None and getattr(land, "hessian_products", None) is not None:
        return Exact(land), None
    if step is not None:
        return Differences(land, step), None
    noise = measure_noise(land, x)
    suitable, error = product_step(noise)
    differences = Differences(land, suitable)
    differences.evaluations += noise.evaluations
    return differences, error
