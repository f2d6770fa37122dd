#!/usr/bin/env bash
# ASE's FixScaled, which is what its reader makes of VASP's selective dynamics, relaxes to points that are no minima.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: the force that an atom free along one lattice vector has under `FixScaled` is the slope of the energy
#   along that vector, so that BFGS ends in the minimum of the line.
# What happens: the positions stay on the line; the force mixes components, since forces are multiplied with the cell
#   where its transpose belongs. That is right in rectangular cells along the axes, and for a height alone. A copper
#   atom on Al(111) whose line in POSCAR is `T F F` is "converged" to 1e-4 eV/Å after six steps where the slope is
#   0.065 eV/Å: the minimum lies 0.5 Å further, 14 meV lower. In a rectangular cell whose vectors lie along z, x and y
#   the force that is left points along y, where the atom may not move, and is not zero at the minimum. Nothing is raised
#   or warned.
# Why it matters: endpoints relaxed so are no minima, and a barrier that counts from them is wrong by what is left. Use
#   FixCartesian, FixedLine or FixedPlane in skewed cells.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-deps --no-compile numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'EOF'
import warnings
from pathlib import Path

import ase
import numpy as np
from ase.build import add_adsorbate, fcc100, fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixedLine, FixScaled
from ase.io import read, write
from ase.optimize import BFGS

warnings.simplefilter("error")
print("ASE", ase.__version__, "NumPy", np.__version__)


def energy(atoms, shift):
    moved = atoms.copy()
    moved.set_constraint()
    moved.positions[-1] += shift
    moved.calc = EMT()
    return moved.get_potential_energy()


def slope(atoms, along):
    along = along / np.linalg.norm(along)
    return (energy(atoms, 1e-4 * along) - energy(atoms, -1e-4 * along)) / 2e-4


def relaxed(atoms, constraint):
    atoms = atoms.copy()
    atoms.set_constraint([FixAtoms(range(len(atoms) - 1)), constraint])
    atoms.calc = EMT()
    assert BFGS(atoms, logfile=None).run(fmax=1e-4, steps=200)
    return atoms


slab = fcc111("Al", (2, 2, 2), vacuum=6)
add_adsorbate(slab, "Cu", 2.0, position=(3.1, 1.3))
adatom = len(slab) - 1
free = slab.cell[0]
slab.set_constraint([FixAtoms(range(adatom)), FixScaled(adatom, (False, True, True))])
write("POSCAR", slab, direct=True)
print("POSCAR:", Path("POSCAR").read_text().splitlines()[-1])
slab = read("POSCAR")
held = [each for each in slab.constraints if isinstance(each, FixScaled)]
assert len(held) == 1
assert held[0].mask.tolist() == [False, True, True]
seen, right = relaxed(slab, held[0]), relaxed(slab, FixedLine(adatom, free))
for name, atoms in (("FixScaled", seen), ("FixedLine", right)):
    print(f"{name}: moved {np.round(atoms.positions[-1] - slab.positions[-1], 3)} Å, slope {slope(atoms, free):.4f} eV/Å")
apart = np.linalg.norm(seen.positions[-1] - right.positions[-1])
above = seen.get_potential_energy() - right.get_potential_energy()
print(f"{apart:.2f} Å apart, {1000 * above:.1f} meV above the minimum of the line")
assert abs(slope(right, free)) < 1e-3 < 0.05 < abs(slope(seen, free))
assert apart > 0.3
assert above > 0.01

slab = fcc100("Al", (2, 2, 2), vacuum=6)
add_adsorbate(slab, "Cu", 2.0, "bridge")
slab.positions[-1, 0] += 0.3
slab.set_cell(slab.cell[[2, 0, 1]])
minimum = relaxed(slab, FixedLine(adatom, slab.cell[0]))
minimum.set_constraint(FixScaled(adatom, (False, True, True)))
force = minimum.get_forces()[adatom]
print("vectors along z, x, y: force at the minimum along z", np.round(force, 3), f"slope {slope(minimum, slab.cell[0]):.4f}")
assert abs(slope(minimum, slab.cell[0])) < 1e-3
assert abs(force[1]) > 0.05
assert abs(force[[0, 2]]).max() < 1e-12
EOF
