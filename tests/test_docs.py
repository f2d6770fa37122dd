"""What the documents name exists."""

from __future__ import annotations

import ast
import inspect
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import typer
from minilandscape_cli.main import app

import minilandscape as ml
from minilandscape.paths import Ending
from minilandscape.paths.method import options_of
from minilandscape.paths.methods import METHODS
from minilandscape.training.options import run_options

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
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
        assert "".join(name) in commands | {"COMMAND"}, name


COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
OPTIONS = {
    name: {flag for option in command.params for flag in (*option.opts, *option.secondary_opts)}
    for name, command in COMMANDS.items()
}
#: The options before a command.
EVERYWHERE = {flag for option in typer.main.get_command(app).params for flag in option.opts}
#: What the documents' variables hold.
HOLD = {"path": ml.Path, "saddle": ml.Saddle, "graph": ml.DisconnectivityGraph}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_options_attributes_and_arguments_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    known = set().union(*OPTIONS.values()) | {"--help", *EVERYWHERE}
    ours = re.sub(r"^(?!minilandscape ).*(pip install|dask|pytest|mpiexec).*$", "", text, flags=re.MULTILINE)
    for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", ours):
        assert flag in known, flag
    for command, rest in re.findall(r"(?:^|`|bin/)minilandscape (\w+)([^`\n#]*)", text, re.MULTILINE):
        for flag in re.findall(r"--[a-z][\w-]*", rest):
            assert flag in OPTIONS.get(command, known) | {"--help"}, (command, flag)
    for name in re.findall(r"\bml\.([A-Za-z_]\w*)", text):
        assert name in ml.__all__, name
    for variable, kind in HOLD.items():
        fields = {*dir(kind), *getattr(kind, "__dataclass_fields__", ())}
        for name in re.findall(rf"(?<![\w./]){variable}\.([a-z_]\w*)", text):
            assert name in fields | {"npz", "png", "traj"}, (variable, name)
    blocks = re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) == text.count("```python")
    for block in blocks:
        for call in ast.walk(ast.parse(block)):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                owner = call.func.value
                if isinstance(owner, ast.Name) and owner.id == "ml":
                    taken = {*inspect.signature(getattr(ml, call.func.attr)).parameters}
                    if "options" in taken:  # of a path method, or of training
                        taken |= {name for method in METHODS.values() for name in options_of(method)}
                        taken |= set(inspect.signature(run_options).parameters)
                    for keyword in call.keywords:
                        assert keyword.arg in {None, *taken}, (call.func.attr, keyword.arg)


def test_the_tables_of_the_reproduction_are_those_of_its_results() -> None:
    tables = runpy.run_path(str(ROOT / "docs" / "paper" / "results" / "tables.py"))
    page = (ROOT / "docs" / "paper" / "reproduction.md").read_text(encoding="utf-8")
    assert tables["with_tables"](page) == page, "python docs/paper/results/tables.py writes them anew"
    for name, text in tables["files"]().items():
        assert (ROOT / "docs" / "paper" / "results" / name).read_text(encoding="utf-8") == text
    words = re.sub(r"^\|.*$", "", page, flags=re.MULTILINE).split()  # without the tables
    assert len(words) <= 2500
    with pytest.raises(ValueError, match="places for"):
        tables["with_tables"](page.replace("<!-- answer -->", "<!-- answers -->"))


def test_all_findings_are_listed_on_both_pages() -> None:
    scripts = {path.name for path in (ROOT / "findings").glob("*.sh")}
    for page in (ROOT / "findings" / "README.md", ROOT / "docs" / "development" / "findings.md"):
        assert set(re.findall(r"^\| `(\w+\.sh)`", page.read_text(encoding="utf-8"), re.MULTILINE)) == scripts


def test_every_reason_of_a_search_is_explained() -> None:
    """As the program itself says it."""
    text = (ROOT / "docs" / "explanation" / "convergence.md").read_text(encoding="utf-8")
    for ending in Ending:
        advice = ending.advice or "–"
        assert f"| `{ending}` | {'yes' if ending.converged else 'no'} | {ending.meaning} | {advice} |" in text


def test_every_command_and_its_options_are_on_the_page_of_commands() -> None:
    """The page's tables are made from the program; it names every command once, with an example."""
    text = (ROOT / "docs" / "reference" / "command-line.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^```{command-options} (\w+)$", text, re.MULTILINE)) == sorted(COMMANDS)
    for command in COMMANDS:
        assert f"minilandscape {command}" in text, command


def test_every_public_name_is_in_the_reference() -> None:
    names = set(re.findall(r"^   (\w+)$", (ROOT / "docs" / "reference" / "api.rst").read_text("utf-8"), re.MULTILINE))
    assert set(ml.__all__) - names == {"__version__"}
