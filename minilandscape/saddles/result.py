"""The saddle as a result: the stationary point, and what was verified of it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..display import Row, aligned, as_html, count, number, text_lines, with_unit
from ..files import read_result, write_result
from ..landscape import Evaluations

#: Small numbers in words.
NUMERALS = {0: "no", 1: "one", 2: "two", 3: "three"}
#: Fields that files of version 0.1 lack.
_MEASURED = ("tolerance", "noise", "step", "chance", "value_error")
#: A difference of the value is shown from this fraction of the barrier on.
MATTERS = 0.01


@dataclass(frozen=True, repr=False)
class Saddle:
    r"""A stationary point, and what was verified of it, as :func:`refine_saddle` returns it.

    Attributes
    ----------
    point, value
        (D,): the configuration; f there.
    residual
        Gradient norm there: the largest absolute component (infinity norm), in units of the landscape's value per
        length. On landscapes of atoms it is ASE's fmax, the largest Euclidean norm of the force on an atom.
    eigenvalues
        The lowest eigenvalues of the Hessian, ascending, zero modes excluded; empty where they were not computed.
    zero_modes
        Number of excluded directions, along which the value does not change (translations and rotations).
    mode
        (D,): unit eigenvector of the lowest eigenvalue, pointing towards the end of the path (or along ``direction``).
    minima, minima_values
        (2, D), (2,): the minima at which the descents on both sides ended, and f there. The side of the path's start
        comes first; for a search from a point, the side opposite to ``direction``. A descent that comes close to an
        endpoint of the path ends there.
    connects_ends
        Whether these minima are the endpoints of the path, within 2 % of the distance between the endpoints, and within
        what gradients below the tolerance leave along soft modes. Zero modes such as rotations are eliminated first.
        Configurations in which identical atoms are exchanged count as different.
    converged
        Whether the saddle is verified: a small ``residual``, exactly one negative eigenvalue, and on both sides a lower
        point with a small gradient and no negative eigenvalue.
    reason
        Why it is not verified; ``"converged"`` if it is, with a remark where the noise has set the tolerance.
    evaluations
        Numbers of function evaluations, an :class:`Evaluations`.
    tolerance
        Convergence threshold for ``residual``; NaN in files of version 0.1, like the next three.
    noise
        Standard deviation of the noisiest gradient component (:func:`measure_noise`); NaN where it was not measured.
    step
        Finite-difference step h of the Hessian-vector products.
    chance
        Probability that a second negative eigenvalue was missed: 0 where the whole spectrum was computed, 1 where
        nothing was verified.
    products
        Number of Hessian-vector products at the saddle.
    calls
        Points evaluated in each stage: ``"search"`` and ``"verification"``.
    rounds
        Number of batches in which they were evaluated.
    value_error
        Estimated difference of ``value`` from that at the stationary point, which the remaining gradient g leaves:
        ½ Σ (v_i · g)² / \|λ_i\| over the modes that the verification computed, and for the rest of g with their mean
        curvature. A soft mode that the verification did not need may add to it. NaN where the index is not verified,
        and in files without it.

    Notes
    -----
    A first-order saddle (transition state) satisfies

    .. math:: \nabla f(x) = 0, \qquad \lambda_1 < 0 < \lambda_2 \le \dots

    for the eigenvalues of the Hessian without its zero modes.

    Examples
    --------
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> ml.refine_saddle(MullerBrown(), np.array([-0.8, 0.6]))
    Saddle(D=2, value=-40.6648, one negative eigenvalue, verified)
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
    value_error: float = float("nan")

    def __repr__(self) -> str:
        """One line: D, the value, the index, and whether the saddle is verified."""
        state = "verified" if self.converged else f"not verified: {self.reason.removeprefix('not verified: ')}"
        return f"Saddle(D={self.point.size}, value={number(self.value, 6)}, {self._index}, {state})"

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        return as_html(repr(self), self._rows())

    def summary(self) -> str:
        """Describe the saddle in labelled lines: value, gradient norm, eigenvalues, minima, verification and cost."""
        return text_lines(self._rows())

    @property
    def _index(self) -> str:
        if not self.eigenvalues.size:
            return "index unknown"
        negative = int((self.eigenvalues < 0).sum())
        return f"{NUMERALS.get(negative, str(negative))} negative eigenvalue{'' if negative == 1 else 's'}"

    def _rows(self) -> list[Row]:
        values = [self.value, *self.minima_values]
        threshold = f"largest component or force; threshold {number(self.tolerance, 3)}"
        rows = [
            ("value", aligned(self.value, values), ""),
            ("gradient", number(self.residual, 3), threshold),
            ("eigenvalues", ", ".join(number(each, 4) for each in self.eigenvalues[:3]) or "not computed", self._index),
        ]
        if np.isfinite(self.minima_values).any():
            beside = ", ".join(aligned(each, values) for each in self.minima_values)
            rows.append(("minima", beside, "the endpoints of the path" if self.connects_ends else ""))
            rows[1:1] = self.rows_of_error(self.value - float(self.minima_values.max()), "residual")
        chance = f"a second negative eigenvalue is missed with probability {number(self.chance, 1)}"
        why = self.reason.removeprefix("not verified: ")
        rows.append(("verified", "yes" if self.converged else "no", chance if self.converged else why))
        stages = ", ".join(f"{n:,} for the {stage}" for stage, n in (self.calls or {}).items())
        rows.append(("cost", count(self.evaluations.gradients, "gradient evaluation"), stages))
        return rows

    def rows_of_error(self, barrier: float, threshold: str, unit: str = "") -> list[Row]:
        """Make the row of an error of the value that matters to a barrier, with the threshold that reduces it."""
        if not self.value_error > MATTERS * barrier > 0:
            return []
        part = f"{self.value_error / barrier:.0%} of the barrier"
        advice = f"{part}, estimated from the remaining gradient; a smaller {threshold} reduces it"
        return [("error", f"about {with_unit(number(self.value_error, 2), unit)}", advice)]

    def document(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Collect arrays, and everything else, by name, as they are stored."""
        arrays = {name: getattr(self, name) for name in ("point", "eigenvalues", "mode", "minima", "minima_values")}
        names = ("value", "residual", "zero_modes", "connects_ends", "converged", "reason")
        described = {name: getattr(self, name) for name in (*names, *_MEASURED, "products", "calls", "rounds")}
        return arrays, {**described, "evaluations": vars(self.evaluations).copy()}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file that :func:`load_saddle` reads."""
        write_result(path, "saddle", *self.document())


def load_saddle(path: str | os.PathLike[str]) -> Saddle:
    """Read a saddle that :meth:`Saddle.save` wrote.

    Parameters
    ----------
    path
        The ``.npz`` file; files of earlier versions are read too.

    Returns
    -------
    Saddle
        The same saddle.

    Raises
    ------
    ValueError
        If the file is damaged or holds something else; the message names it.

    Examples
    --------
    >>> import os, tempfile
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> file = os.path.join(tempfile.mkdtemp(), "saddle.npz")
    >>> ml.refine_saddle(MullerBrown(), np.array([-0.8, 0.6])).save(file)
    >>> ml.load_saddle(file).converged
    True
    """
    return saddle_of(*read_result(path, "saddle"))


def saddle_of(arrays: dict[str, Any], described: dict[str, Any]) -> Saddle:
    """Make the saddle of a :meth:`Saddle.document`."""
    counts = Evaluations(**described.pop("evaluations"))
    known: dict[str, Any] = {k: v for k, v in {**arrays, **described}.items() if k not in ("format", "kind")}
    known |= {name: float("nan") for name in _MEASURED if known.get(name) is None}
    return Saddle(**known, evaluations=counts)
