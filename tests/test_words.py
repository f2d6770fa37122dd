"""Words on the screen: help, progress, notes and errors show the words of a text and of a user as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from minilandscape_cli.main import app, main
from minilandscape_cli.output import note, progress_bar

from minilandscape.analysis.shown_kpca import plot_kpca

COMMANDS: dict[str, Any] = typer.main.get_command(app).commands  # type: ignore[attr-defined]
#: Markup and emoji of rich, a formula of Matplotlib that it cannot read, a format of Python's.
ODD = "[red]a[/] :smile: [fcp] $\\foo$ {0} %s"


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    return int(ended.value.code or 0)


def squeezed(text: str) -> str:
    """Without spaces: lines may be broken anywhere."""
    return "".join(text.split())


@pytest.mark.parametrize("with_rich", [True, False])
@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_every_word_of_the_help_is_shown(
    width: int, with_rich: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("typer.core.HAS_RICH", with_rich, raising=False)
    assert run("--help") == 0
    everything = capsys.readouterr().out
    assert all(len(line) <= max(width, 60) for line in everything.splitlines())
    for name, command in COMMANDS.items():
        assert squeezed(command.short_help) in squeezed(everything), name
        assert run(name, "--help") == 0
        shown = squeezed(capsys.readouterr().out)
        for text in (command.help, *(option.help for option in command.params)):
            assert text
            assert squeezed(text) in shown, (name, text)
    assert run() == 0
    assert capsys.readouterr().out == everything


def test_errors_of_usage_are_one_line_that_shows_what_was_typed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (
        ("reproduce", "--out", "c", "--scale", ODD),
        ("connect", "a.npy", "b.npy", "--" + ODD),
        ("connect", "a.npy", "b.npy", ODD),
        (ODD,),
    ):
        assert run(*arguments) == 2
        captured = capsys.readouterr()
        (line,) = captured.err.splitlines()
        assert line.startswith("minilandscape: ")
        assert ODD in line or repr(ODD) in line
        assert captured.out == ""
    campaign = ("reproduce", "--out", "c", "--scale", "smoke")
    for missing in (("evaluate", ODD), ("report", ODD), ("surface", "--path", ODD), (*campaign, "--config", ODD)):
        assert run(*missing) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert ODD in line


def test_lines_of_progress_show_names_as_they_are(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minilandscape_cli.output.FIRST_LINE", -1.0)
    with progress_bar(ODD, 5) as advance:
        advance(2, ODD)
        note(ODD)
    assert capsys.readouterr().err.splitlines() == [f"{ODD}: 2 of 5, {ODD}", ODD]


def on_a_terminal(code: str, **environment: str) -> tuple[str, str]:
    """What a program writes to its standard output, and to a terminal of 200 columns as its standard error."""
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    variables = {**os.environ, "COLUMNS": "200", "TERM": "xterm", **environment}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=child, env=variables) as process:
        os.close(child)
        seen = b""
        try:
            while part := os.read(parent, 65536):
                seen += part
        except OSError:  # how Linux tells that the terminal has been closed
            pass
        os.close(parent)
        assert process.stdout is not None
        out = process.stdout.read()
    assert process.returncode == 0, seen
    return out.decode(), seen.decode()


PROGRESS = f"""
from minilandscape_cli import output
output.FIRST_LINE = -1.0
with output.progress_bar({ODD!r}, 5) as advance:
    advance(2, {ODD!r} + " done")
    output.note("wrote " + {ODD!r} + "/x" * 150)
    print("result " + {ODD!r})
"""


def test_a_bar_shows_names_as_they_are_and_keeps_results_off_the_screen() -> None:
    out, seen = on_a_terminal(PROGRESS)
    assert out == f"result {ODD}\n"
    assert f"wrote {ODD}{'/x' * 150}\r\n" in seen
    assert f"{ODD} done" in seen
    assert f"{ODD} \x1b" in seen


def test_a_terminal_that_draws_nothing_has_lines_of_progress() -> None:
    _, seen = on_a_terminal(PROGRESS, TERM="dumb")
    assert seen.splitlines() == [f"{ODD}: 2 of 5, {ODD} done", f"wrote {ODD}{'/x' * 150}"]


def test_names_of_files_are_drawn_as_they_are() -> None:
    from matplotlib.figure import Figure

    names = ["_a.npy", "$\\foo$.npy", "$x$.npy", "[red].npy"]
    for components in ((0, 1), (0,)):
        figure = Figure()
        axes = plot_kpca(figure.subplots(), np.eye(4), names, components=components)
        figure.draw_without_rendering()
        texts = axes.get_yticklabels() if len(components) == 1 else axes.get_legend().get_texts()
        shown = [text._preprocess_math(text.get_text()) for text in texts]
        assert [(text.strip(), math) for text, math in shown] == [(name, False) for name in names]


NOISY = """
import ctypes
import numpy as np
def f(x):
    print("from Python")
    ctypes.CDLL(None).puts(b"from C")
    return float(x @ x), 2 * x
"""


@pytest.mark.skipif(sys.platform == "win32", reason="the C library is named otherwise")
def test_the_document_stands_alone_however_much_a_landscape_prints(tmp_path: Path) -> None:
    (tmp_path / "noisy.py").write_text(NOISY)
    np.save(tmp_path / "a.npy", np.ones(2))
    command = [sys.executable, "-m", "minilandscape_cli.main", "curvature", "a.npy", "--landscape", "noisy:f", "--json"]
    # Where Python's output has no buffer, that of C has none either.
    usual = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env=usual)
    assert json.loads(done.stdout)["points"][0]["value"] == pytest.approx(2)
    assert "from Python" in done.stderr
    assert "from C" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("{} --help | head -1 >/dev/null; exit ${{PIPESTATUS[0]}}", (0, 1), ""),
        ("{} statistics s.npy --json | true; exit ${{PIPESTATUS[0]}}", (1,), ""),
        ("{} statistics s.npy <&- >&-", (0,), ""),
        ("{} statistics s.npy 2>&-", (0,), ""),
        ("{} statistics missing.npy 2>&-", (1,), ""),
        ("PYTHONIOENCODING=ascii {} statistics s.npy t.npy", (0,), ""),
        ("PYTHONIOENCODING=ascii {} connect --help", (0,), ""),
    ],
)
def test_streams_that_are_closed_or_narrow_end_no_command_in_a_traceback(
    line: str, code: tuple[int, ...], error: str, tmp_path: Path
) -> None:
    np.save(tmp_path / "s.npy", np.eye(3))
    np.save(tmp_path / "t.npy", 1 - np.eye(3))
    command = line.format(f"{sys.executable} -m minilandscape_cli.main")
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode in code, done.stderr) == (True, error), done
