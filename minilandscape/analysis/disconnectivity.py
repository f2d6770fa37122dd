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

from ..display import as_html, number, svg_of, text_lines
from .shown_tree import plot_tree, tree_rows

#: Differences up to these count as rounding: a part of the range of the minima, for values that are sums of larger
#: terms, and a part of the compared numbers, two units in the last place of single precision.
RANGE_ROUNDING = 1e-6
NUMBER_ROUNDING = 2 * float(np.finfo(np.float32).eps)
#: How a barrier below one of its minima is treated.
BELOW = ("refuse", "minimum", "leave out")


class Merge(NamedTuple):
    """The merge of two nodes of a tree, each a group of minima, at an energy.

    Attributes
    ----------
    energy
        The lowest barrier between them.
    left, right
        The nodes: 0 to K − 1 are the minima, K + m is the group made by merge m. ``left`` holds the lower minimum.
    """

    energy: float
    left: int
    right: int


@dataclass(frozen=True, repr=False)
class DisconnectivityGraph:
    """The tree of minima: at which energy any two of them become connected.

    Returned by :func:`disconnectivity_graph` and :meth:`StationaryPoints.graph`.

    Attributes
    ----------
    minima
        (K,): their energies, or losses.
    merges
        From the lowest energy up: K minus the number of connected components. Each has ``energy``, ``left`` and
        ``right``; 0 to K − 1 are the minima, K + m is the group made by merge m. Of merges at the same energy those of
        lower minima come first, whatever the order of barriers and minima.
    left_out
        Sentences about barriers that were left out or raised.

    Examples
    --------
    >>> import minilandscape as ml
    >>> graph = ml.disconnectivity_graph([-3.0, -2.0, -1.0], [(0, 1, 0.5), (1, 2, 2.0)])
    >>> graph.merge_energy(0, 2), graph.n_pieces
    (2.0, 1)
    """

    minima: np.ndarray
    merges: tuple[Merge, ...]
    left_out: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """One line: the minima, the lowest of them, and the connected components."""
        components = f"{self.n_pieces} connected component{'' if self.n_pieces == 1 else 's'}"
        lowest = number(float(self.minima.min()), 8)
        return f"<DisconnectivityGraph: {len(self.minima)} minima, the lowest {lowest}, {components}>"

    @property
    def n_pieces(self) -> int:
        """The number of connected components; 1 if every minimum can be reached from every other."""
        return len(self.minima) - len(self.merges)

    @property
    def merge_energies(self) -> np.ndarray:
        """(K, K): the energy at which two minima become connected (the minimax barrier), infinity where they are not
        connected, and the energy of the minimum on the diagonal."""
        energies = np.full((len(self.minima),) * 2, np.inf)
        np.fill_diagonal(energies, self.minima)
        for merge in self.merges:
            pairs = np.ix_(self._leaves(merge.left), self._leaves(merge.right))
            energies[pairs] = merge.energy
            energies.T[pairs] = merge.energy
        return energies

    def merge_energy(self, i: int, j: int) -> float:
        """Find the entry (i, j) of ``merge_energies`` without that matrix, which is too large for many minima.

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
        """List the minima of a node, in ascending order.

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
        """List the minima in an order in which no branches cross, lower groups to the left."""
        return self._layout[0].tolist()

    def _leaves(self, node: int) -> np.ndarray:
        order, first, size = self._layout
        return order[first[node] : first[node] + size[node]]

    @cached_property
    def _parents(self) -> list[int]:
        """The group that each node becomes a part of, −1 for connected components."""
        K = len(self.minima)
        parents = [-1] * (K + len(self.merges))
        for node, (_, left, right) in enumerate(self.merges, K):
            parents[left] = parents[right] = node
        return parents

    @cached_property
    def _layout(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """``order()`` (K,), in which the minima of each node are neighbours; first place and size of each node."""
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

    @property
    def places(self) -> np.ndarray:
        """(K + M,): the first place of the minima of each node in ``order()``; of a minimum, its place."""
        return self._layout[1]

    def summary(self) -> str:
        """Describe minima, merges and connected components in lines of text."""
        return text_lines(tree_rows(self))

    def _repr_html_(self) -> str:
        return as_html("Disconnectivity graph", tree_rows(self), svg_of(self.plot()))

    def plot(
        self,
        axes: Any = None,
        labels: Sequence[str] | None = None,
        colours: Sequence[str] | None = None,
        groups: Mapping[str, str] | None = None,
        log: bool = False,
        quantity: str | None = None,
        unit: str = "",
    ) -> Any:
        """Draw the tree: energy upwards, a branch for each minimum.

        Parameters
        ----------
        axes
            Matplotlib axes; new ones if None, wide enough for the minima.
        labels
            K names, one for each minimum, at the foot of its branch.
        colours
            K colours of the minima's branches.
        groups
            Colour to name, for a legend.
        log
            Use a logarithmic energy axis, for losses. The branch of a loss of 0 reaches the lower end of the axis.
        quantity, unit
            Name and unit for the axis; by default "energy", or "loss" on a logarithmic axis.

        Returns
        -------
        matplotlib.axes.Axes

        Raises
        ------
        ValueError
            If the number of labels or colours is not K, or with ``log`` an energy is below 0 or none is above 0.
        """
        for name, given in (("labels", labels), ("colours", colours)):
            if given is not None and len(given) != len(self.minima):
                raise ValueError(f"there are {len(given)} {name}; expected {len(self.minima)}, one for each minimum")
        if log:
            self._check_logarithmic()
        return plot_tree(self, axes, labels, colours, groups, log, (quantity or ("loss" if log else "energy"), unit))

    def _check_logarithmic(self) -> None:
        lowest = float(self.minima.min())
        highest = float(max([self.minima.max(), *(merge.energy for merge in self.merges)]))
        if not (lowest >= 0 and highest > 0):
            raise ValueError(
                f"energies range from {lowest:.6g} to {highest:.6g}; expected none below 0 and one above on a "
                "logarithmic axis: remove log"
            )


def disconnectivity_graph(minima: Any, barriers: Any, *, below: str = "refuse") -> DisconnectivityGraph:
    r"""Build the disconnectivity graph of some minima: at which energy any two become connected.

    Two minima i and j are connected at the lowest energy that allows a chain of barriers between them [1]_,

    .. math:: E_{ij} = \min_{i = k_0, k_1, \ldots, k_n = j} \; \max_m \; E(k_{m-1}, k_m),

    which a minimum spanning tree of the barriers gives.

    Parameters
    ----------
    minima
        (K,): energies of the minima, or losses of networks.
    barriers
        Energies of saddles, or heights of paths: (i, j, energy), several for a pair allowed, as a list of tuples or the
        rows of an array (E, 3); or a symmetric matrix (K, K), an array or nested lists, with NaN or infinity where no
        barrier is known, for instance in one of its halves. An array (3, 3) for three minima is interpreted as
        whichever of the two it can be.
    below
        How to treat a barrier below one of its minima, which no barrier can be: "refuse" raises an error, "minimum"
        raises the barrier to the minimum, "leave out" ignores it. ``left_out`` of the graph counts them.

    Returns
    -------
    DisconnectivityGraph

    Raises
    ------
    ValueError
        If shapes do not match, an index is out of range, a value is not finite, a matrix is not symmetric, a barrier
        lies below one of its minima, or an array (3, 3) can be neither a matrix nor rows, or both.
    TypeError
        If numbers are complex.

    Notes
    -----
    Rounding may put a barrier below the higher of its minima, or make the halves of a matrix differ, by 1e-6 of the
    range of the minima plus 2.4e-7 of the numbers (two units in the last place of single precision). Such a barrier is
    raised to the minimum.

    References
    ----------
    .. [1] O. M. Becker and M. Karplus, "The topology of multidimensional potential energy surfaces", J. Chem. Phys.
       106, 1495 (1997).

    Examples
    --------
    >>> import minilandscape as ml
    >>> graph = ml.disconnectivity_graph([-3.0, -2.0, -1.0], [(0, 1, 0.5), (1, 2, 2.0), (0, 2, 3.0)])
    >>> [(merge.energy, graph.members(merge.left), graph.members(merge.right)) for merge in graph.merges]
    [(0.5, [0], [1]), (2.0, [0, 1], [2])]
    """
    if below not in BELOW:
        raise ValueError(f"below is {below!r}; expected one of {', '.join(map(repr, BELOW))}")
    minima = _reals("minima", minima)
    if minima.ndim != 1 or not len(minima):
        raise ValueError(f"minima have shape {minima.shape}; expected values (K,), and at least one")
    if len(bad := np.flatnonzero(~np.isfinite(minima))):
        raise ValueError(f"the value of minimum {bad[0]} is {minima[bad[0]]}; expected finite values")
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
                f"{one}{others}: below='minimum' raises the barrier to the minimum, below='leave out' ignores it"
            )
        treatment = "left out" if below == "leave out" else "raised to it"
        left_out = (f"{len(low)} of {len(energies)} barriers lie below one of their minima and are {treatment}: {one}",)
    kept = np.ones(len(energies), dtype=bool)
    if below == "leave out":
        kept[low] = False
    merges = _merges(minima, i[kept], j[kept], np.maximum(energies, higher)[kept])
    return DisconnectivityGraph(minima, merges, left_out)


