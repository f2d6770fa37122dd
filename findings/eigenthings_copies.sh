#!/usr/bin/env bash
# Above 50 iterations hessian-eigenthings' Lanczos method returns one eigenvalue several times, as converged.
#
# Versions: hessian-eigenthings 1.0.0a5, PyTorch 2.14.1 on a CPU, Python 3.11.
# Guess before the run: more iterations of `lanczos` make the k eigenvalues that it returns more accurate.
# What happens: up to `max_iter=50` they are right. From 51 on its default switches reorthogonalisation off, and of a
#   spectrum with one large eigenvalue, as networks have, all k are copies of that one, each marked as converged.
#   `reorthogonalize=True` returns the right ones.
# Why it matters: whoever asks for more accuracy takes the second and third eigenvalue for as large as the first, and a
#   sum over the top of the spectrum is several times too large.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet torch==2.14.1 hessian-eigenthings==1.0.0a5
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
import hessian_eigenthings
import torch
from hessian_eigenthings import LambdaOperator, lanczos

print("PyTorch", torch.__version__, "hessian-eigenthings", hessian_eigenthings.__version__)
bulk, outliers = torch.linspace(-0.05, 0.05, 290), torch.tensor([-0.3, -0.2, 0.7, 1.0, 1.8, 3.0])
eigenvalues = torch.cat([bulk, outliers]).double()
operator = LambdaOperator(lambda v: eigenvalues * v, size=len(eigenvalues), dtype=torch.float64)
right = eigenvalues.sort(descending=True).values[:3]
for steps in (40, 50, 51, 100, 200):
    found = lanczos(operator, k=3, max_iter=steps, which="LA", tol=1e-8, seed=0)
    whole = lanczos(operator, k=3, max_iter=steps, which="LA", tol=1e-8, seed=0, reorthogonalize=True)
    print(steps, "iterations:", found.eigenvalues.tolist(), "converged", found.converged.tolist())
    assert bool(found.converged.all())
    assert torch.allclose(whole.eigenvalues, right)
    assert torch.allclose(found.eigenvalues, right if steps <= 50 else right[:1].expand(3))
EOF
