"""Hessian-vector products of any landscape by finite differences of gradients; the Hessian is never formed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .backend import to_device, to_host
from .landscape import Evaluations, LandscapeError, describe_point

#: Up to this many coordinates, the whole spectrum is computed from products with all unit vectors.
FEW_COORDINATES = 60


class Differences:
    """A landscape with counts of evaluations and Hessian-vector products, in float64 on the host.

    Attributes
    ----------
    step
        Finite-difference step h.
    evaluations
        Points evaluated.
    """

    def __init__(self, landscape: Any, step: float) -> None:
        self.landscape, self.step = landscape, step
        self.evaluations = Evaluations()

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """Evaluate one point; NaN where the landscape cannot be evaluated."""
        try:
            values, gradients = self.stack(x[None])
        except LandscapeError:
            return float("nan"), np.full(x.size, np.nan)
        return float(values[0]), gradients[0]

    def stack(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Evaluate values (P,) and gradients (P, D)."""
        self.evaluations.gradients += len(points)
        points = to_device(points, self.landscape.device, self.landscape.dtype)
        values, gradients = self.landscape.values_and_gradients(points)
        return values, to_host(gradients).astype(np.float64)

    def products(self, x: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Compute H v for rows v (n, D), in one batch, as [∇f(x + h v) − ∇f(x − h v)] / 2h."""
        sizes, units = _units(directions)
        _, gradients = self.stack(np.concatenate([x + self.step * units, x - self.step * units]))
        ahead, behind = gradients[: len(units)], gradients[len(units) :]
        return sizes * (ahead - behind) / (2 * self.step)

    def one_sided(self, x: np.ndarray, directions: np.ndarray, gradient: np.ndarray, step: float) -> np.ndarray:
        """Compute H v as [∇f(x + h v) − ∇f(x)] / h from the gradient at x: half as many gradients, with another h."""
        sizes, units = _units(directions)
        _, gradients = self.stack(x + step * units)
        return sizes * (gradients - gradient) / step

    def zero_modes(self, x: np.ndarray) -> np.ndarray:
        """Orthonormalise the zero modes (Z, D); LandscapeError where they are invalid, or span all directions."""
        try:
            modes = np.asarray(to_host(self.landscape.zero_modes(x)), dtype=np.float64)
        except LandscapeError:
            raise
        except Exception as error:
            raise LandscapeError(
                f"zero_modes raised {type(error).__name__} at {describe_point(x)}: {error}", x
            ) from error
        if not modes.size:
            return np.zeros((0, x.size))
        finite = bool(np.isfinite(modes).all())
        if modes.ndim != 2 or modes.shape[1] != x.size or not finite:
            returned = f"shape {modes.shape}{'' if finite else ', with values that are not finite'}"
            raise LandscapeError(f"zero_modes returned {returned}; expected finite directions (Z, {x.size})", x)
        _, sizes, rows = np.linalg.svd(modes, full_matrices=False)
        rows = rows[sizes > 1e-10 * sizes.max()]
        if len(rows) == x.size:
            raise LandscapeError(
                f"all {x.size} directions at {describe_point(x)} are zero modes: the value would be "
                "constant everywhere",
                x,
            )
        return rows

    def whole_spectrum(
        self, x: np.ndarray, zero: np.ndarray, callback: Callable[[int], Any] | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Compute all eigenvalues, ascending, and eigenvectors (rows), without zero modes: 2 (D − Z) gradients.

        ``callback(products)`` is called after every few products.
        """
        # A basis of the complement, so that zero modes do not mix in.
        basis = np.linalg.svd(zero, full_matrices=True)[2][len(zero) :] if len(zero) else np.eye(x.size)
        rows = []
        for k in range(0, len(basis), FEW_COORDINATES):
            rows.append(self.products(x, basis[k : k + FEW_COORDINATES]))
            if callback is not None:
                callback(k + len(rows[-1]))
        H = basis @ np.concatenate(rows).T
        if not np.isfinite(H).all():
            raise LandscapeError("the gradient is not finite next to it", x)
        values, vectors = np.linalg.eigh(0.5 * (H + H.T))
        return values, vectors.T @ basis


class Exact(Differences):
    """A landscape with counts of evaluations and exact Hessian-vector products, for which it has a method.

    Attributes
    ----------
    done
        Number of products so far.
    """

    def __init__(self, landscape: Any) -> None:
        super().__init__(landscape, 0.0)
        self.done = 0

    def products(self, x: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """Compute H v for rows v (n, D)."""
        self.done += len(directions)
        return exact_products(self.landscape, x, directions)


def exact_products(landscape: Any, x: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Compute H v for rows v (n, D) with the method of a landscape, in float64 on the host."""
    point, rows = (to_device(a, landscape.device, landscape.dtype) for a in (x, directions))
    return to_host(landscape.hessian_products(point, rows)).astype(np.float64)


def _units(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the lengths (n, 1) of rows, and the unit vectors; a row of zeros stays zero."""
    sizes = np.linalg.norm(directions, axis=1, keepdims=True)
    return sizes, np.divide(directions, sizes, out=np.zeros_like(directions), where=sizes > 0)
