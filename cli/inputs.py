"""What commands read: vectors and their models, paths, data."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .hints import MAKE_ENERGY, file_is_missing, not_vectors
from .options import file_and_row
from .output import note


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

    file, row = file_and_row(argument)
    if not Path(file).exists():
        raise file_is_missing(file)
    if (error := not_vectors(file)) is not None:
        raise error
    array = read_vectors(file)
    if array.ndim == 1:
        if row not in (None, 0):
            raise ValueError(f"{file} holds one vector; row {row} was asked for")
        return [Vector(file, None, array, *_variant(array, file, _records_beside(file)))]
    if row is not None and row >= len(array):
        raise ValueError(f"{file} holds {len(array)} vectors; row {row} was asked for (the first is 0)")
    rows, records = range(len(array)) if row is None else [row], _records_beside(file)
    return [Vector(file, k, array[k], *_variant(array[k], file, records)) for k in rows]


def one_vector(argument: str) -> Vector:
    """The one vector of FILE or FILE:ROW."""
    vectors = read_vector_file(argument)
    if len(vectors) > 1:
        raise ValueError(
            f"{argument} holds {len(vectors)} vectors; name one, {argument}:0 to {argument}:{len(vectors) - 1}"
        )
    return vectors[0]


def read_path(file: Path, chains: bool = False) -> Any:
    """The path of a file that connect wrote, of ``connect --saddle`` too where ``chains``.

    ValueError says what else the file is.
    """
    from minilandscape.paths import load_path

    if file.is_file():
        with file.open("rb") as content:
            if content.read(6) == b"\x93NUMPY":
                raise ValueError(f"{file} holds vectors (.npy); expected a path (.npz), which connect --out writes")
    elif file.is_dir():
        raise ValueError(f"{file} is a folder; expected a path (.npz), which connect --out writes")
    if chains and (path := _path_of_chain(file)) is not None:
        return path
    return load_path(file)


def _path_of_chain(file: Path) -> Any:
    """The path of a chain of minima; None where the file holds none."""
    from minilandscape.connect import load_connection

    try:
        return load_connection(file).path
    except (ValueError, KeyError):
        return None


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


def resolve_network(vectors: list[Vector], model: str, variant: str | None, hint: str = "") -> tuple[str, str]:
    """The model and variant of some vectors; refuses what contradicts.

    Parameters
    ----------
    hint
        What else to do about vectors of no network.
    """
    from minilandscape.networks import model_of_size, model_size

    models = []
    for vector in vectors:
        try:
            found = model_of_size(vector.values.size)
        except ValueError as error:
            refused = ValueError(f"{vector.file}: {error}{hint}")
            if hint:
                refused.add_note(MAKE_ENERGY)
            raise refused from None
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
    return models[0], _resolve_variant(vectors, variant)


def _resolve_variant(vectors: list[Vector], asked: str | None) -> str:
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
    from minilandscape.data import WORDS, load_mnist

    data = load_mnist(where, notify=note)
    note(f"data: {data.describe()}")
    return data, where if where in WORDS else str(Path(where).expanduser().resolve())
