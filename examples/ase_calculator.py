"""The same through another calculator: an adatom hops on Al(100), ASE's EMT; only it and the top layer move."""

from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.optimize import BFGS

import minilandscape as ml

atoms = fcc100("Al", size=(2, 2, 3))
add_adsorbate(atoms, "Al", 1.7, "hollow")
atoms.center(axis=2, vacuum=4.0)
atoms.calc = EMT()
free = atoms.positions[:, 2] > atoms.positions[:, 2].max() - 4.0  # the adatom and the layer below it
rest = atoms.positions.copy()


def energy(x):
    """Energy (eV) and its gradient (eV/Å) with respect to the free coordinates."""
    positions = rest.copy()
    positions[free] = x.reshape(-1, 3)
    atoms.positions = positions
    return atoms.get_potential_energy(), -atoms.get_forces()[free].ravel()


def relaxed(shift):
    from ase.constraints import FixAtoms

    other = atoms.copy()
    other.calc = EMT()
    other.positions[-1] += shift
    other.set_constraint(FixAtoms(mask=~free))
    BFGS(other, logfile=None).run(fmax=0.01)
    return other.positions[free].ravel()


land = ml.FunctionLandscape(energy, size=3 * int(free.sum()))
cell = atoms.cell.lengths()[0] / 2
path = ml.find_path(land, relaxed([0, 0, 0]), relaxed([cell, 0, 0]), n_points=15, n_terms=4, solver="lbfgs-gss")
e0 = min(path.height_ends)
print(f"barrier {path.dense_height - e0:.3f} eV; straight line {path.height_linear - e0:.3f} eV")
