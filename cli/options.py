"""The options that commands share, and what refuses those that do not go together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

#: The option of K=V, as many as follow it.
WORDS = "--calculator-options"


def spread_options(arguments: Iterable[str]) -> list[str]:
    """The arguments with ``--calculator-options`` before each K=V that follows it."""
    spread: list[str] = []
    following = False
    for argument in arguments:
        if following and "=" in argument and not argument.startswith("-") and spread[-1] != WORDS:
            spread.append(WORDS)
        else:
            following = following and spread[-1] == WORDS
        following = following or argument == WORDS
        spread.append(argument)
    return spread


class PanelledCommand(typer.core.TyperCommand):
    """A command whose help shows its options in their panels, in plain text.

    An option of K=V takes all that follow it.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments."""
        return list(super().parse_args(ctx, spread_options(args)))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, the options of no panel, then those of each."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            default = "Arguments" if param.param_type_name == "argument" else "Options"
            if (record := param.get_help_record(ctx)) is not None:
                panels.setdefault(getattr(param, "rich_help_panel", None) or default, []).append(record)
        for panel, records in panels.items():
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)


class UsageError(ValueError):
    """Options that do not go together; exit code 2."""


@contextmanager
def usage() -> Iterator[None]:
    """What a function refuses is wrong usage."""
    try:
        yield
    except ValueError as error:
        raise UsageError(str(error)) from None


def one_of(*names: str) -> Callable[[typer.CallbackParam, str | None], str | None]:
    """The callback of an option that takes some names: another one is refused as the command line is read."""

    def check(option: typer.CallbackParam, value: str | None) -> str | None:
        if value is not None and value not in names:
            expected = ", ".join(names) if len(names) > 2 else " or ".join(names)
            raise UsageError(f"{option.opts[0]} is {value!r}; expected one of {expected}")
        return value

    return check


#: Why an option of the training images is refused.
TRAIN_ONLY = "of the training images, without effect on --split test"


def refuse_given(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Refuses options that the user gave and that would change nothing; defaults pass."""
    given = [
        option.opts[0]
        for option in context.command.params
        # By name: newer Typer has an enumeration of its own in Click's place.
        if option.name in names and getattr(context.get_parameter_source(option.name), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise UsageError(f"{', '.join(given)}: {why}; remove {'it' if len(given) == 1 else 'them'}")


#: The panel of the options that a landscape of the user's own does not have.
NETWORKS = "Networks and their images"

Model = Annotated[
    str,
    typer.Option(
        help="The network of a vector; auto infers it from the number of parameters.",
        metavar="NAME",
        callback=one_of("auto", "fcp", "lenet", "autoencoder", "lstm"),
        rich_help_panel=NETWORKS,
    ),
]
Variant = Annotated[
    str | None,
    typer.Option(
        help="paper (ReLU, pooling before it, 50,000 images) or authors (softplus, pooling after it, 60,000 images: "
        "what the printed tables come from). Default: what run.json beside a vector says, else paper.",
        callback=one_of("paper", "authors"),
        rich_help_panel=NETWORKS,
    ),
]
Data = Annotated[
    str,
    typer.Option(
        help="auto, mnist5k (the digits of the mnist extra), openml, a folder of IDX files, or an .npz file.",
        rich_help_panel=NETWORKS,
    ),
]
TrainSize = Annotated[
    int | None,
    typer.Option(min=1, help="Training images: the first N. Default: the variant's number.", rich_help_panel=NETWORKS),
]
Device = Annotated[
    str,
    typer.Option(help="cpu, or gpu (CUDA, through CuPy).", callback=one_of("cpu", "gpu"), rich_help_panel=NETWORKS),
]
Dtype = Annotated[
    str, typer.Option(help="float32 or float64.", callback=one_of("float32", "float64"), rich_help_panel=NETWORKS)
]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output and nothing else there.")
]


def file_and_row(argument: str) -> tuple[str, int | None]:
    """FILE and no row, or FILE and ROW of FILE:ROW; a file whose own name looks like that comes first."""
    head, _, tail = argument.rpartition(":")
    if head and tail.isdigit() and not Path(argument).exists():
        return head, int(tail)
    return argument, None
