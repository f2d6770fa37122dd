"""
HCN to HNC
==========

The barrier between two structures that are not relaxed, with GFN2-xTB. On the straight line between them the hydrogen
atom passes through both nuclei.
"""

from ase import Atoms
from tblite.ase import TBLite

from minilandscape.adapters.ase import barrier

hcn = Atoms("HCN", [[0, 0, 0], [1.07, 0, 0], [2.23, 0, 0]])
hnc = Atoms("HCN", [[3.22, 0, 0], [1.07, 0, 0], [2.23, 0, 0]])
found = barrier(hcn, hnc, lambda: TBLite(method="GFN2-xTB", verbosity=0))
print(f"{found.barrier_forward:.4f} eV forward, {found.barrier_reverse:.4f} eV reverse, verified: {found.converged}")
print(f"imaginary frequency {found.frequency:.0f} cm-1, {found.calls['total']} energies and forces")
found.plot().figure.savefig("reaction.png", dpi=120)
