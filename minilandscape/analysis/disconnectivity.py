"""Disconnectivity graphs: at which energy minima become connected (Becker and Karplus, 1997)."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

#: What rounding is allowed: a part of the spread of the minima, for values that are sums of larger terms, and a part of
#: the numbers that are compared, which single precision leaves open.
SPREAD_ROUNDING = 1e-6
OWN_ROUNDING = 2 * float(np.finfo(np.float32).eps)
GREY = "0.2"


#: What becomes of a barrier below one of its minima.
BELOW = ("refuse", "minimum", "leave out")


class Merge(NamedTuple):
    """Two nodes of a tree, each a group of minima, that become one at an energy.

    Attributes
    ----------
    energy
        The lowest barrier between them.
    left, right
        The nodes: 0 to K − 1 are the minima, K + m is the group that merge m makes. ``left`` holds the lower minimum.
    """

    energy: float
    left: int
    right: int


@dataclass(frozen=True, repr=False)
class DisconnectivityGraph:
    """The tree of minima.

    Attributes
    ----------
    minima
        (K,): their values.
    merges
        From the lowest energy up; K less the number of pieces that nothing connects. Of merges at one energy, those of
        lower minima come first, in whatever order barriers and minima were given.
    left_out
        Sentences about barriers that were left out or raised.
    """

    minima: np.ndarray
    merges: tuple[Merge, ...]
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<DisconnectivityGraph: {len(self.minima)} minima, {len(self.merges)} merges, {self.n_pieces} pieces>"

    @property
    def n_pieces(self) -> int:
        """The number of groups that nothing connects; 1 if every minimum can be reached from every other."""
        return len(self.minima) - len(self.merges)

    @property
    def merge_energies(self) -> np.ndarray:
        """(K, K): the energy at which each two minima become connected, the minimax barrier; infinite where they never
        do, a minimum's own value on the diagonal."""
        energies = np.full((len(self.minima),) * 2, np.inf)
        np.fill_diagonal(energies, self.minima)
        for merge in self.merges:
            pairs = np.ix_(self._leaves(merge.left), self._leaves(merge.right))
            energies[pairs] = merge.energy
            energies.T[pairs] = merge.energy
        return energies

    def merge_energy(self, i: int, j: int) -> float:
        """The entry (i, j) of ``merge_energies``, without that matrix, which has no room for many thousand minima.

        Raises
        ------
        ValueError
            If there is no such minimum.
        """
        a, b, K = operator.index(i), operator.index(j), len(self.minima)
        if not (0 <= a < K and 0 <= b < K):
            raise ValueError(f"minima {a} and {b} are not both there; expected two of 0 to {K - 1}")
        if a == b:
            return float(self.minima[a])
        while a != b:  # a group has a higher number than its members
            a, b = max(a, b), self._parents[min(a, b)]
            if b < 0:
                return float("inf")
        return self.merges[a - K].energy

    def members(self, node: int) -> list[int]:
        """The minima of a node, in ascending order.

        Raises
        ------
        ValueError
            If there is no such node.
        """
        node, nodes = operator.index(node), len(self.minima) + len(self.merges)
        if not 0 <= node < nodes:
            raise ValueError(f"node {node} is not there; expected one of 0 to {nodes - 1}")
        return sorted(self._leaves(node).tolist())

    def order(self) -> list[int]:
        """The minima in an order in which no branches cross, lower groups to the left."""
        return self._layout[0].tolist()

    def _leaves(self, node: int) -> np.ndarray:
        order, first, size = self._layout
        return order[first[node] : first[node] + size[node]]

    @cached_property
    def _parents(self) -> list[int]:
        """The group that each node becomes a part of, −1 for the pieces."""
        K = len(self.minima)
        parents = [-1] * (K + len(self.merges))
        for node, (_, left, right) in enumerate(self.merges, K):
            parents[left] = parents[right] = node
        return parents

    @cached_property
    def _layout(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``order()`` (K,), in which the minima of a node stand side by side: the first place and the size of each."""
        K, M = len(self.minima), len(self.merges)
        left, right = (np.array([merge[k] for merge in self.merges], dtype=np.int64).tolist() for k in (1, 2))
        size, first, place = [1] * K + [0] * M, [0] * (K + M), 0
        lowest = [*self.minima.tolist(), *[0.0] * M]
        for m in range(M):
            size[K + m] = size[left[m]] + size[right[m]]
            lowest[K + m] = min(lowest[left[m]], lowest[right[m]])
        for root in sorted((k for k, parent in enumerate(self._parents) if parent < 0), key=lambda k: lowest[k]):
            first[root] = place
            place += size[root]
        for m in reversed(range(M)):  # from the top down
            first[left[m]] = first[K + m]
            first[right[m]] = first[K + m] + size[left[m]]
        order = np.empty(K, dtype=np.int64)
        order[first[:K]] = np.arange(K)
        return order, np.array(first, dtype=np.int64), np.array(size, dtype=np.int64)

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
        lowest, highest = self._range()
        if log and not (lowest >= 0 and highest > 0):
            raise ValueError(
                f"energies go from {lowest:.6g} to {highest:.6g}; expected none below 0 and one above on a "
                "logarithmic axis: leave log out"
            )
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(7, 5), layout="constrained").subplots()
        ceiling = highest * 1.3 if log else highest + 0.05 * (highest - lowest or 1)
        place = self._draw(axes, colours, ceiling)
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
        return axes

    def _range(self) -> tuple[float, float]:
        tops = [merge.energy for merge in self.merges]
        return float(self.minima.min()), float(max([self.minima.max(), *tops]))

    def _draw(self, axes: Any, colours: Any, ceiling: float) -> np.ndarray:
        """Draws branches and minima, all lines of a kind in one piece; the places (K,) of the minima."""
        from matplotlib.collections import LineCollection
        from matplotlib.colors import to_rgba_array

        K, M = len(self.minima), len(self.merges)
        _, first, _ = self._layout
        grey = to_rgba_array(GREY)
        rgba = np.concatenate([grey, grey.repeat(K, axis=0) if colours is None else to_rgba_array(list(colours))])
        rgba, inverse = np.unique(rgba, axis=0, return_inverse=True)
        mixed, *own = inverse.ravel().tolist()
        x, foot = np.empty(K + M), np.concatenate([self.minima, [merge.energy for merge in self.merges]])
        top, colour = np.full(K + M, ceiling), own + [mixed] * M
        x[:K] = first[:K]
        for node, (energy, left, right) in enumerate(self.merges, K):
            x[node] = 0.5 * (x[left] + x[right])
            top[left] = top[right] = energy
            colour[node] = colour[left] if colour[left] == colour[right] else mixed
        branches = np.stack([np.column_stack([x, foot]), np.column_stack([x, top])], axis=1)
        ends = np.array([merge[1:] for merge in self.merges], dtype=np.int64).reshape(M, 2)
        bars = np.stack([np.column_stack([x[k], foot[K:]]) for k in ends.T], axis=1)
        width = max(0.1, min(1.2, 400 / K))  # of thousands of branches the thinner ones can be told apart
        axes.add_collection(LineCollection(list(branches), colors=rgba[colour], linewidths=width))
        axes.add_collection(LineCollection(list(bars), colors=GREY, linewidths=width))
        axes.scatter(x[:K], self.minima, s=(4 * width / 1.2) ** 2, c=rgba[own], linewidths=0, zorder=3)
        axes.autoscale_view()
        return x[:K]


def disconnectivity_graph(minima: Any, barriers: Any, *, below: str = "refuse") -> DisconnectivityGraph:
    """Builds the tree in which each two minima are connected below the lowest pass between them, which a minimum
    spanning tree gives.

    Parameters
    ----------
    minima
        (K,): values of the minima; energies, or losses of weight vectors.
    barriers
        An array (K, K), or lists in a list, symmetric, with NaN or infinity where nothing is known, such as in one of
        its halves; or (i, j, energy), several for a pair allowed, as a list of tuples or the rows of an array (E, 3).
        Energies of saddles, or heights of paths. Of three minima an array (3, 3) may be either, and is taken for the
        one that it can be.
    below
        What becomes of a barrier below one of its minima, which no barrier can be: "refuse" raises, "minimum" takes the
        energy of the minimum for it, "leave out" goes without it. ``left_out`` of the graph says how many there were.

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
    if below not in BELOW:
        raise ValueError(f"below is {below!r}; expected one of {', '.join(map(repr, BELOW))}")
    minima = _reals("minima", minima)
    if minima.ndim != 1 or not len(minima) or not np.isfinite(minima).all():
        raise ValueError(f"minima have shape {minima.shape}; expected finite values (K,), and at least one")
    i, j, energies = _edges(minima, barriers)
    higher = np.maximum(minima[i], minima[j])
    low = np.flatnonzero(higher - energies > _rounding(minima, higher, energies))
    left_out: tuple[str, ...] = ()
    if len(low):
        worst = low[np.argmax((higher - energies)[low])]
        one = f"the barrier {energies[worst]:.12g} between {i[worst]} and {j[worst]} lies below the minimum "
        one += f"{higher[worst]:.12g}"
        if below == "refuse":
            others = f", and {len(low) - 1} of the {len(energies)} others below one of theirs" if len(low) > 1 else ""
            raise ValueError(
                f"{one}{others}: below='minimum' takes the minimum's energy for it, below='leave out' goes without it"
            )
        treatment = "left out" if below == "leave out" else "raised to it"
        left_out = (f"{len(low)} of {len(energies)} barriers lie below one of their minima and are {treatment}: {one}",)
    kept = np.ones(len(energies), dtype=bool)
    if below == "leave out":
        kept[low] = False
    merges = _merges(minima, i[kept], j[kept], np.maximum(energies, higher)[kept])
    return DisconnectivityGraph(minima, merges, left_out)


def _merges(minima: np.ndarray, i: np.ndarray, j: np.ndarray, energies: np.ndarray) -> tuple[Merge, ...]:
    """Kruskal's algorithm with union–find; barriers of one energy are taken together, lower minima first."""
    K = len(minima)
    parent = list(range(2 * K - 1))
    lowest = list(zip(minima.tolist(), range(K), strict=True)) + [(0.0, 0)] * (K - 1)

    def root(node: int) -> int:
        top = node
        while parent[top] != top:
            top = parent[top]
        while parent[node] != top:
            parent[node], node = top, parent[node]
        return top

    merges: list[Merge] = []

    def merge(energy: float, a: int, b: int) -> int:
        left, right = (a, b) if lowest[a] <= lowest[b] else (b, a)
        node = K + len(merges)
        parent[a] = parent[b] = node
        lowest[node] = lowest[left]
        merges.append(Merge(energy, left, right))
        return node

    order = np.argsort(energies, kind="stable")
    edges = zip(i[order].tolist(), j[order].tolist(), energies[order].tolist(), strict=True)
    for energy, level in groupby(edges, key=itemgetter(2)):
        pairs = [(root(a), root(b)) for a, b, _ in level]
        if len(pairs) == 1:
            if pairs[0][0] != pairs[0][1]:
                merge(energy, *pairs[0])
            continue
        for group in sorted((sorted(g, key=lowest.__getitem__) for g in _groups(pairs)), key=lambda g: lowest[g[0]]):
            node = group[0]
            for other in group[1:]:
                node = merge(energy, node, other)
    return tuple(merges)


def _groups(pairs: list[tuple[int, int]]) -> list[list[int]]:
    """The nodes that pairs of them connect, group by group."""
    beside: dict[int, list[int]] = {}
    for a, b in pairs:
        if a != b:
            beside.setdefault(a, []).append(b)
            beside.setdefault(b, []).append(a)
    groups, seen = [], set()
    for start in beside:
        if start in seen:
            continue
        seen.add(start)
        group = [start]
        for node in group:  # grows while it is walked
            new = [other for other in beside[node] if other not in seen]
            seen.update(new)
            group.extend(dict.fromkeys(new))
        groups.append(group)
    return groups


def _reals(name: str, numbers: Any) -> np.ndarray:
    if isinstance(numbers, np.ma.MaskedArray):  # whose mask NumPy would drop without a word
        numbers = np.ma.filled(numbers.astype(np.float64), np.nan)
    array = np.array(numbers)
    if array.dtype.kind == "c":  # whose imaginary parts NumPy would drop with no more than a warning
        raise TypeError(f"{name} are complex; expected real numbers")
    return array.astype(np.float64)


def _rounding(minima: np.ndarray, a: Any, b: Any) -> Any:
    """How far two numbers may be apart by rounding alone."""
    return SPREAD_ROUNDING * np.ptp(minima) + OWN_ROUNDING * np.maximum(np.abs(a), np.abs(b))


def _edges(minima: np.ndarray, barriers: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(E,) first minimum, second minimum and energy of every barrier, checked."""
    K = len(minima)
    if hasattr(barriers, "__array__"):  # a data frame too
        barriers = np.asanyarray(barriers)
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
        first, second = np.nonzero(np.isfinite(barriers) & ~np.eye(K, dtype=bool))
        return first, second, barriers[first, second]
    for row in barriers:
        if len(row) != 3:
            raise ValueError(f"a barrier is {row}; expected (i, j, energy), or lists in a list for a matrix")
    rows = _reals("barriers", barriers).reshape(-1, 3)
    ends = rows[:, :2]
    bad = np.flatnonzero(~(np.isin(ends, np.arange(K)).all(axis=1) & (ends[:, 0] != ends[:, 1])))
    if len(bad):
        i, j = barriers[bad[0]][:2]
        raise ValueError(f"a barrier connects {i} and {j}; expected two of the minima 0 to {K - 1}")
    bad = np.flatnonzero(~np.isfinite(rows[:, 2]))
    if len(bad):
        i, j, energy = barriers[bad[0]]
        raise ValueError(f"the barrier between {i} and {j} is {energy}; expected a finite energy")
    return ends[:, 0].astype(np.int64), ends[:, 1].astype(np.int64), rows[:, 2]


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
