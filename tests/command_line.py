"""The command line as a function."""

from __future__ import annotations

import pytest
from minilandscape_cli.main import main


def run(*arguments: str) -> int:
    """Run a command; returns its exit status."""
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)
