#!/usr/bin/env bash
# A backward pass of PyTorch takes ten times as long once a classifier fits its samples, and set_flush_denormal reaches
# only the thread that calls it.
#
# Versions: PyTorch 2.13.0 on an x86-64 CPU, Python 3.11.
# Guess before the run: the time of a backward pass depends on shapes alone, at most by a factor of 2 on the numbers;
#   torch.set_flush_denormal is a setting of the process, since its documentation names no thread.
# What happens: with sharp logits the softmax of most classes underflows gradually. These slopes, and their products with
#   weights, are subnormal numbers of float32, and the same backward pass of three linear layers takes about ten times as
#   long as with flat logits. torch.set_flush_denormal(True) brings the time back on one thread. With two threads that
#   run already it flushes the part of a tensor that the calling thread computes and not the other: one multiplication
#   returns zeros in one half and subnormal numbers in the other.
# Why it matters: paths and Hessians between trained weights are computed exactly where this happens, and costs that
#   were measured at random weights are too low. Set slopes by the outputs to zero where they are negligible (a hook on
#   the outputs of the module), or set the flag before the first parallel operation.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
cd "$dir"
cat > speed.py <<'EOF'
import time

import torch
from torch import nn

torch.set_num_threads(1)
x = torch.randn(1000, 100, generator=torch.Generator().manual_seed(0))


def backward(sharper):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(100, 200), nn.Softplus(), nn.Linear(200, 200), nn.Softplus(), nn.Linear(200, 10))
    with torch.no_grad():
        net[4].weight *= sharper
    y, best = net(x).argmax(1), float("inf")
    for _ in range(7):
        net.zero_grad()
        loss = nn.functional.cross_entropy(net(x), y)
        start = time.process_time()
        loss.backward()
        best = min(best, time.process_time() - start)
    return best


print("PyTorch", torch.__version__)
ratios = []
for flush in (False, True):
    assert torch.set_flush_denormal(flush)
    ratios.append(backward(800) / backward(1))
    print(f"flushed {flush}: sharp logits take {ratios[-1]:.1f} times as long as flat ones")
assert ratios[0] > 3 > 2 > ratios[1]
EOF
cat > threads.py <<'EOF'
import torch

torch.set_num_threads(2)
x = torch.full((4_000_000,), 1e-38)


def kept():
    return float((x * 0.1 != 0).float().mean())


before = kept()
torch.set_flush_denormal(True)
after = kept()
print(f"two threads: {before:.0%} of the products are not zero, after set_flush_denormal(True) {after:.0%}")
assert before == 1.0
assert 0.2 < after < 0.8
EOF
venv/bin/python -W ignore speed.py
venv/bin/python -W ignore threads.py
