"""The command ``minilandscape``."""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
import warnings
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from minilandscape.display import nearest

from .commands import COMMANDS
from .help import Group, PanelledCommand
from .options import UsageError
from .output import check_streams, document_alone, no_reader_left, note

INTERRUPTED = 130
HELP = frozenset(("-h", "--help"))
#: Set by the shell's completion, which asks about every command.
COMPLETION = "_MINILANDSCAPE_COMPLETE"
# Newer Typer carries its own Click, older ones import it: either way this is ClickException.
ClickException: Any = typer.BadParameter.__mro__[2]


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The application with some of its commands, whose modules are imported; its help lists all of them."""
    made = typer.Typer(
        name="minilandscape",
        cls=Group,
        help=_options.__doc__,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # [fcp] and :name: in a text are text
        context_settings={"help_option_names": sorted(HELP)},
    )
    made.callback()(_options)
    for name in names:
        command = COMMANDS[name]
        made.command(name, cls=PanelledCommand, short_help=command.summary)(command.load(name))
    return made


def __getattr__(name: str) -> Any:
    """``app``: the application with all of its commands, made when it is asked for."""
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return application()


def _version(value: bool) -> None:
    if value:
        from minilandscape import __version__

        print(f"minilandscape {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Loss and energy landscapes: train networks, connect minima by low-loss paths, find barriers and saddles."""


def script() -> None:
    """The command, in a process of its own."""
    main(ends_process=True)


def main(arguments: list[str] | None = None, *, ends_process: bool = False) -> None:
    """Runs the command line; every error becomes one line and an exit code.

    0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"] or ["--help"]
    arguments = (["--debug"] if debug else []) + arguments
    check_streams()
    try:
        with warnings.catch_warnings(), document_alone("--json" in arguments and not HELP.intersection(arguments)):
            # PyTorch's own, of what it evaluates point by point: nothing is wrong, and there is nothing to do about it.
            warnings.filterwarnings("ignore", "There is a performance drop because we have not yet implemented")
            warnings.showwarning = lambda message, *_: note(f"warning: {' '.join(str(message).split())}")
            app = application(COMMANDS if COMPLETION in os.environ else _called(arguments))
            code = app(arguments, prog_name="minilandscape", standalone_mode=False, obj=arguments)
        sys.stdout.flush()  # a reader that has gone is noticed here
        if code == INTERRUPTED:  # newer Typer makes an exit code of Ctrl-C itself
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except (KeyboardInterrupt, typer.Abort):
        if ends_process:  # a second Ctrl-C would only break off what its threads are putting away
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("minilandscape: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and no_reader_left():  # as of | head, which has seen enough
            sys.exit(1)
        if debug:
            traceback.print_exc()
        print(f"minilandscape: {_line(error, arguments)}", file=sys.stderr)
        for hint in getattr(error, "__notes__", ()):
            print(hint, file=sys.stderr)
        sys.exit(2 if isinstance(error, (UsageError, ClickException)) else 1)


def _called(arguments: list[str]) -> list[str]:
    """The command that is called; none for the help of all."""
    words = [argument for argument in arguments if not argument.startswith("-")]
    return [name for name in words[:1] if name in COMMANDS]


def _line(error: Any, arguments: list[str]) -> str:
    """What a user reads of an error."""
    if isinstance(error, ClickException):
        command = error.ctx.command_path if getattr(error, "ctx", None) else "minilandscape"
        text = error.format_message()
        if (option := getattr(error, "option_name", None)) is not None and error.ctx is not None:
            known = [name for param in error.ctx.command.params for name in param.opts if name.startswith("--")]
            text = f"there is no option {option}{nearest(option, known)}"
        elif (typed := _typed(error, arguments)) is not None:
            text = f"{typed[0]} is {typed[1]!r}: {_expected(str(error.message))}"
        return f"{' '.join(text.split()).rstrip('.')}; see {command} --help"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    text = " ".join(str(error).split())
    if isinstance(error, (ValueError, OSError, ArithmeticError, RuntimeError, TypeError)):
        return text
    return f"unexpected {type(error).__name__}: {text}; run again with --debug for the traceback"


def _expected(message: str) -> str:
    """What an option is to be, in the same words whichever version of Typer refuses it."""
    if re.search(r"valid int", message):
        return "expected a whole number"
    if re.search(r"valid (number|float)", message):
        return "expected a number"
    return message.replace("Input should be", "expected a number")


def _typed(error: Any, arguments: list[str]) -> tuple[str, str] | None:
    """The option that an error is about and what was given for it, where that can be told."""
    names = getattr(getattr(error, "param", None), "opts", ())
    for name, after in zip(arguments, [*arguments[1:], None], strict=True):
        option, equals, value = name.partition("=")
        if option in names and (equals or after is not None):
            return option, value if equals else str(after)
    return None


if __name__ == "__main__":
    script()
