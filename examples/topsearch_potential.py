"""
A potential of topsearch
========================

A potential of topsearch, connected by our finder; and our Lennard-Jones cluster as a potential of topsearch.
"""

import numpy as np
from topsearch.potentials.test_functions import Camelback

import minilandscape as ml
from minilandscape.adapters.topsearch import LandscapePotential, from_potential
from minilandscape.potentials import LennardJones

land = from_potential(Camelback(), size=2)
path = ml.find_path(land, np.array([-1.703607, 0.796084]), np.array([0.089842, -0.712656]), solver="auto")
print(f"height {path.maximum:.5f}; saddle {ml.refine_saddle(land, path).value:.5f}")
cluster = LandscapePotential(LennardJones(2))
print(f"a pair at its minimum: {cluster.function(np.array([0, 0, 0, 2 ** (1 / 6), 0, 0])):.6f}")

# %%
# The path on the surface.
ml.surface(land, path=path, n=121).plot().figure.savefig("topsearch_potential.png", dpi=120)
