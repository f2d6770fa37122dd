"""Files: written atomically, checked when read, never unpickled."""

from __future__ import annotations

import errno
import glob
import hashlib
import io
import json
import os
import secrets
import socket
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
#: Bytes of a temporary file's prefix; file systems allow 255 for a name, of which 12 are a random part and the suffix.
LONGEST_PREFIX = 240
#: Seconds between attempts to take a lock that another process holds.
LOOK_EVERY = 0.1

#: Names and indices that lead to a value within a document.
Place = tuple[str | int, ...]


class DamagedFileError(ValueError):
    """Raised if a file is cut off, changed or of another program; the message names it."""


def write_atomic(path: str | os.PathLike[str], content: bytes) -> Path:
    """Write a file atomically and durably, and return its path.

    The content goes to a temporary file in the same folder, ``.NAME.….tmp`` (long names are cut), which is flushed to
    disk and renamed. Then the folder is flushed, so that the file survives a power cut.

    Parameters
    ----------
    path
        A symbolic link is kept: the file that it points to is written. A replaced file keeps its permissions and, if
        permitted, its owner; a new one has the permissions of the umask. A device or a pipe, such as ``/dev/stdout``,
        is written directly. Missing folders are made.
    content
        The whole content.

    Raises
    ------
    OSError
        If the file cannot be written. A file without write permission is refused even if its folder would permit
        replacing it.
    """
    path = Path(path)
    try:
        before: os.stat_result | None = os.stat(path)
    except FileNotFoundError:
        before = None
    if before is not None and (not stat.S_ISREG(before.st_mode) or path.is_relative_to("/dev")):
        # An open file, such as a redirected /dev/stdout, keeps its content. Folders are refused.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND), "wb") as special:
            special.write(content)
        return path
    if before is not None:
        os.close(os.open(path, os.O_WRONLY))  # refuses a read-only file
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
    _make_folder(target.parent)
    handle, temporary = _new_temporary(target)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if before is not None:
            if hasattr(os, "chown"):
                with suppress(PermissionError):  # only root may give a file to another user
                    os.chown(temporary, before.st_uid, before.st_gid)
            os.chmod(temporary, stat.S_IMODE(before.st_mode))
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)
    return path


def unfinished_files(path: str | os.PathLike[str]) -> list[Path]:
    """Return the temporary files that killed processes left of :func:`write_atomic` for a path."""
    target = Path(os.path.realpath(path))
    return list(target.parent.glob(f"{glob.escape(_temporary_prefix(target))}*.tmp"))


def _temporary_prefix(target: Path) -> str:
    prefix = f".{target.name}."
    if len(os.fsencode(prefix)) > LONGEST_PREFIX:
        prefix = os.fsencode(prefix)[:LONGEST_PREFIX].decode(errors="ignore")  # must not end within a character
    return prefix


def _new_temporary(target: Path) -> tuple[int, Path]:
    """Open a new file beside the target for writing, with the permissions of an ordinary new file."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    while True:
        temporary = target.with_name(f"{_temporary_prefix(target)}{secrets.token_hex(4)}.tmp")
        with suppress(FileExistsError):
            return os.open(temporary, flags, 0o666), temporary


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, and flush each parent to disk."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Flush a folder's list of files to disk, if the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:  # a folder that permits writing but not listing
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS):  # some network file systems
            raise
    finally:
        os.close(handle)


@contextmanager
def locked(path: str | os.PathLike[str], notify: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold a lock file within the block; other processes wait. The lock of a process that dies is released at once.

    Parameters
    ----------
    path
        The lock file, which is made and removed again. A missing folder is made.
    notify
        Called with one line of text if another process or thread holds the lock.

    Notes
    -----
    It is a lock of ``flock``, which Linux passes on to NFS. Nothing is locked without ``flock``, as on Windows and on
    some network file systems.
    """
    handle = _acquire(Path(path), notify)
    try:
        yield
    finally:
        if handle is not None:
            if _is_at(
                handle, Path(path)
            ):  # else it was removed meanwhile, and another process holds the file in its place
                Path(path).unlink(missing_ok=True)  # while it is held: processes that wait for it see that it is gone
            os.close(handle)


