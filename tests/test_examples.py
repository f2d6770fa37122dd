"""The examples run and print what they should."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"


def output(name: str, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, EXAMPLES / name],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for picture in re.findall(r'savefig\("(.*?)"', (EXAMPLES / name).read_text()):
        assert (folder / picture).stat().st_size > 5000
    return done.stdout


def numbers(text: str) -> list[float]:
    return [float(n) for n in re.findall(r"-?\d+\.\d+(?:e-?\d+)?", text)]


def test_own_function(tmp_path: Path) -> None:
    text = output("own_function.py", tmp_path)
    assert "differences: True" in text
    maximum, _, straight, saddle = numbers(text)[:4]
    assert maximum == pytest.approx(-40.6648, abs=0.01)
    assert straight == pytest.approx(11.60, abs=0.1)  # at the sample points
    assert saddle == pytest.approx(-40.664844, abs=1e-5)


@pytest.mark.long
def test_front_picture(tmp_path: Path) -> None:
    text = output("front_picture.py", tmp_path)
    maximum, straight, saddle, loss_straight, loss_path, loss_ends = numbers(text)
    assert [maximum, straight, saddle] == pytest.approx([-40.6648, 12.68, -40.664844], abs=0.02)
    assert loss_path == pytest.approx(loss_ends, rel=0.05)
    assert loss_straight > 10 * loss_path


def test_loss_plane(tmp_path: Path) -> None:
    straight, path = numbers(output("loss_plane.py", tmp_path))[:2]
    assert straight > 5 * path


@pytest.mark.long
def test_kernel_pca_sets(tmp_path: Path) -> None:
    *_, sgd, lbfgs = numbers(output("kernel_pca_sets.py", tmp_path))
    assert lbfgs > sgd  # Fig. 5: weights of L-BFGS-GSS are longer


@pytest.mark.long
def test_hessian_spectrum(tmp_path: Path) -> None:
    text = output("hessian_spectrum.py", tmp_path)
    assert numbers(text)[0] > 1
    assert "converged True" in text


@pytest.mark.long
def test_height_against_steps(tmp_path: Path) -> None:
    lines = output("height_against_steps.py", tmp_path).splitlines()
    straight = [float(re.search(r"straight line ([\d.e+-]+)", line)[1]) for line in lines]  # type: ignore[index]
    assert straight[1] > straight[0]


@pytest.mark.skipif(importlib.util.find_spec("tblite") is None, reason="tblite is not installed")
def test_reaction(tmp_path: Path) -> None:
    text = output("reaction.py", tmp_path)
    assert numbers(text)[:2] == pytest.approx([3.1754, 2.3072], abs=1e-3)
    assert "verified: True" in text


def test_figure3(tmp_path: Path) -> None:
    text = output("figure3.py", tmp_path)
    assert numbers(text) == pytest.approx([1.102, 0.646, 0.640, 0.652], abs=0.006)


def test_train_and_connect(tmp_path: Path, small_mnist: Any) -> None:
    arrays = {"x_train": small_mnist.train.images, "y_train": small_mnist.train.labels}
    np.savez(tmp_path / "d.npz", **arrays, x_test=small_mnist.test.images, y_test=small_mnist.test.labels)
    text = output("train_and_connect.py", tmp_path, MINILANDSCAPE_DATA=str(tmp_path / "d.npz"))
    height, straight, end = numbers(text.splitlines()[-1])
    assert end <= height < straight


@pytest.mark.skipif(importlib.util.find_spec("ase") is None, reason="ASE is not installed")
def test_ase_calculator(tmp_path: Path) -> None:
    text = output("ase_calculator.py", tmp_path)
    # ASE's climbing-image NEB with seven images gives 0.23637 eV.
    assert numbers(text)[0] == pytest.approx(0.2364, abs=1e-3)
    assert "converged True" in text
    assert (tmp_path / "hop.traj").exists()


@pytest.mark.skipif(importlib.util.find_spec("ase") is None, reason="ASE is not installed")
def test_ase_handover(tmp_path: Path) -> None:
    lines = output("ase_handover.py", tmp_path).splitlines()
    assert len(lines) == 4 + (importlib.util.find_spec("sella") is not None)
    assert [numbers(line)[0] for line in lines[:-1]] == pytest.approx(len(lines[:-1]) * [0.2368], abs=1e-3)
    assert all("converged" in line for line in lines[:2])
    assert numbers(lines[-1])[0] == pytest.approx(0, abs=1e-3)


def test_scipy_objective(tmp_path: Path) -> None:
    text = output("scipy_objective.py", tmp_path)
    assert numbers(text)[0] == pytest.approx(0.543719, abs=1e-4)
    assert "saddle 0.543719" in text
    assert text.count("converged") == len(text.splitlines()) - 1


def test_autograd_function(tmp_path: Path) -> None:
    text = output("autograd_function.py", tmp_path)
    assert numbers(text)[:2] == pytest.approx([0.5, 0.5], abs=1e-3)
    assert "converged" in text


@pytest.mark.skipif(importlib.util.find_spec("pele") is None, reason="pele is not installed")
def test_pele_potential(tmp_path: Path) -> None:
    text = output("pele_potential.py", tmp_path)
    lines = [line for line in text.splitlines() if re.search(r"\d\.\d", line)]
    assert numbers(lines[0]) == pytest.approx([-12.712062, -12.302928, -12.079031], abs=1e-4)
    assert numbers(lines[1]) == pytest.approx([-12.079031], abs=1e-5)
    assert "converged True" in lines[1]
    assert numbers(lines[2]) == pytest.approx([-146.699517], abs=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_torch_module(tmp_path: Path, small_mnist: Any) -> None:
    repeated = {"x_train": np.tile(small_mnist.train.images, (4, 1)), "y_train": np.tile(small_mnist.train.labels, 4)}
    np.savez(tmp_path / "d.npz", **repeated, x_test=small_mnist.test.images, y_test=small_mnist.test.labels)
    height, straight, ends, accuracy = numbers(
        output("torch_module.py", tmp_path, MINILANDSCAPE_DATA=str(tmp_path / "d.npz"))
    )
    assert ends <= height < straight
    assert accuracy > 0.9


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="JAX is not installed")
def test_jax_function(tmp_path: Path) -> None:
    height, saddle = numbers(output("jax_function.py", tmp_path))
    assert height == pytest.approx(-40.6648, abs=0.05)
    assert saddle == pytest.approx(-40.664844, abs=1e-5)


@pytest.mark.skipif(importlib.util.find_spec("topsearch") is None, reason="topsearch is not installed")
def test_topsearch_potential(tmp_path: Path) -> None:
    height, saddle, pair = numbers(output("topsearch_potential.py", tmp_path))
    assert [height, saddle] == pytest.approx([0.54372, 0.54372], abs=1e-3)
    assert pair == -1


def test_lj6_tree(tmp_path: Path) -> None:
    assert numbers(output("lj6_tree.py", tmp_path)) == pytest.approx([-12.712062, -12.302928, -12.079031], abs=1e-5)


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
@pytest.mark.parametrize("name", ["torch_resnet", "torch_transformer"])
def test_two_trainings_of_a_module(name: str, tmp_path: Path) -> None:
    """Alignment lowers the barrier of the straight line, and a path removes it."""
    straight, aligned, path, *more = numbers(output(f"{name}.py", tmp_path))
    assert path < 0.1 * straight
    assert aligned < straight
    assert min(more[:1]) > 0.5
    assert (tmp_path / f"{name}.png").exists()


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("chgnet") is None, reason="CHGNet is not installed")
def test_ase_chgnet(tmp_path: Path) -> None:
    barrier, forces, cost = output("ase_chgnet.py", tmp_path).splitlines()[-3:]
    assert numbers(barrier) == pytest.approx([0.1554, 0.1554], abs=5e-3)
    assert barrier.endswith("converged")
    fmax, noise = numbers(forces.replace("e-", ".0e-"))
    assert fmax <= 0.05
    assert 1e-6 < noise < 1e-4  # of float32
    assert float(re.search(r"(\d+)i", forces)[1]) == pytest.approx(122, abs=3)  # type: ignore[index]
    structures, passes = (int(n) for n in re.findall(r"\d+", cost))
    assert passes < structures < 150
