"""Disconnectivity graphs: at which energy minima become connected (Becker and Karplus, 1997)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

#: What rounding is allowed: a part of the spread of the minima, for values that are sums of larger terms, and a part of
#: the numbers that are compared, which single precision leaves open.
SPREAD_ROUNDING = 1e-6
OWN_ROUNDING = 2 * float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Merge:
    """Two groups of minima that become one at an energy.

    Attributes
    ----------
    energy
        The lowest barrier between them.
    left, right
        The minima of each.
    """

    energy: float
    left: tuple[int, ...]
    right: tuple[int, ...]


@dataclass(frozen=True)
class DisconnectivityGraph:
    """The tree of minima.

    Attributes
    ----------
    minima
        (K,): their values.
    merges
        From the lowest energy up; K less the number of pieces that nothing connects.
    """

    minima: np.ndarray
    merges: tuple[Merge, ...]

    @property
    def merge_energies(self) -> np.ndarray:
        """(K, K): the energy at which each two minima become connected, the minimax barrier; infinite where they never
        do, a minimum's own value on the diagonal."""
        energies = np.full((len(self.minima),) * 2, np.inf)
        np.fill_diagonal(energies, self.minima)
        for merge in self.merges:
            pairs = np.ix_(merge.left, merge.right)
            energies[pairs] = merge.energy
            energies.T[pairs] = merge.energy
        return energies

    def order(self) -> list[int]:
        """The minima in an order in which no branches cross, lower groups to the left."""
        groups: dict[tuple[int, ...], list[int]] = {(k,): [k] for k in range(len(self.minima))}
        for merge in self.merges:
            left, right = groups.pop(merge.left), groups.pop(merge.right)
            lower = self.minima[left].min() <= self.minima[right].min()
            groups[tuple(sorted(merge.left + merge.right))] = left + right if lower else right + left
        return [k for group in sorted(groups.values(), key=lambda g: self.minima[g].min()) for k in group]

    def plot(
        self,
        axes: Any = None,
        labels: Sequence[str] | None = None,
        colours: Sequence[str] | None = None,
        groups: Mapping[str, str] | None = None,
        log: bool = False,
    ) -> Any:
        """Draws the tree on some axes, new ones if None; returns them.

        Parameters
        ----------
        labels
            A name for each minimum, at the foot of its branch.
        colours
            A colour for each minimum's branch.
        groups
            Colour to name, for a legend.
        log
            A logarithmic energy axis, for losses; the branch of a loss of 0 goes down to its end.

        Raises
        ------
        ValueError
            If there are other numbers of labels or colours than of minima, or values below 0, or none above, on a
            logarithmic axis.
        """
        for name, given in (("labels", labels), ("colours", colours)):
            if given is not None and len(given) != len(self.minima):
                raise ValueError(f"there are {len(given)} {name}; expected {len(self.minima)}, one a minimum")
        values = [*self.minima, *(merge.energy for merge in self.merges)]
        if log and not (min(values) >= 0 and max(values) > 0):
            raise ValueError(
                f"energies go from {min(values):.6g} to {max(values):.6g}; expected none below 0 and one above on a "
                "logarithmic axis: leave log out"
            )
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(7, 5), layout="constrained").subplots()
        place = {k: float(x) for x, k in enumerate(self.order())}
        tops: dict[tuple[int, ...], tuple[float, float]] = {
            (k,): (place[k], float(value)) for k, value in enumerate(self.minima)
        }
        colours = ["0.2"] * len(self.minima) if colours is None else colours
        for merge in self.merges:
            feet = [tops.pop(merge.left), tops.pop(merge.right)]
            for members, (x, foot) in zip((merge.left, merge.right), feet, strict=True):
                own = {colours[k] for k in members}
                colour = own.pop() if len(own) == 1 else "0.2"
                axes.plot([x, x], [foot, merge.energy], color=colour, lw=1.2)
            (x1, _), (x2, _) = feet
            axes.plot([x1, x2], [merge.energy] * 2, color="0.2", lw=1.2)
            tops[tuple(sorted(merge.left + merge.right))] = (0.5 * (x1 + x2), merge.energy)
        ceiling = max(values) * 1.3 if log else max(values) + 0.05 * (max(values) - min(values) or 1)
        for members, (x, foot) in tops.items():
            own = {colours[k] for k in members}
            axes.plot([x, x], [foot, ceiling], color=own.pop() if len(own) == 1 else "0.2", lw=1.2)
        for k, x in place.items():
            axes.plot(x, self.minima[k], "o", color=colours[k], ms=4)
        if groups:
            for colour, name in groups.items():
                axes.plot([], [], color=colour, label=name)
            axes.legend(frameon=False)
        if log:
            axes.set_yscale("log")
        floor = min(axes.get_ylim())  # where a loss of 0 is named on a logarithmic axis
        for k, text in enumerate(() if labels is None else labels):
            at = (place[k], max(self.minima[k], floor))
            axes.annotate(text, at, (0, -6), textcoords="offset points", ha="center", va="top", fontsize=8)
        axes.set(xticks=[], ylabel="energy")
        for side in ("top", "right", "bottom"):
            axes.spines[side].set_visible(False)
        return axes


