"""Worker processes: what they run with, and that none outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from minilandscape.workers import _sigint_waits, worker_processes

#: A script that is not written for worker processes: nothing keeps them from running it again.
SCRIPT = """
import sys, time
from minilandscape.workers import worker_processes
with worker_processes(2) as executor:
    import os
    print(*{executor.submit(os.getpid).result() for _ in range(20)}, flush=True)
    executor.submit(time.sleep, 60).result()
"""


def test_workers_share_the_cores() -> None:
    with worker_processes(2, threads=3) as executor:
        assert executor.submit(os.getenv, "MINILANDSCAPE_THREADS").result() == "3"
        assert executor.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "3"


#: The signals that are blocked in the parent, and in its first worker; twice.
MASKS = """
import signal
from minilandscape.workers import worker_processes
for _ in range(2):
    with worker_processes(1) as executor:
        masks = [signal.pthread_sigmask(signal.SIG_BLOCK, [])]
        masks.append(executor.submit(signal.pthread_sigmask, signal.SIG_BLOCK, []).result())
        print(*([s.name for s in mask] for mask in masks))
"""


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="there are no signal masks")
def test_ctrl_c_reaches_the_parent_and_no_worker() -> None:
    done = subprocess.run([sys.executable, "-c", MASKS], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[] ['SIGINT']"] * 2


def test_an_error_does_not_wait_for_the_workers() -> None:
    started = time.monotonic()

    def interrupted() -> None:
        with worker_processes(1) as executor:
            executor.submit(time.sleep, 60)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert time.monotonic() - started < 30


@pytest.mark.skipif(not Path("/proc").exists(), reason="looks for processes in /proc")
def test_no_worker_outlives_its_parent(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(word) for word in parent.stdout.readline().split()]
        assert workers
        assert all(Path(f"/proc/{pid}").exists() for pid in workers)
        parent.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        while any(alive(pid) for pid in workers):
            assert time.monotonic() - killed < 10, "a worker goes on without its parent"
            time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


#: Ctrl-C reaches the terminal's processes, or this one alone, as the workers start and as they are ended.
INTERRUPTED = """
import os, signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from loky import ProcessPoolExecutor
from minilandscape.workers import worker_processes
threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
from multiprocessing.process import BaseProcess
start, shutdown = BaseProcess.start, ProcessPoolExecutor.shutdown
def interrupted(self):
    start(self)
    KILL(0 if KILL is os.killpg else os.getpid(), signal.SIGINT)
    time.sleep(0.1)
def interrupted_again(self, *arguments, **options):
    KILL(0 if KILL is os.killpg else os.getpid(), signal.SIGINT)
    time.sleep(0.1)
    shutdown(self, *arguments, **options)
BaseProcess.start, ProcessPoolExecutor.shutdown = interrupted, interrupted_again
with worker_processes(2) as executor:
    print("not interrupted")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there are no POSIX signals")
@pytest.mark.parametrize("kill", ["os.kill", "os.killpg"])
def test_ctrl_c_while_workers_start_ends_them_and_their_parent(kill: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED.replace("KILL", kill)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        try:
            out, error = parent.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(parent.pid, signal.SIGKILL)
            pytest.fail("it waits for workers that nobody ended")
    assert parent.returncode == -signal.SIGINT
    assert out == ""
    assert error.splitlines()[-1] == "KeyboardInterrupt"
    assert "popen_loky" not in error  # no worker's own traceback


def test_a_handler_of_ctrl_c_is_called_after_the_start_and_stays() -> None:
    seen: list[int] = []

    def handler(number: int, frame: object) -> None:
        seen.append(number)

    before = signal.signal(signal.SIGINT, handler)
    try:
        with _sigint_waits():
            signal.raise_signal(signal.SIGINT)
            assert seen == []
        assert seen == [signal.SIGINT]
        assert signal.getsignal(signal.SIGINT) is handler
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())
    finally:
        signal.signal(signal.SIGINT, before)


def _grow(size: int) -> int:
    _kept.append(np.ones(size))
    return os.getpid()


_kept: list[np.ndarray] = []


def test_a_worker_may_keep_what_it_loaded() -> None:
    """loky takes a process that grows by 300 MB for one that leaks, and restarts it with a warning."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with worker_processes(1) as executor:
            first = executor.submit(_grow, 1).result()
            assert executor.submit(_grow, 50_000_000).result() == first
            time.sleep(1.1)  # it looks once a second
            assert executor.submit(_grow, 1).result() == first
            assert executor.submit(_grow, 1).result() == first
