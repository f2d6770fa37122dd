#!/usr/bin/env bash
# geodesic-interpolate moves both endpoints of the path that it is given.
#
# Versions: geodesic_interpolate 1.0.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: the first and the last image of the path are the two structures that were passed, bit for bit.
# What happens: `redistribute` moves the centroid (by number of atoms, not by mass) of every image to the origin, and
#   turns each one onto the one before it; `smooth` turns the last image again. Formaldehyde at (5, 3, 1) Å comes back
#   5 Å away, and the last image is turned as well. Distances within the molecule keep to rounding. Without a seed of
#   NumPy's global generator the inner images differ from run to run.
# Why it matters: in a periodic cell, on a surface, in an external field or beside frozen atoms the ends have other
#   energies than the minima that were to be connected. In free space a path that is joined to other paths by the
#   positions of its ends has a jump. Fit the images back onto the endpoints, or put the endpoints back.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 geodesic-interpolate==1.0.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python - <<'EOF'
from importlib.metadata import version

import numpy as np
from geodesic_interpolate import Geodesic, redistribute

print(*(f"{name} {version(name)}" for name in ("geodesic_interpolate", "numpy", "scipy")))
first = np.array([[0, 0, 1.205], [0, 0, 0], [0, 0.94, -0.59], [0, -0.94, -0.59]]) + [5.0, 3.0, 1.0]
last = first.copy()
last[2] = [5.3, 3.9, 2.9]


def distances(x):
    return np.linalg.norm(x[:, None] - x, axis=-1)


def interpolated(seed):
    np.random.seed(seed)
    return np.array(redistribute(["O", "C", "H", "H"], [first, last], 5))


path = interpolated(0)
geodesic = Geodesic(["O", "C", "H", "H"], path, 1.7)
geodesic.smooth(tol=1e-3, max_iter=30)
smooth = np.array(geodesic.path)
for name, images in (("redistribute", path), ("smooth", smooth)):
    moved = [abs(images[0] - first).max(), abs(images[-1] - last).max()]
    bent = [abs(distances(images[0]) - distances(first)).max(), abs(distances(images[-1]) - distances(last)).max()]
    print(name, "moved the ends by", np.round(moved, 3), "Å; their distances changed by", bent)
    assert min(moved) > 4
    assert max(bent) < 1e-12
turned = abs((smooth[-1] - smooth[-1].mean(0)) - (last - last.mean(0))).max()
print(f"the last image is turned: {turned:.2f} Å beside the shift; centroids", abs(smooth.mean(1)).max())
assert turned > 0.1
assert abs(path.mean(1)).max() < 1e-12
between_seeds = abs(interpolated(1)[1:-1] - path[1:-1]).max()
print(f"inner images of two seeds differ by {between_seeds:.1e} Å")
assert between_seeds > 1e-5
EOF
