"""Groups of hidden units that may be permuted, and the axes of tensors that count them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """An axis of a tensor that counts some units: of length ``outer · n · inner``, the units in the middle.

    Attributes
    ----------
    group
        The name of the units.
    outer, inner
        How often they are repeated, as in the gates of an LSTM and in the pixels of a channel that was flattened.
    """

    group: str
    outer: int = 1
    inner: int = 1


#: One axis a dimension; None where an axis counts no units that may be permuted.
Axes = list[Axis | None]


class Groups:
    """Groups of units that are found to be one, and those that must stay in their order."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}
        self._fixed: set[str] = set()
        self.axes: dict[str, Axes] = {}

    def new(self, name: str) -> Axis:
        """An axis of units of their own."""
        self._parent[name] = name
        return Axis(name)

    def root(self, group: str) -> str:
        """The name of a group after all unions."""
        while self._parent[group] != group:
            group = self._parent[group]
        return group

    def fix(self, *axes: Axis | None) -> None:
        """These units stay in their order."""
        self._fixed.update(axis.group for axis in axes if axis is not None)

    def unite(self, a: Axis | None, b: Axis | None) -> Axis | None:
        """Two axes that count the same units; where they cannot, both stay in their order."""
        if a is None or b is None or (a.outer, a.inner) != (b.outer, b.inner):
            self.fix(a, b)
            return None
        self._parent[self.root(b.group)] = self.root(a.group)
        return a

    def record(self, name: str, axes: Axes) -> None:
        """The axes of a parameter or buffer; a second use of it has the same."""
        known = self.axes.get(name)
        self.axes[name] = axes if known is None else [self.unite(a, b) for a, b in zip(known, axes, strict=True)]

    def free(self) -> dict[str, Axes]:
        """The axes of all tensors by the names of united groups, those that stay in their order left out."""
        fixed = {self.root(group) for group in self._fixed}

        def named(axis: Axis | None) -> Axis | None:
            if axis is None or self.root(axis.group) in fixed:
                return None
            return Axis(self.root(axis.group), axis.outer, axis.inner)

        return {name: [named(axis) for axis in axes] for name, axes in self.axes.items()}
