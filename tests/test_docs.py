"""What the documents name exists."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
from minilandscape_cli.main import app

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = "\n".join(f.read_text(encoding="utf-8") for d in ("minilandscape", "cli") for f in (ROOT / d).rglob("*.py"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_files_links_functions_and_commands_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for name in re.findall(r"`((?:minilandscape|cli|examples|docs)/[\w/]+(?:\.py|/))", text):
        assert (ROOT / name).exists(), name
    for name in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (document.parent / name).exists(), name
    for name in re.findall(r"`(?:\w+\.)*([A-Za-z_]\w+)` in `minilandscape/", text):
        assert re.search(rf"(?:def|class) {name}\b|^{name}\b", SOURCES, re.MULTILINE), name
    commands = {command.name or command.callback.__name__ for command in app.registered_commands if command.callback}
    for name in re.findall(r"^minilandscape (\w+)|`minilandscape (\w+)|bin/minilandscape (\w+)", text, re.MULTILINE):
        assert "".join(name) in commands, name


def test_the_tables_of_the_reproduction_are_those_of_its_results() -> None:
    tables = runpy.run_path(str(ROOT / "docs" / "results" / "tables.py"))
    page = (ROOT / "docs" / "reproduction.md").read_text(encoding="utf-8")
    assert tables["with_tables"](page) == page, "python docs/results/tables.py writes them anew"
    with pytest.raises(ValueError, match="places for"):
        tables["with_tables"](page.replace("<!-- scan -->", "<!-- scans -->"))
