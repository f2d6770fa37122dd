"""
An adatom on Al(100) with ASE
=============================

An adatom hops on Al(100), ASE's EMT: the barrier by a coarse path and a verified saddle.
"""

from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import BFGS
from ase.visualize.plot import plot_atoms
from matplotlib.figure import Figure

import minilandscape as ml
from minilandscape.adapters.ase import AseLandscape

slab = fcc100("Al", size=(2, 2, 3))
add_adsorbate(slab, "Al", 1.7, "hollow")
slab.center(axis=2, vacuum=4.0)
slab.set_constraint(FixAtoms(mask=[atom.tag > 1 for atom in slab]))  # only the adatom and the top layer move


def relaxed(shift):
    atoms = slab.copy()
    atoms.positions[-1, 0] += shift
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=0.01)
    return atoms


start, end = relaxed(0), relaxed(0.49 * slab.cell.lengths()[0])  # half of the cell may be the way in either direction
land = AseLandscape(slab, EMT)
path = ml.find_path(land, land.vector(start), land.vector(end), n_terms=2, n_points=7)
saddle = ml.refine_saddle(land, path)
calls = land.evaluations  # of every search so far
print(f"barrier {saddle.value - start.get_potential_energy():.4f} eV, converged {saddle.converged}: {saddle.reason}")
print(f"{calls.values + calls.gradients} force calls; between its ends: {saddle.connects_ends}")
land.write("hop.traj", path)

# %%
# Start, saddle and end from above, the adatom in orange, and the energy along the path.
shown = [land.atoms(point) for point in (path.start, saddle.point, path.end)]
figure = Figure(figsize=(10, 2.8), layout="constrained")
views = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.8))
for axes, name, atoms in zip(views, ("start", "saddle", "end"), shown, strict=False):
    plot_atoms(atoms, axes, colors=[*(len(slab) - 1) * ["lightgray"], "tab:orange"])
    axes.set_title(name)
    axes.set_axis_off()
path.plot(views[-1]).set_ylabel("potential energy (eV)")
figure.savefig("ase_calculator.png", dpi=120)
