"""Symmetries: vectors, and molecules, that are the same but for the order of their hidden units or atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..networks import get_network

#: By model and block: the shape in which each axis belongs to one group of units, and which.
UNITS: dict[str, dict[str, tuple[tuple[int, ...], dict[int, str]]]] = {
    "fcp": {
        "fc1.weight": ((50, 784), {0: "first"}),
        "fc2.weight": ((50, 50), {0: "second", 1: "first"}),
        "fc3.weight": ((10, 50), {1: "second"}),
    },
    "autoencoder": {
        "encoder1.weight": ((32, 784), {0: "first"}),
        "encoder2.weight": ((32, 32), {0: "second", 1: "first"}),
        "decoder1.weight": ((32, 32), {0: "third", 1: "second"}),
        "decoder2.weight": ((784, 32), {1: "third"}),
    },
    "lenet": {
        "conv1.weight": ((6, 25), {0: "first"}),
        "conv1.bias": ((6,), {0: "first"}),
        "conv2.weight": ((16, 6, 25), {0: "second", 1: "first"}),
        "conv2.bias": ((16,), {0: "second"}),
        # A channel of the second convolution is 25 inputs of the first dense layer.
        "fc1.weight": ((120, 16, 25), {0: "third", 1: "second"}),
        "fc1.bias": ((120,), {0: "third"}),
        "fc2.weight": ((84, 120), {0: "fourth", 1: "third"}),
        "fc2.bias": ((84,), {0: "fourth"}),
        "fc3.weight": ((10, 84), {1: "fourth"}),
    },
    "lstm": {  # a unit has a row in each of the four gates
        "lstm.weight_ih": ((4, 48, 28), {1: "hidden"}),
        "lstm.weight_hh": ((4, 48, 48), {1: "hidden", 2: "hidden"}),
        "lstm.bias_ih": ((4, 48), {1: "hidden"}),
        "lstm.bias_hh": ((4, 48), {1: "hidden"}),
        "fc.weight": ((10, 48), {1: "hidden"}),
    },
}
#: Rounds over all groups at most.
ROUNDS = 100
#: Turns that the superposition of molecules starts from.
TURNS = 60


def permute(model: str, vector: Any, orders: dict[str, Any]) -> np.ndarray:
    """A vector with its hidden units in another order, which computes the same function.

    Parameters
    ----------
    orders
        Group of units to (n,): unit k of the result is unit ``order[k]`` of the vector. Groups: fcp "first", "second";
        autoencoder up to "third"; lenet up to "fourth"; lstm "hidden".

    Raises
    ------
    ValueError
        If the vector is not one of the model, the model has no such group, or an order does not name each unit of its
        group once.
    """
    vector = np.asarray(vector)
    layout = get_network(model, "paper").layout
    if vector.shape != (layout.size,):
        raise ValueError(f"the vector has shape {vector.shape}; {model} has ({layout.size},)")
    groups = _groups(model)
    checked = {group: _order(model, group, order, groups) for group, order in orders.items()}
    result = vector.copy()
    for block in layout.blocks:
        if block.name in UNITS[model]:
            shape, axes = UNITS[model][block.name]
            part = vector[block.start : block.stop].reshape(shape)
            for axis, group in axes.items():
                if group in checked:
                    part = np.take(part, checked[group], axis=axis)
            result[block.start : block.stop] = part.ravel()
    return result


def _groups(model: str) -> dict[str, int]:
    """How many units each group of a model has."""
    return {group: shape[axis] for shape, axes in UNITS[model].values() for axis, group in axes.items()}


def _order(model: str, group: str, order: Any, groups: dict[str, int]) -> np.ndarray:
    if group not in groups:
        raise ValueError(f"orders names the group {group!r}; expected one of {', '.join(groups)}, as {model} has them")
    n, order = groups[group], np.asarray(order)
    expected = f"expected a permutation of the {n} units of {model}, each of 0 to {n - 1} once"
    if order.shape != (n,):
        raise ValueError(f"the order of {group!r} has shape {order.shape}; {expected}")
    if order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(n)):
        raise ValueError(f"the order of {group!r} is no permutation; {expected}")
    return order


def _check_finite(name: str, numbers: np.ndarray) -> None:
    """SciPy's assignment would speak of a matrix that no caller has seen."""
    (bad,) = np.nonzero(~np.isfinite(numbers.ravel()))
    if bad.size:
        raise ValueError(
            f"{name} is not finite in {bad.size} of {numbers.size} numbers, the first at {bad[0]}; "
            "expected finite numbers alone"
        )


