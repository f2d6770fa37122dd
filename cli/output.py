"""What commands write: lines for people, progress, the JSON document, files that are checked before any work."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .options import UsageError, file_and_row

#: Seconds between lines of progress where standard error is no terminal.
LINE_EVERY = 60.0


def note(text: str) -> None:
    """A line for people, on standard error."""
    print(text, file=sys.stderr)


def print_json(document: Any) -> None:
    """The one JSON document of a command."""
    from minilandscape.files import json_text

    print(json_text(document))


@contextmanager
def progress_bar(description: str, total: int | None) -> Iterator[Any]:
    """Yields ``advance(done, text)``: a bar on standard error, or a line a minute where that is no terminal."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def write(done: int, text: str = "") -> None:
            nonlocal last
            if time.monotonic() - last > LINE_EVERY:
                last = time.monotonic()
                note(f"{description}: {done}{'' if total is None else f' of {total}'}, {text}")

        yield write
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    time_column = TimeElapsedColumn() if total is None else TimeRemainingColumn()
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[text]}"), time_column
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
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
    import os

    read = [file for name in inputs if name is not None and Path(file := file_and_row(str(name))[0]).exists()]
    for path in paths:
        if path is None:
            continue
        folder = path.parent
        while not folder.exists():
            folder = folder.parent
        if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
            raise ValueError(f"{path} cannot be written: {path if path.is_dir() else folder} is no writable folder")
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
