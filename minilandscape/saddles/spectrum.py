"""Compute the lowest modes of a Hessian from Hessian-vector products, and verify how many eigenvalues are negative.

A vector v with v·H v < 0 shows that at least one eigenvalue is negative. If H is positive definite on the orthogonal
complement of v, exactly one is (Cauchy's interlacing theorem). Lanczos iterations from a random vector verify that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..landscape import LandscapeError
from .model import Model
from .surface import Surface

#: Up to this many coordinates, two-sided differences cost no more than one-sided ones and their refinement.
VERY_FEW = 4
#: Probability to miss an eigenvalue below the threshold.
MISSED = 1e-3
#: A mode is accurate if its residual is below this fraction of its eigenvalue; largest number of products for that.
CLOSE, MOST_CLOSER = 0.2, 40
#: Largest number of vectors, and the bytes that they may use.
MOST_VECTORS, MOST_MEMORY = 1500, 2**30
#: From this many vectors on, the error is estimated from the asymmetry of their products.
ENOUGH = 6
#: A vector is discarded if less than this fraction of it is linearly independent of the others.
NEW = 1e-3
#: Its product, from which those of the others are subtracted, is kept if its error is at most this many times that of
#: the product with a unit vector.
WORSE = 2
#: Largest number of modes of uncertain sign that are computed again.
MOST_OPEN = 4
#: Largest number of verifications: one may fail because the mode that was excluded was not accurate enough.
VERIFICATIONS = 4
#: Largest number of products to determine a sign after a verification has failed.
SIGN_PRODUCTS = 60


@dataclass(frozen=True)
class Spectrum:
    """The lowest eigenvalues of a Hessian, without zero modes.

    Attributes
    ----------
    values, vectors
        Eigenvalues, ascending, and eigenvectors (rows).
    sure
        Number of the lowest ones that are accurate to 20 %; the others are Ritz values.
    error
        The sign of an eigenvalue of smaller size is uncertain.
    stiffest
        Largest absolute eigenvalue that is known.
    verified
        Whether no eigenvalue except those below ``-error`` in ``values`` is below ``error`` (at a minimum ``-error``).
    chance
        Probability that this is wrong nevertheless; 0 where the whole spectrum is known, 1 where it is not verified.
    products
        Number of Hessian-vector products.
    """

    values: np.ndarray
    vectors: np.ndarray
    sure: int
    error: float
    stiffest: float
    verified: bool
    chance: float
    products: int

    @property
    def negative(self) -> int:
        """The number of eigenvalues that are negative beyond the error."""
        return int((self.values < -self.error).sum())

    @property
    def open(self) -> int:
        """The number of eigenvalues that do not exceed the error, negative ones included."""
        return int((self.values <= self.error).sum())

    @property
    def unclear(self) -> bool:
        """Whether the sign of one of the two lowest eigenvalues is uncertain."""
        return bool((np.abs(self.values[:2]) <= self.error).any())

    def value_error(self, gradient: np.ndarray) -> float:
        """Estimate |½ g·H⁻¹g|: how far the value is from that at the stationary point. ``gradient`` has no zero modes.

        The parts of both signs are added up. Outside the known vectors, the curvature is estimated by the geometric
        mean of the known ones.
        """
        sizes, along = np.maximum(np.abs(self.values), self.error), self.vectors @ gradient
        outside = max(float(gradient @ gradient - along @ along), 0.0)
        return 0.5 * (float((along**2 / sizes).sum()) + outside / float(np.exp(np.log(sizes).mean())))


def examine(
    surface: Surface,
    x: np.ndarray,
    gradient: np.ndarray,
    zero: np.ndarray,
    model: Model,
    guess: np.ndarray | None,
) -> Spectrum:
    """Compute the lowest modes at a stationary point.

    ``guess`` is the mode along which a negative eigenvalue is expected; None expects none, as at a minimum. One-sided
    products, at half the cost, are used first. Where they leave signs uncertain, the modes concerned are computed again
    with two-sided products, and if necessary the whole examination.
    """
    if not surface.exact and (guess is None or x.size - len(zero) > VERY_FEW):
        found = _Examination(surface, x, zero, model, gradient).run(guess)
        if found.verified and (guess is not None or found.unclear) and found.open <= MOST_OPEN:
            found = _refined(surface, x, zero, found)
        if found.verified and not found.unclear and found.negative == (guess is not None):
            return found
    return _Examination(surface, x, zero, model, None).run(guess)


def softest_mode(
    surface: Surface, x: np.ndarray, gradient: np.ndarray, zero: np.ndarray, model: Model, start: np.ndarray
) -> tuple[np.ndarray, Model]:
    """Compute the softest mode (D,) near a start, and update the model by its products, without verification."""
    look = _Examination(surface, x, zero, model, gradient)
    look.multiply(start - zero.T @ (zero @ start))
    look.improve(0)
    for row, product in zip(look.rows, look.products, strict=True):
        model = model.updated(row, product)
    return look.modes().vectors[0], model


def _refined(surface: Surface, x: np.ndarray, zero: np.ndarray, found: Spectrum) -> Spectrum:
    """Compute the lowest eigenvalues, those of uncertain sign included, again with two-sided differences.

    The verification has shown that the others are above the error of one-sided differences.
    """
    n = max(found.open, min(2, found.sure))
    modes = found.vectors[:n]
    products = surface.multiply(x, modes, None)
    H = modes @ products.T
    low, y = np.linalg.eigh(0.5 * (H + H.T))
    asymmetry = float(np.abs(H - H.T).max())
    error = surface.error(found.stiffest, asymmetry, few=True, one_sided=False)
    values, vectors = np.concatenate([low, found.values[n:]]), np.concatenate([y.T @ modes, found.vectors[n:]])
    return replace(found, values=values, vectors=vectors, error=error, products=found.products + n)


class _Ritz(NamedTuple):
    """Ritz values, ascending, their vectors and residuals (rows), and the error below which a sign is uncertain."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    error: float


