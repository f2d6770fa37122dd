"""
A cluster from pele
===================

A cluster of pele: its two lowest minima joined by our finder, the saddle verified, and put into pele's database.
"""

import numpy as np
from pele.optimize import lbfgs_cpp
from pele.systems import LJCluster

import minilandscape as ml
from minilandscape.adapters.pele import LandscapePotential, from_potential
from minilandscape.analysis.atom_alignment import align_atoms
from minilandscape.potentials import MullerBrown, rigid_motions

np.random.seed(0)  # noqa: NPY002 (pele draws from the global generator)
system = LJCluster(6)
database = system.create_database()
system.get_basinhopping(database=database, outstream=None).run(40)
first, second = database.minima()[:2]

land = from_potential(system.get_potential(), 18, zero_modes=lambda x: rigid_motions(x.reshape(-1, 3)))
path = ml.find_path(land, first.coords, align_atoms(first.coords, second.coords), solver="auto")
saddle = ml.refine_saddle(land, path)
print(f"minima {first.energy:.6f} and {second.energy:.6f}, path's height {path.maximum:.6f}")
print(f"saddle {saddle.value:.6f}, converged {saddle.converged}, {saddle.reason}")
database.addTransitionState(saddle.value, saddle.point, first, second, eigenval=saddle.eigenvalues[0])

bottom = lbfgs_cpp(np.array([-0.5, 1.4]), LandscapePotential(MullerBrown()))  # our landscape, minimised by pele
print(f"Müller–Brown's lowest minimum by pele: {bottom.energy:.6f}")

# %%
# The energy along the path.
path.plot().figure.savefig("pele_potential.png", dpi=120)
