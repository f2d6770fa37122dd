"""``python -m benchmarks modules``: path steps of PyTorch modules beside a plain loop over the sample points.

A step computes the values at three sample points and the gradient with respect to the rows of the path. The loop calls
``functional_call`` and ``backward`` point by point, once over all samples at once and once over half of them at a
time. Both must agree with minilandscape. Then all three alternate, on one thread. The ratios are those of processor
times of the same round: their median, and quartiles in brackets.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from minilandscape.adapters.torch import TorchLandscape
from minilandscape.paths.bases import sine_basis

from .rows import Disagreement, compare
from .sides import Results

#: Largest differences between minilandscape and the loop, relative to the largest entry.
TOLERANCES = {"loss": 5e-7, "gradient": 1e-5}
#: M and N_F of the path, and how many different symbols sequences have.
N_POINTS, N_TERMS, N_SYMBOLS = 5, 2, 6
LOSS = nn.functional.cross_entropy


class Residual(nn.Module):
    """Two convolutions with batch normalisation, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.second, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(x + self.norm2(self.second(torch.relu(self.norm1(self.first(x))))))


class Transformer(nn.Module):
    """Two encoder layers of four heads over sequences of symbols, two classes."""

    def __init__(self, width: int, hidden: int, length: int, causal: bool) -> None:
        super().__init__()
        self.embed, self.place = nn.Embedding(N_SYMBOLS, width), nn.Parameter(0.1 * torch.randn(1, length, width))
        layer = nn.TransformerEncoderLayer(width, 4, hidden, dropout=0.0, batch_first=True, activation="gelu")
        self.encoder, self.out = nn.TransformerEncoder(layer, 2), nn.Linear(width, 2)
        self.mask = nn.Transformer.generate_square_subsequent_mask(length) if causal else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.encoder(self.embed(x) + self.place, mask=self.mask, is_causal=self.mask is not None)
        return self.out(x.mean(1))


def resnet(channels: int, side: int, n: int) -> tuple[nn.Module, torch.Tensor]:
    """Make the ResNet of the examples, of so many channels, and n images (n, 1, side, side)."""
    module = nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), Residual(channels),
        nn.MaxPool2d(2), Residual(channels), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 4),
    )  # fmt: skip
    images = torch.randn(n, 1, side, side)
    with torch.no_grad():
        module(1.5 * images + 0.3)  # moves the running statistics
    return module.eval(), images


def transformer(width: int, hidden: int, length: int, causal: bool, n: int) -> tuple[nn.Module, torch.Tensor]:
    """Make a transformer and n sequences (n, length)."""
    return Transformer(width, hidden, length, causal).eval(), torch.randint(0, N_SYMBOLS, (n, length))


#: Name -> what makes a module and n samples.
MODULES: dict[str, Callable[[int], tuple[nn.Module, torch.Tensor]]] = {
    "ResNet, 8 channels, 8 × 8 pixels": partial(resnet, 8, 8),
    "ResNet, 16 channels, 14 × 14 pixels": partial(resnet, 16, 14),
    "transformer, two layers, width 32, causal, 16 symbols": partial(transformer, 32, 48, 16, True),
    "transformer of the examples, width 16, 10 symbols": partial(transformer, 16, 24, 10, False),
}