def _merges(minima: np.ndarray, i: np.ndarray, j: np.ndarray, energies: np.ndarray) -> tuple[Merge, ...]:
    """Merge minima by Kruskal's algorithm with union–find; of barriers at the same energy lower minima come first."""
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
    """Find the connected components of a graph of pairs of nodes."""
    neighbours: dict[int, list[int]] = {}
    for a, b in pairs:
        if a != b:
            neighbours.setdefault(a, []).append(b)
            neighbours.setdefault(b, []).append(a)
    groups, seen = [], set()
    for start in neighbours:
        if start in seen:
            continue
        seen.add(start)
        group = [start]
        for node in group:  # grows while it is walked
            new = [other for other in neighbours[node] if other not in seen]
            seen.update(new)
            group.extend(dict.fromkeys(new))
        groups.append(group)
    return groups


def _reals(name: str, numbers: Any) -> np.ndarray:
    if isinstance(numbers, np.ma.MaskedArray):  # NumPy would ignore its mask
        numbers = np.ma.filled(numbers.astype(np.float64), np.nan)
    array = np.array(numbers)
    if array.dtype.kind == "c":  # NumPy would drop the imaginary parts with no more than a warning
        raise TypeError(f"{name} are complex; expected real numbers")
    return array.astype(np.float64)


