#!/usr/bin/env bash
# landscaper's random orthogonal directions are parallel, and along eigenvectors it does not go along eigenvectors.
#
# Versions: landscaper 1.3.1, PyTorch 2.13.0 on a CPU, NumPy 1.26.4, Python 3.11.
# Expected: the directions of `generate_random_orthogonal_directions` are orthogonal; the loss at a returned coordinate is
#   the loss that far along the direction that was given, so that curvature along the eigenvector of the largest
#   eigenvalue is that eigenvalue; where the loss is not finite the surface is not.
# What happens: the product with each earlier direction is taken off without dividing by its squared length, which is
#   about the number of parameters, so that what is left is the earlier direction many times over: the median cosine is
#   0.98 with 123 parameters and 0.9999 with 10,003. A surface over two of them is one line, drawn aslant. Of a direction
#   each tensor is scaled to the same length per parameter, so that an eigenvector is one no longer: its cosine with what
#   is left is 0.93, the curvature 11 % below the eigenvalue. A coordinate is not a length but nearly a part of the norm
#   of all parameters, so that the curvature per coordinate is 91 times the eigenvalue. Losses that are NaN are replaced
#   by the mean of the others, and random numbers are added to the largest, without a word.
# Why it matters: minima, saddles and persistences of its merge trees are those of a line, and of noise where a loss
#   saturates. Make the directions by a QR decomposition, scale them yourself, and look for NaN in the losses first.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-compile landscaper==1.3.1 torch==2.13.0 numpy==1.26.4 \
    networkx==2.8.8 scipy==1.17.1 scikit-learn==1.9.1 gudhi==3.13.0 topopy==1.0.4 nglpy==1.1.7 matplotlib==3.11.2 pandas==3.0.6
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import contextlib
import io
from importlib.metadata import version

import numpy as np
import torch
from landscaper.compute import compute_loss_landscape
from landscaper.utils import generate_random_orthogonal_directions

print(*(f"{name} {version(name)}" for name in ("landscaper", "torch", "numpy")))
torch.manual_seed(0)
inputs = torch.randn(200, 6)
labels = (inputs[:, 0] * inputs[:, 1] > 0).long() + (inputs[:, 2] > 1).long()
model = torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.Tanh(), torch.nn.Linear(12, 3))
loss = torch.nn.CrossEntropyLoss()
optimiser = torch.optim.Adam(model.parameters(), 1e-2)
for _ in range(200):
    optimiser.zero_grad()
    loss(model(inputs), labels).backward()
    optimiser.step()
shapes = [weights.shape for weights in model.parameters()]
names = [name for name, _ in model.named_parameters()]
here = torch.cat([weights.detach().ravel() for weights in model.parameters()])
sizes = [shape.numel() for shape in shapes]


def flat(direction):
    return torch.cat([part.ravel() for part in direction]).double()


def parts(vector):
    return [part.reshape(shape).float() for part, shape in zip(vector.split(sizes), shapes, strict=True)]


def value(z):
    weights = dict(zip(names, [p.reshape(s) for p, s in zip(z.split(sizes), shapes, strict=True)], strict=True))
    return loss(torch.func.functional_call(model, weights, (inputs,)), labels)


def surface(directions, scalar=lambda model, data: loss(model(data[0]), data[1]).item(), **options):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return compute_loss_landscape(model, (inputs, labels), directions, scalar, device="cpu", **options)


def cosines(n_hidden, count):
    network = torch.nn.Sequential(torch.nn.Linear(6, n_hidden), torch.nn.Tanh(), torch.nn.Linear(n_hidden, 3))
    drawn = torch.stack([flat(each) for each in generate_random_orthogonal_directions(network, count)])
    drawn /= drawn.norm(dim=1, keepdim=True)
    return sum(p.numel() for p in network.parameters()), (drawn @ drawn.T).abs()


for n_hidden in (12, 1000):
    found = [float(cosines(n_hidden, 2)[1][0, 1]) for _ in range(20)]
    third = float(cosines(n_hidden, 3)[1][1, 2])
    print(f"{cosines(n_hidden, 2)[0]} parameters: median cosine {np.median(found):.5f}, second and third {third:.5f}")
    assert np.median(found) > 0.9
    assert third > 0.99

losses, _ = surface(generate_random_orthogonal_directions(model, 2), steps=11, distance=0.5, dim=2)
across = [min(np.ptp(np.diagonal(turned)) for turned in (losses, losses[::-1])), np.ptp(losses)]
print(f"a surface of them: range of the loss {across[1]:.3f}, along one of the diagonals {across[0]:.3f}")
assert across[0] < 0.1 * across[1]

hessian = torch.autograd.functional.hessian(value, here).double()
eigenvalues, vectors = torch.linalg.eigh(hessian)
top = vectors[:, -1]
losses, coordinates = surface([parts(top), parts(vectors[:, -2])], steps=21, distance=0.05, dim=2)
step = coordinates[0][1] - coordinates[0][0]
along = losses[:, 10]
seen = (along[11] - 2 * along[10] + along[9]) / step**2
scaled = flat([part * np.sqrt(part.numel()) / part.norm() for part in parts(top)])
scaled /= scaled.norm()
curvature, norm = float(scaled @ hessian @ scaled), float(here.norm())
print(f"largest eigenvalue {eigenvalues[-1]:.3f}; surface: {seen:.3f} per coordinate; along its direction {curvature:.3f};")
print(f"cosine of that direction with the eigenvector {float(scaled @ top):.3f}; norm of the parameters {norm:.3f}")
assert np.isclose(seen, curvature * (norm * 20 / 21) ** 2, rtol=0.05)
assert curvature < 0.95 * eigenvalues[-1]
assert seen > 50 * eigenvalues[-1]


def partly(model, data):
    """A loss that is NaN at every other point, and 1, 2, 3, ... elsewhere."""
    partly.calls += 1
    return float("nan") if partly.calls % 2 else float(partly.calls)


partly.calls = 0
losses, _ = surface([parts(top), parts(vectors[:, -2])], partly, steps=5, distance=0.05, dim=2)
means, highest = losses.ravel()[::2], losses.ravel()[1::2]
print("NaN at every other point:", losses.ravel()[:6], "last:", losses.ravel()[-3:])
assert np.isfinite(losses).all()
assert np.allclose(means, np.mean(np.arange(2, 26, 2)))
assert (highest[:-1] == np.arange(2, 24, 2)).all()
assert highest[-1] != 24
EOF
