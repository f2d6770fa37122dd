"""Screens of the command line: results as aligned lines, help with examples, hints where users go wrong."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from command_line import run
from minilandscape_cli.commands import COMMANDS, GROUPS
from minilandscape_cli.main import app
from minilandscape_cli.options import PANELS

from minilandscape.connect import load_connection
from minilandscape.display import text_lines
from minilandscape.potentials import MullerBrown

ENERGIES = """
import numpy as np
from minilandscape.potentials import MullerBrown
calls, last = 0, float("inf")


def make():
    return MullerBrown()


def well(x):
    bend = x[1] + x[0] ** 2 - 1
    return (x[0] ** 2 - 1) ** 2 + 4 * bend**2, np.array([4 * x[0] * (x[0] ** 2 - 1) + 16 * x[0] * bend, 8 * bend])


def stops(x):
    global calls
    calls += 1
    if calls > 12:
        raise KeyboardInterrupt
    return well(x)


def breaks():
    return undefined


def nothing():
    return None
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "screens", raising=False)
    Path("screens.py").write_text(ENERGIES)
    np.save("a.npy", MullerBrown().minima[0])
    np.save("b.npy", MullerBrown().minima[1])
    np.save("left.npy", np.array([-1.0, 0.0]))
    np.save("right.npy", np.array([1.0, 0.0]))
    return tmp_path


def test_decimal_points_and_remarks_stand_in_columns() -> None:
    lines = [
        ("barrier", "67.505", "above the higher endpoint (straight line at least 120.84)"),
        ("maximum", "-40.6620", "at t = 0.383"),
        ("endpoints", "-146.6995, -108.1667", ""),
        ("path length", "2.61", "(straight line 1.84)"),
        ("converged", "yes", "in 41 iterations"),
        ("cost", "212 gradient and 60 energy evaluations", ""),
        ("wrote", "path.npz, path.png", ""),
    ]
    assert text_lines(lines).splitlines() == [
        "barrier      67.505    above the higher endpoint (straight line at least 120.84)",
        "maximum     -40.6620   at t = 0.383",
        "endpoints  -146.6995, -108.1667",
        "path length   2.61     (straight line 1.84)",
        "converged     yes      in 41 iterations",
        "cost          212 gradient and 60 energy evaluations",
        "wrote         path.npz, path.png",
    ]
    assert text_lines([]) == ""


def test_connect_prints_what_the_path_is(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ends = ("connect", "a.npy", "b.npy", "--landscape", "screens:make")
    assert run(*ends, "--out", "path.npz", "--plot", "path.png") == 0
    shown = capsys.readouterr().out
    assert re.fullmatch(
        r"barrier      67\.50\d    above the higher endpoint \(straight line at least 1\d\d\.\d\d\)\n"
        r"maximum     -40\.66\d\d   at t = 0\.\d{3}\n"
        r"endpoints  -146\.6995, -108\.1667\n"
        r"path length   2\.\d\d     \(straight line 1\.84\)\n"
        r"converged     yes      in \d+ iterations\n"
        r"cost          \d+ gradient and \d+ \w+ evaluations\n"
        r"wrote         path\.npz, path\.png\n",
        shown,
    )
    assert run(*ends, "--solver", "adam", "--objective", "sum", "--steps", "3") == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("converged")]
    assert line.split(maxsplit=2)[1:] == [
        "no",
        "stopped after 3 iterations: the barrier is an upper bound; --solver auto runs to convergence",
    ]
    assert run(*ends, "--method", "linear") == 0
    assert "converged     no" in capsys.readouterr().out


