#!/usr/bin/env bash
# A NumPy array of 64 bits that a jitted JAX function captured is old for all later JAX calls, also as an argument.
#
# Versions: JAX 0.10.2 on a CPU, NumPy 2.4.6, Python 3.11.
# Guess before the run: a captured array is compiled in, so that this one function misses a later change in place;
#   other functions, `jnp.asarray` and arguments see the new numbers.
# What happens: in the default 32-bit mode a float64 or int64 array is converted once, and the conversion stays attached
#   to the array object while the compiled function lives. After `data[:] = 5` an unrelated jitted function that gets
#   `data` as its argument, `jnp.asarray(data)`, `jnp.array(data)` and `jnp.sum(data)` all return the old numbers;
#   `data.copy()` gives the new ones, and so does `data` after the captured function is deleted. A float32 array, or
#   64-bit mode, shows the change everywhere but in the function that was compiled. No warning in either case.
# Why it matters: a loss that holds its data in a NumPy buffer (a batch that is refilled, noise drawn anew) gives the
#   landscape of the first batch for ever, in check code too: the comparison with a freshly written function agrees.
#   Pass data as jax arrays, and never write into a buffer that JAX has seen.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 jax==0.10.2 jaxlib==0.10.2
cd "$dir"
JAX_PLATFORMS=cpu venv/bin/python -W error::UserWarning - <<'EOF'
import gc

import jax
import jax.numpy as jnp
import numpy as np

print("JAX", jax.__version__, "NumPy", np.__version__)


def after_the_change(dtype):
    data = np.ones(3, dtype)
    captured = jax.jit(lambda x: x + data)
    captured(jnp.zeros(3))
    data[:] = 5
    seen = {
        "captured": float(captured(jnp.zeros(3))[0]),
        "argument of another": float(jax.jit(lambda x, y: x + y)(jnp.zeros(3), data)[0]),
        "asarray": float(jnp.asarray(data)[0]),
        "array": float(jnp.array(data)[0]),
        "sum": float(jnp.sum(data)),
        "newly written": float(jax.jit(lambda x: x + data)(jnp.zeros(3))[0]),
        "copy": float(jnp.asarray(data.copy())[0]),
    }
    del captured
    gc.collect()
    return seen | {"after deletion": float(jnp.asarray(data)[0])}


ways = ("captured", "argument of another", "asarray", "array", "sum", "newly written", "copy", "after deletion")
old = dict(zip(ways, (1.0, 1.0, 1.0, 1.0, 3.0, 1.0, 5.0, 5.0)))
new = dict(zip(ways, (1.0, 5.0, 5.0, 5.0, 15.0, 5.0, 5.0, 5.0)))
for bits, dtype, expected in ((32, "float64", old), (32, "int64", old), (32, "float32", new), (64, "float64", new)):
    jax.config.update("jax_enable_x64", bits == 64)
    seen = after_the_change(dtype)
    print(f"{bits}-bit mode, {dtype}, ones changed to fives:", seen)
    assert seen == expected
EOF
