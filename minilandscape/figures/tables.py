"""Tables of a campaign's results as text, which a report and a page of documentation lay out each in its own way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from .paper import OPTIMIZERS, SETS

#: A label, and what :func:`minilandscape.campaign.results.collect` found of one network.
Networks = Iterable[tuple[str, Mapping[str, Any]]]


class Table(NamedTuple):
    """What stands above the columns, and the rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[Any]]


def heights(networks: Networks) -> Table:
    """Means over the paths of every set (Figs. 4 and S2)."""
    rows = []
    for label, network in networks:
        for entry in network["heights"]:
            if n := len(entry["height"]):
                mean = {key: sum(entry[key]) / n for key in ("height", "at_points", "excess", "linear", "steps")}
                row = [label, SETS[entry["optimizer"], entry["weights"]][0], entry["landscape"]]
                row += [network["searches"][entry["solver"]], f"{mean['height']:.4g}", f"{mean['at_points']:.4g}"]
                row += [f"{mean['excess']:.2g}", f"{mean['linear']:.3g}", f"{mean['steps']:.0f}"]
                rows.append([*row, f"{sum(entry['still'])}/{n}", f"{n}/{entry['asked']}"])
    head = ["network", "set", "landscape", "search", "height", "at its points", "above the ends", "height of the line"]
    return Table([*head, "steps", "still", "paths"], rows)


def scan(networks: Networks) -> Table:
    """One pair of training weights of each optimiser against λ."""
    rows = []
    for label, network in networks:
        for entry in network.get("scan", ()):
            if entry["height"]:
                row = [label, OPTIMIZERS[entry["optimizer"]][0], network["searches"][entry["solver"]]]
                numbers = [entry[key][0] for key in ("height", "excess", "length", "distance", "sum")]
                rows.append([*row, f"{entry['lam']:.0e}", *(f"{number:.4g}" for number in numbers)])
    head = [
        "network",
        "pair",
        "search",
        "λ",
        "height",
        "above the ends",
        "length",
        "length of the line",
        "cumulative loss",
    ]
    return Table(head, rows)


def floors(networks: Networks) -> Table:
    """L-BFGS-GSS's training weights against the loss at which its runs end; p against the floor before."""
    networks = [(label, network) for label, network in networks if network.get("floors")]
    searches = {text: None for _, network in networks for text in network["searches"].values()}
    rows = []
    for label, network in networks:
        solvers = {text: solver for solver, text in network["searches"].items()}
        for entry in network["floors"]:
            row = [label, f"{entry['floor']:.0e}", f"{entry['loss']['mean']:.2g}", f"{entry['sigma']:.3g}"]
            row += [f"{entry['length']['mean']:.3g}", _p(entry, "length")]
            for text in searches:
                found = entry.get(solvers.get(text), {}).get("height")
                row += [f"{sum(found) / len(found):.3g}" if found else "", _p(entry, solvers.get(text))]
            rows.append([*row, entry["loss"]["n"]])
    head = ["network", "floor", "training loss", "σ", "length", "p"]
    return Table([*head, *(name for text in searches for name in (f"height: {text}", "p")), "runs"], rows)


def _p(entry: Mapping[str, Any], what: str | None) -> str:
    return f"{entry[f'p_{what}']:.2g}" if f"p_{what}" in entry else ""
