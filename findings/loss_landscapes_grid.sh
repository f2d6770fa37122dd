#!/usr/bin/env bash
# Surfaces of loss-landscapes have every other row shifted by one step, and a larger distance makes them smaller.
#
# Versions: loss-landscapes 3.0.6, PyTorch 2.14.1 on a CPU, NumPy 2.4.6, Python 3.11.
# Guess before the run: `random_plane` evaluates a rectangular grid around the model, as far as `distance` times the
#   norm of the weights; `linear_interpolation` begins at the first model and ends at the second.
# What happens: the grid is walked to and fro, and a step is taken before each evaluation, so that odd rows lie one step
#   before even ones along the second direction, and the returned array does not say so: a round bowl around the model
#   has its minimum in turn at two columns. `planar_interpolation` does the same. The plane's side is the norm of the
#   weights divided by `distance`, which is documented as the maximum distance. The first "random" direction is drawn
#   from [0, 1] and has no negative entry, so that the first directions of two seeds have a cosine of about 0.75.
#   With the default filter normalisation a new BatchNorm, whose biases are 0, raises ZeroDivisionError.
#   `linear_interpolation` in n steps evaluates 1/n, 2/n, ..., 1 and never the first model. By default all of them move
#   the model that was passed and leave it at the last point.
# Why it matters: sharp valleys get teeth that look like rough terrain, a picture that was meant to be wider is narrower,
#   a barrier relative to the first value is not one relative to the first model, and the next call starts elsewhere.
#   Pass deepcopy_model=True, and take surfaces from an own grid.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.14.1 loss-landscapes==3.0.6
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import loss_landscapes
import numpy as np
import torch

print(*(f"{name} {version(name)}" for name in ("loss-landscapes", "torch", "numpy")))


def model(seed, trained=True):
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3)).double()
    if trained:
        torch.nn.init.normal_(network[1].bias)
    return network.requires_grad_(False)


def vector(network):
    return torch.cat([weights.ravel() for weights in network.parameters()]).numpy().copy()


class Bowl(loss_landscapes.metrics.Metric):
    """Squared distance to a model; keeps the points."""

    def __init__(self, centre):
        super().__init__()
        self.centre, self.points = centre, []

    def __call__(self, wrapper):
        self.points.append(vector(wrapper.modules[0]))
        return float(np.sum((self.points[-1] - self.centre) ** 2))


def plane(distance, seed=3, steps=8, normalization="filter"):
    bowl, start = Bowl(first), model(0)
    torch.manual_seed(seed)
    values = loss_landscapes.random_plane(start, bowl, distance=distance, steps=steps, normalization=normalization)
    points = np.array(bowl.points)
    one = points[2 * steps] - points[0]
    return values, one / 2, points[1] - points[0]


first, second = vector(model(0)), vector(model(1))
values, _, _ = plane(1, normalization=None)
columns = values.argmin(axis=1).tolist()
print("column of the minimum of a round bowl, by row:", columns)
assert columns == [3, 4] * 4

bowl = Bowl(first)
corner = vector(model(2))
loss_landscapes.planar_interpolation(model(0), model(1), model(2), bowl, steps=3, deepcopy_model=True)
grid = (np.array(bowl.points) - first) @ np.linalg.pinv([second - first, corner - first])
print("planar_interpolation visits thirds", (3 * grid).round().astype(int).tolist())
assert sorted((3 * grid[:3, 1]).round()) == [1, 2, 3]
assert sorted((3 * grid[3:6, 1]).round()) == [0, 1, 2]

sides = {distance: np.linalg.norm(8 * plane(distance)[1]) / np.linalg.norm(first) for distance in (0.5, 1, 10)}
print("side of the plane by the norm of the weights, for each distance:", sides)
for distance, side in sides.items():
    assert np.isclose(side, 1 / distance)

directions = [plane(1, seed, normalization=None)[1] for seed in (3, 4)]
cosine = directions[0] @ directions[1] / np.prod([np.linalg.norm(direction) for direction in directions])
print(f"first directions: smallest entry {min(d.min() for d in directions):.1e}, cosine of two seeds {cosine:.2f}")
assert min(direction.min() for direction in directions) > -1e-12
assert 0.6 < cosine < 0.9

try:
    loss_landscapes.random_plane(model(0, trained=False), Bowl(first), steps=4)
except ZeroDivisionError as error:
    print("a new BatchNorm raises:", error)
else:
    raise SystemExit("a new BatchNorm raised nothing")

bowl, moved = Bowl(first), model(0)
loss_landscapes.linear_interpolation(moved, model(1), bowl, steps=4)
along = (np.array(bowl.points) - first) @ (second - first) / np.sum((second - first) ** 2)
print("linear_interpolation in 4 steps evaluates", along.tolist())
assert np.allclose(along, [0.25, 0.5, 0.75, 1])
left = np.linalg.norm(vector(moved) - second) / np.linalg.norm(second - first)
print(f"and leaves the first model at the second: {left:.0e}")
assert left < 1e-6
EOF
