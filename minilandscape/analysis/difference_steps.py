"""The finite-difference step of Hessian-vector products, and why products at a step are not accurate enough."""

from __future__ import annotations

import numpy as np

from ..noise import Noise
from .lanczos import FINER, Products

#: Steps tried at most, each a quarter of the one before.
MOST_STEPS = 16
#: A change of products that is no more than so many times what noise explains is noise.
NOISE = 5


def accurate_step(products: Products, step: float, v: np.ndarray, noise: Noise, tolerance: float) -> float:
    """Choose the step at which products with v (K, D) are most accurate, no longer than the given one.

    Where a step is too long for kinks of the gradient, or for changes of the curvature near the point, products at a
    quarter of it differ. The step is reduced until they agree, or until noise dominates the difference; the step of the
    smallest difference is returned.
    """
    v = v - (v @ products.zero.T) @ products.zero
    v = v / np.linalg.norm(v, axis=1, keepdims=True)
    best, least, before = step, np.inf, products.at(v, step)
    for _ in range(MOST_STEPS):
        after = products.at(v, step / FINER)
        size = float(np.linalg.norm(after, axis=1).max())
        change = float(np.linalg.norm(after - before, axis=1).max())
        if change < least:
            best, least = step, change
        if change <= 0.1 * tolerance * size or is_noise(noise, step, change):
            break
        before, step = after, step / FINER
    return best


def is_noise(noise: Noise, step: float, error: float) -> bool:
    """Decide whether the noise of the gradients explains an error of products at a quarter of a step."""
    return error <= NOISE * _spread(noise, step)


def _spread(noise: Noise, step: float) -> float:
    return float(np.sqrt(noise.size) * noise.gradient * FINER / step)


def why_not_converged(
    noise: Noise, step: float, change: tuple[float, float], residual: tuple[float, float], missing: int
) -> str:
    """Explain why eigenvalues from finite differences are not converged, and what helps.

    Parameters
    ----------
    change, residual
        The difference between products at the step and at a quarter of it, and the residual, of the eigenvalue where it
        is the largest part of the allowed residual; with that.
    missing
        How many eigenvalues the Lanczos iterations did not find.
    """
    better = "compute them in double precision, or converge them more tightly"
    (changed, allowed), differs = change, change[0] > 0.1 * change[1]
    error = max(changed if differs else 0.0, residual[0] if residual[0] > residual[1] else 0.0)
    if error > 0 and is_noise(noise, step, error):
        return (
            f"the noise of the gradients, {noise.gradient:.2g} a component, leaves errors of {error:.2g} in "
            f"Hessian-vector products: {better}"
        )
    if differs:
        cause = (
            f"Hessian-vector products at steps of {step:.2g} and {step / FINER:.2g} differ by {changed:.2g}: the "
            "gradient has kinks, or its curvature changes, at a smaller distance"
        )
        if FINER * _spread(noise, step) > allowed:
            return f"{cause}, and the noise of the gradients allows no smaller step: {better}"
        return f"{cause}; give a smaller step"
    if missing:
        return not_found(missing)
    if residual[0] > residual[1]:
        return f"{too_large(*residual)}: the gradient has kinks, or is wrong, which check_gradient tells"
    return MAY_BE_MISSING


#: The reason where the residuals are small but an eigenvalue may have been overlooked.
MAY_BE_MISSING = "an eigenvalue beyond those found, or a repeated one, may be missing; ask for more or fewer of them"


def too_large(residual: float, allowed: float) -> str:
    """Say that products agree with each other and leave a large residual."""
    return f"Hessian-vector products leave a residual of {residual:.2g} where {allowed:.2g} is allowed"


def not_found(missing: int) -> str:
    """Explain that Lanczos iterations did not find some eigenvalues."""
    return f"the Lanczos iterations did not find {missing} of the eigenvalues; ask for fewer"
