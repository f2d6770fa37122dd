"""The connection of two minima as a result."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..files import read_result, write_result
from ..landscape import Evaluations
from ..motion import moved_near
from ..paths import Ending, Path
from ..paths.result import HISTORY, path_of
from ..saddles import Saddle, Surface
from ..saddles.result import saddle_of

#: Points of a chain's path nearer than this part of the distance of its ends are one.
STANDS = 1e-9


@dataclass(frozen=True, repr=False)
class Connection:
    """A chain of minima from a start to an end, and the saddles between them.

    Attributes
    ----------
    saddles
        Those that were found, in the order of the chain: the highest, and others that might have been.
    minima, minima_values
        (K, D), (K,): start, what lies between, end; or the minimum below an end that was not relaxed that far.
    path
        Through all of them, the ways down from the saddles included, where the chain is whole; else the path that was
        searched, or None. Its ``maximum`` is that of its points, nothing being evaluated between them.
    calls
        Points evaluated: ``"path"``, ``"search"`` and ``"verification"`` of the first saddle, ``"pieces"`` for the rest
        of the chain, and ``"total"``. An exact product with the Hessian counts as two.
    rounds
        Batches that they went out in: what counts where the points of one are evaluated side by side.
    converged
        Whether the chain leads from start to end over saddles that are verified, and paths that stay below them.
    reason
        Why not; ``"converged"`` if so, with more after it where the noise has set the tolerance, or where pairs of the
        chain were not searched since a coarse path between them stays below the saddle.
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
        """The highest of the saddles; None where there is none."""
        return max(self.saddles, key=lambda saddle: saddle.value, default=None)

    @property
    def barrier_forward(self) -> float:
        """The highest saddle above the start; NaN without one, or where a chain of verified saddles is not whole."""
        return self._above(self.minima_values[0])

    @property
    def barrier_reverse(self) -> float:
        """The highest saddle above the end; NaN as :attr:`barrier_forward`."""
        return self._above(self.minima_values[-1])

    def _above(self, value: float) -> float:
        # What is missing of a chain may be higher than all that was found of it. Without verification there is none.
        if self.saddle is None or (self.saddle.converged and not self.converged):
            return float("nan")
        return self.saddle.value - float(value)

    def __repr__(self) -> str:
        """One line: the barrier both ways, what it took, and whether it is verified."""
        between = "" if len(self.saddles) < 2 else f", {len(self.saddles)} saddles"
        return (
            f"<Connection: barrier forward {self.barrier_forward:.6g}, reverse {self.barrier_reverse:.6g}{between}, "
            f"{self.reason}, {self.calls['total']} calls>"
        )

    def plot(self, axes: Any = None) -> Any:
        """Draws the values along the path on some axes, new ones if None, with the saddles marked; returns them."""
        if self.path is None:
            raise ValueError(f"there is no path to draw: {self.reason}")
        axes = self.path.plot(axes)
        for saddle in self.saddles:
            axes.axhline(saddle.value, color="C3", lw=0.6, ls="--")
        return axes

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes an ``.npz`` that :func:`load_connection` reads."""
        arrays: dict[str, Any] = {"minima": self.minima, "minima_values": self.minima_values}
        names = ("calls", "rounds", "converged", "reason")
        described: dict[str, Any] = {name: getattr(self, name) for name in names}
        parts = {f"saddle{k}": saddle for k, saddle in enumerate(self.saddles)}
        for name, part in (parts | ({} if self.path is None else {"path": self.path})).items():
            own, described[name] = part.document()
            arrays |= {f"{name}_{key}": array for key, array in own.items()}
        write_result(path, "connection", arrays, described)


def load_connection(path: str | os.PathLike[str]) -> Connection:
    """Reads what :meth:`Connection.save` wrote; ValueError names the file where it is damaged."""
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
    stretches: list[list[tuple[np.ndarray, float]]],
) -> Path:
    """The polygon from the first minimum to the last, through points with values between each of them and the next.

    Each point is moved along the zero modes, and to the nearest image, as near as it gets to the one before: a descent
    may have turned a molecule on its way, and the path to the next minimum may cross the cell on its other side.
    """
    surface, way = Surface(landscape), [minima[0]]
    least = STANDS * float(np.linalg.norm(minima[-1][0] - minima[0][0]))
    for stretch, after in zip(stretches, minima[1:], strict=True):
        for point, value in (*stretch, after):
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
        metadata={"method": "descents from saddles"},
        basis="hat",
    )