def disconnectivity_graph(minima: Any, barriers: Any) -> DisconnectivityGraph:
    """The tree of minima from the barriers between pairs of them.

    Two minima are connected below an energy if a chain of barriers leads from one to the other below it; the lowest
    such energy is the minimax over all chains, which a minimum spanning tree gives.

    Parameters
    ----------
    minima
        (K,): values of the minima; energies, or losses of weight vectors.
    barriers
        An array (K, K), or lists in a list, symmetric, with NaN or infinity where nothing is known, such as in one of
        its halves; or (i, j, energy), several for a pair allowed, as a list of tuples or the rows of an array (E, 3).
        Energies of saddles, or heights of paths. Of three minima an array (3, 3) may be either, and is taken for the
        one that it can be.

    Raises
    ------
    ValueError
        If shapes do not fit, an index is out of range, a value is not finite, a matrix is not symmetric, a barrier
        lies below one of its minima, or an array (3, 3) can be neither a matrix nor rows, or both.
    TypeError
        If numbers are complex.

    Notes
    -----
    A barrier may lie below the higher of its minima, and two halves of a matrix may differ, by rounding: by 1e-6 of the
    spread of the minima and 2.4e-7 of the numbers themselves, two steps of single precision. Such a barrier is drawn
    at the minimum.
    """
    minima = _reals("minima", minima)
    if minima.ndim != 1 or not len(minima) or not np.isfinite(minima).all():
        raise ValueError(f"minima have shape {minima.shape}; expected finite values (K,)")
    edges = []
    for i, j, energy in _edges(minima, barriers):
        higher = float(max(minima[i], minima[j]))
        if higher - energy > _rounding(minima, higher, energy):
            raise ValueError(f"the barrier {energy:.12g} between {i} and {j} lies below the minimum {higher:.12g}")
        edges.append((i, j, max(energy, higher)))
    group: dict[int, tuple[int, ...]] = {k: (k,) for k in range(len(minima))}
    merges = []
    for i, j, energy in sorted(edges, key=lambda edge: edge[2]):
        if group[i] == group[j]:
            continue
        merges.append(Merge(energy, group[i], group[j]))
        joined = tuple(sorted(group[i] + group[j]))
        for k in joined:
            group[k] = joined
    return DisconnectivityGraph(minima, tuple(merges))


def _reals(name: str, numbers: Any) -> np.ndarray:
    array = np.array(numbers)
    if array.dtype.kind == "c":  # whose imaginary parts NumPy would drop with no more than a warning
        raise TypeError(f"{name} are complex; expected real numbers")
    return array.astype(np.float64)


def _rounding(minima: np.ndarray, a: Any, b: Any) -> Any:
    """How far two numbers may be apart by rounding alone."""
    return SPREAD_ROUNDING * np.ptp(minima) + OWN_ROUNDING * np.maximum(np.abs(a), np.abs(b))


def _edges(minima: np.ndarray, barriers: Any) -> list[tuple[int, int, float]]:
    K = len(minima)
    if not isinstance(barriers, np.ndarray):
        barriers = list(barriers)
    if isinstance(barriers, np.ndarray) or (barriers and not any(isinstance(row, tuple) for row in barriers)):
        barriers = _reals("barriers", barriers)
    if isinstance(barriers, np.ndarray) and _is_matrix(barriers, minima):
        one_way = _asymmetry(barriers, minima)
        if one_way is not None:
            i, j = one_way
            raise ValueError(
                f"barriers[{i}, {j}] is {barriers[i, j]:.12g} and barriers[{j}, {i}] is {barriers[j, i]:.12g}; "
                "expected one barrier a pair: np.fmin(barriers, barriers.T) takes the lower"
            )
        return [
            (i, j, float(barriers[i, j])) for i in range(K) for j in range(K) if i != j and np.isfinite(barriers[i, j])
        ]
    edges = []
    for row in barriers:
        if len(row) != 3:
            raise ValueError(f"a barrier is {row}; expected (i, j, energy), or lists in a list for a matrix")
        i, j, energy = row
        if not (i in range(K) and j in range(K)) or i == j:
            raise ValueError(f"a barrier joins {i} and {j}; expected two of the minima 0 to {K - 1}")
        if not np.isfinite(energy):
            raise ValueError(f"the barrier between {i} and {j} is {energy}; expected a finite energy")
        edges.append((int(i), int(j), float(energy)))
    return edges


def _is_matrix(barriers: np.ndarray, minima: np.ndarray) -> bool:
    """Whether an array is a matrix (K, K); it holds rows (i, j, energy) if not."""
    K = len(minima)
    matrix, rows = barriers.shape == (K, K), barriers.ndim == 2 and barriers.shape[1] == 3
    if not (matrix or rows):
        raise ValueError(
            f"barriers have shape {barriers.shape}; expected ({K}, {K}), or rows (i, j, energy) in an array (E, 3) or "
            "a list"
        )
    if matrix and rows:
        ends = barriers[:, :2]
        matrix = _asymmetry(barriers, minima) is None
        rows = bool(np.isin(ends, range(K)).all() and (np.diff(ends) != 0).all())
        if matrix == rows:
            either = "both a symmetric matrix and" if matrix else "neither a symmetric matrix nor"
            raise ValueError(
                f"barriers of shape (3, 3) are {either} rows (i, j, energy) of the minima 0 to 2: give rows as a list "
                "of tuples, and a matrix with NaN on its diagonal"
            )
    return matrix


def _asymmetry(barriers: np.ndarray, minima: np.ndarray) -> tuple[int, int] | None:
    """The first pair (i, j) with two different barriers; None in a symmetric matrix."""
    known = np.where(np.isfinite(barriers) & np.isfinite(barriers.T), barriers, 0)
    differ = np.argwhere(np.abs(known - known.T) > _rounding(minima, known, known.T))
    return (int(differ[0, 0]), int(differ[0, 1])) if len(differ) else None
