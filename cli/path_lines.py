"""What the commands about paths print of them, for people and as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

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


def print_path(path: Any, facts: dict[str, Any]) -> None:
    """What a person wants to know of a path, a line each."""
    from minilandscape.paths import Ending

    higher, counts, steps = max(path.height_ends), path.evaluations, len(path.history["height"]) - 1
    place = "" if np.isnan(path.maximum_t) else f"   at t = {path.maximum_t:.3f}"
    line = float(np.linalg.norm(path.end.astype(np.float64) - path.start))
    print(
        f"barrier      {path.barrier:.5g}   above the higher endpoint (straight line {path.height_linear - higher:.5g})"
    )
    print(f"maximum      {path.maximum:.6g}{place}")
    print(
        f"height       {path.height:.6g}   at the {len(path.t)} sample points (straight line {path.height_linear:.6g})"
    )
    print(f"endpoints    {path.height_ends[0]:.6g}, {path.height_ends[1]:.6g}")
    print(f"path length  {path.length:.4g}   (straight line {line:.4g})")
    if path.converged:
        why = "" if path.reason is Ending.CONVERGED else f": {path.reason.meaning}"
        print(f"converged    yes   in {steps} steps{why}")
    else:
        why = (
            f"stopped after {steps} steps" if path.reason is Ending.STEPS else f"{path.reason.meaning} ({steps} steps)"
        )
        print(f"converged    no    {why}: the barrier is an upper bound;")
        print(f"                   {_advice(path)}")
    print(f"cost         {counts.gradients} gradient and {counts.values} value evaluations in {path.rounds} batches")
    if "n_images" in facts:
        print(f"images       {_images(facts)}")
    if walls := path.metadata.get("walls"):
        note(
            f"{walls} trial points could not be evaluated, and were gone around; the last: {path.metadata['last_wall']}"
        )


def along_document(along: Any) -> dict[str, Any]:
    """What ``connect --json`` says of losses and metrics along a path."""
    return {
        "t": along.t.tolist(),
        "values": {name: values.tolist() for name, values in along.values.items()},
        "average": along.average,
        "barriers": {name: vars(along.barriers(name)).copy() for name in along.values},
        **along.metadata,
    }


def print_along(along: Any) -> None:
    """Losses and metrics at the endpoints, along the path, and at the average of the endpoints."""
    for name in along.values:
        if name.endswith("loss"):
            found = along.barriers(name)
            print(
                f"{name:<12} barrier {found.barrier:.5g} above the higher endpoint; {found.forward:.5g} and "
                f"{found.reverse:.5g} above the start and the end; {found.loss_barrier:.5g} above the line between them"
            )
    print(along)


def _advice(path: Any) -> str:
    """How to go on from a path that is not converged."""
    from minilandscape.paths import Ending

    if path.reason is Ending.STEPS and path.metadata.get("solver") == "adam" and path.metadata.get("steps") != "auto":
        return "--solver auto runs to convergence"
    if path.reason in (Ending.STEPS, Ending.STAGES):
        return "write it with --out, and resume --from it"
    if path.reason is Ending.UNDER_RESOLVED:
        return f"give more --points than {len(path.t)}; --from resumes from a path that was written"
    if path.reason is Ending.NOT_STATIONARY:
        return "give more --terms and --points; --split-at-minima goes on to the saddle"
    return str(path.reason.advice)


def _images(facts: dict[str, Any]) -> str:
    """How many images the losses come from."""
    kind = "training" if facts["split"] == "train" else "test"
    n, of = facts["n_images"], facts.get("n_images_of_split", facts["n_images"])
    if n == of:
        return f"all {n:,} {kind} images"
    return f"the first {n:,} of {of:,} {kind} images: on all of them the barrier may differ"


def print_pieces(pieces: list[dict[str, Any]]) -> None:
    """A line for each segment of a path that was split at minima."""
    for k, piece in enumerate(pieces):
        place = "between its endpoints" if piece["connects_ends"] else "not between its endpoints"
        what = f"verified saddle {piece['value']:.8g}, {place}"
        if not piece["converged"]:
            what = f"saddle not verified: {piece['reason']}"
        print(f"segment {k + 1:<4} {piece['height_ends'][0]:.6g} to {piece['height_ends'][1]:.6g}: {what}")


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


def print_comparison(result: Any) -> None:
    """A line for each method."""
    columns = ("barrier", 12), ("maximum", 12), ("steps", 6), ("gradients", 10), ("values", 8)
    print(f"{'method':<20} {' '.join(f'{name:>{width}}' for name, width in columns)}  {'converged':9}  ended")
    for label in result.curves:
        row = comparison_row(result, label)
        shown = {"barrier": "-", "maximum": "-", "steps": "-", "gradients": "-", "values": "-"}
        converged, ended = "no", f"error: {row['error']}"
        if row["error"] is None:
            shown = {"barrier": f"{row['barrier']:.5g}", "maximum": f"{row['maximum']:.6g}", "steps": row["steps"]}
            shown |= row["evaluations"]
            converged, ended = "yes" if row["converged"] else "no", row["reason"]
        numbers = " ".join(f"{shown[name]:>{width}}" for name, width in columns)
        print(f"{label:<20} {numbers}  {converged:9}  {ended}")
