"""
A lithium vacancy with CHGNet
=============================

A vacancy hops in lithium, by a machine-learned potential in float32: CHGNet, all structures of a step in one pass.

CHGNet (Deng et al., Nature Machine Intelligence 5, 1031 (2023)) has its weights in its package: pip install chgnet.
"""

import warnings

import numpy as np
from ase.build import bulk
from chgnet.model import CHGNet, CHGNetCalculator
from pymatgen.io.ase import AseAtomsAdaptor

from minilandscape.adapters.ase import barrier

model = CHGNet.load(use_device="cpu", verbose=False)
passes = []  # how many structures each holds


class Batched(CHGNetCalculator):
    """CHGNet with the one method more that takes a list of structures."""

    def __init__(self):
        super().__init__(model, use_device="cpu")

    def calculate_batch(self, structures):
        """Energies (P,) in eV and forces (P, n, 3) in eV/Å."""
        passes.append(len(structures))
        graphs = [AseAtomsAdaptor.get_structure(atoms) for atoms in structures]
        found = model.predict_structure(graphs, task="ef", batch_size=len(graphs))
        found = found if isinstance(found, list) else [found]  # one structure gives one result
        n = len(structures[0])
        return [float(one["e"]) * n for one in found], [np.asarray(one["f"]) for one in found]


crystal = bulk("Li", "bcc", a=3.43, cubic=True) * (2, 2, 2)
middle = crystal.cell.sum(axis=0) / 2
away = np.linalg.norm(crystal.positions - middle, axis=1)
vacancy = int(away.argmin())  # the site that is empty at the start
neighbour = int(np.argsort(away)[1])  # the atom that hops into it
start = crystal.copy()
end = crystal.copy()
end.positions[neighbour] = crystal.positions[vacancy]
del start[vacancy]
del end[vacancy]
start.write("li_start.extxyz")
end.write("li_end.extxyz")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of PyTorch and pymatgen
    found = barrier(start, end, Batched, fmax=0.05)
print(f"barrier {found.barrier_forward:.4f} eV forward, {found.barrier_reverse:.4f} eV reverse: {found.reason}")
print(f"fmax {found.fmax:.3f} eV/Å, forces repeat to {found.noise:.1g} eV/Å, {found.frequency:.0f}i cm⁻¹")
print(f"{found.calls['total']} structures in {len(passes)} passes")

# %%
# The energies of the images, relative to the start.
found.plot().figure.savefig("ase_chgnet.png", dpi=120)
