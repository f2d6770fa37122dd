"""Checkpoints of JAX's libraries: the same vector from every file, and what is refused."""

from __future__ import annotations

import itertools
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

jax = pytest.importorskip("jax")

import jax.numpy as jnp  # noqa: E402
from command_line import run  # noqa: E402

from minilandscape.adapters.jax import JaxLandscape  # noqa: E402


def tree_of(seed: int) -> dict[str, Any]:
    """Two layers, of which the second has the shape of the first: only names tell them apart."""
    rng = np.random.default_rng(seed)
    return {
        name: {"kernel": rng.normal(size=(3, 3)).astype("f"), "bias": rng.normal(size=3).astype("f")}
        for name in ("Dense_0", "Dense_1")
    }


def loss(parameters: Any, inputs: Any, targets: Any) -> Any:
    hidden = jnp.tanh(inputs @ parameters["Dense_0"]["kernel"] + parameters["Dense_0"]["bias"])
    return jnp.mean((hidden @ parameters["Dense_1"]["kernel"] + parameters["Dense_1"]["bias"] - targets) ** 2)


DATA = np.random.default_rng(7).normal(size=(2, 20, 3)).astype("f")
#: The landscape's own parameters are none of those in the files.
LAND = JaxLandscape(loss, tree_of(0), data=(DATA[0], DATA[1]))
WITHIN = JaxLandscape(lambda variables, *data: loss(variables["params"], *data), {"params": tree_of(0)})


def state_of(parameters: Any) -> Any:
    """What flax's TrainState with Adam is as a dictionary: moments have the names of the parameters."""
    moments = jax.tree.map(lambda a: 0 * a, parameters)
    adam = {"0": {"count": np.int32(5), "mu": moments, "nu": moments}, "1": {}}
    return {"step": 5, "params": parameters, "opt_state": adam}


def flat(tree: Any, name: Any) -> dict[str, np.ndarray]:
    return {name(path): leaf for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]}


def joined_by(separator: str) -> Any:
    return lambda path: separator.join(each.key for each in path)


def write(kind: str, file: Path, tree: Any) -> Path:
    """Write a tree as a library does."""
    if kind == "msgpack":
        file.with_suffix(".msgpack").write_bytes(pytest.importorskip("flax.serialization").to_bytes(tree))
    elif kind == "orbax":
        checkpointer = pytest.importorskip("orbax.checkpoint").PyTreeCheckpointer()
        checkpointer.save(file.with_suffix(".orbax").resolve(), tree)
    elif kind == "npz":
        np.savez(file.with_suffix(".npz"), **flat(tree, joined_by("/")))
    elif kind == "keystr":
        np.savez(file.with_suffix(".npz"), **flat(tree, jax.tree_util.keystr))
    else:
        pytest.importorskip("safetensors.numpy").save_file(flat(tree, joined_by(".")), file.with_suffix(".safetensors"))
    return next(file.parent.glob(f"{file.name}.*"))


@pytest.mark.parametrize("land", [LAND, WITHIN], ids=["parameters", "variables"])
@pytest.mark.parametrize(
    ("kind", "how"),
    [
        *itertools.product(["msgpack", "orbax", "npz", "keystr", "safetensors"], ["parameters", "variables"]),
        *itertools.product(["msgpack", "orbax"], ["state"]),  # flat files hold arrays alone
    ],
)
def test_a_vector_is_that_of_the_file(land: JaxLandscape, kind: str, how: str, tmp_path: Path) -> None:
    """Whatever stands around the parameters, in the landscape's tree or in the file."""
    saved = tree_of(3)
    whole = {"parameters": saved, "variables": {"params": saved}, "state": state_of(saved)}[how]
    file = write(kind, tmp_path / "a", whole)
    right = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(saved)])
    found = land.read(file)
    assert found.dtype == land.dtype
    assert (found == right).all()
    assert not (land.vector() == right).any()


def test_a_step_of_a_checkpoint_manager_is_read(tmp_path: Path) -> None:
    ocp = pytest.importorskip("orbax.checkpoint")
    with ocp.CheckpointManager((tmp_path / "run").resolve()) as manager:
        for step in (2, 10):
            manager.save(step, args=ocp.args.StandardSave(state_of(tree_of(step))))
    assert (LAND.read(tmp_path / "run" / "2") == LAND.vector(tree_of(2))).all()
    with pytest.raises(ValueError, match=r"run holds the steps 2, 10: give one, .*run.10$"):
        LAND.read(tmp_path / "run")
    with pytest.raises(ValueError, match="is a folder; expected a checkpoint of Orbax or a file"):
        LAND.read(tmp_path / "run" / "2" / "default" / "d")


