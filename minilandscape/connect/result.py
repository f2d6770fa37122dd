"""The connection of two minima as a result."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..display import Row, aligned, as_html, count, number, svg_of, text_lines
from ..files import read_result, write_result
from ..landscape import Evaluations, units_of
from ..motion import moved_near
from ..paths import Ending, Path
from ..paths.result import HISTORY, path_of
from ..saddles import Saddle, Surface
from ..saddles.result import saddle_of

#: Points of a chain's path count as one if they are closer than this fraction of the distance between its endpoints.
COINCIDE = 1e-9


@dataclass(frozen=True, repr=False)
class Connection:
    """A chain of minima from a start to an end, and the saddles between them, as :func:`find_saddle` returns it.

    Attributes
    ----------
    saddles
        The saddles that were found, in the order of the chain: the highest one, and others that could have been.
    minima, minima_values
        (K, D), (K,): the minima of the chain, from start to end, and f there. An endpoint that no descent reaches is
        replaced by the minimum below it.
    path
        The path through all minima and saddles, along the descents from the saddles, where the chain is complete. Else
        the path that was searched, or None. Its ``maximum`` is the largest value at its points. It is not relaxed:
        between minima and saddles it may lie above the minimum-energy path.
    calls
        Points evaluated: ``"path"``, ``"search"`` and ``"verification"`` for the first saddle, ``"pieces"`` for the
        rest of the chain, and ``"total"``. An exact Hessian-vector product counts as two.
    rounds
        Number of batches in which they were evaluated: the cost where the points of one batch are evaluated in
        parallel.
    converged
        Whether the chain leads from start to end over verified saddles, and over paths that stay below them.
    reason
        Why it does not; ``"converged"`` if it does, with a remark where the noise has set the tolerance, where pairs of
        the chain were not searched because a coarse path between them stays below the saddle, or where an endpoint was
        not relaxed or was replaced.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> ml.find_saddle(land, *land.minima[:2])
    Connection(D=2, 3 minima, barrier=106.03 forward, 67.502 reverse, verified)
    """

    saddles: tuple[Saddle, ...]
    minima: np.ndarray
    minima_values: np.ndarray
    path: Path | None
    calls: dict[str, int]
    rounds: int
    converged: bool
    reason: str

    @property
    def saddle(self) -> Saddle | None:
        """The highest saddle; None where there is none."""
        return max(self.saddles, key=lambda saddle: saddle.value, default=None)

    @property
    def barrier_forward(self) -> float:
        """The highest saddle minus the value at the start.

        NaN without a saddle, or where a chain of verified saddles is incomplete.
        """
        return self._above(self.minima_values[0])

    @property
    def barrier_reverse(self) -> float:
        """The highest saddle minus the value at the end; NaN where :attr:`barrier_forward` is."""
        return self._above(self.minima_values[-1])

    def _above(self, value: float) -> float:
        # The missing part of a chain may hold a higher saddle than all that were found.
        if self.saddle is None or (self.saddle.converged and not self.converged):
            return float("nan")
        return self.saddle.value - float(value)

    def __repr__(self) -> str:
        """One line: D, the number of minima, the barrier in both directions, and whether the chain is verified."""
        why = self.reason.removeprefix("not verified").removeprefix(": ")
        state = "verified" if self.converged else "not verified" + (f": {why}" if why else "")
        barrier = f"barrier={number(self.barrier_forward)} forward, {number(self.barrier_reverse)} reverse"
        return (
            f"Connection(D={self.minima.shape[1]}, {count(len(self.minima), 'minimum', 'minima')}, {barrier}, {state})"
        )

    def _repr_html_(self) -> str:
        """A table and a figure for notebooks."""
        return as_html(repr(self), self._rows(), "" if self.path is None else svg_of(self.plot()))

    def summary(self) -> str:
        """Describe the connection in labelled lines: barrier, saddle, chain, minima, verification and cost."""
        return text_lines(self._rows())

    def _rows(self) -> list[Row]:
        values = [*self.minima_values, *(saddle.value for saddle in self.saddles)]
        barrier: Row = ("barrier", number(self.barrier_forward), f"forward; {number(self.barrier_reverse)} reverse")
        if np.isnan(self.barrier_forward):
            barrier = ("barrier", "not found", "")
        rows = [
            barrier,
            (
                "chain",
                count(len(self.minima), "minimum", "minima"),
                f"and {count(len(self.saddles), 'saddle')} between them",
            ),
            ("minima", ", ".join(aligned(each, values) for each in self.minima_values), ""),
        ]
        if self.saddle is not None:
            threshold = number(self.saddle.tolerance, 3)
            gradient = f"gradient {number(self.saddle.residual, 3)} (largest component or force; threshold {threshold})"
            lower = min(self.barrier_forward, self.barrier_reverse)
            saddle: Row = ("saddle", aligned(self.saddle.value, values), gradient)
            rows[1:1] = [saddle, *self.saddle.rows_of_error(lower, "tolerance")]
        stages = ", ".join(f"{n:,} {name}" for name, n in self.calls.items() if name != "total" and n)
        reason = self.reason.removeprefix("converged").removeprefix("; ").strip()
        return [
            *rows,
            ("verified", "yes" if self.converged else "no", reason),
            (
                "cost",
                count(self.calls["total"], "evaluation"),
                f"{stages}; in {count(self.rounds, 'batch', 'batches')}",
            ),
        ]

    def plot(self, axes: Any = None) -> Any:
        """Draw the value over the length of the path, minima and saddles labelled; return the Matplotlib axes.

        ``axes`` are drawn on; None makes a figure of its own. ValueError where there is no path.
        """
        from .shown import plot_connection

        return plot_connection(self, axes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` file that :func:`load_connection` reads."""
        arrays: dict[str, Any] = {"minima": self.minima, "minima_values": self.minima_values}
        names = ("calls", "rounds", "converged", "reason")
        described: dict[str, Any] = {name: getattr(self, name) for name in names}
        parts = {f"saddle{k}": saddle for k, saddle in enumerate(self.saddles)}
        for name, part in (parts | ({} if self.path is None else {"path": self.path})).items():
            part_arrays, described[name] = part.document()
            arrays |= {f"{name}_{key}": array for key, array in part_arrays.items()}
        write_result(path, "connection", arrays, described)


