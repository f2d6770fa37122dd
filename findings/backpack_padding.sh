#!/usr/bin/env bash
# BackPACK and NNGeometry take the padding of every convolution for zeros: curvatures and gradients of single samples are
# wrong without a word.
#
# Versions: BackPACK 1.7.1, NNGeometry 0.4, PyTorch 2.13.0, Python 3.11.
# Guess before the run: BackPACK refuses what it does not support, as it does class weights and GELU; NNGeometry may not.
# What happens: with padding_mode="circular", "reflect" or "replicate" the loss and its gradient are PyTorch's own, and
#   right. BackPACK's diagonal of the Hessian is off by more than half of its largest entry, and its gradients of single
#   samples do not add up to the gradient. The diagonal of NNGeometry's Fisher matrix is off too. padding="same" is zero
#   padding under another name: BackPACK's gradients of single samples are wrong there as well, while its Hessian raises.
#   AvgPool2d(divisor_override=3) is taken for a mean in BackPACK's Hessian.
# Why it matters: the numbers have plausible sizes. Compare the sum of BackPACK's gradients of single samples with
#   .grad, which is right, before any of its curvatures is believed.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0 backpack-for-pytorch==1.7.1 nngeometry==0.4
cd "$dir"
venv/bin/python -W ignore - <<'EOF'
import warnings

warnings.simplefilter("ignore")
import torch
from backpack import backpack, extend
from backpack.extensions import BatchGrad, DiagHessian
from nngeometry.metrics import FIM
from nngeometry.object import PMatDiag
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
x, y = torch.randn(6, 2, 5, 5), torch.randint(0, 3, (6,))


def network(pool=None, **padding):
    torch.manual_seed(1)
    after = [] if pool is None else [pool]
    n = nn.Sequential(nn.Conv2d(2, 3, 3, **padding), *after)(x).flatten(1).shape[1]
    return nn.Sequential(nn.Conv2d(2, 3, 3, **padding), nn.Sigmoid(), *after, nn.Flatten(), nn.Linear(n, 3))


def off(found, right):
    return float((found - right).abs().max() / right.abs().max())


def backpacks(extension, name, **options):
    net, loss = network(**options), nn.CrossEntropyLoss()
    weight = net[0].weight
    (slope,) = torch.autograd.grad(loss(net(x), y), weight, create_graph=True)
    right = slope.detach()
    if extension is DiagHessian:
        rows = [torch.autograd.grad(s, weight, retain_graph=True)[0].flatten()[k] for k, s in enumerate(slope.flatten())]
        right = torch.stack(rows).view_as(weight)
    try:
        with backpack(extension()):
            extend(loss)(extend(net)(x), y).backward()
    except Exception as error:
        return type(error).__name__
    found = getattr(weight, name)
    return off(found.sum(0) if extension is BatchGrad else found, right)


def fisher(**options):
    net = network(**options)
    parameters, right = list(net.parameters()), 0.0
    for sample in x:
        logs = nn.functional.log_softmax(net(sample[None]), 1)[0]
        for log in logs:
            slopes = torch.autograd.grad(log, parameters, retain_graph=True)
            right = right + log.detach().exp() * torch.cat([s.flatten() for s in slopes]) ** 2 / len(x)
    found = FIM(model=net, loader=DataLoader(TensorDataset(x, y), batch_size=6), representation=PMatDiag)
    n = net[0].weight.numel()
    return off(found.get_diag()[:n], right[:n])


print("PyTorch", torch.__version__)
print(f"{'':28} single gradients  diagonal of H  Fisher matrix   (error, of the largest entry)")
cases = {
    "zeros": {"padding": 1},
    "circular": {"padding": 1, "padding_mode": "circular"},
    "reflect": {"padding": 1, "padding_mode": "reflect"},
    "replicate": {"padding": 1, "padding_mode": "replicate"},
    "same": {"padding": "same"},
    "average pool, divisor 3": {"padding": 1, "pool": nn.AvgPool2d(2, divisor_override=3)},
}
seen = {}
for name, options in cases.items():
    numbers = [backpacks(BatchGrad, "grad_batch", **options), backpacks(DiagHessian, "diag_h", **options)]
    if name in ("zeros", "circular", "reflect", "replicate"):
        numbers.append(fisher(**options))
    seen[name] = numbers
    print(f"{name:28}", *(f"{n:14.2g}" if isinstance(n, float) else f"{n:>14}" for n in numbers))
assert max(seen["zeros"]) < 1e-12
for name in ("circular", "reflect", "replicate"):
    assert min(seen[name]) > 0.1, name
assert seen["same"][0] > 0.1
assert seen["same"][1] == "TypeError"
assert seen["average pool, divisor 3"][0] < 1e-12
assert seen["average pool, divisor 3"][1] > 0.05
EOF
