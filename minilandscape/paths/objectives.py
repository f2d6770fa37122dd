"""What a path minimises: Eq. (4), with a power of the value above an offset."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: How far below the offset values may lie, as a part of the straight line's range.
SLACK = 1e-3


@dataclass(frozen=True)
class PowerSum:
    """Σ_m F_m with F = (f − offset)^power; power 1 is Eq. (4).

    Attributes
    ----------
    power, offset
        With a power other than 1, values should lie above the offset.
    """

    power: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not self.power > 0:
            raise ValueError(f"power is {self.power}; expected a number above 0")

    def summands(self, values: np.ndarray) -> np.ndarray:
        """F (P,)."""
        if self.power == 1:
            return values - self.offset
        return self._above(values) ** self.power

    def weights(self, values: np.ndarray) -> np.ndarray:
        """dF/df (P,)."""
        above = self._above(values)
        if self.power >= 1:
            return self.power * above ** (self.power - 1)
        # A root is infinitely steep at the offset; below it, it counts as flat.
        slopes = np.power(above, self.power - 1, out=np.zeros_like(above), where=above > 0)
        return self.power * slopes

    def check(self, line_values: np.ndarray) -> None:
        """Refuses an offset that lies well above some value on the starting line."""
        finite = line_values[np.isfinite(line_values)]
        if self.power == 1 or not finite.size:
            return
        lowest, span = finite.min(), np.ptp(finite)
        if lowest - self.offset < -SLACK * span:
            raise ValueError(
                f"power {self.power:g} acts on f - offset, and f goes down to {lowest:.6g} on the straight line: "
                f"give an offset of at most that (offset is {self.offset:g})"
            )

    def _above(self, values: np.ndarray) -> np.ndarray:
        above = values - self.offset
        return above if float(self.power).is_integer() else np.maximum(above, 0)
