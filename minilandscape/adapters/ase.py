"""ASE: atoms with a calculator as a landscape, barriers between structures, vibrations and reaction paths."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ase import Atoms

from .ase_barrier import Barrier, BarrierInterrupted
from .ase_files import UnclearStructure, read_structures
from .ase_irc import ReactionPath, reaction_path
from .ase_landscape import AseLandscape
from .ase_search import Request, search
from .ase_vibrations import Vibrations, rate, vibrations

__all__ = [
    "AseLandscape",
    "Barrier",
    "BarrierInterrupted",
    "ReactionPath",
    "UnclearStructure",
    "Vibrations",
    "barrier",
    "rate",
    "reaction_path",
    "read_structures",
    "vibrations",
]


def barrier(
    start: Atoms,
    end: Atoms,
    calculator: Any = None,
    *,
    fmax: float = 0.05,
    relax: bool = True,
    match: bool = True,
    initial: Any = None,
    verify: bool = True,
    vibrations: bool = False,
    irc: bool = False,
    workers: int = 1,
    progress: Callable[[str], None] | None = None,
    notify: Callable[[str], None] | None = None,
) -> Barrier:
    """Find the verified saddle between two structures, and the barrier both ways.

    Both ends are relaxed (ASE's BFGS, to a fifth of ``fmax``), the end is matched and moved onto the start, and
    :func:`~minilandscape.find_saddle` searches the saddle and verifies it. The imaginary frequency there is that of the
    mass-weighted Hessian, from a few products with it.

    Parameters
    ----------
    start, end
        The same atoms in two structures, in any order, with the same cell and constraints.
    calculator
        As in :class:`AseLandscape`: best a function that makes one, such as ``EMT``. None takes the start's own.
    fmax
        The largest force that is small at the saddle, eV/Å.
    relax
        Whether to relax the ends. Without, barriers count from the ends as they are.
    match
        Whether like atoms may be exchanged and the end moved and turned onto the start. Without, the order of the atoms
        is kept.
    initial
        A path to begin from: ``"straight"``, ``"idpp"`` or ``"geodesic"``; or structures with both ends, in the start's
        order of atoms, as a list or an ASE NEB; or points (K, D). None takes the cheapest without a clash
        (:func:`~minilandscape.adapters.ase_start.start_path`).
    verify
        Without, the search ends at the first stationary point, of which neither the mode nor the minima are known.
    vibrations
        Whether the frequencies at start, saddle and end are computed, 2 D calculations each, which zero-point energies
        and :meth:`Barrier.rate` take.
    irc
        Whether the reaction path is followed down from the saddle on both sides (:func:`reaction_path`).
    workers
        Calculations side by side, in threads.
    progress
        Called with a line of text at every stage.
    notify
        Called with each of the result's ``remarks`` as soon as it is known, such as a charge that the calculator does
        not read, or a bond that was lost.

    Returns
    -------
    Barrier
        ``converged`` only if the saddle is verified and leads from start to end.

    Raises
    ------
    ValueError
        If the ends are not the same system, are not relaxed, or relax into one minimum.
    LandscapeError
        If the calculator fails at an end.

    Examples
    --------
    >>> from ase.build import add_adsorbate, fcc100
    >>> from ase.calculators.emt import EMT
    >>> from ase.constraints import FixAtoms
    >>> start = fcc100("Al", (2, 2, 2), vacuum=5.0)
    >>> start.set_constraint(FixAtoms(range(8)))
    >>> end = start.copy()
    >>> add_adsorbate(start, "Al", 1.7, "hollow")
    >>> add_adsorbate(end, "Al", 1.7, "hollow", offset=(1, 0))
    >>> found = barrier(start, end, EMT)
    >>> round(found.barrier_forward, 3), found.connects
    (0.257, 'start and end')
    """
    if not fmax > 0:
        raise ValueError(f"fmax is {fmax}; expected a force above 0, in eV/Å")
    calculator = start.calc if calculator is None and isinstance(start, Atoms) else calculator
    return search(
        partial(AseLandscape, calculator=calculator, workers=workers),
        start,
        end,
        Request(
            fmax=float(fmax),
            relax=relax,
            match=match,
            initial=initial,
            verify=verify,
            vibrations=vibrations,
            irc=irc,
            progress=progress or (lambda line: None),
            notify=notify or (lambda remark: None),
        ),
    )
