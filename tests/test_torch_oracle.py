"""The networks and their initialisation against PyTorch's own layers, where PyTorch is installed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from minilandscape.data import lstm_permutation
from minilandscape.networks import MODELS, VARIANTS, get_network, initial_vector, network_landscape

torch = pytest.importorskip("torch")


class Permute(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = torch.nn.LSTM(28, 48, batch_first=True)
        self.fc = torch.nn.Linear(48, 10, bias=False)

    def forward(self, x: Any) -> Any:
        x = x[:, torch.from_numpy(np.asarray(lstm_permutation()))].reshape(-1, 28, 28)
        return self.fc(self.lstm(x)[0][:, -1])


def module(model: str, variant: str) -> Any:
    """The model as its authors would write it in PyTorch."""
    nn = torch.nn
    act = nn.ReLU if variant == "paper" else nn.Softplus
    if model == "fcp":
        layers = [nn.Linear(784, 50, bias=False), act(), nn.Linear(50, 50, bias=False), act()]
        return nn.Sequential(*layers, nn.Linear(50, 10, bias=False))
    if model == "autoencoder":
        sizes = [784, 32, 32, 32, 784]
        layers = []
        for a, b in itertools.pairwise(sizes):
            layers += [nn.Linear(a, b, bias=False), nn.Softplus()]
        return nn.Sequential(*layers[:-1], nn.Sigmoid())
    if model == "lenet":

        def stage(convolution: Any) -> list[Any]:
            tail = [nn.AvgPool2d(2), act()] if variant == "paper" else [act(), nn.AvgPool2d(2)]
            return [convolution, *tail]

        return nn.Sequential(
            nn.Unflatten(1, (1, 28, 28)),
            *stage(nn.Conv2d(1, 6, 5, padding=2)),
            *stage(nn.Conv2d(6, 16, 5)),
            nn.Flatten(),
            nn.Linear(400, 120),
            act(),
            nn.Linear(120, 84),
            act(),
            nn.Linear(84, 10),
        )
    return Permute()


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_loss_and_gradient_equal_pytorch(model: str, variant: str, small_mnist: Any) -> None:
    torch.manual_seed(0)
    net = module(model, variant).double()
    vector = torch.nn.utils.parameters_to_vector(net.parameters()).detach()
    images = small_mnist.train[:40]
    x = torch.from_numpy(images.images.astype(np.float64))
    if model == "autoencoder":
        loss = torch.nn.functional.mse_loss(net(x), x)
    else:
        loss = torch.nn.functional.cross_entropy(net(x), torch.from_numpy(images.labels))
    loss.backward()
    gradient = torch.cat([p.grad.flatten() for p in net.parameters()]).numpy()
    landscape = network_landscape(model, images, variant=variant, dtype="float64")
    values, gradients = landscape.values_and_gradients(vector.numpy()[None])
    assert values[0] == pytest.approx(loss.item(), rel=1e-12)
    for block in get_network(model, variant).layout.blocks:
        ours, theirs = gradients[0, block.start : block.stop], gradient[block.start : block.stop]
        assert np.abs(ours - theirs).max() <= 1e-10 * np.abs(theirs).max(), block.name


@pytest.mark.parametrize("model", MODELS)
def test_initial_vectors_are_spread_like_pytorch(model: str) -> None:
    torch.manual_seed(1)
    net = module(model, "paper")
    ours = initial_vector(model, np.random.default_rng(2))
    for parameter, block in zip(net.parameters(), get_network(model, "paper").layout.blocks, strict=True):
        assert tuple(parameter.shape) == block.shape, block.name
        if parameter.numel() > 1000:
            part = ours[block.start : block.stop]
            assert part.std() == pytest.approx(parameter.detach().numpy().std(), rel=0.05), block.name


def test_the_permutation_is_pytorchs() -> None:
    theirs = torch.randperm(784, generator=torch.Generator().manual_seed(1234)).numpy()
    assert np.array_equal(lstm_permutation(), theirs)
