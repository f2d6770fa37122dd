"""Harmonic vibrations at minima and saddles, zero-point energies, and rates of transition-state theory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ase import Atoms, units

from ..display import count
from .ase_constraints import generators
from .ase_landscape import AseLandscape

#: Å by which coordinates are displaced where no better step is known.
STEP = 0.01
#: A calculator's own Hessian differs from one product by finite differences by no more than this part of it.
AGREE = 0.05
#: h, ħ and k in eV, Å, amu and the time Å √(amu/eV); the last number is that of seconds in that time.
HBAR = units._hbar * units.J * units.s
#: By the number of rotations: the volume of orientations.
ORIENTATIONS = {0: 1.0, 1: 2 * np.pi, 2: 4 * np.pi, 3: 8 * np.pi**2}


@dataclass(frozen=True, repr=False)
class Vibrations:
    r"""Harmonic vibrations at a stationary point.

    Attributes
    ----------
    energy
        Of the structure, eV.
    hessian
        (D, D), eV/Å², symmetric, over the free components.
    frequencies
        (K,), cm⁻¹, ascending: √λ / (2πc) of the eigenvalues λ of the mass-weighted Hessian H_ij / √(m_i m_j) across the
        zero modes; of negative eigenvalues −√|λ| / (2πc), the imaginary frequencies as negative numbers.
    modes
        (K, n, 3): the displacements of all atoms, of unit length together.
    zero_frequencies
        (Z,), cm⁻¹: those of the zero modes by the same Hessian, which would be 0 if it had no error.
    asymmetry
        The largest |H − Hᵀ| of what was computed, eV/Å².
    inertia
        √det of the mass metric of the zero modes' rotations and translations, in amu and Å.
    rotations
        How many of the zero modes turn the structure: 2 of a linear molecule, 3 of others, none of slabs.
    source
        ``"finite differences"``, or ``"calculator"`` for its own Hessian, one product of which was checked.
    calls
        Structures calculated.
    masses
        (D,): the mass that each coordinate moves, amu.
    fmax
        The largest force of a free atom, eV/Å, which is 0 at a stationary point; NaN where it is not known.
    """

    energy: float
    hessian: np.ndarray
    frequencies: np.ndarray
    modes: np.ndarray
    zero_frequencies: np.ndarray
    asymmetry: float
    inertia: float
    rotations: int
    source: str
    calls: int
    masses: np.ndarray = field(default_factory=lambda: np.zeros(0))
    fmax: float = float("nan")

    @property
    def imaginary(self) -> np.ndarray:
        """The imaginary frequencies, cm⁻¹, as positive numbers, the largest first."""
        return -self.frequencies[self.frequencies < 0]

    @property
    def zero_point_energy(self) -> float:
        """½ Σ h ν over the real frequencies, eV."""
        return 0.5 * float(self.frequencies[self.frequencies > 0].sum()) * units.invcm

    def log_partition(self, temperature: float, quantum: bool = True) -> float:
        r"""ln q of vibrations and rotations, the energy of the minimum or saddle itself being zero.

        Parameters
        ----------
        temperature
            T, K.
        quantum
            Of each real frequency e^(−hν/2kT) / (1 − e^(−hν/kT)), zero-point energy included; else the classical
            kT / hν.

        Notes
        -----
        Rotations are classical, with r of them V (kT / 2πħ²)^(r/2) √det I, V being 8π² for 3, 4π for 2 and 2π for 1,
        and I their inertia; symmetry numbers are 1. The factor of translations, which no rate depends on, is left out.
        """
        kT = _kT(temperature)
        x = self.frequencies[self.frequencies > 0] * units.invcm / kT
        vibrations = -0.5 * x - np.log1p(-np.exp(-x)) if quantum else -np.log(x)
        turns = np.log(ORIENTATIONS[self.rotations]) + 0.5 * self.rotations * np.log(kT / (2 * np.pi * HBAR**2))
        return float(vibrations.sum() + turns + np.log(self.inertia))

    def __repr__(self) -> str:
        """One line: the frequencies and the zero-point energy."""
        shown = [f"{-v:.1f}i" if v < 0 else f"{v:.1f}" for v in self.frequencies]
        listed = ", ".join(shown if len(shown) <= 6 else [*shown[:4], "…", shown[-1]])
        energy = f"zero-point energy {self.zero_point_energy:.4f} eV"
        return f"Vibrations({listed} cm⁻¹, {energy}, {count(self.calls, 'calculation')})"


def vibrations(atoms: Atoms, calculator: Any = None, *, step: float = STEP, workers: int = 1) -> Vibrations:
    """Compute the harmonic vibrations of a relaxed structure or a saddle.

    The Hessian is the calculator's own where it has one (``get_hessian(atoms)``), else two-sided finite differences
    [F(x − h e) − F(x + h e)] / 2h of the forces, 2 D calls, in one batch where the calculator takes them. Atoms and
    components that constraints hold are left out (a partial Hessian), and the zero modes are projected out.

    Parameters
    ----------
    atoms
        The structure, with its constraints.
    calculator
        As in :class:`AseLandscape`; None takes the atoms' own.
    step
        h, Å.
    workers
        Calculations side by side, in threads.

    Raises
    ------
    ValueError
        If the step is not positive.
    LandscapeError
        If the calculator fails.

    Examples
    --------
    >>> from ase.build import molecule
    >>> from ase.calculators.emt import EMT
    >>> from ase.optimize import BFGS
    >>> atoms = molecule("N2", calculator=EMT())
    >>> relaxed = BFGS(atoms, logfile=None).run(fmax=1e-4)
    >>> found = vibrations(atoms, EMT)
    >>> found.frequencies.round(), round(found.zero_point_energy, 4)
    (array([1231.]), 0.0763)
    """
    if not step > 0:
        raise ValueError(f"step is {step}; expected a length above 0, in Å")
    land = AseLandscape(atoms, calculator, workers=workers)
    return vibrations_at(land, land.vector(atoms), step)


def vibrations_at(land: AseLandscape, x: np.ndarray, step: float) -> Vibrations:
    """Compute the vibrations at a point of a landscape of atoms."""
    counted = land.calculations
    (energy,), (gradient,) = land.values_and_gradients(x[None])
    hessian, source = _hessian(land, x, step)
    asymmetry = float(np.abs(hessian - hessian.T).max())
    hessian = 0.5 * (hessian + hessian.T)
    root = land.root_masses
    weighted = hessian / np.outer(root, root)
    left = land.zero_modes(x) * root
    zero = np.linalg.qr(left.T)[0] if len(left) else np.zeros((x.size, 0))
    across = np.linalg.svd(zero)[0][:, zero.shape[1] :] if zero.shape[1] else np.eye(x.size)
    values, vectors = np.linalg.eigh(across.T @ weighted @ across)
    displaced = (across @ vectors).T / root
    displaced /= np.linalg.norm(displaced, axis=1, keepdims=True)
    inertia, rotations = _inertia(land, x)
    return Vibrations(
        energy=float(energy),
        hessian=hessian,
        frequencies=wavenumbers(values),
        modes=np.array([-land.forces(mode) for mode in displaced]).reshape(-1, *land.components.shape),
        zero_frequencies=wavenumbers(np.linalg.eigvalsh(zero.T @ weighted @ zero)),
        asymmetry=asymmetry,
        inertia=inertia,
        rotations=rotations,
        source=source,
        calls=land.calculations - counted,
        masses=root**2,
        fmax=land.residual(gradient),
    )


def wavenumbers(eigenvalues: Any) -> np.ndarray:
    """cm⁻¹ of eigenvalues in eV/(Å² amu), ħ √λ / hc; of negative ones as negative numbers."""
    values = np.asarray(eigenvalues, dtype=np.float64)
    return np.asarray(np.sign(values) * HBAR * np.sqrt(np.abs(values)) / units.invcm)


def rate(minimum: Vibrations, saddle: Vibrations, temperature: float, quantum: bool = True) -> float:
    r"""Compute the rate constant of harmonic transition-state theory from a minimum over a saddle, 1/s.

    k = (kT / h) (q‡ / q) e^(−ΔE / kT), with ΔE the energy of the saddle above the minimum and q the partition functions
    of :meth:`Vibrations.log_partition`, the saddle's imaginary frequency left out. With ``quantum=False`` and the same
    zero modes at both, without rotations, that is Π ν_i / Π ν‡_i e^(−ΔE / kT) [1]_.

    Parameters
    ----------
    minimum, saddle
        Of one system.
    temperature
        T, K.
    quantum
        Whether vibrations have a zero-point energy and quantum occupations. No tunnelling either way.

    Raises
    ------
    ValueError
        If the minimum has an imaginary frequency, the saddle not exactly one, or the temperature is not positive.

    Notes
    -----
    For one of several equivalent ways over the saddle; multiply by their number.

    References
    ----------
    .. [1] G. H. Vineyard, "Frequency factors and isotope effects in solid state rate processes", J. Phys. Chem. Solids
           3, 121 (1957).

    Examples
    --------
    >>> import numpy as np
    >>> parts = dict(hessian=np.eye(1), modes=np.zeros((1, 1, 3)), zero_frequencies=np.zeros(0), asymmetry=0.0,
    ...              inertia=1.0, rotations=0, source="by hand", calls=0)
    >>> minimum = Vibrations(energy=0.0, frequencies=np.array([100.0, 200.0]), **parts)
    >>> saddle = Vibrations(energy=0.25, frequencies=np.array([-50.0, 150.0]), **parts)
    >>> f"{rate(minimum, saddle, 300, quantum=False):.4g}"  # c (100 × 200 / 150) cm⁻¹ e^(−0.25 eV / kT)
    '2.523e+08'
    """
    return rate_from("minimum", minimum, saddle, temperature, quantum)


def rate_from(name: str, minimum: Vibrations, saddle: Vibrations, temperature: float, quantum: bool) -> float:
    """Compute :func:`rate` from a minimum that has a name in messages."""
    kT = _kT(temperature)
    for named, found, expected in ((name, minimum, 0), ("saddle", saddle, 1)):
        if len(found.imaginary) != expected:
            listed = ", ".join(f"{v:.1f}i" for v in found.imaginary) or "none"
            raise ValueError(
                f"the {named} has the imaginary frequencies {listed} cm⁻¹; a harmonic rate expects "
                f"{expected or 'none'}: relax to a smaller fmax, or treat that motion as a free one"
            )
    log = saddle.log_partition(temperature, quantum) - minimum.log_partition(temperature, quantum)
    log -= (saddle.energy - minimum.energy) / kT
    return float(kT / (2 * np.pi * HBAR) * np.exp(log) * units.s)


def _kT(temperature: float) -> float:
    if not (temperature > 0 and np.isfinite(temperature)):
        raise ValueError(f"the temperature is {temperature}; expected a number above 0, in K")
    return float(units.kB * temperature)


def _hessian(land: AseLandscape, x: np.ndarray, step: float) -> tuple[np.ndarray, str]:
    """(D, D), not symmetrised, and where it comes from."""
    own = land.calculator_hessian(x)
    if own is not None:
        along = np.random.default_rng(0).standard_normal(x.size)
        along /= np.linalg.norm(along)
        _, (up, down) = land.values_and_gradients(np.stack([x + step * along, x - step * along]))
        product = (up - down) / (2 * step)
        if np.linalg.norm(own @ along - product) <= AGREE * np.linalg.norm(product):
            return own, "calculator"
    moves = step * np.eye(x.size)
    _, gradients = land.values_and_gradients(np.concatenate([x + moves, x - moves]))
    return (gradients[: x.size] - gradients[x.size :]) / (2 * step), "finite differences"


def _inertia(land: AseLandscape, x: np.ndarray) -> tuple[float, int]:
    """√det of the mass metric of the zero modes, and how many of them are rotations."""
    zero = land.zero_modes(x)
    if not len(zero):
        return 1.0, 0
    positions = land.positions(x)
    middle = land.atoms(x).get_masses() @ positions / land.atoms(x).get_masses().sum()
    basis = generators(positions - middle)[:, land.components]
    parts = np.linalg.lstsq(basis.T, zero.T, rcond=1e-6)[0].T
    mixed, sizes, _ = np.linalg.svd(parts[:, :3])
    rotations = int((sizes > 1e-6 * max(sizes.max(), 1e-3)).sum())
    parts = mixed.T @ parts
    parts[:rotations] /= sizes[:rotations, None]
    parts[rotations:, :3] = 0
    parts[rotations:] = np.linalg.qr(parts[rotations:].T)[0].T
    moved = parts @ basis * land.root_masses
    return float(np.sqrt(np.linalg.det(moved @ moved.T))), rotations
