"""Spectral densities, traces and blocks against full Hessians, and against curvlinops where it is installed."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import minilandscape as ml


def quadratic(eigenvalues: np.ndarray) -> Any:
    Q = np.linalg.qr(np.random.default_rng(3).standard_normal((eigenvalues.size, eigenvalues.size)))[0]
    H = Q.T * eigenvalues @ Q
    return lambda x: (0.5 * x @ H @ x, H @ x)


def test_moments_and_ends_of_a_known_spectrum() -> None:
    eigenvalues = np.concatenate([np.full(90, 0.01), np.linspace(-1, 2, 28), [10.0, 30.0]])
    found = ml.spectral_density(quadratic(eigenvalues), np.ones(eigenvalues.size), probes=10, steps=11)
    assert found.size == eigenvalues.size
    for k in (0, 1, 2, 3):
        moment, error = found.moment(k)
        assert abs(moment - np.mean(eigenvalues**k)) <= 4 * error + 1e-6
    assert found.highest == pytest.approx(30, rel=1e-6)
    assert found.lowest == pytest.approx(-1, rel=1e-2)
    x = np.linspace(-5, 40, 20001)
    assert np.trapezoid(found.density(x), x) == pytest.approx(1, rel=1e-4) if hasattr(np, "trapezoid") else True
    # Three in four eigenvalues lie in one place.
    assert found.density([0.01], 0.1)[0] == pytest.approx(90 / 120 / (0.1 * np.sqrt(2 * np.pi)), rel=0.15)
    assert not found.exact
    assert found.evaluations.gradients > 2 * found.products


def test_an_invariant_subspace_ends_the_iterations() -> None:
    found = ml.spectral_density(quadratic(np.repeat([1.0, 3.0], 20)), np.ones(40), probes=3, steps=13)
    assert found.moment(1)[0] == pytest.approx(2, abs=4 * found.moment(1)[1])
    assert np.unique(np.round(found.nodes[found.weights > 1e-8], 6)).tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match="probes is 0; expected a whole number, at least 1"):
        ml.spectral_density(quadratic(np.ones(3)), np.ones(3), probes=0)


def spectrum(seed: int) -> np.ndarray:
    """A bulk around 0 and a few outlying eigenvalues, as those of networks."""
    bulk = np.random.default_rng(seed).standard_normal(180) * 0.05
    return np.concatenate([bulk, np.geomspace(0.5, 20, 8), [-0.6, -0.3]])


def test_moments_are_exact_to_two_percent_with_the_outlying_eigenvalues_counted_exactly() -> None:
    eigenvalues = spectrum(1)
    found = ml.spectral_density(quadratic(eigenvalues), np.ones(eigenvalues.size), probes=12, steps=15)
    assert 8 <= found.deflated <= 45
    assert found.products <= 12 * 15
    for k in (1, 2, 3):
        moment, error = found.moment(k)
        assert moment == pytest.approx(np.mean(eigenvalues**k), rel=0.02)
        assert error < 0.02 * abs(moment)
    assert found.weights.sum(axis=1) == pytest.approx(np.ones(len(found.weights)))
    counted = np.sort(found.nodes[0, : found.deflated])
    assert all(np.abs(counted - value).min() < 1e-5 * value for value in eigenvalues[eigenvalues > 0.4])


def test_all_eigenvalues_are_computed_where_that_takes_no_more_products(tmp_path: Path) -> None:
    eigenvalues = spectrum(1)
    counts: list[int] = []
    land = quadratic(eigenvalues)
    found = ml.spectral_density(land, np.ones(190), probes=19, steps=10, callback=counts.append)
    assert counts == [60, 120, 180, 190]
    assert (found.products, found.deflated, found.nodes.shape) == (190, 190, (1, 190))
    assert found.nodes[0] == pytest.approx(np.sort(eigenvalues), abs=1e-6)
    assert found.moment(3) == (pytest.approx(np.mean(eigenvalues**3)), 0.0)
    assert re.search("exact +all +eigenvalues", found.summary())
    assert "probes" not in found.summary()
    assert "±" not in found.summary()
    found.save(tmp_path / "d.npz")
    assert ml.load_spectral_density(tmp_path / "d.npz").moment(2) == found.moment(2)


class Given:
    """A quadratic function with exact products."""

    def __init__(self, H: np.ndarray) -> None:
        self.H, self.size = H, len(H)

    def values_and_gradients(self, points: Any) -> Any:
        return 0.5 * ((points @ self.H) * points).sum(axis=1), points @ self.H

    def hessian_products(self, point: Any, vectors: Any) -> Any:
        return vectors @ self.H


@pytest.mark.parametrize(("probes", "steps"), [(12, 12), (60, 3), (3, 40), (3, 12), (2, 12)])
def test_errors_of_moments_are_those_that_are_seen(probes: int, steps: int) -> None:
    """The spread of two or three numbers was too small by chance: moments were up to 800 of their errors off."""
    eigenvalues, size = spectrum(2), 190
    Q = np.linalg.qr(np.random.default_rng(5).standard_normal((size, size)))[0]
    land, z = Given(Q.T * eigenvalues @ Q), []
    for seed in range(40):
        found = ml.spectral_density(land, np.ones(size), probes=probes, steps=steps, seed=seed)
        z.append([(found.moment(k)[0] - np.mean(eigenvalues**k)) / found.moment(k)[1] for k in (1, 2)])
    assert 0.7 < np.sqrt(np.mean(np.square(z))) < 1.5
    assert np.abs(z).max() < 6


def test_as_many_vectors_as_dimensions_are_exact(monkeypatch: Any) -> None:
    eigenvalues = np.linspace(-1, 2, 12)
    Q = np.linalg.qr(np.random.default_rng(5).standard_normal((12, 12)))[0]
    monkeypatch.setattr("minilandscape.analysis.density.WHOLE", 0)
    found = ml.spectral_density(Given(Q.T * eigenvalues @ Q), np.ones(12), probes=50, steps=2)
    assert found.moment(1) == (pytest.approx(0.5, rel=1e-12), pytest.approx(0, abs=1e-12))
    whole = ml.spectral_density(Given(Q.T * eigenvalues @ Q), np.ones(12), probes=50, steps=12)
    assert np.sort(whole.nodes[whole.weights > 1e-8]) == pytest.approx(eigenvalues)
    assert whole.moment(3) == (pytest.approx(np.mean(eigenvalues**3)), 0.0)


def test_the_trace_of_a_nearly_diagonal_hessian_has_the_error_of_hutchinson() -> None:
    from minilandscape.analysis.trace import estimate_trace

    G = 1e-3 * np.random.default_rng(0).standard_normal((300, 300))
    H, none = np.diag(np.linspace(1, 2, 300)) + G + G.T, np.zeros((0, 300))
    found = np.array([estimate_trace(lambda v: v @ H, none, none, np.random.default_rng(k), 30) for k in range(40)])
    signs = [np.random.default_rng(k).choice([-1.0, 1.0], (20, 300)) for k in range(40)]
    plain = np.array([((v @ H) * v).sum(axis=1).mean() for v in signs])
    errors = found[:, 0] - np.trace(H)
    assert np.sqrt(np.mean(errors**2)) < 1.3 * np.sqrt(np.mean((plain - np.trace(H)) ** 2))
    assert 0.7 < np.sqrt(np.mean((errors / found[:, 1]) ** 2)) < 1.4


@pytest.mark.parametrize("k", [0, 3])
def test_the_trace_of_a_decaying_spectrum_has_the_error_of_hutch_plus_plus(k: int) -> None:
    from minilandscape.analysis.trace import estimate_trace

    Q = np.linalg.qr(np.random.default_rng(5).standard_normal((200, 200)))[0]
    eigenvalues = 100.0 * 0.8 ** np.arange(200)
    H, vectors = Q.T * eigenvalues @ Q, Q[:k] * np.arange(1.0, k + 1)[:, None]
    for seed in range(5):
        trace, error = estimate_trace(lambda v: v @ H, vectors, vectors @ H, np.random.default_rng(seed), 60)
        assert trace == pytest.approx(eigenvalues.sum(), rel=0.01)
        assert abs(trace - eigenvalues.sum()) < 5 * error


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    "eigenvalues",
    [
        np.repeat([0.0, 1.0], 50),
        np.concatenate([np.zeros(300), np.linspace(1, 2, 300)]),
        np.concatenate([np.full(150, -1e-3), np.zeros(300), np.linspace(0, 1, 150) ** 3]),
        np.linspace(-1, 1, 600),
        np.linspace(-2, -1, 600),
    ],
)
def test_flat_directions_are_not_counted_as_negative(eigenvalues: np.ndarray, exact: bool) -> None:
    """Rounding gives eigenvalues of 0 either sign; and Ritz values near 0 stand for eigenvalues on both sides."""
    D, rng = len(eigenvalues), np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(D, D)))[0]
    H = (Q * eigenvalues) @ Q.T
    H = (H + H.T) / 2
    land = SimpleNamespace(
        size=D,
        values=lambda X: 0.5 * ((X @ H) * X).sum(axis=1),
        values_and_gradients=lambda X: (0.5 * ((X @ H) * X).sum(axis=1), X @ H),
    )
    if exact:
        land.hessian_products = lambda x, vectors: vectors @ H
    found = ml.spectral_density(land, 0.1 * rng.normal(size=D))
    (row,) = (line for line in found.summary().splitlines() if line.startswith("negative"))
    least, *most = [float(part) / 100 for part in re.findall(r"(\S+) %", row)]
    part = float((eigenvalues < -1e-6 * np.abs(eigenvalues).max()).mean())
    assert least - 2e-3 <= part <= (most[0] if most else least) + 2e-3
    assert bool(most) == (D > 480 and 0 < part < 1)


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1.0])
def test_noise_of_the_gradients_is_said_and_makes_no_negative_eigenvalues(noise: float) -> None:
    """Eigenvalues 0 to 100 were said to reach from -47 to 144, a fifth of them negative; no word of the noise."""
    rng, eigenvalues = np.random.default_rng(1), np.linspace(0, 100, 80)

    def noisy(x: np.ndarray) -> Any:
        e = noise * rng.standard_normal(81)
        return 0.5 * x @ (eigenvalues * x) + e[80], eigenvalues * x + e[:80]

    found = ml.spectral_density(noisy, np.ones(80))
    said = found.summary()
    assert re.search(r"^negative +0 % ", said, re.MULTILINE)
    assert ("the noise of the gradients leaves errors of" in said) == (noise > 1e-4)
    assert np.abs(np.sort(found.nodes[0]) - eigenvalues).max() < max(found.metadata["error"], 1e-6)


def test_zero_modes_are_left_out(tmp_path: Path) -> None:
    from minilandscape.potentials import LennardJones

    land, x = LennardJones(4), 2 ** (1 / 6) / 8**0.5 * np.array([1.0, 1, 1, 1, -1, -1, -1, 1, -1, -1, -1, 1])
    exact = ml.curvature(land, x, 2)
    found = ml.spectral_density(land, x, probes=60, steps=6)
    assert (found.zero_modes, found.size) == (6, 6)
    assert found.lowest == pytest.approx(exact.lowest[0], rel=1e-4)
    assert found.size * found.moment(1)[0] == pytest.approx(exact.trace, rel=1e-6)
    found.save(tmp_path / "d.npz")
    again = ml.load_spectral_density(tmp_path / "d.npz")
    assert np.array_equal(again.nodes, found.nodes)
    assert (again.moment(2), again.products, again.evaluations) == (found.moment(2), found.products, found.evaluations)
    assert again.plot().get_yscale() == "log"


def test_a_block_by_differences() -> None:
    class Named:
        size = 6
        blocks = (SimpleNamespace(name="a.w", shape=(4,), start=0, stop=4), SimpleNamespace(name="b", start=4, stop=6))

        def values_and_gradients(self, points: Any) -> Any:
            return np.exp(points).sum(axis=1) + points.prod(axis=1), np.exp(points) + points.prod(axis=1)[
                :, None
            ] / points

    x = np.arange(1.0, 7)
    found = ml.curvature(Named(), x, 2, block="b")
    product = x.prod()
    of_block = np.array([[np.exp(5), product / 30], [product / 30, np.exp(6)]])
    assert (found.block, found.point.tolist()) == ("b", [5.0, 6.0])
    assert found.lowest == pytest.approx(np.linalg.eigvalsh(of_block), rel=1e-6)
    assert found.trace == pytest.approx(np.trace(of_block), rel=1e-6)
    assert ml.curvature(Named(), x, 2, block=["a.*", "b"]).trace == pytest.approx(np.exp(x).sum(), rel=1e-6)
    with pytest.raises(ValueError, match=r"block is 'c\.\*'; the landscape has a\.w, b"):
        ml.curvature(Named(), x, block="c.*")
    with pytest.raises(ValueError, match="the landscape has no named blocks"):
        ml.spectral_density(quadratic(np.ones(3)), np.ones(3), block="fc1")


torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from minilandscape.adapters.torch import TorchLandscape  # noqa: E402


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 6, dropout=0.0, batch_first=True)
        self.out = nn.Linear(6, 3)

    def forward(self, x: Any) -> Any:
        return self.out(self.layer(x).mean(1))


class Residual(nn.Module):
    """Two convolutions with batch normalisation in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = nn.Conv1d(4, 4, 3, padding=1), nn.Conv1d(4, 4, 3, padding=1)
        self.norm, self.out = nn.BatchNorm1d(4), nn.Linear(4, 3)

    def forward(self, x: Any) -> Any:
        x = torch.relu(self.stem(x.transpose(1, 2)[:, :4]))
        return self.out(torch.relu(x + self.norm(self.conv(x))).mean(2))


