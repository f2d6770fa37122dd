"""Files: whole or not at all, the same bytes for the same content, and clear refusals."""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from minilandscape import files


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files.write_atomic(tmp_path / "a", b"old")

    def fail(*args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_atomic(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


@pytest.mark.skipif(not hasattr(os, "O_DIRECTORY"), reason="folders cannot be flushed")
def test_a_file_and_its_folder_are_on_disk_before_a_write_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def name_of(handle: int) -> str:
        return Path(os.readlink(f"/proc/self/fd/{handle}")).name

    real_sync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda handle: (done.append(f"sync {name_of(handle)}"), real_sync(handle)))
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("rename"), real_replace(a, b)))
    files.write_atomic(tmp_path / "outer" / "inner" / "a", b"1")
    steps = [re.sub(r"^sync \.a\..*\.tmp$", "sync file", step) for step in done]
    assert steps == [f"sync {tmp_path.name}", "sync outer", "sync file", "rename", "sync inner"]


@pytest.mark.skipif(os.name != "posix", reason="symbolic links and permissions are POSIX's")
def test_links_devices_and_permissions_are_respected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    target, link = disk / "target.npy", tmp_path / "link.npy"
    target.write_bytes(b"old")
    target.chmod(0o640)
    link.symlink_to(Path("disk", "target.npy"))
    files.write_atomic(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    (tmp_path / "to nothing").symlink_to(disk / "made")
    files.write_atomic(tmp_path / "to nothing", b"x")
    assert (disk / "made").read_bytes() == b"x"
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises(OSError, match="symbolic links"):
        files.write_atomic(tmp_path / "loop", b"x")
    code = "from minilandscape import files; print(1, flush=True); files.write_atomic('/dev/stdout', b'2\\n'); print(3)"
    with open(tmp_path / "redirected", "w") as redirected:  # the file that is open stays the file
        subprocess.run([sys.executable, "-c", code.replace("print(3)", "")], stdout=redirected, check=True)
        assert os.path.samestat(os.fstat(redirected.fileno()), os.stat(tmp_path / "redirected"))
    assert (tmp_path / "redirected").read_text() == "1\n2\n"
    piped = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, check=True)
    assert piped.stdout == b"1\n2\n3\n"
    files.write_atomic("/dev/null", b"x")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    for mask, mode in ((0o022, 0o644), (0o077, 0o600), (0o002, 0o664)):
        before = os.umask(mask)
        try:
            monkeypatch.setattr(os, "umask", lambda _: pytest.fail("the umask is the whole process's"))
            files.write_atomic(tmp_path / f"mode{mode}", b"x")
        finally:
            monkeypatch.undo()
            os.umask(before)
        assert stat.S_IMODE((tmp_path / f"mode{mode}").stat().st_mode) == mode
    target.chmod(0o444)
    if os.geteuid() != 0:  # whom nothing is read-only for
        with pytest.raises(PermissionError):
            files.write_atomic(link, b"newer")
        assert target.read_bytes() == b"new"
    names = ["disk", "link.npy", "loop", "mode384", "mode420", "mode436", "redirected", "to nothing"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_what_killed_processes_left_is_found_by_the_files_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("a.npz", "a[1].npz", "字" * 83)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)  # as if it were killed
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        for name in names:
            with pytest.raises(OSError, match="killed"):
                files.write_atomic(tmp_path / name, b"x")
    assert len(list(tmp_path.iterdir())) == 3
    for name in names:
        (left,) = files.unfinished_files(tmp_path / name)
        left.unlink()
    assert not list(tmp_path.iterdir())


def test_results_round_trip_and_are_deterministic(tmp_path: Path) -> None:
    arrays, facts = {"x": np.arange(5.0), "y": np.eye(2)}, {"seed": 3, "name": "π"}
    for name in ("a.npz", "b.npz"):
        files.write_result(tmp_path / name, "thing", arrays, facts)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    read, known = files.read_result(tmp_path / "a.npz", "thing")
    assert {k: v.tolist() for k, v in read.items()} == {k: v.tolist() for k, v in arrays.items()}
    assert known["name"] == "π"
    with pytest.raises(ValueError, match="is a thing file; expected a path file"):
        files.read_result(tmp_path / "a.npz", "path")
    content = (tmp_path / "a.npz").read_bytes()
    for cut in (0, 10, len(content) // 2):
        (tmp_path / "c.npz").write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"c\.npz"):
            files.read_result(tmp_path / "c.npz", "thing")


def test_vectors_round_trip(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((3, 7)).astype(np.float32)
    files.write_vectors(tmp_path / "v.npy", vectors)
    assert np.array_equal(files.read_vectors(tmp_path / "v.npy"), vectors)
    assert np.array_equal(np.load(tmp_path / "v.npy"), vectors)
    assert files.sha256(vectors[0]) == files.sha256(vectors[0].astype(">f4").astype("<f4"))


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 2, 2)), "expected one vector"),
        (np.array(["a"]), "expected floats"),
        (np.array([1 + 2j]), "expected floats"),
        (np.array([[1.0, np.inf], [0, 0]]), "row 0"),
        (np.zeros(0), "expected one vector"),
    ],
)
def test_vectors_that_do_not_do_are_refused(array: np.ndarray, message: str, tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(ValueError, match=message) as caught:
        files.read_vectors(tmp_path / "bad.npy")
    assert "bad.npy" in str(caught.value)


def test_a_damaged_vector_file_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "v.npy", np.zeros(100))
    content = (tmp_path / "v.npy").read_bytes()
    for cut in (8, 40, 300):
        (tmp_path / "v.npy").write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"v\.npy is damaged"):
            files.read_vectors(tmp_path / "v.npy")


