"""Losses and metrics along a path, on the training and test data, and the barrier of each by three definitions."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..drawing import PATH, SADDLE, value_scale
from ..files import read_result, write_result

#: The loss among the quantities of a data set, and what is put before the names of the test set's.
LOSS, TEST = "loss", "test "
#: What stands before the names of quantities along the path, and along the straight line, in a file.
_VALUES, _LINE = "values ", "line "
#: A path that leaves the straight line by no more than this part of its length is that line.
SAME = 1e-6


@dataclass(frozen=True)
class Barriers:
    """The barrier of a quantity along a path by three definitions, at the sample points.

    Attributes
    ----------
    barrier
        The maximum above the higher endpoint.
    forward, reverse
        The maximum above the start, and above the end.
    loss_barrier
        max_t [L(t) − (1 − t) L(0) − t L(1)] (Frankle et al., 2020).
    """

    barrier: float
    forward: float
    reverse: float
    loss_barrier: float

    @classmethod
    def of(cls, t: np.ndarray, values: np.ndarray) -> Barriers:
        """Of values (M,) at t (M,)."""
        start, end, top = float(values[0]), float(values[-1]), float(values.max())
        line = float((values - (1 - t) * start - t * end).max())
        return cls(top - max(start, end), top - start, top - end, line)


@dataclass(frozen=True)
class AlongPath:
    """Quantities along a path and along the straight line between its endpoints.

    Returned by :meth:`TorchLandscape.along <minilandscape.adapters.torch.TorchLandscape.along>` and
    :meth:`JaxLandscape.along <minilandscape.adapters.jax.JaxLandscape.along>`.

    Attributes
    ----------
    t
        (M,): the path's sample points, the place of its maximum, and on a straight line its middle. Between them a
        quantity may lie higher or lower.
    values
        (M,) each, by name: ``"loss"`` and the metrics over the training data, ``"test loss"`` and so on over the test
        data.
    average
        The same at the average of the endpoints, (a + b) / 2, halfway along the straight line.
    metadata
        How many samples there are.
    line
        (M,) each, by name: the same along the straight line, at t.

    Examples
    --------
    >>> import torch
    >>> import minilandscape as ml
    >>> from minilandscape.adapters.torch import TorchLandscape
    >>> x = torch.linspace(-1, 1, 20)[:, None]
    >>> land = TorchLandscape(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, x, 2 * x, test=(x[:5], 2 * x[:5]))
    >>> found = land.along(ml.find_path(land, [1.0, 0.0], [3.0, 0.0], "linear", n_points=5))
    >>> list(found.values), round(found.average["test loss"], 6)
    (['loss', 'test loss'], 0.0)
    """

    t: np.ndarray
    values: dict[str, np.ndarray]
    average: dict[str, float]
    metadata: dict[str, Any] = field(default_factory=dict)
    line: dict[str, np.ndarray] = field(default_factory=dict)

    def barriers(self, name: str = LOSS) -> Barriers:
        """Compute the barrier of a quantity by three definitions.

        Parameters
        ----------
        name
            The quantity, such as ``"test loss"``.

        Raises
        ------
        ValueError
            If there is none of that name.
        """
        if name not in self.values:
            raise ValueError(f"there is no {name!r}; expected one of {', '.join(self.values)}")
        return Barriers.of(self.t, self.values[name])

    def __str__(self) -> str:
        """A table: each quantity at the endpoints, its extremes at the points t, and at the average."""
        points = f"at {len(self.t)} points"
        width = max(len(name) for name in (points, *self.values))
        lines = [f"{points:<{width}} {'start':>11} {'end':>11} {'least':>11} {'largest':>11} {'average of both':>15}"]
        for name, values in self.values.items():
            numbers = "".join(f" {v:>11.5g}" for v in (values[0], values[-1], values.min(), values.max()))
            lines.append(f"{name:<{width}}{numbers} {self.average[name]:>15.5g}")
        return "\n".join(lines)

    def plot(self, axes: Any = None) -> Any:
        """Draw each quantity on a panel of its own, over training and test data, with that along the straight line.

        Parameters
        ----------
        axes
            Matplotlib axes, on which the losses alone are drawn; None makes a figure with a panel for each quantity.

        Returns
        -------
        matplotlib.axes.Axes
            Those of the losses.
        """
        quantities = [LOSS] if axes is not None else list(dict.fromkeys(n.removeprefix(TEST) for n in self.values))
        if axes is None:
            from matplotlib.figure import Figure

            figure = Figure(figsize=(6.4, 1.4 + 2.2 * len(quantities)), layout="constrained")
            panels = list(figure.subplots(len(quantities), sharex=True, squeeze=False)[:, 0])
        else:
            panels = [axes]
        for panel, quantity in zip(panels, quantities, strict=True):
            self._draw(panel, quantity)
        panels[-1].set_xlabel("position along the path, t")
        above: dict[str, Any] = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": 4}
        panels[0].legend(frameon=False, fontsize="small", **above)
        return panels[0]

    def _draw(self, axes: Any, quantity: str) -> None:
        """Draw a quantity over both data sets."""
        shown: list[Any] = []
        for prefix, data, colour, mark in (("", "training", PATH, "o"), (TEST, "test", SADDLE, "s")):
            name = prefix + quantity
            if name not in self.values:
                continue
            shown += [self.values[name], self.line.get(name, [])]
            axes.plot(self.t, self.values[name], "-", marker=mark, ms=3.5, color=colour, label=f"{data}, path")
            if name in self.line:
                axes.plot(self.t, self.line[name], "--", color=colour, lw=1.2, label=f"{data}, straight line")
        axes.set_ylabel(quantity)
        value_scale(axes, np.concatenate(shown))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write an ``.npz`` that :func:`load_along` reads."""
        arrays = {"t": self.t}
        for kind, quantities in ((_VALUES, self.values), (_LINE, self.line)):
            arrays |= {kind + name: values for name, values in quantities.items()}
        write_result(path, "along", arrays, {"average": self.average, "metadata": self.metadata})