@cache
def case(name: str, dtype: Any = torch.float64) -> tuple[TorchLandscape, np.ndarray]:
    """The landscape of a module some steps from its start, and its full Hessian by PyTorch's double backward."""
    torch.manual_seed(0)
    module = {"attention": Attention, "residual": Residual}[name]().to(dtype)
    x, y = torch.randn(24, 4, 6).to(dtype), torch.arange(24) % 3
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(15):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(x), y).backward()
        optimizer.step()
    land = TorchLandscape(module.eval(), nn.functional.cross_entropy, x, y, batch=100)

    def value(flat: Any) -> Any:
        return land._evaluation.one(land._evaluation.workers.forward, flat, {}, *land._samples.rows(slice(None)))

    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        return land, torch.autograd.functional.hessian(value, torch.tensor(land.vector()), vectorize=True).numpy()


@pytest.mark.parametrize("name", ["attention", "residual"])
def test_eigenvalues_trace_and_density_of_modules(name: str) -> None:
    """Networks of ReLUs, where differences of gradients step over kinks."""
    land, H = case(name)
    exact = np.linalg.eigvalsh(H)
    found = ml.curvature(land, land.vector(), 2, probes=30)
    assert found.exact
    assert found.converged, found.reason
    assert found.piecewise is True
    assert "of one smooth region" in found.summary()
    assert found.step == 0
    assert found.lowest == pytest.approx(exact[:2], rel=1e-4)
    assert found.highest == pytest.approx(exact[::-1][:2], rel=1e-4)
    assert abs(found.trace - exact.sum()) < 4 * found.trace_error < 0.5 * abs(exact.sum())
    density = ml.spectral_density(land, land.vector(), probes=5, steps=15)
    assert density.exact
    assert density.highest == pytest.approx(exact[-1], rel=1e-4)
    for k in (1, 2):
        moment, error = density.moment(k)
        assert abs(moment - np.mean(exact**k)) < 4 * error


