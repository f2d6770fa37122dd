#!/usr/bin/env bash
# PySCF's calculator for ASE can carry an excited state along a path of small steps, and reports it as converged.
#
# Versions: PySCF 2.14.0, ASE 3.29.0, NumPy 2.4.6, Python 3.11.
# Guess before the run: an energy of a calculator that is used again differs from that of a new one by what the SCF's
#   threshold leaves, 1e-6 eV at most.
# What happens: the calculator holds a scanner, whose SCF starts from the last density. For H2 + H -> H + H2 on a line
#   (UHF/6-31G), straight from one end to the other, 5 and 10 equal steps end at -44.221 eV, the energy of a new
#   calculator at the end; 20 and 40 steps end at -33.031 eV, 11.2 eV above it, at the same geometry. Every SCF says that
#   it has converged. The finer the path, the higher its maximum: -37.2 eV in 5 steps, -33.0 eV in 40. Nor does a new
#   calculator always find the lowest state: with H at 1.272 and 2.731 Å it is 0.06 eV above one that comes from the
#   middle of the path.
# Why it matters: images of a band that one calculator takes in their order lie on another surface than its ends, which
#   were relaxed before, without a sign in energies, forces or flags; a maximum is then found next to an end. Make a new
#   scanner for each calculation (`calculator.method_scan = calculator.method.as_scanner()`), and compare an end's energy
#   at the end of a search with that from its beginning.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 ase==3.29.0 pyscf==2.14.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'EOF'
from importlib.metadata import version

import numpy as np
from ase import Atoms
from pyscf import gto, lib, scf
from pyscf.pbc.tools.pyscf_ase import PySCF

print(*(f"{name} {version(name)}" for name in ("pyscf", "ase", "numpy")))
lib.num_threads(1)
NEAR, FAR = 0.73, 3.485


def new():
    molecule = gto.M(atom="H 0 0 0; H 0 0 0.73; H 0 0 4.215", basis="6-31g", spin=1, verbose=0)
    return PySCF(method=scf.UHF(molecule))


def energy(calculator, first, second):
    atoms = Atoms("H3", [[0, 0, 0], [0, 0, first], [0, 0, first + second]], calculator=calculator)
    value = atoms.get_potential_energy()
    assert calculator.method_scan.converged
    return value


def along(steps):
    calculator = new()
    points = [(NEAR + t * (FAR - NEAR), FAR + t * (NEAR - FAR)) for t in np.linspace(0, 1, steps + 1)]
    return [energy(calculator, *point) for point in points]


lowest = energy(new(), FAR, NEAR)
print(f"the end by a new calculator: {lowest:.3f} eV")
last = {}
for steps in (5, 10, 20, 40):
    energies = along(steps)
    last[steps] = energies[-1]
    print(f"{steps} steps: ends at {energies[-1]:.3f} eV, highest {max(energies):.1f} eV, all converged")
calculator = new()
for point in ((1.933, 1.981), (1.272, 2.731)):
    coming = energy(calculator, *point)
above = energy(new(), 1.272, 2.731) - coming
print(f"a new calculator is {above:.3f} eV above one that comes from the middle")
assert all(abs(last[steps] - lowest) < 1e-5 for steps in (5, 10))
assert all(11 < last[steps] - lowest < 11.4 for steps in (20, 40))
assert 0.05 < above < 0.08
renewed = new()
for first, second in ((1.933, 1.981), (1.969, 1.946), (FAR, NEAR)):
    renewed.method_scan = renewed.method.as_scanner()
    value = energy(renewed, first, second)
    assert abs(value - energy(new(), first, second)) < 1e-6
print("with a new scanner for each calculation: as new calculators")
EOF
