#!/usr/bin/env bash
# Extended XYZ written by ASE drops most constraints in silence and rounds positions to 8 decimals.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, Python 3.11.
# Guess before the run: a constraint that the format has no column for is refused or warned about, and positions come
#   back bit-identical, as the energy does.
# What happens: FixAtoms and FixCartesian are written as a column move_mask. FixBondLengths, FixInternals, FixedPlane
#   and FixCom are left out without a warning, and the structure that is read is free. FixCartesian of one atom comes
#   back as one object for each atom. Positions and forces have 8 decimals: a structure moves by up to 5e-9 Å, and a
#   distance below 5e-9 is read as 0, while the energy keeps all digits. ASE's .traj keeps everything.
# Why it matters: a minimum under a constraint is no minimum without it, so that a re-read endpoint slides away or a
#   band relaxes what was held. A structure converged to 1e-9 eV/Å is not converged after reading (stiff bonds of
#   80 eV/Å² times 5e-9 Å). Models in reduced or SI units lose their coordinates.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
venv/bin/python -W error - <<'EOF'
import ase
import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixBondLengths, FixCartesian, FixCom, FixedPlane, FixInternals
from ase.io import read, write

print("ASE", ase.__version__, "NumPy", np.__version__)


def again(atoms, name):
    write(name, atoms)
    return read(name)


water = molecule("H2O")
water.positions += np.pi / 7
kept = {}
for constraint in (
    FixAtoms([0]),
    FixCartesian([1], [False, True, False]),
    FixBondLengths([(0, 1)]),
    FixInternals(bonds=[[0.97, [0, 1]]]),
    FixedPlane([0], [0, 0, 1]),
    FixCom(),
):
    water.set_constraint(constraint)
    name = type(constraint).__name__
    kept[name] = [len(again(water, f"water.{ending}").constraints) for ending in ("extxyz", "traj")]
    print(f"{name}: constraints read from extxyz {kept[name][0]}, from traj {kept[name][1]}")
assert kept == {
    "FixAtoms": [1, 1],
    "FixCartesian": [3, 1],
    "FixBondLengths": [0, 1],
    "FixInternals": [0, 1],
    "FixedPlane": [0, 1],
    "FixCom": [0, 1],
}
water.set_constraint()
water.calc = SinglePointCalculator(water, energy=-np.pi / 3)
text = again(water, "water.extxyz")
shift = abs(text.positions - water.positions).max()
print(f"positions moved by {shift:.1e}, energy by {text.get_potential_energy() + np.pi / 3}")
assert 0 < shift <= 5.1e-9
assert text.get_potential_energy() == -np.pi / 3
assert np.array_equal(again(water, "water.traj").positions, water.positions)
tiny = Atoms("Ar2", [[0, 0, 0], [0, 0, 4e-9]])
print("a pair at a distance of 4e-9 is read at", again(tiny, "tiny.extxyz").get_distance(0, 1))
assert again(tiny, "tiny.extxyz").get_distance(0, 1) == 0
EOF
