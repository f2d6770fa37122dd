"""The store: a folder with one atomic file per finished task, shared by any number of processes and machines.

``results/`` holds the finished tasks, ``claims/`` a file for each that runs, ``checkpoints/`` what running tasks resume
from, ``failed/`` the reasons of those that failed, and ``seconds/`` the times of finished ones. It relies on two atomic
operations, to create a file that must not exist and to rename one, which network file systems have too.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

from ..files import DamagedFileError, read_json, read_result, unfinished_files, write_atomic, write_json, write_result
from .task import Result, Task

#: Seconds between heartbeats of a running task, and without one until it counts as dead.
SIGN_EVERY, DEAD_AFTER = 5.0, 60.0
#: Attempts at a lock after which a warning names its holder.
LOCK_PATIENCE = 100


class Store:
    """Results, claims, checkpoints and failures of tasks in a folder.

    Parameters
    ----------
    folder
        Created when something is first written.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        self._seconds: dict[str, float] = {}
        self._set, self._ahead = float("-inf"), 0.0

    def ids(self, what: str) -> set[str]:
        """Return the ids of tasks that have a file in ``"results"``, ``"claims"`` or ``"failed"``, from one listing."""
        suffix = ".npz" if what == "results" else ".json"
        try:
            names = [entry.name for entry in os.scandir(self.folder / what)]
        except FileNotFoundError:
            return set()
        return {name.removesuffix(suffix) for name in names if name.endswith(suffix)}

    # Results -----------------------------------------------------------------------------------------------------

    def result_path(self, task: Task) -> Path:
        """Return the path of the result's file."""
        return self.folder / "results" / f"{task.id}.npz"

    def has(self, task: Task) -> bool:
        """Return whether a result is there; it may still turn out to be damaged."""
        return self.result_path(task).exists()

    def read(self, task: Task) -> Result | None:
        """Read the result; None if there is none. A damaged one is renamed to ``.damaged``.

        Raises
        ------
        ValueError
            If a newer version wrote it.
        """
        path = self.result_path(task)
        try:
            return read_result(path, "task")
        except FileNotFoundError:
            return None
        except DamagedFileError:
            with suppress(FileNotFoundError):  # another process has renamed it
                os.replace(path, path.with_suffix(".damaged"))
            return None

    def write(self, task: Task, result: Result, seconds: float) -> None:
        """Write a result, its time to another file, so that equal work gives equal files."""
        arrays, metadata = result
        # Two processes may finish the same task; their results are equal.
        write_result(self.result_path(task), "task", arrays, {"task": task.name, "options": task.options, **metadata})
        write_json(self.folder / "seconds" / f"{task.id}.json", {"seconds": round(seconds, 3)})
        for path in (*self.checkpoints(task), *unfinished_files(self.result_path(task))):
            path.unlink(missing_ok=True)
        self._failure(task).unlink(missing_ok=True)

    def seconds(self, task: Task) -> float | None:
        """Return the task's seconds; None if they are not known."""
        if task.id not in self._seconds:
            try:
                self._seconds[task.id] = float(read_json(self.folder / "seconds" / f"{task.id}.json")["seconds"])
            except (OSError, ValueError, KeyError, TypeError):
                return None
        return self._seconds[task.id]

    # Checkpoints -------------------------------------------------------------------------------------------------

    def checkpoint(self, task: Task) -> Path:
        """Return the path in which the running task may keep its state."""
        return self.folder / "checkpoints" / f"{task.id}.npz"

    def checkpoints(self, task: Task) -> list[Path]:
        """Return the checkpoint's files, unfinished ones of killed processes included."""
        return list((self.folder / "checkpoints").glob(f"*{task.id}.npz*"))

    def remove_leftovers(self, tasks: Iterable[Task]) -> None:
        """Remove checkpoints of finished tasks, which a process leaves that is killed right after writing a result.

        Those of a damaged result stay, since its task resumes from them, and all stay in a folder that is read-only.
        """
        left = [path.name for path in self.folder.glob("checkpoints/*")]
        for task in tasks if left else ():
            of_task = any(task.id in name for name in left)  # most tasks have none, and folders may be far away
            if of_task and not self.running(task) and self.read(task) is not None:
                for path in self.checkpoints(task):
                    with suppress(OSError):
                        path.unlink(missing_ok=True)

    # Failures ----------------------------------------------------------------------------------------------------

    def _failure(self, task: Task) -> Path:
        return self.folder / "failed" / f"{task.id}.json"

    def fail(self, task: Task, reason: str, trace: str = "") -> None:
        """Record why a task failed."""
        write_json(self._failure(task), {"task": task.name, "reason": reason, "traceback": trace.splitlines()})

    def failure(self, task: Task) -> str | None:
        """Return why the task failed; None if it did not."""
        try:
            return str(read_json(self._failure(task))["reason"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            return "unknown: its record is damaged"

    def ended(self, task: Task) -> str | None:
        """Return ``"done"`` or ``"failed"``; None while the task is to be run."""
        if self.read(task) is not None:
            return "done"
        return None if self.failure(task) is None else "failed"

    def clear_failure(self, task: Task) -> None:
        """Remove the record of a failure, so that the task is run again."""
        self._failure(task).unlink(missing_ok=True)

    # Claims ------------------------------------------------------------------------------------------------------

    def _claim(self, task: Task) -> Path:
        return self.folder / "claims" / f"{task.id}.json"

    def claimed(self, task: Task) -> AbstractContextManager[bool]:
        """Claim a task while the block runs, with a heartbeat; False if another process has it."""
        return self._held(self._claim(task))

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Let one process at a time run the block; the others wait."""
        path, waits = self.folder / "claims" / f"{name}.lock", 0
        while True:
            with self._held(path) as mine:
                if mine:
                    yield
                    return
            waits += 1
            if waits == LOCK_PATIENCE:
                logging.getLogger(__name__).warning(
                    "waiting for %s, held by %s; if that is dead, this ends within %g s",
                    path,
                    " ".join((_read_text(path) or "?").split()[:2]),
                    DEAD_AFTER,
                )
            time.sleep(0.02)

    @contextmanager
    def _held(self, path: Path) -> Iterator[bool]:
        token = f"{socket.gethostname()} {os.getpid()} {uuid.uuid4().hex} {os.getppid()}"
        if not (self._create(path, token) or (self._break_dead(path) and self._create(path, token))):
            yield False
            return
        over = threading.Event()
        thread = threading.Thread(target=_heartbeat, args=(path, token, over), daemon=True)
        thread.start()
        try:
            yield True
        finally:
            over.set()
            thread.join()
            if _read_text(path) == token:
                path.unlink(missing_ok=True)

    def running(self, task: Task) -> bool:
        """Return whether a live process works on the task."""
        path = self._claim(task)
        return path.exists() and not self._dead(path)

    def abandoned(self, task: Task) -> bool:
        """Return whether a process that this one started, and that worked on the task, is dead."""
        parts = (_read_text(self._claim(task)) or "").split()
        ours = len(parts) == 4 and (parts[0], parts[3]) == (socket.gethostname(), str(os.getpid()))
        return ours and not _alive(int(parts[1]))

    def _create(self, path: Path, token: str) -> bool:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(handle, "w") as file:
            file.write(token)
        return True

    def _dead(self, path: Path) -> bool:
        """Return whether a claim's process is dead: at once on its own machine, by its heartbeat elsewhere."""
        text = _read_text(path)
        host, _, rest = (text or "").partition(" ")
        if host == socket.gethostname() and rest and not _alive(int(rest.split()[0])):
            return True
        try:
            age = self._now() - path.stat().st_mtime
        except FileNotFoundError:
            return False
        return age > DEAD_AFTER

    def _now(self) -> float:
        """Return the file server's clock, since machines disagree; this machine's, if nothing can be written."""
        if time.monotonic() - self._set > SIGN_EVERY:
            now = time.time()
            with suppress(OSError):
                probe = write_atomic(self.folder / "claims" / f".now-{uuid.uuid4().hex}", b"")
                now = probe.stat().st_mtime
                probe.unlink()
            self._set = time.monotonic()
            self._ahead = now - self._set
        return time.monotonic() + self._ahead

    def _break_dead(self, path: Path) -> bool:
        """Remove the claim of a dead process; False if it lives, or another process was faster."""
        token = _read_text(path)
        if token is None:
            return True
        if not self._dead(path):
            return False
        aside = path.with_name(f".broken-{uuid.uuid4().hex}")
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return True
        if _read_text(aside) != token:  # another process broke it first and has claimed the task since
            with suppress(OSError):
                os.link(aside, path)
            aside.unlink(missing_ok=True)
            return False
        aside.unlink(missing_ok=True)
        return True


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError:
        return None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    status = _read_text(Path(f"/proc/{pid}/stat"))
    return status is None or status.rpartition(")")[2].split()[0] != "Z"


def _heartbeat(path: Path, token: str, over: threading.Event) -> None:
    while not over.wait(SIGN_EVERY):
        with suppress(OSError):  # a network disk may be away for a while
            if _read_text(path) != token:
                return  # removed by a process that took this one for dead; the task continues, its result is equal
            os.utime(path)


class ResultMissing(RuntimeError):
    """The result of a task that another needs is missing or damaged."""


def perform(folder: str, task: Task) -> str:
    """Run a task in this process on a store; return "done", "elsewhere", "failed" or "again".

    "again": a result that the task needs, or its checkpoint, is missing, or was damaged and renamed.
    """
    import traceback

    store = Store(folder)
    if store.read(task) is not None:
        return "done"
    with store.claimed(task) as mine:
        if not mine:
            return "elsewhere"
        if (ended := store.ended(task)) is not None:  # between the look and the claim
            return ended
        started = time.monotonic()
        try:
            inputs = [needed(store, need) for need in task.needs]
            result = task.resolve()({**task.options, **task.hints}, inputs, store.checkpoint(task))
        except ResultMissing:
            return "again"
        except Exception as error:
            checkpoint = store.checkpoint(task)
            if isinstance(error, DamagedFileError) and checkpoint.exists():
                os.replace(checkpoint, checkpoint.with_suffix(".damaged"))
                return "again"
            store.fail(task, f"{type(error).__name__}: {error}", traceback.format_exc())
            return "failed"
        store.write(task, result, time.monotonic() - started)
        return "done"


#: The last few results that tasks of this process have read.
_cache: dict[str, Result] = {}
_cache_lock = threading.Lock()


def needed(store: Store, task: Task) -> Result:
    """Return the result of a task that another needs; kept in memory for the next few that need it."""
    key = str(store.result_path(task))
    with _cache_lock:
        result = _cache.get(key)
    if result is None:
        result = store.read(task)
        if result is None:
            raise ResultMissing(f"the result of {task.name} is missing")
        with _cache_lock:
            while len(_cache) >= 8:
                del _cache[next(iter(_cache))]
            _cache[key] = result
    return result