@pytest.mark.parametrize("name", ["attention", "residual"])
def test_the_default_number_of_products_gives_moments_to_two_percent(name: str, monkeypatch: Any) -> None:
    """Of the moments of a random vector's own Lanczos iterations the error is 24 % and more."""
    monkeypatch.setattr("minilandscape.analysis.density.WHOLE", 0)
    eigenvalues = np.linalg.eigvalsh(case(name)[1])  # random vectors are the same in any orthonormal basis
    land, errors = Given(np.diag(eigenvalues)), []
    for seed in range(10):
        found = ml.spectral_density(land, np.ones(land.size), seed=seed)
        assert found.products <= 8 * 60
        errors.append([found.moment(k)[0] / np.mean(eigenvalues**k) - 1 for k in (1, 2, 3)])
    assert (np.sqrt(np.mean(np.square(errors), axis=0)) < [0.02, 1e-3, 1e-4]).all()


@pytest.mark.parametrize("name", ["attention", "residual"])
def test_eigenvalues_in_single_precision(name: str) -> None:
    """Where differences of gradients step over kinks of ReLUs sooner still."""
    double, H = case(name)
    x, y, exact = double._samples.inputs.float(), double._samples.targets, np.linalg.eigvalsh(H)
    land = TorchLandscape(double.load(double.vector()).float(), nn.functional.cross_entropy, x, y)
    found = ml.curvature(land, land.vector(), 2, probes=0)
    assert found.lowest == pytest.approx(exact[:2], rel=2e-3)
    assert found.highest == pytest.approx(exact[::-1][:2], rel=2e-3)


