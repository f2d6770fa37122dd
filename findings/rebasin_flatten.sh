#!/usr/bin/env bash
# Aligning two convolutional networks with rebasin changes what the aligned network computes, where a Flatten joins the
# channels to a fully connected layer.
#
# Versions: rebasin 0.0.47, PyTorch 2.13.0, torchview 0.2.7, Python 3.11.
# Guess before the run: a permutation of hidden units leaves the outputs alone, the package requires just that, and a layer
#   after a Flatten is the commonest end of a small CNN: outputs stay the same to rounding; grouped convolutions and a
#   layer that is applied several times are refused.
# What happens: nothing is refused and nothing is said. Multilayer perceptrons, residual blocks and a CNN with global pooling
#   keep their outputs to rounding. With a Flatten over 16 pixels a channel, with a grouped convolution, and with a layer
#   that is applied three times, outputs change by as much as they are large.
# Why it matters: the barrier to such an "aligned" network belongs to another network. Compare the outputs before and after.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet torch==2.13.0+cpu --extra-index-url https://download.pytorch.org/whl/cpu
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 rebasin==0.0.47 torchview==0.2.7
cd "$dir"
venv/bin/python - <<'EOF'
from importlib.metadata import version

import torch
from rebasin import PermutationCoordinateDescent
from torch import nn
from torch.nn import functional

print("rebasin", version("rebasin"), "torchview", version("torchview"), "PyTorch", torch.__version__)


class Convolutions(nn.Module):
    def __init__(self, pooled=False, groups=1):
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3, groups=groups)
        self.pool = nn.AdaptiveAvgPool2d(1) if pooled else nn.Identity()
        self.last = nn.Linear(8 if pooled else 8 * 16, 10)

    def forward(self, x):
        return self.last(self.pool(torch.relu(self.second(torch.relu(self.first(x))))).flatten(1))


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.block, self.norm, self.last = (
            nn.Linear(6, 8), nn.Linear(8, 8), nn.LayerNorm(8), nn.Linear(8, 3)
        )

    def forward(self, x):
        h = torch.relu(self.first(x))
        return self.last(h + torch.relu(self.block(self.norm(h))))


class Repeated(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.again, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = torch.relu(self.first(x))
        for _ in range(3):
            h = torch.relu(self.again(h))
        return self.last(h)


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


torch.manual_seed(0)
rows, images = torch.randn(20, 6), torch.randn(5, 1, 8, 8)
cases = {
    "multilayer perceptron": (mlp, rows, True),
    "residual block with LayerNorm": (Residual, rows, True),
    "convolutions, global pooling": (lambda: Convolutions(pooled=True), images, True),
    "convolutions, Flatten": (Convolutions, images, False),
    "grouped convolution, Flatten": (lambda: Convolutions(groups=4), images, False),
    "one layer applied three times": (Repeated, rows, False),
}
for name, (make, x, keeps) in cases.items():
    one, other = make().eval(), make().eval()
    with torch.no_grad():
        before = other(x)
    PermutationCoordinateDescent(one, other, x).rebasin()
    with torch.no_grad():
        change = float((other(x) - before).abs().max() / before.abs().max())
    print(f"{name}: outputs change by {change:.1e} of the largest")
    assert change < 1e-5 if keeps else change > 0.1, name
EOF
