#!/usr/bin/env bash
# ASE's IDPP interpolation returns NaN where two atoms meet on the straight line.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: two atoms that change places through each other, of three images exactly in the middle, raise an
#   error, or leave those two atoms where they are.
# What happens: their distance of 0 is divided by, and the forces of the image dependent potential are NaN. The optimiser
#   takes them: `interpolate("idpp")` returns without an error, and the positions of all inner images are NaN. NumPy's
#   warnings of a division by zero and an invalid value are all there is to see. With four inner images, none of which lies
#   in the middle, all is finite.
# Why it matters: the next thing is a calculator that is asked for the energy of NaN; some crash, others iterate for long.
#   Moving the straight line's images a little aside first avoids it.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'PYTHON'
import warnings

import ase
import numpy as np
from ase import Atoms
from ase.mep import NEB

print("ASE", ase.__version__, "NumPy", np.__version__)
first = Atoms("HHO", [[-1, 0, 0], [1, 0, 0], [0, 1.5, 0]])
last = Atoms("HHO", [[1, 0, 0], [-1, 0, 0], [0, 1.5, 0]])


def band(inner):
    images = NEB([first.copy() for _ in range(inner + 1)] + [last.copy()], method="improvedtangent")
    images.interpolate("idpp")
    return [bool(np.isfinite(image.positions).all()) for image in images.images]


with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    finite = {inner: band(inner) for inner in (3, 4)}
print("images that are finite:", finite)
print("warnings:", sorted({str(warning.message)[:60] for warning in caught}))
assert not all(finite[3])
assert all(finite[4])
PYTHON