def test_a_smooth_module_is_not_called_piecewise() -> None:
    torch.manual_seed(0)
    for dtype in (torch.float32, torch.float64):
        module = nn.Sequential(nn.Linear(5, 12), nn.Tanh(), nn.Linear(12, 2)).to(dtype)
        x, y = torch.randn(30, 5).to(dtype), torch.arange(30) % 2
        land = TorchLandscape(module, nn.functional.cross_entropy, x, y)
        found = ml.curvature(land, land.vector(), 2)
        assert found.piecewise is False
        assert "exact" in found.summary()


def test_a_block_of_a_module() -> None:
    land, H = case("attention")
    (block,) = (b for b in land.blocks if b.name == "layer.linear1.weight")
    of_block = np.linalg.eigvalsh(H[block.start : block.stop, block.start : block.stop])
    found = ml.curvature(land, land.vector(), 2, block="layer.linear1.weight")
    assert found.exact
    assert found.lowest == pytest.approx(of_block[:2], rel=1e-4, abs=1e-4 * of_block[-1])
    assert found.highest == pytest.approx(of_block[::-1][:2], rel=1e-4)
    every = ml.spectral_density(land, land.vector(), block="layer.*", probes=2, steps=5)
    assert every.size == sum(b.stop - b.start for b in land.blocks if b.name.startswith("layer."))


