"""The search for a chain of minima and saddles between two minima."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backend import to_host
from ..display import number, with_unit
from ..landscape import LandscapeError
from ..motion import moved_near
from ..paths import Path, find_path
from ..saddles import REACHED, Known, Refinement, Saddle, Start, Surface
from . import reasons
from .guess import Guess, first_guess
from .link import Link
from .refine import SAME, range_without_spike, start_of_path
from .result import Connection, path_through
from .valley import minimum_below

#: Default threshold of the gradient norm, relative to (height above the higher endpoint) / (distance between the
#: endpoints) / √D.
RESIDUAL = 1e-3
#: A range of values is limited to this many times the range of its lower half: higher values count as spikes.
SPIKE = 10
#: Margin by which a coarse path between two minima has to stay below the highest saddle, relative to the height of the
#: saddle above them.
BELOW = 0.1
#: Lower bound of the height above the higher endpoint, relative to the range of the path: a search may pass points that
#: are not higher than the endpoints.
LEAST = 1e-3
#: A rise is ignored below this fraction of the height of the highest saddle.
UNSEEN = 0.01
#: An endpoint is not a minimum if its gradient norm is above this fraction of the largest one on the first path.
RELAXED = 0.3
#: Points may be one, up to what a relaxation leaves, if they are closer than this fraction of their largest component.
ROUNDED = 1e-6
#: Paths that are searched where the search from the first path fails: number of points, of terms, and largest number of
#: evaluations per point.
PATHS = ((16, 5, 60), (31, 10, 100))
#: A search has left the first path if a component moves by more than this fraction of the largest component of the
#: displacement between the endpoints.
LEASH = 0.75
#: Threshold for the relaxation of an endpoint that no descent has reached, relative to that of the saddle.
FARTHER = 0.1
#: An endpoint that no descent from a saddle has reached is the saddle itself, and no minimum, if it lies within the
#: first fraction of the distance between the pair, and within the second of the height above the lower minimum.
BESIDE_A_SADDLE = 0.1, 0.02
#: Values contradict gradients at points up to this fraction of the distance between the endpoints apart, by more than
#: this fraction of the range of values of the path.
JUMP_WITHIN, JUMP = 0.03, 0.05
#: Largest number of saddles of a chain.
MOST_SADDLES = 12


class ConnectionInterrupted(KeyboardInterrupt):
    """Raised at Ctrl-C; ``best`` is the chain so far, without the unfinished stage."""

    def __init__(self, best: Connection) -> None:
        super().__init__("interrupted")
        self.best = best


@dataclass
class Chain:
    """The search for a chain of minima between start and end.

    Attributes
    ----------
    known
        The minima: start, end, and those that descents have reached.
    pairs, links
        Neighbours in the chain, and the segments between them; None where one has not been found yet.
    calls
        Evaluations in each stage; those of all segments after the first saddle are ``"pieces"``.
    smallest
        Threshold of the gradient norm at the last saddle.
    against
        Whether the gradients on the first path contradict its values.
    on_saddles
        The endpoints that are saddles themselves, each with the minimum beyond it that the chain has in its place.
    """

    landscape: Any
    tolerance: float | None
    verify: bool
    every: bool
    batch: int
    progress: Callable[[str], None]
    known: Known = field(default_factory=Known)
    pairs: list[tuple[int, int]] = field(default_factory=lambda: [(0, 1)])
    links: list[Link | None] = field(default_factory=lambda: [None])
    calls: dict[str, int] = field(default_factory=lambda: {"path": 0, "search": 0, "verification": 0, "pieces": 0})
    rounds: int = 0
    path: Path | None = None
    smallest: float = float("nan")
    steep: dict[int, float] = field(default_factory=lambda: {0: float("nan"), 1: float("nan")})
    against: bool = False
    on_saddles: dict[int, int] = field(default_factory=dict)

    def run(self, start: np.ndarray, end: np.ndarray, initial: Any) -> Connection:
        """Find the chain."""
        self.known.add(start, float("nan"))
        self.known.add(end, float("nan"))
        self.known.scale = self._apart(0, 1)[1]
        try:
            return self._result(self._searched(initial))
        except KeyboardInterrupt as interrupt:
            raise ConnectionInterrupted(self._result("interrupted")) from interrupt

    def _searched(self, initial: Any) -> str | None:
        """Search until the chain is complete; returns the reason where it is not, or None."""
        reason: str | None = None
        while None in self.links:
            k = self.links.index(None)
            if len(self.links) > MOST_SADDLES:
                reason = f"the chain has more than {MOST_SADDLES} pairs"
                break
            if len(self.pairs) == 1:
                link, reason = self._between(0, 1, initial)
            else:
                link, reason = self._segment(k)
            if link is None or not self.verify:
                self.links[k] = link
                break
            self._insert(k, link)
        return reason

    @property
    def _saddles(self) -> list[Saddle]:
        """The saddles so far."""
        return [link.saddle for link in self.links if link is not None and link.saddle is not None]

    @property
    def _highest_saddle(self) -> Saddle:
        return max(self._saddles, key=lambda saddle: saddle.value)

    @property
    def highest(self) -> float:
        """The value of the highest saddle so far."""
        return self._highest_saddle.value

    @property
    def _threshold(self) -> float:
        """The threshold of the gradient norm at the highest saddle; NaN where there is none."""
        return self._highest_saddle.tolerance if self._saddles else float("nan")

    def _insert(self, k: int, link: Link) -> None:
        """Insert what was found between the k-th pair, and the remaining pairs on both sides."""
        before, after = self.pairs[k]
        if link.saddle is None:
            self.links[k] = link
            return
        link = link.between(before, after)
        first, second = link.places
        for end, place in ((before, first), (after, second)):
            if self._is_on_saddle(end, link, k):
                self.on_saddles[end] = place
                name = reasons.NAMES[end]
                self.progress(f"the {name} is the saddle itself: the chain continues to the minimum beyond it")
        before, after = self.on_saddles.get(before, before), self.on_saddles.get(after, after)
        new: list[tuple[tuple[int, int], Link | None]] = [((before, first), None), ((first, second), link)]
        new = [(pair, found) for pair, found in [*new, ((second, after), None)] if pair[0] != pair[1]]
        self.pairs[k : k + 1] = [pair for pair, _ in new]
        self.links[k : k + 1] = [found for _, found in new]

    def _is_on_saddle(self, end: int, link: Link, k: int) -> bool:
        """Decide whether an endpoint of the chain is the saddle of a link of the k-th pair, and no minimum."""
        saddle = link.saddle
        assert saddle is not None
        if end not in reasons.NAMES or end in link.places:
            return False
        near, below = BESIDE_A_SADDLE
        zero_modes = Surface(self.landscape).zero_modes
        away = np.linalg.norm(moved_near(self.landscape, self.known.points[end], saddle.point, zero_modes))
        height = saddle.value - min(self.known.values[place] for place in link.places)
        near_by = away <= near * self._apart(*self.pairs[k])[1]
        return bool(near_by and abs(saddle.value - self.known.values[end]) <= below * height)

    def _segment(self, k: int) -> tuple[Link | None, str | None]:
        """Find the segment between a remaining pair on one side of a saddle."""
        i, j = self.pairs[k]
        above = self._above(i, j)
        guess, scale, reach = self._guess(i, j, None, UNSEEN * above)
        passed = Link(None, passed=(guess.points[1:-1], guess.values[1:-1]))
        seen = not guess.finite or guess.rise > UNSEEN * above
        if seen and guess.finite and not self.every and guess.rise <= (1 - BELOW) * above:
            self.progress(f"between two minima of the chain, the path stays below the saddle: {guess.highest:.6g}")
            return passed, None
        first, second = self._relaxed(i, j), self._relaxed(j, i)
        if first == second:
            self.pairs[k] = first, second
            return Link(None, passed=(guess.points[:0], guess.values[:0])), None
        # Between two minima the value rises. Where no rise is found, one is not a minimum, or the points miss it.
        if not seen and not (self._strict(first, scale) and self._strict(second, scale)):
            self.progress("between two points of the chain, the value does not rise")
            return passed, None
        self.pairs[k] = first, second
        return self._between(first, second, None, (guess, scale, reach) if (first, second) == (i, j) else None)

    def _below(self, path: Path, i: int, j: int) -> bool:
        """Decide whether a path between two minima of the chain stays below its highest saddle."""
        return path.maximum <= self.highest - BELOW * self._above(i, j)

    def _above(self, i: int, j: int) -> float:
        """Compute the height of the highest saddle above the higher of two minima."""
        return self.highest - max(self.known.values[i], self.known.values[j])

    def _strict(self, k: int, scale: float) -> bool:
        """Decide whether a point is a verified minimum, and not one in a valley that extends to infinity."""
        found = self.known.verified[k]
        return found is not None and found.reason is None and found.away <= REACHED * scale

    def _relaxed(self, end: int, other: int) -> int:
        """Find the minimum below an endpoint that no descent has reached, since it was not fully relaxed."""
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
            self.progress(f"the {reasons.NAMES[end]} is in the valley of a minimum that is {lower:.3g} lower")
        return place

    # A pair ----------------------------------------------------------------------------------------------------------

    def _between(
        self, i: int, j: int, initial: Any, seen: tuple[Guess, float, float] | None = None
    ) -> tuple[Link | None, str | None]:
        """Find a saddle between two minima, or the reason why there is none; ``seen`` is an evaluated first path."""
        reason: str | None = None
        for start in self._starts(i, j, initial, seen):
            if isinstance(start, Link):
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
                if (contradiction := self._contradiction(start)) is not None:
                    return None, contradiction
                continue
            self.smallest, reason = saddle.tolerance, saddle.reason
            self._count_saddle(saddle)
            self.progress(f"saddle search: {self._value(saddle.value)}, gradient {saddle.residual:.3g}, {reason}")
            if not self.verify and saddle.residual <= saddle.tolerance:
                return Link(saddle), reason
            if not saddle.converged:
                if (contradiction := self._contradiction(start)) is not None:
                    return None, contradiction
                continue
            link = Link(saddle, refinement.sides)
            if link.places[0] == link.places[1]:
                reason = "both sides of the saddle lead to the same minimum"
            elif any(other is not None and set(other.places) == set(link.places) for other in self.links):
                reason = "the search has found a saddle of the chain again"
            else:
                return link, None
        return None, reason

    def _contradiction(self, start: Start) -> str | None:
        """Say where values contradict gradients, which no further search can mend; None where that is not seen."""
        jump = getattr(self.landscape, "jump", None)
        if jump is None or self.against:  # a gradient of the wrong sign is told otherwise
            return None
        found = jump(JUMP_WITHIN * self.known.scale, JUMP * start.height)
        return None if found is None else reasons.contradiction(self.landscape, found)

    def _starts(
        self, i: int, j: int, initial: Any, seen: tuple[Guess, float, float] | None
    ) -> Iterator[Start | str | Link]:
        """Yield starts of searches, cheap ones first; a reason where a path gives none; or a path that suffices."""
        if self._apart(i, j)[3]:
            yield ("the endpoints are the same configuration up to the landscape's zero modes, such as rotations")
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
                yield Link(None, passed=(path.points(path.t[1:-1]), path.values[1:-1]))
                return
            yield start_of_path(self.landscape, path, (i, j))[1]

    def _apart(self, i: int, j: int) -> tuple[np.ndarray, float, float, bool]:
        """Compute the displacement between two minima without zero modes.

        Also returned are its length, its largest component, and whether both are the same configuration.
        """
        a, b = self.known.points[i], self.known.points[j]
        plain = np.asarray(to_host(self.landscape.displacement(a, b)), dtype=np.float64)
        way = moved_near(self.landscape, a, b, Surface(self.landscape).zero_modes)
        whole, apart = float(np.linalg.norm(plain)), float(np.linalg.norm(way))
        same = apart <= SAME * whole
        way = plain if same else way
        return way, float(np.linalg.norm(way)), float(np.abs(way).max()), same

    def _guess(self, i: int, j: int, initial: Any, unseen: float = 0.0) -> tuple[Guess, float, float]:
        """Evaluate a first path, with a second set of points where no rise is found; also its scale and reach."""
        way, scale, reach, _ = self._apart(i, j)
        surface = Surface(self.landscape)
        guess = first_guess(surface, self.known.points[i], way, initial)
        if guess.finite and (guess.rise <= unseen or (len(self.pairs) == 1 and _tells_little(surface, guess))):
            guess = guess.looked_at_again(surface)
        self._count(surface, "path")
        self._take_ends(surface, guess, i, j)
        return guess, scale, reach

    def _value(self, value: float) -> str:
        """A value with what it is and its unit, for a line of progress."""
        return f"{self.landscape.quantity} {with_unit(number(value, 6), self.landscape.value_unit)}"

    def _of_guess(self, guess: Guess, scale: float, reach: float, ends: tuple[int, int]) -> Start:
        t, x, tangent = guess.top()
        self.progress(f"first path: maximum, {self._value(guess.highest)}, near t = {t:.3f}")
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
        """Store the values at the endpoints; ValueError where one is not a minimum."""
        largest = max((surface.residual(g) for g in guess.gradients if np.isfinite(g).all()), default=0.0)
        ends = [("start", i, 0), ("end", j, -1)]
        for name, k, at in ends:
            value = float(guess.values[at])
            if not (np.isfinite(value) and np.isfinite(guess.gradients[at]).all()):
                raise reasons.not_evaluated(surface, name, guess.points[at], value)
            if np.isnan(self.known.values[k]):
                self.known.values[k] = value
        for name, k, at in ends if len(self.pairs) == 1 else []:
            residual = self.steep[k] = surface.residual(guess.gradients[at])
            if residual > max(RELAXED * largest, self.tolerance or 0.0):
                apart = float(np.linalg.norm(guess.points[-1] - guess.points[0]))
                rises = guess.rise > UNSEEN * np.ptp(guess.values) and apart > ROUNDED * np.abs(guess.points).max()
                raise reasons.not_a_minimum(self.landscape, name, residual, largest, apart, rises)

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
        complete = None not in self.links and self.verify
        chain = [self.pairs[0][0], *(pair[1] for pair in self.pairs)]
        if not self.verify:
            reason = "not verified" if found else reason
        else:
            reason = self._reason_when_complete() if complete else reasons.incomplete(reason, self.against)
        minima = [(self.known.points[k], self.known.values[k]) for k in chain]
        places = [k for k, _ in itertools.groupby(chain)]  # an endpoint that was replaced stands beside its minimum
        return Connection(
            saddles=tuple(link.saddle for link in found if link.saddle is not None),
            minima=np.stack([self.known.points[k] for k in places]),
            minima_values=np.array([self.known.values[k] for k in places]),
            path=path_through(self.landscape, minima, [link.stretch for link in found]) if complete else self.path,
            calls={**self.calls, "total": sum(self.calls.values())},
            rounds=self.rounds,
            converged=complete,
            reason="; ".join([str(reason), *self._of_ends(chain[0], chain[-1])]),
        )

    def _of_ends(self, first: int, last: int) -> list[str]:
        """Say which endpoints were no minima, and what the chain has in their places."""
        said, known = [], self.known
        for end, place in ((0, first), (1, last)):
            if place != end:
                points, lower = [known.points[end], known.points[place]], known.values[end] - known.values[place]
                said.append(reasons.replaced(self.landscape, end, points, lower, end in self.on_saddles))
            elif self.steep[end] > self._threshold:
                said.append(reasons.not_relaxed(self.landscape, end, self.steep[end], self._threshold))
        return said

    def _reason_when_complete(self) -> str:
        """Return "converged", with the number of pairs between which no saddle was searched."""
        reason = self._highest_saddle.reason
        alone = sum(link is not None and link.passed is not None and len(link.passed[0]) > 0 for link in self.links)
        return f"{reason}; {reasons.not_searched(alone)}" if alone else reason


def _tells_little(surface: Surface, guess: Guess) -> bool:
    """Decide whether a first path has no rise, or is steepest at an endpoint: its points may all be minima."""
    steep = [surface.residual(gradient) for gradient in guess.gradients]
    flat = guess.rise <= UNSEEN * float(np.ptp(guess.values))
    return flat or max(steep[0], steep[-1]) > RELAXED * max(steep)
