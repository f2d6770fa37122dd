#!/usr/bin/env bash
# On a CPU a convolution inside lax.scan takes 14 to 20 times as long as outside; a matrix product does not.
#
# Versions: JAX 0.10.2 on a CPU, NumPy 2.4.6, Python 3.11.
# Guess before the run: one compiled loop over four mini-batches takes as long as four compiled calls, or a little less.
# What happens: the sum of x @ w over the mini-batches takes about as long either way, that of a convolution of 8 by 16
#   channels, 5 x 5, takes 14 to 20 times the processor time in the loop, value and gradient alike. The results agree.
#   Required here: 5 times for convolutions, less than 3 times for products, processor time of one thread.
# Why it matters: a loss over data is summed in a scan so that memory stays bounded and nothing is dispatched in between.
#   For convolutional networks on a CPU a Python loop over mini-batches is the fast way.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 jax==0.10.2 jaxlib==0.10.2
cd "$dir"
JAX_PLATFORMS=cpu XLA_FLAGS=--xla_cpu_multi_thread_eigen=false venv/bin/python - <<'EOF'
import time

import jax
import jax.numpy as jnp
import numpy as np

print("JAX", jax.__version__)
rng = np.random.default_rng(0)


def ratio(function, w, batches):
    call = jax.jit(function)
    loop = jax.jit(lambda w, xs: jax.lax.scan(lambda s, x: (s + function(w, x), None), 0 * function(w, xs[0]), xs)[0])

    def apart():
        return sum(jax.block_until_ready(call(w, x)) for x in batches)

    def together():
        return jax.block_until_ready(loop(w, batches))

    one, other = np.asarray(apart()), np.asarray(together())
    assert np.abs(one - other).max() < 1e-3 * np.abs(one).max()
    best = [np.inf, np.inf]
    for _ in range(9):
        for k, run in enumerate((apart, together)):
            start = time.process_time()
            run()
            best[k] = min(best[k], time.process_time() - start)
    return best[1] / best[0]


def convolved(w, x):
    return jnp.sum(jax.lax.conv_general_dilated(x, w, (1, 1), "VALID") ** 2)


def multiplied(w, x):
    return jnp.sum((x @ w) ** 2)


images = jnp.asarray(rng.standard_normal((4, 128, 8, 12, 12)), "float32")
kernels = jnp.asarray(rng.standard_normal((16, 8, 5, 5)), "float32")
rows, weights = (jnp.asarray(rng.standard_normal(shape), "float32") for shape in ((4, 2048, 256), (256, 256)))
found = {
    "convolution, value": (ratio(convolved, kernels, images), True),
    "convolution, gradient": (ratio(jax.grad(convolved), kernels, images), True),
    "product, value": (ratio(multiplied, weights, rows), False),
    "product, gradient": (ratio(jax.grad(multiplied), weights, rows), False),
}
for name, (times, slow) in found.items():
    print(f"{name}: the loop takes {times:.2f} times as long as calls")
    assert times > 5 if slow else times < 3
EOF
