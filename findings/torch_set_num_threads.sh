#!/usr/bin/env bash
# torch.set_num_threads in one thread sets the number for all threads that start later, and not for those that run.
#
# Versions: PyTorch 2.13.0 on a CPU with OpenMP, NumPy 2.4.6, Python 3.11.
# Guess before the run: the number is one of the process, as documented for torch.get_num_threads, or one of each
#   thread, as in OpenMP; a worker that sets 1 changes both get_num_threads of the main thread and of later threads, or
#   neither.
# What happens: a worker sets 1. The main thread still has 2; a thread that starts afterwards has 1, though nobody set it
#   there. Setting 2 in the main thread, where it is 2 already, brings 2 back for later threads.
# Why it matters: workers that take one core each and clean up nothing leave data loaders, servers and later pools of the
#   same process on one core, while the check in the main thread shows the old number. Set the main thread's own number
#   again when the workers are done.
set -euo pipefail
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet numpy==2.4.6 torch==2.13.0
cd "$dir"
venv/bin/python -W ignore - <<'EOF'
import threading

import torch


def in_a_thread(call):
    found = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


print("PyTorch", torch.__version__)
torch.set_num_threads(2)
seen = [torch.get_num_threads(), in_a_thread(torch.get_num_threads)]
in_a_thread(lambda: torch.set_num_threads(1))
seen += [torch.get_num_threads(), in_a_thread(torch.get_num_threads)]
torch.set_num_threads(2)
seen += [torch.get_num_threads(), in_a_thread(torch.get_num_threads)]
for when, (main, later) in zip(("at first", "after a worker set 1", "after the main thread set 2"), zip(*[iter(seen)] * 2)):
    print(f"{when}: main thread {main}, a thread that starts now {later}")
assert seen == [2, 2, 2, 1, 2, 2]
EOF
