#!/usr/bin/env bash
# Forces of tblite's xTB calculator depend on the geometry that was computed before.
#
# Versions: tblite 0.8.0, ASE 3.29.0, NumPy 2.4.6, Python 3.11.
# Guess before the run: at the default accuracy forces are a function of the geometry to about 1e-8 eV/Å, so that a
#   finite-difference Hessian is symmetric to about 1e-5 eV/Å² at a step of 1e-3 Å.
# What happens: a new calculator gives bit-identical forces each time. One that is used again starts from the last
#   density and stops elsewhere: forces at one geometry differ by 1e-5 eV/Å after a previous geometry 1e-5 Å away, and
#   by 1e-4 after one 1e-2 or 1e-1 Å away. For formaldehyde the central-difference Hessian by one shared calculator is
#   asymmetric by about 1 eV/Å² at a step of 1e-5 Å and 0.1 at 1e-3 Å; with a new calculator for each displacement the
#   asymmetry is 2e-4 at both (the largest entry is 85 eV/Å²).
# Why it matters: soft modes lie below this noise, so that the number of negative ones may depend on the order of the
#   evaluations, and a line search sees a force field that is no gradient. A test that evaluates one geometry with two
#   new calculators does not see it. Use a new calculator for each point, `accuracy=0.01` (asymmetry 4e-4), or a step
#   of 1e-2 Å.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 ase==3.29.0 tblite==0.8.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'EOF'
from importlib.metadata import version

import numpy as np
from ase import Atoms
from tblite.ase import TBLite

print(*(f"{name} {version(name)}" for name in ("tblite", "ase", "numpy")))
HERE = np.array([[0, 0, 1.205], [0, 0, 0], [0, 0.94, -0.59], [0, -0.94, -0.59]])


def new(positions):
    return Atoms("OCHH", positions, calculator=TBLite(method="GFN2-xTB", verbosity=0))


def forces(positions, atoms=None):
    atoms = atoms or new(positions)
    atoms.positions = positions
    return atoms.get_forces().ravel()


def asymmetry(step, shared):
    hessian = []
    for k in range(HERE.size):
        shift = step * np.eye(HERE.size)[k].reshape(HERE.shape)
        hessian.append((forces(HERE - shift, shared) - forces(HERE + shift, shared)) / (2 * step))
    return abs(np.array(hessian) - np.transpose(hessian)).max()


alone = forces(HERE)
assert np.array_equal(alone, forces(HERE))
differences = {}
for distance in (1e-5, 1e-4, 1e-3, 1e-2, 1e-1):
    atoms = new(HERE + distance * np.eye(4, 3))
    atoms.get_forces()
    differences[distance] = abs(forces(HERE, atoms) - alone).max()
    print(f"previous geometry {distance:.0e} Å away: forces differ by {differences[distance]:.1e} eV/Å")
one, many = {}, {}
for step in (1e-5, 1e-3, 1e-2):
    one[step], many[step] = asymmetry(step, new(HERE)), asymmetry(step, None)
    print(f"step {step:.0e} Å: asymmetry {one[step]:.1e} with one calculator, {many[step]:.1e} with new ones, eV/Å²")
assert 1e-5 < max(differences.values()) < 1e-2
assert one[1e-5] > 0.1
assert one[1e-3] > 0.01
assert many[1e-5] < 1e-2
assert many[1e-3] < 1e-2
EOF
