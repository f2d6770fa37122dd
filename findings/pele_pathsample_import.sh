#!/usr/bin/env bash
# pele imports PATHSAMPLE files as if the database were empty, and invents coordinates.
#
# Versions: pele 0.1.2, NumPy 2.4.6, SciPy 1.17.1, SQLAlchemy 1.4.54, Python 3.11.
# Guess before the run: without points.min and points.ts the coordinates are None or empty; an import into a database
#   that holds minima connects each transition state to the minima of the same import.
# What happens: without points each stationary point gets the coordinates [0.0], one number that looks like data and is
#   written as such by the export. The row numbers of ts.data are taken for row numbers of the database: after one
#   minimum of another source, the transition state between the energies -3 and -2 connects -9 and -3. After a second
#   import of the same files all transition states belong to the first copies, the second copies to none.
# Why it matters: merging two runs into one database is the usual way to grow a network. The result is a valid file
#   with wrong barriers. Import into an empty database each, and merge through addMinimum and addTransitionState (with
#   an `accuracy` that tells the energies apart). Take coordinates of one number, alike for all points, as missing.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 sqlalchemy==1.4.54 pele==0.1.2
cd "$dir"
venv/bin/python -W ignore - <<'EOF'
from importlib.metadata import version
from pathlib import Path

from pele.storage import Database
from pele.utils.optim_compatibility import OptimDBConverter, WritePathsampleDB

print(*(f"{name} {version(name)}" for name in ("pele", "numpy", "sqlalchemy")))
Path("min.data").write_text("-3.0 1.0 1 1 1 1\n-2.0 1.0 1 1 1 1\n-1.0 1.0 1 1 1 1\n")
Path("ts.data").write_text("-0.5 1.0 1 1 2 1 1 1\n0.5 1.0 1 2 3 1 1 1\n")


def connections(database):
    return [(ts.energy, ts.minimum1.energy, ts.minimum2.energy) for ts in database.transition_states()]


empty = Database()
OptimDBConverter(empty, assert_coords=False).convert()
coordinates = [point.coords.tolist() for point in empty.minima() + empty.transition_states()]
print("coordinates without points files:", coordinates)
assert coordinates == [[0.0]] * 5
WritePathsampleDB(empty, "out.data", "out.ts", "out.min.points", "out.ts.points").write_min_data_ts_data()
print("bytes of the exported points of three minima:", Path("out.min.points").stat().st_size)
assert Path("out.min.points").read_bytes() == bytes(24)
assert connections(empty) == [(-0.5, -3.0, -2.0), (0.5, -2.0, -1.0)]

OptimDBConverter(empty, assert_coords=False).convert()
used = {k for ts in empty.transition_states() for k in (ts.minimum1.id(), ts.minimum2.id())}
print("rows of minima after a second import:", empty.number_of_minima(), "with a transition state:", used)
assert (empty.number_of_minima(), used) == (6, {1, 2, 3})

other = Database()
other.addMinimum(-9.0, [0.0])
OptimDBConverter(other, assert_coords=False).convert()
print("after another minimum, (saddle, minimum, minimum):", connections(other))
assert connections(other) == [(-0.5, -9.0, -3.0), (0.5, -3.0, -2.0)]
EOF
