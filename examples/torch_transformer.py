"""
Two transformers
================

A two-layer transformer, trained twice: barriers between the two, and how sharp they are.

The task: which of the first two symbols of a sequence occurs more often in the rest. Prints the barrier along the
straight line, along the straight line after alignment (heads are permuted as wholes), and along a path; then the
curvature of both networks.
"""

import torch
from torch import nn

import minilandscape as ml
from minilandscape.adapters.torch import TorchLandscape

torch.set_num_threads(1)


class Transformer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.place = nn.Embedding(6, 16), nn.Parameter(0.1 * torch.randn(1, 10, 16))
        layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True, activation="gelu")
        self.encoder, self.out = nn.TransformerEncoder(layer, 2), nn.Linear(16, 2)

    def forward(self, x):
        return self.out(self.encoder(self.embed(x) + self.place).mean(1))


def sequences(n, seed):
    x = torch.randint(0, 6, (n, 10), generator=torch.Generator().manual_seed(seed))
    first, second = ((x[:, 2:] == x[:, k : k + 1]).sum(1) for k in (0, 1))
    return x, (first > second).long()


train, test = sequences(200, 0), sequences(200, 1)


def trained(seed):
    torch.manual_seed(seed)
    module = Transformer()
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(train[0]), train[1]).backward()
        optimizer.step()
    return module.eval()


first, second = trained(0), trained(1)
land = TorchLandscape(first, nn.functional.cross_entropy, *train, test=test)
start, end = land.vector(first), land.vector(second)
nearer = land.align(start, end)
straight = ml.find_path(land, start, end, "linear", n_points=11)
aligned = ml.find_path(land, start, nearer, "linear", n_points=11)
path = ml.find_path(land, start, nearer, n_points=11, n_terms=4, objective="sum", lam=1e-4, solver="auto", steps=15)
for name, line in (("straight line", straight), ("aligned", aligned), ("path", path)):
    print(f"{name:<14} barrier {line.barrier:.4f}")
for name, point in (("first", start), ("second", end)):
    found = ml.curvature(land, point, 2, probes=12)
    print(
        f"{name:<14} highest eigenvalue {found.highest[0]:.3f}, lowest {found.lowest[0]:.3f}, trace {found.trace:.2f}"
    )
land.along(path).plot().figure.savefig("torch_transformer.png", dpi=150)
