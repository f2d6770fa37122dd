"""Geometry of curves that are linear in their coefficients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backend import array_module, to_host
from .bases import BASES


@dataclass(frozen=True)
class Curve:
    """The family of curves ω(t) = (1 − t) start + t end + Σ_n b_n φ_n(t), at sample points t.

    Attributes
    ----------
    basis
        The name of φ_n in :data:`~minilandscape.paths.bases.BASES`.
    t
        (M,): the sample points.
    C
        (M, 2 + N): the coefficients of (start, end, b_1, …, b_N) there.
    dC
        (M − 1, 1 + N): the coefficients of (end − start, b_1, …, b_N) in the differences of neighbouring points.
    """

    basis: str
    t: np.ndarray
    C: np.ndarray
    dC: np.ndarray

    @classmethod
    def of(cls, basis: str, t: np.ndarray, n_terms: int) -> Curve:
        """Make the family with N terms, at t (M,)."""
        C = BASES[basis](t, n_terms)
        return cls(basis, t, C, np.diff(C[:, 1:], axis=0))

    @property
    def n_terms(self) -> int:
        """The number of terms N."""
        return self.C.shape[1] - 2

    @property
    def rows(self) -> range:
        """The rows of the coefficients in a span of (start, end, b)."""
        return range(2, self.C.shape[1])

    def at_points(self, n_points: int) -> Curve:
        """Make the same family at equally spaced t."""
        return Curve.of(self.basis, np.linspace(0, 1, n_points), self.n_terms)

    def at(self, t: np.ndarray) -> np.ndarray:
        """Compute C at other t (P,): (P, 2 + N)."""
        return BASES[self.basis](t, self.n_terms)

    def scale(self) -> np.ndarray:
        """Return the factors (N,) of the scaled coefficients for an optimiser.

        The natural scale of a harmonic decreases with its order; vertices and control points have equal scales.
        """
        n = self.n_terms
        return np.arange(1.0, n + 1) if self.basis == "sine" else np.ones(n)

    def lengths(self, displacement: Any, b: Any) -> np.ndarray:
        """Compute the lengths |Δω| of the segments (M − 1,), from the Gram matrix of (displacement, b)."""
        V = array_module(b).concatenate([displacement[None], b])
        gram = to_host(V @ V.T).astype(np.float64)
        return np.sqrt(np.maximum(np.einsum("mi,ij,mj->m", self.dC, gram, self.dC), 0))

    def lengths_pullback(self, by_lengths: np.ndarray, lengths: np.ndarray, displacement: Any, b: Any) -> Any:
        """Compute Σ_k ∂L/∂l_k ∂l_k/∂b_n = Σ_k ∂L/∂l_k (Δω_k / l_k) ΔS_kn, (N, D); 2 λ Σ_k Δω_k ΔS_kn for Eq. (4)."""
        V = array_module(b).concatenate([displacement[None], b])
        each = np.divide(by_lengths, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        pull = (each[:, None] * self.dC[:, 1:]).T @ self.dC
        return array_module(b).asarray(pull, dtype=b.dtype) @ V

    def kinks(self) -> np.ndarray:
        """Return the t of vertices between the endpoints (K,), where a piecewise-linear path has no tangent.

        Sample points that coincide with vertices up to rounding are returned instead.
        """
        n = self.n_terms
        if self.basis != "hat":
            return np.zeros(0)
        vertices = np.arange(1, n + 1) / (n + 1)
        nearest = self.t[np.abs(self.t - vertices[:, None]).argmin(axis=1)]
        return np.where(np.abs(nearest - vertices) < 1e-9, nearest, vertices)

    def bump(self, t: float) -> np.ndarray:
        """Return coefficients (N,) of a smooth deformation that is 1 at t and 0 at both endpoints."""
        at = self.at(np.array([t]))[0, 2:]
        shape = at / self.scale() ** 2
        if self.basis == "hat":  # a single vertex would make a spike
            vertices = np.arange(1, self.n_terms + 1) / (self.n_terms + 1)
            shape = np.exp(-(((vertices - t) / 0.15) ** 2)) * np.sin(np.pi * vertices)
        return shape / float(shape @ at)

    def through(self, t: np.ndarray, away: np.ndarray) -> np.ndarray:
        """Fit coefficients (N, D) to points at t (P,), displaced by ``away`` (P, D) from the straight line.

        A least-squares fit, of the smallest scaled norm where it is not unique.
        """
        scale = self.scale()
        S = self.at(t)[:, 2:] / scale
        return np.linalg.lstsq(S, away, rcond=None)[0] / scale[:, None]
