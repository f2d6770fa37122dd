"""Kernel PCA against scikit-learn, statistics against plain loops."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.decomposition import KernelPCA as Theirs

from minilandscape.analysis.kpca import kernel_pca
from minilandscape.analysis.statistics import component_statistics, lengths, spread

POINTS = np.random.default_rng(0).standard_normal((30, 12)) * np.linspace(0.3, 1.5, 12)
NEW = np.random.default_rng(1).standard_normal((5, 12))


@pytest.mark.parametrize(
    ("kernel", "theirs"),
    [
        ("linear", {"kernel": "linear"}),
        ("polynomial", {"kernel": "poly", "gamma": 1, "coef0": 1, "degree": 3}),
        ("sigmoid", {"kernel": "sigmoid", "gamma": 1 / 12, "coef0": 1}),
        ("rbf", {"kernel": "rbf", "gamma": 1 / 12}),
    ],
)
def test_kernel_pca_is_scikit_learns(kernel: str, theirs: dict[str, Any]) -> None:
    n = 2
    ours = kernel_pca(POINTS, kernel, n)
    reference = Theirs(n_components=n, eigen_solver="dense", **theirs)
    expected, expected_new = reference.fit_transform(POINTS), reference.transform(NEW)
    signs = np.sign((ours.projections * expected).sum(axis=0))
    scale = np.abs(expected).max()
    assert np.abs(ours.projections - signs * expected).max() <= 1e-8 * scale
    assert np.abs(ours.transform(NEW) - signs * expected_new).max() <= 1e-8 * scale
    assert ours.eigenvalues == pytest.approx(reference.eigenvalues_, rel=1e-9)
    assert ours.transform(POINTS) == pytest.approx(ours.projections, abs=1e-8 * scale)


def test_the_papers_scaling() -> None:
    ours = kernel_pca(POINTS, "rbf")
    K = np.exp(-((POINTS[:, None] - POINTS) ** 2).sum(axis=2) / 12)
    printed = K @ ours.vectors
    shift = printed - np.sqrt(ours.eigenvalues) * ours.projections
    assert np.abs(shift - shift.mean(axis=0)).max() < 1e-10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": "cosine"}, "expected one of linear"),
        ({"degree": 2}, "has no degree"),
        ({"n_components": 30}, "1 to 29"),
        ({"kernel": "linear", "n_components": 13}, "has 12 components"),
        ({"points": POINTS[0]}, r"\(N, D\)"),
        ({"points": np.full((3, 3), np.nan)}, "not finite"),
    ],
)
def test_what_does_not_do_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        kernel_pca(**{"points": POINTS, **arguments})


def test_statistics_are_those_of_plain_loops() -> None:
    a, b = POINTS[:8], POINTS[8:13]
    found = component_statistics(a)
    assert (found.mu, found.sigma) == pytest.approx((np.mean(a.ravel()), np.std(a.ravel())))
    origin = 0.5 * (a.mean(axis=0) + b.mean(axis=0))
    shells = lengths(a, b)
    assert shells.a == pytest.approx([np.sqrt(((v - origin) ** 2).sum()) for v in a])
    assert shells.centroid_distance == pytest.approx(np.linalg.norm(b.mean(axis=0) - origin))
    distances = [np.linalg.norm(v - w) for v, w in combinations(a, 2)]
    assert spread(a).distance == pytest.approx((np.mean(distances), np.std(distances)))
    angles = [
        np.degrees(np.arccos((v - origin) @ (w - origin) / np.linalg.norm(v - origin) / np.linalg.norm(w - origin)))
        for v in a
        for w in b
    ]
    assert spread(a, b, origin=origin).angle == pytest.approx((np.mean(angles), np.std(angles)))
    with pytest.raises(ValueError, match="set of one"):
        spread(a[:1])
