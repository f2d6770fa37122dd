"""Runs the pages: every block of Python and every command, top to bottom, in an empty folder for each page.

- ``python`` blocks share one namespace; an ``output`` block below one is what it prints.
- ``console`` blocks hold commands after ``$``, each followed by what it prints on standard output.
- ``shell`` blocks install, download or need other machines: they are shown, not run.
- An HTML comment ``<!--- invisible-code: python ... --->`` runs and is not shown.

Numbers may differ from the page's by two units of their last digit, and counts by a tenth; ``...`` stands for anything.
Where networks are trained, rounding moves every number: there only the words are compared.
Pages that need a package which is not installed are skipped.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from minilandscape_cli.main import main
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.example import Example
from sybil.parsers.myst import CodeBlockParser, SkipParser

#: What pages need besides the package itself.
NEEDS = {"ase": ("ase", "tblite"), "pytorch": ("torch",), "jax": ("jax",), "pele-topsearch": ("pele",)}
#: Pages that take a minute: they run with --long.
LONG = ("mnist",)
#: What only a shell understands.
SHELL = {"|", ">", "<", "&&", "||", ";", "2>&1"}
NUMBER = re.compile(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?")
run_python = PythonEvaluator()


def run_block(example: Example) -> None:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        run_python(example)
    example.namespace["_printed"] = printed.getvalue()


def check_output(example: Example) -> str | None:
    return difference(example.parsed, example.namespace["_printed"], trains(example))


def trains(example: Example) -> bool:
    """Whether the example's page trains networks."""
    return re.search(r"ml\.train|minilandscape train|import torch", example.document.text) is not None


def run_commands(example: Example) -> str | None:
    for command, expected in re.findall(r"^\$ ((?:.*\\\n)*.*)\n((?:(?!\$ ).*\n?)*)", example.parsed, re.MULTILINE):
        words = shlex.split(command.replace("\\\n", " "))
        alone = words[0] == "minilandscape" and not SHELL.intersection(words)
        code, printed, notes = (run_here if alone else run_in_shell)(words[1:] if alone else [command])
        if expected.strip() and (found := difference(expected, printed, trains(example))):
            return f"$ {command}\n{found}\n{notes}"
        if code != 0 and not expected.strip():
            return f"$ {command}\nexit {code}\n{printed}{notes}"
    return None


def run_here(arguments: list[str]) -> tuple[int, str, str]:
    """Run the command line in this process, which has what it imports already."""
    printed, notes = io.StringIO(), io.StringIO()
    forget_modules(Path.cwd())
    code: Any = 0
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(notes), pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "120")
        try:
            main(arguments)
        except SystemExit as ended:
            code = ended.code
    return int(code or 0), printed.getvalue(), notes.getvalue()


def run_in_shell(command: list[str]) -> tuple[int, str, str]:
    first = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": first, "COLUMNS": "120"}
    done = subprocess.run(["bash", "-c", *command], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


def difference(expected: str, got: str, words_only: bool = False) -> str | None:
    """Compare a page's text with what was printed."""
    if alike(expected, got, words_only):
        return None
    return f"the page says\n{expected}\nprinted was\n{got}"


def alike(expected: str, got: str, words_only: bool = False) -> bool:
    pattern, numbers, last = "", [], 0
    text = re.sub(r"[ \t]+", " ", expected.strip())
    for found in re.finditer(rf"\.\.\.|{NUMBER.pattern}", text):
        pattern += re.escape(text[last : found.start()])
        if found[0] == "...":
            pattern += r"[\s\S]*?"
        else:
            numbers.append(found[0])
            pattern += f"({NUMBER.pattern})"
        last = found.end()
    pattern += re.escape(text[last:])
    match = re.fullmatch(pattern, re.sub(r"[ \t]+", " ", got.strip()))
    return match is not None and (words_only or all(near(a, b) for a, b in zip(numbers, match.groups(), strict=True)))


def near(shown: str, printed: str) -> bool:
    a, b = (float(n.replace(",", "").replace("−", "-")) for n in (shown, printed))
    mantissa, _, exponent = shown.replace(",", "").lower().partition("e")
    _, dot, decimals = mantissa.partition(".")
    if not dot and not exponent:
        return abs(a - b) <= 0.1 * abs(a)
    return abs(a - b) <= 2.1 * 10.0 ** (int(exponent or 0) - len(decimals))


@pytest.fixture(scope="module")
def page_folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder, the current one while a page runs; the page's packages are there."""
    page = Path(request.node.path).stem
    if page in LONG and not request.config.getoption("--long", default=False):
        pytest.skip("long: run with --long")
    for package in NEEDS.get(page, ()):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    folder, before, searched = tmp_path_factory.mktemp(page), Path.cwd(), list(sys.path)
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    yield folder
    forget_modules(folder)
    sys.path[:] = searched
    os.chdir(before)


def forget_modules(folder: Path) -> None:
    """Drop the modules of a page's folder: another page, or a later block, has others of the same names."""
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


def start_page(namespace: dict[str, Any]) -> None:
    import matplotlib

    matplotlib.use("agg")
    namespace["__name__"] = "__page__"


pytest_collect_file = Sybil(
    parsers=[
        CodeBlockParser("python", run_block),
        CodeBlockParser("output", check_output),
        CodeBlockParser("console", run_commands),
        SkipParser(),
    ],
    patterns=["tutorials/*.md", "howto/*.md", "explanation/*.md", "reference/*.md"],
    excludes=["_build/*", "gallery/*", "paper/results/*"],
    fixtures=["page_folder"],
    setup=start_page,
).pytest()
