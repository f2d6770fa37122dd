"""A quadratic model of the surface around a point, updated from finite differences of gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy.optimize import brentq

#: Largest number of rows: those whose curvatures differ most from γ are kept.
MOST_ROWS = 120
#: A vector lies in the space of the model if its component outside is smaller than this.
INSIDE = 1e-8
#: Smallest curvature in a step, relative to γ.
LEAST_CURVATURE = 1e-8


@dataclass(frozen=True)
class Model:
    """f(x + s) ≈ f(x) + g·s + ½ s·B s, with B = Qᵀ A Q + γ (1 − Qᵀ Q): known in a few directions, γ in all others.

    Attributes
    ----------
    rows
        Q (K, D), orthonormal.
    inner
        A (K, K).
    rest
        γ: root mean square of |y| / |s| over the updates, an estimate of the curvature in unknown directions.
    squares, count
        Sum of squares and number of the updates.
    """

    rows: np.ndarray
    inner: np.ndarray
    rest: float
    squares: float = 0.0
    count: int = 0

    @classmethod
    def of(cls, step: np.ndarray, change: np.ndarray) -> Model:
        """Make the model from the change of the gradient over one step."""
        rest = float(np.linalg.norm(change) / np.linalg.norm(step))
        return cls(np.zeros((0, step.size)), np.zeros((0, 0)), rest or 1.0).updated(step, change)

    def updated(self, step: np.ndarray, change: np.ndarray) -> Model:
        """Update the model by the change y of the gradient over a step s (TS-BFGS, Bofill).

        B + u rᵀ + r uᵀ − (r·s) u uᵀ with r = y − B s and u = [(y·s) y + (s·|B|s) |B| s] / [(y·s)² + (s·|B|s)²]. It
        accepts negative curvatures, and changes B the least where B is large.
        """
        size = float(np.linalg.norm(step))
        if not size > 0 or not np.isfinite(change).all():
            return self
        step, change = step / size, change / size
        values, vectors = self.modes
        along = vectors @ step
        grown = self.extended(step, change)
        s, y, B = grown.rows @ step, grown.rows @ change, grown.inner
        absolute = grown.rows @ (vectors.T @ (np.abs(values) * along) + self.rest * (step - vectors.T @ along))
        r, a, b = y - B @ s, float(y @ s), float(s @ absolute)
        if not a * a + b * b > 0:
            return grown
        u = (a * y + b * absolute) / (a * a + b * b)
        B = B + np.outer(u, r) + np.outer(r, u) - float(r @ s) * np.outer(u, u)
        squares, count = self.squares + float(change @ change), self.count + 1
        rest = float(np.sqrt(squares / count)) or self.rest
        return replace(grown, inner=0.5 * (B + B.T), rest=rest, squares=squares, count=count).trimmed()

    def extended(self, *vectors: np.ndarray) -> Model:
        """Extend the space of the model by vectors."""
        rows, inner = self.rows, self.inner
        for vector in vectors:
            outside = vector
            for _ in range(2):
                outside = outside - rows.T @ (rows @ outside)
            size = float(np.linalg.norm(outside))
            if size > INSIDE * float(np.linalg.norm(vector)) and len(rows) < vector.size:
                rows = np.concatenate([rows, outside[None] / size])
                inner = np.pad(inner, (0, 1))
                inner[-1, -1] = self.rest
        return replace(self, rows=rows, inner=inner)

    def trimmed(self) -> Model:
        """Remove the directions whose curvatures differ least from γ, where there are too many."""
        if len(self.rows) <= MOST_ROWS:
            return self
        values, vectors = self.modes
        unlike = np.where(values > 0, np.abs(np.log(np.maximum(np.abs(values), 1e-300) / self.rest)), np.inf)
        kept = np.sort(np.argsort(-unlike)[:MOST_ROWS])
        return replace(self, rows=vectors[kept], inner=np.diag(values[kept]))

    @cached_property
    def modes(self) -> tuple[np.ndarray, np.ndarray]:
        """Eigenvalues (K,), ascending, and eigenvectors (K, D) in the known space."""
        values, vectors = np.linalg.eigh(self.inner)
        return values, vectors.T @ self.rows

    def positive(self) -> Model:
        """Replace B by |B|, for descents."""
        values, vectors = self.modes
        return replace(self, rows=vectors, inner=np.diag(np.abs(values)))

    def times(self, step: np.ndarray) -> np.ndarray:
        """Compute B s, the predicted change of the gradient over a step."""
        inside = self.rows @ step
        result: np.ndarray = self.rows.T @ (self.inner @ inside) + self.rest * (step - self.rows.T @ inside)
        return result

    def step(self, gradient: np.ndarray, trust: float, up: np.ndarray | None = None) -> np.ndarray:
        """Compute a step, uphill along one mode and downhill along all others, whose largest component is limited.

        Along a mode of curvature λ the step is ± g / (|λ| + μ), with the smallest shift μ ≥ 0 that limits its largest
        component to ``trust`` (Helgaker's trust-region image minimisation). ``up`` is one of :attr:`modes`, (D,).
        """
        values, vectors = self.modes
        along = vectors @ gradient
        rest = gradient - vectors.T @ along
        sign = -np.ones(len(values)) if up is None else np.where(np.abs(vectors @ up) > 0.5, 1.0, -1.0)
        sizes = np.maximum(np.abs(values), LEAST_CURVATURE * self.rest)

        def at(shift: float) -> np.ndarray:
            shift *= self.rest
            step: np.ndarray = vectors.T @ (sign * along / (sizes + shift)) - rest / (self.rest + shift)
            return step

        def over(shift: float) -> float:
            return float(np.abs(at(shift)).max()) / trust - 1

        if over(0.0) <= 0:
            return at(0.0)
        most = 1.0  # in units of γ
        while over(most) > 0:
            most *= 4
        shifted = at(brentq(over, 0.0, most, rtol=1e-3))
        return shifted * min(1.0, trust / float(np.abs(shifted).max()))

    def softened(self, vector: np.ndarray) -> np.ndarray:
        """Compute |B|^(−1/2) v with a lower bound of the curvatures: a preconditioner."""
        values, vectors = self.modes
        sizes = np.maximum(np.abs(values), 0.02 * self.rest)
        along = vectors @ vector
        result: np.ndarray = vectors.T @ (along / np.sqrt(sizes)) + (vector - vectors.T @ along) / np.sqrt(self.rest)
        return result
