"""Adam (D. P. Kingma and J. Ba, arXiv:1412.6980) on an array of any shape."""

from __future__ import annotations

from math import inf, sqrt
from typing import Any

from ..backend import array_module


class Adam:
    """Adam's moments and update.

    m ← β₁ m + (1 − β₁) g, v ← β₂ v + (1 − β₂) g², x ← x − lr m̂ / (√v̂ + ε), with m̂ = m / (1 − β₁ᵏ) and
    v̂ = v / (1 − β₂ᵏ) after k updates.

    Parameters
    ----------
    lr
        Learning rate.
    betas, eps
        β₁, β₂ and ε.
    relative
        Use ε times the largest |g| of the current gradient instead of ε, so that the units of x and of the function
        have no effect. (A scale from √v̂ would be dominated for thousands of steps by one very large gradient.)
    state
        A value of :attr:`state` to resume from.
    """

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        relative: bool = False,
        state: tuple[Any, ...] | None = None,
    ) -> None:
        self.lr, self.betas, self.eps, self.relative = lr, betas, eps, relative
        self._k: int = 0
        self._m: Any = None
        self._v: Any = None
        if state:
            self._k, self._m, self._v = int(state[0]), state[1].copy(), state[2].copy()

    @property
    def state(self) -> tuple[Any, ...]:
        """Return (k, m, v), copies; empty before the first update."""
        return () if self._m is None else (self._k, self._m.copy(), self._v.copy())

    def update(self, x: Any, g: Any) -> None:
        """Update x in place by the gradient g, which is not changed."""
        xp = array_module(x)
        if self._m is None:
            self._m, self._v = xp.zeros_like(x), xp.zeros_like(x)
        beta1, beta2 = self.betas
        self._k += 1
        self._m *= beta1
        self._m += (1 - beta1) * g
        self._v *= beta2
        self._v += (1 - beta2) * (g * g)
        step = xp.sqrt(self._v)
        step /= sqrt(1 - beta2**self._k)
        if self.relative:
            step += self.eps * abs(g).max()
            step[self._v == 0] = inf  # no move without a gradient, or with one whose square underflows
        else:
            step += self.eps
        xp.divide(self._m, step, out=step)
        step *= self.lr / (1 - beta1**self._k)
        x -= step
