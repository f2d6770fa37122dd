#!/usr/bin/env bash
# A new jit(vmap(f)) runs the Python code of f again, unless f itself was jitted.
#
# Versions: JAX 0.10.2 on a CPU, NumPy 2.4.6, Python 3.11.
# Guess before the run: each new `jax.jit(jax.vmap(f))` is a new function and traces f again, whatever f is.
# What happens: for a plain f it does, once for each. For `f = jax.jit(f)` the inner trace of one point is kept: any
#   number of new `jit(vmap(f))`, for batches of any size, and `grad(f)`, run the Python code of f no further time.
# Why it matters: what f does in Python (count evaluations, read a global setting, read captured data) happens once for
#   all. An evaluation counter in f counts neither calls nor compilations, and a setting changed between two wrappers is
#   missed by the second one when f came jitted, and seen when it came plain.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 jax==0.10.2 jaxlib==0.10.2
cd "$dir"
JAX_PLATFORMS=cpu venv/bin/python - <<'EOF'
import jax
import jax.numpy as jnp

print("JAX", jax.__version__)
setting = {"factor": 1.0, "traces": 0}


def plain(x):
    setting["traces"] += 1
    return setting["factor"] * jnp.sum(x**2)


def run(function):
    setting.update(factor=1.0, traces=0)
    function(jnp.ones(3))
    setting["traces"] = 0
    counts, values = [], []
    for factor, batch in ((1.0, 2), (10.0, 2), (100.0, 4)):
        setting["factor"] = factor
        values.append(float(jax.jit(jax.vmap(function))(jnp.ones((batch, 3)))[0]))
        counts.append(setting["traces"])
    jax.grad(function)(jnp.ones(3))
    return counts, values, setting["traces"] - counts[-1]


for name, function, expected in (
    ("plain", plain, ([1, 2, 3], [3.0, 30.0, 300.0], 1)),
    ("jitted", jax.jit(plain), ([0, 0, 0], [3.0, 3.0, 3.0], 0)),
):
    seen = run(function)
    print(name, "f: traces so far and values for factors 1, 10, 100, then traces by grad:", *seen)
    assert seen == expected
EOF
