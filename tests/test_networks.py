"""The networks against autograd, finite differences, PyTorch, and themselves."""

from __future__ import annotations

import warnings
from typing import Any

import autograd
import autograd.numpy as anp
import numpy as np
import pytest
from autograd.scipy.special import logsumexp

from minilandscape import backend
from minilandscape.data import Images, lstm_permutation
from minilandscape.landscape import check_gradient
from minilandscape.networks import (
    MODELS,
    VARIANTS,
    NetworkLandscape,
    get_network,
    initial_vector,
    model_of_size,
    model_size,
    network_landscape,
)
from minilandscape.networks import landscape as landscape_module
from minilandscape.networks import span as span_module
from minilandscape.networks.activations import SOFTPLUS, average_softplus, average_softplus_backward
from minilandscape.networks.losses import cross_entropy

CASES = [(model, variant) for model in MODELS for variant in VARIANTS]


def softplus(z: Any) -> Any:
    return anp.logaddexp(0.0, z)


def relu(z: Any) -> Any:
    return anp.where(z > 0, z, 0.0)


def logistic(z: Any) -> Any:
    return 1 / (1 + anp.exp(-z))


def convolve(x: Any, weight: Any, bias: Any) -> Any:
    """Plain cross-correlation, (N, C, H, W) -> (N, O, H−4, W−4), shift by shift."""
    height, width = x.shape[2] - 4, x.shape[3] - 4
    total = bias[None, :, None, None] + anp.zeros((len(x), 1, height, width))
    for a in range(5):
        for b in range(5):
            total = total + anp.einsum("nchw,oc->nohw", x[:, :, a : a + height, b : b + width], weight[:, :, a, b])
    return total