def align(model: str, a: Any, b: Any) -> np.ndarray:
    """b with its hidden units in the order that brings it near to a; the function that it computes stays the same.

    Weight matching (Ainsworth, Hayase and Srinivasa, 2023): one group of units after another is assigned to the
    other's units so that the distance is least, the orders of the other groups held, until nothing changes. The
    distance never rises; whether it is the least of all is not known.

    Parameters
    ----------
    model
        ``"fcp"``, ``"lenet"``, ``"autoencoder"`` or ``"lstm"``.
    a, b
        (D,).

    Raises
    ------
    ValueError
        If a vector is not one of the model, or not finite.
    """
    if model not in UNITS:
        raise ValueError(f"model is {model!r}; expected one of {', '.join(UNITS)}")
    a, b = np.asarray(a), np.asarray(b)
    layout = get_network(model, "paper").layout
    for name, vector in (("a", a), ("b", b)):
        if vector.shape != (layout.size,):
            raise ValueError(f"{name} has shape {vector.shape}; {model} has ({layout.size},)")
        _check_finite(name, vector)
    groups = _groups(model)
    nearest = b.copy()
    for _ in range(ROUNDS):
        moved = False
        for group, n in groups.items():
            gain = np.zeros((n, n))
            for block in layout.blocks:
                shape, axes = UNITS[model].get(block.name, ((), {}))
                ours, theirs = (v[block.start : block.stop].reshape(shape or -1) for v in (a, nearest))
                for axis in (x for x, g in axes.items() if g == group):
                    rows = (np.moveaxis(part, axis, 0).reshape(n, -1).astype(np.float64) for part in (ours, theirs))
                    first, second = rows
                    gain += first @ second.T
            order = linear_sum_assignment(gain, maximize=True)[1]
            candidate = permute(model, nearest, {group: order})
            if np.linalg.norm(candidate - a) < np.linalg.norm(nearest - a) * (1 - 1e-7):
                nearest, moved = candidate, True
        if not moved:
            break
    return nearest


def align_atoms(a: Any, b: Any, kinds: Any = None, *, seed: int = 0) -> np.ndarray:
    """b (3n,) moved, turned, and like atoms matched, so that it lies near a.

    The superposition (Kabsch, 1976) and the assignment of like atoms take turns, from several random turns of b; the
    nearest is kept. Mirror images stay apart.

    Parameters
    ----------
    a, b
        (3n,) or (n, 3), a row for each atom.
    kinds
        (n,): atoms that may be exchanged have the same; all are alike if None.

    Returns
    -------
    ndarray
        Like b.

    Raises
    ------
    ValueError
        If a or b has another shape or is not finite, or they or ``kinds`` are not of one number of atoms.
    """
    x, y = _positions("a", a), _positions("b", b)
    if x.shape != y.shape:
        raise ValueError(f"a has {len(x)} atoms and b {len(y)}; expected as many")
    kinds = np.zeros(len(x), dtype=int) if kinds is None else np.asarray(kinds)
    if kinds.shape != (len(x),):
        raise ValueError(f"kinds has shape {kinds.shape}; expected ({len(x)},), one for each atom")
    centre = x.mean(axis=0)
    x, y = x - centre, y - y.mean(axis=0)
    unlike = np.where(kinds[:, None] == kinds[None], 0.0, 1e12)
    rng = np.random.default_rng(seed)
    best, least = y, np.inf
    for turn in range(TURNS):
        z = y if turn == 0 else y @ _random_turn(rng)
        before = np.inf
        for _ in range(50):
            z = z[linear_sum_assignment(((x[:, None] - z[None]) ** 2).sum(axis=2) + unlike)[1]]
            z = z @ _kabsch(z, x)
            apart = float(((x - z) ** 2).sum())
            if apart > before * (1 - 1e-10):
                break
            before = apart
        if apart < least * (1 - 1e-9):
            best, least = z, apart
    aligned: np.ndarray = (best + centre).reshape(np.shape(b))
    return aligned


def _positions(name: str, atoms: Any) -> np.ndarray:
    """(3n,) or (n, 3) -> (n, 3). A row for each coordinate would be read as other atoms, and is refused."""
    positions = np.asarray(atoms, dtype=np.float64)
    flat = positions.ndim == 1 and positions.size % 3 == 0
    rows = positions.ndim == 2 and positions.shape[1] == 3
    if not positions.size or not (flat or rows):
        raise ValueError(f"{name} has shape {positions.shape}; expected (3n,), or (n, 3) with a row for each atom")
    _check_finite(name, positions)
    return positions.reshape(-1, 3)


def _kabsch(z: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The proper rotation R that brings z R nearest to x."""
    u, _, vt = np.linalg.svd(z.T @ x)
    u[:, -1] *= np.sign(np.linalg.det(u @ vt)) or 1.0
    turn: np.ndarray = u @ vt
    return turn


def _random_turn(rng: np.random.Generator) -> np.ndarray:
    q, r = np.linalg.qr(rng.standard_normal((3, 3)))
    q = q * np.sign(np.diag(r))
    q[:, 0] *= np.sign(np.linalg.det(q))
    turn: np.ndarray = q
    return turn
