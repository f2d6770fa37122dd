"""The lowest modes of a Hessian that is known by its products alone, and the proof that none lies below them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from ..hessian import FEW_COORDINATES, Differences
from ..landscape import LandscapeError
from ..noise import Noise, measure_noise, product_step

#: An eigenvalue below so many times the expected error of a product has no sign.
UNSURE = 3
#: A gradient component below so many times the noise of the noisiest one may be zero.
UNSEEN = 3
#: A value below so many times its noise is not told from zero.
LEVEL = 4
#: With many coordinates, vectors of the Lanczos iterations: to follow a mode, and for a proof; restarts at most.
VECTORS, PROOF_VECTORS, RESTARTS = 40, 80, 200
#: An eigenvalue within this part of itself has the right sign.
SIGN = 0.2
#: The chance to miss a second negative eigenvalue, and the products at most that make it so small.
MISSED, PROOF_PRODUCTS = 1e-6, 16_000
#: Looks at most, each ten times as close, for an eigenvalue that is known to be there. After so many of them the step
#: is so many times as long: a gradient that jumps somewhere leaves more of it in the products the shorter the step is.
LOOKS, PATIENCE, LONGER = 5, 2, 30


class Modes(Differences):
    """A landscape, its noise, and the lowest modes of its Hessian.

    Attributes
    ----------
    noise
        As measured where :meth:`measure` was last called.
    scale
        The length over which the landscape varies.
    """

    noise: Noise

    def __init__(self, landscape: Any, scale: float | None = None) -> None:
        super().__init__(landscape, 0.0)
        self.stiffest, self.scale = 0.0, scale
        self._bends = 0.0

    def measure(self, x: np.ndarray, value: float, gradient: np.ndarray, direction: np.ndarray | None = None) -> None:
        """Measures the noise at x, and chooses the step of the products by it."""
        noise = measure_noise(_Counted(self), x, scale=self.scale, direction=direction, known=(value, gradient))
        self.noise = noise
        self.step, error = product_step(noise, self.scale)
        # What is left of the error beside the noise is a part of the curvature that grows with the step's square.
        truncated = max(error - self._noisy(), 0.0)
        self._bends = truncated / (noise.curvature * self.step**2) if noise.curvature > 0 else 0.0

    def _noisy(self) -> float:
        """The expected norm of a product's noise."""
        return float(np.sqrt(0.5 * self.noise.size)) * self.noise.gradient / self.step

    @property
    def unseen(self) -> float:
        """The largest gradient component that may be noise alone."""
        return UNSEEN * self.noise.gradient_largest

    @property
    def level(self) -> float:
        """The largest difference of two values that may be noise alone."""
        return LEVEL * self.noise.value

    def error(self, values: np.ndarray) -> float:
        """Eigenvalues smaller than this may be zero: noise, and the truncation of finite differences."""
        stiffest = max(self.stiffest, self.noise.curvature, float(np.abs(values).max(initial=0)))
        noisy = max(self._noisy(), float(np.sqrt(self.noise.size)) * self.asymmetry)
        return UNSURE * (noisy + self._bends * self.step**2 * stiffest)

    def lowest(
        self, x: np.ndarray, zero: np.ndarray, guess: np.ndarray | None, proved: int = 2
    ) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues, ascending, and eigenvectors (rows) of the Hessian without its zero modes.

        All of them with few coordinates. With many, the lowest that a guess leads to; or, without a guess, the two
        lowest, their signs proved; or, if one is to be proved, a negative one, and none where there is none.
        """
        D = x.size
        if D <= FEW_COORDINATES:
            return self.whole_spectrum(x, zero)

        def product(v: np.ndarray, aside: np.ndarray) -> np.ndarray:
            along = aside @ v.ravel()
            Hv = self.products(x, (v.ravel() - aside.T @ along)[None])[0]
            if not np.isfinite(Hv).all():
                raise LandscapeError("the gradient is not finite beside it", x)
            result: np.ndarray = Hv - aside.T @ (aside @ Hv) + self.stiffest * (aside.T @ along)
            return result

        def lanczos(aside: np.ndarray, start: np.ndarray, ncv: int, tol: float, which: str = "SA") -> Any:
            operator = LinearOperator((D, D), matvec=lambda v: product(v, aside), dtype=np.float64)
            options = {"ncv": min(ncv, D - 1), "maxiter": RESTARTS, "tol": tol}
            values, vectors = eigsh(operator, k=1, which=which, v0=start, **options)
            return values, vectors.T

        rng = np.random.default_rng(1)
        if self.stiffest == 0 or (guess is None and proved == 2):  # modes are put there aside, in nobody's way
            self.stiffest = 0.0  # of an earlier point, where it may have been far stiffer
            if not product(rng.standard_normal(D), zero).any():
                raise LandscapeError("its products with vectors are all zero: the landscape is flat there", x)
            self.stiffest = abs(float(lanczos(zero, rng.standard_normal(D), VECTORS, 0.1, "LM")[0][0]))
        if guess is not None:
            return lanczos(zero, guess, VECTORS, 1e-3)
        # From one start Lanczos iterations see one vector of a degenerate pair, and of a symmetric start nothing that
        # breaks the symmetry. So they start anywhere, and what they found is put aside for a second look.
        values, vectors = np.zeros(0), np.zeros((0, D))
        if proved == 2:
            values, vectors = lanczos(zero, rng.standard_normal(D), PROOF_VECTORS, 1e-2)
        aside = np.concatenate([zero, vectors])

        def none_below(floor: float) -> bool:
            return self.none_below(floor, lambda v: product(v, aside), rng.standard_normal(D))

        # What is zero within the error makes no saddle, but may be a minimum's.
        floor = self.error(values) if proved == 2 else -self.error(values)
        if proved == 1 and none_below(floor):
            return values, vectors
        # The last look has to tell no more than a sign. It may come to rest on an eigenvalue before a softer one below
        # has emerged; then closer looks find that.
        step = self.step
        try:
            for look in range(LOOKS):
                if look == PATIENCE:
                    self.step *= LONGER
                tol = SIGN * 0.1 ** (look % PATIENCE)
                value, vector = lanczos(aside, rng.standard_normal(D), PROOF_VECTORS, tol)
                if value[0] <= floor or none_below(max(floor, 0.5 * float(value[0]))):
                    break
            else:
                raise RuntimeError(
                    f"its products contradict each other: an eigenvalue below {value[0]:.3g} is there, but its mode is "
                    "not found; the gradient may jump nearby, or be noisier than was measured"
                )
        finally:
            self.step = step
        values, vectors = np.concatenate([values, value]), np.concatenate([vectors, vector])
        order = np.argsort(values)
        return values[order], vectors[order]

    def none_below(self, floor: float, product: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> bool:
        """Whether all eigenvalues of an operator lie above a floor; a wrong yes has a chance of ``MISSED``.

        The k-th vector of the Lanczos recurrence is p_k(H) v, and p_k(λ)² grows below the lowest Ritz value the further
        down λ is. An eigenvector u with an eigenvalue there has (u·v)² Σ p_k(λ)² = Σ (u·v_k)² ≤ 1. The sum at the
        floor thus bounds its part in v; in a random v, |u·v| < s has a chance below s √(2D/π). A Ritz value below the
        floor, a pivot of T − floor that is not positive, says no. Neither needs vectors kept nor restarts.
        """
        enough = 2 * start.size / (np.pi * MISSED**2)
        before, v = np.zeros_like(start), start / np.linalg.norm(start)
        beta, pivot, p, total = 0.0, 1.0, 1.0, 1.0
        for _ in range(PROOF_PRODUCTS):
            w = product(v) - beta * before
            alpha = float(v @ w)
            pivot = alpha - floor - beta**2 / pivot
            if pivot <= 0:
                return False
            w = w - alpha * v
            beta = float(np.linalg.norm(w))
            if beta == 0:  # all that v contains has been seen
                return True
            p *= pivot / beta  # but for its sign
            total += p * p
            if total >= enough:
                return True
            before, v = v, w / beta
        raise RuntimeError(f"{PROOF_PRODUCTS} products do not tell whether an eigenvalue lies below {floor:.3g}")


class _Counted:
    """The landscape of some differences, whose counts include what is evaluated here."""

    def __init__(self, surface: Differences) -> None:
        self.surface, inner = surface, surface.landscape
        self.size, self.dtype, self.device = inner.size, inner.dtype, inner.device

    def values_and_gradients(self, points: Any) -> Any:
        self.surface.evaluations.gradients += len(points)
        return self.surface.landscape.values_and_gradients(points)
