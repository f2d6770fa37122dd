"""The contents of a file of stationary points as arrays, and functions that readers and writers share."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from pathlib import Path
from typing import Any

import numpy as np

from ..files import write_atomic


class IncompleteWarning(UserWarning):
    """Contents of a file that were not read, or contents of a collection that were not written.

    Examples
    --------
    >>> import warnings
    >>> import minilandscape as ml
    >>> warnings.simplefilter("error", ml.IncompleteWarning)  # to refuse files that cannot be read completely
    >>> warnings.resetwarnings()
    """


@dataclass
class Points:
    """Stationary points of one kind.

    Attributes
    ----------
    values
        (n,).
    coordinates
        (n, D), rows of NaN where they are unknown; D is 0 if all are.
    properties
        Name to array (n,) or (n, m), NaN where unknown: ``log_product_frequencies``, ``point_group_order``,
        ``moments_of_inertia`` (3), ``eigenvalue``, ``eigenvector`` (D), ``further_columns`` (as many as a file has).
    """

    values: np.ndarray
    coordinates: np.ndarray
    properties: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def unknown(self) -> int:
        """The number of points without coordinates."""
        if not self.coordinates.shape[1]:
            return len(self.values)
        return int(np.isnan(self.coordinates[:, 0]).sum())

    def with_one_more(self, point: np.ndarray, value: float) -> Points:
        """Append a point without known properties."""
        known = self.coordinates.shape[1] > 0
        coordinates = self.coordinates if known else np.full((len(self.values), point.size), nan)
        properties = {
            name: np.concatenate([column, np.full((1, *column.shape[1:]), nan)])
            for name, column in self.properties.items()
        }
        return Points(np.append(self.values, value), np.concatenate([coordinates, point[None]]), properties)

    def rows(self, kept: np.ndarray) -> Points:
        """Select points by a mask or by indices."""
        properties = {name: column[kept] for name, column in self.properties.items()}
        return Points(self.values[kept], self.coordinates[kept], properties)


@dataclass
class Contents:
    """Minima, saddles and further contents of a file.

    Attributes
    ----------
    pairs
        (S, 2): the minima that each saddle connects, counted from 0.
    metadata
        Numbers and words about the collection, such as pele's system properties.
    pairs_tried
        (T, 2): the pairs of minima between which a connection was tried, where the program keeps a list.
    left_out
        Sentences about what the file holds and this does not.
    """

    minima: Points
    saddles: Points
    pairs: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)
    pairs_tried: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))
    left_out: tuple[str, ...] = ()


def stacked(rows: list[np.ndarray | None], source: Any) -> np.ndarray:
    """Coordinates of several points (n, D), NaN for None; ValueError if they have several lengths."""
    sizes = sorted({row.size for row in rows if row is not None})
    if len(sizes) > 1:
        raise ValueError(f"{source} holds points of {sizes[0]} and of {sizes[1]} coordinates; expected one number D")
    coordinates = np.full((len(rows), sizes[0] if sizes else 0), nan)
    for k, row in enumerate(rows):
        if row is not None:
            coordinates[k] = row
    return coordinates


def usable_saddles(contents: Contents, source: str, numbers: Sequence[int]) -> Contents:
    """Keep the saddles that connect two of the minima at a finite energy; count the others in ``left_out``.

    Parameters
    ----------
    contents
        ``pairs`` holds −1 for a missing minimum.
    source, numbers
        The table of the saddles, and the number of each in it, for the sentence.
    """
    missing = np.asarray((contents.pairs < 0).any(axis=1))
    unfinite = ~missing & ~np.isfinite(contents.saddles.values)
    left_out = []
    for mask, why in (
        (missing, "connect a missing minimum"),
        (unfinite, "have an energy that is not finite"),
    ):
        rows = [row for row, bad in zip(numbers, mask.tolist(), strict=True) if bad]
        if rows:
            left_out.append(f"{len(rows)} of {len(mask)} saddles of {source} {why}: {listed(rows)}")
    kept = ~(missing | unfinite)
    return Contents(
        contents.minima,
        contents.saddles.rows(kept),
        contents.pairs[kept],
        contents.metadata,
        contents.pairs_tried,
        (*contents.left_out, *left_out),
    )


def listed(numbers: Iterable[int], most: int = 8) -> str:
    """Format row numbers for a sentence, the first few of many."""
    numbers = [int(number) for number in numbers]
    named = ", ".join(map(str, numbers[:most]))
    return f"row{'s' if len(numbers) > 1 else ''} {named}{', …' if len(numbers) > most else ''}"


def warn(sentences: Iterable[str], source: Any, levels: int) -> None:
    """Give one warning about everything that was left out."""
    sentences = list(sentences)
    if sentences:
        warnings.warn(f"{source}: {'; '.join(sentences)}", IncompleteWarning, stacklevel=levels + 1)


# Text -------------------------------------------------------------------------------------------------------------

#: Fortran leaves the letter out where the exponent has three digits.
_NO_LETTER = re.compile(r"([+-]?\d*\.?\d*)([+-]\d{3,})")


def number(word: str) -> float:
    """Read a number in the format of Python or Fortran, such as 1.0D-03 and 1.234-100; ValueError if it is none.

    A field of asterisks, for a number that was too long for its column, is NaN.
    """
    try:
        return float(word)
    except ValueError:
        pass
    if set(word) == {"*"}:
        return nan
    without_letter = _NO_LETTER.fullmatch(word)
    if without_letter and any(map(str.isdigit, without_letter[1])):
        return float(f"{without_letter[1]}e{without_letter[2]}")
    return float(word.replace("D", "e").replace("d", "e"))


def lines(file: Path) -> list[tuple[int, str]]:
    """Read (line number from 1, text) of the lines that are not blank; ValueError if the file is no text."""
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{file} is not a table of numbers: {error}") from None
    return [(k, line) for k, line in enumerate(text.splitlines(), 1) if line.strip()]


def whole(number: float, file: Path, line: int) -> int:
    """Convert a number that must be whole to an integer."""
    if not (isfinite(number) and number == int(number)):
        raise ValueError(f"{file}, line {line}: the number of a minimum is {number}; expected a whole number")
    return int(number)


# Writing ----------------------------------------------------------------------------------------------------------


def write_new_files(files: Mapping[Path, bytes]) -> None:
    """Write several files, all or none; ValueError if one of them exists."""
    for file in files:
        if file.exists():
            raise ValueError(f"{file} exists; name a new folder")
    try:
        for file, content in files.items():
            write_atomic(file, content)
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
