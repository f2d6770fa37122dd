"""The base class of path methods, and the kinds of their options.

A method is a frozen dataclass whose fields are its options. The kind of a field determines its validation and the
option of the same name on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Self

import numpy as np

from ..landscape import PATH_DEFAULTS
from .objectives import PowerSum, SoftTop, make_objective
from .problem import PathProblem
from .record import Keeps
from .solvers import Solver


@dataclass(frozen=True)
class Whole:
    """An option that is a whole number.

    Attributes
    ----------
    help
        A sentence for the command line.
    least
        The smallest number.
    meaning
        The meaning of the smallest number.
    """

    help: str
    least: int
    meaning: str

    def read(self, name: str, given: Any) -> int:
        """Convert to a whole number; ValueError where that fails, or it is too small."""
        is_whole = np.ndim(given) == 0 and not isinstance(given, (bool, np.bool_, str, bytes))
        try:
            is_whole = is_whole and int(given) == given
        except (TypeError, ValueError, OverflowError):
            is_whole = False
        if not is_whole:
            raise ValueError(f"{name} is {given!r}; expected a whole number")
        if given < self.least:
            raise ValueError(f"{name} is {given}; expected at least {self.least}, {self.meaning}")
        return int(given)


@dataclass(frozen=True)
class Number:
    """An option that is a real number.

    Attributes
    ----------
    help
        A sentence for the command line.
    least
        The smallest number; None for any.
    """

    help: str
    least: float | None = None

    def read(self, name: str, given: Any) -> float:
        """Convert to a number; ValueError where it is not finite, or too small."""
        try:
            value = float("nan") if isinstance(given, (str, bytes)) or np.ndim(given) else float(given)
        except (TypeError, ValueError):
            value = float("nan")
        if not np.isfinite(value):
            raise ValueError(f"{name} is {given!r}; expected a finite number")
        if self.least is not None and value < self.least:
            raise ValueError(f"{name} is {value}; expected a number of at least {self.least:g}")
        return value


@dataclass(frozen=True)
class Choice:
    """An option with a fixed set of names."""

    help: str
    names: tuple[str, ...]

    def read(self, name: str, given: Any) -> str:
        """Check the name; ValueError where it is not one of them."""
        if not isinstance(given, str) or given not in self.names:
            raise ValueError(f"{name} is {given!r}; expected one of {', '.join(self.names)}")
        return given


@dataclass(frozen=True)
class Switch:
    """An option that is on or off."""

    help: str

    def read(self, name: str, given: Any) -> bool:
        """Convert to a bool; ValueError where that fails."""
        if not isinstance(given, (bool, np.bool_)):
            raise ValueError(f"{name} is {given!r}; expected True or False")
        return bool(given)


Kind = Whole | Number | Choice | Switch


def option(kind: Kind, default: Any = None) -> Any:
    """Make a field of a method; a default of None is filled in by the landscape, or by the method."""
    return field(default=default, metadata={"kind": kind})


def options_of(method: Any) -> dict[str, Kind]:
    """Return the options of a method, or of its class, by name."""
    return {each.name: each.metadata["kind"] for each in fields(method)}


def read_options(method: Any) -> None:
    """Validate and convert the options of a method, replacing None by the default.

    Raises
    ------
    ValueError
        If one has another type, or is out of range.
    """
    defaults = {each.name: each.default for each in fields(method)}
    for name, kind in options_of(method).items():
        given = getattr(method, name)
        if given is None:
            given = defaults[name]
        object.__setattr__(method, name, given if given is None else kind.read(name, given))


def chosen(method: Any) -> dict[str, Any]:
    """Return the options of a method that differ from the defaults."""
    return {each.name: value for each in fields(method) if (value := getattr(method, each.name)) != each.default}


@dataclass(frozen=True, kw_only=True, repr=False)
class Method:
    """The interface of a path method.

    Attributes
    ----------
    name
        Its name in :func:`find_path` and on the command line.
    basis
        The family of its paths, a key of :data:`~minilandscape.paths.bases.BASES`.
    synonyms
        Names of options of other methods, and the options of this one that they stand for.
    searches
        Whether it searches; else there are no steps and no initial path.
    """

    name: ClassVar[str]
    basis: ClassVar[str]
    synonyms: ClassVar[Mapping[str, str]] = {}
    searches: ClassVar[bool] = True

    def __post_init__(self) -> None:
        read_options(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in chosen(self).items())})"

    @classmethod
    def variants(cls) -> dict[str, Self]:
        """List the variants to compare, by label."""
        return {cls.name: cls()}

    def on(self, landscape: Any) -> Self:
        """Fill in the options that were not given, by the defaults of the landscape."""
        raise NotImplementedError

    @property
    def samples(self) -> int:
        """The number of sample points, both endpoints included, once it is known."""
        raise NotImplementedError

    def problem(self, landscape: Any, start: Any, end: Any, beta: float = 0.0) -> PathProblem:
        """Make the problem between two points; an objective with stages starts at β, or at its first one if 0."""
        raise NotImplementedError

    def moves(self) -> Solver:
        """Make the solver, once the options are known."""
        raise NotImplementedError

    @property
    def keeps(self) -> Keeps:
        """Which path of the search is the result."""
        return Keeps.LOWEST

    def steps_on(self, landscape: Any) -> Any:
        """Return the default number of steps of the landscape; None runs to convergence."""
        return None

    def planned(self, last: int | None, budget: int | None) -> int | None:
        """Plan the number of steps of the solver, from the requested number and the budget; None for no limit."""
        return last

    def metadata(self, problem: PathProblem) -> dict[str, Any]:
        """Collect the options that were used, for the result."""
        return {name: getattr(self, name) for name in options_of(self)}


def default_on(landscape: Any, name: str, given: Any, elsewhere: Any) -> Any:
    """Return an option as given, or the default of the landscape, or that of landscapes without one."""
    value = landscape.path_defaults.get(name) if given is None else given
    return elsewhere if value is None else value


def objective_on(landscape: Any) -> PowerSum | SoftTop:
    """Make the default objective of the landscape, for paths that do not minimise it."""
    name = default_on(landscape, "objective", None, PATH_DEFAULTS["objective"])
    return make_objective(name, lam=default_on(landscape, "lam", None, None) if name == "sum" else None)
