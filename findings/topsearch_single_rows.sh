#!/usr/bin/env bash
# topsearch cannot read back a network with one minimum, with one transition state, or over one coordinate.
#
# Versions: topsearch 0.0.3, NumPy 1.26.4 (it needs NumPy below 2), Python 3.11.
# Guess before the run: `read_network` reads every file set that `dump_network` writes.
# What happens: the files are right, but they are read as tables only from two rows and two columns on. One minimum,
#   two minima with one transition state, and any network over a single coordinate raise IndexError. A network without
#   a transition state reads, with warnings about empty files.
# Why it matters: the first network that anyone writes, two minima and the saddle between them, is the one that fails.
#   A program that exchanges files with topsearch should read them itself, with rows kept as rows.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==1.26.4 topsearch==0.0.3
cd "$dir"
venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import numpy as np
from topsearch.data.kinetic_transition_network import KineticTransitionNetwork

print(*(f"{name} {version(name)}" for name in ("topsearch", "numpy")))


def reread(minima, saddles, coordinates):
    written = KineticTransitionNetwork()
    for k in range(minima):
        written.add_minimum(np.full(coordinates, float(k)), -1.0 + k)
    for k in range(saddles):
        written.add_ts(np.full(coordinates, k + 0.5), 5.0 + k, k, k + 1)
    written.dump_network()
    read = KineticTransitionNetwork()
    try:
        read.read_network()
    except IndexError:
        return "IndexError"
    return read.n_minima, read.n_ts


for given, expected in {
    (1, 0, 2): "IndexError",
    (2, 0, 2): (2, 0),
    (2, 1, 2): "IndexError",
    (3, 2, 2): (3, 2),
    (3, 2, 1): "IndexError",
}.items():
    seen = reread(*given)
    print("minima, transition states, coordinates", given, "->", seen)
    assert seen == expected
EOF
