"""Campaigns: each task once, whatever dies; the same files however they are run."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import BrokenExecutor, CancelledError, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from minilandscape import files
from minilandscape.tasks import Store, Task, run_tasks, summarize
from minilandscape.tasks import dask as dask_module
from minilandscape.tasks import run as run_module
from minilandscape.tasks import store as store_module

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks' functions can be imported here and in worker processes."""
    monkeypatch.syspath_prepend(str(HERE))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]))


def squares(n: int, **options: Any) -> list[Task]:
    """n tasks, and one that adds up what they give."""
    parts = [Task(f"square-{k}", "campaign_tasks:square", {"k": k, **options}) for k in range(n)]
    return [*parts, Task("sum-all", "campaign_tasks:square", {"k": n, **options}, tuple(parts))]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "results").glob("[!.]*")}


def runs(log: Path) -> Counter[int]:
    """How often each task has run."""
    return Counter(map(int, log.read_text().split()))


def test_tasks_run_once_in_their_order_and_the_same_files_come_out(tmp_path: Path) -> None:
    tasks = squares(5, log=str(tmp_path / "log"))
    seen: list[str] = []
    summary = run_tasks(tasks, Store(tmp_path / "a"), workers=2, progress=lambda task, how: seen.append(task.name))
    assert sorted(summary.done) == sorted(seen) == sorted(task.name for task in tasks)
    result = Store(tmp_path / "a").read(tasks[-1])
    assert result is not None
    assert float(result[0]["x"]) == 0 + 1 + 4 + 9 + 16 + 25
    with ThreadPoolExecutor(1) as executor:
        run_tasks(tasks, Store(tmp_path / "b"), executor=executor)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    run_tasks(tasks, Store(tmp_path / "a"), workers=1)
    assert runs(tmp_path / "log") == dict.fromkeys(range(6), 2)  # once for each folder
    assert not list((tmp_path / "a" / "claims").glob("*.json"))


