#!/usr/bin/env bash
# ASE's NEBOptimizer.run returns True where the steps have run out.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: `run(fmax, steps)` returns whether the forces are below fmax, as all optimisers of ASE do, so that
#   two steps towards 1e-6 eV/Å give False, as BFGS on the same band does.
# What happens: with method="ODE", the default, it returns True after two steps at a residual of 0.14 eV/Å; the steps are
#   counted by an exception of its own, whose handler returns True. With method="static" the same call returns False.
# Why it matters: a script that trusts the returned value takes an unfinished band for a converged one, and its highest
#   image for the saddle. Compare `get_residual()` with fmax.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import ase
from ase.build import add_adsorbate, fcc100
from ase.calculators.emt import EMT
from ase.mep import NEB
from ase.mep.neb import NEBOptimizer
from ase.optimize import BFGS

print("ASE", ase.__version__)


def band():
    start = fcc100("Al", (2, 2, 2), vacuum=5)
    add_adsorbate(start, "Al", 1.7, "hollow")
    end = start.copy()
    end.positions[-1, 0] += start.cell[0, 0] / 2
    for atoms in (start, end):
        atoms.calc = EMT()
        BFGS(atoms, logfile=None).run(fmax=0.02)
    images = NEB([start, *(start.copy() for _ in range(3)), end], method="improvedtangent")
    images.interpolate()
    for image in images.images[1:-1]:
        image.calc = EMT()
    return images


returned, residual = {}, {}
for method in ("ODE", "static"):
    optimizer = NEBOptimizer(band(), logfile=None, method=method)
    returned[method], residual[method] = bool(optimizer.run(fmax=1e-6, steps=2)), float(optimizer.get_residual())
returned["BFGS"] = bool(BFGS(band(), logfile=None).run(fmax=1e-6, steps=2))
print("returned after two steps towards 1e-6 eV/Å:", returned)
print("residuals:", residual)
assert returned == {"ODE": True, "static": False, "BFGS": False}
assert residual["ODE"] > 0.05
PYTHON
