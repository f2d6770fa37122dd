"""A saddle as a result: the point, and what was verified of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..files import read_result, write_result
from ..landscape import Evaluations

#: What files of earlier versions lack.
_MEASURED = ("tolerance", "noise", "step", "chance")


@dataclass(frozen=True, repr=False)
class Saddle:
    """A stationary point, and what was verified of it.

    Attributes
    ----------
    point, value
        (D,), and f there.
    residual
        How large the gradient is there: its largest component, or the largest force where the landscape is of atoms.
    eigenvalues
        The lowest of the Hessian, ascending, zero modes left out; empty where it was not looked at.
    zero_modes
        How many directions were left out because they leave the value alone.
    mode
        (D,): the eigenvector of the lowest, towards the path's end (or along ``direction``).
    minima, minima_values
        (2, D), (2,): where the descents on both sides end, the side of the path's start first (from a point: the side
        that ``direction`` comes from). A descent that comes near to an end of the path ends there.
    connects_ends
        Whether these are the path's ends, within 2 % of their distance, zero modes such as rotations left out in full.
        Atoms of one kind that were exchanged make another configuration.
    converged
        A small residual, exactly one negative eigenvalue, and on both sides a lower point with a small residual and no
        negative eigenvalue.
    reason
        Why not; ``"converged"`` if so, with more after it where the noise has set the tolerance.
    evaluations
        Points evaluated.
    tolerance
        The residual that counted as small; NaN in files of earlier versions, as the next three.
    noise
        That of the noisiest component of the gradient, as measured (:func:`~minilandscape.noise.measure_noise`); NaN
        where it was not.
    step
        h of the Hessian-vector products by two-sided differences.
    chance
        That a second negative eigenvalue was missed: 0 where the whole spectrum was computed, 1 where nothing was
        proved.
    products
        With the Hessian at the saddle.
    calls
        Points evaluated in each stage: ``"search"`` and ``"verification"``.
    rounds
        Batches that they went out in.
    """

    point: np.ndarray
    value: float
    residual: float
    eigenvalues: np.ndarray
    zero_modes: int
    mode: np.ndarray
    minima: np.ndarray
    minima_values: np.ndarray
    connects_ends: bool
    converged: bool
    reason: str
    evaluations: Evaluations
    tolerance: float = float("nan")
    noise: float = float("nan")
    step: float = float("nan")
    chance: float = float("nan")
    products: int = 0
    calls: dict[str, int] | None = None
    rounds: int = 0

    def __repr__(self) -> str:
        """One line: the value, the residual, and what was verified."""
        sides = ", connects the ends of the path" if self.connects_ends else ""
        return f"<Saddle: value {self.value:.8g}, residual {self.residual:.3g}, {self.reason}{sides}>"

    def document(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arrays and the rest by name, as they are stored."""
        arrays = {name: getattr(self, name) for name in ("point", "eigenvalues", "mode", "minima", "minima_values")}
        names = ("value", "residual", "zero_modes", "connects_ends", "converged", "reason")
        facts = {name: getattr(self, name) for name in (*names, *_MEASURED, "products", "calls", "rounds")}
        return arrays, {**facts, "evaluations": vars(self.evaluations).copy()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_saddle` reads."""
        write_result(path, "saddle", *self.document())


def load_saddle(path: str | os.PathLike[str]) -> Saddle:
    """Reads what :meth:`Saddle.save` wrote; ValueError names the file where it is damaged."""
    return saddle_of(*read_result(path, "saddle"))


def saddle_of(arrays: dict[str, Any], facts: dict[str, Any]) -> Saddle:
    """The saddle of a :meth:`Saddle.document`."""
    counts = Evaluations(**facts.pop("evaluations"))
    known: dict[str, Any] = {k: v for k, v in {**arrays, **facts}.items() if k not in ("format", "kind")}
    known |= {name: float("nan") for name in _MEASURED if known.get(name) is None}
    return Saddle(**known, evaluations=counts)
