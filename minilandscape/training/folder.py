"""Runs into a folder, in worker processes where there are several."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..backend import thread_count
from ..data import Mnist
from ..files import DamagedFileError, locked
from ..networks import get_network
from ..workers import worker_processes
from .checkpoint import checkpoint_seeds, remove_checkpoint
from .loop import train_together
from .options import as_used, run_options
from .run import Run, cut_data, data_difference, data_facts, load_runs, save_runs

CHECKPOINTS = "checkpoint-*.npz"
#: Held by the process that works in a folder.
LOCK = ".lock"
#: Seconds between looks at whether what shows the progress has failed, and that it may take at an error.
LOOK_EVERY = 0.5


def train_to_folder(
    folder: str | os.PathLike[str],
    model: str,
    data: Mnist,
    seeds: Sequence[int],
    *,
    single: bool = False,
    progress: Callable[[int, int, float, float], None] | None = None,
    notify: Callable[[str], None] | None = None,
    **options: Any,
) -> tuple[list[Run], bool]:
    """Trains a run for each seed into a folder; resumes where an interrupted call stopped.

    On a CPU, several seeds go to worker processes, as many as there are cores, in each of them a few seeds side by
    side where that is faster; on a GPU all go together. Each run is bit-identical to the run alone.

    Finished seeds are kept, each in a folder of its own, and so are checkpoints, until all are finished; then
    ``train.npy`` and ``test.npy`` hold one row a seed and ``run.json`` a list (with ``single``, one vector and one
    record), and nothing else is left. Until then ``epochs`` may be another number, as long as no run has gone beyond
    it: finished seeds continue, too. One process works in a folder at a time, the others wait for it.

    Parameters
    ----------
    seeds
        Distinct; those that an interrupted call has left unfinished in the folder among them.
    progress
        Called with (seed, epoch, training loss, test loss).
    notify
        Called with one line where another process is at work in the folder.
    **options
        Of :func:`train`.

    Returns
    -------
    runs, worked : list of Run, bool
        ``worked`` is False where all was finished already.

    Raises
    ------
    ValueError
        If the folder holds runs with other options, other seeds or on other data, or seeds are none or not distinct.
    """
    folder = Path(folder)
    wanted = [run_options(model, seed=seed, **options) for seed in seeds]
    seeds = [setting["seed"] for setting in wanted]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {seeds}; expected at least one, each once")
    data = cut_data(data, wanted[0]["train_size"])
    facts = data_facts(data)
    wanted = [as_used(setting, facts) for setting in wanted]
    with _alone_in(folder, notify):
        if (folder / "run.json").exists():
            runs = load_runs(folder)
            if len(runs) != len(wanted):
                raise ValueError(f"{folder} holds {len(runs)} finished runs, not {len(wanted)}; name another folder")
            for run, expected in zip(runs, wanted, strict=True):
                _refuse_other(folder, run, expected, facts)
            return runs, False
        checkpoints = _checkpoints(folder)
        _refuse_unfinished(folder, checkpoints, seeds)
        kept = _finished(folder, wanted, facts)
        left = [seed for seed in seeds if seed not in kept]
        groups = _groups(list(checkpoints.values()), left, wanted[0])
        _train_groups(partial(_train_group, folder, model, options), data, progress, groups, wanted[0])
        for group in groups:
            kept.update((seed, load_runs(_of_seed(folder, seed))[0]) for seed in group)
        runs = [kept[seed] for seed in seeds]
        save_runs(folder, runs, single)
        for seed in seeds:
            shutil.rmtree(_of_seed(folder, seed), ignore_errors=True)
        for path in folder.glob(CHECKPOINTS):
            remove_checkpoint(path)
    return runs, True


@contextmanager
def _alone_in(folder: Path, notify: Callable[[str], None] | None) -> Iterator[None]:
    """Holds a folder, which is made, and removed if nothing comes into it; a finished one is not to be written to."""
    if (folder / "run.json").exists():
        yield
        return
    made = not folder.exists()
    try:
        with locked(folder / LOCK, notify):
            yield
    finally:
        if made:
            with suppress(OSError):  # it is not empty
                folder.rmdir()


def _of_seed(folder: Path, seed: int) -> Path:
    """Where a finished seed is kept until all are."""
    return folder / f".seed{seed}"


def _checkpoints(folder: Path) -> dict[Path, list[int]]:
    """The checkpoints of a folder, and the seeds of each."""
    found = {}
    for path in sorted(folder.glob(CHECKPOINTS)):
        try:
            found[path] = checkpoint_seeds(path)
        except DamagedFileError as error:
            raise DamagedFileError(f"{error}; remove it to train its seeds from their start") from None
    return found


def _refuse_unfinished(folder: Path, checkpoints: dict[Path, list[int]], seeds: Sequence[int]) -> None:
    """Refuses seeds without those that the folder holds unfinished: their work would be lost."""
    held = {seed for group in checkpoints.values() for seed in group}
    held |= {int(path.parent.name.removeprefix(".seed")) for path in folder.glob(".seed*/run.json")}
    if others := sorted(held - set(seeds)):
        raise ValueError(
            f"{folder} holds unfinished work on the seed{'s' if len(others) > 1 else ''} "
            f"{', '.join(map(str, others))}: repeat the command that began it, or name another folder"
        )


def _finished(folder: Path, wanted: list[dict[str, Any]], facts: dict[str, Any]) -> dict[int, Run]:
    """Finished runs, by seed, that are what is wanted; ValueError where one is of other options, or too long."""
    found = {}
    for expected in wanted:
        place = _of_seed(folder, expected["seed"])
        if not (place / "run.json").exists():
            continue
        (run,) = load_runs(place)
        epochs, reached = expected["epochs"], len(run.curves["train_loss"]) - 1
        run = replace(run, options={**run.options, "epochs": epochs})
        _refuse_other(folder, run, expected, facts)
        if reached > epochs:
            raise ValueError(
                f"{folder} holds a run of seed {expected['seed']} that has taken {reached} epochs, beyond {epochs}: "
                f"ask for {reached} epochs or more, or name another folder"
            )
        if run.reason != "epochs" or reached == epochs:  # what ended by itself is the same with more epochs
            found[expected["seed"]] = run
    return found


def _groups(unfinished: list[list[int]], left: list[int], options: dict[str, Any]) -> list[list[int]]:
    """Seeds that are trained side by side: those of a checkpoint, then as many as gain by it and leave no core idle."""
    groups = [group for group in unfinished if set(group) & set(left)]
    left = [seed for seed in left if not any(seed in group for group in groups)]
    together = 1
    if left and options["optimizer"] != "lbfgs-gss":
        together = get_network(options["model"], options["variant"]).together
        together = min(together, -(-len(left) // thread_count())) if options["device"] == "cpu" else len(left)
    return groups + [left[k : k + together] for k in range(0, len(left), together)]


def _train_groups(work: Any, data: Mnist, progress: Any, groups: list[list[int]], options: dict[str, Any]) -> None:
    n_workers = 1 if options["device"] != "cpu" else min(thread_count(), len(groups))
    if n_workers > 1:
        _in_workers(work, data, progress, groups, n_workers)
        return
    for group in groups:
        work(data, progress, group)


def _train_group(
    folder: Path, model: str, options: dict[str, Any], data: Mnist, progress: Any, group: list[int]
) -> None:
    checkpoint = folder / CHECKPOINTS.replace("*", f"{group[0]}-{group[-1]}")
    for run in train_together(model, data, group, checkpoint=checkpoint, progress=progress, **options):
        place = _of_seed(folder, run.options["seed"])
        (place / "run.json").unlink(missing_ok=True)  # of fewer epochs: it must not stand beside other vectors
        run.save(place)


def _in_workers(work: Any, data: Mnist, progress: Any, groups: list[list[int]], n_workers: int) -> None:
    """Trains the groups in worker processes, which send what they reach back to be shown.

    They share a pipe without a lock, which a process that is killed would keep: writes as short as these are whole.
    """
    from loky.backend import get_context

    reader, writer = get_context("loky").Pipe(duplex=False)
    failures: list[BaseException] = []
    listener = threading.Thread(target=_listen, args=(reader, progress, failures), daemon=True)
    listener.start()
    try:
        with worker_processes(n_workers, thread_count() // n_workers, _keep, (work, data, writer)) as executor:
            pending = {executor.submit(_train_kept, group) for group in groups}
            while pending:
                ended, pending = wait(pending, timeout=LOOK_EVERY, return_when=FIRST_COMPLETED)
                for future in ended:
                    future.result()
                if failures:
                    raise failures[0]
    except BaseException:
        writer.close()
        listener.join(LOOK_EVERY)  # no longer, since what it shows may hold it up
        raise
    writer.close()  # the workers' ends are closed: what they sent is read, and then the pipe ends
    listener.join()
    if failures:
        raise failures[0]


def _listen(reader: Any, progress: Any, failures: list[BaseException]) -> None:
    """Shows what comes until the pipe ends; reads on where that fails, since workers wait for a pipe that is full."""
    with suppress(EOFError, OSError):
        while True:
            reached = reader.recv()
            if progress is not None and not failures:
                try:
                    progress(*reached)
                except BaseException as error:
                    failures.append(error)


#: What a worker process trains with; sent to it once.
_kept: tuple[Any, Any, Any] | None = None


def _keep(*kept: Any) -> None:
    global _kept
    _kept = kept


def _train_kept(group: list[int]) -> None:
    assert _kept is not None
    work, data, writer = _kept
    work(data, lambda *reached: writer.send(reached), group)


def _refuse_other(folder: Path, run: Run, wanted: dict[str, Any], facts: dict[str, Any]) -> None:
    """Refuses a folder whose finished run is not the one that is wanted."""
    if (difference := data_difference(run.data, facts)) is not None:
        raise ValueError(f"{folder} holds a run on {difference}; name another folder")
    has = as_used(run.options, run.data)
    for name in sorted(set(has) | set(wanted)):
        if has.get(name) != wanted.get(name):
            raise ValueError(
                f"{folder} holds a finished run with other options: {name} is {has.get(name)}, not "
                f"{wanted.get(name)}; name another folder"
            )