def test_the_saddle_between_two_minima(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("connect", "a.npy", "b.npy", "--landscape", "screens:make", "--saddle")
    assert run(*command, "--out", "s.npz", "--plot", "s.png") == 0
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()}
    assert list(shown) == ["barrier", "saddle", "chain", "minima", "verified", "cost", "wrote"]
    assert float(shown["barrier"].split()[0]) == pytest.approx(106.035, abs=0.02)
    assert float(shown["saddle"].split()[0]) == pytest.approx(-40.6648, abs=0.01)
    assert "-80.7678" in shown["minima"]
    assert shown["chain"].startswith("3 minima ")
    assert shown["verified"].split()[0] == "yes"
    assert load_connection("s.npz").converged
    assert Path("s.png").stat().st_size > 0
    assert run(*command, "--tolerance", "1e-5", "--from", "s.npz", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["saddle"]["residual"] <= found["saddle"]["tolerance"] == 1e-5
    assert 0 <= found["saddle"]["value_error"] < 1e-8
    assert found["saddle"]["eigenvalues"][0] < 0 < found["saddle"]["eigenvalues"][1]
    assert found["barrier_forward"] == pytest.approx(found["saddle"]["value"] - found["minima_values"][0])
    assert found["calls"]["total"] == sum(n for stage, n in found["calls"].items() if stage != "total")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--saddle", "--steps", "3"), "--steps: of the search of a path, without effect on --saddle"),
        (("--saddle", "--method", "neb"), "--method: of the search of a path"),
        (("--tolerance", "1e-3"), "--tolerance: of the search of a saddle, without effect where no --saddle"),
        (("--saddle", "--tolerance", "0"), "--tolerance is 0.0; expected a finite number above 0"),
    ],
)
def test_options_of_paths_and_saddles_are_told_apart(
    arguments: tuple[str, ...], message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("connect", "left.npy", "right.npy", "--landscape", "screens:well", *arguments) == 2
    assert message in capsys.readouterr().err


def test_an_interrupted_saddle_search_keeps_its_chain(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ("connect", "left.npy", "right.npy", "--landscape", "screens:stops", "--saddle")
    assert run(*command, "--out", "s.npz") == 130
    assert "the chain so far is in s.npz" in capsys.readouterr().err
    assert not load_connection("s.npz").converged
    assert run(*command) == 130
    assert "nothing is kept, since --out names no file" in capsys.readouterr().err


# Help ----------------------------------------------------------------------------------------------------------------


def test_every_command_is_in_a_group_and_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    made: Any = typer.main.get_command(app)
    assert list(made.commands) == list(COMMANDS)
    assert run("--help") == 0
    listed = capsys.readouterr().out
    for group in GROUPS:
        assert f"\n{group}:\n" in listed
    for name, command in COMMANDS.items():
        assert command.group in GROUPS
        assert run(name, "--help") == 0
        shown = capsys.readouterr().out
        for example in command.examples:
            assert f"\n  {example}\n" in shown
            program, called, *arguments = shlex.split(example)
            assert (program, called) == ("minilandscape", name)
            made.commands[name].make_context(name, arguments)  # every option exists, every choice is one


def test_the_list_of_commands_says_what_their_help_says() -> None:
    for name, command in COMMANDS.items():
        first = str(command.load(name).__doc__).partition("\n\n")[0]
        assert " ".join(first.split()).startswith(command.summary), name


def test_options_stand_in_panels_with_their_choices(capsys: pytest.CaptureFixture[str]) -> None:
    made: Any = typer.main.get_command(app)
    for name in COMMANDS:
        for option in made.commands[name].params:
            if option.param_type_name == "option" and option.name != "help":
                panel = str(option.rich_help_panel)
                assert panel in PANELS or panel.startswith("Path, only --method "), (name, option.name)
    assert run("connect", "--help") == 0
    shown = capsys.readouterr().out
    for choices in ("[fourier|linear|bezier|polyline|neb|autoneb]", "[adam|lbfgs-gss|auto]", "[cpu|gpu]"):
        assert choices in shown
    titles = re.findall(r"^(\S.*):$", shown, re.MULTILINE)
    assert titles[:4] == [
        "Arguments",
        "Landscape",
        "Path",
        "Path, only --method fourier, bezier, polyline",
    ]
    assert titles[-1] == "Examples"


@pytest.mark.skipif(sys.platform == "win32", reason="completion of bash")
@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("minilandscape conn", {"connect"}),
        ("minilandscape connect a.npy b.npy --method b", {"bezier"}),
        ("minilandscape train l", {"lenet", "lstm"}),
        ("minilandscape connect a.npy b.npy --sadd", {"--saddle"}),
    ],
)
def test_the_shell_completes_commands_options_and_choices(typed: str, expected: set[str]) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1)}
    asked = {**os.environ, **words, "_MINILANDSCAPE_COMPLETE": "complete_bash"}
    code = "from minilandscape_cli.main import main; main()"
    done = subprocess.run([sys.executable, "-c", code], env=asked, capture_output=True, text=True)
    assert set(done.stdout.split()) == expected, done.stderr


