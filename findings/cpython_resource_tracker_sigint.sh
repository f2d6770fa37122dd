#!/usr/bin/env bash
# Starting the resource tracker of multiprocessing unblocks SIGINT in the thread that does it.
#
# Versions: CPython 3.11 (measured on 3.11.7), loky 3.7.0.
# Guess before the run: the tracker blocks SIGINT and SIGTERM while its process starts, and restores the mask it found.
# What happens: it unblocks both instead of restoring. A thread that had blocked SIGINT has it unblocked after
#   `resource_tracker.ensure_running()`; other blocked signals stay. loky starts this tracker just before its
#   first worker, so that the first pool's workers run with SIGINT unblocked although the parent blocked it. With
#   the tracker already running, the workers of the next pool inherit the block.
# Why it matters: a long search on several processes that wants Ctrl-C to reach the parent only, so as to save its
#   state, loses its first set of workers. Ignore SIGINT in an initializer of the workers instead, or start the tracker
#   before the mask is set.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet loky==3.7.0 cloudpickle==3.1.3
cd "$dir"
cat >masks.py <<'EOF'
import platform
import signal
import sys
from importlib.metadata import version
from multiprocessing import resource_tracker


def blocked():
    return sorted(signal.Signals(number).name for number in signal.pthread_sigmask(signal.SIG_BLOCK, []))


def first_worker():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(blocked).result()


if __name__ == "__main__":
    from loky import ProcessPoolExecutor

    print("Python", platform.python_version(), "loky", version("loky"))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGUSR1])
    if sys.argv[1] == "tracker":
        before = blocked()
        resource_tracker.ensure_running()
        after = blocked()
        print("blocked before the tracker starts", before, "and after", after)
        assert before == ["SIGINT", "SIGUSR1"]
        assert after == ["SIGUSR1"]
        sys.exit()
    first, second = first_worker(), first_worker()
    print("blocked in a worker of the first pool", first, "and of the second", second)
    assert first == ["SIGUSR1"]
    assert second == ["SIGINT", "SIGUSR1"]
EOF
venv/bin/python masks.py tracker
venv/bin/python masks.py pools