def pool(x: Any) -> Any:
    n, c, h, w = x.shape
    return anp.mean(anp.reshape(x, (n, c, h // 2, 2, w // 2, 2)), axis=(3, 5))


def naive_loss(model: str, variant: str, vector: Any, images: np.ndarray, labels: np.ndarray) -> Any:
    """The loss as the textbook writes it, images before features, for autograd."""
    W = {b.name: anp.reshape(vector[b.start : b.stop], b.shape) for b in get_network(model, variant).layout.blocks}
    act = relu if variant == "paper" else softplus
    x = images.astype(np.float64)
    if model == "autoencoder":
        h = softplus(anp.dot(x, W["encoder1.weight"].T))
        h = softplus(anp.dot(h, W["encoder2.weight"].T))
        h = softplus(anp.dot(h, W["decoder1.weight"].T))
        return anp.mean((logistic(anp.dot(h, W["decoder2.weight"].T)) - x) ** 2)
    if model == "fcp":
        h = act(anp.dot(x, W["fc1.weight"].T))
        logits = anp.dot(act(anp.dot(h, W["fc2.weight"].T)), W["fc3.weight"].T)
    elif model == "lenet":
        h = np.pad(x.reshape(-1, 1, 28, 28), ((0, 0), (0, 0), (2, 2), (2, 2)))
        for name in ("conv1", "conv2"):
            h = convolve(h, W[f"{name}.weight"], W[f"{name}.bias"])
            h = relu(pool(h)) if variant == "paper" else pool(softplus(h))
        h = anp.reshape(h, (len(x), 400))
        h = act(anp.dot(h, W["fc1.weight"].T) + W["fc1.bias"])
        h = act(anp.dot(h, W["fc2.weight"].T) + W["fc2.bias"])
        logits = anp.dot(h, W["fc3.weight"].T) + W["fc3.bias"]
    else:
        steps = x[:, lstm_permutation()].reshape(-1, 28, 28)
        h, c = anp.zeros((len(x), 48)), anp.zeros((len(x), 48))
        for t in range(28):
            z = anp.dot(steps[:, t], W["lstm.weight_ih"].T) + W["lstm.bias_ih"]
            z = z + anp.dot(h, W["lstm.weight_hh"].T) + W["lstm.bias_hh"]
            c = logistic(z[:, 48:96]) * c + logistic(z[:, :48]) * anp.tanh(z[:, 96:144])
            h = logistic(z[:, 144:]) * anp.tanh(c)
        logits = anp.dot(h, W["fc.weight"].T)
    return anp.mean(logsumexp(logits, axis=1) - logits[np.arange(len(x)), labels])


def points_of(model: str, n: int, dtype: Any = np.float64) -> np.ndarray:
    return np.stack([1.5 * initial_vector(model, np.random.default_rng(seed), np.float64) for seed in range(n)]).astype(
        dtype
    )


@pytest.fixture(scope="module")
def few(small_mnist: Any) -> Images:
    return small_mnist.train[:23]


def land(model: str, variant: str, images: Images, dtype: str = "float64", device: str = "cpu") -> NetworkLandscape:
    return network_landscape(model, images, variant=variant, dtype=dtype, device=device)


@pytest.mark.parametrize(("model", "variant"), CASES)
def test_values_and_gradients_agree_with_autograd(model: str, variant: str, few: Images) -> None:
    point = points_of(model, 1)
    value, gradient = autograd.value_and_grad(lambda w: naive_loss(model, variant, w, few.images, few.labels))(point[0])
    values, gradients = land(model, variant, few).values_and_gradients(point)
    assert values[0] == pytest.approx(value, rel=1e-12)
    for block in get_network(model, variant).layout.blocks:
        ours, theirs = gradients[0, block.start : block.stop], gradient[block.start : block.stop]
        assert np.abs(theirs).max() > 0, block.name
        assert np.abs(ours - theirs).max() <= 1e-7 * np.abs(theirs).max(), block.name


@pytest.mark.parametrize(("model", "variant"), CASES)
def test_gradients_agree_with_central_differences_block_by_block(model: str, variant: str, few: Images) -> None:
    # ReLU has kinks: with few images a short step meets none of them.
    relu_inside = variant == "paper" and model in ("fcp", "lenet")
    landscape = land(model, variant, few[:3] if relu_inside else few)
    blocks = get_network(model, variant).layout.blocks
    directions = np.zeros((len(blocks), landscape.size))
    rng = np.random.default_rng(5)
    for direction, block in zip(directions, blocks, strict=True):
        direction[block.start : block.stop] = rng.standard_normal(block.stop - block.start)
    step = 1e-5 if relu_inside else 1e-3
    check = check_gradient(landscape, points_of(model, 1), directions=directions, step=step, tolerance=1e-7)
    assert check.passed, check.relative_error


def test_the_autoencoder_is_the_same_in_both_variants(small_mnist: Any) -> None:
    """So a campaign of one says what one of the other would, on the same images."""
    point = initial_vector("autoencoder", 0)[None]
    (value, gradient), (other, its) = (
        land("autoencoder", variant, small_mnist.train, "float32").values_and_gradients(point) for variant in VARIANTS
    )
    assert np.array_equal(value, other)
    assert np.array_equal(gradient, its)


@pytest.mark.parametrize(("model", "variant"), CASES)
def test_a_stack_equals_single_points(model: str, variant: str, small_mnist: Any) -> None:
    landscape = land(model, variant, small_mnist.test, "float32")
    points = points_of(model, 5, np.float32)
    values, gradients = landscape.values_and_gradients(points)
    for k in range(5):
        value, gradient = landscape.values_and_gradients(points[k : k + 1])
        assert value[0] == pytest.approx(values[k], rel=1e-6)
        assert np.abs(gradient[0] - gradients[k]).max() <= 2e-6 * np.abs(gradient).max()
    assert landscape.values(points) == pytest.approx(values, rel=1e-6)


@pytest.mark.parametrize(("model", "variant"), CASES)
def test_float32_agrees_with_float64(model: str, variant: str, small_mnist: Any) -> None:
    points = points_of(model, 2)
    values, gradients = land(model, variant, small_mnist.train).values_and_gradients(points)
    values32, gradients32 = land(model, variant, small_mnist.train, "float32").values_and_gradients(points)
    assert gradients32.dtype == np.float32
    assert values32 == pytest.approx(values, rel=1e-5)
    assert (np.abs(gradients32 - gradients).max(axis=1) <= 1e-4 * np.abs(gradients).max(axis=1)).all()


@pytest.mark.parametrize(("model", "variant"), CASES)
def test_mini_batches_equal_landscapes_of_those_images(model: str, variant: str, small_mnist: Any) -> None:
    images = small_mnist.train
    batches = np.array([[3, 250, 17, 99], [5, 5, 0, 299]])
    points = points_of(model, 2)
    values, gradients = land(model, variant, images).batch_values_and_gradients(points, batches)
    for k, batch in enumerate(batches):
        alone = land(model, variant, Images(images.images[batch], images.labels[batch]))
        value, gradient = alone.values_and_gradients(points[k : k + 1])
        assert values[k] == pytest.approx(value[0], rel=1e-12)
        assert np.abs(gradient[0] - gradients[k]).max() <= 1e-12 * np.abs(gradient).max()


@pytest.mark.parametrize(("model", "variant"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("keeps", [True, False])
def test_spans_equal_points(
    model: str, variant: str, dtype: str, keeps: bool, small_mnist: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not keeps:
        monkeypatch.setattr(span_module, "KEPT_PRODUCTS", 0)
    tolerance = 2e-4 if dtype == "float32" else 1e-11
    landscape = land(model, variant, small_mnist.test[:30], dtype)
    rng = np.random.default_rng(3)
    span = landscape.span(points_of(model, 4))
    coefficients = rng.uniform(-0.5, 0.8, (6, 4))

    def compare(weights: Any, rows: list[int] | None) -> None:
        points = backend.to_device(coefficients @ np.asarray(span.basis, dtype=np.float64), "cpu", landscape.dtype)
        expected, gradients = landscape.values_and_gradients(points)
        values, pullback = span.values_and_pullback(coefficients, weights, rows)
        factor = np.ones(6) if weights is None else weights(expected) if callable(weights) else weights
        wanted = (factor[:, None] * coefficients[:, rows or range(4)]).T @ gradients
        assert values == pytest.approx(expected, rel=tolerance)
        assert span.values(coefficients) == pytest.approx(expected, rel=tolerance)
        assert np.abs(pullback - wanted).max() <= tolerance * np.abs(wanted).max()

    compare(None, None)
    compare(rng.random(6), [3, 1])
    compare(lambda v: np.exp(v - v.max()), [0])
    span.replace([2], points_of(model, 9)[8:])
    compare(None, [2])
    for k in range(2 * span_module.FRESH_AFTER + 3):
        span.combine([0, 3], [[0.9, 0.05, -0.02, 0.03], [0.1, 0.0, 0.1, 0.7]])
        if k % 5 == 1:
            span.replace([1], points_of(model, 2)[1:] * 0.5)
        if k == 2:  # three combinations wait to be carried over to the products
            compare(None, None)
        elif k % 7 == 2:
            span.values(coefficients)
    compare(None, None)


def test_a_span_that_is_interrupted_computes_its_products_afresh(
    small_mnist: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C among the chunks leaves new products of some and old ones of others."""
    landscape = land("fcp", "paper", small_mnist.train)
    object.__setattr__(landscape.network, "chunk", 100)
    span, coefficients = landscape.span(points_of("fcp", 2)), np.array([[0.7, 0.3]])
    span.values(coefficients)
    span.combine([0], [[0.5, 0.25]])
    span.replace([1], points_of("fcp", 3)[2:])
    calls, multiply = 0, span_module.matmul

    def interrupted(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise KeyboardInterrupt
        return multiply(*arguments, **options)

    monkeypatch.setattr(span_module, "matmul", interrupted)
    with pytest.raises(KeyboardInterrupt):
        span.values(coefficients)
    monkeypatch.undo()
    assert span.values(coefficients) == pytest.approx(landscape.values(coefficients @ span.basis), rel=1e-12)


def test_products_are_fresh_after_some_combinations(few: Images) -> None:
    landscape = land("fcp", "paper", few, "float32")
    span, coefficients = landscape.span(points_of("fcp", 2)), np.array([[0.7, 0.3], [0.1, 0.9]])
    for _ in range(span_module.FRESH_AFTER):
        span.values(coefficients)
        span.combine([0, 1], [[0.6, 0.8], [-0.8, 0.6]])
    assert np.array_equal(span.values(coefficients), landscape.span(span.basis).values(coefficients))


def test_a_span_counts_points_and_second_passes(few: Images) -> None:
    span = land("fcp", "paper", few).span(points_of("fcp", 2))
    coefficients = np.array([[1, 0], [0.5, 0.5], [0, 1.0]])
    span.values(coefficients)
    span.values_and_pullback(coefficients)
    assert (span.evaluations.values, span.evaluations.gradients) == (3, 3)
    span.values_and_pullback(coefficients, lambda v: v)
    assert (span.evaluations.values, span.evaluations.gradients) == (6, 6)


@pytest.mark.parametrize("model", MODELS)
def test_one_thread_and_several_give_the_same_bits(
    model: str, small_mnist: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = get_network(model, "paper")
    monkeypatch.setattr(landscape_module, "CPU_BLOCK", network.floats_per_image * 40)
    results = []
    for threads in (1, 3):
        backend.set_threads(threads)
        landscape = land(model, "paper", small_mnist.train, "float32")
        object.__setattr__(landscape.network, "chunk", 16)
        span = landscape.span(points_of(model, 3))
        results.append((*landscape.values_and_gradients(points_of(model, 3)), *span.values_and_pullback(np.eye(3))))
        assert len(landscape.chunks) == 32  # 19, and so many more that the sums are equal
    backend.set_threads(None)
    for one, several in zip(*results, strict=True):
        assert np.array_equal(one, several)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiny_losses_are_resolved(dtype: str, few: Images) -> None:
    """Weights that put the right class far ahead: the loss must follow e^−margin down, not stick at 6e-8 or 0."""
    images = Images(np.eye(784, dtype=np.float32)[:10], np.arange(10))
    landscape = land("fcp", "paper", images, dtype)
    for margin in (10.0, 25.0, 60.0):
        vector = np.zeros(landscape.size)
        W = get_network("fcp", "paper").layout.unpack(vector[None])
        for name in W:
            W[name][0, range(10), range(10)] = margin ** (1 / 3)
        values, gradients = landscape.values_and_gradients(vector[None])
        assert values[0] == pytest.approx(9 * np.exp(-margin), rel=1e-3 if margin < 15 else 1e-4)
        slope = 3 * margin ** (2 / 3) / 30**0.5  # d margin along the unit vector of all entries that are set
        direction = (vector != 0) / np.sqrt(30)
        assert gradients[0] @ direction == pytest.approx(-values[0] * slope, rel=1e-3)


@pytest.mark.parametrize(("model", "variant"), CASES)
def test_what_overflows_is_a_value_and_no_warning(model: str, variant: str, small_mnist: Any) -> None:
    land = network_landscape(model, small_mnist.train, variant)
    vector = initial_vector(model, 0).astype(np.float64)
    points = np.stack([1e12 * vector, 1e30 * vector, np.full_like(vector, np.nan)]).astype(np.float32)
    backend.set_threads(2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            values, _ = land.values_and_gradients(points)
            land.batch_values_and_gradients(points, np.arange(20))
            land.span(points[:2]).values_and_pullback(np.array([[0.5, 0.5], [1.0, -1.0]]))
            land.outputs(points)
    finally:
        backend.set_threads(None)
    assert np.isnan(values[2])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("largest", [2, 20, 60, 1000, np.nan])
def test_softplus_and_its_average_hold_for_numbers_of_any_size(dtype: str, largest: float) -> None:
    rng = np.random.default_rng(0)
    z = (rng.normal(size=(2, 3, 4, 5, 6, 7)) * rng.choice([1, 10, 200], size=(2, 3, 4, 5, 6, 7))).astype(dtype)
    z[z > largest] = largest
    z[0, 0, :2, 0, 0, 0] = largest  # with NaN one window only is
    with np.errstate(invalid="ignore"):
        exact, slope = softplus(z.astype("f8")), logistic(np.clip(z.astype("f8"), -700, 700))
    within = {"rtol": 20 * np.finfo(dtype).eps, "atol": 4 * np.finfo(dtype).eps}
    work = backend.Workspace(np, np.dtype(dtype))
    Z, g = z.copy(), rng.normal(size=z.shape).astype(dtype)
    A = SOFTPLUS.forward(work, "A", Z)
    np.testing.assert_allclose(A, exact, **within)
    np.testing.assert_allclose(SOFTPLUS.backward(work, g.copy(), A, Z), g * slope, **within)
    Z, g = z.copy(), np.ascontiguousarray(g[:, :, 0])
    np.testing.assert_allclose(average_softplus(work, "X", Z), exact.mean(axis=2), **within)
    expected = 0.25 * g[:, :, None] * slope
    np.testing.assert_allclose(average_softplus_backward(work, g.copy(), Z), expected, **within)


def test_accuracies_and_outputs(small_mnist: Any) -> None:
    for model in MODELS:
        landscape = land(model, "authors", small_mnist.test)
        points = points_of(model, 2)
        outputs = landscape.outputs(points)
        losses, accuracies = landscape.measure(points)
        if model == "autoencoder":
            assert accuracies is None
            squares = (outputs - small_mnist.test.images) ** 2
            assert losses == pytest.approx(squares.mean(axis=(1, 2)), rel=1e-12)
            continue
        assert outputs.shape == (2, 100, 10)
        assert outputs.sum(axis=2) == pytest.approx(np.ones((2, 100)))
        picked = outputs[:, np.arange(100), small_mnist.test.labels]
        assert losses == pytest.approx(-np.log(picked).mean(axis=1), rel=1e-10)
        assert accuracies == pytest.approx((outputs.argmax(axis=2) == small_mnist.test.labels).mean(axis=1))


@pytest.mark.parametrize("device", ["cpu", "gpu"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_tie_of_k_classes_is_1_over_k_of_an_answer(device: str, dtype: str, strict_cupy: Any) -> None:
    rng = np.random.default_rng(3)
    logits = rng.integers(-2, 3, (4, 10, 60)).astype(dtype)  # so few values that most of the largest are shared
    labels = rng.integers(0, 10, 60)
    logits[0, :, :20] = 0.0
    logits[1, :, 5] = np.inf
    logits[1, :, 6] = np.nan
    second = (labels + 1) % 10
    alone, shared = np.arange(20, 30), np.arange(30, 40)
    logits[2, :, 20:40] = -1.0
    logits[2, labels[20:40], np.arange(20, 40)] = logits[2, second[20:40], np.arange(20, 40)] = 1e-3
    # The next number below: no tie, though both have the same probability to all digits.
    logits[2, second[alone], alone] = np.nextafter(logits[2, second[alone], alone], logits.dtype.type(-1))
    expected = np.zeros(4)
    for p, k in np.ndindex(4, 60):
        row = logits[p, :, k].tolist()
        if row[labels[k]] == max(row) and np.isfinite(row).all():
            expected[p] += 1 / row.count(max(row))
    assert expected[0] < 20
    assert logits[2, labels[shared], shared] == pytest.approx(logits[2, second[shared], shared])
    work = backend.Workspace(backend.device_module(device), np.dtype(dtype))
    on_device = (backend.to_device(array, device) for array in (logits, labels))
    with np.errstate(invalid="ignore"):
        _, correct, _ = cross_entropy(work, *on_device, gradient=False)
    assert backend.to_host(correct) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("model", ["fcp", "lenet", "lstm"])
def test_who_tells_no_class_from_another_has_an_accuracy_of_a_tenth(model: str, small_mnist: Any) -> None:
    zero = np.zeros((1, model_size(model)))
    losses, accuracies = land(model, "paper", small_mnist.test).measure(zero)
    assert losses == pytest.approx(np.log(10), rel=1e-6)
    assert accuracies == pytest.approx(0.1, rel=1e-12)


def test_initial_vectors_follow_pytorch_defaults() -> None:
    for model in MODELS:
        layout = get_network(model, "paper").layout
        vector = initial_vector(model, np.random.default_rng(0))
        assert vector.dtype == np.float32
        assert np.array_equal(vector, initial_vector(model, np.random.default_rng(0)))
        for block in layout.blocks:
            part, bound = vector[block.start : block.stop], 1 / np.sqrt(48 if model == "lstm" else block.fan_in)
            assert np.abs(part).max() <= bound * (1 + 1e-6)
            if part.size > 1000:
                assert part.std() == pytest.approx(bound / np.sqrt(3), rel=0.05)


def test_sizes_name_models() -> None:
    assert {model: model_size(model) for model in MODELS} == {
        "fcp": 42_200,
        "lenet": 61_706,
        "autoencoder": 52_224,
        "lstm": 15_456,
    }
    assert model_of_size(61_706) == "lenet"
    with pytest.raises(ValueError, match=r"42201 parameters.*fcp 42200.*lstm 15456"):
        model_of_size(42_201)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "resnet"}, "expected one of fcp"),
        ({"variant": "mine"}, "expected one of paper"),
        ({"dtype": "float16"}, "expected one of float32"),
        ({"device": "tpu"}, "expected one of cpu"),
    ],
)
def test_unknown_names_are_refused(arguments: dict[str, str], message: str, few: Images) -> None:
    with pytest.raises(ValueError, match=message):
        network_landscape(**{"model": "fcp", "images": few, **arguments})


def test_points_of_the_wrong_shape_are_refused(few: Images) -> None:
    landscape = land("fcp", "paper", few)
    with pytest.raises(ValueError, match=r"w\[None\]"):
        landscape.values(points_of("fcp", 1)[0])
    with pytest.raises(ValueError, match="42200"):
        landscape.span(np.zeros((2, 7)))


@pytest.mark.parametrize(("model", "variant"), CASES)
def test_the_strict_stand_in_computes_the_same(model: str, variant: str, few: Images, strict_cupy: Any) -> None:
    points = points_of(model, 3)
    cpu = land(model, variant, few)
    gpu = land(model, variant, few, device="gpu")
    on_gpu = strict_cupy.asarray(points)
    _compare_devices(cpu, gpu, points, on_gpu)


@pytest.mark.gpu
@pytest.mark.parametrize(("model", "variant"), CASES)
def test_a_real_gpu_computes_the_same(model: str, variant: str, few: Images) -> None:
    points = points_of(model, 3)
    gpu = land(model, variant, few, device="gpu")
    _compare_devices(land(model, variant, few), gpu, points, backend.to_device(points, "gpu"))


def _compare_devices(cpu: NetworkLandscape, gpu: NetworkLandscape, points: np.ndarray, on_gpu: Any) -> None:
    values, gradients = cpu.values_and_gradients(points)
    gpu_values, gpu_gradients = gpu.values_and_gradients(on_gpu)
    assert isinstance(gpu_values, np.ndarray)
    assert backend.array_module(gpu_gradients) is not np
    assert gpu_values == pytest.approx(values, rel=1e-10)
    assert np.abs(backend.to_host(gpu_gradients) - gradients).max() <= 1e-10 * np.abs(gradients).max()
    indices = np.array([2, 9, 4])
    for ours, theirs in zip(
        gpu.batch_values_and_gradients(on_gpu, indices), cpu.batch_values_and_gradients(points, indices), strict=True
    ):
        assert np.abs(backend.to_host(ours) - theirs).max() <= 1e-10 * np.abs(theirs).max()
    coefficients = np.array([[0.5, 0.2, 0.3], [1.0, 0.0, 0.1]])
    spans = cpu.span(points), gpu.span(on_gpu)
    for span, rows in zip(spans, (points, on_gpu), strict=True):
        span.combine([0], [[0.5, 0.5, 0]])
        span.replace([2], rows[:1])
    (v, g), (gpu_v, gpu_g) = (span.values_and_pullback(coefficients, np.array([2.0, 1.0]), [0, 2]) for span in spans)
    assert gpu_v == pytest.approx(v, rel=1e-10)
    assert np.abs(backend.to_host(gpu_g) - g).max() <= 1e-10 * np.abs(g).max()
    assert gpu.outputs(on_gpu) == pytest.approx(cpu.outputs(points), rel=1e-9, abs=1e-12)


def test_few_images_still_make_two_chunks(small_mnist: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that two threads have work; the cut does not depend on how many there are."""
    monkeypatch.setattr(landscape_module, "LEAST_IMAGES", 100)
    for n, parts in ((99, 1), (199, 1), (200, 2), (300, 2)):
        land = network_landscape("fcp", small_mnist.train[:n], "paper")
        assert len(land.chunks) == parts
        assert sum(len(chunk.labels) for chunk in land.chunks) == n


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spread", [1.0, 30.0, 90.0, 200.0])
def test_the_slopes_of_logits_hold_no_subnormal_number(dtype: str, spread: float) -> None:
    """A CPU computes with subnormal numbers tens of times more slowly; what is left out is beyond all digits."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 10, 300)
    Y = (spread * rng.standard_normal((4, 10, 300))).astype(dtype)
    Y[1:, labels, np.arange(300)] += np.array([0.5, 2, 5])[:, None] * spread  # fitted better and better
    exact = np.exp(Y.astype(np.float64) - Y.astype(np.float64).max(axis=1, keepdims=True))
    exact /= exact.sum(axis=1, keepdims=True)
    off = exact.copy()
    off[:, labels, np.arange(300)] = 0
    exact[:, labels, np.arange(300)] = -off.sum(axis=1)
    _, _, slopes = cross_entropy(backend.Workspace(np, np.dtype(dtype)), Y, labels, gradient=True)
    sizes, info = np.abs(slopes), np.finfo(dtype)
    assert not ((sizes > 0) & (sizes < info.tiny)).any()
    largest = np.abs(exact).max(axis=(1, 2))[:, None, None]
    assert (np.abs(slopes - exact) <= 100 * spread * info.eps * np.abs(exact) + info.eps**2 * largest).all()


@pytest.mark.parametrize("scale", [1.0, 3.0, 10.0])
def test_a_point_has_its_own_bits_beside_others_that_fit_better(scale: float, small_mnist: Any) -> None:
    landscape = land("fcp", "paper", small_mnist.train[:100])
    rng = np.random.default_rng(0)
    points = (scale * rng.uniform(0.05, 0.4, (6, 1)) * rng.standard_normal((6, landscape.size))).astype(np.float32)
    _, together = landscape.values_and_gradients(points)
    for point, slopes in zip(points, together, strict=True):
        assert np.array_equal(landscape.values_and_gradients(point[None])[1][0], slopes)
