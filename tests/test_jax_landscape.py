"""Functions written with jax.numpy: the precision of the call, what is compiled in, what is refused."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest

import minilandscape as ml

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402

from minilandscape.adapters.jax import JaxLandscape  # noqa: E402

POINTS = np.random.default_rng(0).standard_normal((5, 3))


def in_double_precision(on: bool = True) -> Any:
    return jax.experimental.enable_x64(on) if hasattr(jax.experimental, "enable_x64") else jax.enable_x64(on)


def f(x: Any) -> Any:
    return jnp.sum(jnp.sin(x) * x)


def test_the_precision_is_that_of_the_call() -> None:
    """Made in one precision, and used in another and back again, as a notebook does."""
    exact = (np.sin(POINTS) * POINTS).sum(axis=1)
    slopes = np.sin(POINTS) + POINTS * np.cos(POINTS)
    with in_double_precision(False):
        land = JaxLandscape(f, 3)
    for double in (False, True, False):
        with in_double_precision(double):
            assert land.dtype == (np.float64 if double else np.float32)
            values, gradients = land.values_and_gradients(POINTS)
            assert gradients.dtype == land.dtype
            for found in (values, land.values(POINTS)):
                error = np.abs(found - exact).max()
                assert error < 1e-14 if double else 1e-9 < error < 1e-5
            assert gradients == pytest.approx(slopes, rel=1e-12 if double else 1e-5)
            path = ml.find_path(land, POINTS[0], POINTS[1], n_points=5, steps=1)
            assert path.start.dtype == path.points(0.3).dtype == land.dtype


@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_compiled_in_is_forgotten(compiled: bool) -> None:
    data = np.ones(3)

    def scaled(x: Any) -> Any:
        return jnp.sum(data * x)

    land = JaxLandscape(jax.jit(scaled) if compiled else scaled, 3)
    first = land.values_and_gradients(POINTS)[0], land.values(POINTS)
    data = 2 * data
    land.forget()
    for found, before in zip((land.values_and_gradients(POINTS)[0], land.values(POINTS)), first, strict=True):
        assert found == pytest.approx(2 * before)


@pytest.mark.parametrize("n", [0, 1, 3, 8])
def test_any_number_of_points(n: int) -> None:
    points = np.ones((n, 3))
    values, gradients = JaxLandscape(lambda x: jnp.sum(x**2), 3).values_and_gradients(points)
    assert values.tolist() == [3.0] * n
    assert gradients.tolist() == [[2.0] * 3] * n


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: x[0] if x[0] > 0 else x[1], r"raised TracerBoolConversionError at .* write it with jax\.numpy"),
        (lambda x: float(x[0]), "raised ConcretizationTypeError at"),
        (lambda x: x @ jnp.ones(4), "raised TypeError at"),
        (lambda x: x[:1], r"is shape \(1,\), float32; expected one real number|raised TypeError"),
        (lambda x: x[0] * 1j, r"is shape \(\), complex64; expected one real number|raised TypeError"),
        (lambda x: x[0] > 0, r"is shape \(\), bool; expected one real number|raised TypeError"),
        (lambda x: None, "is NoneType; expected one real number|raised TypeError"),
        (lambda x: (x[0], x), "is tuple; expected one real number|raised TypeError"),
    ],
)
def test_what_a_function_does_wrong_is_said_with_its_point(function: Any, message: str) -> None:
    with in_double_precision(False):
        land = JaxLandscape(function, 3)
        for evaluate in (land.values, land.values_and_gradients):
            with pytest.raises(ml.LandscapeError, match=message) as caught:
                evaluate(POINTS)
            assert caught.value.point == pytest.approx(POINTS[0], rel=1e-6)


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"size is 2\.5"):
        JaxLandscape(f, 2.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="f is float"):
        JaxLandscape(1.0, 2)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="points are complex"):
        JaxLandscape(f, 3).values(1j * POINTS)
    with pytest.raises(ValueError, match=r"expected a stack \(P, 3\)"):
        JaxLandscape(f, 3).values(POINTS[0])


@pytest.mark.parametrize("double", [False, True])
def test_hessian_products_are_exact(double: bool) -> None:
    with in_double_precision(double):
        land = JaxLandscape(lambda x: jnp.sum(jnp.sin(x) * x) + x[0] * x[1] ** 2, 3)
        x = POINTS[0].astype(land.dtype)
        H = np.diag(2 * np.cos(x) - x * np.sin(x)) + np.array([[0, 2 * x[1], 0], [2 * x[1], 2 * x[0], 0], [0, 0, 0]])
        for V in (POINTS, POINTS[:1]):
            products = land.hessian_products(x, V)
            assert products.dtype == land.dtype
            assert products == pytest.approx(V @ H, rel=1e-12 if double else 1e-4, abs=1e-12 if double else 1e-5)


class TestTrees:
    TREE: ClassVar[dict[str, Any]] = {
        "dense": {"kernel": jnp.arange(6.0).reshape(2, 3), "bias": jnp.ones(3)},
        "steps": 3,
        "name": "net",
    }
    X = np.random.default_rng(1).standard_normal((7, 2))

    def loss(self, tree: Any) -> Any:
        hidden = jnp.tanh(self.X @ tree["dense"]["kernel"] + tree["dense"]["bias"])
        return jnp.mean(hidden**2) * tree["steps"]

    def test_there_and_back(self) -> None:
        with in_double_precision(False):
            land = JaxLandscape(self.loss, self.TREE)
            x = land.vector()
            assert x.dtype == np.float32
            assert [block.name for block in land.blocks] == ["['dense']['bias']", "['dense']['kernel']"]
            assert np.array_equal(land.vector(self.TREE), x)
            tree = land.tree(x + 1)
            assert (tree["steps"], tree["name"]) == (3, "net")
            assert np.array_equal(land.vector(tree), x + 1)
            assert land.values(x[None])[0] == pytest.approx(float(self.loss(self.TREE)), rel=1e-6)

    def test_gradients_and_products(self) -> None:
        with in_double_precision():
            land = JaxLandscape(self.loss, self.TREE)
            x = land.vector()
            assert x.dtype == np.float64
            gradients = land.values_and_gradients(x[None])[1]
            E = 1e-6 * np.eye(land.size)
            differences = (land.values(x + E) - land.values(x - E)) / 2e-6
            assert gradients[0] == pytest.approx(differences, abs=1e-8)
            slopes = land.values_and_gradients(x + E)[1] - land.values_and_gradients(x - E)[1]
            assert land.hessian_products(x, np.eye(land.size)) == pytest.approx(slopes / 2e-6, abs=1e-7)
            found = ml.curvature(land, x, 2)
            assert found.exact
            assert found.converged

    @pytest.mark.parametrize(
        ("tree", "message"),
        [
            ({"dense": {"kernel": np.ones((2, 3)), "bias": np.ones(3)}, "steps": 3}, r"missing \[\"\['name'\]"),
            ({**TREE, "dense": {"kernel": np.ones((3, 2)), "bias": np.ones(3)}}, r"kernel'\] has shape \(3, 2\)"),
            ({**TREE, "steps": 4}, r"\['steps'\] is no coordinate"),
        ],
    )
    def test_other_trees_are_refused(self, tree: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            JaxLandscape(self.loss, self.TREE).vector(tree)
        with pytest.raises(ValueError, match="holds no floating array"):
            JaxLandscape(self.loss, {"steps": 3})
        with pytest.raises(TypeError, match="of a function of a vector"):
            JaxLandscape(f, 3).vector(tree)

    def test_planes_are_normalised_by_flax_filters(self) -> None:
        """Columns of a kernel (in, out), whose scale does not change the plane."""
        found = ml.surface(JaxLandscape(self.loss, self.TREE), JaxLandscape(self.loss, self.TREE).vector(), n=2)
        kernel = np.asarray(self.TREE["dense"]["kernel"])
        for axis in found.axes:
            assert np.linalg.norm(axis[3:].reshape(2, 3), axis=0) == pytest.approx(np.linalg.norm(kernel, axis=0))
            assert not axis[:3].any()


@pytest.mark.parametrize(
    ("shapes", "axes"),
    [
        ([{"w": (2, 3), "b": (3,)}, {"w": (3, 4), "b": (4,)}], [-1, -1]),  # (in, out)
        ([{"w": (3, 2), "b": (3,)}, {"w": (4, 3), "b": (4,)}], [0, 0]),  # (out, in)
        ([{"w": (2, 3), "b": (3,)}, {"w": (3, 3), "b": (3,)}, {"w": (3, 4)}], [-1, -1, -1]),  # as the first one
        ([{"w": (3, 3), "b": (3,)}, {"w": (3, 4)}], [0, 0]),  # nothing tells
        ([{"w": (5, 5, 2, 3), "b": (3,)}, {"kernel": (3, 4)}], [-1, -1]),
        ([((2, 3), (3,)), ((3, 4), (4,))], [-1, -1]),  # pairs
    ],
)
def test_the_units_of_a_tree_are_counted_by_the_axis_that_a_bias_has(shapes: Any, axes: list[int]) -> None:
    rng = np.random.default_rng(0)
    tree = jax.tree_util.tree_map(rng.standard_normal, shapes, is_leaf=lambda leaf: _is_shape(leaf))
    land = JaxLandscape(lambda tree: sum(jnp.sum(leaf**2) for leaf in jax.tree_util.tree_leaves(tree)), tree)
    x = land.vector()
    direction = ml.surface(land, x, n=2).axes[0]
    weights = [block for block in land.blocks if len(block.shape) > 1]
    for block, axis in zip(weights, axes, strict=True):
        units, own = (
            np.moveaxis(v[block.start : block.stop].reshape(block.shape), axis, 0).reshape(block.shape[axis], -1)
            for v in (direction, x)
        )
        assert np.linalg.norm(units, axis=1) == pytest.approx(np.linalg.norm(own, axis=1), rel=1e-6)


def _is_shape(leaf: Any) -> bool:
    return isinstance(leaf, tuple) and all(isinstance(n, int) for n in leaf)


def test_flax_parameters() -> None:
    linen = pytest.importorskip("flax.linen")
    net = linen.Sequential([linen.Dense(4), jnp.tanh, linen.Dense(2)])
    x = jnp.asarray(np.random.default_rng(0).standard_normal((9, 3)), dtype=jnp.float32)
    parameters = net.init(jax.random.PRNGKey(0), x)["params"]

    def loss(parameters: Any) -> Any:
        return jnp.mean(net.apply({"params": parameters}, x) ** 2)

    land = JaxLandscape(loss, parameters)
    assert land.size == 3 * 4 + 4 + 4 * 2 + 2
    assert land.values(land.vector()[None])[0] == pytest.approx(float(loss(parameters)), rel=1e-5)


def test_an_equinox_module() -> None:
    equinox = pytest.importorskip("equinox")
    net = equinox.nn.MLP(3, 2, 4, 1, key=jax.random.PRNGKey(0))
    x = jnp.asarray(np.random.default_rng(0).standard_normal((9, 3)), dtype=jnp.float32)

    def loss(net: Any) -> Any:
        return jnp.mean(jax.vmap(net)(x) ** 2)

    land = JaxLandscape(loss, net)
    assert land.size == 3 * 4 + 4 + 4 * 2 + 2
    assert land.values(land.vector()[None])[0] == pytest.approx(float(loss(net)), rel=1e-5)
    moved = land.tree(land.vector() + 0.1)
    assert land.values(land.vector(moved)[None])[0] == pytest.approx(float(loss(moved)), rel=1e-5)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_equal_random_keys_are_the_landscapes(shape: tuple[int, ...]) -> None:
    def tree(key: Any) -> Any:
        return {"key": jax.random.split(key, shape) if shape else key, "w": jnp.ones(2)}

    land = JaxLandscape(lambda p: jnp.sum(p["w"] ** 2), tree(jax.random.key(0)))
    assert land.vector(tree(jax.random.key(0))).tolist() == [1.0, 1.0]
    for other in (
        tree(jax.random.key(1)),
        tree(jax.random.key(0, impl="rbg")),
        {"key": jnp.zeros(2), "w": jnp.ones(2)},
    ):
        with pytest.raises(ValueError, match=r"\['key'\] is no coordinate, and not the landscape's"):
            land.vector(other)
