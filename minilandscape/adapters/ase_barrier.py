"""The barrier between two structures as a result: numbers, files, a picture."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from math import isclose, isnan
from pathlib import Path as File
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import write

from ..connect import Connection
from ..display import Row, as_html, count, svg_of, text_lines
from .ase_irc import ReactionPath
from .ase_profile import profile
from .ase_vibrations import Vibrations, rate_from

#: Noise of the forces below this part of the tolerance is not worth a line.
SEEN = 1e-4
#: Points of a curve that is drawn.
DENSE = 400


@dataclass(frozen=True, repr=False)
class Barrier:
    """The barrier between two structures. Energies in eV, lengths in Å.

    Attributes
    ----------
    connection
        What :func:`~minilandscape.find_saddle` has found, with the points of the landscape.
    start, end
        As they were connected: relaxed, the end's atoms in the order and orientation of the start.
    saddle
        The highest saddle, with its energy and forces; None where there is none.
    minima
        The minima of the chain with their energies, from start to end.
    images
        The path through minima and saddles, with energies and forces; empty where there is none.
    fmax
        The largest force of a free atom at the saddle, eV/Å.
    tolerance
        The fmax that counted as small: the one that was asked for, raised where the noise of the forces hides it,
        lowered where the saddle cannot be told from its minima at it.
    frequency
        The imaginary frequency at the saddle, cm⁻¹, as a positive number: of the lowest eigenvalue of the mass-weighted
        Hessian. NaN where that was not computed, as without verification.
    frequency_error
        How far that may be off for the iteration's sake, cm⁻¹.
    calls
        Energies and forces asked for: ``"relaxation"``, the four stages of :class:`Connection`, ``"images"`` (forces of
        the path that the search did not need), ``"frequency"``, ``"vibrations"``, ``"irc"``, and ``"total"``, the
        calculations that they took: a structure that comes up twice is calculated once.
    remarks
        What was done to the structures, a sentence each.
    vibrations
        Those of start, saddle and end; empty where they were not asked for.
    irc
        The reaction path down from the saddle, the side of the start first; None where it was not asked for.
    irc_apart
        How far the farthest atom at either end of the reaction path is from the minima beside the saddle, Å, turns of
        the whole left out; NaN where it was not asked for.
    asked
        The fmax that was asked for, eV/Å; NaN where that is not known.

    Examples
    --------
    See :func:`barrier`.
    """

    connection: Connection
    start: Atoms
    end: Atoms
    saddle: Atoms | None
    minima: tuple[Atoms, ...]
    images: tuple[Atoms, ...]
    fmax: float
    tolerance: float
    frequency: float
    frequency_error: float
    calls: dict[str, int]
    remarks: tuple[str, ...] = ()
    vibrations: tuple[Vibrations, ...] = ()
    irc: ReactionPath | None = None
    irc_apart: tuple[float, float] = (float("nan"), float("nan"))
    asked: float = float("nan")

    @property
    def converged(self) -> bool:
        """Whether the saddle is verified and the chain leads from start to end."""
        return self.connection.converged

    @property
    def reason(self) -> str:
        """Why it is not converged; ``"converged"`` if it is."""
        return self.connection.reason

    @property
    def barrier_forward(self) -> float:
        """The saddle above the start, eV; NaN without a saddle."""
        return self.connection.barrier_forward

    @property
    def barrier_reverse(self) -> float:
        """The saddle above the end, eV; NaN without a saddle."""
        return self.connection.barrier_reverse

    @property
    def reaction_energy(self) -> float:
        """The end above the start, eV."""
        return float(self.connection.minima_values[-1] - self.connection.minima_values[0])

    @property
    def saddle_energy(self) -> float:
        """Of the calculator, eV; NaN without a saddle."""
        return float("nan") if self.connection.saddle is None else self.connection.saddle.value

    @property
    def value_error(self) -> float:
        """Estimated error of the saddle's energy from the remaining forces, eV (:class:`Saddle`); NaN where unknown."""
        return float("nan") if self.connection.saddle is None else self.connection.saddle.value_error

    @property
    def noise(self) -> float:
        """How well the calculator repeats its forces, as measured at the saddle, eV/Å; NaN where it was not."""
        return float("nan") if self.connection.saddle is None else self.connection.saddle.noise

    @property
    def zero_point_forward(self) -> float:
        """The zero-point energy of the saddle above the start's, eV: to be added to the barrier. NaN without both."""
        return self._zero_point(0)

    @property
    def zero_point_reverse(self) -> float:
        """The same above the end's, eV."""
        return self._zero_point(-1)

    def _zero_point(self, end: int) -> float:
        if not self.vibrations:
            return float("nan")
        return self.vibrations[1].zero_point_energy - self.vibrations[end].zero_point_energy

    def rate(self, temperature: float, *, reverse: bool = False, quantum: bool = True) -> float:
        """Compute the harmonic rate constant over the highest saddle at a temperature (K), 1/s.

        From the start, or with ``reverse`` from the end; :func:`rate` has the formula. Between the two lies one saddle,
        or, of a chain, the highest is taken for the only obstacle. Ends that were not relaxed give a number too:
        :attr:`not_stationary` names them.

        Raises
        ------
        ValueError
            If there is no saddle, or vibrations were not asked for, or not those of a minimum and a first-order saddle.
        """
        if self.saddle is None:
            raise ValueError(f"there is no saddle to go over: {self.reason}")
        if not self.vibrations:
            raise ValueError(
                "the vibrations are not known: barrier(..., vibrations=True) computes them, and its remarks say where "
                "that failed"
            )
        name, minimum = ("end", self.vibrations[-1]) if reverse else ("start", self.vibrations[0])
        return rate_from(name, minimum, self.vibrations[1], temperature, quantum)

    @property
    def not_stationary(self) -> dict[str, float]:
        """The ends with forces above the tolerance, which a harmonic rate takes for minima: name and force, eV/Å.

        Known where vibrations were asked for.
        """
        ends = (("start", self.vibrations[0]), ("end", self.vibrations[-1])) if self.vibrations else ()
        return {name: found.fmax for name, found in ends if found.fmax > self.tolerance}

    @property
    def connects(self) -> str:
        """Which minima the saddle connects."""
        if not self.converged:
            return "not verified"
        between = len(self.minima) - 2
        if between == 0:
            return "start and end"
        energies = self.connection.minima_values[1:-1] - self.connection.minima_values[0]
        named = ", ".join(f"{energy:+.4f}" for energy in energies)
        return f"start and end, by a chain through {between} more minim{'um' if between == 1 else 'a'} ({named} eV)"

    def __repr__(self) -> str:
        """One line: the system, the barrier in both directions, and whether it is verified."""
        state = "verified" if self.converged else f"not verified: {self.reason.removeprefix('not verified: ')}"
        barrier = f"{self.barrier_forward:.4f} eV forward, {self.barrier_reverse:.4f} eV reverse"
        return f"Barrier({self.start.symbols}, {barrier}, {state}, {count(self.calls['total'], 'calculation')})"

    def write(self, prefix: str | os.PathLike[str]) -> list[str]:
        """Write path and saddle, ``PREFIX_path`` and ``PREFIX_saddle`` with ``.traj`` and ``.extxyz``.

        And ``PREFIX_irc`` where a reaction path was asked for. All structures have energy and forces. Returns the files
        that were written.
        """
        parts: list[Any] = [list(self.images), self.saddle, None if self.irc is None else list(self.irc.images)]
        named = zip(files_of(prefix, irc=True), [part for part in parts for _ in ENDINGS], strict=True)
        written = {file: part for file, part in named if part}
        for file, part in written.items():
            File(file).parent.mkdir(parents=True, exist_ok=True)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Skipping unhashable")  # of info that some builders of slabs leave
                write(file, part)
        return list(written)

    def plot(self, axes: Any = None) -> Any:
        """Draw energy (eV, from the start's) over the length of the path (Å); returns the axes, new ones if None.

        The path is the reaction path, where it was followed and there is one saddle. Else it is that of the search,
        which leads through minima and saddles and is not relaxed between them.
        """
        if not self.images:
            raise ValueError(f"there is no path to draw: {self.reason}")
        followed = self.irc is not None and len(self.connection.saddles) == 1
        images = self.irc.images if self.irc is not None and followed else self.images
        if axes is None:
            from matplotlib.figure import Figure

            axes = Figure(figsize=(6, 4), layout="constrained").subplots()
        low = self.connection.minima_values[0]
        s, curve = profile(images)
        values = np.array([image.get_potential_energy() for image in images])
        dense = np.union1d(np.linspace(s[0], s[-1], DENSE), s)
        label = "reaction path (IRC)" if followed else "path of the search, not relaxed"
        axes.plot(dense, curve(dense) - low, "C0-", label=label)
        axes.plot(s, values - low, "C0.", ms=4)
        marked = np.isin(values, self.connection.minima_values)
        marked[[0, -1]] = True
        axes.plot(
            s[marked], values[marked] - low, "k.", ms=9, label="ends of the reaction path" if followed else "minima"
        )
        for saddle in self.connection.saddles:
            at = s[np.abs(values - saddle.value).argmin()]
            axes.plot(at, saddle.value - low, "C3x", label=self._label(saddle))
        axes.axhline(0, color="0.6", lw=0.8, ls=":")
        axes.set(
            xlabel="path length (Å)",
            ylabel="energy above the start (eV)",
            title=f"forward {self.barrier_forward:.3f} eV, reverse {self.barrier_reverse:.3f} eV",
        )
        axes.legend(frameon=False)
        return axes

    def _label(self, saddle: Any) -> str | None:
        """Of a saddle in the picture; the highest has the frequency."""
        if saddle is not self.connection.saddle:
            return None
        frequency = "" if isnan(self.frequency) else f", {wavenumber_text(self.frequency)}"
        return f"{'saddle' if self.converged else 'not verified'}{frequency}"

    def document(self) -> dict[str, Any]:
        """Return the numbers by name, as plain values."""
        names = ("barrier_forward", "barrier_reverse", "reaction_energy", "saddle_energy", "fmax", "tolerance", "asked")
        more = ("value_error", "noise", "frequency", "frequency_error", "connects", "calls", "converged", "reason")
        saddles = self.connection.saddles
        return {
            **{name: getattr(self, name) for name in (*names, *more)},
            "minima_energies": self.connection.minima_values.tolist(),
            "saddle_energies": [saddle.value for saddle in saddles],
            "eigenvalues": [] if self.connection.saddle is None else self.connection.saddle.eigenvalues.tolist(),
            "remarks": list(self.remarks),
            "vibrations": self._vibrations_document(),
            "irc": self._irc_document(),
        }

    def _vibrations_document(self) -> dict[str, Any] | None:
        if not self.vibrations:
            return None
        named = zip(("start", "saddle", "end"), self.vibrations, strict=True)
        return {
            "frequencies": {name: found.frequencies.tolist() for name, found in named},
            "zero_point_forward": self.zero_point_forward,
            "zero_point_reverse": self.zero_point_reverse,
        }

    def _irc_document(self) -> dict[str, Any] | None:
        if self.irc is None:
            return None
        return {
            "s": self.irc.s.tolist(),
            "energies": self.irc.energies.tolist(),
            "finished": self.irc.finished,
            "reason": self.irc.reason,
            "apart": list(self.irc_apart),
        }

    def summary(self) -> str:
        """Describe the barrier in labelled lines: energies, saddle, frequency, what it connects, verification, cost."""
        return text_lines(barrier_rows(self))

    def _repr_html_(self) -> str:
        """A table and a figure for notebooks."""
        return as_html(repr(self), barrier_rows(self), svg_of(self.plot()) if self.images else "")


