"""Kernel PCA against scikit-learn and naive kernels; saved, loaded, drawn."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.spatial.distance import pdist
from sklearn.decomposition import KernelPCA as Theirs

from minilandscape.analysis.kpca import kernel_pca, load_kernel_pca
from minilandscape.analysis.shown_kpca import plot_kpca
from minilandscape.files import read_result, write_result

D = 12
POINTS = np.random.default_rng(0).standard_normal((30, D)) * np.linspace(0.3, 1.5, D)
NEW = np.random.default_rng(1).standard_normal((7, D))
DEFAULTS: dict[str, dict[str, Any]] = {
    "linear": {"kernel": "linear"},
    "polynomial": {"kernel": "poly", "gamma": 1, "coef0": 1, "degree": 3},
    "sigmoid": {"kernel": "sigmoid", "gamma": 1 / D, "coef0": 1},
    "rbf": {"kernel": "rbf", "gamma": 1 / D},
}
OTHERS: list[tuple[str, dict[str, Any]]] = [
    ("polynomial", {"degree": 2, "coef0": 0.5, "gamma": 0.3}),
    ("sigmoid", {"coef0": 0.1, "gamma": 0.02}),
    ("rbf", {"gamma": 0.4}),
]
PRINTED: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "linear": lambda x, y: float(x @ y),
    "polynomial": lambda x, y: float((x @ y + 1) ** 3),
    "sigmoid": lambda x, y: math.tanh(x @ y / D + 1),
    "rbf": lambda x, y: math.exp(-((x - y) ** 2).sum() / D),
}


def check_against_theirs(kernel: str, ours_given: dict[str, Any], theirs_given: dict[str, Any], n: int = 4) -> None:
    ours = kernel_pca(POINTS, kernel, n, **ours_given)
    reference = Theirs(n_components=n, eigen_solver="dense", **theirs_given)
    expected, expected_new = reference.fit_transform(POINTS), reference.transform(NEW)
    signs = np.sign((ours.projections * expected).sum(axis=0))
    for found, wanted in ((ours.projections, expected), (ours.transform(NEW), expected_new)):
        error = np.linalg.norm(found - signs * wanted, axis=0) / np.linalg.norm(wanted, axis=0)
        assert error.max() <= 1e-8
    assert ours.eigenvalues == pytest.approx(reference.eigenvalues_, rel=1e-9)


@pytest.mark.parametrize("kernel", DEFAULTS)
def test_the_papers_kernels_are_scikit_learns(kernel: str) -> None:
    check_against_theirs(kernel, {}, DEFAULTS[kernel])


@pytest.mark.parametrize(("kernel", "given"), OTHERS)
def test_each_parameter_is_an_option(kernel: str, given: dict[str, Any]) -> None:
    check_against_theirs(kernel, given, {**DEFAULTS[kernel], **given})
    assert kernel_pca(POINTS, kernel, **given).parameters == given


@pytest.mark.parametrize("kernel", DEFAULTS)
def test_projections_are_scaled_unit_eigenvectors(kernel: str) -> None:
    ours = kernel_pca(POINTS, kernel, 4)
    K = np.array([[PRINTED[kernel](x, y) for y in POINTS] for x in POINTS])
    H = np.eye(30) - 1 / 30
    alpha = ours.eigenvectors
    assert np.abs(H @ K @ H @ alpha - alpha * ours.eigenvalues).max() <= 1e-12 * np.abs(K).max() * 30
    assert np.abs(alpha.T @ alpha - np.eye(4)).max() < 1e-12
    assert np.allclose(ours.projections, alpha * np.sqrt(ours.eigenvalues), rtol=1e-14, atol=0)
    assert (alpha[np.abs(alpha).argmax(axis=0), range(4)] > 0).all()
    error = np.linalg.norm(ours.transform(POINTS) - ours.projections, axis=0) / np.sqrt(ours.eigenvalues)
    assert error.max() <= 1e-10


@pytest.mark.parametrize("kernel", DEFAULTS)
def test_the_papers_scaling(kernel: str) -> None:
    """PC_k(x) = Σ_i α_i k(x, x_i), uncentred, is √λ_k times ours plus a constant, on old and on new points."""
    ours = kernel_pca(POINTS, kernel, 3)
    everywhere = np.concatenate([POINTS, NEW])
    printed = np.array([[PRINTED[kernel](x, y) for y in POINTS] for x in everywhere]) @ ours.eigenvectors
    usual = np.concatenate([ours.projections, ours.transform(NEW)])
    constant = printed - np.sqrt(ours.eigenvalues) * usual
    assert np.ptp(constant, axis=0).max() <= 1e-10 * np.ptp(printed, axis=0).max()


def test_rbf_keeps_its_digits_in_tight_clusters_far_apart_and_far_from_the_origin() -> None:
    rng = np.random.default_rng(2)
    small = 1e-3 * rng.standard_normal((10, 50))
    points = small + 1e4 * np.where(np.arange(10) < 5, 1, -1)[:, None]
    gamma = 1e5
    K = np.zeros((10, 10))
    for i in range(10):
        for j in range(10):
            K[i, j] = math.exp(-gamma * math.fsum((x - y) ** 2 for x, y in zip(points[i], points[j], strict=True)))
    H = np.eye(10) - 0.1
    expected = np.linalg.eigvalsh(H @ K @ H)[::-1][:3]
    assert kernel_pca(points, "rbf", 3, gamma=gamma).eigenvalues == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("size", [1.0, 1e-4, 1e-7, 1e-30, 1e-120])
def test_rbf_of_near_identical_points_is_the_linear_kernel(size: float) -> None:
    points = size * POINTS
    rbf, linear = kernel_pca(points, "rbf", 3, gamma=1e-6), kernel_pca(points, "linear", 3)
    assert rbf.eigenvalues == pytest.approx(2e-6 * linear.eigenvalues, rel=1e-3)  # 1 - k is γ|x - x'|²
    assert rbf.projections == pytest.approx(math.sqrt(2e-6) * linear.projections, rel=0.02, abs=2e-6 * size)
    assert rbf.transform(points) == pytest.approx(rbf.projections, rel=1e-6, abs=1e-9 * size)


def test_components_that_would_be_arbitrary_are_refused_or_named() -> None:
    far = 1e3 * POINTS
    with pytest.raises(ValueError, match=r"gamma 0\.0833: all are equally far .* choose a smaller gamma \(gamma="):
        kernel_pca(far)
    gamma = float(1 / np.median(pdist(far, "sqeuclidean")))
    assert kernel_pca(far, gamma=gamma).eigenvalues[0] > 1.05 * kernel_pca(far, gamma=gamma).eigenvalues[1]
    with pytest.raises(ValueError, match=r"smaller gamma \(scale them\)"):
        kernel_pca(1e200 * POINTS)
    assert len(kernel_pca(far[:2], n_components=1).eigenvalues) == 1  # of two points there is no choice
    twins = np.concatenate([far[:5], far[:1] + 1e-3])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel_pca(POINTS, n_components=5)
        with pytest.raises(UserWarning, match="eigenvalues 2 and 3 of the rbf kernel are equal"):
            kernel_pca(twins, n_components=2)
    square = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    with pytest.warns(UserWarning, match="eigenvalues 1 and 2 of the linear kernel are equal"):
        kernel_pca(square, "linear", 1)


def test_the_linear_kernel_does_not_mind_where_the_origin_is() -> None:
    whole = np.round(1024 * POINTS)  # numbers that stay exact when they are moved
    near, far = kernel_pca(whole, "linear"), kernel_pca(whole + 2.0**40, "linear")
    assert far.eigenvalues == pytest.approx(near.eigenvalues, rel=1e-6)


def test_float32_points_are_projected_in_float64() -> None:
    single = POINTS.astype(np.float32)
    ours, double = kernel_pca(single), kernel_pca(single.astype(np.float64))
    assert ours.projections.dtype == np.float64
    assert np.array_equal(ours.projections, double.projections)


def test_a_result_keeps_its_own_points() -> None:
    points = POINTS.copy()
    ours = kernel_pca(points)
    before = ours.transform(NEW)
    points[:] = 0
    assert np.array_equal(ours.transform(NEW), before)


def test_only_positive_eigenvalues_are_components() -> None:
    gamma = 0.5
    K = np.tanh(gamma * POINTS @ POINTS.T + 1)
    H = np.eye(30) - 1 / 30
    eigenvalues = np.linalg.eigvalsh(H @ K @ H)
    positive = int((eigenvalues > 1e-10).sum())
    assert eigenvalues[0] < -0.1
    assert (kernel_pca(POINTS, "sigmoid", positive, gamma=gamma).eigenvalues > 0).all()
    with pytest.raises(ValueError, match=f"the sigmoid kernel has {positive} components"):
        kernel_pca(POINTS, "sigmoid", positive + 1, gamma=gamma)
    with pytest.raises(ValueError, match="has 0 components"):
        kernel_pca(np.ones((5, 3)), "rbf")


def test_saved_and_loaded(tmp_path: Path) -> None:
    ours = kernel_pca(POINTS, "polynomial", 3, coef0=0.7)
    ours.save(tmp_path / "k.npz")
    again = load_kernel_pca(tmp_path / "k.npz")
    assert (again.kernel, again.parameters) == (ours.kernel, ours.parameters)
    assert np.array_equal(again.projections, ours.projections)
    assert np.array_equal(again.eigenvalues, ours.eigenvalues)
    assert np.array_equal(again.transform(NEW), ours.transform(NEW))
    again.save(tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == (tmp_path / "k.npz").read_bytes()
    (tmp_path / "bad.npz").write_bytes(b"not one")
    with pytest.raises(ValueError, match=r"bad\.npz"):
        load_kernel_pca(tmp_path / "bad.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": "cosine"}, "expected one of linear"),
        ({"degree": 3}, "rbf kernel has no degree"),
        ({"coef0": 1}, "rbf kernel has no coef0"),
        ({"kernel": "sigmoid", "degree": 3}, "sigmoid kernel has no degree"),
        ({"kernel": "linear", "gamma": 1}, "takes no parameters"),
        ({"gamma": -1}, "gamma is -1; expected a finite number above 0"),
        ({"kernel": "polynomial", "coef0": np.nan}, "coef0 is nan"),
        ({"n_components": 0}, "1 to 29"),
        ({"n_components": 30}, "1 to 29"),
        ({"kernel": "linear", "n_components": D + 1}, f"has {D} components"),
        ({"kernel": "polynomial", "points": 1e120 * POINTS}, "not finite on these points"),
        ({"kernel": "polynomial", "degree": 2.5}, "not finite on these points"),
        ({"points": POINTS[0]}, r"expected \(N, D\)"),
        ({"points": POINTS[:1]}, "N of at least 2"),
        ({"points": np.full((3, 3), np.nan)}, "not finite"),
    ],
)
def test_what_does_not_do_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernel_pca(**{"points": POINTS, **arguments})


def test_half_a_component_and_foreign_points_are_refused() -> None:
    half: Any = 1.5
    with pytest.raises(TypeError):
        kernel_pca(POINTS, "rbf", half)
    ours = kernel_pca(POINTS)
    with pytest.raises(ValueError, match=r"expected \(P, 12\)"):
        ours.transform(NEW[:, :5])
    with pytest.raises(ValueError, match="not finite"):
        ours.transform(NEW * np.inf)


def test_drawn() -> None:
    axes = Figure().subplots()
    projections = kernel_pca(POINTS, n_components=3).projections
    labels = ["a"] * 20 + ["b"] * 10
    assert plot_kpca(axes, projections, labels, components=(0, 2)) is axes
    assert np.array_equal(axes.lines[1].get_xydata(), projections[20:, [0, 2]])
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"]
    assert axes.get_ylabel() == "kPC$_{3}$"
    with pytest.raises(ValueError, match="expected one for each point"):
        plot_kpca(axes, projections, labels[:-1])
    with pytest.raises(ValueError, match="components"):
        plot_kpca(axes, projections[:, :1], labels)
    with pytest.raises(ValueError, match="expected one or two"):
        plot_kpca(axes, projections, labels, components=(0, 1, 2))


def test_many_sets_and_long_names_can_be_told_apart() -> None:
    projections = kernel_pca(POINTS, n_components=2).projections
    files = [f"/somewhere/far/away/campaign/run-{k // 2:03d}/weights-at-the-end-{k:02d}.npy" for k in range(30)]
    axes = Figure().subplots()
    plot_kpca(axes, projections, files)
    assert len({(line.get_color(), line.get_marker()) for line in axes.lines}) == 30
    shown = [text.get_text() for text in axes.get_legend().get_texts()]
    assert shown[3] == "run-001/weights-at-the-end-03.npy"
    assert len(set(shown)) == 30
    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    axes = plot_kpca(figure.subplots(), projections, ["/data/" + "x" * 90 + f"/{k % 2}.npy" for k in range(30)])
    figure.draw_without_rendering()
    legend, page = axes.get_legend().get_window_extent(), figure.bbox
    assert legend.x1 <= page.x1
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["0.npy", "1.npy"]


@pytest.mark.parametrize("n_sets", [1, 2, 4, 8, 10])
def test_the_legend_stands_above_the_points(n_sets: int) -> None:
    corners = np.array(list(itertools.product((0.0, 1.0), repeat=2)))
    figure = Figure(figsize=(5.5, 4.5), layout="constrained")
    axes = plot_kpca(
        figure.subplots(), np.tile(corners, (n_sets, 1)), [f"{k}.npy" for k in range(n_sets) for _ in "4444"]
    )
    figure.draw_without_rendering()
    assert axes.get_legend().get_window_extent().y0 > axes.transData.transform((0, 1))[1]


def test_a_result_shows_itself() -> None:
    found = kernel_pca(POINTS, n_components=2)
    assert found.explained.sum() == pytest.approx(found.eigenvalues.sum() / found.variance)
    every = kernel_pca(POINTS, "linear", n_components=12)
    assert every.explained.sum() == pytest.approx(1)
    assert repr(found).startswith("<KernelPCA: 2 components of 30 points, rbf kernel with ")
    assert "% of the variance" in found.summary()
    assert "<svg" in found._repr_html_()
    axes = found.plot(labels=["a"] * 20 + ["b"] * 10)
    assert axes.get_xlabel() == f"kPC$_{{1}}$ ({100 * found.explained[0]:.2g} % of the variance)"
    assert axes.lines[0].get_marker() != axes.lines[1].get_marker()
    assert axes.get_legend() is not None
    assert found.plot().get_legend() is None
    sigmoid = kernel_pca(POINTS, "sigmoid", n_components=1)  # its eigenvalues do not add up to a variance
    assert np.isnan(sigmoid.explained).all()
    assert sigmoid.plot().get_xlabel() == "kPC$_{1}$"


def test_files_of_version_0_1_have_no_variance(tmp_path: Path) -> None:
    found = kernel_pca(POINTS, "linear")
    found.save(tmp_path / "k.npz")
    arrays, numbers = read_result(tmp_path / "k.npz", "kpca")
    write_result(tmp_path / "old.npz", "kpca", arrays, {name: numbers[name] for name in ("kernel", "parameters")})
    old = load_kernel_pca(tmp_path / "old.npz")
    assert np.isnan(old.variance)
    assert np.array_equal(old.projections, found.projections)
    assert old.plot().get_xlabel() == "kPC$_{1}$"
    assert load_kernel_pca(tmp_path / "k.npz").variance == found.variance
