"""What a path method is, and what its options take.

A method is a frozen dataclass whose fields are its options. Each field holds one of the kinds below, from which follow
its validation and the option of the same name on the command line.
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
    """An option that counts something.

    Attributes
    ----------
    help
        A sentence for the command line.
    least
        The smallest number.
    meaning
        What the smallest number is.
    """

    help: str
    least: int
    meaning: str

    def read(self, name: str, given: Any) -> int:
        """The number; ValueError where it is no whole number, or too small."""
        whole = np.ndim(given) == 0 and not isinstance(given, (bool, np.bool_, str, bytes))
        try:
            whole = whole and int(given) == given
        except (TypeError, ValueError, OverflowError):
            whole = False
        if not whole:
            raise ValueError(f"{name} is {given!r}; expected a whole number")
        if given < self.least:
            raise ValueError(f"{name} is {given}; expected at least {self.least}, {self.meaning}")
        return int(given)


@dataclass(frozen=True)
class Number:
    """An option that measures something.

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
        """The number; ValueError where it is no finite number, or too small."""
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
    """An option that takes one of some names."""

    help: str
    names: tuple[str, ...]

    def read(self, name: str, given: Any) -> str:
        """The name; ValueError where it is another one."""
        if not isinstance(given, str) or given not in self.names:
            raise ValueError(f"{name} is {given!r}; expected one of {', '.join(self.names)}")
        return given


@dataclass(frozen=True)
class Switch:
    """An option that is on or off."""

    help: str

    def read(self, name: str, given: Any) -> bool:
        """On or off; ValueError where it is neither."""
        if not isinstance(given, (bool, np.bool_)):
            raise ValueError(f"{name} is {given!r}; expected True or False")
        return bool(given)


Kind = Whole | Number | Choice | Switch


def option(kind: Kind, default: Any = None) -> Any:
    """A field of a method; a default of None is chosen by the landscape, or by the method on it."""
    return field(default=default, metadata={"kind": kind})


def options_of(method: Any) -> dict[str, Kind]:
    """The options of a method, or of its class, by name."""
    return {each.name: each.metadata["kind"] for each in fields(method)}


def read_options(method: Any) -> None:
    """Puts the numbers and names that were meant in place of what was given, and the default in place of None.

    Raises
    ------
    ValueError
        If one is of another kind, or out of range.
    """
    defaults = {each.name: each.default for each in fields(method)}
    for name, kind in options_of(method).items():
        given = getattr(method, name)
        if given is None:
            given = defaults[name]
        object.__setattr__(method, name, given if given is None else kind.read(name, given))


def chosen(method: Any) -> dict[str, Any]:
    """The options of a method that are not the defaults."""
    return {each.name: value for each in fields(method) if (value := getattr(method, each.name)) != each.default}


@dataclass(frozen=True, kw_only=True, repr=False)
class Method:
    """What a search asks of a path method.

    Attributes
    ----------
    name
        As :func:`find_path` and the command line call it.
    basis
        The family of its paths, in :data:`~minilandscape.paths.bases.BASES`.
    synonyms
        Names of other methods' options that mean one of its own.
    searches
        Whether it moves the path; else there are no steps, and nothing to begin from.
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
        """What a comparison of all methods runs, by label."""
        return {cls.name: cls()}

    def on(self, landscape: Any) -> Self:
        """The same method, every option that was left open chosen by the landscape."""
        raise NotImplementedError

    @property
    def samples(self) -> int:
        """The points of a path, both endpoints included, once they are chosen."""
        raise NotImplementedError

    def problem(self, landscape: Any, start: Any, end: Any, beta: float = 0.0) -> PathProblem:
        """What is minimised between two points; an objective with stages begins at β, or at its own first if 0."""
        raise NotImplementedError

    def moves(self) -> Solver:
        """What moves the path, once the options are chosen."""
        raise NotImplementedError

    @property
    def keeps(self) -> Keeps:
        """Which path is the result."""
        return Keeps.LOWEST

    def steps_on(self, landscape: Any) -> Any:
        """The landscape's own number of steps; None runs to convergence."""
        return None

    def planned(self, last: int | None, budget: int | None) -> int | None:
        """Steps that its solver may count on, of those that are asked for within a budget; None for any number."""
        return last

    def metadata(self, problem: PathProblem) -> dict[str, Any]:
        """Its options as they were used, for the result."""
        return {name: getattr(self, name) for name in options_of(self)}


def own_default(landscape: Any, name: str, given: Any, elsewhere: Any) -> Any:
    """An option as it was given, or the landscape's own default, or that of landscapes without one."""
    own = landscape.path_defaults.get(name) if given is None else given
    return elsewhere if own is None else own


def objective_on(landscape: Any) -> PowerSum | SoftTop:
    """The landscape's own objective, for paths that are measured by it but do not minimise it."""
    name = own_default(landscape, "objective", None, PATH_DEFAULTS["objective"])
    return make_objective(name, lam=own_default(landscape, "lam", None, None) if name == "sum" else None)
