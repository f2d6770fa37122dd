"""The options that commands share, and what refuses those that do not go together."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from minilandscape.display import nearest

#: The option of K=V, as many as follow it.
WORDS = "--calculator-options"


class UsageError(ValueError):
    """Options that do not go together; exit code 2."""


def spread_options(arguments: Iterable[str]) -> list[str]:
    """The arguments with ``--calculator-options`` before each K=V that follows it."""
    spread: list[str] = []
    following = False
    for argument in arguments:
        if following and (argument.startswith("=") or argument.endswith("=")):
            raise UsageError(f"{WORDS} expects NAME=VALUE without spaces, as charge=1")
        if following and "=" in argument and not argument.startswith("-") and spread[-1] != WORDS:
            spread.append(WORDS)
        else:
            following = following and spread[-1] == WORDS
        following = following or argument == WORDS
        spread.append(argument)
    return spread


Command = Callable[..., None]


def replace_parameter(called: Command, like: Command, name: str, options: Iterable[inspect.Parameter]) -> Command:
    """Gives a function the options of another one, some of them in the place of one of that name."""
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(like, eval_str=True).parameters.values():
        parameters += options if parameter.name == name else [parameter]
    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    called.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return called


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
            shown = option.opts[0] if option.param_type_name == "option" else option.name
            raise UsageError(f"{shown} is {value!r}{nearest(value, names)}; expected one of {expected}")
        return value

    return check


def choice(*names: str) -> dict[str, Any]:
    """What makes an option or argument one of some names: shown in the help, completed by the shell, checked."""

    def completed(incomplete: str) -> list[str]:
        return [name for name in names if name.startswith(incomplete)]

    return {"metavar": f"[{'|'.join(names)}]", "callback": one_of(*names), "autocompletion": completed}


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


#: Panels of options in a command's help, in their order; options of no panel come last.
PATH, LANDSCAPE, NETWORKS = "Path", "Landscape", "Network and data"
SADDLE, STRUCTURES = "Saddle", "Structures (--calculator)"
TRAINING, ANALYSIS, PLAN, RUN, OUTPUT = "Training", "Analysis", "Plan", "Run", "Output"
PANELS = (LANDSCAPE, PATH, SADDLE, TRAINING, ANALYSIS, PLAN, NETWORKS, STRUCTURES, RUN, OUTPUT)
#: Panels of options that only some path methods have begin so.
OF_METHODS = f"{PATH}, only --method "

Model = Annotated[
    str,
    typer.Option(
        help="The network; auto infers it from the number of parameters.",
        rich_help_panel=NETWORKS,
        **choice("auto", "fcp", "lenet", "autoencoder", "lstm"),
    ),
]
Variant = Annotated[
    str | None,
    typer.Option(
        help="paper (ReLU, pooling before it, 50,000 images) or authors (softplus, pooling after it, 60,000 images: "
        "what the printed tables come from). Default: what run.json beside a vector says, else paper.",
        rich_help_panel=NETWORKS,
        **choice("paper", "authors"),
    ),
]
Data = Annotated[
    str,
    typer.Option(
        help="auto, mnist5k (the digits of the mnist extra), openml, a folder of IDX files, or an .npz file.",
        metavar="WORD|PATH",
        rich_help_panel=NETWORKS,
    ),
]
TrainSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Training images: the first N. Default: the variant's number.",
        metavar="N",
        rich_help_panel=NETWORKS,
    ),
]
Device = Annotated[
    str,
    typer.Option(help="Where to compute; gpu is CUDA, through CuPy.", rich_help_panel=NETWORKS, **choice("cpu", "gpu")),
]
Dtype = Annotated[
    str, typer.Option(help="Floating-point precision.", rich_help_panel=NETWORKS, **choice("float32", "float64"))
]
Json = Annotated[
    bool,
    typer.Option(
        "--json", help="Print one JSON document on standard output and nothing else there.", rich_help_panel=OUTPUT
    ),
]


def vector_name(file: str, row: int | None) -> str:
    """FILE, or FILE:ROW."""
    return file if row is None else f"{file}:{row}"


def file_and_row(argument: str) -> tuple[str, int | None]:
    """FILE and no row, or FILE and ROW of FILE:ROW; a file whose own name looks like that comes first."""
    head, _, tail = argument.rpartition(":")
    if head and tail.isdigit() and not Path(argument).exists():
        return head, int(tail)
    return argument, None


Scheduler = Annotated[
    str | None,
    typer.Option(
        help="A Dask scheduler, tcp://HOST:8786. Default: this computer.", metavar="ADDRESS", rich_help_panel=RUN
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Processes on this computer. Default: one per core; with --device gpu, one.",
        metavar="N",
        rich_help_panel=RUN,
    ),
]
RetryFailed = Annotated[
    bool, typer.Option("--retry-failed", help="Run tasks again that failed before.", rich_help_panel=RUN)
]
