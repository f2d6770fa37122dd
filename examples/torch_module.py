"""
Two PyTorch modules
===================

Two PyTorch modules trained from different seeds, connected by a low-loss path over their parameters.
"""

import torch

import minilandscape as ml
from minilandscape.adapters.torch import TorchLandscape

data = ml.load_mnist("auto").train[:1000]
inputs, targets = torch.tensor(data.images), torch.tensor(data.labels)
loss = torch.nn.functional.cross_entropy


def trained(seed):
    torch.manual_seed(seed)
    module = torch.nn.Sequential(torch.nn.Linear(784, 30), torch.nn.Tanh(), torch.nn.Linear(30, 10))
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(60):
        optimizer.zero_grad()
        loss(module(inputs), targets).backward()
        optimizer.step()
    return module


first, second = trained(0), trained(1)
land = TorchLandscape(first, loss, inputs, targets)
ends = land.vector(first), land.vector(second)
path = ml.find_path(land, *ends, n_points=20, n_terms=5, objective="sum", lam=1e-4, solver="auto", steps=25)
print(f"height {path.height:.4f}; straight line {path.height_linear:.4f}; ends {max(path.height_ends):.4f}")
middle = land.load(path.points(0.5)[0])
print(f"accuracy halfway {(middle(inputs).argmax(1) == targets).float().mean():.3f}")

# %%
# The loss along the path and along the straight line.
path.plot().figure.savefig("torch_module.png", dpi=120)
