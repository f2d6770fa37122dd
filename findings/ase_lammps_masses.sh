#!/usr/bin/env bash
# ASE takes repartitioned hydrogen of a LAMMPS file for helium, a methyl bead for oxygen, and types without masses for H and He.
#
# Versions: ASE 3.29.0, NumPy 2.4.6, SciPy 1.17.1, Python 3.11.
# Guess before the run: elements follow from masses only where these are an element's to 1 %; elsewhere, and where a file has
#   types alone, reading raises or the atoms are X. A dump's column of masses comes back as the masses of the atoms.
# What happens: the nearest mass is taken, however far it is. Hydrogen of 3.024 is He and its carbon of 9.954 B (a water's oxygen of
#   11.967 C), CH2 and CH3 beads are N and O, four waters of a coarse-grained bead Ge. The elements of an `Atom Type Labels` section
#   are overruled by the masses. In a dump the masses choose the elements and are gone afterwards, which makes deuterium hydrogen. Types
#   alone are numbers of elements: 1 is H, 2 is He. Nothing warns.
# Why it matters: hydrogen mass repartitioning is usual where long steps are taken, and a potential for all elements gives energies of
#   helium. Name the elements (dump_modify … element), and check the formula of what was read.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 scipy==1.17.1 ase==3.29.0
cd "$dir"
OMP_NUM_THREADS=1 venv/bin/python -W error - <<'EOF'
import ase
from ase.io import read

print("ASE", ase.__version__)
masses = {3.024: "He", 9.954: "B", 11.967: "C", 14.027: "N", 15.035: "O", 72.0: "Ge"}
box = "".join(f"0 20 {x}lo {x}hi\n" for x in "xyz")


def data(masses, labels=()):
    lines = ["some", "", f"{len(masses)} atoms", f"{len(masses)} atom types", box]
    if labels:
        lines += ["Atom Type Labels", "", *(f"{k} {label}" for k, label in enumerate(labels, 1)), ""]
    lines += ["Masses", "", *(f"{k} {mass}" for k, mass in enumerate(masses, 1)), ""]
    lines += ["Atoms # atomic", "", *(f"{k} {k} {2 * k} 0 0" for k in range(1, len(masses) + 1))]
    with open("some.data", "w") as file:
        file.write("\n".join(lines) + "\n")
    return read("some.data", format="lammps-data")


found = list(data(masses).symbols)
print("masses are read as", dict(zip(masses, found, strict=True)))
assert found == list(masses.values())
labelled = data([10.0, 3.024], labels=["C", "H"])
print("types labelled C and H, with masses of 10.0 and 3.024:", labelled.symbols)
assert list(labelled.symbols) == ["B", "He"]


def dump(columns, rows):
    with open("some.dump", "w") as file:
        file.write(f"ITEM: TIMESTEP\n0\nITEM: NUMBER OF ATOMS\n{len(rows)}\nITEM: BOX BOUNDS pp pp pp\n" + 3 * "0 20\n")
        file.write(f"ITEM: ATOMS {columns}\n" + "".join(f"{row}\n" for row in rows))
    return read("some.dump", format="lammps-dump-text")


heavy = dump("id type mass x y z", ["1 1 15.999 0 0 0", "2 2 2.014 1 0 0", "3 2 2.014 0 1 0"])
print("heavy water:", heavy.symbols, "of mass", heavy.get_masses().sum())
assert str(heavy.symbols) == "OH2"
assert abs(heavy.get_masses().sum() - 18.015) < 1e-2
types = dump("id type x y z", ["1 2 0 0 0", "2 1 1 0 0", "3 1 0 1 0"])
print("types 2, 1, 1:", types.symbols)
assert str(types.symbols) == "HeH2"
EOF
