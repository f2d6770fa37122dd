#!/usr/bin/env bash
# PyTorch's counter of floating-point operations counts nothing for nn.LSTM in single precision, and all in double.
#
# Versions: PyTorch 2.13.0 on a CPU, NumPy 2.4.6, Python 3.11.
# Guess before the run: FlopCounterMode counts none of the three recurrent layers, whose kernels are fused, or all of
#   them; the precision changes nothing, and what is counted is the same with and without gradients.
# What happens: nn.GRU and nn.RNN are counted in full. nn.LSTM counts 0 in float32, forward and backward, and in full in
#   float64 or with torch.backends.mkldnn switched off: only its fused oneDNN layer is invisible. nn.Bilinear counts 0,
#   the same product by einsum does not, and a product of a matrix with a vector counts 0, with a matrix of one column in
#   full.
# Why it matters: costs of networks are compared by this counter. An LSTM's is that of its last linear layer, and changes
#   by orders of magnitude with the precision; a single sample through a matrix is free. Count with
#   torch.backends.mkldnn.flags(enabled=False), and batches of two samples or more.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import torch
from torch.utils.flop_counter import FlopCounterMode

print("PyTorch", torch.__version__)


def counted(work):
    with FlopCounterMode(display=False) as counter:
        work()
    return counter.get_total_flops()


samples, steps, inputs, units = 4, 28, 28, 32
x = torch.randn(samples, steps, inputs)
for kind, gates in ((torch.nn.LSTM, 4), (torch.nn.GRU, 3), (torch.nn.RNN, 1)):
    full = samples * steps * 2 * (inputs + units) * gates * units
    for dtype in (torch.float32, torch.float64):
        layer = kind(inputs, units, batch_first=True).to(dtype)
        forward = counted(lambda layer=layer, dtype=dtype: layer(x.to(dtype)))
        both = counted(lambda layer=layer, dtype=dtype: layer(x.to(dtype))[0].sum().backward())
        print(f"{kind.__name__} in {dtype}: forward {forward:,} of {full:,}; with backward {both:,}")
        invisible = kind is torch.nn.LSTM and dtype is torch.float32
        assert forward == (0 if invisible else full)
        assert (both == 0) if invisible else (both > 2 * full)
layer = torch.nn.LSTM(inputs, units, batch_first=True)
with torch.backends.mkldnn.flags(enabled=False):
    without = counted(lambda: layer(x))
print(f"LSTM in float32 without oneDNN: {without:,}")
assert without == samples * steps * 2 * (inputs + units) * 4 * units

a, b, W, v = torch.randn(3, 4), torch.randn(3, 5), torch.randn(6, 4), torch.randn(4)
bilinear = torch.nn.Bilinear(4, 5, 6)
numbers = {
    "Bilinear": counted(lambda: bilinear(a, b)),
    "einsum": counted(lambda: torch.einsum("bi,oij,bj->bo", a, bilinear.weight, b)),
    "matrix with vector": counted(lambda: W @ v),
    "matrix with column": counted(lambda: W @ v[:, None]),
}
print(numbers)
assert numbers["Bilinear"] == numbers["matrix with vector"] == 0
assert numbers["einsum"] > 0
assert numbers["matrix with column"] == 2 * W.numel()
EOF
