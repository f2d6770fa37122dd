"""
Two ResNets with batch normalisation
====================================

A small ResNet with batch normalisation, trained twice: is there a barrier between the two?

Prints the barrier along the straight line, along the straight line to the second network with its units in the order
of the first, and along a path; draws losses and accuracies along the path, with recomputed batch-normalisation
statistics.
"""

import torch
from torch import nn

import minilandscape as ml
from minilandscape.adapters.torch import TorchLandscape

torch.set_num_threads(1)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.first, self.norm1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.second, self.norm2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)

    def forward(self, x):
        return torch.relu(x + self.norm2(self.second(torch.relu(self.norm1(self.first(x))))))


def resnet():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), Residual(8), nn.MaxPool2d(2),
        Residual(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    )  # fmt: skip


def images(n, seed):
    """A bar in one of four directions, in noise."""
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, 1, 8, 8, generator=generator), torch.arange(n) % 4
    places = torch.randint(1, 7, (n,), generator=generator)
    bars = [lambda k: (k, slice(None)), lambda k: (slice(None), k)]
    for i in range(n):
        if y[i] < 2:
            x[i, 0][bars[y[i]](places[i])] += 1.5
        else:
            diagonal = torch.roll(torch.eye(8), int(places[i]), 0)
            x[i, 0] += 1.5 * (diagonal if y[i] == 2 else diagonal.flip(0))
    return x, y


train, test = images(240, 0), images(240, 1)


def trained(seed):
    torch.manual_seed(seed)
    module = resnet()
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(8):
        for rows in torch.randperm(len(train[0])).split(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(train[0][rows]), train[1][rows]).backward()
            optimizer.step()
    return module.eval()


first, second = trained(0), trained(1)
land = TorchLandscape(first, nn.functional.cross_entropy, *train, test=test, buffers="recompute")
start, end = land.vector(first), land.vector(second)
nearer = land.align(start, end)
straight = ml.find_path(land, start, end, "linear", n_points=11)
aligned = ml.find_path(land, start, nearer, "linear", n_points=11)
path = ml.find_path(land, start, nearer, n_points=11, n_terms=4, objective="sum", lam=1e-4, solver="auto", steps=15)
found = land.along(path)
for name, line in (("straight line", straight), ("aligned", aligned), ("path", path)):
    print(f"{name:<14} barrier {line.barrier:.4f}")
print(f"test accuracy  {min(found.values['test accuracy']):.3f} at least along the path")
found.plot().figure.savefig("torch_resnet.png", dpi=150)