def test_all_items_of_a_step_are_read_and_no_moments(tmp_path: Path) -> None:
    """The one moment of SGD has the names of the parameters, also where its folder is given by itself."""
    ocp, saved = pytest.importorskip("orbax.checkpoint"), tree_of(1)
    items = {"params": saved, "opt_state": [{"trace": tree_of(2)}], "opt": tree_of(3)}
    for more in ({}, {"batch_stats": {"mean": np.ones(3, "f")}}):
        run = tmp_path / f"run{len(more)}"
        with ocp.CheckpointManager(run.resolve()) as manager:
            args = {name: ocp.args.StandardSave(item) for name, item in {**items, **more}.items()}
            manager.save(1, args=ocp.args.Composite(**args))
        if more:
            with pytest.raises(ValueError, match=r"also holds batch_stats\.mean"):
                LAND.read(run / "1")
        else:
            assert (LAND.read(run / "1") == LAND.vector(saved)).all()
            assert (WITHIN.read(run / "1") == LAND.vector(saved)).all()
        for item in ("opt_state", "opt"):
            with pytest.raises(ValueError, match="holds the state of an optimiser alone; expected"):
                LAND.read(run / "1" / item)


def test_an_equinox_module_is_read(tmp_path: Path) -> None:
    """Leaves that are functions stay; a module of other sizes is refused, and a deeper one, whose first leaves fit."""
    eqx = pytest.importorskip("equinox")
    own, saved, wider, deeper = (
        eqx.nn.MLP(3, 3, width, depth, key=jax.random.key(seed))
        for seed, width, depth in ((0, 3, 1), (1, 3, 1), (2, 5, 1), (3, 3, 2))
    )
    land = JaxLandscape(lambda net, x, y: jnp.mean((jax.vmap(net)(x) - y) ** 2), own, data=(DATA[0], DATA[1]))
    for name, module in (("a", saved), ("b", wider), ("c", deeper)):
        eqx.tree_serialise_leaves(tmp_path / f"{name}.eqx", module)
    found = land.read(tmp_path / "a.eqx")
    assert (found == land.vector(saved)).all()
    assert land.values(found[None])[0] == pytest.approx(float(jnp.mean((jax.vmap(saved)(DATA[0]) - DATA[1]) ** 2)))
    with pytest.raises(ValueError, match=r"b\.eqx is no file of equinox.* changed shape"):
        land.read(tmp_path / "b.eqx")
    with (tmp_path / "a.eqx").open("rb") as leaves, (tmp_path / "d.eqx").open("wb") as file:
        file.write(b'{"width": 3}\n' + leaves.read())  # as in equinox's documentation
    assert (land.read(tmp_path / "d.eqx") == found).all()
    half = jax.tree.map(lambda a: a.astype(jnp.float16) if eqx.is_array(a) else a, saved)
    eqx.tree_serialise_leaves(tmp_path / "e.eqx", half)
    assert (land.read(tmp_path / "e.eqx") == found.astype(np.float16)).all()
    with pytest.raises(ValueError, match=r"c\.eqx holds more than the landscape's tree"):
        land.read(tmp_path / "c.eqx")


@pytest.mark.parametrize("how", ["Param", "pure", "all"])
def test_an_nnx_module_is_read(how: str, tmp_path: Path) -> None:
    """``.value`` stands after the names of a state, and not after those of a dictionary; counters are left out."""
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, seed: int) -> None:
            self.first, self.drop = nnx.Linear(3, 3, rngs=nnx.Rngs(seed)), nnx.Dropout(0.1, rngs=nnx.Rngs(seed))

        def __call__(self, x: Any) -> Any:
            return self.first(x)

    graph, own, rest = nnx.split(Net(0), nnx.Param, ...)
    saved = nnx.state(Net(1), nnx.Param)
    land = JaxLandscape(lambda p, x, y: jnp.mean((nnx.merge(graph, p, rest)(x) - y) ** 2), own, data=(DATA[0], DATA[1]))
    whole = {"Param": saved, "pure": nnx.to_pure_dict(saved), "all": nnx.state(Net(1))}[how]
    checkpointer = pytest.importorskip("orbax.checkpoint").StandardCheckpointer()
    checkpointer.save((tmp_path / "a").resolve(), whole)
    checkpointer.wait_until_finished()
    assert (land.read(tmp_path / "a") == land.vector(saved)).all()


