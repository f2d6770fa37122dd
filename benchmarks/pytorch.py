"""The same work in PyTorch, as its users would write it well: chunked, without gradients where none are needed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from minilandscape.data import lstm_permutation

#: Images in a chunk that are tried; the fastest is kept.
CHUNKS = (500, 1000, 2500, 10_000)


class LastState(torch.nn.Module):
    """PyTorch's fused LSTM over the permuted pixels, the last hidden state to a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.from_numpy(np.asarray(lstm_permutation())))
        self.lstm = torch.nn.LSTM(28, 48, batch_first=True)
        self.fc = torch.nn.Linear(48, 10, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.lstm(x[:, self.order].reshape(-1, 28, 28))[1][0]
        return self.fc(hidden[0])


def module(model: str, variant: str) -> torch.nn.Module:
    """The model in PyTorch's own layers."""
    nn = torch.nn
    act = nn.ReLU if variant == "paper" else nn.Softplus

    def stack(sizes: list[int], activation: Any, bias: bool) -> list[torch.nn.Module]:
        layers: list[torch.nn.Module] = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b, bias=bias), activation()]
        return layers[:-1]

    if model == "fcp":
        return nn.Sequential(*stack([784, 50, 50, 10], act, False))
    if model == "autoencoder":
        return nn.Sequential(*stack([784, 32, 32, 32, 784], nn.Softplus, False), nn.Sigmoid())
    if model == "lstm":
        return LastState()

    def stage(convolution: torch.nn.Module) -> list[torch.nn.Module]:
        return [convolution, *([nn.AvgPool2d(2), act()] if variant == "paper" else [act(), nn.AvgPool2d(2)])]

    convolutions = [*stage(nn.Conv2d(1, 6, 5, padding=2)), *stage(nn.Conv2d(6, 16, 5))]
    return nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)), *convolutions, nn.Flatten(), *stack([400, 120, 84, 10], act, True)
    )


class Loss:
    """Mean loss and gradient of a module over images, in chunks."""

    def __init__(self, model: str, variant: str, images: np.ndarray, labels: np.ndarray) -> None:
        self.net = module(model, variant)
        self.x, self.y = torch.from_numpy(images), torch.from_numpy(labels)
        self.autoencoder = model == "autoencoder"
        self.chunk = len(self.x)

    def set_vector(self, vector: np.ndarray) -> None:
        """The parameters, flat."""
        torch.nn.utils.vector_to_parameters(torch.from_numpy(vector), self.net.parameters())

    def _sum(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if self.autoencoder:
            return torch.nn.functional.mse_loss(self.net(x), x, reduction="sum") / 784
        return torch.nn.functional.cross_entropy(self.net(x), y, reduction="sum")

    def value(self) -> float:
        """The loss alone."""
        total = 0.0
        with torch.no_grad():
            for x, y in zip(self.x.split(self.chunk), self.y.split(self.chunk), strict=True):
                total += self._sum(x, y).item()
        return total / len(self.x)

    def value_and_gradient(self) -> tuple[float, np.ndarray]:
        """The loss and its gradient, flat."""
        self.net.zero_grad()
        total = 0.0
        for x, y in zip(self.x.split(self.chunk), self.y.split(self.chunk), strict=True):
            loss = self._sum(x, y) / len(self.x)
            loss.backward()
            total += loss.item()
        return total, torch.cat([p.grad.flatten() for p in self.net.parameters()]).numpy()

    def sgd_step(self, optimizer: torch.optim.Optimizer, indices: torch.Tensor) -> None:
        """One step on a mini-batch."""
        x, y = self.x[indices], self.y[indices]
        optimizer.zero_grad()
        (self._sum(x, y) / len(x)).backward()
        optimizer.step()

    def pick_chunk(self, call: Callable[[], object]) -> None:
        """Keeps the chunk size at which a call is fastest."""
        import time

        best = float("inf")
        for chunk in CHUNKS:
            previous, self.chunk = self.chunk, chunk
            call()
            start = time.perf_counter()
            call()
            seconds = time.perf_counter() - start
            if seconds < best:
                best = seconds
            else:
                self.chunk = previous