@pytest.mark.parametrize("arguments", ["['--help']", "['info']", "['train', '--help']", "['statistics', '--help']"])
def test_a_command_imports_what_it_needs_alone(arguments: str) -> None:
    code = (
        "import sys\nfrom minilandscape_cli.main import main\n"
        f"try: main({arguments})\nexcept SystemExit: pass\n"
        "print([m for m in ('minilandscape.paths', 'scipy', 'sklearn', 'matplotlib', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


# Hints ---------------------------------------------------------------------------------------------------------------

WELL = ("--landscape", "screens:well")


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (("connect", "a.pt", "b.pt"), 1, "a.pt is a checkpoint of a module of your own", "    def make():"),
        (("evaluate", "a.pt", *WELL), 1, "screens:well makes no landscape of a PyTorch module", "    def make():"),
        (("connect", "a.npy", "b.npy"), 1, "a.npy: no model has 2 parameters; expected", "    def f(x):"),
        (("connect", "a.xyz", "b.xyz"), 2, "to connect two structures add --calculator emt", None),
        (("connect", "a.npy", "b.npy", "--calculator", "emt"), 2, "a.npy is no structure, which --calculator", None),
        (("evaluate", "a.xyz"), 1, "a.xyz is a structure; expected a .npy file of weights", None),
        (("evaluate", "."), 1, ". is a folder; expected a .npy file of weights, such as a.npy", None),
        (("connect", "path.npz", "a.npy"), 1, "path.npz holds a path; expected weights (.npy): connect resumes", None),
        (("connect", "tree.npz", "tree.npz"), 1, "tree.npz holds arrays (w); expected a .npy", "    def make():"),
        (("surface", "--path", "a.npy"), 1, "a.npy holds vectors (.npy); expected a path (.npz)", None),
        (("connect", "set.npy", "a.npy", *WELL), 1, "holds 3 vectors; name one, set.npy:0 to set.npy:2", None),
        (("evaluate", "lef.npy"), 1, "lef.npy does not exist (did you mean left.npy?)", None),
        (("connect", "a.npy", "b.npy", *WELL, "--out", "."), 1, ". cannot be written: it is a folder", None),
        (("conect", "a.npy", "b.npy"), 2, "there is no command 'conect' (did you mean connect?)", None),
        (("connect", "a.npy", "b.npy", "--landscap", "x"), 2, "--landscap (did you mean --landscape?)", None),
        (("connect", "a.npy", "b.npy", "--step", "3"), 2, "there is no option --step (did you mean --steps?)", None),
        (("connect", "a.npy", "b.npy", "--method", "fourrier"), 2, "(did you mean fourier?); expected one of", None),
        (("train", "lenett"), 2, "model is 'lenett' (did you mean lenet?); expected one of", None),
        (("connect", "a.npy", "b.npy", "--points", "two"), 2, "--points is 'two': expected a whole number", None),
        (("connect", "a.npy", "b.npy", "--lam", "two"), 2, "--lam is 'two': expected a number", None),
        (("connect", "a.npy", "b.npy", "--landscape", "screens"), 2, "here screens:make or screens:well", None),
        (("connect", "a.npy", "b.npy", "--landscape", "screens.py"), 2, "here screens:make or screens:well", None),
        (("connect", "a.npy", "b.npy", "--landscape", "screens:wel"), 1, "(did you mean well?)", None),
        (("connect", "a.npy", "b.npy", "--landscape", "screen:well"), 1, "(did you mean screens?)", None),
        (("connect", "a.npy", "b.npy", "--landscape", "screens:breaks"), 1, "(screens.py, line 25); --debug", None),
        (("connect", "a.npy", "b.npy", "--landscape", "screens:nothing"), 1, "nothing() returned NoneType", None),
    ],
)
def test_what_to_do_is_said_where_users_go_wrong(
    arguments: tuple[str, ...],
    code: int,
    message: str,
    hint: str | None,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("a.pt", "b.pt", "a.xyz", "b.xyz"):
        Path(name).write_text("2\n\nH 0 0 0\nH 0 0 1\n")
    np.savez("tree.npz", w=np.eye(2))
    np.save("set.npy", np.eye(3, 2))
    if "path.npz" in arguments:
        assert run("connect", "left.npy", "right.npy", *WELL, "--method", "linear", "--out", "path.npz") == 0
        capsys.readouterr()
    assert run(*arguments) == code
    captured = capsys.readouterr()
    line, *more = captured.err.splitlines()
    assert line.startswith("minilandscape: ")
    assert message in line
    assert any(each.startswith(hint) for each in more) if hint else not more
    assert captured.out == ""


def test_nothing_but_the_document_is_on_standard_output(folder: Path) -> None:
    """And no progress where standard error is no terminal."""
    ends = [sys.executable, "-m", "minilandscape_cli.main", "connect", "left.npy", "right.npy", *WELL, "--json"]
    done = subprocess.run(ends, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["converged"]
    assert done.stderr == ""
