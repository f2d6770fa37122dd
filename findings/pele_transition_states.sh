#!/usr/bin/env bash
# pele has three answers to which transition state connects two minima, and stores mirror images once.
#
# Versions: pele 0.1.2, NumPy 2.4.6, SciPy 1.17.1, SQLAlchemy 1.4.54, networkx 3.6.1, Python 3.11.
# Expected: of three transition states between two minima, all parts of pele use the lowest;
#   two saddles of equal energy at different coordinates are two.
# What happens: `Database.getTransitionState` returns the one that was stored first, `TSGraph` keeps the one that was
#   stored last, and `database2graph`, which disconnectivity graphs use, the lowest. A second saddle between the same
#   minima within `accuracy` of the energy (1e-3 by default) is not stored, whatever its coordinates, and the first one
#   is returned for it; `compareMinima` is asked for minima only.
# Why it matters: the barrier of a pair depends on the question and on the order of the searches. Rates of pele add up
#   all stored saddles of a pair, so that two equivalent ones, left and right of a symmetry plane, count as one (not run
#   here; `pgorder` has to account for them). Take the lowest saddle of a pair from
#   `transition_states(order_energy=True)`. A small `accuracy` does not help with saddles of equal energy.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 sqlalchemy==1.4.54 networkx==3.6.1 pele==0.1.2
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import numpy as np
from pele.landscape import TSGraph
from pele.storage import Database
from pele.utils.disconnectivity_graph import database2graph

print(*(f"{name} {version(name)}" for name in ("pele", "numpy", "sqlalchemy", "networkx")))


def two_minima(**options):
    database = Database(**options)
    return database, database.addMinimum(-2.0, np.array([-1.0, 0.0])), database.addMinimum(-1.0, np.array([1.0, 0.0]))


def answers(energies):
    database, one, two = two_minima()
    for energy in energies:
        database.addTransitionState(energy, np.array([0.0, energy]), one, two)
    assert database.number_of_transition_states() == 3
    graphs = TSGraph(database).graph, database2graph(database)
    return [database.getTransitionState(one, two).energy, *(graph[one][two]["ts"].energy for graph in graphs)]


for energies in ((5.0, 1.0, 3.0), (3.0, 1.0, 5.0), (5.0, 3.0, 1.0)):
    found = answers(energies)
    print("stored", energies, "-> getTransitionState, TSGraph, database2graph:", found)
    assert found == [energies[0], energies[-1], min(energies)]

asked = []
for accuracy in (1e-3, 1e-9):
    database, one, two = two_minima(accuracy=accuracy, compareMinima=lambda *pair: asked.append(pair))
    left = database.addTransitionState(1.0, np.array([0.0, -0.7]), one, two)
    right = database.addTransitionState(1.0, np.array([0.0, 0.7]), one, two)
    stored = database.number_of_transition_states()
    print(f"accuracy {accuracy}: {stored} stored of two mirror images; returned for the second", right.coords.tolist())
    assert (stored, right is left, right.coords[1], asked) == (1, True, -0.7, [])
EOF
