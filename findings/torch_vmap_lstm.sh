#!/usr/bin/env bash
# torch.func.vmap over the weights of a recurrent layer fails for values and works for values with gradients.
#
# Versions: PyTorch 2.13.0 on a CPU, NumPy 2.4.6, Python 3.11.
# Guess before the run: a batch of weights goes through nn.LSTM, nn.GRU and nn.RNN, or it fails alike with and without
#   gradients; the harder request cannot work where the easier one raises.
# What happens: vmap of the loss raises RuntimeError (no batching rule for aten::lstm.input, and no fallback), also
#   under no_grad. vmap of grad_and_value of the same loss returns values equal to those of a loop, and gradients: with
#   gradients the layer takes another route. For the LSTM alone that route is slow and warns so.
# Why it matters: a program that evaluates many parameter vectors at once for a loss surface, and tests the batch by its
#   gradients, finds no fault and then fails on the plain values, or the reverse: falls back to a loop without need.
#   Take values from grad_and_value for such layers.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import torch
from torch.func import functional_call, grad_and_value, vmap

print("PyTorch", torch.__version__)
torch.manual_seed(0)
inputs = torch.randn(5, 6, 3)
for kind in (torch.nn.LSTM, torch.nn.GRU, torch.nn.RNN):
    layer = kind(3, 4, batch_first=True)
    stack = {name: torch.stack([w.detach(), 1.1 * w.detach()]) for name, w in layer.named_parameters()}

    def loss(weights, layer=layer):
        return (functional_call(layer, weights, (inputs,))[0] ** 2).mean()

    for context in (torch.enable_grad, torch.no_grad):
        with context():
            try:
                vmap(loss)(stack)
            except RuntimeError as error:
                print(kind.__name__, "values,", context.__name__, "raises:", str(error).split(".")[0])
            else:
                raise SystemExit(f"{kind.__name__}: values came back")
    _, values = vmap(grad_and_value(loss))(stack)
    loop = torch.stack([loss({name: w[k] for name, w in stack.items()}) for k in range(2)])
    print(kind.__name__, "values with gradients:", values.tolist(), "loop:", loop.tolist())
    assert torch.allclose(values, loop, rtol=1e-5)
EOF