def test_a_result_with_any_byte_wrong_is_refused_or_whole(tmp_path: Path) -> None:
    path = files.write_result(tmp_path / "r.npz", "thing", {"x": np.arange(3.0)}, {"seed": 3})
    content = path.read_bytes()
    read = 0
    for k in range(len(content)):
        path.write_bytes(content[:k] + bytes([content[k] ^ 0x41]) + content[k + 1 :])
        with contextlib.suppress(ValueError):
            arrays, facts = files.read_result(path, "thing")
            assert {name: a.tolist() for name, a in arrays.items()} == {"x": [0, 1, 2]}
            assert facts["seed"] == 3
            read += 1
    assert read < len(content) / 2


@pytest.mark.parametrize("document", ["[1]", "7", "{}", "{"])
def test_an_archive_of_another_program_is_refused(document: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "foreign.npz", json=np.array(document))
    with pytest.raises(ValueError, match=r"foreign\.npz is not a thing file"):
        files.read_result(tmp_path / "foreign.npz", "thing")


def test_a_newer_format_asks_for_an_update(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "FORMAT", 9)
    files.write_result(tmp_path / "new.npz", "thing", {}, {})
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"format 9\); update"):
        files.read_result(tmp_path / "new.npz", "thing")


def test_python_objects_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="x holds Python objects"):
        files.write_result(tmp_path / "r.npz", "thing", {"x": [None]}, {})
    with pytest.raises(ValueError, match="allow_pickle"):
        files.write_vectors(tmp_path / "v.npy", np.array([None]))
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_not_finite_come_back_as_they_were(tmp_path: Path) -> None:
    facts = {"t": np.nan, "none": None, "deep": {"list": [1.5, (-np.inf, "nan")], 3: np.float32(np.inf)}}
    files.write_result(tmp_path / "r.npz", "thing", {}, facts)
    with np.load(tmp_path / "r.npz") as file:
        document = json.loads(str(file["json"]), parse_constant=pytest.fail)
    assert document["deep"] == {"list": [1.5, [None, "nan"]], "3": None}
    _, known = files.read_result(tmp_path / "r.npz", "thing")
    assert np.isnan(known.pop("t"))
    assert known == {
        "format": files.FORMAT,
        "kind": "thing",
        "none": None,
        "deep": {"list": [1.5, [-np.inf, "nan"]], "3": np.inf},
    }


def test_numpys_numbers_are_written_like_any_other(tmp_path: Path) -> None:
    facts = {
        "n": np.int64(5),
        "x": np.float32(0.5),
        "yes": np.bool_(True),
        "text": np.str_("a"),
        "by": {np.int64(2): 1},
        "row": np.array([1, 2]),
        "number": np.array(3),
        "file": Path("a/b"),
    }
    files.write_result(tmp_path / "r.npz", "thing", {}, facts)
    _, known = files.read_result(tmp_path / "r.npz", "thing")
    assert {name: known[name] for name in facts} == {
        "n": 5,
        "x": 0.5,
        "yes": True,
        "text": "a",
        "by": {"2": 1},
        "row": [1, 2],
        "number": 3,
        "file": os.path.join("a", "b"),
    }
    assert known["yes"] is True
    files.write_json(tmp_path / "d.json", facts)
    assert files.read_json(tmp_path / "d.json")["n"] == 5


@pytest.mark.parametrize("letter", ["a", "é", "字"])
def test_the_longest_name_that_a_file_may_have_can_be_written(letter: str, tmp_path: Path) -> None:
    name = letter * (251 // len(letter.encode())) + ".npy"
    assert files.write_atomic(tmp_path / name, b"x").read_bytes() == b"x"
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_json_round_trips_and_names_a_bad_file(tmp_path: Path) -> None:
    path = files.write_json(tmp_path / "new folder" / "d.json", {"a": [1, 2.5, None]})
    assert files.read_json(path) == {"a": [1, 2.5, None]}
    path.write_text('\ufeff{"a": 1}', encoding="utf-8")  # as some editors save it
    assert files.read_json(path) == {"a": 1}
    for content in (b"{", b"\xff\xfe"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"d\.json is not a JSON document"):
            files.read_json(path)


def test_json_is_strict(tmp_path: Path) -> None:
    document = {"a": [1.0, float("nan")], "b": {"c": float("inf"), "d": "π"}}
    files.write_json(tmp_path / "d.json", document)
    assert files.read_json(tmp_path / "d.json") == {"a": [1.0, None], "b": {"c": None, "d": "π"}}


@pytest.mark.skipif(os.name != "posix", reason="nothing is locked elsewhere")
def test_one_at_a_time_holds_a_lock_whatever_becomes_of_its_folder(tmp_path: Path) -> None:
    path, inside, said = tmp_path / "new" / ".lock", [0], []
    most: list[int] = []

    def work(k: int) -> None:
        with files.locked(path, said.append):
            inside[0] += 1
            most.append(inside[0])
            time.sleep(0.02)
            inside[0] -= 1
            if k % 2:  # as a command does that leaves nothing behind
                path.unlink()
                with contextlib.suppress(OSError):  # another one is there already
                    path.parent.rmdir()

    with ThreadPoolExecutor(4) as executor:
        list(executor.map(work, range(12)))
    assert most == [1] * 12
    assert said
    assert all(line.startswith(f"waiting for process {os.getpid()} on ") or "another process" in line for line in said)
