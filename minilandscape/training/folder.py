"""Training into a folder: a run for each seed, in worker processes where there are several."""

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
from .run import Run, cut_data, data_difference, data_metadata, load_runs, save_runs

CHECKPOINTS = "checkpoint-*.npz"
#: The lock file of the process that works in a folder.
LOCK = ".lock"
#: Seconds between checks whether the progress callback has failed, and that it gets to finish after an error.
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
    """Train one run for each seed and store the runs in a folder; resume what an interrupted call left there.

    On a CPU, several seeds are trained in worker processes, one for each core; each process trains a few seeds side by
    side if that is faster. On a GPU all seeds are trained together. Each run is bit-identical to :func:`train` of its
    seed.

    When all seeds are finished the folder holds ``train.npy`` and ``test.npy``, one row for each seed, and
    ``run.json``, a list of records. Until then it also holds finished seeds and checkpoints. ``epochs`` may change
    between calls as long as no run has gone beyond it; finished seeds then continue. One process works in a folder at a
    time; others wait for it.

    Parameters
    ----------
    folder : str or path
        Made if it does not exist.
    model : str
        As for :func:`train`.
    data : Mnist
        As for :func:`train`.
    seeds : sequence of int
        Distinct seeds, which include those that an interrupted call left unfinished in the folder.
    single : bool
        Store one run as parameter vectors (D,) and one record instead of a set (1, D) and a list.
    progress : callable, optional
        Called with (seed, epoch, training loss, test loss).
    notify : callable, optional
        Called with one line of text if another process works in the folder.
    **options
        As for :func:`train`.

    Returns
    -------
    runs : list of Run
        In the order of ``seeds``.
    worked : bool
        False if all runs were finished already.

    Raises
    ------
    ValueError
        If the folder holds runs with other options, other seeds or on other data, or if ``seeds`` is empty or holds a
        seed twice.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> import minilandscape as ml
    >>> from minilandscape.data import Images, Mnist
    >>> rng = np.random.default_rng(0)
    >>> images = Images(rng.random((60, 784), dtype=np.float32), rng.integers(0, 10, 60))
    >>> data = Mnist(images[:40], images[40:], source="random pixels", key="random")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     options = {"optimizer": "sgd", "epochs": 2, "single": True}
    ...     (run,), worked = ml.train_to_folder(folder, "fcp", data, [7], **options)
    ...     _, worked_again = ml.train_to_folder(folder, "fcp", data, [7], **options)
    >>> run.options["seed"], worked, worked_again
    (7, True, False)
    """
    folder = Path(folder)
    expected = [run_options(model, seed=seed, **options) for seed in seeds]
    seeds = [setting["seed"] for setting in expected]
    if not seeds or len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds are {seeds}; expected at least one, and none twice")
    data = cut_data(data, expected[0]["train_size"])
    metadata = data_metadata(data)
    expected = [as_used(setting, metadata) for setting in expected]
    with _alone_in(folder, notify):
        if (folder / "run.json").exists():
            runs = load_runs(folder)
            if len(runs) != len(expected):
                raise ValueError(f"{folder} holds {len(runs)} finished runs, not {len(expected)}; name another folder")
            for run, setting in zip(runs, expected, strict=True):
                _refuse_other(folder, run, setting, metadata)
            return runs, False
        checkpoints = _checkpoints(folder)
        _refuse_unfinished(folder, checkpoints, seeds)
        kept = _finished(folder, expected, metadata)
        left = [seed for seed in seeds if seed not in kept]
        groups = _groups(list(checkpoints.values()), left, expected[0])
        _train_groups(partial(_train_group, folder, model, options), data, progress, groups, expected[0])
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
    """Hold the lock of a folder, which is made, and removed again if it stays empty; a finished one needs no lock."""
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
    """Return the folder of a finished seed, which is kept until all seeds are finished."""
    return folder / f".seed{seed}"


