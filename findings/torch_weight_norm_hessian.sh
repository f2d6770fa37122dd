#!/usr/bin/env bash
# PyTorch's weight normalisation returns wrong second derivatives without a word: the derivative of the norm is missing.
#
# Versions: PyTorch 2.13.0 on an x86-64 CPU, Python 3.11.
# Guess before the run: a built-in operation that allows a second backward pass passes gradgradcheck, and its Hessian is
#   that of the formula g v / |v|; where an operation cannot be differentiated twice it raises.
# What happens: values and gradients of torch.nn.utils.parametrizations.weight_norm agree with the formula written out, to
#   rounding. The Hessian by autograd differs by 0.6 to 2 times its largest entry, is not symmetric, and gradgradcheck fails.
#   It does so where the norm is taken over all axes but the first or the last, which is the default. Over all axes but a
#   middle one, or over all axes (dim=None), another implementation is taken, and the Hessian is right.
# Why it matters: Hessian-vector products, Lanczos spectra, gradient penalties and influence functions of networks with
#   weight normalisation are wrong. A matrix that is not symmetric gives it away: compare u·(Hv) with v·(Hu) before
#   trusting products, and take differences of gradients where they disagree.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
cd "$dir"
cat > check.py <<'EOF'
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils.parametrizations import weight_norm

torch.set_default_dtype(torch.float64)
name = "parametrizations.weight.original1"


def compare(dim):
    torch.manual_seed(0)
    layer = weight_norm(nn.Conv1d(3, 4, 2), dim=dim)
    g, v = (getattr(layer.parametrizations.weight, f"original{k}").detach() for k in (0, 1))
    x, axes = torch.randn(5, 3, 6), [k for k in range(3) if k != dim]

    def built_in(v):
        return functional_call(layer, {name: v}, (x,)).tanh().square().sum()

    def by_hand(v):
        weight = g * v / v.square().sum(axes, keepdim=True).sqrt()
        return nn.functional.conv1d(x, weight, layer.bias).tanh().square().sum()

    def off(of):
        a, b = of(built_in), of(by_hand)
        return float((a - b).abs().max() / b.abs().max())

    def hessian(f):
        return torch.autograd.functional.hessian(f, v).reshape(v.numel(), -1)

    H = hessian(built_in)
    asymmetry = float((H - H.T).abs().max() / H.abs().max())
    passes = torch.autograd.gradgradcheck(built_in, v.clone().requires_grad_(), raise_exception=False)
    found = off(lambda f: f(v)), off(lambda f: torch.autograd.functional.jacobian(f, v)), off(hessian)
    print(f"dim {dim}: value, gradient, Hessian off by {found[0]:.0e}, {found[1]:.0e}, {found[2]:.2g};", end=" ")
    print(f"asymmetry {asymmetry:.2g}; gradgradcheck {'passes' if passes else 'fails'}")
    return *found, asymmetry, passes


print("PyTorch", torch.__version__)
for dim in (0, 2):
    value, gradient, second, asymmetry, passes = compare(dim)
    assert max(value, gradient) < 1e-12
    assert second > 0.1 and asymmetry > 0.01 and not passes
for dim in (1, None):
    value, gradient, second, asymmetry, passes = compare(dim)
    assert max(value, gradient, second, asymmetry) < 1e-12 and passes
EOF
venv/bin/python -W ignore check.py
