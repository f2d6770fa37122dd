"""The path as a result: points, values, height, and how it was found."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..files import read_result, write_result
from ..landscape import Evaluations
from .bases import BASES
from .endings import Ending

#: The part of the straight line's rise that counts as none, and the rounding errors of a value.
UNSEEN, ROUNDING = 1e-5, 16
HISTORY = ("cumulative_loss", "height", "penalty", "length")


@dataclass(frozen=True, repr=False)
class Path:
    """A path between two points of a landscape.

    Attributes
    ----------
    start, end
        (D,): ω(t) = (1 − t) start + t end + Σ_n b_n φ_n(t).
    coefficients
        (N_F, D): b_n; no rows for a straight line.
    t, values
        (M,): the points where it was evaluated.
    height_linear
        Height of the straight line at the same t; of a growing band that was interrupted, at those of the whole band.
    length
        Σ_m |ω_{m+1} − ω_m|.
    history
        One entry before any step and one after each: ``cumulative_loss`` Σ f, ``height``, ``penalty`` (with λ in it)
        and ``length`` of the path at that step.
    best_step
        The step whose path this is: the one with the lowest L (of the last stage, where there are stages), or the last
        one of a band, which has no L.
    maximum, maximum_t
        The maximum over continuous t, and where it stands: of a band, along the piecewise-linear path through its
        images. NaN for the t of a search that was interrupted, which has seen the sample points alone.
    evaluations
        Points evaluated.
    rounds
        Batches that they were evaluated in; points of one batch may be evaluated side by side. None in files of
        version 0.1.
    converged
        Whether the path is a measured optimum: ``reason.converged``.
    reason
        Why the search ended, an :class:`~minilandscape.paths.Ending`, which is also a string: ``"converged"``, ...
    under_resolved
        Whether the path has its barrier between its sample points, where a search does not see it: it rises above its
        higher endpoint more than twice as high as its sample points do, and by more than 2e-5 of what the straight line
        rises (spikes cut off), and than rounding errors.
    metadata
        The options of the search and, of a command, its data.
    basis
        φ_n: ``"sine"``, sin(nπt); ``"bernstein"``, a Bézier curve; ``"hat"``, a polygon.
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

    def __repr__(self) -> str:
        """One line: the barrier, the maximum, and whether the path is converged."""
        counts, found = self.evaluations, "converged" if self.converged else f"not converged ({self.reason})"
        return (
            f"<Path: barrier {self.barrier:.6g}, maximum {self.maximum:.6g} at t = {self.maximum_t:.4g}, {found}, "
            f"{counts.gradients} gradient and {counts.values} value evaluations>"
        )

    @property
    def height(self) -> float:
        """H = max_m f(ω(t_m)), Eq. (5)."""
        return float(self.values.max())

    @property
    def height_ends(self) -> tuple[float, float]:
        """The values at start and end."""
        return float(self.values[0]), float(self.values[-1])

    @property
    def barrier(self) -> float:
        """The maximum above the higher endpoint; 0 where no point of the path lies above it."""
        return self.maximum - max(self.height_ends)

    @property
    def barrier_forward(self) -> float:
        """The maximum above the start."""
        return self.maximum - self.height_ends[0]

    @property
    def barrier_reverse(self) -> float:
        """The maximum above the end."""
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
        """ω(t), Eq. (3) for the sine basis: (n,) -> (n, D) in the endpoints' precision.

        ValueError where a t lies outside [0, 1].
        """
        t = np.atleast_1d(np.asarray(t, dtype=np.float64))
        outside = t[~((t >= 0) & (t <= 1))]
        if outside.size:
            raise ValueError(f"t is {outside[0]}; expected numbers from 0, the start, to 1, the end")
        C = BASES[self.basis](t, len(self.coefficients))
        points = C[:, :1] * self.start + C[:, 1:2] * self.end + C[:, 2:] @ self.coefficients
        return points.astype(self.start.dtype, copy=False)

    def plot(self, axes: Any = None) -> Any:
        """Draws the values along t on some axes, new ones if None; returns them."""
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 4), layout="constrained").subplots()
        axes.plot(self.t, self.values, ".-", label=f"path, maximum {self.maximum:.4g}")
        axes.plot([0, 1], self.height_ends, "k.", ms=9)
        axes.axhline(max(self.height_ends), color="0.6", lw=0.8, ls=":", label="higher endpoint")
        axes.set(xlabel="t", ylabel="value")
        axes.legend(frameon=False)
        return axes

    def document(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Arrays and the rest by name, as they are stored."""
        arrays = {name: getattr(self, name) for name in ("start", "end", "coefficients", "t", "values")}
        arrays |= {f"history_{name}": self.history[name] for name in HISTORY}
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
        """Writes an ``.npz`` that :func:`load_path` reads."""
        write_result(path, "path", *self.document())


def under_resolved(maximum: float, height: float, end: float, line: float, eps: float) -> bool:
    """Whether a path has its barrier between its points, where a search does not see it.

    So it is if the path rises above its higher end more than twice as high as its points do, and by more than 2e-5 of
    what the straight line rises, and than rounding errors of ``eps``.
    """
    return maximum - end > 2 * max(height - end, UNSEEN * (line - end), ROUNDING * eps * abs(end))


def load_path(path: str | os.PathLike[str]) -> Path:
    """Reads what :meth:`Path.save` wrote; ValueError names the file where it is damaged."""
    return path_of(*read_result(path, "path"))


def path_of(arrays: dict[str, Any], described: dict[str, Any]) -> Path:
    """The path of a :meth:`Path.document`."""
    history = {name: arrays.pop(f"history_{name}") for name in HISTORY}
    counts = Evaluations(**described.pop("evaluations"))
    # As version 0.1 called them.
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
