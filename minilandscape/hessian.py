"""Products with the Hessian of any landscape, by differences of its gradients; the Hessian itself is never formed."""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import to_device, to_host
from .landscape import Evaluations, LandscapeError, describe_point

#: Up to this many coordinates the products with all unit vectors give the whole spectrum.
FEW_COORDINATES = 60


class Differences:
    """A landscape with counts, in float64 on the host, and products with its Hessian.

    Attributes
    ----------
    step
        h, the distance between the gradients that are subtracted.
    evaluations
        Points evaluated.
    """

    def __init__(self, landscape: Any, step: float) -> None:
        self.landscape, self.step = landscape, step
        self.evaluations = Evaluations()

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """NaN where the landscape cannot be evaluated."""
        try:
            values, gradients = self.stack(x[None])
        except LandscapeError:
            return float("nan"), np.full(x.size, np.nan)
        return float(values[0]), gradients[0]

    def stack(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values (P,) and gradients (P, D)."""
        self.evaluations.gradients += len(points)
        points = to_device(points, self.landscape.device, self.landscape.dtype)
        values, gradients = self.landscape.values_and_gradients(points)
        return values, to_host(gradients).astype(np.float64)

    def products(self, x: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """H v for rows v (n, D), all in one batch, by [∇f(x + h v) − ∇f(x − h v)] / 2h."""
        sizes, units = _units(directions)
        _, gradients = self.stack(np.concatenate([x + self.step * units, x - self.step * units]))
        ahead, behind = gradients[: len(units)], gradients[len(units) :]
        return sizes * (ahead - behind) / (2 * self.step)

    def one_sided(self, x: np.ndarray, directions: np.ndarray, gradient: np.ndarray, step: float) -> np.ndarray:
        """The same by [∇f(x + h v) − ∇f(x)] / h, from the gradient at x and an h of their own: half the gradients."""
        sizes, units = _units(directions)
        _, gradients = self.stack(x + step * units)
        return sizes * (gradients - gradient) / step

    def zero_modes(self, x: np.ndarray) -> np.ndarray:
        """(Z, D), orthonormal; LandscapeError where what the landscape names cannot be, or is every direction."""
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
        if modes.ndim != 2 or modes.shape[1] != x.size or not np.isfinite(modes).all():
            what = f"shape {modes.shape}" + ("" if np.isfinite(modes).all() else ", with values that are not finite")
            raise LandscapeError(f"zero_modes returned {what}; expected finite directions (Z, {x.size})", x)
        _, sizes, rows = np.linalg.svd(modes, full_matrices=False)
        rows = rows[sizes > 1e-10 * sizes.max()]
        if len(rows) == x.size:
            raise LandscapeError(
                f"all {x.size} directions at {describe_point(x)} are zero modes: the landscape says that its value is "
                "the same everywhere",
                x,
            )
        return rows

    def whole_spectrum(self, x: np.ndarray, zero: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """All eigenvalues, ascending, and eigenvectors (rows), without some zero modes (Z, D): 2 (D − Z) gradients."""
        # The complement's own basis, so that zero modes cannot mix in.
        basis = np.linalg.svd(zero, full_matrices=True)[2][len(zero) :] if len(zero) else np.eye(x.size)
        H = basis @ self.products(x, basis).T
        if not np.isfinite(H).all():
            raise LandscapeError("the gradient is not finite beside it", x)
        values, vectors = np.linalg.eigh(0.5 * (H + H.T))
        return values, vectors.T @ basis


class Exact(Differences):
    """A landscape with counts, and the exact products with its Hessian that it has a method for.

    Attributes
    ----------
    done
        Products so far.
    """

    def __init__(self, landscape: Any) -> None:
        super().__init__(landscape, 0.0)
        self.done = 0

    def products(self, x: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """H v for rows v (n, D)."""
        self.done += len(directions)
        return exact_products(self.landscape, x, directions)


def exact_products(landscape: Any, x: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """H v for rows v (n, D), of a landscape that has a method for them, in float64 on the host."""
    point, rows = (to_device(a, landscape.device, landscape.dtype) for a in (x, directions))
    return to_host(landscape.hessian_products(point, rows)).astype(np.float64)


def _units(directions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lengths (n, 1) of some rows, and the rows over them; a row of zeros stays one."""
    sizes = np.linalg.norm(directions, axis=1, keepdims=True)
    return sizes, np.divide(directions, sizes, out=np.zeros_like(directions), where=sizes > 0)
