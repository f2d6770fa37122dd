#!/usr/bin/env bash
# The barrier that ASE fits to a band depends on the side of the cell on which the moving atom is written.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Expected: `NEBTools.get_barrier` knows the cell, so that a path across the cell's edge has the
#   barrier of the same path inside, whether its images are wrapped or come from `interpolate(mic=True)`.
# What happens: lengths along the path use the minimum image, the directions on which the forces are projected do not.
#   Slopes beside the jump change sign. For four images of a copper atom on Al(100), not relaxed, energies and forces
#   are the same in all three cases, and so is the highest image. The fit of the path inside the cell is 4 % below the
#   energy of the bridge between the two middle images; the other two are below it by more than 10 %. Nothing is raised
#   or warned.
# Why it matters: the fit is the default, and so is what `plot_band` draws. `interpolate(mic=True)` between wrapped
#   endpoints writes the jump itself, before the last image, and codes that write fractional coordinates from 0 to 1 put
#   it anywhere. Shift the endpoints so that no atom crosses an edge, or use fit=False with an image at the top.
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
from ase.mep import NEB, NEBTools

warnings.simplefilter("error")
print("ASE", ase.__version__, "NumPy", np.__version__)


def hop(bridge, wrap):
    """Four images of a copper atom that moves from one hollow of Al(100) to the next, with the bridge at this x."""
    start = fcc100("Al", (3, 2, 2), vacuum=5)
    add_adsorbate(start, "Cu", 1.7, "hollow")
    step = start.cell[0, 0] / 3
    start.positions[:, 0] += bridge - step / 2 - start.positions[-1, 0]
    end = start.copy()
    end.positions[-1, 0] += step
    if wrap:
        start.wrap()
        end.wrap()
    band = NEB([start, start.copy(), start.copy(), end], method="improvedtangent")
    band.interpolate(mic=True)
    return band.images


def report(name, images):
    for image in images:
        image.calc = EMT()
    tools = NEBTools(images)
    fitted, highest = tools.get_barrier()[0], tools.get_barrier(fit=False)[0]
    along = [round(float(image.positions[-1, 0]), 2) for image in images]
    print(f"{name}: x of Cu {along} Å, fitted barrier {fitted:.4f} eV, highest image {highest:.4f} eV")
    energies = np.array([image.get_potential_energy() for image in images])
    return fitted, highest, energies, np.array([image.get_forces() for image in images])


inside = hop(4.0, wrap=False)
edge = hop(0.0, wrap=True)
wrapped = [image.copy() for image in edge]
for image in wrapped:
    image.wrap()
print("length of the cell along x", round(float(inside[0].cell[0, 0]), 2), "Å")
reference = report("inside the cell", inside)
top = inside[0].copy()
top.positions[-1] = (inside[1].positions[-1] + inside[2].positions[-1]) / 2
top.calc = EMT()
bridge = top.get_potential_energy() - reference[2][0]
print(f"energy of the bridge {bridge:.4f} eV")
assert abs(reference[0] / bridge - 1) < 0.05
for name, images in (("across the edge, mic=True", edge), ("across the edge, wrapped", wrapped)):
    fitted, highest, energies, forces = report(name, images)
    differences = abs(energies - reference[2]).max(), abs(forces - reference[3]).max()
    print("  energies and forces differ by", *differences)
    assert max(differences) < 1e-9
    assert abs(highest - reference[1]) < 1e-9
    assert fitted < 0.9 * bridge
EOF
