#!/usr/bin/env bash
# The cost analysis of a compiled JAX function counts the body of a loop once, however often it runs.
#
# Versions: JAX 0.10.2 on a CPU, NumPy 2.4.6, Python 3.11.
# Guess before the run: `scan` and `fori_loop` have a known number of turns, so `compile().cost_analysis()["flops"]`
#   multiplies by it, as the same steps written out do; only `while_loop` cannot.
# What happens: 28 turns count like one, of `scan`, of `fori_loop` with fixed bounds and of `while_loop`, before and after
#   compilation. Written out, the same steps count 28 times as much. `lax.map` over 64 rows counts one row, `vmap` all 64.
# Why it matters: the operations of recurrent networks are estimated too low by the length of the sequence, and those of
#   anything mapped over samples with `lax.map` by their number, next to networks without loops that are counted in full.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 jax==0.10.2 jaxlib==0.10.2
cd "$dir"
JAX_PLATFORMS=cpu venv/bin/python - <<'EOF'
import jax
import jax.numpy as jnp
from jax import lax

print("JAX", jax.__version__)
x, w = jnp.ones((64, 32)), jnp.ones((32, 32))
once = 2 * 64 * 32 * 32


def written_out(x, w):
    for _ in range(28):
        x = jnp.tanh(x @ w)
    return x


functions = {
    "scan, 1 turn": (lambda x, w: lax.scan(lambda h, _: (jnp.tanh(h @ w), None), x, None, 1)[0], 1),
    "scan, 28 turns": (lambda x, w: lax.scan(lambda h, _: (jnp.tanh(h @ w), None), x, None, 28)[0], 1),
    "fori_loop, 28 turns": (lambda x, w: lax.fori_loop(0, 28, lambda i, h: jnp.tanh(h @ w), x), 1),
    "while_loop, 28 turns": (
        lambda x, w: lax.while_loop(lambda s: s[0] < 28, lambda s: (s[0] + 1, jnp.tanh(s[1] @ w)), (0, x))[1],
        1,
    ),
    "28 steps written out": (written_out, 28),
    "map over 64 rows": (lambda x, w: lax.map(lambda row: jnp.tanh(row @ w), x), 1 / 64),
    "vmap over 64 rows": (lambda x, w: jax.vmap(lambda row: jnp.tanh(row @ w))(x), 1),
}
for name, (function, expected) in functions.items():
    lowered = jax.jit(function).lower(x, w)
    counts = [each.cost_analysis()["flops"] / once for each in (lowered, lowered.compile())]
    print(f"{name}: operations in units of one product, before and after compilation: {counts[0]:.4f} {counts[1]:.4f}")
    assert all(abs(count / expected - 1) < 0.01 for count in counts)
EOF
