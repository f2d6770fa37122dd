"""The lowest modes of a Hessian that is known by its products alone, and the proof of what lies below them.

A vector v with v·H v < 0 shows that one eigenvalue is negative. If H is positive in all that is orthogonal to v, no
other is (Cauchy's interlacing theorem). That is proved by Lanczos iterations from a random vector.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..landscape import LandscapeError
from .model import Model
from .surface import Surface

#: Up to so many coordinates two-sided differences cost no more than one-sided ones and a second look.
VERY_FEW = 4
#: The chance to miss an eigenvalue below the floor.
MISSED = 1e-3
#: A mode is close where its residual is below this part of its eigenvalue; products at most to make it so.
CLOSE, MOST_CLOSER = 0.2, 40
#: Vectors that are kept at most, and the bytes that they may take.
MOST_VECTORS, MOST_MEMORY = 1500, 2**30
#: From so many vectors the asymmetry of their products tells the error.
ENOUGH = 6
#: A vector of which less than this part is new adds nothing.
NEW = 1e-3
#: Its product is kept where at least this part is: the error of the product grows by the inverse of the part.
FRESH = 0.1
#: Modes without a sign that are looked at anew, at most.
MOST_OPEN = 4
#: Proofs at most: one may fail because the mode put aside was not close enough.
PROOFS = 4
#: Products that a sign is looked for with, once a proof has failed.
SETTLING = 60


@dataclass(frozen=True)
class Spectrum:
    """What is known of the lowest eigenvalues of a Hessian, zero modes left out.

    Attributes
    ----------
    values, vectors
        Ascending, and eigenvectors (rows).
    sure
        How many of the lowest are eigenvalues within a fifth; the others are what is known of the rest.
    error
        An eigenvalue smaller than this has no sign.
    stiffest
        The largest eigenvalue that is known.
    proved
        Whether no eigenvalue but those below ``-error`` in ``values`` is below ``error`` (at a minimum ``-error``).
    chance
        That this is wrong nevertheless; 0 where the whole spectrum is known, 1 where it is not proved.
    products
        With the Hessian.
    """

    values: np.ndarray
    vectors: np.ndarray
    sure: int
    error: float
    stiffest: float
    proved: bool
    chance: float
    products: int

    @property
    def negative(self) -> int:
        """How many are negative beyond the error."""
        return int((self.values < -self.error).sum())

    @property
    def open(self) -> int:
        """How many of the lowest are not known to be above the error, those that are negative beyond it included."""
        return int((self.values <= self.error).sum())

    @property
    def unclear(self) -> bool:
        """Whether one of the two lowest has no sign."""
        return bool((np.abs(self.values[:2]) <= self.error).any())


def examine(
    surface: Surface,
    x: np.ndarray,
    gradient: np.ndarray,
    zero: np.ndarray,
    model: Model,
    guess: np.ndarray | None,
) -> Spectrum:
    """The lowest modes at a stationary point.

    ``guess`` is the mode along which a negative eigenvalue is expected; None expects none, as at a minimum. Products
    by one-sided differences cost half as much. Where they leave signs open, the modes in question are looked at with
    two-sided ones; where those do as well, everything is.
    """
    if not surface.exact and (guess is None or x.size - len(zero) > VERY_FEW):
        found = _Examination(surface, x, zero, model, gradient).run(guess)
        if found.proved and (guess is not None or found.unclear) and found.open <= MOST_OPEN:
            found = _refined(surface, x, zero, found)
        if found.proved and not found.unclear and found.negative == (guess is not None):
            return found
    return _Examination(surface, x, zero, model, None).run(guess)


def softest_mode(
    surface: Surface, x: np.ndarray, gradient: np.ndarray, zero: np.ndarray, model: Model, start: np.ndarray
) -> tuple[np.ndarray, Model]:
    """The softest mode (D,) near a start, and the model that knows the products it took; nothing is proved."""
    look = _Examination(surface, x, zero, model, gradient)
    look.multiply(start - zero.T @ (zero @ start))
    look.improve(0)
    for row, product in zip(look.rows, look.products, strict=True):
        model = model.updated(row, product)
    return look.modes().vectors[0], model


def _refined(surface: Surface, x: np.ndarray, zero: np.ndarray, found: Spectrum) -> Spectrum:
    """The same with the lowest eigenvalues, those without a sign included, by two-sided differences.

    The others stay above the error of one-sided differences, as was proved.
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
    """Ritz values, ascending, their vectors and residuals (rows), and below what a value has no sign."""

    values: np.ndarray
    vectors: np.ndarray
    residuals: np.ndarray
    error: float


