#!/usr/bin/env bash
# A .con file of eOn read by ASE has no periodic boundaries, and another order of the atoms than the one written.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: eOn's cells are periodic, so that the structure that is read has the cell, pbc=True, the order of
#   the atoms by the index in the last column, and all fixed atoms. Constraints that the format has no room for warn.
# What happens: the cell comes back and pbc is False. Copper relaxed to 1e-4 eV/Å in a periodic cell has forces of
#   0.7 eV/Å after reading, and 21 eV more energy. Atoms are sorted by element when written and numbered anew, so that
#   HOH comes back as HHO. Of two FixAtoms the first is lost where both hold atoms of one element. A FixCartesian or
#   FixedPlane, which is to be dropped with a warning, raises TypeError, since the warning itself is called wrongly.
#   The lengths and angles of the cell have six decimals. None of these warns.
# Why it matters: both minima of an eOn run have become clusters in a vacuum, and a relaxation moves them to other
#   minima without an error. An endpoint from .con and one from another file have their atoms exchanged. Set pbc, and order the atoms of
#   both endpoints alike, before anything is evaluated.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W error - <<'EOF'
import ase
import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixCartesian, FixedPlane
from ase.io import read, write
from ase.optimize import BFGS

print("ASE", ase.__version__, "NumPy", np.__version__)


def again(atoms):
    write("some.con", atoms, format="eon")
    return read("some.con", format="eon")


copper = bulk("Cu", cubic=True) * 2
copper.rattle(0.05, seed=1)
copper.calc = EMT()
BFGS(copper, logfile=None).run(fmax=1e-4, steps=200)
back = again(copper)
back.calc = EMT()
force = abs(back.get_forces()).max()
rise = back.get_potential_energy() - copper.get_potential_energy()
print(f"pbc {copper.pbc} is read as {back.pbc}; forces {force:.2f} eV/Å, energy {rise:+.1f} eV")
assert copper.pbc.all()
assert not back.pbc.any()
assert np.allclose(back.cell, copper.cell)
assert abs(copper.get_forces()).max() < 2e-4
assert force > 0.5
assert rise > 10
back.pbc = True
print(f"with pbc set: forces {abs(back.get_forces()).max():.1e} eV/Å")
assert abs(back.get_forces()).max() < 2e-4

water = Atoms("HOH", [[0, 0.75, 0.6], [0, 0, 0], [0, -0.75, 0.6]], cell=[8, 9, 10 + np.pi / 1e6], pbc=True)
back = again(water)
print(water.symbols[:], "is read as", back.symbols[:], "with a cell off by", abs(back.cell - water.cell).max())
assert list(water.symbols) == ["H", "O", "H"]
assert list(back.symbols) == ["H", "H", "O"]
assert 1e-8 < abs(back.cell - water.cell).max() < 1e-6

copper.set_constraint([FixAtoms([0]), FixAtoms([1])])
fixed = [list(constraint.index) for constraint in again(copper).constraints]
print("fixed atoms [0] and [1] are read as", fixed)
assert fixed == [[1]]
for constraint in (FixCartesian([0]), FixedPlane([0], [0, 0, 1])):
    copper.set_constraint(constraint)
    try:
        again(copper)
    except TypeError as error:
        print(f"TypeError: {error}")
    else:
        raise SystemExit("a constraint without a column was written")
EOF