class _Examination:
    """Vectors and their Hessian-vector products at x, collected until the signs are known.

    Attributes
    ----------
    gradient
        (D,): the gradient at x, for one-sided differences; None for two-sided ones.
    rows, products, projected
        (K, D): orthonormal vectors without zero modes; (K, D): their products with H; (K, K): H projected onto them.
    worse
        (K,): the errors of the products, in units of that of the product with a unit vector.
    count
        Number of products so far.
    """

    def __init__(
        self, surface: Surface, x: np.ndarray, zero: np.ndarray, model: Model, gradient: np.ndarray | None
    ) -> None:
        self.surface, self.x, self.zero, self.model, self.gradient = surface, x, zero, model, gradient
        self.rows, self.products, self.projected = np.zeros((0, x.size)), np.zeros((0, x.size)), np.zeros((0, 0))
        self.worse = np.zeros(0)
        self.count = 0
        self.room = x.size - len(zero)
        self.most = min(self.room, MOST_VECTORS, max(surface.batch, MOST_MEMORY // (16 * x.size)))

    # The vectors -----------------------------------------------------------------------------------------------------

    def whole(self) -> None:
        """Multiply a basis of all directions, in one batch."""
        zero = self.zero
        basis = np.linalg.svd(zero, full_matrices=True)[2][len(zero) :] if len(zero) else np.eye(self.x.size)
        products = self.surface.multiply(self.x, basis, self.gradient)
        self.count += len(basis)
        self.rows, self.products = basis, products - (products @ zero.T) @ zero
        self.projected = self.rows @ self.products.T
        self.worse = np.ones(len(basis))

    def multiply(self, v: np.ndarray) -> np.ndarray:
        """Compute H v without zero modes, for a v without them; the independent part of v is kept."""
        Hv = self.surface.multiply(self.x, v[None], self.gradient)[0]
        self.count += 1
        Hv = Hv - self.zero.T @ (self.zero @ Hv)
        new, product, inside = v, Hv, np.zeros(len(self.rows))
        for _ in range(2):
            part = self.rows @ new
            new, product, inside = new - self.rows.T @ part, product - self.products.T @ part, inside + part
        left = float(np.linalg.norm(new))
        error = float(np.linalg.norm([np.linalg.norm(v), *(inside * self.worse)]))
        if error <= WORSE * left and len(self.rows) < self.room:
            new, product, self.worse = new[None] / left, product[None] / left, np.append(self.worse, error / left)
            column = np.concatenate([self.rows, new]) @ product.T
            self.projected = np.block([[self.projected, column[:-1]], [new @ self.products.T, column[-1:]]])
            self.rows, self.products = np.concatenate([self.rows, new]), np.concatenate([self.products, product])
        return Hv

    def modes(self) -> _Ritz:
        """Compute Ritz values and vectors."""
        T = self.projected
        values, y = np.linalg.eigh(0.5 * (T + T.T))
        vectors = y.T @ self.rows
        # The effect of errors of the products on the eigenvalues, which is small where these are well separated.
        between = np.abs(0.5 * y[:, :2].T @ (T - T.T) @ y)
        apart = np.maximum(np.abs(values[:2, None] - values), between)
        part = np.divide(between, apart, out=np.zeros_like(between), where=apart > 0)
        asymmetry = (between * part).sum(axis=1).max(initial=0)
        stiffest = float(np.abs(values).max(initial=0))
        error = self.surface.error(stiffest, float(asymmetry), len(T) < ENOUGH, self.gradient is not None)
        return _Ritz(values, vectors, y.T @ self.products - values[:, None] * vectors, error)

    def improve(self, k: int, close: float = CLOSE, most: int = MOST_CLOSER) -> None:
        """Reduce the residual of the k-th mode by Davidson iterations, preconditioned with the model."""
        for _ in range(most):
            found = self.modes()
            k = min(k, len(found.values) - 1)
            size = float(np.linalg.norm(found.residuals[k]))
            if len(self.rows) >= self.most or size <= max(close * abs(found.values[k]), found.error):
                return
            new = self._new(self.model.softened(self.model.softened(found.residuals[k])))
            if new is None:
                return
            self.multiply(new)

    def _new(self, v: np.ndarray) -> np.ndarray | None:
        """Normalise the part of v that is orthogonal to zero modes and known vectors; None where there is none."""
        size, known = float(np.linalg.norm(v)), np.concatenate([self.zero, self.rows])
        for _ in range(2):
            v = v - known.T @ (known @ v)
        left = float(np.linalg.norm(v))
        return v / left if left > NEW * size else None

    # The verification ------------------------------------------------------------------------------------------------

    def run(self, guess: np.ndarray | None) -> Spectrum:
        """Collect vectors until the signs are verified."""
        expected = 0 if guess is None else 1
        if self.room <= self.surface.batch:
            self.whole()
            return self.known(True, 0.0)
        if guess is not None:
            self.begin(guess)
        rng = np.random.default_rng(1)
        for _ in range(VERIFICATIONS):
            found = self.modes()
            threshold = found.error if expected else -found.error
            above, chance = self.all_above(threshold, found.vectors[:expected], rng)
            if above or len(self.rows) >= self.room:
                self.improve(0, 0.5 * CLOSE)
                return self.known(above, chance)
            self.resolve_sign(expected)
            found = self.modes()
            if len(self.rows) >= self.most or (found.values[expected:] <= found.error).any():
                break  # another one is negative, or of uncertain sign
        return self.known(len(self.rows) >= self.room, 0.0 if len(self.rows) >= self.room else 1.0)

    def begin(self, guess: np.ndarray) -> None:
        """Search for a negative mode, from the expected one and the lowest one of the model."""
        _, vectors = self.model.modes
        for start in (guess, *vectors[:1], np.random.default_rng(2).standard_normal(self.x.size)):
            new = self._new(start)
            if new is not None and len(self.rows) < 2:
                self.multiply(new)
        self.improve(0)

    def resolve_sign(self, k: int) -> None:
        """Determine the sign of the k-th eigenvalue."""
        self.improve(k, CLOSE, SIGN_PRODUCTS)

    def all_above(self, threshold: float, aside: np.ndarray, rng: np.random.Generator) -> tuple[bool, float]:
        """Verify that H − threshold is positive definite orthogonal to some vectors; with the probability of an error.

        Lanczos iterations on A = |B|^(−1/2) (H − threshold) |B|^(−1/2), B being the model, whose eigenvalues have the
        same signs (Sylvester). A pivot of the tridiagonal matrix that is not positive refutes it. The k-th vector of
        the recurrence is v_k = p_k(A) v, and |p_k(λ)| grows as λ decreases below the spectrum. For an eigenvector u of
        an eigenvalue below 0, (u·v)² Σ p_k(0)² ≤ Σ (u·v_k)² ≤ 1 would bound its component in v; for a random v,
        |u·v| < s has a probability below s √(2D/π).
        """
        soft = self.model.softened
        barred = np.array([soft(row) for row in np.concatenate([self.zero, aside])]).reshape(-1, self.x.size)
        barred = np.linalg.qr(barred.T)[0].T
        room = self.x.size - len(barred)
        Y = np.zeros((0, self.x.size))
        y = rng.standard_normal(self.x.size)
        beta, pivot, p, total = 0.0, 1.0, 1.0, 1.0
        for _ in range(min(room, self.most)):
            for _ in range(2):
                y = y - barred.T @ (barred @ y) - Y.T @ (Y @ y)
            y = y / np.linalg.norm(y)
            v = soft(y)
            w = soft(self.multiply(v) - threshold * v)
            w = w - barred.T @ (barred @ w)
            alpha = float(y @ w)
            pivot = alpha - beta**2 / pivot
            if pivot <= 0:
                return False, 1.0
            Y = np.concatenate([Y, y[None]])
            y = w - Y.T @ (Y @ w)
            beta = float(np.linalg.norm(y))
            if len(Y) == room or beta <= 1e-12 * abs(alpha):  # the space is exhausted
                return True, 0.0
            p *= pivot / beta
            total += p * p
            if 2 * room / (np.pi * total) <= MISSED**2:
                return True, MISSED
        return False, 1.0

    def known(self, verified: bool, chance: float) -> Spectrum:
        """Return the result."""
        values, vectors, residuals, error = self.modes()
        stiffest = float(np.abs(values).max(initial=0))
        if stiffest == 0:
            raise LandscapeError("all Hessian-vector products are zero: the landscape is flat there", self.x)
        close = np.linalg.norm(residuals, axis=1) <= np.maximum(CLOSE * np.abs(values), error)
        sure = len(values) if close.all() or len(values) == self.room else max(1, int(np.argmin(close)))
        return Spectrum(values, vectors, sure, error, stiffest, verified, chance, self.count)
