"""The lowest modes of a Hessian that is known by its products alone, and the proof that none lies below them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse.linalg import LinearOperator, eigsh

from ..hessian import FEW_COORDINATES, Differences
from ..landscape import LandscapeError

#: Products have an error of about eps^(2/3) of the stiffest mode; an eigenvalue below so many times that has no sign.
UNSURE = 1000
#: With many coordinates, vectors of the Lanczos iterations: to follow a mode, and for a proof; restarts at most.
VECTORS, PROOF_VECTORS, RESTARTS = 40, 80, 200
#: An eigenvalue within this part of itself has the right sign.
SIGN = 0.2
#: The chance to miss a second negative eigenvalue, and the products at most that make it so small.
MISSED, PROOF_PRODUCTS = 1e-6, 16_000
#: Looks at most, each ten times as close, for an eigenvalue that is known to be there.
LOOKS = 5


class Modes(Differences):
    """A landscape, and the lowest modes of its Hessian."""

    def __init__(self, landscape: Any, step: float) -> None:
        super().__init__(landscape, step)
        self.stiffest = 0.0

    def error(self, values: np.ndarray) -> float:
        """Eigenvalues smaller than this may be zero."""
        stiffest = max(self.stiffest, float(np.abs(values).max(initial=0)))
        return UNSURE * float(np.finfo(self.landscape.dtype).eps) ** (2 / 3) * stiffest

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
        for tol in SIGN * 0.1 ** np.arange(LOOKS):
            value, vector = lanczos(aside, rng.standard_normal(D), PROOF_VECTORS, tol)
            if value[0] <= floor or none_below(max(floor, 0.5 * float(value[0]))):
                break
        else:
            raise RuntimeError(f"an eigenvalue below {value[0]:.3g} is there, but its mode is not found")
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
