"""Both ends of the spectrum of a Hessian and its trace, from products at an accurate step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..hessian import FEW_COORDINATES
from ..noise import Noise
from .difference_steps import accurate_step, is_noise, why_not_converged
from .lanczos import FINER, End, Products, lanczos_ends, residual_limit, verified
from .trace import estimate_trace

#: Random vectors for the trace.
PROBES = 20
#: Spectra computed at most, each with a smaller finite-difference step.
ATTEMPTS = 3


def is_whole(free: int, n: int) -> bool:
    """Check whether the whole spectrum is computed for n eigenvalues at each end, of so many coordinates."""
    return free <= max(FEW_COORDINATES, 4 * n)


@dataclass(frozen=True)
class Options:
    """Options of :func:`~minilandscape.curvature`."""

    n: int
    probes: int | None
    tolerance: float
    seed: int | None
    callback: Callable[[int], Any] | None

    def whole(self, free: int) -> bool:
        """Check whether the whole spectrum is computed; ValueError if options of random vectors are given then."""
        whole = is_whole(free, self.n)
        of_random = {"probes": self.probes, "seed": self.seed}
        if given := [f"{name} is {value}" for name, value in of_random.items() if whole and value is not None]:
            raise ValueError(
                f"{' and '.join(given)}, but of {free} coordinates all of the spectrum is computed, and nothing is "
                f"random; remove {'it' if len(given) == 1 else 'them'}"
            )
        return whole

    def generator(self) -> np.random.Generator:
        return np.random.default_rng(0 if self.seed is None else self.seed)


@dataclass(frozen=True)
class Ends:
    """Both ends of the spectrum, the lowest first.

    Attributes
    ----------
    trace
        Σ λ where the whole spectrum was computed, else NaN.
    none_missing
        Whether restarted Lanczos iterations found nothing beyond the ends.
    missing
        How many eigenvalues were not found.
    """

    found: tuple[End, End]
    trace: float
    none_missing: bool
    missing: int

    @property
    def largest(self) -> float:
        return max(float(np.abs(end.values).max(initial=0)) for end in self.found)

    @property
    def changed(self) -> float:
        return max(float(end.changed.max(initial=0)) for end in self.found)

    def small_residuals(self, tolerance: float) -> bool:
        residual, allowed = self.worst("residuals", tolerance)
        return residual <= allowed

    def worst(self, name: str, tolerance: float) -> tuple[float, float]:
        """Return the largest of ``residuals`` or ``changed`` as a part of what is allowed there, and what is."""
        numbers = np.concatenate([getattr(end, name) for end in self.found])
        limits = np.concatenate([residual_limit(end.values, self.largest, tolerance) for end in self.found])
        if not len(limits):
            return 0.0, 0.0
        k = int(np.argmax(numbers / np.maximum(limits, np.finfo(float).tiny)))
        return float(numbers[k]), float(limits[k])


def both_ends(products: Products, options: Options, whole: bool, rng: np.random.Generator) -> Ends:
    free = products.x.size - len(products.zero)
    if whole:
        everything, modes = products.differences.whole_spectrum(products.x, products.zero)
        k = min(options.n, len(everything))
        ends = [(everything[:k], modes[:k]), (everything[::-1][:k], modes[::-1][:k])]
        trace, none_missing = float(everything.sum()), True
    else:
        ends, none_missing = lanczos_ends(products, options.n, rng, options.tolerance)
        trace = float("nan")
    lowest, highest = (verified(products, *end) for end in ends)
    missing = sum(min(options.n, free) - len(end.values) for end in (lowest, highest))
    return Ends((lowest, highest), trace, none_missing, missing)


def refined_ends(
    products: Products, options: Options, whole: bool, rng: np.random.Generator, noise: Noise, fixed_step: bool
) -> tuple[Ends, str]:
    """Both ends at a step at which their products are accurate, and why they are not converged (empty if they are)."""
    differences = products.differences
    for attempt in range(ATTEMPTS):
        ends = both_ends(products, options, whole, rng)
        if ends.none_missing and ends.small_residuals(options.tolerance) and not ends.missing:
            return ends, ""
        changed, allowed = ends.worst("changed", options.tolerance)
        residual = ends.worst("residuals", options.tolerance)
        reason = why_not_converged(noise, differences.step, (changed, allowed), residual, ends.missing)
        last = fixed_step or attempt + 1 == ATTEMPTS
        if last or not changed > 0.1 * allowed or is_noise(noise, differences.step, changed):
            break
        # The extreme eigenvectors reach kinks sooner than random vectors.
        vectors = np.concatenate([end.vectors for end in ends.found])
        shorter = accurate_step(products, differences.step / FINER, vectors, noise, options.tolerance)
        if not products.change(vectors, shorter) < 0.5 * ends.changed:
            break
        differences.step = shorter
    return ends, reason


def trace_of(
    products: Products, ends: Ends, whole: bool, rng: np.random.Generator, probes: int | None
) -> tuple[float, float]:
    """The trace and its standard error."""
    if whole:
        return ends.trace, 0.0
    vectors = np.concatenate([end.vectors for end in ends.found])
    images = np.concatenate([end.images for end in ends.found])
    return estimate_trace(products, vectors, images, rng, PROBES if probes is None else probes)
