"""The barrier between two minima, in one call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..backend import to_host
from ..landscape import LandscapeError, as_landscape, vector
from ..motion import moved_near
from ..paths import Path, find_path
from ..saddles import REACHED, Known, Minimum, Refinement, Saddle, Start, Surface
from .guess import Guess, first_guess
from .refine import SAME, check_positive, range_without_spike, start_of_path
from .result import Connection, path_through
from .valley import minimum_below

#: A residual is small below this part of (height above the higher end) / (distance of the ends) / √D.
RESIDUAL = 1e-3
#: A range of values is no more than so many times that of its lower half: what lies above is a spike.
SPIKE = 10
#: A coarse path between two minima of the chain stays below its highest saddle if it does so by this part of what that
#: rises above them.
BELOW = 0.1
#: A search may pass points that are no higher than the ends: no less than this part of the path's range counts there.
LEAST = 1e-3
#: A rise of less than this part of the highest saddle's is none.
UNSEEN = 0.01
#: An end whose gradient is larger than this part of the largest on the first path is no minimum.
RELAXED = 0.3
#: Where the first path leads nowhere, paths of so many points and terms are searched, with so many calls a point at
#: most.
PATHS = ((16, 5, 60), (31, 10, 100))
#: A search that moves a component by more than this part of the largest between the ends has left the first path.
LEASH = 0.75
#: An end that no descent has reached is followed down until the residual is below this part of the small one.
FARTHER = 0.1
#: Saddles of a chain at most.
MOST_SADDLES = 12


def find_saddle(
    landscape: Any,
    start: Any,
    end: Any,
    *,
    tolerance: float | None = None,
    verify: bool = True,
    every: bool = False,
    batch: int = 12,
    initial: Any = None,
    progress: Callable[[str], None] | None = None,
) -> Connection:
    """Find the saddle between two minima, and verify that it connects them.

    From the highest point of a coarse path, five points with their gradients, a quasi-Newton search climbs to the
    saddle. It is verified that one eigenvalue of the Hessian is negative there, and both sides are followed down. Where
    they end at other minima, the pairs that are left are searched in the same way, until the chain leads from start to
    end; a pair is left alone where a coarse path between the two stays below the saddle. Where the search from the
    coarse path fails, a better path is searched first (:func:`find_path`). Free molecules are turned onto each other.

    Parameters
    ----------
    landscape
        Anything that :func:`~minilandscape.landscape.as_landscape` takes.
    start, end
        (D,): two minima, relaxed.
    tolerance
        The residual that is small: the largest component of the gradient, or the largest force (ASE's fmax) where the
        landscape is of atoms. None takes 1e-3 / √D of the height above the higher end over the distance of the ends,
        which leaves about a millionth of the barrier open, more only along modes that are far softer than the barrier's
        own; but no less than three times the gradient's noise.
    verify
        Without, the search ends at the first stationary point: neither its index nor what it connects is known.
    every
        Whether the saddles of all pairs of the chain are searched, not only those that may be the highest.
    batch
        With so many free coordinates or fewer, the products that prove an index go out as one batch, one for each
        coordinate: more calls, in far fewer rounds. What pays where as many points are evaluated side by side, by
        workers or a landscape that takes stacks; 0 makes the fewest calls.
    initial
        The path to begin from: a :class:`Path`, points (K, D) with both ends, or a function of t. None takes the
        straight line, or what the landscape has as ``initial_path(start, end)``.
    progress
        Called with a line of text at every stage.

    Returns
    -------
    Connection
        ``converged`` only if the chain leads from start to end, its highest saddle verified.

    Raises
    ------
    ValueError
        If the endpoints are no two different, finite vectors, or one of them is no minimum.
    TypeError
        If an endpoint is no vector of real numbers, or ``progress`` no function.
    LandscapeError
        If an end cannot be evaluated.
    ConnectionInterrupted
        At Ctrl-C: a KeyboardInterrupt, with the chain so far in ``best``.

    Notes
    -----
    The barrier of a chain is that of its highest saddle. Another chain may be lower: no search of this kind knows all
    of them. That a pair needs no search is known as far as five points with their gradients tell, nine where five show
    no rise; ``reason`` says of how many pairs. A barrier narrower than a tenth of the distance of the ends may lie
    between those points, and between the steps of a descent: the largest of
    ``land.values(found.path.points(np.linspace(0, 1, 300)))`` looks for one along the chain.

    Examples
    --------
    >>> import minilandscape as ml
    >>> from minilandscape.potentials import MullerBrown
    >>> land = MullerBrown()
    >>> found = ml.find_saddle(land, land.minima[0], land.minima[1])
    >>> round(found.saddle.value, 4), round(found.barrier_forward, 3), found.converged
    (-40.6648, 106.035, True)
    """
    if progress is not None and not callable(progress):
        raise TypeError(f"progress is {progress!r}; expected a function of a line of text, such as print")
    if not isinstance(batch, (int, np.integer)) or batch < 0:
        raise ValueError(f"batch is {batch!r}; expected a whole number of at least 0")
    if tolerance is not None:
        check_positive("tolerance", tolerance, "number")
        tolerance = float(tolerance)
    a, b = (vector(name, point, landscape).astype(np.float64) for name, point in (("start", start), ("end", end)))
    if a.ndim != 1 or a.shape != b.shape:
        raise ValueError(f"start and end have shapes {a.shape} and {b.shape}; expected two vectors of one size")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("an endpoint holds values that are not finite")
    land = as_landscape(landscape, a.size)
    if not np.any(np.asarray(land.displacement(a, b))):
        raise ValueError("start and end are equal; expected two different points")
    return _Chain(land, tolerance, verify, every, batch, progress or (lambda line: None)).run(a, b, initial)


class ConnectionInterrupted(KeyboardInterrupt):
    """A search was interrupted; ``best`` is the chain so far, without the stage that was under way."""

    def __init__(self, best: Connection) -> None:
        super().__init__("interrupted")
        self.best = best


@dataclass(frozen=True)
class _Link:
    """What lies between two minima of the chain: a saddle and the minima beside it, or a path below a saddle.

    Attributes
    ----------
    saddle
        Verified unless nothing was to be; None where a path lies below another saddle.
    sides
        The minima, with the descents that led to them.
    passed
        Points (n, D) and values (n,) of the path without the minima, where there is no saddle.
    """

    saddle: Saddle | None
    sides: tuple[Minimum, ...] = ()
    passed: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def places(self) -> tuple[int, ...]:
        """Of the minima among the known ones."""
        return tuple(int(side.known) for side in self.sides if side.known is not None)

    def between(self, before: int, after: int) -> _Link:
        """The same in the order of a chain: turned round where a side is the neighbour on the other one."""
        first, second = self.places
        return replace(self, sides=self.sides[::-1]) if second == before or first == after else self


@dataclass
class _Chain:
    """The chain of minima between start and end, and what it took to find it.

    Attributes
    ----------
    known
        Minima: start, end, and what descents have met.
    pairs, links
        Neighbours in the chain, and what lies between them; None where that is still to be found.
    calls
        In each stage; those of all pairs after the first saddle are ``"pieces"``.
    smallest
        The residual that was small at the last saddle.
    against
        Whether the gradients on the first path are opposed to its values.
    """

    landscape: Any
    tolerance: float | None
    verify: bool
    every: bool
    batch: int
    progress: Callable[[str], None]
    known: Known = field(default_factory=Known)
    pairs: list[tuple[int, int]] = field(default_factory=lambda: [(0, 1)])
    links: list[_Link | None] = field(default_factory=lambda: [None])
    calls: dict[str, int] = field(default_factory=lambda: {"path": 0, "search": 0, "verification": 0, "pieces": 0})
    rounds: int = 0
    path: Path | None = None
    smallest: float = float("nan")
    against: bool = False

    def run(self, start: np.ndarray, end: np.ndarray, initial: Any) -> Connection:
        """Finds the chain."""
        self.known.add(start, float("nan"))
        self.known.add(end, float("nan"))
        try:
            return self._result(self._searched(initial))
        except KeyboardInterrupt as interrupt:
            raise ConnectionInterrupted(self._result("interrupted")) from interrupt

    def _searched(self, initial: Any) -> str | None:
        """Searches until nothing of the chain is left to be found; why it is not whole, or None."""
        reason: str | None = None
        while None in self.links:
            k = self.links.index(None)
            if len(self.links) > MOST_SADDLES:
                reason = f"the chain has more than {MOST_SADDLES} pairs"
                break
            if len(self.pairs) == 1:
                link, reason = self._between(0, 1, initial)
            else:
                link, reason = self._piece(k)
            if link is None or not self.verify:
                self.links[k] = link
                break
            self._insert(k, link)
        return reason

    @property
    def highest(self) -> float:
        """Of the saddles so far."""
        return max(link.saddle.value for link in self.links if link is not None and link.saddle is not None)

    def _insert(self, k: int, link: _Link) -> None:
        """Puts what was found between the k-th pair, and the pairs that are left beside it."""
        before, after = self.pairs[k]
        if link.saddle is None:
            self.links[k] = link
            return
        link = link.between(before, after)
        first, second = link.places
        new: list[tuple[tuple[int, int], _Link | None]] = [((before, first), None), ((first, second), link)]
        new = [(pair, found) for pair, found in [*new, ((second, after), None)] if pair[0] != pair[1]]
        self.pairs[k : k + 1] = [pair for pair, _ in new]
        self.links[k : k + 1] = [found for _, found in new]

    def _piece(self, k: int) -> tuple[_Link | None, str | None]:
        """What lies between a pair that is left beside a saddle."""
        i, j = self.pairs[k]
        above = self._above(i, j)
        guess, scale, reach = self._guess(i, j, None, UNSEEN * above)
        passed = _Link(None, passed=(guess.points[1:-1], guess.values[1:-1]))
        seen = not guess.finite or guess.rise > UNSEEN * above
        if seen and guess.finite and not self.every and guess.rise <= (1 - BELOW) * above:
            self.progress(f"between two minima of the chain the path stays below: {guess.highest:.6g}")
            return passed, None
        first, second = self._settled(i, j), self._settled(j, i)
        if first == second:
            self.pairs[k] = first, second
            return _Link(None, passed=(guess.points[:0], guess.values[:0])), None
        # Between two minima lies a rise: where none is seen, one of them is none, or the points are blind.
        if not seen and not (self._strict(first, scale) and self._strict(second, scale)):
            self.progress("between two points of the chain the path does not rise")
            return passed, None
        self.pairs[k] = first, second
        return self._between(first, second, None, (guess, scale, reach) if (first, second) == (i, j) else None)

    def _below(self, path: Path, i: int, j: int) -> bool:
        """Whether a path between two minima of the chain stays below its highest saddle."""
        return path.maximum <= self.highest - BELOW * self._above(i, j)

    def _above(self, i: int, j: int) -> float:
        """How far the highest saddle lies above the higher of two minima."""
        return self.highest - max(self.known.values[i], self.known.values[j])

    def _strict(self, k: int, scale: float) -> bool:
        """Whether a point is known to be a minimum, and not one on its way to infinity."""
        found = self.known.verified[k]
        return found is not None and found.reason is None and found.away <= REACHED * scale

    def _settled(self, end: int, other: int) -> int:
        """The minimum in whose valley an end lies that no descent has reached, for it was not relaxed that far."""
        looked = self.known.verified[end]
        if end > 1 or (looked is not None and looked.reason is None):
            return end
        way, scale, reach, _ = self._apart(end, other)
        surface, others = Surface(self.landscape, scale), self.known.without(end)
        found = minimum_below(surface, self.known.points[end], way, reach, FARTHER * self.smallest, others)
        self._count(surface, "pieces")
        if found.reason is not None:
            return end
        place = found.known if found.known is not None else self.known.at(surface, found)
        if place == end:
            self.known.verified[end] = found
        if place is None:
            place = self.known.add(found.point, found.value, found)
        lower = self.known.values[end] - found.value
        if place != end:
            self.progress(f"the {('start', 'end')[end]} lies in the valley of a minimum that is {lower:.3g} lower")
        return place

    # A pair ----------------------------------------------------------------------------------------------------------

    def _between(
        self, i: int, j: int, initial: Any, seen: tuple[Guess, float, float] | None = None
    ) -> tuple[_Link | None, str | None]:
        """The saddle between two minima, or one on the way; or why there is none; ``seen`` is a first path."""
        reason: str | None = None
        for start in self._starts(i, j, initial, seen):
            if isinstance(start, _Link):
                return start, None
            if isinstance(start, str):
                reason = start
                continue
            refinement = Refinement(self.landscape, start, self.tolerance, self.known, self.verify, self.batch)
            try:
                saddle = refinement.run()
            except LandscapeError as error:
                reason = str(error)
                self._count(refinement.surface, "search")
                self.progress(f"saddle search: {reason}")
                continue
            self.smallest, reason = saddle.tolerance, saddle.reason
            self._count_saddle(saddle)
            self.progress(f"saddle search: value {saddle.value:.6g}, residual {saddle.residual:.3g}, {reason}")
            if not self.verify and saddle.residual <= saddle.tolerance:
                return _Link(saddle), reason
            if not saddle.converged:
                continue
            link = _Link(saddle, refinement.sides)
            if link.places[0] == link.places[1]:
                reason = "both sides of the saddle lead to the same minimum"
            elif any(other is not None and set(other.places) == set(link.places) for other in self.links):
                reason = "the search has found a saddle of the chain again"
            else:
                return link, None
        return None, reason

    def _starts(
        self, i: int, j: int, initial: Any, seen: tuple[Guess, float, float] | None
    ) -> Iterator[Start | str | _Link]:
        """Where to search from, cheap ones first; why a path gives no start, in words; or a path that is enough."""
        if self._apart(i, j)[3]:
            yield (
                "the endpoints are the same configuration, once the landscape's zero modes, such as rotations, are "
                "taken out of their distance"
            )
            return
        guess, scale, reach = seen or self._guess(i, j, initial)
        self.against = self.against or (len(self.pairs) == 1 and guess.finite and guess.against)
        yield self._of_guess(guess, scale, reach, (i, j)) if guess.finite else "the first path cannot be evaluated"
        a, b = guess.points[0], guess.points[-1]
        for points, terms, budget in PATHS if len(self.pairs) == 1 else PATHS[:1]:
            options: dict[str, Any] = {"n_points": points, "n_terms": terms, "budget": budget * points}
            try:
                path = find_path(self.landscape, a, b, initial=guess.curve_at if guess.finite else None, **options)
            except LandscapeError as error:
                if error.best is not None:
                    self._count_path(error.best)
                yield str(error)
                continue
            self._count_path(path)
            self.progress(f"path: maximum {path.maximum:.6g}, {path.reason}")
            if len(self.pairs) > 1 and not self.every and self._below(path, i, j):
                yield _Link(None, passed=(path.points(path.t[1:-1]), path.values[1:-1]))
                return
            yield start_of_path(self.landscape, path, (i, j))[1]

    def _apart(self, i: int, j: int) -> tuple[np.ndarray, float, float, bool]:
        """The displacement between two minima, zero modes left out; its length, its largest component, and whether
        they are one configuration."""
        a, b = self.known.points[i], self.known.points[j]
        plain = np.asarray(to_host(self.landscape.displacement(a, b)), dtype=np.float64)
        way = moved_near(self.landscape, a, b, Surface(self.landscape).zero_modes)
        whole, apart = float(np.linalg.norm(plain)), float(np.linalg.norm(way))
        same = apart <= SAME * whole
        way = plain if same else way
        return way, float(np.linalg.norm(way)), float(np.abs(way).max()), same

    def _guess(self, i: int, j: int, initial: Any, unseen: float = 0.0) -> tuple[Guess, float, float]:
        """A first path, evaluated, and its scale and reach; with a second look where its rise is unseen."""
        way, scale, reach, _ = self._apart(i, j)
        surface = Surface(self.landscape)
        guess = first_guess(surface, self.known.points[i], way, initial)
        if guess.finite and (guess.rise <= unseen or (len(self.pairs) == 1 and _tells_little(surface, guess))):
            guess = guess.looked_at_again(surface)
        self._count(surface, "path")
        self._take_ends(surface, guess, i, j)
        return guess, scale, reach

    def _of_guess(self, guess: Guess, scale: float, reach: float, ends: tuple[int, int]) -> Start:
        t, x, tangent = guess.top()
        self.progress(f"first path: maximum about {guess.highest:.6g} near t = {t:.3f}")
        height = range_without_spike(guess.values, SPIKE)
        part, higher = RESIDUAL / x.size**0.5, max(guess.values[0], guess.values[-1])
        return Start(
            point=x,
            uphill=tangent,
            onward=tangent,
            ends=ends,
            scale=scale,
            reach=reach,
            small=lambda value: part * min(height, max(LEAST * height, value - higher)) / scale,
            lowest=float(guess.values.min()),
            height=float(np.ptp(guess.values)),
            leash=LEASH,
        )

    def _take_ends(self, surface: Surface, guess: Guess, i: int, j: int) -> None:
        """Keeps the values at the ends, and refuses ends that are no minima."""
        largest = max((surface.residual(g) for g in guess.gradients if np.isfinite(g).all()), default=0.0)
        ends = [("start", i, 0), ("end", j, -1)]
        for name, k, at in ends:
            value = float(guess.values[at])
            if not (np.isfinite(value) and np.isfinite(guess.gradients[at]).all()):
                raise _not_evaluated(surface, name, guess.points[at], value)
            if np.isnan(self.known.values[k]):
                self.known.values[k] = value
        for name, _, at in ends if len(self.pairs) == 1 else []:
            residual = surface.residual(guess.gradients[at])
            if residual > max(RELAXED * largest, self.tolerance or 0.0):
                apart = float(np.linalg.norm(guess.points[-1] - guess.points[0]))
                raise ValueError(
                    f"the {name} is no minimum: its gradient of {residual:.3g} is {residual / largest:.0%} of the "
                    f"largest on the way to the other end, {apart:.3g} away; relax both ends first"
                )

    # The counts ------------------------------------------------------------------------------------------------------

    def _add(self, calls: int, stage: str) -> None:
        self.calls[stage if len(self.pairs) == 1 else "pieces"] += calls

    def _count(self, surface: Surface, stage: str) -> None:
        self._add(surface.evaluations.gradients, stage)
        self.rounds += surface.rounds

    def _count_saddle(self, saddle: Saddle) -> None:
        assert saddle.calls is not None
        for stage, n in saddle.calls.items():
            self._add(n, stage)
        self.rounds += saddle.rounds

    def _count_path(self, path: Path) -> None:
        self._add(path.evaluations.values + path.evaluations.gradients, "path")
        self.rounds += path.rounds or 0
        if len(self.pairs) == 1:
            self.path = path

    # The result ------------------------------------------------------------------------------------------------------

    def _result(self, reason: str | None) -> Connection:
        found = [link for link in self.links if link is not None]
        whole = None not in self.links and self.verify
        chain = [self.pairs[0][0], *(pair[1] for pair in self.pairs)]
        if not self.verify:
            reason = "not verified" if found else reason
        elif not whole:
            hint = (
                "; the values rise where the gradient falls: is it the force, minus the gradient?"
                if self.against
                else ""
            )
            reason = f"the chain is not whole: {reason}{hint}"
        else:
            reason = self._what_it_rests_on()
        minima = [(self.known.points[k], self.known.values[k]) for k in chain]
        return Connection(
            saddles=tuple(link.saddle for link in found if link.saddle is not None),
            minima=np.stack([point for point, _ in minima]),
            minima_values=np.array([value for _, value in minima]),
            path=path_through(self.landscape, minima, [_stretch(link) for link in found]) if whole else self.path,
            calls={**self.calls, "total": sum(self.calls.values())},
            rounds=self.rounds,
            converged=whole,
            reason=str(reason),
        )

    def _what_it_rests_on(self) -> str:
        """ "converged", and how it is known of pairs that no saddle was searched between."""
        saddles = [link.saddle for link in self.links if link is not None and link.saddle is not None]
        reason = max(saddles, key=lambda saddle: saddle.value).reason
        alone = sum(link is not None and link.passed is not None and len(link.passed[0]) > 0 for link in self.links)
        if not alone:
            return reason
        pairs = "one pair" if alone == 1 else f"{alone} pairs"
        return f"{reason}; {pairs} of the chain not searched, for a coarse path between them stays below the saddle"


def _tells_little(surface: Surface, guess: Guess) -> bool:
    """Whether a first path does not rise, or is as steep at an end as anywhere: its points may all lie in minima."""
    steep = [surface.residual(gradient) for gradient in guess.gradients]
    flat = guess.rise <= UNSEEN * float(np.ptp(guess.values))
    return flat or max(steep[0], steep[-1]) > RELAXED * max(steep)


def _not_evaluated(surface: Surface, name: str, point: np.ndarray, value: float) -> LandscapeError:
    """What the landscape says of an end that cannot be evaluated."""
    try:
        surface.stack(point[None])
    except LandscapeError as error:
        return LandscapeError(f"the {name} cannot be evaluated: {error}", point)
    return LandscapeError(f"the value or the gradient at the {name} is not finite ({value})", point)


def _stretch(link: _Link) -> list[tuple[np.ndarray, float]]:
    """Points and values from one minimum of the chain to the next, without the two."""
    if link.saddle is None:
        assert link.passed is not None
        return list(zip(*link.passed, strict=True))
    before, after = (list(zip(*side.way, strict=True)) for side in link.sides if side.way is not None)
    return [*before[::-1], (link.saddle.point, link.saddle.value), *after]
