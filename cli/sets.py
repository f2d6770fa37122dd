"""Commands about sets of vectors: kpca and statistics."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .inputs import Vector, read_vector_file
from .lines import print_lines, print_table
from .options import ANALYSIS, OUTPUT, Json, UsageError, choice, refuse_given
from .output import check_pictures, note, print_json, save_figure, wrote

Files = Annotated[list[str], typer.Argument(help="Sets of vectors of one network, A.npy B.npy …", metavar="FILE")]


def _sets(files: list[str]) -> list[np.ndarray]:
    """The vectors of each file (K, D), all of one size."""
    sets: list[list[Vector]] = [read_vector_file(file) for file in files]
    sizes = {vectors[0].values.size: vectors[0].file for vectors in sets}
    if len(sizes) > 1:
        (a, file_a), (b, file_b) = list(sizes.items())[:2]
        raise ValueError(f"{file_a} holds vectors of {a} numbers, {file_b} of {b}; expected vectors of one model")
    return [np.stack([vector.values for vector in vectors]).astype(np.float64) for vectors in sets]


def _check_different(files: list[str], sets: list[np.ndarray]) -> None:
    """Refuse one file twice; name files that hold equal vectors, as training and early-stopping weights may."""
    for (a, first), (b, second) in itertools.combinations(zip(files, sets, strict=True), 2):
        if Path(a).resolve() == Path(b).resolve():
            raise ValueError(f"{b} is given twice; expected each set once")
        if np.array_equal(first, second):
            note(f"{a} and {b} hold equal vectors")


#: Parameters that a kernel does not have.
UNUSED = {"linear": ("degree", "coef0", "gamma"), "sigmoid": ("degree",), "rbf": ("degree", "coef0")}


def kpca(
    context: typer.Context,
    files: Files,
    kernel: Annotated[
        str,
        typer.Option(
            help="The paper's Fig. 6 takes rbf.",
            rich_help_panel=ANALYSIS,
            **choice("linear", "polynomial", "sigmoid", "rbf"),
        ),
    ] = "rbf",
    components: Annotated[
        int, typer.Option(min=1, help="Principal components.", metavar="N", rich_help_panel=ANALYSIS)
    ] = 2,
    degree: Annotated[
        float | None,
        typer.Option(help="n of the polynomial. Default: 3.", metavar="X", rich_help_panel=ANALYSIS),
    ] = None,
    coef0: Annotated[
        float | None,
        typer.Option(help="C of the polynomial and the sigmoid. Default: 1.", metavar="X", rich_help_panel=ANALYSIS),
    ] = None,
    gamma: Annotated[
        float | None,
        typer.Option(
            help="Factor of x.x', or of the squared distance (1/2 sigma^2). Default: 1/D; polynomial 1.",
            metavar="X",
            rich_help_panel=ANALYSIS,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the first two components, or the one.", metavar="KPCA.png", rich_help_panel=OUTPUT),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute the kernel PCA of sets of vectors together (Fig. 6)."""
    from minilandscape.analysis.kpca import kernel_pca

    refuse_given(context, UNUSED.get(kernel, ()), f"without effect on the {kernel} kernel")
    check_pictures(plot, inputs=files)
    sets = _sets(files)
    _check_different(files, sets)
    result = kernel_pca(np.concatenate(sets), kernel, components, degree=degree, coef0=coef0, gamma=gamma)
    sizes = tuple(len(vectors) for vectors in sets)
    if plot is not None:
        labels = [file for file, size in zip(files, sizes, strict=True) for _ in range(size)]
        save_figure(result.plot(labels=labels, title=f"{kernel} kernel").figure, plot)
    parts = np.split(result.projections, np.cumsum(sizes)[:-1])
    if as_json:
        rows = [{"file": file, "projections": part.tolist()} for file, part in zip(files, parts, strict=True)]
        numbers = {"kernel": kernel, "parameters": result.parameters}
        print_json({**numbers, "eigenvalues": result.eigenvalues.tolist(), "sets": rows})
        return
    eigenvalues = ", ".join(f"{value:.4g}" for value in result.eigenvalues)
    print(f"{kernel} kernel, eigenvalues {eigenvalues}; projections of each set, mean ± standard deviation")
    table = [["set", "vectors", *(f"PC{k + 1}" for k in range(result.projections.shape[1]))]]
    for file, part in zip(files, parts, strict=True):
        mean, deviation = part.mean(axis=0), part.std(axis=0)
        mean[np.abs(mean) < 1e-12 * deviation] = 0  # what rounding leaves of it
        table.append([file, str(len(part)), *(f"{m:.4g} ± {s:.2g}" for m, s in zip(mean, deviation, strict=True))])
    print_table(table)
    print_lines(wrote(plot))


