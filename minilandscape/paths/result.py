"""The path as a result: points, values, maximum, and how it was found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..display import as_html, number, svg_of, text_lines
from ..files import read_result, write_result
from ..landscape import Evaluations
from .bases import BASES
from .endings import Ending
from .shown import path_rows, plot_path

#: A rise counts only above this part of the straight line's, and above so many rounding errors of a value.
UNSEEN, ROUNDING = 1e-5, 16
HISTORY = ("cumulative_loss", "height", "penalty", "length")


@dataclass(frozen=True, repr=False)
class Path:
    r"""A path between two points of a landscape, as :func:`find_path` returns it.

    Attributes
    ----------
    start, end
        (D,): the endpoints.
    coefficients
        (N_F, D): the coefficients b_n of the basis functions φ_n; no rows for a straight line.
    t, values
        (M,): the sample points' positions along the path, from 0 to 1, and f there.
    height_linear
        Largest value on the straight line, at sample points as many as on the path. For a growing band that was
        interrupted, as many as the whole band would have.
    length
        Length of the piecewise-linear path through the sample points, Σ_m |ω_{m+1} − ω_m|.
    history
        One entry before the first iteration and one after each: ``cumulative_loss`` Σ_m f, ``height``, ``penalty``
        (the part of L that does not depend on values, λ included) and ``length`` of the path at that iteration. A round
        of Adam on mini-batches, of 60 updates or more, is one iteration; ``metadata["minibatch_rounds"]`` counts them.
    best_step
        The iteration whose path this is: the one of lowest L (of the last stage, where there are stages), or the last
        one of a band, which has no L.
    maximum, maximum_t
        Maximum over continuous t, and its position; of a band, along the piecewise-linear path through its images.
        ``maximum_t`` is NaN where a search was interrupted before the maximum was measured: ``maximum`` is then the
        largest value at the sample points.
    evaluations
        Numbers of function evaluations, an :class:`Evaluations`.
    rounds
        Number of batches in which the points were evaluated; the points of one batch may be evaluated in parallel. None
        in files of version 0.1.
    converged
        Whether convergence was verified: ``reason.converged``.
    reason
        Why the search ended, an :class:`~minilandscape.paths.Ending`, which is also a string: ``"converged"``, ...
    under_resolved
        Whether the sample points miss the barrier: the maximum lies more than twice as high above the higher endpoint
        as the highest sample point does, by more than 2e-5 of the rise of the straight line (without spikes), and by
        more than rounding errors.
    metadata
        Options of the search; from the command line also the data; ``quantity``, ``value_unit`` and ``length_unit`` of
        landscapes that have them.
    basis
        The family of φ_n: ``"sine"``, sin(nπt); ``"bernstein"``, a Bézier curve; ``"hat"``, a piecewise-linear path.
    line
        Values on the straight line at equally spaced t; None in files of version 0.1.

    Notes
    -----
    The path is

    .. math:: \omega(t) = (1 - t)\, \omega_0 + t\, \omega_1 + \sum_n b_n \varphi_n(t).

    ``barrier`` is the maximum minus the value at the higher endpoint; ``barrier_forward`` and ``barrier_reverse`` are
    measured from the start and from the end, and ``loss_barrier`` from the straight line in value between the two.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> path = ml.find_path(land, land.minima[0], land.minima[1])
    >>> path
    Path(fourier, D=2, barrier=67.502, converged)
    >>> path.points([0.0, 0.5, 1.0]).shape
    (3, 2)
    """

    start: np.ndarray
    end: np.ndarray
    coefficients: np.ndarray
    t: np.ndarray
    values: np.ndarray
    height_linear: float
    length: float
    history: dict[str, np.ndarray]
    best_step: int
    maximum: float
    maximum_t: float
    evaluations: Evaluations
    converged: bool
    reason: str
    under_resolved: bool = False
    metadata: dict[str, Any] = field(default_factory=dict)
    basis: str = "sine"
    rounds: int | None = None
    line: np.ndarray | None = None

    def __repr__(self) -> str:
        """One line: the method, D, the barrier, and whether the path is converged."""
        state = "converged" if self.converged else f"not converged: {self.reason}"
        method = self.metadata.get("method", self.basis)
        return f"Path({method}, D={self.start.size}, barrier={number(self.barrier)}, {state})"

    def _repr_html_(self) -> str:
        """A table and a figure for notebooks."""
        return as_html(repr(self), path_rows(self, None), svg_of(self.plot()))

    def summary(self, advice: str | None = None) -> str:
        """Describe the path in labelled lines: barrier, maximum, endpoints, length, convergence and cost.

        ``advice`` says what to do where the path is not converged; None gives that of ``reason``.
        """
        return text_lines(path_rows(self, advice))

    @property
    def height(self) -> float:
        """The height H = max_m f(ω(t_m)), Eq. (5): the largest value at the sample points."""
        return float(self.values.max())

    @property
    def height_ends(self) -> tuple[float, float]:
        """The values at start and end."""
        return float(self.values[0]), float(self.values[-1])

    @property
    def barrier(self) -> float:
        """The maximum minus the value at the higher endpoint; 0 where no point of the path lies above it."""
        return self.maximum - max(self.height_ends)

    @property
    def barrier_forward(self) -> float:
        """The maximum minus the value at the start."""
        return self.maximum - self.height_ends[0]

    @property
    def barrier_reverse(self) -> float:
        """The maximum minus the value at the end."""
        return self.maximum - self.height_ends[1]

    @property
    def loss_barrier(self) -> float:
        """max_t [f(ω(t)) − (1 − t) f(ω(0)) − t f(ω(1))] over the sample points and the maximum.

        The barrier of the literature on linear mode connectivity (Frankle et al., 2020), measured along the path.
        """
        start, end = self.height_ends
        t, f = np.append(self.t, self.maximum_t), np.append(self.values, self.maximum)
        return float(np.nanmax(f - (1 - t) * start - t * end))

    def points(self, t: Any) -> np.ndarray:
        """Compute ω(t), Eq. (3) for the sine basis: (n,) -> (n, D) in the endpoints' precision.

        ValueError where a t lies outside [0, 1], or t has rows.
        """
        t = np.atleast_1d(np.asarray(t, dtype=np.float64))
        if t.ndim > 1:
            raise ValueError(f"t has shape {t.shape}; expected a number or (n,)")
        outside = t[~((t >= 0) & (t <= 1))]
        if outside.size:
            raise ValueError(f"t is {outside[0]}; expected numbers from 0, the start, to 1, the end")
        C = BASES[self.basis](t, len(self.coefficients))
        points = C[:, :1] * self.start + C[:, 1:2] * self.end + C[:, 2:] @ self.coefficients
        return points.astype(self.start.dtype, copy=False)

    def plot(self, axes: Any = None) -> Any:
        """Draw the values along the path and along the straight line; return the Matplotlib axes.

        The scale is logarithmic where all values are positive and span more than a factor of 50. ``axes`` are drawn on;
        None makes a figure of its own (``path.plot().figure.savefig("path.png")``).
        """
        return plot_path(self, axes)

    def document(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Collect arrays, and everything else, by name, as they are stored."""
        arrays = {name: getattr(self, name) for name in ("start", "end", "coefficients", "t", "values")}
        arrays |= {f"history_{name}": self.history[name] for name in HISTORY}
        if self.line is not None:
            arrays["line"] = self.line
        names = (
            "height_linear",
            "length",
            "best_step",
            "maximum",
            "maximum_t",
            "converged",
            "reason",
            "under_resolved",
            "metadata",
            "basis",
            "rounds",
        )
        described = {name: getattr(self, name) for name in names}
        counts = {"values": self.evaluations.values, "gradients": self.evaluations.gradients}
        return arrays, {"height": self.height, **described, "evaluations": counts}

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file that :func:`load_path` reads."""
        write_result(path, "path", *self.document())


def under_resolved(maximum: float, height: float, end: float, line: float, eps: float) -> bool:
    """Decide whether the sample points of a path miss its barrier.

    They do if the path rises above its higher endpoint more than twice as high as its sample points do, by more than
    2e-5 of the rise of the straight line, and by more than rounding errors of precision ``eps``.
    """
    return maximum - end > 2 * max(height - end, UNSEEN * (line - end), ROUNDING * eps * abs(end))


def load_path(path: str | os.PathLike[str]) -> Path:
    """Read a path that :meth:`Path.save` wrote.

    Parameters
    ----------
    path
        The ``.npz`` file; files of earlier versions are read too.

    Returns
    -------
    Path
        The same path.

    Raises
    ------
    ValueError
        If the file is damaged or holds something else; the message names it.

    Examples
    --------
    >>> import os, tempfile
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> file = os.path.join(tempfile.mkdtemp(), "path.npz")
    >>> ml.find_path(land, *land.minima[:2]).save(file)
    >>> ml.load_path(file)
    Path(fourier, D=2, barrier=67.502, converged)
    """
    return path_of(*read_result(path, "path"))


def path_of(arrays: dict[str, Any], described: dict[str, Any]) -> Path:
    """Make the path of a :meth:`Path.document`."""
    history = {name: arrays.pop(f"history_{name}") for name in HISTORY}
    counts = Evaluations(**described.pop("evaluations"))
    # Names of version 0.1.
    for new, old in (("maximum", "dense_height"), ("maximum_t", "dense_t"), ("metadata", "facts")):
        if old in described:
            described[new] = described.pop(old)
    known: dict[str, Any] = {k: v for k, v in described.items() if k not in ("format", "kind", "height")}
    if known["reason"] in list(Ending):
        known["reason"] = Ending[known["reason"].upper().replace(" ", "_").replace("-", "_")]
    found = Path(**{**arrays, **known}, history=history, evaluations=counts)
    if "under_resolved" in known:
        return found
    heights = found.maximum, found.height, max(found.height_ends), found.height_linear
    return replace(found, under_resolved=under_resolved(*heights, float(np.finfo(found.start.dtype).eps)))
