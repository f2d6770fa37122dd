"""A segment of a chain of minima and saddles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..saddles import Minimum, Saddle


@dataclass(frozen=True)
class Link:
    """A segment between two minima of the chain: a saddle and its two minima, or a path below another saddle.

    Attributes
    ----------
    saddle
        Verified, unless verification was not requested; None where the path stays below another saddle.
    sides
        The minima, with the descents that led to them.
    passed
        Points (n, D) and values (n,) of the path without the minima, where there is no saddle.
    """

    saddle: Saddle | None
    sides: tuple[Minimum, ...] = ()
    passed: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def places(self) -> tuple[int, ...]:
        """The indices of the minima among the known ones."""
        return tuple(int(side.known) for side in self.sides if side.known is not None)

    def between(self, before: int, after: int) -> Link:
        """Order the sides as in the chain."""
        first, second = self.places
        return replace(self, sides=self.sides[::-1]) if second == before or first == after else self

    @property
    def stretch(self) -> list[tuple[np.ndarray, float]]:
        """Points and values from one minimum to the other, without the two."""
        if self.saddle is None:
            assert self.passed is not None
            return list(zip(*self.passed, strict=True))
        before, after = (list(zip(*side.way, strict=True)) for side in self.sides if side.way is not None)
        return [*before[::-1], (self.saddle.point, self.saddle.value), *after]
