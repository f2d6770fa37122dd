"""Commands about sets of vectors: kpca and statistics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from .inputs import Vector, read_vector_file
from .options import Json, UsageError, one_of, refuse_given
from .output import check_pictures, print_json, save_figure


def _sets(files: list[str]) -> list[np.ndarray]:
    """The vectors of each file (K, D), all of one size."""
    sets: list[list[Vector]] = [read_vector_file(file) for file in files]
    sizes = {vectors[0].values.size: vectors[0].file for vectors in sets}
    if len(sizes) > 1:
        (a, file_a), (b, file_b) = list(sizes.items())[:2]
        raise ValueError(f"{file_a} holds vectors of {a} numbers, {file_b} of {b}; expected vectors of one model")
    return [np.stack([vector.values for vector in vectors]).astype(np.float64) for vectors in sets]


def _vectors(n: int) -> str:
    return "1 vector" if n == 1 else f"{n} vectors"


#: Parameters that a kernel has not.
UNUSED = {"linear": ("degree", "coef0", "gamma"), "sigmoid": ("degree",), "rbf": ("degree", "coef0")}


def kpca(
    context: typer.Context,
    files: Annotated[list[str], typer.Argument(help="Sets of vectors, A.npy B.npy …", metavar="FILE…")],
    kernel: Annotated[
        str,
        typer.Option(
            help="linear, polynomial, sigmoid or rbf.", callback=one_of("linear", "polynomial", "sigmoid", "rbf")
        ),
    ] = "rbf",
    components: Annotated[int, typer.Option(min=1, help="How many.")] = 2,
    degree: Annotated[float | None, typer.Option(help="n of the polynomial. Default: 3.")] = None,
    coef0: Annotated[float | None, typer.Option(help="C of the polynomial and the sigmoid. Default: 1.")] = None,
    gamma: Annotated[
        float | None,
        typer.Option(help="Factor of x.x', or of the squared distance (1/2 sigma^2). Default: 1/D; polynomial 1."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the first two components here, or the one.")] = None,
    as_json: Json = False,
) -> None:
    """Kernel PCA of sets of vectors together (Fig. 6)."""
    from minilandscape.analysis.kpca import kernel_pca

    refuse_given(context, UNUSED.get(kernel, ()), f"without effect on the {kernel} kernel")
    check_pictures(plot, inputs=files)
    sets = _sets(files)
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
    print(f"{kernel} kernel, eigenvalues " + ", ".join(f"{value:.4g}" for value in result.eigenvalues))
    for file, part in zip(files, parts, strict=True):
        mean, spread = part.mean(axis=0), part.std(axis=0)
        mean[np.abs(mean) < 1e-12 * spread] = 0  # what rounding leaves of it
        text = ", ".join(f"PC{k + 1} {m:.4g} ± {s:.2g}" for k, (m, s) in enumerate(zip(mean, spread, strict=True)))
        print(f"{file} ({_vectors(len(part))}): {text}")


def statistics(
    files: Annotated[list[str], typer.Argument(help="Sets of vectors; two of them are compared.", metavar="FILE…")],
    centroids: Annotated[
        tuple[str, str] | None,
        typer.Option(
            help="Two other sets that give the centroids of the common origin: in the paper the test weights, also "
            "where training weights are compared. Default: the two sets themselves.",
            metavar="A.npy B.npy",
        ),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the lengths of two sets here (Fig. 5).")] = None,
    as_json: Json = False,
) -> None:
    """Means and deviations of the components (Table S1), and whether a set has a preferred direction.

    Of two sets also lengths, distances and angles (Fig. 5).
    """
    from minilandscape.analysis.statistics import component_statistics, preferred_direction, shell_lengths, spread

    if plot is not None and len(files) != 2:
        raise UsageError("--plot draws two sets; give two files")
    if centroids is not None and len(files) != 2:
        raise UsageError("--centroids serves the comparison of two sets; give two files")
    check_pictures(plot, inputs=(*files, *(centroids or ())))
    sets = _sets([*files, *(centroids or ())])
    sets, others = sets[: len(files)], sets[len(files) :] or sets
    document: dict[str, Any] = {"sets": []}
    for file, vectors in zip(files, sets, strict=True):
        row = {"file": file, "vectors": len(vectors), **vars(component_statistics(vectors))}
        if len(vectors) > 2 and np.ptp(vectors, axis=0).any():
            row["direction"] = vars(preferred_direction(vectors))
        document["sets"].append(row)
    if len(sets) == 2:
        shells = shell_lengths(*sets, centroid_a=others[0].mean(axis=0), centroid_b=others[1].mean(axis=0))
        pairs = {"within_a": (sets[0], None), "within_b": (sets[1], None), "between": (sets[0], sets[1])}
        document["centroid_distance"] = shells.centroid_distance
        document["lengths"] = [shells.lengths_a.tolist(), shells.lengths_b.tolist()]
        for name, (a, b) in pairs.items():
            if b is not None or len(a) > 1:
                found = spread(a, b, origin=shells.origin)
                document[name] = {"distance": list(found.distance), "angle": list(found.angle)}
        if plot is not None:
            save_figure(shells.plot(labels=(files[0], files[1])).figure, plot)
    if as_json:
        print_json(document)
        return
    for row in document["sets"]:
        print(f"{row['file']} ({_vectors(row['vectors'])}): mu = {row['mu']:.3e}, sigma = {row['sigma']:.3e}")
        if direction := row.get("direction"):
            part, random, p = (direction[name] for name in ("part", "random", "p"))
            print(f"  first eigenvalue {part:.1%} of the covariance ({random:.1%} without a direction, p = {p:.2g})")
    if len(sets) == 2:
        for label, values in zip("ab", document["lengths"], strict=True):
            print(f"length from the common origin, set {label}: {np.mean(values):.4g} ± {np.std(values):.2g}")
        print(f"centroids from the common origin: {document['centroid_distance']:.4g}")
        for name in ("within_a", "within_b", "between"):
            if name in document:
                (d, sd), (t, st) = document[name]["distance"], document[name]["angle"]
                angle = f"angle {t:.1f} ± {st:.1f} degrees"
                if not np.isfinite(t):  # as of one vector beside itself
                    angle = "no angle, since a vector at the common origin has no direction"
                print(f"{name.replace('_', ' ')}: distance {d:.4g} ± {sd:.2g}, {angle}")
