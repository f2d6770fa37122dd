"""Functions that the tests of campaigns run as tasks."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np


def _log(options: dict[str, Any]) -> None:
    handle = os.open(options["log"], os.O_CREAT | os.O_APPEND | os.O_WRONLY)
    os.write(handle, f"{options['k']}\n".encode())
    os.close(handle)


def square(options: dict[str, Any], inputs: list[Any], checkpoint: Path) -> Any:
    """k² and the sum of what it needs."""
    if "log" in options:
        _log(options)
    time.sleep(options.get("seconds", 0))
    total = sum(float(arrays["x"]) for arrays, _ in inputs)
    return {"x": np.array(options["k"] ** 2 + total)}, {"k": options["k"]}


def fails(options: dict[str, Any], inputs: list[Any], checkpoint: Path) -> Any:
    """Fails until a file is there."""
    if not Path(options["unless"]).exists():
        raise ValueError("it is missing")
    return {"x": np.array(1.0)}, {}


def dies(options: dict[str, Any], inputs: list[Any], checkpoint: Path) -> Any:
    """Kills its own process, the first few times."""
    _log(options)
    if len(Path(options["log"]).read_text().splitlines()) <= options["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return {"x": np.array(2.0)}, {}


def damages(options: dict[str, Any], inputs: list[Any], checkpoint: Path) -> Any:
    """Cuts a file off, once, as a full disk or another program may."""
    path = Path(options["path"])
    if path.exists() and not Path(options["once"]).exists():
        Path(options["once"]).touch()
        path.write_bytes(path.read_bytes()[:100])
    return {"x": np.array(0.0)}, {}


def reads_checkpoint(options: dict[str, Any], inputs: list[Any], checkpoint: Path) -> Any:
    """Reads what it left when it was stopped."""
    from minilandscape.files import read_result

    return (read_result(checkpoint, "checkpoint")[0] if checkpoint.exists() else {"x": np.array(3.0)}), {}
