"""The paper's figures from a campaign's results; each takes axes and numbers, and returns the axes."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..analysis.statistics import ShellLengths
from ..figures.heights import plot_heights
from ..figures.kpca import plot_kpca
from ..figures.statistics import plot_shell_lengths
from .answer import plot_answer, plot_courses
from .names import KERNELS, LETTERS, NAMES, OPTIMIZERS, SETS
from .plan import image_counts


def plot_loss_curves(axes: Sequence[Any], curves: Mapping[str, Mapping[str, Any]], title: str = "") -> Sequence[Any]:
    """Draws training and test loss against epochs on two axes (Figs. 2, S1), SGD red, L-BFGS-GSS blue.

    Dashed vertical lines mark the epochs of the minima, in the curves' colours.

    Parameters
    ----------
    axes
        Two Matplotlib axes, for training and test.
    curves
        By optimiser: ``epochs``, ``train_loss``, ``test_loss``, ``train_minimum`` and ``test_minimum``
        (``{"epoch": …}``).
    title
        Put before "training" and "test".
    """
    for ax, name in zip(axes, ("train", "test"), strict=True):
        for optimizer, (label, colour) in OPTIMIZERS.items():
            curve = curves.get(optimizer)
            if not curve:
                continue
            ax.semilogy(np.array(curve["epochs"]) + 1, curve[f"{name}_loss"], color=colour, label=label)
            ax.axvline(curve[f"{name}_minimum"]["epoch"] + 1, color=colour, ls="--", lw=0.9)
        ax.set_xscale("log")
        what = "training" if name == "train" else "test"
        ax.set(xlabel="epoch + 1", ylabel=f"{what} loss", title=f"{title} {what}".strip())
        if ax.get_legend_handles_labels()[0]:
            ax.legend(frameon=False, fontsize=8)
    return axes


def named_set(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The paths of a set with the name and the colour that the paper gives it, as :func:`plot_heights` takes them."""
    name, colour = SETS[entry["optimizer"], entry["weights"]]
    return {**entry, "name": name, "colour": colour}


def plot_lengths(axes: Any, lengths: Mapping[str, Any], weights: str, title: str = "") -> Any:
    """Draws |ω_i − ω̄| of L-BFGS-GSS (training or test weights) and SGD test weights (Figs. 5, S3)."""
    result = ShellLengths(
        np.array(lengths["lbfgs-gss"]), np.array(lengths["sgd"]), np.zeros(0), float(lengths["centroid_distance"])
    )
    labels = f"L-BFGS-GSS, {weights} weights", "SGD, test weights"
    plot_shell_lengths(axes, result, labels)
    axes.set_title(title)
    return axes


def plot_projections(axes: Any, result: Mapping[str, Any], weights: str, title: str = "") -> Any:
    """Draws PC1 and PC2 of L-BFGS-GSS (blue) and SGD test weights (red) (Figs. 6, S4)."""
    if "error" in result:
        text = textwrap.fill(result["error"], 40)
        axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=8, clip_on=True, transform=axes.transAxes)
        axes.set_title(title)
        return axes
    n, total = result["n_first"], len(result["projections"])
    labels = [f"L-BFGS-GSS, {weights} weights"] * n + ["SGD, test weights"] * (total - n)
    return plot_kpca(axes, result["projections"], labels, title=title)


def plot_figure1(axes: Sequence[Any], images: Any) -> Sequence[Any]:
    """Draws Fig. 1 on three axes: (a) some images, (b) a network's layers, (c) two minima in a shallow valley.

    Parameters
    ----------
    axes
        Three Matplotlib axes, the last one three-dimensional.
    images
        (N, 784), of which the first 24 are shown, or as many as there are.
    """
    tiles, layers, valley = axes
    shown = np.zeros((24, 28, 28))
    shown[: len(images)] = np.reshape(images[:24], (-1, 28, 28))
    rows = [np.concatenate(list(row), axis=1) for row in shown.reshape(3, 8, 28, 28)]
    tiles.imshow(np.concatenate(rows), cmap="gray_r")
    tiles.set(xticks=[], yticks=[], title="a")
    columns = [(0.0, 7, "input"), (1.0, 5, "hidden"), (2.0, 5, "hidden"), (3.0, 4, "output")]
    places = [[(x, (k - (n - 1) / 2)) for k in range(n)] for x, n, _ in columns]
    for left, right in itertools.pairwise(places):
        for start in left:
            for end in right:
                layers.plot(*zip(start, end, strict=True), color="0.75", lw=0.5, zorder=1)
    for (x, _, name), nodes in zip(columns, places, strict=True):
        layers.scatter(*zip(*nodes, strict=True), s=90, color="tab:blue", edgecolor="k", zorder=2)
        layers.text(x, -4.1, name, ha="center")
    layers.set(xlim=(-0.6, 3.6), ylim=(-4.6, 4), title="b")
    layers.axis("off")
    u, v = np.meshgrid(np.linspace(-2, 2, 80), np.linspace(-1.6, 1.6, 80))

    def surface(x: Any, y: Any) -> Any:
        return 0.12 * (x**2 - 1) ** 2 + 0.5 * (y - 0.3 * np.sin(1.5 * x)) ** 2

    valley.computed_zorder = False  # else the surface is drawn over the minima
    valley.plot_surface(u, v, surface(u, v), cmap="viridis", alpha=0.8, linewidth=0, zorder=1)
    minima = np.array([-1.0, 1.0])
    at = 0.3 * np.sin(1.5 * minima)
    valley.scatter(minima, at, surface(minima, at) + 0.05, color="red", s=40, depthshade=False, zorder=2)
    valley.set(title="c", xlabel=r"$\omega_1$", ylabel=r"$\omega_2$", zlabel="loss")
    valley.view_init(45, -70)
    return axes


