#!/usr/bin/env bash
# ASE's GoodOldQuasiNewton, asked for a transition state, throws an atom 1e11 Å away and returns True.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: `transitionstate=True` finds a saddle from a start close to it, or returns False; no step is longer
#   than the trust radius.
# What happens: the Hessian begins as 20 times the unit matrix, and as long as its lowest eigenvalue is positive the step
#   up is not measured against the radius: it is the slope divided by 1e-12 where forces are small. A copper atom 0.05 to
#   0.3 Å from the saddle between two hollows of Al(100) is more than 1e10 Å away after a few steps. No force is left
#   there, so `run` returns True; the energy is that of the slab and a free atom, finite, 2.4 eV above the saddle. With a
#   Hessian of finite differences in `set_hessian` the same starts end in the saddle.
# Why it matters: "converged" and a finite energy above that of the minimum are what a script looks at; its barrier is the
#   energy of desorption. Give a Hessian with one negative eigenvalue, and look where the atoms are.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --no-deps --no-compile numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'EOF'
import warnings

import ase
import numpy as np
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.optimize import GoodOldQuasiNewton

warnings.simplefilter("error")
print("ASE", ase.__version__, "NumPy", np.__version__)


def start(shift):
    atoms = fcc100("Al", (2, 2, 2), vacuum=5)
    add_adsorbate(atoms, "Cu", 1.9, "bridge")
    atoms.positions[-1] += shift
    atoms.set_constraint(FixAtoms(range(8)))
    atoms.calc = EMT()
    return atoms


def hessian(atoms):
    rows = []
    for k in range(3):
        forces = []
        for step in (1e-3, -1e-3):
            moved = atoms.copy()
            moved.positions[-1, k] += step
            moved.calc = EMT()
            forces.append(moved.get_forces()[-1])
        rows.append((forces[1] - forces[0]) / 2e-3)
    full = 20 * np.eye(27)
    full[-3:, -3:] = (np.array(rows) + np.transpose(rows)) / 2
    return full


for shift in ([0.3, 0.1, 0.0], [0.05, 0.02, 0.02], [0.0, 0.0, 0.1]):
    ends = {}
    for name in ("default", "finite differences"):
        atoms = start(shift)
        search = GoodOldQuasiNewton(atoms, logfile=None, transitionstate=True)
        if name != "default":
            search.set_hessian(hessian(atoms))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = bool(search.run(fmax=0.01, steps=200))
        away = float(np.linalg.norm(atoms.positions[-1] - start([0, 0, 0]).positions[-1]))
        lowest = np.linalg.eigvalsh(hessian(atoms)[-3:, -3:])
        ends[name] = found, away, atoms.get_potential_energy(), int((lowest < -0.01).sum())
        print(f"from {shift}, {name}: returned {found} after {search.nsteps} steps, {away:.3g} Å from the bridge, ", end="")
        print(f"energy {ends[name][2]:.4f} eV, negative eigenvalues {ends[name][3]}")
    lost, right = ends.values()
    assert lost[0]
    assert lost[1] > 1e10
    assert lost[3] == 0
    assert right[0]
    assert right[1] < 0.2
    assert right[3] == 1
    assert 2 < lost[2] - right[2] < 3
EOF