class _Examination:
    """Vectors and their products with the Hessian at x, gathered until the signs are known.

    Attributes
    ----------
    gradient
        At x, for one-sided differences; None for two-sided ones.
    rows, products, projected
        (K, D) each: orthonormal vectors without zero modes, and H times them; (K, K): H between them.
    count
        Products so far.
    """

    def __init__(
        self, surface: Surface, x: np.ndarray, zero: np.ndarray, model: Model, gradient: np.ndarray | None
    ) -> None:
        self.surface, self.x, self.zero, self.model, self.gradient = surface, x, zero, model, gradient
        self.rows, self.products, self.projected = np.zeros((0, x.size)), np.zeros((0, x.size)), np.zeros((0, 0))
        self.count = 0
        self.room = x.size - len(zero)
        self.most = min(self.room, MOST_VECTORS, max(surface.batch, MOST_MEMORY // (16 * x.size)))

    # The vectors -----------------------------------------------------------------------------------------------------

    def whole(self) -> None:
        """Takes all directions, in one batch."""
        zero = self.zero
        basis = np.linalg.svd(zero, full_matrices=True)[2][len(zero) :] if len(zero) else np.eye(self.x.size)
        products = self.surface.multiply(self.x, basis, self.gradient)
        self.count += len(basis)
        self.rows, self.products = basis, products - (products @ zero.T) @ zero
        self.projected = self.rows @ self.products.T

    def multiply(self, v: np.ndarray) -> np.ndarray:
        """H v without the zero modes, of a v without them; what is new of v is kept."""
        Hv = self.surface.multiply(self.x, v[None], self.gradient)[0]
        self.count += 1
        Hv = Hv - self.zero.T @ (self.zero @ Hv)
        new, product = v, Hv
        for _ in range(2):
            part = self.rows @ new
            new, product = new - self.rows.T @ part, product - self.products.T @ part
        left = float(np.linalg.norm(new))
        if left > FRESH * float(np.linalg.norm(v)) and len(self.rows) < self.room:
            new, product = new[None] / left, product[None] / left
            column = np.concatenate([self.rows, new]) @ product.T
            self.projected = np.block([[self.projected, column[:-1]], [new @ self.products.T, column[-1:]]])
            self.rows, self.products = np.concatenate([self.rows, new]), np.concatenate([self.products, product])
        return Hv

    def modes(self) -> _Ritz:
        """What the vectors know of the lowest modes."""
        T = self.projected
        values, y = np.linalg.eigh(0.5 * (T + T.T))
        vectors = y.T @ self.rows
        # What an error of the products between modes changes their eigenvalues by: little where these are far apart.
        between = np.abs(0.5 * y[:, :2].T @ (T - T.T) @ y)
        apart = np.maximum(np.abs(values[:2, None] - values), between)
        part = np.divide(between, apart, out=np.zeros_like(between), where=apart > 0)
        asymmetry = (between * part).sum(axis=1).max(initial=0)
        stiffest = float(np.abs(values).max(initial=0))
        error = self.surface.error(stiffest, float(asymmetry), len(T) < ENOUGH, self.gradient is not None)
        return _Ritz(values, vectors, y.T @ self.products - values[:, None] * vectors, error)

    def improve(self, k: int, close: float = CLOSE, most: int = MOST_CLOSER) -> None:
        """Lowers the residual of the k-th mode, each time by the residual over the model's curvatures (Davidson)."""
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
        """What of v is neither a zero mode nor known, as a unit vector; None where that is nothing."""
        size, known = float(np.linalg.norm(v)), np.concatenate([self.zero, self.rows])
        for _ in range(2):
            v = v - known.T @ (known @ v)
        left = float(np.linalg.norm(v))
        return v / left if left > NEW * size else None

    # The proof -------------------------------------------------------------------------------------------------------

    def run(self, guess: np.ndarray | None) -> Spectrum:
        """Gathers what tells the signs."""
        expected = 0 if guess is None else 1
        if self.room <= self.surface.batch:
            self.whole()
            return self.known(True, 0.0)
        if guess is not None:
            self.begin(guess)
        rng = np.random.default_rng(1)
        for _ in range(PROOFS):
            found = self.modes()
            floor = found.error if expected else -found.error
            above, chance = self.all_above(floor, found.vectors[:expected], rng)
            if above or len(self.rows) >= self.room:
                self.improve(0, 0.5 * CLOSE)
                return self.known(above, chance)
            self.settle(expected)
            found = self.modes()
            if len(self.rows) >= self.most or (found.values[expected:] <= found.error).any():
                break  # another one is negative, or has no sign
        return self.known(len(self.rows) >= self.room, 0.0 if len(self.rows) >= self.room else 1.0)

    def begin(self, guess: np.ndarray) -> None:
        """Looks for a negative mode, from the one that is expected and the one that the model knows."""
        _, vectors = self.model.modes
        for start in (guess, *vectors[:1], np.random.default_rng(2).standard_normal(self.x.size)):
            new = self._new(start)
            if new is not None and len(self.rows) < 2:
                self.multiply(new)
        self.improve(0)

    def settle(self, k: int) -> None:
        """Finds the sign of the k-th eigenvalue."""
        self.improve(k, CLOSE, SETTLING)

    def all_above(self, floor: float, aside: np.ndarray, rng: np.random.Generator) -> tuple[bool, float]:
        """Whether H − floor is positive in all that is orthogonal to some vectors, and the chance that it is not.

        Lanczos iterations on |B|^(−1/2) (H − floor) |B|^(−1/2), whose eigenvalues have the same signs (Sylvester), B
        being the model. A pivot of their tridiagonal matrix that is not positive says no. The k-th vector of the
        recurrence is p_k(A) v, and |p_k(λ)| grows the further down λ is. If there were an eigenvector u with an
        eigenvalue below 0, (u·v)² Σ p_k(0)² ≤ Σ (u·v_k)² ≤ 1 would bound its part in v; in a random v, |u·v| < s has a
        chance below s √(2D/π).
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
            w = soft(self.multiply(v) - floor * v)
            w = w - barred.T @ (barred @ w)
            alpha = float(y @ w)
            pivot = alpha - beta**2 / pivot
            if pivot <= 0:
                return False, 1.0
            Y = np.concatenate([Y, y[None]])
            y = w - Y.T @ (Y @ w)
            beta = float(np.linalg.norm(y))
            if len(Y) == room or beta <= 1e-12 * abs(alpha):  # all there is has been seen
                return True, 0.0
            p *= pivot / beta
            total += p * p
            if 2 * room / (np.pi * total) <= MISSED**2:
                return True, MISSED
        return False, 1.0

    def known(self, proved: bool, chance: float) -> Spectrum:
        """What has been found."""
        values, vectors, residuals, error = self.modes()
        stiffest = float(np.abs(values).max(initial=0))
        if stiffest == 0:
            raise LandscapeError("its products with vectors are all zero: the landscape is flat there", self.x)
        close = np.linalg.norm(residuals, axis=1) <= np.maximum(CLOSE * np.abs(values), error)
        sure = len(values) if close.all() or len(values) == self.room else max(1, int(np.argmin(close)))
        return Spectrum(values, vectors, sure, error, stiffest, proved, chance, self.count)
