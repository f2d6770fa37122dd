#!/usr/bin/env bash
# ASE reads sites of partial occupancy in a CIF file as one whole atom each, without a warning.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: a warning, or both atoms at the site; of a site that is a tenth full no atom, or an error.
# What happens: the element of the largest share stands there as a whole atom, of equal shares the one that is listed
#   last, so that two orders of the same two rows give two different crystals; lithium on a tenth of its sites is a
#   whole atom on each. The shares are in `atoms.info["occupancy"]` alone, which no calculator reads.
# Why it matters: electrode materials and alloys come with such files; a vacancy's hop computed from one is that of
#   another composition. Look into `info["occupancy"]`, and build an ordered supercell.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import io
import warnings
from importlib.metadata import version

from ase.io import read

COLUMNS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z", "occupancy")
HEAD = "data_x\n" + "".join(f"_cell_length_{axis} 4\n" for axis in "abc")
HEAD += "".join(f"_cell_angle_{angle} 90\n" for angle in ("alpha", "beta", "gamma"))
HEAD += "_symmetry_space_group_name_H-M 'P 1'\nloop_\n" + "".join(f"_atom_site_{name}\n" for name in COLUMNS)
CRYSTALS = {
    "half copper, then half gold": "Cu1 Cu 0 0 0 0.5\nAu1 Au 0 0 0 0.5\n",
    "half gold, then half copper": "Au1 Au 0 0 0 0.5\nCu1 Cu 0 0 0 0.5\n",
    "three quarters copper": "Cu1 Cu 0 0 0 0.75\nAu1 Au 0 0 0 0.25\n",
    "a tenth of lithium, and oxygen": "Li1 Li 0 0 0 0.1\nO1 O 0.5 0.5 0.5 1\n",
}

print("ASE", version("ase"))
found = {}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for name, rows in CRYSTALS.items():
        atoms = read(io.StringIO(HEAD + rows), format="cif")
        found[name] = str(atoms.symbols)
        print(f"{name}: {atoms.symbols}, occupancy {atoms.info['occupancy']}")
print("warnings:", [str(warning.message) for warning in caught])
assert not caught
assert list(found.values()) == ["Au", "Cu", "Cu", "LiO"]
PYTHON