def load_connection(path: str | os.PathLike[str]) -> Connection:
    """Read a connection that :meth:`Connection.save` wrote.

    Parameters
    ----------
    path
        The ``.npz`` file; files of earlier versions are read too.

    Returns
    -------
    Connection
        The same connection.

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
    >>> file = os.path.join(tempfile.mkdtemp(), "connection.npz")
    >>> ml.find_saddle(land, *land.minima[:2]).save(file)
    >>> ml.load_connection(file).converged
    True
    """
    arrays, described = read_result(path, "connection")

    def part(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
        start = f"{name}_"
        return {k.removeprefix(start): a for k, a in arrays.items() if k.startswith(start)}, described[name]

    n = sum(name.startswith("saddle") for name in described)
    return Connection(
        saddles=tuple(saddle_of(*part(f"saddle{k}")) for k in range(n)),
        minima=arrays["minima"],
        minima_values=arrays["minima_values"],
        path=path_of(*part("path")) if "path" in described else None,
        **{name: described[name] for name in ("calls", "rounds", "converged", "reason")},
    )


def path_through(
    landscape: Any,
    minima: list[tuple[np.ndarray, float]],
    segments: list[list[tuple[np.ndarray, float]]],
) -> Path:
    """Make the piecewise-linear path from the first minimum to the last, through points with known values between them.

    Each point is moved along the zero modes, and to its nearest periodic image, as close as possible to the point
    before: a descent may have rotated a molecule, and the path to the next minimum may leave the cell on the other
    side.
    """
    surface, way = Surface(landscape), [minima[0]]
    least = COINCIDE * float(np.linalg.norm(minima[-1][0] - minima[0][0]))
    for segment, after in zip(segments, minima[1:], strict=True):
        for point, value in (*segment, after):
            step = moved_near(landscape, way[-1][0], point, surface.zero_modes)
            if np.linalg.norm(step) > least:
                way.append((way[-1][0] + step, value))
    points, heights = [point for point, _ in way], [value for _, value in way]
    omega, f = np.array(points), np.array(heights)
    t = np.linspace(0, 1, len(omega))
    line = (1 - t)[:, None] * omega[0] + t[:, None] * omega[-1]
    length, top = float(np.linalg.norm(np.diff(omega, axis=0), axis=1).sum()), int(f.argmax())
    return Path(
        start=omega[0],
        end=omega[-1],
        coefficients=(omega - line)[1:-1],
        t=t,
        values=f,
        height_linear=float("nan"),
        length=length,
        history={name: np.zeros(0) for name in HISTORY},
        best_step=0,
        maximum=float(f[top]),
        maximum_t=float(t[top]),
        evaluations=Evaluations(),
        converged=True,
        reason=Ending.CONVERGED,
        metadata={"method": "descents from saddles", **units_of(landscape)},
        basis="hat",
    )