def test_what_is_damaged_is_set_aside_and_run_again(tmp_path: Path) -> None:
    tasks, store = squares(2), Store(tmp_path)
    run_tasks(tasks, store, executor=ThreadPoolExecutor(1))
    whole = contents(tmp_path)
    for k, damage in enumerate((lambda b: b[: len(b) // 2], lambda b: b[:200] + bytes([b[200] ^ 255]) + b[201:])):
        path = store.result_path(tasks[k])
        path.write_bytes(damage(path.read_bytes()))
    run_tasks(tasks, store, executor=ThreadPoolExecutor(1))
    assert {name: content for name, content in contents(tmp_path).items() if name.endswith(".npz")} == whole
    assert len(list((tmp_path / "results").glob("*.damaged"))) == 2


def test_a_result_that_is_damaged_while_others_wait_for_it_is_made_again(tmp_path: Path) -> None:
    store, first = Store(tmp_path), Task("first", "campaign_tasks:square", {"k": 1})
    broken = Task(
        "broken", "campaign_tasks:damages", {"path": str(store.result_path(first)), "once": str(tmp_path / "x")}
    )
    last = Task("last", "campaign_tasks:square", {"k": 2}, (first, broken))
    seen: list[str] = []
    summary = run_tasks([first, broken, last], store, workers=1, progress=lambda task, how: seen.append(task.name))
    assert (sorted(seen), summary.done) == (["broken", "first", "first", "last"], ["first", "broken", "last"])
    assert len(list((tmp_path / "results").glob("first-*.damaged"))) == 1


def test_a_damaged_checkpoint_is_set_aside(tmp_path: Path) -> None:
    store, task = Store(tmp_path), Task("task", "campaign_tasks:reads_checkpoint")
    store.checkpoint(task).parent.mkdir()
    store.checkpoint(task).write_bytes(b"cut off")
    assert run_tasks([task], store, executor=ThreadPoolExecutor(1)).done == ["task"]
    assert store.checkpoint(task).with_suffix(".damaged").exists()


def test_checkpoints_of_finished_tasks_are_removed_at_the_next_start(tmp_path: Path) -> None:
    """A process killed between the result and its checkpoints leaves them; those of other tasks stay."""
    store, (task, other) = Store(tmp_path), squares(1)
    run_tasks([task], store, executor=ThreadPoolExecutor(1))
    store.checkpoint(task).parent.mkdir(exist_ok=True)
    left = [store.checkpoint(task), store.checkpoint(task).with_name(f"{store.checkpoint(task).name}.before.npz")]
    for path in (*left, store.checkpoint(other)):
        path.write_bytes(b"state")
    run_tasks([task], store, executor=ThreadPoolExecutor(1))
    assert os.listdir(tmp_path / "checkpoints") == [store.checkpoint(other).name]


def test_checkpoints_from_which_a_task_resumes_stay(tmp_path: Path) -> None:
    """Those of a damaged result, and of a task that another process works on."""
    store, tasks = Store(tmp_path), squares(1)
    run_tasks(tasks, store, executor=ThreadPoolExecutor(1))
    store.checkpoint(tasks[0]).parent.mkdir(exist_ok=True)
    for task in tasks:
        store.checkpoint(task).write_bytes(b"state")
    store.result_path(tasks[0]).write_bytes(b"damaged")
    with store.claimed(tasks[1]) as mine:
        assert mine
        store.remove_leftovers(tasks)
    assert {path.name for path in tmp_path.glob("checkpoints/*")} == {store.checkpoint(task).name for task in tasks}


def test_leftovers_in_a_read_only_folder_end_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, tasks = Store(tmp_path), squares(1)
    run_tasks(tasks, store, executor=ThreadPoolExecutor(1))
    store.checkpoint(tasks[0]).parent.mkdir(exist_ok=True)
    store.checkpoint(tasks[0]).write_bytes(b"state")

    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr(Path, "unlink", refuse)
    assert len(run_tasks(tasks, store, executor=ThreadPoolExecutor(1)).done) == len(tasks)
    assert store.checkpoint(tasks[0]).exists()


def test_what_says_nothing_about_a_result_leaves_it_in_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, (task, _) = Store(tmp_path), squares(1)
    with monkeypatch.context() as newer:
        newer.setattr(files, "FORMAT", files.FORMAT + 1)
        store.write(task, ({}, {}), 1.0)
    with pytest.raises(ValueError, match="written by a newer minilandscape"):
        store.read(task)

    def full(*args: Any, **options: Any) -> None:
        raise MemoryError

    monkeypatch.setattr(np, "load", full)
    with pytest.raises(MemoryError):
        store.read(task)
    assert store.has(task)


def test_looking_at_a_folder_leaves_nothing_there(tmp_path: Path) -> None:
    store, tasks = Store(tmp_path), squares(1)
    assert summarize(tasks, store).left == [task.name for task in tasks]
    assert (store.read(tasks[0]), store.running(tasks[0])) == (None, False)
    assert not list(tmp_path.iterdir())


def test_a_failure_that_another_command_clears_stops_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    bad = Task("bad", "campaign_tasks:fails", {"unless": str(tmp_path / "there")})
    slow = Task("slow", "campaign_tasks:square", {"k": 1})
    needs = Task("needs", "campaign_tasks:square", {"k": 2}, (bad,))
    store.fail(bad, "as before")

    def other(task: Task, how: str) -> None:
        if task is slow:
            (tmp_path / "there").touch()
            store.clear_failure(bad)

    summary = run_tasks([bad, slow, needs], store, executor=ThreadPoolExecutor(1), progress=other)
    assert summary.done == ["bad", "slow", "needs"]


def test_a_failure_that_another_command_has_seen_is_not_repeated(tmp_path: Path) -> None:
    store, task = Store(tmp_path), Task("bad", "campaign_tasks:fails", {"unless": str(tmp_path / "there")})
    assert store_module.perform(str(tmp_path), task) == "failed"
    (tmp_path / "there").touch()
    assert store_module.perform(str(tmp_path), task) == "failed"
    store.clear_failure(task)
    assert store_module.perform(str(tmp_path), task) == "done"


def test_an_interrupt_takes_back_what_a_given_executor_has_not_begun(tmp_path: Path) -> None:
    def interrupt(task: Task, how: str) -> None:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as executor, pytest.raises(KeyboardInterrupt):
        run_tasks(squares(9, seconds=0.05), Store(tmp_path), executor=executor, progress=interrupt)
    assert len(contents(tmp_path)) <= 3
    assert not list(tmp_path.glob("failed/*"))


def test_tasks_are_sent_without_what_their_needs_need(tmp_path: Path) -> None:
    task = squares(300)[-1]
    last = Task("last", "campaign_tasks:square", {"k": 1}, (task,))
    assert last.alone().id == last.id
    assert len(pickle.dumps(last.alone())) < 1000 < len(pickle.dumps(last)) / 10


def test_failures_are_recorded_block_what_needs_them_and_are_retried(tmp_path: Path) -> None:
    unless = tmp_path / "there"
    bad = Task("bad", "campaign_tasks:fails", {"unless": str(unless)})
    needs_it = Task("needs-it", "campaign_tasks:square", {"k": 1}, (bad,))
    good = Task("good", "campaign_tasks:square", {"k": 2})
    tasks, store = [bad, needs_it, good], Store(tmp_path / "store")
    summary = run_tasks(tasks, store, workers=1)
    assert (summary.done, summary.failed, summary.blocked) == (["good"], ["bad"], ["needs-it"])
    assert summary.reasons == {"bad": "ValueError: it is missing"}
    assert run_tasks(tasks, store, workers=1).failed == ["bad"]
    unless.touch()
    assert run_tasks(tasks, store, workers=1, retry_failed=True).done == ["bad", "needs-it", "good"]


@pytest.mark.parametrize(("times", "survives"), [(1, True), (9, False)])
def test_a_worker_that_is_killed_loses_only_its_task(times: int, survives: bool, tmp_path: Path) -> None:
    deadly = Task("deadly", "campaign_tasks:dies", {"k": 0, "log": str(tmp_path / "log"), "times": times})
    tasks = [*squares(4), deadly]
    summary = run_tasks(tasks, Store(tmp_path / "store"), workers=2)
    assert len(summary.done) == 5 + survives
    assert summary.failed == ([] if survives else ["deadly"])
    assert len((tmp_path / "log").read_text().split()) == (2 if survives else 3)


def test_a_task_that_kills_its_process_takes_no_other_with_it(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    deadly = Task("deadly", "campaign_tasks:dies", {"k": 0, "log": str(tmp_path / "log"), "times": 9})
    beside = Task("beside", "campaign_tasks:square", {"k": 1, "seconds": 1.0})
    apart = Task("apart", "campaign_tasks:square", {"k": 2})
    claim = store.claimed(apart)  # by another command, which is alive
    assert claim.__enter__()
    over = threading.Timer(2.5, claim.__exit__, (None, None, None))
    over.start()
    summary = run_tasks([beside, deadly, apart], store, workers=2)
    over.join()
    assert (summary.failed, sorted(summary.done)) == (["deadly"], ["apart", "beside"])


def test_pools_that_die_before_they_do_anything_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Dead(ThreadPoolExecutor):
        def submit(self, *args: Any, **options: Any) -> Any:
            raise BrokenExecutor("no process starts")

    monkeypatch.setattr(run_module, "worker_processes", lambda n: Dead(1))
    with pytest.raises(BrokenExecutor, match="no process starts"):
        run_tasks(squares(1), Store(tmp_path))


CAMPAIGN = """
import sys
from pathlib import Path
from test_campaign import squares
from minilandscape.tasks import Store, run_tasks
folder = Path(sys.argv[1])
run_tasks(squares(8, log=str(folder / "log"), seconds=0.2), Store(folder / "store"), workers=2)
"""


def start(tmp_path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", CAMPAIGN, str(tmp_path)], stderr=subprocess.DEVNULL)


def test_two_processes_share_a_store_and_repeat_nothing(tmp_path: Path) -> None:
    both = [start(tmp_path) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    assert runs(tmp_path / "log") == dict.fromkeys(range(9), 1)


def test_a_parent_that_is_killed_leaves_no_orphan_and_nothing_is_lost(tmp_path: Path) -> None:
    process = start(tmp_path)
    while len(list((tmp_path / "store/results").glob("*.npz")) if (tmp_path / "store").exists() else []) < 2:
        time.sleep(0.05)
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(2)
    kept = contents(tmp_path / "store")
    time.sleep(0.5)
    assert contents(tmp_path / "store") == kept, "an orphan goes on writing"
    tasks = squares(8, log=str(tmp_path / "log"), seconds=0.2)
    store = Store(tmp_path / "store")
    assert not any(store.running(task) for task in tasks)
    assert len(summarize(tasks, store).left) == 9 - len(kept)
    run_tasks(tasks, store, workers=2)
    run_tasks(tasks, Store(tmp_path / "alone"), executor=ThreadPoolExecutor(1))
    assert contents(tmp_path / "store") == contents(tmp_path / "alone")
    assert not list((tmp_path / "store").rglob("*.tmp"))


def test_claims(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, (task, _) = Store(tmp_path), squares(1)
    with store.claimed(task) as mine:
        assert mine
        assert store.running(task)
        with Store(tmp_path).claimed(task) as also:
            assert not also
    assert not store.running(task)
    claim = tmp_path / "claims" / f"{task.id}.json"
    claim.write_text("another-host 1 token")
    with store.claimed(task) as mine:
        assert not mine
    os.utime(claim, (time.time() - 1000, time.time() - 1000))  # silent for long
    with store.claimed(task) as mine:
        assert mine
    # Between the look and the rename another process breaks the claim and makes its own: it is put back.
    claim.write_text("another-host 1 old")
    os.utime(claim, (time.time() - 1000, time.time() - 1000))
    dead = Store._dead

    def slow(self: Store, path: Path) -> bool:
        found = dead(self, path)
        claim.write_text("another-host 1 new")
        return found

    monkeypatch.setattr(Store, "_dead", slow)
    with store.claimed(task) as mine:
        assert not mine
    assert claim.read_text() == "another-host 1 new"
    assert store_module.DEAD_AFTER > 5 * store_module.SIGN_EVERY


def test_signs_of_life_outlast_a_disk_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "SIGN_EVERY", 0.01)
    calls: list[Any] = []
    utime = os.utime

    def away(path: Any, *args: Any) -> None:
        calls.append(path)
        if len(calls) < 3:
            raise OSError(116, "Stale file handle")
        utime(path, *args)

    monkeypatch.setattr(store_module.os, "utime", away)
    store, (task, _) = Store(tmp_path), squares(1)
    with store.claimed(task) as mine:
        assert mine
        deadline = time.monotonic() + 10
        while len(calls) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
    assert len(calls) >= 5


def test_a_lock_that_is_held_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(store_module, "LOCK_PATIENCE", 2)
    store = Store(tmp_path)
    with store.locked("plan"), ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(lambda: store.locked("plan").__enter__())
        deadline = time.monotonic() + 10
        while not caplog.messages and time.monotonic() < deadline:
            time.sleep(0.01)
        (tmp_path / "claims" / "plan.lock").unlink()
        waiting.result(timeout=10)
    assert "plan.lock, held by" in caplog.messages[0]


def test_a_hash_covers_everything() -> None:
    a = Task("a", "m:f", {"x": 1})
    assert a.id == Task("a", "m:f", {"x": 1}, cost=9).id
    others = [Task("a", "m:f", {"x": 2}), Task("a", "m:g", {"x": 1}), Task("a", "m:f", {"x": 1}, (a,))]
    assert len({task.id for task in [a, *others]}) == 4


def test_an_order_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="sum-all needs square-0, which does not come before it"):
        run_tasks(squares(1)[::-1], Store(tmp_path))


def dask(command: str, *options: str, cwd: Path | None = None) -> subprocess.Popen[bytes]:
    """Start a scheduler or worker, which imports from ``cwd`` before all other folders."""
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "dask", command, *options], cwd=cwd, **quiet)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for_port(address: str) -> None:
    """Returns once something answers: a scheduler takes long to start where many processes do."""
    host, _, port = address.removeprefix("tcp://").partition(":")
    for _ in range(600):
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), timeout=1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"nothing answers at {address}")


@pytest.mark.parametrize("seen", [True, False])
def test_dask_loses_nothing_when_a_worker_is_killed_and_one_is_added(
    seen: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With workers that see the store's folder, and with workers that send their results back."""
    pytest.importorskip("distributed")
    address = f"tcp://127.0.0.1:{free_port()}"
    tasks = squares(8, log=str(tmp_path / "log"), seconds=0.25)
    if not seen:
        monkeypatch.setattr(dask_module, "_mark", lambda folder: tmp_path / "nowhere")
    worker = ("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path))
    processes = [dask("scheduler", "--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard")]
    try:
        wait_for_port(address)
        processes += [dask(*worker), dask(*worker)]
        killed: list[Any] = []

        def kill_one(task: Task, how: str) -> None:
            if not killed:
                killed.append(processes[1])
                processes[1].kill()
                processes.append(dask(*worker))

        summary = run_tasks(tasks, Store(tmp_path / "dask"), scheduler=address, progress=kill_one)
    finally:
        for process in processes[::-1]:
            process.kill()
            process.wait()
    assert killed
    assert len(summary.done) == 9
    often = runs(tmp_path / "log")
    assert set(often) == set(range(9))
    # What the killed worker was at begins twice; so does what it had done and not sent back yet.
    assert sum(often.values()) <= (10 if seen else 11)
    run_tasks(tasks, Store(tmp_path / "local"), executor=ThreadPoolExecutor(4))
    assert contents(tmp_path / "dask") == contents(tmp_path / "local")


@pytest.mark.parametrize(
    ("package", "lacks"),
    [
        ("raise ModuleNotFoundError('No module named minilandscape')", r"no minilandscape \(No module named"),
        ("__version__ = '0.0.9'", "minilandscape 0.0.9, not "),
    ],
)
def test_a_worker_without_the_package_is_named(package: str, lacks: str, tmp_path: Path) -> None:
    """Nothing counts as failed: the same tasks run once the worker has it."""
    pytest.importorskip("distributed")
    (tmp_path / "there/minilandscape").mkdir(parents=True)
    (tmp_path / "there/minilandscape/__init__.py").write_text(package)
    address, store, tasks = f"tcp://127.0.0.1:{free_port()}", Store(tmp_path / "dask"), squares(2)
    worker = ("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path))
    options = ("--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard")
    processes = [dask("scheduler", *options, cwd=tmp_path / "there")]
    try:
        wait_for_port(address)
        processes.append(dask(*worker, cwd=tmp_path / "there"))
        with pytest.raises(ConnectionError, match=f"Dask worker tcp://.* has {lacks}.*pip install 'minilandscape"):
            run_tasks(tasks, store, scheduler=address)
        assert not any(store.failure(task) for task in tasks)
        processes[1].kill()
        processes.append(dask(*worker))
        assert len(run_tasks(tasks, store, scheduler=address).done) == 3
    finally:
        for process in processes[::-1]:
            process.kill()
            process.wait()


def test_a_scheduler_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(dask_module, "CONNECT_WITHIN", 1)
    with pytest.raises(ConnectionError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        run_tasks(squares(1), Store(tmp_path), scheduler="tcp://127.0.0.1:1")


def test_an_interrupt_takes_back_what_a_client_has_not_begun(tmp_path: Path) -> None:
    pytest.importorskip("distributed")

    class Client:
        futures: ClassVar[list[Future[str]]] = []

        def submit(self, *args: Any, **options: Any) -> Future[str]:
            self.futures.append(Future())
            return self.futures[-1]

        def cancel(self, futures: list[Future[str]]) -> None:
            for future in futures:
                future.set_exception(CancelledError())

    with pytest.raises(KeyboardInterrupt), dask_module.dask_executor(Client()) as executor:  # noqa: PT012
        futures = [executor.submit(store_module.perform, str(tmp_path), task) for task in squares(3)]
        while len(Client.futures) < 4:
            time.sleep(0.01)
        raise KeyboardInterrupt
    assert all(isinstance(future.exception(timeout=10), ConnectionError) for future in futures)


def test_the_time_left_learns_from_what_is_finished(tmp_path: Path) -> None:
    """Of a kind that none is finished of, the estimates are as wrong as those of the same work were."""
    done = [Task(f"square-{k}", "campaign_tasks:square", {"k": k}, cost=2.0) for k in range(2)]
    left = [
        Task("square-2", "campaign_tasks:square", {"k": 2}, cost=2.0),
        Task("cube-0", "campaign_tasks:square", {"k": 9}, cost=7.0),
    ]
    store = Store(tmp_path)
    assert summarize([*done, *left], store).seconds_left == 13
    for task, seconds in zip(done, (4.0, 8.0), strict=True):
        store.write(task, ({}, {}), seconds)
    assert summarize([*done, *left], store).seconds_left == pytest.approx(6 + 7 * 12 / 4)
    # Runs that end long before their estimate say nothing about paths.
    other = Task("other-0", "campaign_tasks:another", cost=5.0)
    assert summarize([*done, other], store).seconds_left == 5
    unknown = [Task("cube-0", "campaign_tasks:square", {"k": 9})]  # as where no costs were kept
    assert summarize([*done, *unknown], store).seconds_left == pytest.approx(6)
