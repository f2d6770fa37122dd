"""Adam against its published formulas, and mini-batch training over a landscape that counts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minilandscape.optimizers import Adam, adam_batches, sgd


class Batches:
    """Least squares over images that are numbers; remembers the batches that were asked for."""

    size, n_samples, device, dtype = 1, 10, "cpu", np.dtype(np.float64)

    def __init__(self) -> None:
        self.targets = np.arange(10.0)
        self.seen: list[np.ndarray] = []

    def batch_values_and_gradients(self, points: Any, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (batch,) = indices
        self.seen.append(batch)
        away = points - self.targets[batch][None]
        return (away**2).mean(axis=1), 2 * away.mean(axis=1, keepdims=True)


@pytest.mark.parametrize("shape", [(4,), (3, 5)])
def test_adam_is_its_formulas(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    theirs, m, v = x.copy(), np.zeros(shape), np.zeros(shape)
    ours = Adam(lr=0.02, betas=(0.8, 0.95), eps=1e-6)
    for k in range(1, 15):
        g = rng.standard_normal(shape)
        kept = g.copy()
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        theirs = theirs - 0.02 * (m / (1 - 0.8**k)) / (np.sqrt(v / (1 - 0.95**k)) + 1e-6)
        ours.update(x, g)
        assert np.array_equal(g, kept)
    assert x == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("scale", [1e-100, 1e-19, 1.0, 1e12])
def test_a_relative_epsilon_knows_no_unit(scale: float) -> None:
    x, theirs, m, v = np.ones(3), np.ones(3), np.zeros(3), np.zeros(3)
    adam = Adam(lr=0.02, eps=0.03, relative=True)
    for k in range(1, 15):
        g = np.array([1.0, 1e-3, 0.0]) * (x - 0.1 * k)
        adam.update(x, scale * g)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g**2
        theirs -= 0.02 * m / (1 - 0.9**k) / (np.sqrt(v / (1 - 0.999**k)) + 0.03 * abs(g).max())
    assert x == pytest.approx(theirs, rel=1e-12)
    adam = Adam(relative=True)
    for slope in (0.0, 1e-200, 0.0):  # its square is 0
        adam.update(x, np.full(3, slope))
    assert x == pytest.approx(theirs, rel=1e-12)


def test_an_epoch_sees_every_image_once_and_keeps_the_last_batch() -> None:
    landscape = Batches()
    states = sgd(landscape, np.zeros(1), np.random.default_rng(3), lr=0.1, batch_size=4)
    for _ in range(3):
        state = next(states)
    assert [len(batch) for batch in landscape.seen] == [4, 4, 2] * 2
    first, second = np.concatenate(landscape.seen[:3]), np.concatenate(landscape.seen[3:])
    assert np.array_equal(np.sort(first), np.arange(10))
    assert not np.array_equal(first, second)
    assert state.evaluations.gradients == 6
    with pytest.raises(ValueError, match="batch_size is 0"):
        next(sgd(landscape, np.zeros(1), np.random.default_rng(3), batch_size=0))
    with pytest.raises(ValueError, match="lr is inf"):
        next(adam_batches(landscape, np.zeros(1), np.random.default_rng(3), lr=np.inf))


@pytest.mark.parametrize("method", [sgd, adam_batches])
def test_runs_resume_with_the_same_bits(method: Any) -> None:
    states = method(Batches(), np.zeros(1), np.random.default_rng(3), lr=0.1, batch_size=4)
    whole = [next(states) for _ in range(6)]
    resumed = method(Batches(), np.zeros(1), np.random.default_rng(77), lr=0.1, batch_size=4, state=whole[2])
    again = [next(resumed) for _ in range(4)]
    for ours, theirs in zip(again, whole[2:], strict=True):
        assert np.array_equal(ours.x, theirs.x)
        assert ours.epoch == theirs.epoch
        assert ours.evaluations == theirs.evaluations
