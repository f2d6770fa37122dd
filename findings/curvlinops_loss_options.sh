#!/usr/bin/env bash
# curvlinops takes losses with class weights, ignore_index, pos_weight or label smoothing, and its Fisher and KFAC
# operators leave these options out, or count them twice, without a word; Hessians of weighted means depend on the batches.
#
# Versions: curvlinops-for-pytorch 3.0.1, PyTorch 2.13.0 on an x86-64 CPU, Python 3.11.
# Guess before the run: an option that an operator cannot take raises; where none does, the sampled Fisher matrix tends to
#   the generalised Gauss-Newton matrix (GGN), and KFAC's block of the last bias is that of the GGN for any kind of targets.
# What happens: for plain cross-entropy, squared and binary losses it is so, to 1 %. With options nothing raises, and
#   - FisherMCLinearOperator is that of the loss without them: class weights leave it off by 33 % of the GGN's norm,
#     ignore_index by 15 %, pos_weight by 65 %, element weights by 80 %;
#   - KFACLinearOperator's block of the last bias is that of the GGN for fisher_type "type-2" only as long as there are no
#     weights of labels (off by 1 % for class weights, by 60 % for pos_weight, 80 % for element weights), and of sampled
#     gradients it is 4.0 times as long as the GGN's for class weights, 5 times for weights of binary labels, and half
#     as long for label smoothing of 0.3;
#   - HessianLinearOperator is exact over one batch, and over two off by 44 % (class weights) and 19 % (ignored labels): the
#     means of batches are averaged by their numbers of samples and not by their weights.
# Why it matters: natural-gradient steps, Laplace approximations and sharpness of networks trained on unbalanced or padded
#   data are those of another loss. Compare with the GGN of one batch, or weigh the samples in the model instead.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0 curvlinops-for-pytorch==3.0.1
cd "$dir"
cat > check.py <<'EOF'
from importlib.metadata import version

import curvlinops as cl
import torch
from torch import nn

torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
parameters = list(net.parameters())
D, bias = sum(p.numel() for p in parameters), slice(-3, None)
inputs, labels = torch.randn(10, 4), torch.randint(0, 3, (10,))
binary = (torch.rand(10, 3) > 0.5).double()
weights = torch.tensor([1.0, 5.0, 0.2])
losses = {
    "cross-entropy": (nn.CrossEntropyLoss(), labels),
    "squared": (nn.MSELoss(), torch.randn(10, 3)),
    "binary": (nn.BCEWithLogitsLoss(), binary),
    "class weights": (nn.CrossEntropyLoss(weight=weights), labels),
    "ignore_index": (nn.CrossEntropyLoss(ignore_index=1), labels),
    "smoothing": (nn.CrossEntropyLoss(label_smoothing=0.3), labels),
    "pos_weight": (nn.BCEWithLogitsLoss(pos_weight=weights), binary),
    "element weights": (nn.BCEWithLogitsLoss(weight=weights), binary),
}


def matrix(kind, loss, data, **options):
    return getattr(cl, kind + "LinearOperator")(net, loss, parameters, data, **options) @ torch.eye(D)


def off(a, b):
    return float((a - b).norm() / b.norm())


found = {}
for name, (loss, targets) in losses.items():
    data = [(inputs, targets)]
    halves = [(inputs[:6], targets[:6]), (inputs[6:], targets[6:])]
    ggn = matrix("GGN", loss, data)
    fisher = off(matrix("FisherMC", loss, data, mc_samples=10000), ggn)
    exact, sampled = (
        matrix("KFAC", loss, data, fisher_type=kind, mc_samples=count)[bias, bias]
        for kind, count in (("type-2", 1), ("mc", 4000))
    )
    last = ggn[bias, bias]
    hessian = off(matrix("Hessian", loss, halves), matrix("Hessian", loss, data))
    found[name] = fisher, off(exact, last), float(sampled.norm() / last.norm()), hessian
    print(
        f"{name}: sampled Fisher off by {fisher:.1%}; KFAC's last bias off by {found[name][1]:.1%}, "
        f"sampled {found[name][2]:.2f} times; Hessian of two batches off by {hessian:.1%}"
    )
print("curvlinops", version("curvlinops-for-pytorch"), "PyTorch", torch.__version__)

for name in ("cross-entropy", "squared", "binary"):
    fisher, exact, sampled, hessian = found[name]
    assert fisher < 0.02 and exact < 1e-12 and abs(sampled - 1) < 0.05 and hessian < 1e-12, (name, found[name])
fisher, exact, sampled, hessian = (dict(zip(found, column)) for column in zip(*found.values()))
assert 0.28 < fisher["class weights"] < 0.38 and 0.12 < fisher["ignore_index"] < 0.18
assert 0.6 < fisher["pos_weight"] < 0.7 and 0.75 < fisher["element weights"] < 0.85
assert 0.005 < exact["class weights"] < 0.02 and 0.55 < exact["pos_weight"] < 0.65 and 0.75 < exact["element weights"] < 0.85
assert sampled["class weights"] > 3.5 and min(sampled["pos_weight"], sampled["element weights"]) > 4.5
assert exact["smoothing"] < 1e-12 and 0.4 < sampled["smoothing"] < 0.6
assert 0.38 < hessian["class weights"] < 0.5 and 0.15 < hessian["ignore_index"] < 0.24
print("as stated")
EOF
"$dir/venv/bin/python" check.py
