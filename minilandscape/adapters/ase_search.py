"""The search of a barrier between two structures, stage by stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ase import Atoms

from ..analysis.atom_alignment import closest_approach
from ..connect import Connection, find_saddle
from ..landscape import LandscapeError
from ..motion import moved_near
from .ase_barrier import Barrier, BarrierInterrupted
from .ase_calculators import what_to_know
from .ase_ends import (
    TOGETHER,
    aligned,
    farthest,
    matched,
    rearrangement,
    refuse_one_structure,
    relaxed,
    what_is_not_relaxed,
)
from .ase_irc import ReactionPath, follow
from .ase_landscape import AseLandscape
from .ase_modes import ImaginaryMode, imaginary_mode
from .ase_order import remarks_on_periods, same_order
from .ase_start import KINDS, StartingPath, start_path
from .ase_states import kinds_of
from .ase_vibrations import STEP, Vibrations, vibrations_at

#: The ends are relaxed to this part of the saddle's fmax.
ENDS = 0.2
#: Images begin and end elsewhere if an atom is farther off than this part of the longest way between the ends.
OFF = 0.1


@dataclass(frozen=True)
class Request:
    """What a barrier was asked for; :func:`~minilandscape.adapters.ase.barrier` says what each means."""

    fmax: float
    relax: bool
    match: bool
    initial: Any
    verify: bool
    vibrations: bool
    irc: bool
    progress: Callable[[str], None]
    notify: Callable[[str], None]


class _Remarks:
    """What there is to say of a search, each remark passed on as soon as it is known."""

    def __init__(self, notify: Callable[[str], None]) -> None:
        self.all: list[str] = []
        self._notify = notify

    def add(self, *remarks: str) -> None:
        """Add remarks."""
        for remark in remarks:
            self.all.append(remark)
            self._notify(remark)


def search(landscape: Callable[[Atoms], AseLandscape], start: Atoms, end: Atoms, request: Request) -> Barrier:
    """Find the barrier, on the landscape that is made of the start."""
    remarks = _Remarks(request.notify)
    ordered = same_order(start, end, request.match)
    remarks.add(*ordered.remarks(), *remarks_on_periods(start))
    land, end = landscape(start), ordered.atoms
    if ordered.by_tags:
        land.kinds = kinds_of(start, tags=True)
    remarks.add(*what_to_know(land.calculator, start, end))
    ends, request = _ends(land, start, end, request, remarks)
    calls = {"relaxation": land.calculations}
    a, b, initial, did = _starting_path(land, *ends, request, guessed=ordered.guessed)
    remarks.add(*did)
    if not request.relax:
        remarks.add(*what_is_not_relaxed(land, a, b, request.fmax, request.vibrations))
    try:
        found = find_saddle(
            land, a, b, tolerance=request.fmax, verify=request.verify, initial=initial, progress=request.progress
        )
    except KeyboardInterrupt as stopped:
        raise BarrierInterrupted((land.atoms(a), land.atoms(b))) from stopped
    calls |= found.calls
    after = _After(land, found, request, remarks)
    images = after.images()
    calls["images"] = after.counted()
    mode = after.mode()
    calls["frequency"] = after.counted()
    vibrations = after.vibrations()
    calls["vibrations"] = after.counted()
    irc = after.irc(mode)
    calls |= {"irc": after.counted(), "total": land.calculations}
    saddle = found.saddle
    return Barrier(
        connection=found,
        start=land.calculated(found.minima[0], float(found.minima_values[0])),
        end=land.calculated(found.minima[-1], float(found.minima_values[-1])),
        saddle=None if saddle is None else after.calculated(saddle.point),
        minima=tuple(land.calculated(*pair) for pair in zip(found.minima, found.minima_values, strict=True)),
        images=images,
        fmax=float("nan") if saddle is None else saddle.residual,
        tolerance=request.fmax if saddle is None else saddle.tolerance,
        frequency=float("nan") if mode is None else mode.frequency,
        frequency_error=float("nan") if mode is None else mode.error,
        calls=calls,
        remarks=tuple(remarks.all),
        vibrations=vibrations,
        irc=irc,
        irc_apart=after.apart(irc),
        asked=request.fmax,
    )


def _ends(
    land: AseLandscape, start: Atoms, end: Atoms, request: Request, remarks: _Remarks
) -> tuple[tuple[np.ndarray, np.ndarray], Request]:
    """Both ends as points, relaxed, and what is asked for now that they are known."""
    a = land.vector(start)
    try:
        b = land.vector(end)
    except ValueError as error:
        raise ValueError(f"the end: {error}") from error
    given = a, b
    if request.relax:
        a, said = relaxed(land, a, "start", ENDS * request.fmax, request.progress)
        remarks.add(*said)
        b, said = relaxed(land, b, "end", ENDS * request.fmax, request.progress)
        remarks.add(*said)
    if request.match and farthest(land, a, b, match=True) <= TOGETHER:
        found = rearrangement(land, a, b)
        if found is not None:
            request, (b, said_of_order) = replace(request, match=False), found
            remarks.add(said_of_order)
    refuse_one_structure(land, given, (a, b), request.relax, request.match)
    return (a, b), request


# The starting path ---------------------------------------------------------------------------------------------------


def _starting_path(
    land: AseLandscape, a: np.ndarray, b: np.ndarray, request: Request, guessed: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, list[str]]:
    """Both ends, moved onto each other or onto a path that was given, that path's points, and what was done."""
    initial = request.initial
    if initial is not None and not isinstance(initial, str):
        points = _given(land, initial)
        said = [f"the path begins from {len(points)} images that were given", *_off(land, a, b, points, request.match)]
        return *_through(land, a, b, points, request.match), said
    if isinstance(initial, str) and initial not in KINDS:
        raise ValueError(f"initial is {initial!r}; expected {', '.join(KINDS)}, structures, or points (K, {land.size})")
    did: list[str] = []
    if request.match:
        b, did = matched(land, a, b, guessed)
    near = a + moved_near(land, a, b, land.zero_modes)
    path = start_path(land, a, near, initial)
    did += _said(land, a, near, path, asked=initial is not None)
    if initial is None:
        return a, b, None, did  # find_saddle asks the landscape for the same path, and bends it where it meets a wall
    return a, b, np.stack([a, near]) if path.points is None else path.points, did


