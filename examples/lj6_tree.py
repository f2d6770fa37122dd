"""
The disconnectivity graph of LJ6
================================

The tree of the Lennard-Jones cluster of six atoms, from a search of our own: minima, saddles, where they merge.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.distance import pdist

import minilandscape as ml
from minilandscape.adapters.scipy import objective
from minilandscape.potentials import LennardJones

land, rng = LennardJones(6), np.random.default_rng(0)


def apart(a, b):
    """How different two clusters are, whatever their place, turn, and the order of their atoms."""
    distances = (np.sort(pdist(x.reshape(-1, 3))) for x in (a, b))
    return float(np.abs(np.subtract(*distances)).max())


points = ml.StationaryPoints(value_tolerance=1e-4, distance=apart)
for _ in range(20):
    found = minimize(objective(land), rng.uniform(-1.2, 1.2, 18), jac=True, options={"gtol": 1e-8, "maxiter": 5000})
    if found.fun < -12:  # not a cluster that has come apart
        points.add_minimum(found.x, found.fun)
for minimum in points.minima:
    for _ in range(12):
        way = rng.standard_normal(18)
        saddle = ml.refine_saddle(land, minimum + 0.15 * way / np.linalg.norm(way), way)
        if saddle.converged and saddle.minima_values.max() < -12:
            ends = [points.add_minimum(*end) for end in zip(saddle.minima, saddle.minima_values, strict=True)]
            points.add_saddle(saddle.point, saddle.value, *ends)
graph = points.graph()
print("minima", np.round(np.sort(graph.minima), 6))
print("merge", np.round([merge.energy for merge in graph.merges], 6))
graph.plot(labels=[f"{value:.3f}" for value in graph.minima]).figure.savefig("lj6.png")
