"""The command ``minilandscape``."""

from __future__ import annotations

import signal
import sys
import traceback
from typing import Annotated, Any

import typer

from . import campaign, demo, info, networks, paths, points, sets
from .options import UsageError

INTERRUPTED = 130
# Newer Typer carries its own Click, older ones import it: either way this is ClickException.
ClickException: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="minilandscape",
    help="Loss and energy landscapes: train networks, join points by low paths, measure barriers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    demo.demo,
    networks.train,
    networks.evaluate,
    paths.connect,
    paths.compare,
    paths.figure3,
    sets.kpca,
    sets.statistics,
    points.curvature,
    points.surface,
    campaign.reproduce,
    campaign.status,
    campaign.report,
    info.info,
):
    app.command()(command)


def _version(value: bool) -> None:
    if value:
        from minilandscape import __version__

        print(f"minilandscape {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    """Loss and energy landscapes: train networks, join points by low paths, measure barriers."""


def script() -> None:
    """The command, in a process of its own."""
    main(ends_process=True)


def main(arguments: list[str] | None = None, *, ends_process: bool = False) -> None:
    """Runs the command line; every error becomes one line and an exit code.

    0 done, 1 failed, 2 wrong usage, 130 interrupted.
    """
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in arguments
    arguments = (["--debug"] if debug else []) + [a for a in arguments if a != "--debug"]
    try:
        code = app(arguments, prog_name="minilandscape", standalone_mode=False, obj=arguments)
        if code == INTERRUPTED:  # newer Typer makes an exit code of Ctrl-C itself
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except (KeyboardInterrupt, typer.Abort):
        if ends_process:  # a second Ctrl-C would only break off what its threads are putting away
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        print("minilandscape: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if debug:
            traceback.print_exc()
        known = isinstance(error, (ValueError, OSError, ArithmeticError, RuntimeError, TypeError))
        text = " ".join(str(error).split())
        if not known:
            text = f"unexpected {type(error).__name__}: {text}; run again with --debug for the traceback"
        print(f"minilandscape: {text}", file=sys.stderr)
        sys.exit(2 if isinstance(error, UsageError) else 1)


if __name__ == "__main__":
    script()
