#!/usr/bin/env bash
# pylandscape's surfaces are the loss of one point, whatever the directions.
#
# Versions: pylandscape 0.1.3, Brevitas 0.12.1, PyHessian 0.1, PyTorch 2.13.0 on a CPU (pylandscape asks for 2.10; the loop
#   is plain Python), NumPy 1.26.4, Python 3.11.
# Guess before the run: the value at the centre of a surface is the loss of the model; away from it the surface is the loss
#   of the model moved along the two directions.
# What happens: all values of `random_surface`, `hessian_surface` and `random_hyperplane` are the loss of the model. The
#   loop that moves the parameters takes the directions for them: the tensors of the second direction are overwritten
#   with those of the first, and the model stays where it is. With a single direction, in `random_line`, the same loop
#   raises. The random directions hold numbers between 0 and 1 alone, so that two of them have a cosine of about 0.75.
# Why it matters: a flat surface is what one hopes to see of a wide minimum. Look at a point away from the centre, whose
#   loss can be computed by hand.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-compile torch==2.13.0 numpy==1.26.4 scipy==1.17.1 tqdm==4.70.1 packaging==26.4
"$dir/venv/bin/pip" install --quiet --no-compile --no-deps pylandscape==0.1.3 pyhessian==0.1 brevitas==0.12.1 \
    dependencies==2.0.1 unfoldNd==0.2.3 setuptools==69.5.1
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import numpy as np
import torch
from pylandscape import Surface
from torch.utils.data import DataLoader, TensorDataset

print(*(f"{name} {version(name)}" for name in ("pylandscape", "brevitas", "pyhessian", "torch", "numpy")))
torch.manual_seed(0)
inputs, labels = torch.randn(200, 6), torch.randint(0, 3, (200,))
model = torch.nn.Sequential(torch.nn.Linear(6, 12), torch.nn.Tanh(), torch.nn.Linear(12, 3)).eval()
loss = torch.nn.CrossEntropyLoss()
here = loss(model(inputs), labels).item()
before = torch.cat([weights.detach().ravel() for weights in model.parameters()])
loader = DataLoader(TensorDataset(inputs, labels), batch_size=200)
plane = Surface(model, loss, loader, device=torch.device("cpu"))

directions = [[torch.randn_like(weights) for weights in model.parameters()] for _ in range(2)]
by_hand = []
for x, y in ((1, 0), (0, 1), (1, 1)):
    moved = {
        name: weights + x * one + y * two
        for (name, weights), one, two in zip(model.named_parameters(), *directions, strict=True)
    }
    by_hand.append(loss(torch.func.functional_call(model, moved, (inputs,)), labels).item())
first, second = ([part.clone() for part in each] for each in directions)
seen = plane._compute_hyperplane(directions, [0.0, 1.0])
print(f"loss of the model {here:.4f}; moved along given directions {np.round(by_hand, 4)}, surface {np.round(seen, 4).tolist()}")
assert np.ptp(seen) == 0
assert np.isclose(seen[0, 0], here)
assert min(by_hand) > here + 0.1
assert all(torch.equal(now, old) for now, old in zip(directions[1], first, strict=True))
assert not any(torch.equal(now, old) for now, old in zip(directions[1], second, strict=True))

for name, values in (
    ("random_surface", plane.random_surface((-2.0, 2.0), 5)[-1]),
    ("hessian_surface", plane.hessian_surface((-2.0, 2.0), 5)[-1]),
    ("random_hyperplane", plane.random_hyperplane((-2.0, 2.0), 5, 3)[-1]),
):
    print(f"{name} {values.shape}: from {values.min():.6f} to {values.max():.6f}")
    assert np.ptp(values) == 0
    assert np.isclose(values.flat[0], here)
assert torch.equal(torch.cat([weights.detach().ravel() for weights in model.parameters()]), before)
try:
    plane.random_line((-2.0, 2.0), 5)
except ValueError as error:
    print("random_line raises:", error)
else:
    raise SystemExit("random_line came back")
one, two = (torch.cat([part.ravel() for part in plane._rand_like(model.parameters())]) for _ in range(2))
cosine = float(torch.nn.functional.cosine_similarity(one, two, dim=0))
print(f"cosine of two random directions {cosine:.3f}, smallest number {float(one.min()):.3f}")
assert cosine > 0.6
assert one.min() >= 0
EOF
