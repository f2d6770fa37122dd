"""Runs into a folder, in worker processes where there are several."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..backend import thread_count
from ..data import Mnist
from ..networks import get_network
from ..workers import worker_processes
from .checkpoint import remove_checkpoint
from .loop import train_together
from .options import run_options
from .run import Run, data_facts, load_runs, save_runs

CHECKPOINTS = "checkpoint-*.npz"


def train_to_folder(
    folder: str | os.PathLike[str],
    model: str,
    data: Mnist,
    seeds: list[int],
    *,
    single: bool = False,
    progress: Callable[[int, int, float, float], None] | None = None,
    **options: Any,
) -> tuple[list[Run], bool]:
    """Trains a run for each seed into a folder; goes on where an interrupted call stopped.

    On a CPU, several seeds go to worker processes, as many as there are cores, in each of them a few seeds side by
    side where that is faster; on a GPU all go together. Each run has the bits that it has alone.

    Finished seeds are kept, each in a folder of its own, until all are; then ``train.npy`` and ``test.npy`` hold one
    row a seed and ``run.json`` a list (with ``single``, one vector and one record), and nothing else is left.

    Parameters
    ----------
    progress
        Called with (seed, epoch, training loss, test loss).
    **options
        Of :func:`train`.

    Returns
    -------
    runs, worked : list of Run, bool
        ``worked`` is False where all was finished already.

    Raises
    ------
    ValueError
        If the folder holds runs with other options or on other data.
    """
    folder = Path(folder)
    wanted = [run_options(model, seed=seed, **options) for seed in seeds]
    data = data.cut(wanted[0]["train_size"])
    facts = data_facts(data)
    if (folder / "run.json").exists():
        runs = load_runs(folder)
        _refuse_others(folder, [run.options for run in runs], [run.data for run in runs], wanted, facts)
        return runs, False
    done = {seed: folder / f".seed{seed}" for seed in seeds}
    left = []
    for seed, expected in zip(seeds, wanted, strict=True):
        if (done[seed] / "run.json").exists():
            (run,) = load_runs(done[seed])
            _refuse_others(done[seed], [run.options], [run.data], [expected], facts)
        else:
            left.append(seed)
    work = partial(_train_group, folder, model, options)
    groups = _groups(folder, seeds, left, wanted[0])
    n_workers = 1 if wanted[0]["device"] != "cpu" else min(thread_count(), len(groups))
    if n_workers <= 1:
        for group in groups:
            work(data, progress, group)
    else:
        _in_workers(work, data, progress, groups, n_workers)
    runs = [load_runs(done[seed])[0] for seed in seeds]
    save_runs(folder, runs, single)
    for path in done.values():
        shutil.rmtree(path, ignore_errors=True)
    for path in folder.glob(CHECKPOINTS):
        remove_checkpoint(path)
    return runs, True


def _groups(folder: Path, seeds: list[int], left: list[int], options: dict[str, Any]) -> list[list[int]]:
    """Seeds that are trained side by side: those of a checkpoint, then as many as gain by it and leave no core idle."""
    groups = []
    for checkpoint in sorted(folder.glob(CHECKPOINTS)):
        first, last = (int(number) for number in checkpoint.stem.split("-")[1:])
        group = [seed for seed in seeds if first <= seed <= last]
        if set(group) & set(left):
            groups.append(group)
            left = [seed for seed in left if seed not in group]
    together = 1
    if left and options["optimizer"] != "lbfgs-gss":
        together = get_network(options["model"], options["variant"]).together
        together = min(together, -(-len(left) // thread_count())) if options["device"] == "cpu" else len(left)
    return groups + [left[k : k + together] for k in range(0, len(left), together)]


def _train_group(
    folder: Path, model: str, options: dict[str, Any], data: Mnist, progress: Any, group: list[int]
) -> None:
    checkpoint = folder / CHECKPOINTS.replace("*", f"{group[0]}-{group[-1]}")
    for run in train_together(model, data, group, checkpoint=checkpoint, progress=progress, **options):
        run.save(folder / f".seed{run.options['seed']}")
    remove_checkpoint(checkpoint)


def _in_workers(work: Any, data: Mnist, progress: Any, groups: list[list[int]], n_workers: int) -> None:
    """Trains the groups in worker processes, which send what they reach back to be shown."""
    from loky.backend import get_context

    queue = get_context("loky").SimpleQueue()
    listener = threading.Thread(target=_listen, args=(queue, progress), daemon=True)
    listener.start()
    try:
        with worker_processes(n_workers, thread_count() // n_workers, _keep, (work, data, queue)) as executor:
            for future in [executor.submit(_train_kept, group) for group in groups]:
                future.result()
    finally:
        queue.put(None)
        listener.join()


def _listen(queue: Any, progress: Any) -> None:
    while (reached := queue.get()) is not None:
        if progress is not None:
            progress(*reached)


#: What a worker process trains with; sent to it once.
_kept: tuple[Any, Any, Any] | None = None


def _keep(*kept: Any) -> None:
    global _kept
    _kept = kept


def _train_kept(group: list[int]) -> None:
    assert _kept is not None
    work, data, queue = _kept
    work(data, lambda *reached: queue.put(reached), group)


def _refuse_others(folder: Path, found: list[Any], data: list[Any], wanted: list[Any], facts: dict[str, Any]) -> None:
    """Refuses a folder whose finished runs are not the ones that are wanted."""
    if len(found) != len(wanted):
        raise ValueError(f"{folder} holds {len(found)} finished runs, not {len(wanted)}; name another folder")
    for has, on, want in zip(found, data, wanted, strict=True):
        for name in sorted(set(has) | set(want)):
            if has.get(name) != want.get(name):
                raise ValueError(
                    f"{folder} holds a finished run with other options: {name} is {has.get(name)}, not "
                    f"{want.get(name)}; name another folder"
                )
        if on["key"] != facts["key"]:
            raise ValueError(f"{folder} holds a run on other data ({on['source']}); name another folder")