def test_what_a_loss_may_depend_on_is_not_dropped(tmp_path: Path) -> None:
    """Running statistics, masks, a layer or a scale that the landscape's network has not; metrics and keys are not."""
    saved = tree_of(1)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"batch_stats": {"mean": np.ones(3, "f")}}, "batch_stats.mean"),
        ({"params": {**saved, "Dense_2": saved["Dense_0"]}}, "params.Dense_2.bias, params.Dense_2.kernel"),
        ({"params": {**saved, "alpha": np.float32(0.5)}}, "params.alpha"),
        ({"mask": {"Dense_0": np.ones((3, 3), bool)}}, "mask.Dense_0"),
    ]
    harmless = {"loss": np.float32(0.1), "rng": np.ones(2, np.uint32), "epoch": np.int64(3)}
    for more, name in cases:
        file = write("npz", tmp_path / "a", {"params": saved, **harmless, **more})
        for land in (LAND, WITHIN):
            with pytest.raises(ValueError, match=f"a.npz also holds {name}, which the landscape's tree has not"):
                land.read(file)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"ema": tree_of(1), "params": tree_of(2)}, "holds 2 trees of these names, in ema and params"),
        ({"optimizer": {"target": tree_of(1)}, "ema": tree_of(2)}, "in ema and optimizer.target"),
        ({"a.b": np.ones(3), "a": {"b": np.zeros(3)}}, "holds two arrays of one name"),
        ({"Dense_0": tree_of(1)["Dense_0"]}, r"holds Dense_0.bias, Dense_0.kernel; expected the arrays of .*Dense_1"),
        (
            {**tree_of(1), "Dense_1": {"kernel": np.ones((3, 4), "f"), "bias": np.ones(3, "f")}},
            r"Dense_1.kernel of .*a.npz is float32 \(3, 4\); expected floating numbers \(3, 3\)",
        ),
    ],
)
def test_another_tree_is_refused(tree: Any, message: str, tmp_path: Path) -> None:
    file = write("npz", tmp_path / "a", tree)
    with pytest.raises(ValueError, match=message):
        LAND.read(file)


@pytest.mark.parametrize(
    ("own", "other"),
    [
        ({"actor": tree_of(0)}, {"params": {"critic": tree_of(1)}}),
        ({"params": {"student": tree_of(0)}}, {"params": {"teacher": tree_of(1)}}),
        ({"params": tree_of(0)}, {"ema_params": tree_of(1), "opt_state": {}}),
        ({"params": {"head": {"w": np.ones(3)}}}, {"params": {"tail": {"w": np.ones(3)}}}),
    ],
)
def test_no_key_of_the_tree_may_be_another(own: Any, other: Any, tmp_path: Path) -> None:
    land = JaxLandscape(lambda tree: sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)), own)
    assert (land.read(write("npz", tmp_path / "own", {"state": own})) == land.vector(own)).all()
    with pytest.raises(ValueError, match="expected the arrays of the landscape's tree"):
        land.read(write("npz", tmp_path / "other", other))


def test_leaves_that_are_no_coordinates_are_none_in_a_file_either(tmp_path: Path) -> None:
    """A Python float is a part of the tree and no coordinate; in a file it may be an array."""
    own, saved = ({"scale": 2.0, **tree_of(seed)} for seed in (0, 1))
    land = JaxLandscape(lambda tree: tree["scale"] * jnp.sum(tree["Dense_0"]["bias"]), own)
    file = write("npz", tmp_path / "a", {**saved, "scale": np.float64(2)})
    assert (land.read(file) == land.vector(saved)).all()
    assert land.read(file).size == land.size
    with pytest.raises(ValueError, match=r"scale.*is no coordinate, and not the landscape's: .* Leave it out"):
        land.read(write("npz", tmp_path / "b", {**saved, "scale": np.float64(3)}))


def test_a_tree_of_one_array_is_read(tmp_path: Path) -> None:
    land = JaxLandscape(lambda w: jnp.sum(w**2), jnp.zeros((2, 2)))
    file = write("npz", tmp_path / "a", {"w": np.arange(4.0).reshape(2, 2), "step": np.int64(3)})
    assert land.read(file).tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match="holds 2 trees of these names, in v and w"):
        land.read(write("npz", tmp_path / "b", {"w": np.ones((2, 2)), "v": np.ones((2, 2))}))


