"""What the commands about paths print of them, for people and as JSON."""

from __future__ import annotations

from typing import Any

from minilandscape.display import Row

from .lines import print_table
from .output import note


def path_document(path: Any) -> dict[str, Any]:
    """What ``connect --json`` says of a path."""
    return {
        "height": path.height,
        "height_linear": path.height_linear,
        "height_ends": list(path.height_ends),
        "length": path.length,
        "losses": path.values.tolist(),
        "history": {name: values.tolist() for name, values in path.history.items()},
        "maximum": path.maximum,
        "maximum_t": path.maximum_t,
        "barrier": path.barrier,
        "barrier_forward": path.barrier_forward,
        "barrier_reverse": path.barrier_reverse,
        "under_resolved": path.under_resolved,
        "best_step": path.best_step,
        "evaluations": vars(path.evaluations).copy(),
        "rounds": path.rounds,
        "converged": path.converged,
        "reason": path.reason,
    }


def path_lines(path: Any, metadata: dict[str, Any]) -> list[Row]:
    """Describes a path in rows of text."""
    from minilandscape.paths.shown import path_rows

    *rows, cost = path_rows(path, _advice(path))
    if "n_images" in metadata:
        rows.append(("loss of", _images(metadata), ""))
    if walls := path.metadata.get("walls"):
        around = f"the path leads around them; the last: {path.metadata['last_wall']}"
        rows.append(("not evaluated", f"{walls} trial points", around))
    return [*rows, cost]


def along_document(along: Any) -> dict[str, Any]:
    """What ``connect --json`` says of losses and metrics along a path."""
    return {
        "t": along.t.tolist(),
        "values": {name: values.tolist() for name, values in along.values.items()},
        "line": {name: values.tolist() for name, values in along.line.items()},
        "average": along.average,
        "barriers": {name: vars(along.barriers(name)).copy() for name in along.values},
        **along.metadata,
    }


def print_along(along: Any) -> None:
    """Barriers, and losses and metrics at the endpoints, along the path, and at the average of the endpoints."""
    table = [["barrier above", "higher endpoint", "start", "end", "line between them"]]
    for name in along.values:
        if name.endswith("loss"):
            found = along.barriers(name)
            numbers = (found.barrier, found.forward, found.reverse, found.loss_barrier)
            table.append([name, *(f"{value:.5g}" for value in numbers)])
    print_table(table)
    print(along)


def _advice(path: Any) -> str:
    """What to do about a path that is not converged."""
    from minilandscape.paths import Ending

    if path.reason is Ending.STEPS and path.metadata.get("solver") == "adam" and path.metadata.get("steps") != "auto":
        return "--solver auto runs to convergence"
    if path.reason is Ending.STRAIGHT_LINE:
        straight = "n_terms" in path.metadata  # of none
        return "give --terms above 0 to search a path" if straight else "--method fourier searches a path"
    if path.reason is Ending.TARGET:
        return "a lower --target-barrier searches on"
    if path.reason in (Ending.STEPS, Ending.STAGES):
        return "write it with --out, and resume --from it"
    if path.reason is Ending.UNDER_RESOLVED:
        return f"give more --points than {len(path.t)}; --from resumes from a path that was written"
    if path.reason is Ending.NOT_STATIONARY:
        band = path.metadata["method"] in ("neb", "autoneb")
        more = "--points" if band else "--terms and --points"
        climb = "" if path.metadata.get("climb", True) else ", or let the highest image --climb"
        return f"give more {more}{climb}; --split-at-minima refines the saddle"
    return str(path.reason.advice)


def _images(metadata: dict[str, Any]) -> str:
    """How many images the losses come from."""
    kind = "training" if metadata["split"] == "train" else "test"
    n, of = metadata["n_images"], metadata.get("n_images_of_split", metadata["n_images"])
    if n == of:
        return f"all {n:,} {kind} images"
    return f"the first {n:,} of {of:,} {kind} images: on all of them the barrier may differ"


def segment_lines(segments: list[dict[str, Any]]) -> list[Row]:
    """A line for each segment of a path that was split at minima."""
    lines = []
    for k, segment in enumerate(segments):
        ends = f"{segment['height_ends'][0]:.6g} to {segment['height_ends'][1]:.6g}"
        what = f"verified saddle {segment['value']:.8g}"
        what += "" if segment["connects_ends"] else ", which leads to other minima than these"
        if not segment["converged"]:
            what = f"saddle not verified: {segment['reason']}"
        lines.append((f"segment {k + 1}", f"{ends}: {what}", ""))
    return lines


def comparison_row(result: Any, label: str) -> dict[str, Any]:
    """What ``compare --json`` says of a method: of its path, or why there is none."""
    if label in result.errors:
        return {"error": " ".join(str(result.errors[label]).split())}
    path = result.paths[label]
    return {
        "barrier": path.barrier,
        "height": path.height,
        "maximum": path.maximum,
        "length": path.length,
        "steps": len(path.history["height"]) - 1,
        "evaluations": vars(path.evaluations).copy(),
        "rounds": path.rounds,
        "converged": path.converged,
        "reason": path.reason,
        "error": None,
    }


def print_comparison(result: Any, budget: int) -> None:
    """A line for each method."""
    table = [["method", "barrier", "maximum", "steps", "gradients", "values", "converged", "ended"]]
    for label in result.curves:
        row = comparison_row(result, label)
        if row["error"] is not None:
            table.append([label, *"-----", "no", f"error: {row['error']}"])
            continue
        counts = row["evaluations"]
        numbers = [
            f"{row['barrier']:.5g}",
            f"{row['maximum']:.6g}",
            row["steps"],
            counts["gradients"],
            counts["values"],
        ]
        table.append([label, *map(str, numbers), "yes" if row["converged"] else "no", str(row["reason"])])
    print_table(table)
    note(
        f"barrier: the maximum above the higher endpoint; each search evaluates {budget:,} points at most (--budget), "
        "the maximum of its path is measured beyond that"
    )
