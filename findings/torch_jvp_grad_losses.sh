#!/usr/bin/env bash
# Forward over reverse differentiation of PyTorch's own losses works or raises by the way it is written.
#
# Versions: PyTorch 2.14.1 on a CPU, NumPy 2.4.6, Python 3.11.
# Guess before the run: a loss that can be differentiated twice backward can be by jvp of grad, and jvp of grad and jvp
#   of jacrev, the same formula for a scalar, raise for the same losses.
# What happens: mse_loss with its default mean raises "ZeroTensors are immutable" in jvp of grad; with the sum, without
#   reduction, or written out it gives the right product, and so it does in jvp of jacrev. huber_loss behaves so too,
#   with "does not support it". soft_margin_loss raises in both and has a double backward. Cross-entropy, binary
#   cross-entropy, nll, kl_div, l1, smooth_l1, Poisson, Gaussian, hinge, cosine and triplet losses work in both.
# Why it matters: LayerNorm is the other way round: right in jvp of grad and silently wrong in jvp of jacrev. A
#   regression by mse_loss through LayerNorm has no forward over reverse product that is right: one raises, and who
#   replaces it by the other gets a wrong Hessian. Use double backward, or write the mean squared error out. The error
#   of mse_loss is known upstream.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.14.1
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import torch
import torch.nn.functional as F
from torch.func import grad, jacrev, jvp

print("PyTorch", torch.__version__)
torch.manual_seed(0)
x, target = 0.1 + 0.8 * torch.rand(2, 6, 3, dtype=torch.float64)
share = target / target.sum(1, keepdim=True)
sign, label = torch.sign(target - 0.5), torch.arange(6) % 3
weights, direction = torch.randn(2, 3, 3, dtype=torch.float64)
BOTH, REVERSED, NONE = "right right", "raises right", "raises raises"
LOSSES = {
    "mse_loss": (lambda p: F.mse_loss(p, target), REVERSED),
    "mse_loss, sum": (lambda p: F.mse_loss(p, target, reduction="sum"), BOTH),
    "mse_loss, none, then mean": (lambda p: F.mse_loss(p, target, reduction="none").mean(), BOTH),
    "mean square written out": (lambda p: ((p - target) ** 2).mean(), BOTH),
    "huber_loss": (lambda p: F.huber_loss(p, target), REVERSED),
    "smooth_l1_loss": (lambda p: F.smooth_l1_loss(p, target), BOTH),
    "l1_loss": (lambda p: F.l1_loss(p, target), BOTH),
    "soft_margin_loss": (lambda p: F.soft_margin_loss(p, sign), NONE),
    "cross_entropy": (lambda p: F.cross_entropy(p, label), BOTH),
    "nll_loss": (lambda p: F.nll_loss(F.log_softmax(p, 1), label), BOTH),
    "kl_div": (lambda p: F.kl_div(F.log_softmax(p, 1), share, reduction="batchmean"), BOTH),
    "binary_cross_entropy": (lambda p: F.binary_cross_entropy(p, target), BOTH),
    "binary_cross_entropy_with_logits": (lambda p: F.binary_cross_entropy_with_logits(p, target), BOTH),
    "poisson_nll_loss": (lambda p: F.poisson_nll_loss(p, target), BOTH),
    "gaussian_nll_loss": (lambda p: F.gaussian_nll_loss(p, target, torch.ones_like(target)), BOTH),
    "hinge_embedding_loss": (lambda p: F.hinge_embedding_loss(p, sign), BOTH),
    "cosine_embedding_loss": (lambda p: F.cosine_embedding_loss(p, target, sign[:, 0]), BOTH),
    "triplet_margin_loss": (lambda p: F.triplet_margin_loss(p, target, x), BOTH),
}


def outcome(differentiate, loss, w, v):
    reference = torch.autograd.functional.hvp(loss, w, v)[1]
    try:
        product = jvp(differentiate(loss), (w,), (v,))[1]
    except RuntimeError as error:
        return "raises", str(error).split(".")[0]
    return ("right" if (product - reference).abs().max() <= 1e-10 * reference.abs().max() else "wrong"), ""


def both(loss, w, v):
    seen, said = zip(*(outcome(d, loss, w, v) for d in (grad, jacrev)), strict=True)
    return " ".join(seen), next((text for text in said if text), "")


for name, (loss, expected) in LOSSES.items():
    seen, said = both(lambda w, loss=loss: loss(torch.sigmoid(x @ w)), weights, direction)
    print(f"{name}: jvp of grad, of jacrev: {seen} {said}")
    assert seen == expected


def regression(z):
    return F.mse_loss(F.layer_norm(x @ z[:9].reshape(3, 3), (3,), z[9:]), target)


seen, said = both(
    regression, torch.cat([weights.ravel(), torch.ones(3)]), torch.ones(12, dtype=torch.float64).cumsum(0)
)
print("mse_loss through LayerNorm:", seen, said)
assert seen == "raises wrong"
EOF