@pytest.mark.parametrize("name", ["attention", "residual"])
def test_beside_curvlinops(name: str) -> None:
    curvlinops = pytest.importorskip("curvlinops")
    land, _ = case(name)
    module = land.load(land.vector())
    data = [(land._samples.inputs, land._samples.targets)]
    parameters = list(module.parameters())
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        operator = curvlinops.HessianLinearOperator(module, nn.CrossEntropyLoss(), parameters, data)
        V = torch.randn(land.size, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        theirs = (operator @ V).T.detach().numpy()
    products = land.hessian_products(land.vector(), V.T.numpy())
    # curvlinops 3.0.1 has other rows for the weights of a LayerNorm, of a matrix that is not symmetric.
    rows = [k for block in land.blocks if "layer.norm" not in block.name for k in range(block.start, block.stop)]
    assert np.abs(products - theirs)[:, rows].max() < 1e-10 * np.abs(theirs).max()


def test_a_density_shows_itself() -> None:
    found = ml.spectral_density(quadratic(np.linspace(-1, 9, 40)), np.zeros(40), probes=3, steps=10)
    assert repr(found).startswith("<SpectralDensity: 40 eigenvalues from -0.9")
    assert "of 10 Lanczos iterations each" in found.summary()
    assert "<svg" in found._repr_html_()
    axes = found.plot()
    axes.figure.draw_without_rendering()
    (ritz,) = (line for line in axes.lines if line.get_label() == "Ritz values")
    theta, heights = ritz.get_data()
    # Each marker stands at the height of its Gaussian, and the axis to the right shows its weight.
    widest = np.argmax(heights)
    weight = found.weights.ravel()[np.argmin(np.abs(found.nodes.ravel() - theta[widest]))] / len(found.nodes)
    assert heights[widest] == pytest.approx(weight / (np.sqrt(2 * np.pi) * found.width))
    (right,) = axes.child_axes
    assert np.ravel(right.get_ylim()) == pytest.approx(
        np.array(axes.get_ylim()) * np.sqrt(2 * np.pi) * found.width, rel=1e-6
    )


@pytest.mark.parametrize("name", ["attention", "residual"])
def test_eigenvalues_trace_and_moments_beside_curvlinops(name: str) -> None:
    """Of the diagonal block without the weights of LayerNorm, whose rows are wrong in curvlinops 3.0.1."""
    curvlinops = pytest.importorskip("curvlinops")
    from scipy.sparse.linalg import eigsh

    land, _ = case(name)
    module = land.load(land.vector())
    names = [block.name for block in land.blocks if "layer.norm" not in block.name]
    data = [(land._samples.inputs, land._samples.targets)]
    own = dict(module.named_parameters())
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        operator = curvlinops.HessianLinearOperator(module, nn.CrossEntropyLoss(), [own[n] for n in names], data)
        highest = eigsh(operator.to_scipy(), 2, which="LA")[0][::-1]
        H = (operator @ torch.eye(operator.shape[0], dtype=torch.float64)).detach().numpy()
    found = ml.curvature(land, land.vector(), 2, block=names, probes=120)
    assert found.highest == pytest.approx(highest, rel=1e-4)
    assert found.trace == pytest.approx(np.trace(H), rel=0.04)
    assert abs(found.trace - np.trace(H)) < 3 * found.trace_error
    density = ml.spectral_density(land, land.vector(), block=names, probes=60, steps=30)
    power = np.eye(len(H))
    for k in (1, 2, 3, 4):
        power = power @ H
        assert density.moment(k)[0] == pytest.approx(np.trace(power) / len(H), rel=0.02)


@pytest.mark.parametrize("name", ["attention", "residual"])
def test_eigenvalues_beside_hessian_eigenthings(name: str) -> None:
    """Without reorthogonalisation its release 1.0.0a5 returns the largest eigenvalue several times."""
    theirs = pytest.importorskip("hessian_eigenthings")
    land, _ = case(name)

    def loss(module: Any, batch: Any) -> Any:
        return nn.functional.cross_entropy(module(batch[0]), batch[1])

    operator = theirs.HessianOperator(land.load(land.vector()), [(land._samples.inputs, land._samples.targets)], loss)
    found = ml.curvature(land, land.vector(), 3, probes=0)
    options = {"k": 3, "max_iter": 100, "tol": 1e-8, "seed": 0, "reorthogonalize": True}
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        for which, ours in (("LA", found.highest), ("SA", found.lowest)):
            assert np.sort(theirs.lanczos(operator, which=which, **options).eigenvalues) == pytest.approx(
                np.sort(ours), rel=1e-4
            )