def _rounding(minima: np.ndarray, a: Any, b: Any) -> Any:
    """The largest difference of two numbers that rounding explains."""
    return RANGE_ROUNDING * np.ptp(minima) + NUMBER_ROUNDING * np.maximum(np.abs(a), np.abs(b))


def _edges(minima: np.ndarray, barriers: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first minimum, the second minimum and the energy of every barrier, (E,) each, checked."""
    K = len(minima)
    if hasattr(barriers, "__array__"):  # data frames included
        barriers = np.asanyarray(barriers)
    if not isinstance(barriers, np.ndarray):
        barriers = list(barriers)
    if isinstance(barriers, np.ndarray) or (barriers and not any(isinstance(row, tuple) for row in barriers)):
        barriers = _reals("barriers", barriers)
    if isinstance(barriers, np.ndarray) and _is_matrix(barriers, minima):
        asymmetric = _asymmetry(barriers, minima)
        if asymmetric is not None:
            i, j = asymmetric
            raise ValueError(
                f"barriers[{i}, {j}] is {barriers[i, j]:.12g} and barriers[{j}, {i}] is {barriers[j, i]:.12g}; "
                "expected one barrier for each pair: np.fmin(barriers, barriers.T) takes the lower"
            )
        first, second = np.nonzero(np.isfinite(barriers) & ~np.eye(K, dtype=bool))
        return first, second, barriers[first, second]
    for row in barriers:
        if len(row) != 3:
            raise ValueError(f"a barrier is {row}; expected (i, j, energy), or nested lists for a matrix")
    rows = _reals("barriers", barriers).reshape(-1, 3)
    pairs = rows[:, :2]
    bad = np.flatnonzero(~(np.isin(pairs, np.arange(K)).all(axis=1) & (pairs[:, 0] != pairs[:, 1])))
    if len(bad):
        i, j = barriers[bad[0]][:2]
        raise ValueError(f"a barrier connects {i} and {j}; expected two of the minima 0 to {K - 1}")
    bad = np.flatnonzero(~np.isfinite(rows[:, 2]))
    if len(bad):
        i, j, energy = barriers[bad[0]]
        raise ValueError(f"the barrier between {i} and {j} is {energy}; expected a finite energy")
    return pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.int64), rows[:, 2]


def _is_matrix(barriers: np.ndarray, minima: np.ndarray) -> bool:
    """Whether an array is a matrix (K, K), not rows (i, j, energy)."""
    K = len(minima)
    matrix, rows = barriers.shape == (K, K), barriers.ndim == 2 and barriers.shape[1] == 3
    if not (matrix or rows):
        raise ValueError(
            f"barriers have shape {barriers.shape}; expected ({K}, {K}), or rows (i, j, energy) in an array (E, 3) or "
            "a list"
        )
    if matrix and rows:
        pairs = barriers[:, :2]
        matrix = _asymmetry(barriers, minima) is None
        rows = bool(np.isin(pairs, range(K)).all() and (np.diff(pairs) != 0).all())
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