def _try_lock(handle: int) -> bool:
    """Lock an open file; return whether that was possible at once."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _acquire(path: Path, notify: Callable[[str], None] | None) -> int | None:
    """Wait for a lock file; return its handle, None on systems that have no locks."""
    if find_spec("fcntl") is None:
        return None
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # the process that held the lock removed the folder, too
            continue
        try:
            while not _try_lock(handle):
                if notify is not None:
                    holder = os.pread(handle, 1000, 0).decode(errors="replace").strip() or "another process"
                    notify(f"waiting for {holder}, which works in {path.parent}")
                    notify = None
                time.sleep(LOOK_EVERY)
            if _is_at(handle, path):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
                return handle
        except OSError as error:
            os.close(handle)
            if error.errno in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                return None
            raise
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the process that held it has removed it


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False


def json_text(document: Any) -> str:
    """Return a document as strict, indented JSON; numbers that are not finite become null.

    NumPy's numbers become numbers, its arrays lists, and paths text.
    """
    return json.dumps(_strict(document, ()), indent=2, allow_nan=False)


def _strict(value: Any, place: Place, lost: dict[Place, str] | None = None) -> Any:
    """Convert a value to types of JSON; ``lost`` collects numbers that are not finite, by their place in it."""
    if isinstance(value, np.generic):
        value = value.item()
    elif isinstance(value, np.ndarray):
        value = value.tolist()
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, dict):
        names = {name: name if isinstance(name, str) else json.dumps(_strict(name, ())) for name in value}
        return {names[name]: _strict(v, (*place, names[name]), lost) for name, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(v, (*place, k), lost) for k, v in enumerate(value)]
    if isinstance(value, float) and not isfinite(value):
        if lost is not None:
            lost[place] = str(value)
        return None
    return value


def write_json(path: str | os.PathLike[str], document: Any) -> Path:
    """Write a document as indented JSON."""
    return write_atomic(path, (json_text(document) + "\n").encode())


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON document; ValueError names the file if it is not JSON."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8-sig"))  # some editors write a byte-order mark
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a JSON document: {error}") from None


def write_vectors(path: str | os.PathLike[str], vectors: np.ndarray) -> Path:
    """Write one vector (D,) or a set (K, D) as a plain ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(vectors), allow_pickle=False)
    return write_atomic(path, buffer.getvalue())


def read_vectors(path: str | os.PathLike[str]) -> np.ndarray:
    """Read one vector (D,) or a set (K, D) from a ``.npy`` file, and check it.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is empty, not a ``.npy`` file, not real numbers, not one- or two-dimensional, or holds values that are not
        finite. The message names the file.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected a .npy file of weights")
    content = path.read_bytes()
    if not content:
        raise ValueError(f"{path} is empty; expected a .npy file of weights")
    if not content.startswith(b"\x93NUMPY"):
        raise ValueError(f"{path} is not a .npy file; write one with numpy.save")
    vectors = _load_npy(path, content)
    if vectors.dtype.kind not in "fiu":
        raise ValueError(f"{path} holds {vectors.dtype} values; expected floats")
    if vectors.ndim not in (1, 2) or vectors.size == 0:
        raise ValueError(f"{path} has shape {vectors.shape}; expected one vector (D,) or a set (K, D)")
    if vectors.dtype.kind != "f":
        vectors = vectors.astype(np.float64)
    _check_finite(path, vectors)
    return vectors


def _load_npy(path: Path, content: bytes) -> np.ndarray:
    """Return the array of a ``.npy`` file's content; ValueError names the file if it is damaged."""
    try:
        array: np.ndarray = np.load(io.BytesIO(content), allow_pickle=False)
    except ValueError as error:
        if "Object arrays" in str(error):
            raise ValueError(f"{path} holds Python objects, which are never loaded; expected floats") from None
        raise ValueError(f"{path} is damaged: {error}") from None
    except Exception as error:  # a header that is cut off or cannot be parsed
        raise ValueError(f"{path} is damaged: {error}") from None
    return array