class BarrierInterrupted(KeyboardInterrupt):
    """Ctrl-C in a search of a saddle.

    Attributes
    ----------
    ends
        Both ends, relaxed and matched.
    """

    def __init__(self, ends: tuple[Atoms, Atoms]) -> None:
        super().__init__("the search of the saddle was interrupted")
        self.ends = ends


#: Files that are written of a path and of a saddle.
ENDINGS = (".traj", ".extxyz")


def files_of(prefix: str | os.PathLike[str], irc: bool = False) -> list[str]:
    """Name the files that :meth:`Barrier.write` writes where there is a path, a saddle and a reaction path."""
    parts = ("path", "saddle", "irc") if irc else ("path", "saddle")
    return [f"{os.fspath(prefix)}_{part}{ending}" for part in parts for ending in ENDINGS]


def wavenumber_text(frequency: float) -> str:
    """Format an imaginary frequency, cm⁻¹."""
    return f"{frequency:.{0 if frequency >= 100 else 1}f}i cm⁻¹"


def barrier_rows(found: Barrier) -> list[Row]:
    """List what there is to say of a barrier in labelled rows."""
    if isnan(found.barrier_forward):
        rows: list[Row] = [("barrier", "none", "")]
    else:
        rows = [("barrier", f"{found.barrier_forward:.4f} eV forward, {found.barrier_reverse:.4f} eV reverse", "")]
    rows.append(("reaction", f"{found.reaction_energy:+.4f} eV from start to end", ""))
    saddle = f"{found.saddle_energy:.6f} eV, fmax {found.fmax:.3g} eV/Å (threshold {_threshold(found)})"
    rows.append(("saddle", "none" if found.saddle is None else saddle, ""))
    if found.connection.saddle is not None:
        lower = min(found.barrier_forward, found.barrier_reverse)
        rows += found.connection.saddle.rows_of_error(lower, "fmax", "eV")
    if found.noise > SEEN * found.tolerance:
        rows.append(("noise", f"forces repeat to {found.noise:.1g} eV/Å", ""))
    if not isnan(found.frequency):
        rows.append(("frequency", f"{wavenumber_text(found.frequency)}, of the mass-weighted Hessian", ""))
    rows.append(("connects", found.connects, ""))
    if found.vibrations:
        forward, reverse = found.zero_point_forward, found.zero_point_reverse
        rows.append(("zero point", f"{forward:+.4f} eV on the barrier forward, {reverse:+.4f} eV reverse", ""))
    if found.irc is not None:
        irc, apart = found.irc, found.irc_apart
        ends = f"{apart[0]:.2g} and {apart[1]:.2g} Å from the minima"
        rows.append(("irc", f"{-irc.s[0]:.2f} and {irc.s[-1]:.2f} √amu Å long, {ends}; {irc.reason}", ""))
    rows.append(("calls", _calls(found.calls), ""))
    if found.converged:
        _, _, more = found.reason.partition("; ")
        rows.append(("converged", "yes", more))
    else:
        rows.append(("converged", "no", found.reason))
    return rows


def _threshold(found: Barrier) -> str:
    """The threshold, and why it is another one than was asked for."""
    used = f"{found.tolerance:.3g}"
    if isnan(found.asked) or isclose(found.tolerance, found.asked, rel_tol=SEEN):
        return used
    if found.tolerance < found.asked:
        return f"{used}; asked for: {found.asked:.3g}, at which the saddle could not be told from its minima"
    return f"{used}; asked for: {found.asked:.3g}, which the noise of the forces hides"


def _calls(calls: dict[str, int]) -> str:
    """The calls of the stages that took any, and of all."""
    always = ("path", "search", "verification", "pieces", "frequency")
    more = (name for name in ("images", "vibrations", "irc") if calls[name])
    stages = ", ".join(f"{name} {calls[name]}" for name in (*always, *more))
    return f"{stages}; relaxation {calls['relaxation']}; {calls['total']} calculations in all"
