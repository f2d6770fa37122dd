#!/usr/bin/env bash
# equinox reads the first layers of a deeper model into a shallow one, and exchanges weights whose attributes were
# reordered, without a word: its files hold leaves in their order, and neither names nor their number.
#
# Versions: equinox 0.13.8, JAX 0.10.2 on a CPU, Python 3.11.
# Guess before the run: tree_deserialise_leaves raises where the file holds more leaves than the tree, as it does where it
#   holds fewer, and where attributes have other names.
# What happens: an MLP of depth 1 takes a file of one of depth 3 and width 3; its output layer is then the other's second
#   hidden layer. A module whose attributes q and k are declared in the other order has q and k exchanged. An activation that
#   is another function stays that of the tree. Nothing is raised. Fewer leaves, other shapes and other types are refused.
# Why it matters: a checkpoint of another version of a model, or one saved together with an optimiser's state, gives a network
#   that computes something else. Pass an open file and look whether anything is left in it; compare the loss at the
#   checkpoint with the one that was logged.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 jax==0.10.2 jaxlib==0.10.2 equinox==0.13.8
cd "$dir"
cat > check.py <<'EOF'
from importlib.metadata import version

import equinox as eqx
import jax
import jax.numpy as jnp

deep = eqx.nn.MLP(3, 3, 3, 3, key=jax.random.key(0))
shallow = eqx.nn.MLP(3, 3, 3, 1, key=jax.random.key(1))
eqx.tree_serialise_leaves("deep.eqx", deep)
eqx.tree_serialise_leaves("shallow.eqx", shallow)
with open("deep.eqx", "rb") as file:
    read = eqx.tree_deserialise_leaves(file, shallow)
    left = len(file.read())
last = bool((read.layers[-1].weight == deep.layers[1].weight).all())
print(f"depth 1 from a file of depth 3: read, {left} bytes left over; output layer is the second hidden one: {last}")
try:
    eqx.tree_deserialise_leaves("shallow.eqx", deep)
    fewer = "read"
except Exception as error:
    fewer = f"raises {type(error).__name__}"
print("depth 3 from a file of depth 1:", fewer)


class Before(eqx.Module):
    q: jax.Array
    k: jax.Array


class After(eqx.Module):
    k: jax.Array
    q: jax.Array


eqx.tree_serialise_leaves("before.eqx", Before(q=jnp.full((2, 2), 1.0), k=jnp.full((2, 2), 2.0)))
after = eqx.tree_deserialise_leaves("before.eqx", After(k=jnp.zeros((2, 2)), q=jnp.zeros((2, 2))))
print(f"q = 1 and k = 2 become q = {after.q[0, 0]:.0f} and k = {after.k[0, 0]:.0f}")
relu = eqx.nn.MLP(3, 3, 3, 1, activation=jax.nn.relu, key=jax.random.key(2))
tanh = eqx.nn.MLP(3, 3, 3, 1, activation=jnp.tanh, key=jax.random.key(3))
eqx.tree_serialise_leaves("relu.eqx", relu)
read, x = eqx.tree_deserialise_leaves("relu.eqx", tanh), jnp.ones(3)
off = float(jnp.abs(read(x) - relu(x)).max())
print(f"a file of relu read into a tree of tanh: the output is off by {off:.2g}")
print("equinox", version("equinox"), "JAX", version("jax"))

assert last and left > 0 and fewer.startswith("raises")
assert float(after.q[0, 0]) == 2 and float(after.k[0, 0]) == 1
assert off > 0.01
print("as stated")
EOF
"$dir/venv/bin/python" check.py
