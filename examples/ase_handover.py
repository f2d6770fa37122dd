"""
Sella takes over from the top of a path
=======================================

A band of ASE becomes a path, and Sella or an optimiser of ASE continues from its highest point.
"""

import importlib.util

from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.mep import NEB, NEBTools
from ase.optimize import BFGS

import minilandscape as ml
from minilandscape.adapters.ase import AseLandscape, barrier

slab = fcc100("Al", size=(2, 2, 2), vacuum=4.0)
add_adsorbate(slab, "Al", 1.7, "hollow")
slab.set_constraint(FixAtoms(range(4)))


def relaxed(shift):
    atoms = slab.copy()
    atoms.positions[-1, 0] += shift
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=0.01)
    return atoms


start, end = relaxed(0), relaxed(slab.cell.lengths()[0] / 2)

# A band of ASE, a few steps only.
band = NEB([start, *(start.copy() for _ in range(3)), end], method="improvedtangent")
band.interpolate("idpp")
for image in band.images[1:-1]:
    image.calc = EMT()
BFGS(band, logfile=None).run(fmax=0.05, steps=5)

# Its images are a path here, and may begin a search.
land = AseLandscape(slab, EMT)
path = land.path(band.images)
saddle = ml.refine_saddle(land, path)
print(f"from the band: barrier {saddle.value - path.values[0]:.4f} eV, {saddle.reason}")
found = barrier(start, end, EMT, fmax=0.01, initial=band)
print(f"barrier() from it: {found.barrier_forward:.4f} eV, {found.reason}, {found.calls['total']} calculations")

# What is found here goes back: energies and forces along the path, as NEBTools takes them.
print(f"NEBTools on the images: barrier {NEBTools(list(found.images)).get_barrier()[0]:.4f} eV")

# Sella from the top of a coarse path.
guess = ml.find_path(land, land.vector(start), land.vector(end), n_points=5, n_terms=2, budget=5)
top = land.atoms(guess.points(guess.maximum_t)[0])
top.calc = EMT()
if importlib.util.find_spec("sella"):
    from sella import Sella

    Sella(top, logfile=None).run(fmax=0.01, steps=100)
    print(f"Sella from the top: {top.get_potential_energy() - start.get_potential_energy():.4f} eV")

# An optimiser of ASE, down from beside the saddle.
beside = land.atoms(saddle.point + 0.2 * saddle.mode)
beside.calc = EMT()
BFGS(beside, logfile=None).run(fmax=0.01)
print(f"BFGS from beside the saddle: {beside.get_potential_energy() - end.get_potential_energy():+.4f} eV from the end")

# %%
# The energies of the images, relative to the start.
found.plot().figure.savefig("ase_handover.png", dpi=120)