def _said(land: AseLandscape, a: np.ndarray, b: np.ndarray, path: StartingPath, asked: bool) -> list[str]:
    """That two atoms clash on the straight line, where the path begins instead, and what is wrong there."""
    name = {"straight": "the straight line", "idpp": "interpolated distances (IDPP)", "geodesic": "a geodesic"}
    first = land.atoms(a)
    line = closest_approach(
        first.positions, land.positions(b), first.numbers, cell=np.asarray(first.cell), pbc=first.pbc
    )
    wrong = "" if path.fault is None else f", where {path.fault}"
    if line.clash and path.kind != "straight":
        i, j = line.atoms
        names = " and ".join(f"{first.symbols[k]}{k}" for k in (i, j))
        return [
            f"{names} come within {line.distance:.2g} Å on the straight line: the path begins from "
            f"{name[path.kind]}{wrong}"
        ]
    return [f"the path begins from {name[path.kind]}{wrong}"] if asked or wrong else []


def _given(land: AseLandscape, initial: Any) -> np.ndarray:
    """(K, D): a path that was given, as structures, an ASE NEB, or points."""
    images = getattr(initial, "images", initial)
    if isinstance(images, Sequence) and len(images) and all(isinstance(image, Atoms) for image in images):
        points = land.points(images)
    else:
        try:
            points = np.asarray(images, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(
                f"initial is {type(initial).__name__}; expected {', '.join(KINDS)}, structures, or points "
                f"(K, {land.size})"
            ) from None
        if points.ndim != 2 or points.shape[1] != land.size:
            raise ValueError(f"initial has shape {points.shape}; expected points (K, {land.size}), or structures")
    if len(points) < 3:
        raise ValueError(f"{len(points)} images were given; expected at least three, the ends among them")
    return points


def _off(land: AseLandscape, a: np.ndarray, b: np.ndarray, points: np.ndarray, match: bool) -> list[str]:
    """Remark on images that do not begin at the start and end at the end, and on images in reverse order."""
    first, last = points[0], points[-1]
    apart = farthest(land, first, a, match), farthest(land, last, b, match)
    if max(apart) <= max(TOGETHER, OFF * farthest(land, a, b, match)):
        return []
    crossed = farthest(land, first, b, match), farthest(land, last, a, match)
    said = f"the first image is {apart[0]:.2g} Å from the start, the last {apart[1]:.2g} Å from the end (farthest atom)"
    if sum(crossed) < sum(apart):  # one image may be as far from both
        return [f"{said}: the images lead from the end to the start; exchange start and end, or reverse the images"]
    return [f"{said}: the ends take their place; give images that lead from start to end"]


def _through(
    land: AseLandscape, a: np.ndarray, b: np.ndarray, points: np.ndarray, match: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ends moved onto the first and the last of some points, and the path through these between them."""
    if match:
        a, b = aligned(land, points[0], a), aligned(land, points[-1], b)
    a = points[0] + land.displacement(points[0], a)
    b = points[-1] + land.displacement(points[-1], b)
    return a, b, np.array([a, *points[1:-1], b])


# After the saddle ----------------------------------------------------------------------------------------------------


class _After:
    """What is computed once the chain is found, and the calls that it takes."""

    def __init__(self, land: AseLandscape, found: Connection, request: Request, remarks: _Remarks) -> None:
        self.land, self.found, self.request, self.remarks = land, found, request, remarks
        self.before = land.calculations

    def counted(self) -> int:
        """The calls since this was last asked."""
        calls, self.before = self.land.calculations - self.before, self.land.calculations
        return calls

    @property
    def step(self) -> float:
        """Of finite differences, Å: the one that the measured noise requires."""
        step = float("nan") if self.found.saddle is None else self.found.saddle.step
        return step if np.isfinite(step) and step > 0 else STEP

    def calculated(self, point: np.ndarray) -> Atoms:
        """The structure at a point that was evaluated, with energy and forces."""
        (energy,), (gradient,) = self.land.values_and_gradients(point[None])
        return self.land.calculated(point, energy, gradient)

    def images(self) -> tuple[Atoms, ...]:
        """The path's structures with energies and forces."""
        path = self.found.path
        if path is None:
            return ()
        points = path.points(path.t)
        gradients = self.land.known_gradients(points, path.values)
        calculated = self.land.calculated
        return tuple(calculated(*each) for each in zip(points, path.values, gradients, strict=True))

    def mode(self) -> ImaginaryMode | None:
        """The saddle's imaginary frequency and its mode."""
        saddle = self.found.saddle
        if saddle is None or not len(saddle.eigenvalues) or not saddle.eigenvalues[0] < 0:
            return None
        self.request.progress("frequency of the saddle")
        try:
            return imaginary_mode(self.land, saddle.point, saddle.mode, saddle.step)
        except LandscapeError as failed:
            self.remarks.add(f"the imaginary frequency could not be computed: {failed}")
            return None

    def vibrations(self) -> tuple[Vibrations, ...]:
        """Those of start, saddle and end, where they were asked for."""
        saddle = self.found.saddle
        if not self.request.vibrations or saddle is None:
            return ()
        vibrations = []
        for name, point in (("start", self.found.minima[0]), ("saddle", saddle.point), ("end", self.found.minima[-1])):
            self.request.progress(f"vibrations of the {name}")
            try:
                vibrations.append(vibrations_at(self.land, point, self.step))
            except LandscapeError as failed:
                self.remarks.add(f"the vibrations of the {name} could not be computed: {failed}")
                return ()
        return tuple(vibrations)

    def irc(self, mode: ImaginaryMode | None) -> ReactionPath | None:
        """The reaction path, the side of the start first."""
        saddle = self.found.saddle
        if not self.request.irc or mode is None or saddle is None:
            return None
        self.request.progress("reaction path down from the saddle")
        uphill = self.land.displacement(saddle.minima[0], saddle.point) @ (mode.mode / self.land.root_masses)
        towards = -mode.mode if uphill > 0 else mode.mode
        return follow(self.land, saddle.point, towards, self.request.fmax)

    def apart(self, irc: ReactionPath | None) -> tuple[float, float]:
        """How far the ends of a reaction path are from the minima beside the saddle, Å: of the farthest atom."""
        saddle = self.found.saddle
        if irc is None or saddle is None:
            return float("nan"), float("nan")
        first, second = (
            self.land.residual(moved_near(self.land, minimum, self.land.vector(image), self.land.zero_modes))
            for minimum, image in zip(saddle.minima, (irc.images[0], irc.images[-1]), strict=True)
        )
        return first, second
