"""A landscape for saddle searches: gradients, Hessian-vector products, and their noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..hessian import Differences, exact_products
from ..landscape import LandscapeError
from ..noise import Noise, bending_length, measure_noise, one_sided_step, product_step

#: The sign of an eigenvalue is uncertain below this many times the expected error of a product.
UNSURE = 3
#: A gradient component below this many times the noise of the noisiest one may be zero.
UNSEEN = 3
#: A difference of values below this many times the noise may be zero.
LEVEL = 4
#: Up to this many coordinates, the whole spectrum is computed from products with all unit vectors, by default.
FEW = 12
#: Rounding errors of exact products, in units of the precision.
ROUNDING = 1e3


class Surface(Differences):
    """A landscape with counts of evaluations, in float64 on the host.

    Attributes
    ----------
    scale
        The length over which it varies; None while it is unknown.
    noise
        The noise where :meth:`measure` was last called; None before.
    measured_at
        The point of that measurement.
    batch
        With at most this many free coordinates, the products with all unit vectors are computed in one batch.
    rounds
        Number of batches: the cost where the points of one are evaluated in parallel.
    """

    def __init__(self, landscape: Any, scale: float | None = None) -> None:
        super().__init__(landscape, 0.0)
        self.scale = scale
        self.noise: Noise | None = None
        self.measured_at: np.ndarray | None = None
        self.batch, self.rounds = FEW, 0
        self._length, self._one_sided_step = 1.0, 0.0

    def stack(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate values (P,) and gradients (P, D)."""
        self.rounds += 1
        return super().stack(points)

    def residual(self, gradient: np.ndarray) -> float:
        """Compute the norm of a gradient: its largest absolute component, or the largest force for atoms."""
        return float(self.landscape.residual(gradient))

    def measure(self, x: np.ndarray, value: float, gradient: np.ndarray, direction: np.ndarray | None = None) -> Noise:
        """Measure the noise at x, and choose the finite-difference steps by it."""
        counted, self.measured_at = _Counted(self), x
        self.noise = measure_noise(counted, x, scale=self.scale, direction=direction, known=(value, gradient))
        self.step, _ = product_step(self.noise, self.scale)
        self._length = bending_length(self.noise, self.scale)
        self._one_sided_step = one_sided_step(self.noise, self.scale)
        return self.noise

    @property
    def unseen(self) -> float:
        """The largest gradient component that may be noise; 0 before the noise is measured."""
        return 0.0 if self.noise is None else UNSEEN * self.noise.gradient_largest

    @property
    def level(self) -> float:
        """The largest difference of two values that may be noise; 0 before the noise is measured."""
        return 0.0 if self.noise is None else LEVEL * self.noise.value

    @property
    def exact(self) -> bool:
        """Whether the landscape has exact Hessian-vector products."""
        return getattr(self.landscape, "hessian_products", None) is not None

    def error(self, stiffest: float, asymmetry: float, few: bool, one_sided: bool) -> float:
        """Estimate the error of eigenvalues from noise and from the truncation of finite differences.

        ``asymmetry`` is the effect of the asymmetry of the products, which includes both errors unless the vectors are
        ``few``; ``stiffest`` is the largest known curvature.
        """
        assert self.noise is not None
        stiffest = max(stiffest, self.noise.curvature)
        if self.exact:
            return ROUNDING * float(np.finfo(self.landscape.dtype).eps) * stiffest
        step = self._one_sided_step if one_sided else self.step
        noisy = max(self.noise.gradient * (2**0.5 if one_sided else 0.5**0.5) / step, asymmetry)
        bent = 0.5 * step / self._length if one_sided else (step / self._length) ** 2 / 6
        return UNSURE * (noisy + bent * stiffest * few)

    def multiply(self, x: np.ndarray, directions: np.ndarray, gradient: np.ndarray | None) -> np.ndarray:
        """Compute H v for rows v (n, D), by one gradient each and the one at x where that is given, else by two.

        Raises
        ------
        LandscapeError
            If the landscape cannot be evaluated next to x.
        """
        if self.exact:
            self.evaluations.gradients += 2 * len(directions)
            self.rounds += 1
            products = exact_products(self.landscape, x, directions)
        elif gradient is None:
            products = self.products(x, directions)
        else:
            products = self.one_sided(x, directions, gradient, self._one_sided_step)
        if not np.isfinite(products).all():
            raise LandscapeError("the gradient is not finite next to it", x)
        return products


class _Counted:
    """The landscape of a surface; evaluations are added to the counts of the surface."""

    def __init__(self, surface: Surface) -> None:
        self.surface, inner = surface, surface.landscape
        self.size, self.dtype, self.device = inner.size, inner.dtype, inner.device

    def values_and_gradients(self, points: Any) -> Any:
        self.surface.evaluations.gradients += len(points)
        self.surface.rounds += 1
        return self.surface.landscape.values_and_gradients(points)