def test_other_files_are_refused(tmp_path: Path) -> None:
    pickled, damaged = tmp_path / "a.pkl", tmp_path / "a.npz"
    pickled.write_bytes(pickle.dumps({"w": 1.0}))
    damaged.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"a\.pkl is not read here, since a pickle can run any code; .*numpy\.save"):
        LAND.read(pickled)
    with pytest.raises(ValueError, match=r"a\.npz is no file of numpy\.savez, or is damaged"):
        LAND.read(damaged)
    np.save(tmp_path / "s.npy", np.ones(3))
    with pytest.raises(ValueError, match=r"s\.npy is no checkpoint; expected one, or numpy\.load of a vector"):
        LAND.read(tmp_path / "s.npy")
    broken = tree_of(1)
    broken["Dense_0"]["bias"][1] = np.nan
    with pytest.raises(ValueError, match=r"c\.npz holds numbers that are not finite"):
        LAND.read(write("npz", tmp_path / "c", broken))
    whole = {**tree_of(1), "Dense_0": {name: a.astype(np.int8) for name, a in tree_of(1)["Dense_0"].items()}}
    with pytest.raises(ValueError, match=r"Dense_0.bias of .*d\.npz is int8 \(3,\); expected floating numbers \(3,\)"):
        LAND.read(write("npz", tmp_path / "d", whole))
    with pytest.raises(FileNotFoundError, match=r"none\.npz does not exist"):
        LAND.read(tmp_path / "none.npz")
    with pytest.raises(TypeError, match="give a tree of parameters in place of the size"):
        JaxLandscape(jnp.sum, 3).read(damaged)


MODULE = """
import jax.numpy as jnp
import numpy as np
from minilandscape.adapters.jax import JaxLandscape

def loss(p, x, y):
    hidden = jnp.tanh(x @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"])
    return jnp.mean((hidden @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"] - y) ** 2)

def make():
    x, y = np.random.default_rng(7).normal(size=(2, 20, 3)).astype("f")
    layer = {"kernel": jnp.zeros((3, 3)), "bias": jnp.zeros(3)}
    return JaxLandscape(loss, {"Dense_0": layer, "Dense_1": layer}, data=(x, y))

def well(x):
    return float(x @ x), 2 * x

def vector():
    return JaxLandscape(lambda x: jnp.sum((x**2 - 1) ** 2), 2)
"""


def test_commands_take_checkpoints_of_a_tree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("jax_net.py").write_text(MODULE)
    pairs = {}
    for k, name in enumerate("ab"):
        saved = tree_of(k + 1)
        pairs[name] = float(loss(saved, *DATA))
        write("npz", tmp_path / name, {"params": saved})
        write("msgpack", tmp_path / name, state_of(saved))
    for kind in ("npz", "msgpack"):
        files = f"a.{kind}", f"b.{kind}"
        assert run("connect", *files, "--landscape", "jax_net:make", "--steps", "2", "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["height_ends"] == pytest.approx([pairs["a"], pairs["b"]], rel=1e-5)
    assert run("connect", "a.msgpack", "b.msgpack") == 1
    said = capsys.readouterr().err
    assert "a.msgpack is a checkpoint of a tree of JAX" in said
    assert "return JaxLandscape(loss, parameters, data=(inputs, targets))" in said
    assert run("connect", "a.msgpack", "b.msgpack", "--landscape", "jax_net:well") == 1
    assert "makes no landscape of a tree of JAX; well should return a JaxLandscape" in capsys.readouterr().err


def test_commands_take_a_function_without_samples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """There is nothing to measure along the path."""
    monkeypatch.chdir(tmp_path)
    Path("jax_net.py").write_text(MODULE)
    for name, end in (("a", -1.0), ("b", 1.0)):
        np.save(f"{name}.npy", np.array([end, end]))
    assert run("connect", "a.npy", "b.npy", "--landscape", "jax_net:vector", "--json") == 0
    assert json.loads(capsys.readouterr().out)["barrier"] == pytest.approx(1, abs=1e-3)
    assert run("evaluate", "a.npy", "--landscape", "jax_net:vector") == 0
    assert "a.npy" in capsys.readouterr().out