class Task:
    """A path step of one module: its landscape, the path, and the loop.

    Parameters
    ----------
    name
        One of :data:`MODULES`.
    n
        Samples.
    """

    def __init__(self, name: str, n: int) -> None:
        torch.manual_seed(0)
        rng = np.random.default_rng(0)
        self.module, self.x = MODULES[name](n)
        self.y = torch.from_numpy(rng.integers(0, 2, n))
        land = TorchLandscape(self.module, LOSS, self.x, self.y)
        # Start, end and the coefficients b_n: (2 + N_F, D).
        rows = np.array([0.0, 0.05, *[0.01] * N_TERMS])[:, None] * rng.standard_normal((2 + N_TERMS, land.size))
        rows[:2] += land.vector()
        self.coefficients = sine_basis(np.linspace(0, 1, N_POINTS), N_TERMS)[1:-1]
        self.span = land.span(rows.astype(np.float32))

    def ours(self) -> Results:
        """Compute a step with minilandscape."""
        values, pullback = self.span.values_and_pullback(self.coefficients)
        return {"loss": values, "gradient": pullback}

    def loop(self, batch: int) -> Results:
        """Compute a step point by point, with so many samples at a time."""
        points = (self.coefficients @ self.span.basis).astype(np.float32)
        values, gradients = zip(*[self.at_point(torch.from_numpy(point), batch) for point in points], strict=True)
        return {"loss": np.array(values), "gradient": self.coefficients.T @ np.stack(gradients)}

    def at_point(self, point: torch.Tensor, batch: int) -> tuple[float, np.ndarray]:
        """Compute the value and the gradient (D,) at one point (D,)."""
        own = dict(self.module.named_parameters())
        parts = point.split([p.numel() for p in own.values()])
        parameters = {
            name: part.view_as(p).clone().requires_grad_() for (name, p), part in zip(own.items(), parts, strict=True)
        }
        value = 0.0
        for x, y in zip(self.x.split(batch), self.y.split(batch), strict=True):
            outputs = torch.func.functional_call(self.module, parameters, (x,))
            loss = LOSS(outputs, y, reduction="sum") / len(self.x)
            loss.backward()
            value += loss.item()
        return value, torch.cat([p.grad.flatten() for p in parameters.values()]).numpy()


def processor_times(calls: list[Callable[[], object]], rounds: int) -> np.ndarray:
    """Measure the processor seconds of each call, (rounds, calls); every other round is in reverse order."""
    seconds = np.empty((rounds, len(calls)))
    for k in range(rounds):
        for j in range(len(calls))[:: 1 if k % 2 else -1]:
            begin = time.process_time()
            calls[j]()
            seconds[k, j] = time.process_time() - begin
    return seconds


def measured(name: str, n: int, rounds: int) -> str:
    """Measure one module over n samples: cells of the table; raises Disagreement."""
    task = Task(name, n)
    loops = {f"{batch:,} at a time": partial(task.loop, batch) for batch in batches(n)}
    expected = task.ours()
    for how, call in loops.items():
        compare(f"{name}: the loop, {how},", call(), expected, TOLERANCES)
    seconds = processor_times([task.ours, *loops.values()], rounds)
    ratios = np.percentile(seconds[:, 1:] / seconds[:, :1], [25, 50, 75], axis=0)
    cells = [f"{median:.2f} [{low:.2f}, {high:.2f}]" for low, median, high in ratios.T]
    return " | ".join([name, f"{np.median(seconds[:, 0]):.3g}", *cells])


def batches(n: int) -> tuple[int, int]:
    """Return how many samples the loop takes at a time."""
    return n, n // 2


def main(arguments: list[str]) -> int:
    """Print a row for each module; returns 1 if the loop and minilandscape disagree."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks modules", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few samples, one round: checks that both agree")
    parser.add_argument("--only", default="", metavar="TEXT", help="modules whose name contains this")
    options = parser.parse_args(arguments)
    n, rounds = (60, 1) if options.quick else (2000, 9)
    wanted = [name for name in MODULES if options.only in name]
    if not wanted:
        parser.error(f"no module is called {options.only}; there are: {'; '.join(MODULES)}")
    torch.set_num_threads(1)
    print(f"PyTorch {torch.__version__}, {n:,} samples, one thread; the loop's processor time / minilandscape's\n")
    print("| module | minilandscape, s | " + " | ".join(f"loop, {batch:,} at a time" for batch in batches(n)) + " |")
    print("| --- | --- | --- | --- |")
    wrong = []
    with threadpool_limits(1):
        for name in wanted:
            try:
                print(f"| {measured(name, n, rounds)} |", flush=True)
            except Disagreement as error:
                wrong.append(str(error))
    bounds = ", ".join(f"{what} {bound:g}" for what, bound in TOLERANCES.items())
    print("\n" + ("\n".join(wrong) or f"all agree to (of the largest entry): {bounds}"))
    return 1 if wrong else 0
