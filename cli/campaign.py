"""The commands on the paper's campaign: reproduce, status, report."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from .inputs import load_all_data
from .lines import print_lines
from .options import (
    NETWORKS,
    OUTPUT,
    PLAN,
    RUN,
    Data,
    Device,
    Json,
    RetryFailed,
    Scheduler,
    UsageError,
    Workers,
    choice,
    refuse_given,
)
from .output import check_outputs, note, print_json, progress_bar, wrote

Folder = Annotated[Path, typer.Argument(help="A folder that reproduce has written to.", metavar="FOLDER")]


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 360_000 else f"{seconds / 3600:,.0f} h"


def _cost(tasks: list[Any], model: str) -> float:
    """Return the seconds of one core that the tasks of a network are expected to take."""
    return sum(task.cost for task in tasks if task.name.startswith(model))


def _overrides(config: Path | None, given: dict[str, Any]) -> dict[str, Any]:
    """Return the plan's numbers from a TOML file and from options, which take precedence over the file."""
    from minilandscape.paper.plan import read_overrides

    overrides = read_overrides(config) if config is not None else {}
    for name, value in overrides.items():
        if isinstance(value, dict):
            overrides[name] = {k: v for k, v in value.items() if k not in given}
    return {**overrides, **given}


def reproduce(
    context: typer.Context,
    scale: Annotated[
        str,
        typer.Option(
            help="smoke (minutes), small (hours on two cores) or full (a cluster).",
            rich_help_panel=PLAN,
            **choice("smoke", "small", "full"),
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(help="Folder for results, figures and report.html.", metavar="FOLDER", rich_help_panel=OUTPUT),
    ],
    only: Annotated[
        str | None,
        typer.Option(
            help="Networks, such as fcp,lstm. Default: all four.", metavar="NAME,NAME", rich_help_panel=NETWORKS
        ),
    ] = None,
    variant: Annotated[
        str,
        typer.Option(
            help="authors (the printed tables come from it) or paper (as the text says).",
            rich_help_panel=NETWORKS,
            **choice("paper", "authors"),
        ),
    ] = "authors",
    data: Data = "auto",
    device: Device = "cpu",
    seed: Annotated[
        int, typer.Option(min=0, help="Seed of the choice of pairs.", metavar="N", rich_help_panel=PLAN)
    ] = 0,
    runs: Annotated[
        int | None,
        typer.Option(help="Initialisations for each optimiser; 48/75 are kept.", metavar="N", rich_help_panel=PLAN),
    ] = None,
    pairs: Annotated[int | None, typer.Option(help="Pairs of each set.", metavar="N", rich_help_panel=PLAN)] = None,
    train_size: Annotated[int | None, typer.Option(help="Training images.", metavar="N", rich_help_panel=PLAN)] = None,
    sgd_updates: Annotated[
        int | None, typer.Option(help="Mini-batch updates of SGD.", metavar="N", rich_help_panel=PLAN)
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(help="Maximum number of iterations of L-BFGS-GSS.", metavar="N", rich_help_panel=PLAN)
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Adam steps of a path.", metavar="N", rich_help_panel=PLAN)] = None,
    target_losses: Annotated[
        str,
        typer.Option(
            help="Training losses that end runs: table1 (the paper's mean, by network and optimiser) or none.",
            rich_help_panel=PLAN,
            **choice("table1", "none"),
        ),
    ] = "table1",
    initial: Annotated[
        str | None,
        typer.Option(
            help="Initial vectors of the optimisers: separate (default of full) or shared (default else).",
            rich_help_panel=PLAN,
            **choice("separate", "shared"),
        ),
    ] = None,
    pairing: Annotated[
        str | None,
        typer.Option(
            help="How pairs are drawn: random (default of full), or rounds in which every vector has one partner "
            "(default else).",
            rich_help_panel=PLAN,
            **choice("random", "rounds"),
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file with any number of the plan, for all networks or under [fcp], …; options override it.",
            metavar="FILE",
            rich_help_panel=PLAN,
        ),
    ] = None,
    scheduler: Scheduler = None,
    workers: Workers = None,
    retry_failed: RetryFailed = False,
    change_plan: Annotated[
        bool, typer.Option("--change-plan", help="Resume with other numbers than before.", rich_help_panel=RUN)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the tasks and their cost, and stop.", rich_help_panel=RUN)
    ] = False,
    as_json: Json = False,
) -> None:
    """Make every table and figure of the paper from the data alone; resumes where it was stopped."""
    from minilandscape.paper.plan import combined
    from minilandscape.paper.plan_tasks import plan_tasks
    from minilandscape.tasks import Store, summarize

    if scheduler is not None:
        refuse_given(context, ("workers",), "of processes here, while --scheduler has workers of its own")
    if scale == "smoke":
        refuse_given(context, ("target_losses",), "without effect on --scale smoke, whose runs reach none")
    check_outputs(out / "plan.json")
    given: dict[str, Any] = {"runs": runs, "pairs": pairs, "train_size": train_size, "sgd_updates": sgd_updates}
    given |= {"iterations": iterations, "steps": steps, "initial": initial, "pairing": pairing}
    overrides = _overrides(config, {name: value for name, value in given.items() if value is not None})
    names = tuple(name.strip() for name in only.split(",")) if only else ()
    plan = _plan(scale, variant, data, only=names, seed=seed, device=device, targets=target_losses, overrides=overrides)
    measures = _can_measure(device, scheduler)
    mnist, place = load_all_data(data)
    for model, network in plan.networks.items():
        if network.train_size > len(mnist.train):
            note(f"{model}: {network.train_size:,} training images were asked for; there are {len(mnist.train):,}")
    plan = replace(plan, data=place, data_key=mnist.key).within(len(mnist.train), len(mnist.test))
    combined(plan, Store(out), change_plan)  # a dry run is refused as well
    costs = _costs(plan, mnist) if measures else {}
    tasks = plan_tasks(plan, costs)
    where = _Where.of(device, scheduler, workers)
    _show_networks(plan, tasks, where, bool(costs))
    left = _show_left(tasks, summarize(tasks, Store(out)), where, retry_failed, bool(costs))
    if dry_run:
        if as_json:
            numbers = {**plan.as_dict(), "tasks": len(tasks), "left": len(left)}
            numbers["core_seconds"] = sum(task.cost for task in tasks)
            print_json({**numbers, "core_seconds_by_network": {m: _cost(tasks, m) for m in plan.networks}})
        return
    summary = _run(context, out, plan, tasks, where, costs=costs, retry_failed=retry_failed, change_plan=change_plan)
    _print(summary, out, as_json)
    if summary.failed:
        raise RuntimeError(
            f"{len(summary.failed)} tasks failed, the first: {summary.reasons[summary.failed[0]]}; "
            "--retry-failed runs them again"
        )
    if summary.left or summary.running:
        raise RuntimeError(f"{len(summary.left) + len(summary.running)} tasks are left; the same command resumes")


@dataclass(frozen=True)
class _Where:
    """Where tasks run: on a scheduler, or on some local processes."""

    device: str
    scheduler: str | None
    workers: int | None

    @classmethod
    def of(cls, device: str, scheduler: str | None, workers: int | None) -> _Where:
        """Local processes share one GPU, so that there is one of them unless more are asked for."""
        alone = workers is None and scheduler is None and device == "gpu"
        return cls(device, scheduler, 1 if alone else workers)

    @property
    def n_workers(self) -> int:
        """Local processes."""
        from minilandscape.backend import thread_count

        return self.workers or thread_count()

    @property
    def name(self) -> str:
        """The place, for people."""
        if self.scheduler:
            return f"the scheduler {self.scheduler}"
        return f"{self.n_workers} process{'es' if self.n_workers > 1 else ''}"

    @property
    def unit(self) -> str:
        """What costs are of, for people."""
        return "one core" if self.device == "cpu" else "the GPU"


def _plan(scale: str, variant: str, data: str, **more: Any) -> Any:
    from minilandscape.paper.plan import Plan

    try:
        return Plan.make(scale, variant, data=data, data_key="", **more)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _can_measure(device: str, scheduler: str | None) -> bool:
    """Return whether costs can be measured here; only the workers of a scheduler may have what is missing."""
    from minilandscape.backend import DeviceError, device_module

    try:
        device_module(device)
    except DeviceError as error:
        if scheduler is None:
            raise
        note(f"the workers need what is missing here, and costs are not measured: {error}")
        return False
    return True


def _costs(plan: Any, mnist: Any) -> dict[str, Any]:
    from minilandscape.paper.reproduce import estimate

    with progress_bar("measuring a few steps", None):
        return estimate(plan, mnist)


def _show_networks(plan: Any, tasks: list[Any], where: _Where, measured: bool) -> None:
    """Print a line for each network: runs, pairs, images, tasks and their cost."""
    from minilandscape.paper.plan import image_counts

    for model, network in plan.networks.items():
        of_model = [task for task in tasks if task.name.startswith(model)]
        counts = image_counts(plan.as_dict(), model)
        pairs_of = f"{network.pairs} pair{'' if network.pairs == 1 else 's'} per set"
        note(
            f"{model}: {network.runs} runs per optimiser, best {network.kept} kept, {pairs_of}, "
            f"{network.train_size:,} training images, test curves of {counts['test_curves']:,} and a test landscape of "
            f"{counts['test_landscape']:,}; {len(of_model)} tasks"
            + (f", about {_time(_cost(tasks, model))} on {where.unit}" if measured else "")
        )


def _show_left(tasks: list[Any], before: Any, where: _Where, retry_failed: bool, measured: bool) -> list[Any]:
    """Print how many tasks are left and what they cost; return them."""
    stuck = before.failed + before.blocked
    names = {*before.left, *before.running, *(stuck if retry_failed else ())}
    left = [task for task in tasks if task.name in names]
    if left:
        how_many = f"{len(tasks)} tasks" if len(left) == len(tasks) else f"{len(left)} of {len(tasks)} tasks left,"
        total = sum(task.cost for task in left)
        note(f"{how_many} on {where.name}" + (f", in all about {_time(total)} of {where.unit}" if measured else ""))
    elif not stuck:
        note(f"all {len(tasks)} tasks are done")
    if stuck and not retry_failed:
        note(f"{len(before.failed)} failed, {len(before.blocked)} waiting for those; --retry-failed runs them again")
    return left


def _run(context: typer.Context, out: Path, plan: Any, tasks: list[Any], where: _Where, **options: Any) -> Any:
    """Run the plan with a progress bar; say on Ctrl-C what is finished and how to resume."""
    from minilandscape.paper.reproduce import reproduce as run
    from minilandscape.tasks import Store, Summary, Task

    try:
        with progress_bar("reproduce", len(tasks)) as advance:

            def show(task: Task, how: str, summary: Summary) -> None:
                left = "" if where.scheduler else f", about {_time(summary.seconds_left / where.n_workers)} left"
                advance(len(summary.done), f"{task.name} {how}{left}")

            return run(out, plan, scheduler=where.scheduler, workers=where.workers, progress=show, **options)
    except KeyboardInterrupt:
        command = shlex.join(["minilandscape", *context.obj])
        finished = Store(out).ids("results")
        kept = sum(task.id in finished for task in tasks)
        note(f"{kept} tasks are finished and kept; the same command resumes: {command}")
        raise


def status(folder: Folder, as_json: Json = False) -> None:
    """Show which tasks of a campaign are done, running, failed and left."""
    from minilandscape.paper.reproduce import campaign_status

    _print(campaign_status(folder), None, as_json)


def report(
    folder: Folder,
    data: Annotated[
        str | None,
        typer.Option(help="Where the images are, if they have moved.", metavar="WORD|PATH", rich_help_panel=NETWORKS),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write report.html again from the finished tasks."""
    from minilandscape.paper.reproduce import write_report

    with progress_bar("report", None):
        page = write_report(folder, data)
    if as_json:
        print_json({"report": str(page)})
    else:
        print_lines(wrote(page))


def _print(summary: Any, out: Path | None, as_json: bool) -> None:
    if as_json:
        print_json({**vars(summary), **({} if out is None else {"report": str(out / "report.html")})})
        return
    rows = [("done", str(len(summary.done)), "")]
    for name in ("running", "failed", "blocked", "left"):
        tasks = getattr(summary, name)
        rows.append((name, str(len(tasks)), ", ".join(tasks[:4]) + (", …" if len(tasks) > 4 else "")))
    rows += [("reason", f"{name}: {reason}", "") for name, reason in summary.reasons.items()]
    if summary.left or summary.running:
        rows.append(("time", f"about {_time(summary.seconds_left)} left for one process", ""))
    print_lines([*rows, *wrote(out and out / "report.html")])