def load_along(path: str | os.PathLike[str]) -> AlongPath:
    """Read what :meth:`AlongPath.save` wrote.

    Parameters
    ----------
    path
        The ``.npz``.

    Returns
    -------
    AlongPath

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or holds another kind of result; the message names it.

    Examples
    --------
    >>> import os, tempfile, numpy as np
    >>> from minilandscape.adapters.along import AlongPath, load_along
    >>> found = AlongPath(np.array([0.0, 1.0]), {"loss": np.array([2.0, 1.0])}, {"loss": 3.0})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found.save(os.path.join(folder, "along.npz"))
    ...     again = load_along(os.path.join(folder, "along.npz"))
    >>> again.average
    {'loss': 3.0}
    """
    arrays, document = read_result(path, "along")
    values, line = (
        {name.removeprefix(kind): array for name, array in arrays.items() if name.startswith(kind)}
        for kind in (_VALUES, _LINE)
    )
    return AlongPath(arrays["t"], values, document["average"], document["metadata"], line)


def measured_along(measure: Callable[[np.ndarray], dict[str, np.ndarray]], path: Any, n: dict[str, int]) -> AlongPath:
    """Measure quantities along a path and along the straight line, of which the path may be one.

    Parameters
    ----------
    measure
        Quantities by name, (P,) each, at points (P, D).
    n
        Numbers of samples by name.
    """
    t = np.unique(path.t if np.isnan(path.maximum_t) else np.append(path.t, path.maximum_t))
    start, displacement = path.start.astype(np.float64), path.end.astype(np.float64) - path.start
    away = np.abs(path.points(t) - start - t[:, None] * displacement).max()
    is_straight = bool(away <= SAME * np.linalg.norm(displacement))
    if is_straight:
        t = np.union1d(t, 0.5)  # the average, which is measured anyway
    points, straight = path.points(t), start + t[:, None] * displacement
    found = measure(np.concatenate([points, (start + 0.5 * displacement)[None], *([] if is_straight else [straight])]))
    values = {name: v[: len(t)] for name, v in found.items()}
    line = values if is_straight else {name: v[len(t) + 1 :] for name, v in found.items()}
    return AlongPath(t, values, {name: float(v[len(t)]) for name, v in found.items()}, dict(n), line)


def check_metrics(metrics: Any) -> None:
    """Raise TypeError or ValueError where metrics are no functions by name."""
    if metrics is None:
        return
    if not isinstance(metrics, Mapping) or not all(callable(metric) for metric in metrics.values()):
        raise TypeError("metrics are expected as a dictionary of names and functions")
    if LOSS in metrics or any(str(name).startswith(TEST) for name in metrics):
        raise ValueError(
            f"metrics are {', '.join(map(str, metrics))}; {LOSS!r} and names with {TEST!r} before are taken"
        )
