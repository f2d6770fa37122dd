"""What commands write: lines for people, progress, the JSON document, files that are checked before any work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

from minilandscape.display import Row

from .options import UsageError, file_and_row

#: Seconds until the first line of progress where standard error is no terminal, and between later ones.
FIRST_LINE, LINE_EVERY = 10.0, 60.0


#: Where the JSON document goes; unset where nothing else needs to be kept from standard output.
_documents: ContextVar[TextIO] = ContextVar("documents")


def check_streams() -> None:
    """Opens what a caller has closed, and lets no character end a command that standard output cannot write."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def document_alone(asked: bool) -> Iterator[None]:
    """Leaves standard output to the JSON document, if asked: prints of a landscape go to standard error, those of
    compiled code too."""
    if not asked:
        yield
        return
    sys.stdout.flush()
    sys.stderr.flush()
    stream, copy = sys.stdout, None
    with suppress(OSError, ValueError):  # of streams that are no files
        number, errors = sys.stdout.fileno(), sys.stderr.fileno()
        copy = os.dup(number)
        os.dup2(errors, number)
        stream = os.fdopen(os.dup(copy), "w", encoding=stream.encoding, errors=stream.errors)
    token = _documents.set(stream)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _documents.reset(token)
        if copy is not None:
            try:
                stream.close()
            finally:
                _flush_compiled()
                os.dup2(copy, number)
                os.close(copy)


def _flush_compiled() -> None:
    """Writes out what compiled code has printed: its library keeps that until a buffer is full or the process ends."""
    import ctypes

    with suppress(OSError, AttributeError, TypeError):  # where the library is named otherwise
        ctypes.CDLL(None).fflush(None)


def no_reader_left() -> bool:
    """Whether the pipe behind standard output is closed; what is still to be written there is dropped if so."""
    import select

    with suppress(OSError, ValueError, AttributeError):  # of streams that are no files, and where nothing can be asked
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        if not poll.poll(0):
            return False
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def note(text: str) -> None:
    """A line for people, on standard error."""
    print(text, file=sys.stderr)


def wrote(*files: Path | str | None) -> list[Row]:
    """The line that names what was written; none where nothing was."""
    written = ", ".join(str(file) for file in files if file is not None)
    return [("wrote", written, "")] if written else []


def print_json(document: Any) -> None:
    """The one JSON document of a command."""
    from minilandscape.files import json_text

    print(json_text(document), file=_documents.get(None))


@contextmanager
def progress_bar(description: str, total: int | None) -> Iterator[Any]:
    """Yields ``advance(done, text)``: a bar on standard error, or a line now and then where none can be drawn."""
    if not sys.stderr.isatty() or os.environ.get("TERM") in ("dumb", "unknown"):
        due = time.monotonic() + FIRST_LINE

        def write(done: int, text: str = "") -> None:
            nonlocal due
            if time.monotonic() > due:
                due = time.monotonic() + LINE_EVERY
                note(f"{description}: {'' if total is None else f'{done} of {total}, '}{text}")

        yield write
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    counted: list[ProgressColumn] = [] if total is None else [MofNCompleteColumn()]
    time_column = TimeElapsedColumn() if total is None else TimeRemainingColumn()
    description_column, text_column = (
        TextColumn(field, markup=False) for field in ("{task.description}", "{task.fields[text]}")
    )
    columns = description_column, BarColumn(), *counted, text_column, time_column
    # Words of users are no markup, and lines of theirs are not broken; standard output stays where it is sent.
    console = Console(stderr=True, markup=False, emoji=False, highlight=False, soft_wrap=True)
    to_screen = sys.stdout.isatty() or sys.stdout is sys.stderr
    with Progress(*columns, console=console, transient=True, redirect_stdout=to_screen) as bar:
        task = bar.add_task(description, total=total, text="")
        yield lambda done, text="": bar.update(task, completed=done, text=text)


def check_outputs(*paths: Path | None, inputs: Iterable[str | Path | None] = (), suffix: str = "") -> None:
    """Refuses, before any work, files that could not be written at its end, or that the command reads.

    Parameters
    ----------
    inputs
        What the command reads: FILE, or FILE:ROW.
    suffix
        What the names of result files end in; "" where any name does.
    """
    names = [str(name) for name in inputs if name is not None]
    if "auto" in names:  # of --data
        names.append(os.environ.get("MINILANDSCAPE_DATA", ""))
    read = [file for name in names if name and Path(file := file_and_row(name)[0]).exists()]
    for path in paths:
        if path is None:
            continue
        if path.is_dir():
            example = f", such as {path / f'result{suffix}'}" if suffix else ""
            raise ValueError(f"{path} cannot be written: it is a folder; expected the name of a file{example}")
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ValueError(f"{path} cannot be written: {folder} is no writable folder")
        if path.exists() and any(path.samefile(file) for file in read):
            raise UsageError(f"{path} is read by this command and would be overwritten; name another file to write")
        if path.suffix.lower() != suffix and suffix:
            raise UsageError(f"{path} is no name of a result; expected one that ends in {suffix}")


def check_pictures(*paths: Path | None, inputs: Iterable[str | Path | None] = ()) -> None:
    """As :func:`check_outputs`, and refuses suffixes that no picture has."""
    if all(path is None for path in paths):
        return
    from matplotlib.figure import Figure

    check_outputs(*paths, inputs=inputs)
    known = Figure().canvas.get_supported_filetypes()
    for path in paths:
        if path is not None and path.suffix[1:].lower() not in known:
            raise UsageError(f"{path} is no picture; expected a name that ends in .png, .svg or .pdf")


def save_figure(figure: Any, path: Path) -> None:
    """Draws a figure into a file, whole or not at all."""
    import io

    from minilandscape.files import write_atomic

    buffer = io.BytesIO()
    figure.savefig(buffer, format=path.suffix[1:].lower(), dpi=150)
    write_atomic(path, buffer.getvalue())