def _check_finite(path: Path, vectors: np.ndarray) -> None:
    """Raise ValueError if a vector (D,) or a set (K, D) holds values that are not finite; it names the first place."""
    if vectors.ndim == 2 and (bad := np.flatnonzero(~np.isfinite(vectors).all(axis=-1))).size:
        raise ValueError(f"{path}: row {bad[0]} holds values that are not finite")
    if vectors.ndim == 1 and (bad := ~np.isfinite(vectors)).any():
        raise ValueError(f"{path}: {bad.sum()} of {vectors.size} values are not finite, the first at {bad.argmax()}")


def sha256(vector: np.ndarray) -> str:
    """Return the SHA-256 of a vector's little-endian bytes, in hexadecimal."""
    little = np.ascontiguousarray(vector, dtype=vector.dtype.newbyteorder("<"))
    return hashlib.sha256(little.tobytes()).hexdigest()


def write_result(
    path: str | os.PathLike[str], kind: str, arrays: Mapping[str, Any], metadata: Mapping[str, Any]
) -> Path:
    """Write a result as ``.npz``: its arrays, and its metadata as JSON under the name ``json``.

    Equal results give equal files.

    Parameters
    ----------
    path
        Where to.
    kind
        The kind of result ("path", "checkpoint", …), which :func:`read_result` compares.
    arrays
        Name -> array; nothing that depends on the time or the machine.
    metadata
        Options, seeds, data and whatever else people look for. Numbers that are not finite are null in the JSON, which
        lists them under ``not_finite`` as (place, "nan", "inf" or "-inf"); :func:`read_result` restores them.

    Raises
    ------
    TypeError
        If an array holds Python objects, which could only be pickled.
    """
    for name, array in arrays.items():
        if np.asarray(array).dtype.hasobject:
            raise TypeError(f"{path}: {name} holds Python objects; expected numbers or text")
    lost: dict[Place, str] = {}
    document = {"format": FORMAT, "kind": kind, "arrays": sorted(arrays), **_strict(dict(metadata), (), lost)}
    if lost:
        document["not_finite"] = [[list(place), number] for place, number in lost.items()]
    buffer = io.BytesIO()
    contents: dict[str, Any] = {
        "json": np.array(json_text(document)),
        **{name: np.asarray(a) for name, a in arrays.items()},
    }
    np.savez(buffer, **contents)
    return write_atomic(path, buffer.getvalue())


#: How the content of a ``.npy`` file begins.
NPY = b"\x93NUMPY"


def read_result(path: str | os.PathLike[str], kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read a result and return ``(arrays, metadata)``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    DamagedFileError
        If the file is damaged or not a result.
    ValueError
        If it is a result of another kind, or was written by a newer version.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist")
    content = path.read_bytes()
    try:
        if content.startswith(NPY):
            raise ValueError("it is an array (.npy)")
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            metadata = json.loads(str(file["json"]))
            found, version = str(metadata["kind"]), int(metadata["format"])
            arrays: dict[str, np.ndarray] = {}
            if found == kind and version <= FORMAT:
                arrays = {name: file[name] for name in file.files if name != "json"}
                listed = metadata.pop("arrays")
                if sorted(arrays) != listed:  # a damaged archive may lack members without an error
                    raise ValueError(f"it holds the arrays {sorted(arrays)}; expected {listed}")
                for place, number in metadata.pop("not_finite", []):
                    within = metadata
                    for name in place[:-1]:
                        within = within[name]
                    within[place[-1]] = float(number)
    except MemoryError:  # not a fault of the file
        raise
    except Exception as error:  # zip, NumPy and JSON raise many types of errors for a damaged file
        raise DamagedFileError(f"{path} is not a {kind} file of minilandscape, or is damaged: {error}") from None
    if found != kind:
        raise ValueError(f"{path} is a {found} file; expected a {kind} file")
    if version > FORMAT:
        raise ValueError(f"{path} was written by a newer minilandscape (format {version}); update to read it")
    return arrays, metadata
