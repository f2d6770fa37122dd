"""The paper's figures from a campaign's results, by name, as far as the results allow."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..figures.heights import plot_heights
from .answer import plot_answer, plot_courses
from .names import KERNELS, LETTERS, NAMES, SETS
from .plan import image_counts
from .plots import plot_figure1, plot_lengths, plot_loss_curves, plot_projections

#: A figure of the paper by its name.
Named = tuple[str, Any]


def paper_figures(results: Mapping[str, Any], images: Any = None) -> dict[str, Any]:
    """Draw all figures of the paper that the results allow, by name; each says how much stands behind it.

    Parameters
    ----------
    results
        Of :func:`minilandscape.paper.results.collect`.
    images
        (N, 784) for Fig. 1; None leaves it out.
    """
    networks = {model: results["networks"][model] for model in NAMES if model in results["networks"]}
    campaign = _Campaign(results["plan"], networks)
    figures = {} if images is None else {"figure1": _figure1(images)}
    figures |= dict(_loss_curves(campaign))
    if networks:
        for draw in (_answers, _heights, _lengths, _projections):
            figures |= dict(draw(campaign))
    return figures


@dataclass(frozen=True)
class _Campaign:
    """A campaign's plan and numbers by network, and the figures with a panel for each network."""

    plan: Mapping[str, Any]
    networks: Mapping[str, Any]

    def behind(self, model: str, landscape: str = "train") -> str:
        """Return the images of the landscape and of the test curves, and the runs."""
        n, counts = self.plan["networks"][model], image_counts(self.plan, model)
        images = f"{counts['train']:,}" if landscape == "train" else f"{counts['test_landscape']:,} test"
        kept = f"{self.networks[model]['kept']} of {n['runs']} runs"
        return f"{images} images, {kept}\ntest curves of {counts['test_curves']:,} images"

    def title(self, model: str, landscape: str = "train") -> str:
        """Return the title of a network's panel."""
        return f"{LETTERS[list(NAMES).index(model)]}  {NAMES[model]}: {self.behind(model, landscape)}"

    def budget(self, solver: str) -> str:
        """Return the name of a search."""
        return " or ".join(dict.fromkeys(network["searches"][solver] for network in self.networks.values()))

    def panels(self, rows: int, columns: int, title: str) -> tuple[Any, Any]:
        """Return a figure and its axes (rows, columns)."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(4.6 * columns, 3.3 * rows + 0.4), layout="constrained")
        figure.suptitle(f"{title}\n(variant {self.plan['variant']}, scale {self.plan['scale']})", fontsize=10)
        return figure, figure.subplots(rows, columns, squeeze=False)

    def over_networks(self, title: str, draw: Callable[[Any, str, str], Any], landscape: str = "train") -> Any:
        """Return a figure in which ``draw(axes, model, title)`` fills the panel of each network."""
        figure, axes = self.panels((len(self.networks) + 1) // 2, min(2, len(self.networks)), title)
        for ax, model in zip(axes.flat, self.networks, strict=False):
            draw(ax, model, self.title(model, landscape))
        for ax in axes.flat[len(self.networks) :]:
            ax.axis("off")
        return figure


def _figure1(images: Any) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4), layout="constrained")
    grid = figure.add_gridspec(1, 3)
    axes = [figure.add_subplot(grid[0]), figure.add_subplot(grid[1]), figure.add_subplot(grid[2], projection="3d")]
    plot_figure1(axes, images)
    return figure


def _loss_curves(campaign: _Campaign) -> Iterator[Named]:
    """Figs. 2 and S1."""
    for name, shown in (("figure2", ["lstm"]), ("figureS1", ["fcp", "lenet", "autoencoder"])):
        models = [model for model in shown if model in campaign.networks]
        if not models:
            continue
        behind = "\n".join(f"{NAMES[model]}: {campaign.behind(model)}".replace("\n", ", ") for model in models)
        figure, axes = campaign.panels(len(models), 2, f"Loss curves of the best run\n{behind}")
        for row, model in zip(axes, models, strict=True):
            plot_loss_curves(row, campaign.networks[model]["curves"], NAMES[model])
            for ax, letter in zip(row, LETTERS[2 * shown.index(model) :], strict=False):
                ax.set_title(f"{letter}  {ax.get_title()}")
        yield name, figure


def _answers(campaign: _Campaign) -> Iterator[Named]:
    """Barriers by search, and against the cost of a search."""
    networks = campaign.networks
    if any(entry["height"] for network in networks.values() for entry in network["heights"]):

        def answer(ax: Any, model: str, title: str) -> None:
            plot_answer(ax, networks[model], title)

        def courses(ax: Any, model: str, title: str) -> None:
            plot_courses(ax, networks[model], title)

        yield "answer", campaign.over_networks("Barriers between training weights", answer)
        if any(network.get("courses") for network in networks.values()):
            yield "figure4-courses", campaign.over_networks("Barriers between training weights against cost", courses)


def _heights(campaign: _Campaign) -> Iterator[Named]:
    """Figs. 4 and S2: of each search the heights with the maxima over continuous t beside them, and the barriers."""
    networks = campaign.networks
    solvers = dict.fromkeys(e["solver"] for network in networks.values() for e in network["heights"])
    for (name, where), solver in itertools.product((("figure4", "train"), ("figureS2", "test")), solvers):
        entries = {
            model: [_with_name(e) for e in network["heights"] if (e["landscape"], e["solver"]) == (where, solver)]
            for model, network in networks.items()
        }
        if not any(entry["height"] for chosen in entries.values() for entry in chosen):
            continue
        on = f"on the {'training' if where == 'train' else where} landscape:\n{campaign.budget(solver)}"
        figure, axes = campaign.panels(len(networks), 2, f"Path heights {on}")
        for row, model in zip(axes, networks, strict=True):
            for ax, what in zip(row, ("height", "maximum"), strict=True):
                plot_heights(ax, entries[model], campaign.title(model, where), what=what)
        yield name if solver == "adam" else f"{name}-{solver}-height", figure
        draw = partial(_barriers, entries=entries)
        yield f"{name}-{solver}-barrier", campaign.over_networks(f"Barriers {on}", draw, where)


def _with_name(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the paths of a set with the name and the colour that the paper gives it."""
    name, colour = SETS[entry["optimizer"], entry["weights"]]
    return {**entry, "name": name, "colour": colour}


def _barriers(ax: Any, model: str, title: str, entries: Mapping[str, Any]) -> None:
    plot_heights(ax, entries[model], title, what="barrier")


def _lengths(campaign: _Campaign) -> Iterator[Named]:
    """Figs. 5 and S3."""
    for name, weights in (("figure5", "train"), ("figureS3", "test")):

        def draw(ax: Any, model: str, title: str, weights: str = weights) -> None:
            plot_lengths(ax, campaign.networks[model]["lengths"][weights], weights, title)

        yield name, campaign.over_networks("Lengths of weight vectors", draw)


def _projections(campaign: _Campaign) -> Iterator[Named]:
    """Figs. 6 and S4, and the same with other kernels."""
    for name, weights in (("figure6", "train"), ("figureS4", "test")):
        for kernel in next(iter(campaign.networks.values()))["kpca"][weights]:

            def draw(ax: Any, model: str, title: str, weights: str = weights, kernel: str = kernel) -> None:
                plot_projections(ax, campaign.networks[model]["kpca"][weights][kernel], weights, title)

            suffix = "" if kernel == "rbf" else f"-{kernel}"
            yield name + suffix, campaign.over_networks(f"Kernel PCA with {KERNELS[kernel]}", draw)
