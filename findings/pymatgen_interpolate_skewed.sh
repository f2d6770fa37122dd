#!/usr/bin/env bash
# pymatgen's Structure.interpolate takes the long way round in skewed cells.
#
# Versions: pymatgen 2026.10.24, ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: with pbc=True, the default, which is there "to find the shortest path between endpoints", every atom
#   moves to the nearest image of its end, in any cell, as with ASE's `interpolate(mic=True)`.
# What happens: each fractional coordinate is rounded on its own. Between random places the way is longer than the nearest
#   image in 18 to 31 % of the pairs, by up to a factor of 3.5, in hexagonal and primitive cells; never in cubic ones.
#   A copper atom on a (2x2) cell of Al(111) goes to the next site either directly, 2.9 Å, or 5.0 Å over the top of an
#   atom, as changes of 0.001 in the end's coordinates decide. The relaxed climbing band keeps to the long way, as
#   converged, with a barrier of 0.29 eV; from ASE's interpolation of the same ends it is 0.04 eV. Nothing is warned.
# Why it matters: hops by half a cell are what (2x2) slabs and 2x2x2 supercells of primitive cells are made for. Compare
#   the length of the path with the nearest image (`lattice.get_distance_and_image`) before a band is relaxed.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0 pymatgen==2026.10.24
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version

import numpy as np
from ase.build import add_adsorbate, fcc111
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from pymatgen.core import Lattice, Structure
from pymatgen.io.ase import AseAtomsAdaptor

print(*(f"{name} {version(name)}" for name in ("pymatgen", "ase", "numpy")))
CELLS = {
    "cubic": Lattice.cubic(3),
    "hexagonal": Lattice.hexagonal(3, 10),
    "primitive fcc": Lattice(2.0 * (1 - np.eye(3))),
    "rhombohedral, 33 degrees (LiCoO2)": Lattice.rhombohedral(4.96, 32.99),
}
rng = np.random.default_rng(0)
for name, lattice in CELLS.items():
    ratios = []
    for _ in range(300):
        start, end = (Structure(lattice, ["Li"], [place]) for place in rng.random((2, 3)))
        images = start.interpolate(end, nimages=1)
        way = np.linalg.norm(lattice.get_cartesian_coords(images[1].frac_coords[0] - images[0].frac_coords[0]))
        ratios.append(way / lattice.get_distance_and_image(start.frac_coords[0], end.frac_coords[0])[0])
    longer = np.mean(np.array(ratios) > 1.001)
    print(f"{name}: {100 * longer:.0f} % of the ways are longer than the nearest image, at most {max(ratios):.2f} times")
    assert (longer == 0) if name == "cubic" else (longer > 0.1)


def adsorbed(place):
    atoms = fcc111("Al", (2, 2, 3), vacuum=6)
    add_adsorbate(atoms, "Cu", 1.8, "fcc")
    atoms.positions[-1] += np.array([*place, 0]) @ atoms.cell
    return held(atoms)


def held(atoms):
    atoms.set_constraint(FixAtoms(range(8)))
    atoms.calc = EMT()
    return atoms


def lengths(images):
    """How far the adatom goes."""
    steps = [after.get_scaled_positions(wrap=False)[-1] - before.get_scaled_positions(wrap=False)[-1]
             for before, after in zip(images, images[1:])]
    return sum(np.linalg.norm((step - np.round(step)) @ images[0].cell) for step in steps)


start = adsorbed([0, 0])
for shift in ([-1e-3, -1e-3], [1e-3, 1e-3], [1e-3, -1e-3], [-1e-3, 1e-3]):
    end = adsorbed([0.5 + shift[0], 0.5 + shift[1]])
    first, last = (AseAtomsAdaptor.get_structure(atoms) for atoms in (start, end))
    way = lengths([AseAtomsAdaptor.get_atoms(each) for each in first.interpolate(last, nimages=6)])
    print(f"end at (0.5, 0.5) + {shift}: {way:.2f} Å")
    assert way > 4.9 if shift[0] == shift[1] else way < 2.9

end = adsorbed([0.499, 0.499])
for atoms in (start, end):
    BFGS(atoms, logfile=None).run(fmax=0.01)
barriers = {}
for name in ("pymatgen", "ASE"):
    if name == "pymatgen":
        first, last = (AseAtomsAdaptor.get_structure(atoms) for atoms in (start, end))
        images = [held(AseAtomsAdaptor.get_atoms(each)) for each in first.interpolate(last, nimages=6)]
        band = NEB(images, climb=True)
    else:
        images = [held(atoms.copy()) for atoms in [*[start] * 6, end]]
        band = NEB(images, climb=True)
        band.interpolate(mic=True)
    before = lengths(images)
    converged = bool(FIRE(band, logfile=None).run(fmax=0.03, steps=500))
    energies = np.array([image.get_potential_energy() for image in images])
    barriers[name] = energies.max() - energies[0]
    print(f"{name}: way {before:.2f} Å, converged {converged}, barrier {barriers[name]:.3f} eV")
    assert converged
assert barriers["pymatgen"] > 0.25
assert barriers["ASE"] < 0.05
EOF
