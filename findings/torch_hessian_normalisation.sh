#!/usr/bin/env bash
# torch.func.hessian is silently wrong for the weights of LayerNorm and of BatchNorm in training mode.
#
# Versions: PyTorch 2.14.1 on a CPU, NumPy 2.4.6, Python 3.11.
# Guess before the run: `hessian` (forward over reverse, jacfwd of jacrev), jacfwd of grad and double backward
#   (torch.autograd.functional.hessian) agree to rounding, and what cannot be differentiated raises.
# What happens: jacfwd of grad agrees with double backward to rounding. `hessian`, and `jvp` of `jacrev`, return other
#   numbers in the rows of the normalisation's weight, without a warning, so that the matrix is not symmetric. GroupNorm,
#   RMSNorm and BatchNorm with running statistics agree. At a minimum of a small classifier with LayerNorm the smallest
#   eigenvalue is 0.005; by `hessian` it is below -0.01, also after the matrix is made symmetric, and more than one is
#   negative. The products with the weight alone are right, so that a test of this block, or of the trace, sees nothing.
# Why it matters: a converged minimum of a transformer looks like a saddle, and a Lanczos method for symmetric matrices
#   works on one that is not. Packages that differentiate `jacrev` forward inherit it. Use jvp of `grad`, or double
#   backward, and test a product for symmetry between layers. The same fault of nested `jvp` is known upstream.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.14.1
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import torch
from torch import nn
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp

print("PyTorch", torch.__version__)
torch.manual_seed(0)
x = torch.randn(60, 4, dtype=torch.float64)
y = (x[:, 0] * x[:, 1] > 0).long() + (x[:, 2] > 1).long()


def problem(norm):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(4, 6), norm, nn.Tanh(), nn.Linear(6, 3)).double()
    weights = {name: w.detach() for name, w in model.named_parameters()}
    sizes = [w.numel() for w in weights.values()]

    def loss(z):
        parts = {n: part.reshape(weights[n].shape) for n, part in zip(weights, z.split(sizes), strict=True)}
        return nn.functional.cross_entropy(functional_call(model, parts, (x,)), y) + 0.01 * (z**2).sum()

    return loss, torch.cat([w.reshape(-1) for w in weights.values()]), dict(zip(weights, sizes, strict=True))


def wrong_rows(error, sizes):
    rows = zip(sizes, error.abs().amax(1).split(list(sizes.values())), strict=True)
    return {name: float(row.max()) for name, row in rows if row.max() > 1e-9}


for norm, fails in (
    (nn.LayerNorm(6), True),
    (nn.BatchNorm1d(6, track_running_stats=False), True),
    (nn.BatchNorm1d(6).eval(), False),
    (nn.GroupNorm(2, 6), False),
    (nn.RMSNorm(6), False),
):
    loss, z, sizes = problem(norm)
    right = torch.autograd.functional.hessian(loss, z)
    forward, got = jacfwd(grad(loss))(z), hessian(loss)(z)
    rows = wrong_rows(got - right, sizes)
    print(f"{norm}: jacfwd(grad) differs by {(forward - right).abs().max():.0e}, hessian in", rows or "no row")
    assert (forward - right).abs().max() < 1e-10
    assert list(rows) == (["1.weight"] if fails else [])
    if fails:
        assert min(rows.values()) > 0.01
        assert (got - got.T).abs().max() > 0.01
        one = torch.zeros_like(z)
        one[0] = 1
        product = jvp(jacrev(loss), (z,), (one,))[1]
        assert (product - got[:, 0]).abs().max() < 1e-12
        start = sizes["0.weight"] + sizes["0.bias"]
        block = slice(start, start + sizes["1.weight"])
        assert (got - right)[block, block].abs().max() < 1e-12

loss, z, _ = problem(nn.LayerNorm(6))
z.requires_grad_()
optimiser = torch.optim.LBFGS(
    [z], max_iter=3000, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
)


def closure():
    optimiser.zero_grad()
    value = loss(z)
    value.backward()
    return value


optimiser.step(closure)
z = z.detach()
got = hessian(loss)(z)
right = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, z))
wrong = torch.linalg.eigvalsh((got + got.T) / 2)
print(f"minimum: |gradient| {grad(loss)(z).abs().max():.0e}; smallest eigenvalues {right[:3].tolist()}")
print("by hessian, made symmetric:", wrong[:3].tolist())
assert grad(loss)(z).abs().max() < 1e-4
assert right[0] > 1e-3
assert wrong[0] < -0.01
assert (wrong < -1e-3).sum() > 1
EOF
