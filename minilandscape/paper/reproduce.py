"""The paper from start to end: run a campaign's tasks, collect their results, draw the figures, write the report."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from importlib.metadata import PackageNotFoundError, version
from math import inf
from pathlib import Path
from typing import Any

from ..backend import thread_count
from ..data import DataError, Mnist, load_mnist
from ..files import write_atomic, write_json
from ..tasks import Store, Summary, Task, run_tasks, summarize
from ..workers import worker_processes
from .costs import Costs, load_costs, measure_costs, save_costs
from .plan import Plan, load_plan, save_plan
from .plan_tasks import plan_tasks
from .results import collect

#: Seconds within which a summary of all tasks is made every time.
QUICK = 0.02
#: Figures for which it is worth to start a process that draws them.
FIGURES_PER_WORKER = 5
PACKAGES = ("numpy", "scipy", "scikit-learn", "matplotlib", "minilandscape")


def estimate(plan: Plan, data: Mnist) -> dict[str, Costs]:
    """Measure the cost of the plan's steps on one core of this machine, by network; takes some seconds."""
    return {model: measure_costs(plan, model, data) for model in plan.networks}


def reproduce(
    folder: str | os.PathLike[str],
    plan: Plan,
    *,
    costs: dict[str, Costs] | None = None,
    executor: Executor | None = None,
    scheduler: Any = None,
    workers: int | None = None,
    retry_failed: bool = False,
    change_plan: bool = False,
    progress: Callable[[Task, str, Summary], None] | None = None,
) -> Summary:
    """Run a plan in a folder, resuming where it was stopped, and write ``report.html``.

    Parameters
    ----------
    folder
        For the tasks' results, ``results.json``, ``figures/`` and ``report.html``.
    costs
        From :func:`estimate`; they only affect the estimate of the time that is left.
    executor, scheduler, workers, retry_failed
        Of :func:`minilandscape.tasks.run_tasks`.
    change_plan
        Whether the numbers may differ from those of the campaign in the folder.
    progress
        Called with each task that ends, how it ended, and a recent summary of all tasks.

    Raises
    ------
    ValueError
        If the folder holds a campaign of another variant, scale, seed, on another device or other data, or with other
        numbers.
    """
    store = Store(folder)
    save_plan(plan, store, change_plan)
    save_costs(costs or {}, store)
    tasks = plan_tasks(plan, costs)

    at, took = -inf, 0.0
    known: Summary | None = None

    def show(task: Task, how: str) -> None:
        nonlocal at, took, known
        if progress is None:
            return
        # With a large plan or a slow disk a summary takes long: at most a twentieth of the time goes into it.
        started = time.monotonic()
        if known is None or took < QUICK or started - at > 20 * took:
            known = summarize(tasks, store)
            at = time.monotonic()
            took = at - started
        progress(task, how, known)

    summary = run_tasks(
        tasks,
        store,
        executor=executor,
        scheduler=scheduler,
        workers=workers,
        retry_failed=retry_failed,
        progress=show,
    )
    write_report(folder)
    return summary


def campaign_status(folder: str | os.PathLike[str]) -> Summary:
    """Return the state of a folder's tasks; ValueError if it holds no campaign."""
    store = Store(folder)
    return summarize(plan_tasks(load_plan(store), load_costs(store)), store)


def write_report(folder: str | os.PathLike[str], data: str | None = None) -> Path:
    """Write ``results.json``, the figures as PNG and SVG, and ``report.html`` from finished tasks; return the page.

    Parameters
    ----------
    data
        Where the images are, for Fig. 1; None takes the plan's place. If they are missing, so is the figure.

    Raises
    ------
    ValueError
        If the folder holds no campaign, or ``data`` are not those of the campaign.
    """
    from matplotlib.figure import Figure

    from ..figures.figure3 import figure3, plot_figure3
    from .figures import paper_figures
    from .report import render_report

    folder = Path(folder)
    store = Store(folder)
    plan = load_plan(store)
    tasks = plan_tasks(plan)
    summary = summarize(tasks, store)
    results = collect(plan, store)
    write_json(folder / "results.json", results)
    images, described = _images(plan, data)
    figures = paper_figures(results, images)
    figures["figure3"] = Figure(figsize=(11, 4.6), layout="constrained")
    plot_figure3(figure3(), figures["figure3"].subplots(1, 2))
    pictures = _pictures(figures)
    for name, contents in pictures.items():
        for kind, content in contents.items():
            write_atomic(folder / "figures" / f"{name}.{kind}", content)
    for pattern in ("figure*", "answer"):
        for path in (folder / "figures").glob(f"{pattern}.[ps][nv]g"):  # of results that no longer exist
            if path.stem not in figures:
                path.unlink()
    seconds = [s for task in tasks if (s := store.seconds(task)) is not None]
    about = {
        "Data": described,
        "Tasks": f"{len(summary.done)} done, {len(summary.left) + len(summary.running)} left, "
        f"{len(summary.failed)} failed, {len(summary.blocked)} waiting for a failed one",
        "Failures": [f"{name}: {reason}" for name, reason in summary.reasons.items()] or "none",
        "Cost": f"{sum(seconds) / 3600:.2f} {'core' if plan.device == 'cpu' else 'process'}-hours",
        "Versions": [f"Python {platform.python_version()}", *(f"{name} {_version(name)}" for name in PACKAGES)],
    }
    pngs = {name: contents["png"] for name, contents in pictures.items()}
    title = "Neural network optimization strategies and the topography of the loss landscape: reproduction"
    return write_atomic(folder / "report.html", render_report(results, pngs, about, title).encode())


def _pictures(figures: Mapping[str, Any]) -> dict[str, dict[str, bytes]]:
    """Return the PNG and SVG files of figures by name, drawn by several processes where there are many figures."""
    from ..figures.files import draw

    workers = min(thread_count(), len(figures) // FIGURES_PER_WORKER)
    if workers < 2:
        return {name: draw(figure, name) for name, figure in figures.items()}
    with worker_processes(workers) as pool:  # a figure takes about a second, and Matplotlib allows no threads
        drawn = {name: pool.submit(draw, figure, name) for name, figure in figures.items()}
        return {name: future.result() for name, future in drawn.items()}


def _images(plan: Plan, where: str | None) -> tuple[Any, str]:
    """Return the training images, None if they have moved, and their description."""
    try:
        data = load_mnist(plan.data if where is None else where)
        if data.key == plan.data_key:
            return data.train.images, data.describe()
        if where is not None:
            raise ValueError(f"{where} holds the data {data.key!r}; the campaign is on {plan.data_key!r}")
    except DataError:
        if where is not None:
            raise
    return None, f"{plan.data_key}, no longer at {plan.data}; Fig. 1 is left out"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "(not installed as a package)"
