"""README: its two commands, and its program."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")


def test_quick_start_is_two_one_line_commands() -> None:
    (section,) = re.findall(r"^## Quick start\n(.*?)^## ", README, re.DOTALL | re.MULTILINE)
    run, test = re.findall(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    for command in (run, test):
        assert command.count("\n") == 1
        assert command.startswith("python3 -m venv .venv && .venv/bin/pip install ")
    assert run.endswith(".venv/bin/minilandscape demo\n")
    assert test.endswith(".venv/bin/python -m pytest\n")


def test_the_program_prints_what_it_says(tmp_path: Path) -> None:
    (found,) = re.finditer(r"^```python\n(.*?)^```\n+prints\n+```\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    program, printed = found.groups()
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == printed, done.stderr
