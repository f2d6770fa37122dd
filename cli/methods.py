"""The options of the path methods on the command line: made of the fields of the methods' own classes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from minilandscape.landscape import as_landscape
from minilandscape.paths.method import Choice, Kind, Method, Switch, Whole, options_of
from minilandscape.paths.methods import METHODS
from minilandscape.paths.search import as_method, without_effect

from .options import OF_METHODS, PATH, Command, choice, refuse_given, replace_parameter, usage

MethodName = Annotated[str, typer.Option(help="How the path is searched.", rich_help_panel=PATH, **choice(*METHODS))]


def with_method_options(command: Command) -> Command:
    """Puts the options of all methods in the place of a command's ``**options``.

    One option stands for all that mean the same: ``--points`` also counts the images of a band.
    """
    takers: dict[str, dict[str, Kind]] = {}
    for method in METHODS.values():
        meant = {own: name for name, own in method.synonyms.items()}
        for own, kind in options_of(method).items():
            takers.setdefault(meant.get(own, own), {})[method.name] = kind
    options = {}
    for name, kinds in takers.items():
        panel = PATH if len(kinds) == len(METHODS) else OF_METHODS + ", ".join(kinds)
        options[name] = _option(name, list(kinds.values()), panel)
    return replace_parameter(command, command, "options", _parameters(options))


def with_counts(*methods: type[Method]) -> Callable[[Command], Command]:
    """Puts the options of some methods that count something in the place of a command's ``**options``."""
    kinds = {name: kind for method in methods for name, kind in options_of(method).items()}
    counts = {name: _option(name, [kind], PATH) for name, kind in kinds.items() if isinstance(kind, Whole)}
    return lambda command: replace_parameter(command, command, "options", _parameters(counts))


def _parameters(options: dict[str, Any]) -> list[inspect.Parameter]:
    """Parameters of some annotations."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, kind, default=None, annotation=each) for name, each in options.items()]


def _option(name: str, kinds: list[Kind], panel: str | None) -> Any:
    """The annotation of an option, of the methods that take it."""
    kind, flag = kinds[0], name.removeprefix("n_").replace("_", "-")
    text = " ".join(dict.fromkeys(each.help for each in kinds))
    declared: dict[str, Any] = {"help": text, "rich_help_panel": panel}
    if isinstance(kind, Switch):
        return Annotated[bool | None, typer.Option(f"--{flag}/--no-{flag}", **declared)]
    if isinstance(kind, Whole):
        return Annotated[int | None, typer.Option(f"--{flag}", min=kind.least, metavar="N", **declared)]
    if isinstance(kind, Choice):
        return Annotated[str | None, typer.Option(f"--{flag}", **choice(*kind.names), **declared)]
    return Annotated[float | None, typer.Option(f"--{flag}", metavar="X", **declared)]


def method_given(context: typer.Context, name: str, options: dict[str, Any]) -> Method:
    """The method with the options that were given; UsageError where they have no effect on it, or are out of range."""
    method = METHODS[name]
    useless = without_effect(method, options)
    refuse_given(context, useless, f"without effect on the method {name}")
    if not method.searches:
        refuse_given(
            context,
            ("steps", "target_barrier", "initial"),
            f"without effect on the method {name}, which searches nothing",
        )
    with usage():
        return as_method(name, {key: value for key, value in options.items() if key not in useless})


def check_on(landscape: Any, method: Method) -> None:
    """Refuses options that do not go with the landscape's own objective."""
    with usage():
        method.on(as_landscape(landscape))
