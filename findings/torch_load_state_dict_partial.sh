#!/usr/bin/env bash
# A strict load_state_dict that raises has already changed the model.
#
# Versions: PyTorch 2.13.0 on a CPU, NumPy 2.4.6, Python 3.11.
# Guess before the run: `load_state_dict(state, strict=True)` checks all names and shapes first; after its RuntimeError
#   the model has its old weights.
# What happens: every tensor whose name and shape fit is copied, before and after the faulty one, and the error comes
#   last. With a wrong shape, a missing name or a name too many, the model is a mixture of two networks.
# Why it matters: a program that tries a checkpoint on a model and catches the error goes on with weights that are on no
#   path between anything: a starting point, an average or an endpoint of a low-loss path is silently another one.
#   Compare names and shapes before the call, or load into a copy.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'EOF'
import torch

print("PyTorch", torch.__version__)
NAMES = ["0.weight", "0.bias", "1.weight", "1.bias"]


def overwritten(change):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Linear(3, 1))
    state = {name: torch.full_like(tensor, 7.0) for name, tensor in model.state_dict().items()}
    change(state)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError:
        return [name for name, tensor in model.state_dict().items() if bool((tensor == 7).all())]
    raise SystemExit("no error was raised")


def wrong_shape(state):
    state["0.bias"] = torch.zeros(9)


def missing(state):
    del state["0.bias"]


def too_many(state):
    state["2.bias"] = torch.zeros(1)


for change, kept in ((wrong_shape, ["0.bias"]), (missing, ["0.bias"]), (too_many, [])):
    seen = overwritten(change)
    print(f"{change.__name__}: RuntimeError, and overwritten all the same: {seen}")
    assert seen == [name for name in NAMES if name not in kept]
EOF