def paper_figures(results: Mapping[str, Any], images: Any = None) -> dict[str, Any]:
    """All figures of the paper that the results allow, by name; each says how much stands behind it.

    Parameters
    ----------
    results
        Of :func:`minilandscape.paper.results.collect`.
    images
        (N, 784) for Fig. 1, which is left out without.
    """
    from matplotlib.figure import Figure

    plan = results["plan"]
    networks = {model: results["networks"][model] for model in NAMES if model in results["networks"]}
    figures: dict[str, Any] = {}

    def behind(model: str, landscape: str = "train") -> str:
        """The images of the landscape, of the curves that named the test weights, and the runs."""
        n, counts = plan["networks"][model], image_counts(plan, model)
        images = f"{counts['train']:,}" if landscape == "train" else f"{counts['test_landscape']:,} test"
        kept = f"{networks[model]['kept']} of {n['runs']} runs"
        return f"{images} images, {kept}\ntest curves of {counts['test_curves']:,} images"

    def budget(solver: str) -> str:
        return " or ".join(dict.fromkeys(network["searches"][solver] for network in networks.values()))

    def panels(rows: int, columns: int, title: str, size: tuple[float, float] = (4.6, 3.3)) -> tuple[Any, Any]:
        figure = Figure(figsize=(size[0] * columns, size[1] * rows + 0.4), layout="constrained")
        figure.suptitle(f"{title}\n(variant {plan['variant']}, scale {plan['scale']})", fontsize=10)
        return figure, figure.subplots(rows, columns, squeeze=False)

    def over_networks(title: str, draw: Any, landscape: str = "train") -> Any:
        figure, axes = panels((len(networks) + 1) // 2, min(2, len(networks)), title)
        for ax, model in zip(axes.flat, networks, strict=False):
            letter = LETTERS[list(NAMES).index(model)]
            draw(ax, model, f"{letter}  {NAMES[model]}: {behind(model, landscape)}")
        for ax in axes.flat[len(networks) :]:
            ax.axis("off")
        return figure

    if images is not None:
        figure = Figure(figsize=(13, 4), layout="constrained")
        grid = figure.add_gridspec(1, 3)
        axes = [figure.add_subplot(grid[0]), figure.add_subplot(grid[1]), figure.add_subplot(grid[2], projection="3d")]
        plot_figure1(axes, images)
        figures["figure1"] = figure
    for name, shown in (("figure2", ["lstm"]), ("figureS1", ["fcp", "lenet", "autoencoder"])):
        models = [model for model in shown if model in networks]
        if models:
            behind_all = "\n".join(f"{NAMES[model]}: {behind(model)}".replace("\n", ", ") for model in models)
            figure, axes = panels(len(models), 2, f"Loss curves of the best run\n{behind_all}")
            for row, model in enumerate(models):
                plot_loss_curves(axes[row], networks[model]["curves"], NAMES[model])
                for ax, letter in zip(axes[row], LETTERS[2 * shown.index(model) :], strict=False):
                    ax.set_title(f"{letter}  {ax.get_title()}")
            figures[name] = figure
    if not networks:
        return figures
    if any(entry["height"] for network in networks.values() for entry in network["heights"]):

        def answer(ax: Any, model: str, title: str) -> None:
            plot_answer(ax, networks[model], title)

        figures["answer"] = over_networks("Barriers between training weights", answer)

        def courses(ax: Any, model: str, title: str) -> None:
            plot_courses(ax, networks[model], title)

        if any(network.get("courses") for network in networks.values()):
            figures["figure4-courses"] = over_networks("Barriers between training weights against cost", courses)
    solvers = list(dict.fromkeys(e["solver"] for network in networks.values() for e in network["heights"]))
    for (name, where), solver in itertools.product((("figure4", "train"), ("figureS2", "test")), solvers):
        entries = {
            model: [named_set(e) for e in network["heights"] if (e["landscape"], e["solver"]) == (where, solver)]
            for model, network in networks.items()
        }
        if not any(entry["height"] for chosen in entries.values() for entry in chosen):
            continue
        on = f"on the {'training' if where == 'train' else where} landscape:\n{budget(solver)}"
        # The height of the sample points, and beside it the maximum over continuous t.
        figure, axes = panels(len(networks), 2, f"Path heights {on}")
        for row, model in zip(axes, networks, strict=True):
            for ax, what in zip(row, ("height", "maximum"), strict=True):
                letter = LETTERS[list(NAMES).index(model)]
                title = f"{letter}  {NAMES[model]}: {behind(model, where)}"
                plot_heights(ax, entries[model], title, what=what)
        figures[name if solver == "adam" else f"{name}-{solver}-height"] = figure

        def barriers(ax: Any, model: str, title: str, entries: dict[str, Any] = entries) -> None:
            plot_heights(ax, entries[model], title, what="barrier")

        figures[f"{name}-{solver}-barrier"] = over_networks(f"Barriers {on}", barriers, where)
    for name, weights in (("figure5", "train"), ("figureS3", "test")):

        def lengths(ax: Any, model: str, title: str, weights: str = weights) -> None:
            plot_lengths(ax, networks[model]["lengths"][weights], weights, title)

        figures[name] = over_networks("Lengths of weight vectors", lengths)
    for name, weights in (("figure6", "train"), ("figureS4", "test")):
        for kernel in next(iter(networks.values()))["kpca"][weights]:

            def projections(ax: Any, model: str, title: str, weights: str = weights, kernel: str = kernel) -> None:
                plot_projections(ax, networks[model]["kpca"][weights][kernel], weights, title)

            suffix = "" if kernel == "rbf" else f"-{kernel}"
            figures[name + suffix] = over_networks(f"Kernel PCA with {KERNELS[kernel]}", projections)
    return figures