def statistics(
    files: Files,
    centroids: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Two other sets that give the centroids of the common origin: in the paper the test weights, also "
            "where training weights are compared. Default: the two sets themselves.",
            metavar="A.npy B.npy",
            rich_help_panel=ANALYSIS,
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help="Draw the lengths of two sets (Fig. 5).", metavar="LENGTHS.png", rich_help_panel=OUTPUT),
    ] = None,
    as_json: Json = False,
) -> None:
    """Compute means and standard deviations of sets of vectors (Table S1), lengths and angles of two (Fig. 5).

    Of each set also the part of the covariance's first eigenvalue: whether the vectors have a preferred direction.
    """
    for option, given in (("--plot", plot), ("--centroids", centroids)):
        if given is not None and len(files) != 2:
            raise UsageError(f"{option} is of two sets; give two files")
    check_pictures(plot, inputs=(*files, *(centroids or ())))
    sets = _sets([*files, *(centroids or ())])
    sets, others = sets[: len(files)], sets[len(files) :] or sets
    _check_different(files, sets)
    document: dict[str, Any] = {"sets": [_components(*each) for each in zip(files, sets, strict=True)]}
    if len(sets) == 2:
        compared, shells = _compared(sets, others)
        document |= compared
        if plot is not None:
            save_figure(shells.plot(labels=(files[0], files[1])).figure, plot)
    if as_json:
        print_json(document)
        return
    _print_components(document["sets"])
    if len(sets) == 2:
        _print_compared(document, files)
    print_lines(wrote(plot))


def _components(file: str, vectors: np.ndarray) -> dict[str, Any]:
    """What is said of one set."""
    from minilandscape.analysis.statistics import component_statistics, preferred_direction

    row = {"file": file, "vectors": len(vectors), **vars(component_statistics(vectors))}
    if len(vectors) > 2 and np.ptp(vectors, axis=0).any():
        row["direction"] = vars(preferred_direction(vectors))
    return row


def _compared(sets: list[np.ndarray], others: list[np.ndarray]) -> tuple[dict[str, Any], Any]:
    """What is said of two sets, and the lengths of their vectors."""
    from minilandscape.analysis.angles import spread
    from minilandscape.analysis.statistics import shell_lengths

    shells = shell_lengths(*sets, centroid_a=others[0].mean(axis=0), centroid_b=others[1].mean(axis=0))
    document: dict[str, Any] = {"centroid_distance": shells.centroid_distance}
    document["lengths"] = [shells.lengths_a.tolist(), shells.lengths_b.tolist()]
    pairs = {"within_a": (sets[0], None), "within_b": (sets[1], None), "between": (sets[0], sets[1])}
    for name, (a, b) in pairs.items():
        if b is not None or len(a) > 1:
            found = spread(a, b, origin=shells.origin)
            document[name] = {"distance": list(found.distance), "angle": list(found.angle)}
    return document, shells


def _print_components(rows: list[dict[str, Any]]) -> None:
    """A line for each set."""
    print("mean and standard deviation of all components; first eigenvalue as a part of the covariance (p: permuted)")
    table = [["set", "vectors", "mean", "deviation", "first eigenvalue", "without direction", "p"]]
    for row in rows:
        direction = ["-"] * 3
        if found := row.get("direction"):
            direction = [f"{found['part']:.1%}", f"{found['random']:.1%}", f"{found['p']:.2g}"]
        table.append([row["file"], str(row["vectors"]), f"{row['mu']:.3e}", f"{row['sigma']:.3e}", *direction])
    print_table(table)


def _print_compared(document: dict[str, Any], files: list[str]) -> None:
    """Lengths, distances and angles of two sets."""
    print("distances from the common origin, the middle of the centroids; mean ± standard deviation")
    lines = [
        (f"vectors of {file}", f"{np.mean(lengths):.4g} ± {np.std(lengths):.2g}", "")
        for file, lengths in zip(files, document["lengths"], strict=True)
    ]
    print_lines([*lines, ("centroids", f"{document['centroid_distance']:.4g}", "")])
    print("pairs of vectors, the angle seen from the common origin; mean ± standard deviation")
    names = {"within_a": f"within {files[0]}", "within_b": f"within {files[1]}", "between": "between the two"}
    lines = []
    for name, label in names.items():
        if name in document:
            (d, sd), (t, st) = document[name]["distance"], document[name]["angle"]
            angle = f"angle {t:.1f} ± {st:.1f} degrees"
            if not np.isfinite(t):  # as of one vector beside itself
                angle = "no angle, since a vector at the common origin has no direction"
            lines.append((label, f"distance {d:.4g} ± {sd:.2g}, {angle}", ""))
    print_lines(lines)