def _checkpoints(folder: Path) -> dict[Path, list[int]]:
    """Return the checkpoints of a folder with the seeds of each."""
    found = {}
    for path in sorted(folder.glob(CHECKPOINTS)):
        try:
            found[path] = checkpoint_seeds(path)
        except DamagedFileError as error:
            raise DamagedFileError(f"{error}; remove it to train its seeds from their start") from None
    return found


def _refuse_unfinished(folder: Path, checkpoints: dict[Path, list[int]], seeds: Sequence[int]) -> None:
    """Refuse seeds that leave out some that the folder holds unfinished: their work would be lost."""
    held = {seed for group in checkpoints.values() for seed in group}
    held |= {int(path.parent.name.removeprefix(".seed")) for path in folder.glob(".seed*/run.json")}
    if others := sorted(held - set(seeds)):
        raise ValueError(
            f"{folder} holds unfinished work on the seed{'s' if len(others) > 1 else ''} "
            f"{', '.join(map(str, others))}: repeat the command that started it, or name another folder"
        )


def _finished(folder: Path, expected: list[dict[str, Any]], metadata: dict[str, Any]) -> dict[int, Run]:
    """Return the finished runs by seed; ValueError if one has other options or more epochs than expected."""
    found = {}
    for setting in expected:
        place = _of_seed(folder, setting["seed"])
        if not (place / "run.json").exists():
            continue
        (run,) = load_runs(place)
        epochs, reached = setting["epochs"], run.epochs
        run = replace(run, options={**run.options, "epochs": epochs})
        _refuse_other(folder, run, setting, metadata)
        if reached > epochs:
            raise ValueError(
                f"{folder} holds a run of seed {setting['seed']} that has done {reached} epochs, beyond {epochs}: "
                f"ask for {reached} epochs or more, or name another folder"
            )
        if run.reason != "epochs" or reached == epochs:  # a run that ended earlier is the same with more epochs
            found[setting["seed"]] = run
    return found


def _groups(unfinished: list[list[int]], left: list[int], options: dict[str, Any]) -> list[list[int]]:
    """Group the seeds that are trained side by side: those of a checkpoint, then as many as are faster together.

    No core is left idle.
    """
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
        (place / "run.json").unlink(missing_ok=True)  # of fewer epochs: it must not describe other weights
        run.save(place)


def _in_workers(work: Any, data: Mnist, progress: Any, groups: list[list[int]], n_workers: int) -> None:
    """Train the groups in worker processes, which report their progress through a pipe.

    The pipe has no lock, since a killed process would keep it: writes as short as these are atomic.
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
        listener.join(LOOK_EVERY)  # no longer: the progress callback may block
        raise
    writer.close()  # the workers have closed theirs: what they sent is read, then the pipe is at its end
    listener.join()
    if failures:
        raise failures[0]


def _listen(reader: Any, progress: Any, failures: list[BaseException]) -> None:
    """Report what the workers send until the pipe is closed.

    After a failure of the callback it reads on, since workers would wait at a full pipe.
    """
    with suppress(EOFError, OSError):
        while True:
            reached = reader.recv()
            if progress is not None and not failures:
                try:
                    progress(*reached)
                except BaseException as error:
                    failures.append(error)


#: Function, data and pipe of a worker process, sent to it once.
_kept: tuple[Any, Any, Any] | None = None


def _keep(*kept: Any) -> None:
    global _kept
    _kept = kept


def _train_kept(group: list[int]) -> None:
    assert _kept is not None
    work, data, writer = _kept
    work(data, lambda *reached: writer.send(reached), group)


def _refuse_other(folder: Path, run: Run, expected: dict[str, Any], metadata: dict[str, Any]) -> None:
    """Refuse a folder whose finished run has other options or data than expected."""
    if (difference := data_difference(run.data, metadata)) is not None:
        raise ValueError(f"{folder} holds a run on {difference}; name another folder")
    has = as_used(run.options, run.data)
    for name in sorted(set(has) | set(expected)):
        if has.get(name) != expected.get(name):
            raise ValueError(
                f"{folder} holds a finished run with other options: {name} is {has.get(name)}, not "
                f"{expected.get(name)}; name another folder"
            )
