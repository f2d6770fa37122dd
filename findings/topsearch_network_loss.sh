#!/usr/bin/env bash
# A topsearch network keeps the last transition state of a pair, counts all of them, and stores five decimals.
#
# Versions: topsearch 0.0.3, NumPy 1.26.4 (it needs NumPy below 2), Python 3.11.
# Guess before the run: a second transition state between two minima is kept beside the first, or the lower one stays;
#   `n_ts` is the number of transition states in the graph; energies come back from a file as they went in.
# What happens: the second one replaces the first, even if it is higher. `n_ts` counts both, so that it is larger than
#   the number of edges until the network is written and read again. Energies are written with five decimals, while
#   coordinates keep all digits: minima 1e-6 apart have equal energies afterwards, and a barrier of 4e-6 is 0.
# Why it matters: the barrier of a pair may rise by adding a worse saddle, which changes disconnectivity graphs and
#   rates. Losses near a trained minimum differ by less than 1e-5. Take the lowest saddle of each pair before the
#   export, and scale small energies.
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
network = KineticTransitionNetwork()
for k, energy in enumerate((0.0, 1e-6, 2e-6)):
    network.add_minimum(np.array([k / 3, 0.0]), energy)
network.add_ts(np.array([0.2, 0.1]), 4e-6, 0, 1)
network.add_ts(np.array([0.5, 0.1]), 4e-6, 1, 2)
network.add_ts(np.array([0.2, 0.9]), 7.0, 1, 0)
edges = network.G.number_of_edges()
print("three transition states added, two of one pair: n_ts", network.n_ts, "edges", edges)
print("energy kept for the pair with 4e-6 and 7:", network.get_ts_energy(0, 1))
assert (network.n_ts, edges, network.get_ts_energy(0, 1)) == (3, 2, 7.0)
network.dump_network()
read = KineticTransitionNetwork()
read.read_network()
energies = [read.get_minimum_energy(k) for k in range(3)]
print("from the files: n_ts", read.n_ts, "minima", energies, "lower barrier", read.get_ts_energy(1, 2))
print("coordinates exact:", read.get_minimum_coords(1)[0] == 1 / 3)
assert read.n_ts == 2
assert energies == [0.0, 0.0, 0.0]
assert read.get_ts_energy(1, 2) == 0.0
assert read.get_minimum_coords(1)[0] == 1 / 3
EOF
