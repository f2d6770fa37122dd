"""What the commands share: option types, vectors and their models, data, progress, output."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer


class UsageError(ValueError):
    """Options that do not go together; exit code 2."""


def one_of(*names: str) -> Callable[[typer.CallbackParam, str | None], str | None]:
    """The callback of an option that takes some names: another one is refused as the command line is read."""

    def check(option: typer.CallbackParam, value: str | None) -> str | None:
        if value is not None and value not in names:
            expected = ", ".join(names) if len(names) > 2 else " or ".join(names)
            raise UsageError(f"{option.opts[0]} is {value!r}; expected one of {expected}")
        return value

    return check


def refuse_given(context: typer.Context, names: Iterable[str], why: str) -> None:
    """Refuses options that the user gave and that would change nothing; defaults pass."""
    given = [
        option.opts[0]
        for option in context.command.params
        # By name: newer Typer has an enumeration of its own in Click's place.
        if option.name in names and getattr(context.get_parameter_source(option.name), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise UsageError(f"{', '.join(given)}: {why}; leave {'it' if len(given) == 1 else 'them'} out")


Model = Annotated[
    str,
    typer.Option(
        help="Which network a vector belongs to; auto tells it by the vector's length.",
        metavar="NAME",
        callback=one_of("auto", "fcp", "lenet", "autoencoder", "lstm"),
    ),
]
Variant = Annotated[
    str | None,
    typer.Option(
        help="paper (ReLU, pooling before it, 50,000 images) or authors (softplus, pooling after it, 60,000 images: "
        "what the printed tables come from). Default: what run.json beside a vector says, else paper.",
        callback=one_of("paper", "authors"),
    ),
]
Data = Annotated[
    str,
    typer.Option(help="auto, mnist5k (the digits of the mnist extra), openml, a folder of IDX files, or an .npz file."),
]
TrainSize = Annotated[
    int | None, typer.Option(min=1, help="Training images: the first N. Default: the variant's number.")
]
Device = Annotated[str, typer.Option(help="cpu, or gpu (CUDA, through CuPy).", callback=one_of("cpu", "gpu"))]
Dtype = Annotated[str, typer.Option(help="float32 or float64.", callback=one_of("float32", "float64"))]
Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON document on standard output and nothing else there.")
]


#: Seconds between lines of progress where standard error is no terminal.
LINE_EVERY = 60.0


def note(text: str) -> None:
    """A line for people, on standard error."""
    print(text, file=sys.stderr)


def print_json(document: Any) -> None:
    """The one JSON document of a command."""
    from minilandscape.files import json_text

    print(json_text(document))


@dataclass(frozen=True)
class Vector:
    """One vector of a file.

    Attributes
    ----------
    variant
        Of its network; None where nothing names it.
    named_by
        What names the variant.
    certain
        Whether that says so of this very vector.
    """

    file: str
    row: int | None
    values: np.ndarray
    variant: str | None = None
    named_by: str = ""
    certain: bool = True


def read_vector_file(argument: str) -> list[Vector]:
    """The vectors of FILE, or the one of FILE:ROW."""
    from minilandscape.files import read_vectors

    file, row = _file_and_row(argument)
    if not Path(file).exists():
        raise FileNotFoundError(f"{file} does not exist")
    array = read_vectors(file)
    if array.ndim == 1:
        if row not in (None, 0):
            raise ValueError(f"{file} holds one vector; row {row} was asked for")
        return [Vector(file, None, array, *_variant(array, file, _records_beside(file)))]
    if row is not None and row >= len(array):
        raise ValueError(f"{file} holds {len(array)} vectors; row {row} was asked for (the first is 0)")
    rows, records = range(len(array)) if row is None else [row], _records_beside(file)
    return [Vector(file, k, array[k], *_variant(array[k], file, records)) for k in rows]


def _file_and_row(argument: str) -> tuple[str, int | None]:
    """FILE and no row, or FILE and ROW of FILE:ROW; a file whose own name looks like that comes first."""
    head, _, tail = argument.rpartition(":")
    if head and tail.isdigit() and not Path(argument).exists():
        return head, int(tail)
    return argument, None


def one_vector(argument: str) -> Vector:
    """The one vector of FILE or FILE:ROW."""
    vectors = read_vector_file(argument)
    if len(vectors) > 1:
        raise ValueError(f"{argument} holds {len(vectors)} vectors; name one as {argument}:ROW")
    return vectors[0]


def read_path(file: Path) -> Any:
    """The path of a file that connect wrote; ValueError says what else the file is."""
    from minilandscape.paths import load_path

    if file.is_file():
        with file.open("rb") as content:
            if content.read(6) == b"\x93NUMPY":
                raise ValueError(f"{file} holds vectors (.npy); expected a path (.npz), which connect --out writes")
    elif file.is_dir():
        raise ValueError(f"{file} is a folder; expected a path (.npz), which connect --out writes")
    return load_path(file)


def _records_beside(file: str) -> list[dict[str, Any]]:
    """The runs of the run.json in the same folder; none where there is no such file, or it is of another program."""
    from minilandscape.files import read_json

    record = Path(file).with_name("run.json")
    if not record.exists():
        return []
    documents = read_json(record)
    documents = documents if isinstance(documents, list) else [documents]
    return [run for run in documents if isinstance(run, dict) and isinstance(run.get("sha256"), dict)]


def _variant(vector: np.ndarray, file: str, records: list[dict[str, Any]]) -> tuple[str | None, str, bool]:
    """The variant that the runs beside a file name, what names it, and whether the vector is one of theirs.

    Of a vector that is none of theirs, such as a mean of them, the variant is theirs where all agree.
    """
    from minilandscape.files import sha256

    # A copy in the other precision is the same vector.
    with np.errstate(over="ignore"):
        digests = {sha256(vector.astype(dtype)) for dtype in (vector.dtype, np.float32, np.float64)}
    named_by = f"run.json beside {file}"
    for run in records:
        if digests.intersection(run["sha256"].values()):
            return run.get("variant"), named_by, True
    variants = {run.get("variant") for run in records}
    return (variants.pop(), named_by, False) if len(variants) == 1 else (None, "", False)


def settle(vectors: list[Vector], model: str, variant: str | None) -> tuple[str, str]:
    """The model and variant of some vectors; refuses what contradicts."""
    from minilandscape.networks import model_of_size, model_size

    models = []
    for vector in vectors:
        try:
            found = model_of_size(vector.values.size)
        except ValueError as error:
            raise ValueError(f"{vector.file}: {error}") from None
        if model != "auto" and found != model:
            raise ValueError(
                f"{vector.file} holds {vector.values.size} numbers, as {found} has; {model} has {model_size(model)}"
            )
        models.append(found)
    if len(set(models)) > 1:
        other = next(k for k, found in enumerate(models) if found != models[0])
        raise ValueError(
            f"{vectors[0].file} is a vector of {models[0]}, {vectors[other].file} of {models[other]}; "
            "expected vectors of one model"
        )
    return models[0], _settle_variant(vectors, variant)


def _settle_variant(vectors: list[Vector], asked: str | None) -> str:
    """The one variant of some vectors; says on standard error which, and whether it was found or assumed."""
    backwards = vectors[::-1]  # of several vectors of a variant, the first is named
    known = {vector.variant: vector for vector in backwards if vector.variant and vector.certain}
    likely = {vector.variant: vector for vector in backwards if vector.variant}
    found = known if len(known) > 1 or asked is not None else likely
    if len(found) > 1:
        (a, first), (b, second) = list(found.items())[:2]
        raise ValueError(
            f"{first.named_by} names the variant {a}, {second.named_by} {b}; expected vectors of one variant"
            + ("" if len(known) > 1 else ": name it with --variant, since they hold other vectors")
        )
    for variant, vector in known.items():
        assert variant is not None
        if asked not in (None, variant):
            raise ValueError(f"{vector.named_by} names the variant {variant}; --variant {asked} contradicts")
        others = [other.file for other in vectors if not (other.variant and other.certain)]
        note(f"variant {variant}, from {vector.named_by}" + (f"; assumed of {others[0]}" if others else ""))
        return variant
    if asked is not None:
        note(f"variant {asked}, from --variant")
        return asked
    for variant, vector in likely.items():
        assert variant is not None
        note(
            f"variant {variant}, assumed: {vector.named_by} names it, though of other vectors; --variant names another"
        )
        return variant
    note(f"variant paper, assumed: no run.json beside {vectors[0].file} names one; --variant authors is the other")
    return "paper"


def load_data(where: str, train_size: int | None, variant: str, device: str) -> Any:
    """The data, cut to the training size; says on standard error which. A device that is missing is refused first."""
    from minilandscape.backend import device_module
    from minilandscape.data import load_mnist
    from minilandscape.networks import variant_train_size

    device_module(device)
    data = load_mnist(where, notify=note)
    data = data.cut(variant_train_size(variant) if train_size is None else train_size)
    if train_size is not None and len(data.train) < train_size:
        note(f"--train-size asks for {train_size:,} images; there are {len(data.train):,}, and all of them are used")
    note(f"data: {data.describe()}")
    return data


def load_all_data(where: str) -> tuple[Any, str]:
    """The data, uncut, and where another process finds them; says on standard error which."""
    from minilandscape.data import load_mnist

    data = load_mnist(where, notify=note)
    note(f"data: {data.describe()}")
    return data, str(Path(where).resolve()) if Path(where).exists() else where


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

    read = [file for name in inputs if name is not None and Path(file := _file_and_row(str(name))[0]).exists()]
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
