"""The plan: every number that determines a campaign, at a scale."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import ceil, inf
from numbers import Integral, Real
from operator import index
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import DEVICES
from ..files import read_json, write_json
from ..networks import variant_train_size
from ..tasks import Store
from .printed import BATCH, KEPT, LAM, PAIRS, POINTS, RUNS, TABLE_1, TERMS, TEST_IMAGES

OPTIMIZERS = ("lbfgs-gss", "sgd")
SCALES = ("smoke", "small", "full")
#: Where runs end: at Table 1's training loss of the network and optimiser, or after their epochs.
TARGETS = ("table1", "none")
#: Initial weights: separate ones for each optimiser, or the same for both.
INITIAL = ("separate", "shared")
#: How pairs are drawn: at random among all pairs, or in rounds in which every vector has one partner.
PAIRING = ("random", "rounds")
NAMED = {"initial": INITIAL, "pairing": PAIRING}
#: Vectors of each set at which the Hessian is measured.
CURVATURES = 8
#: Updates of SGD: 75 epochs of 60,000 images.
UPDATES = 70_000
#: Steps of Adam on paths, the authors'.
STEPS = 100
#: Barriers up to this value count as none; the penalty on length alone leaves some 1e-6.
NO_BARRIER = 1e-5
#: With at least so many steps a search ends when it converges; with fewer it takes them all.
STILL = 500


@dataclass(frozen=True)
class NetworkPlan:
    """The numbers of one network.

    Attributes
    ----------
    runs
        Runs per optimiser, of which the 48/75 with the lowest training losses are kept.
    pairs
        Random distinct pairs of each set; all pairs if there are fewer.
    train_size
        Training images, and images of the test landscape if there are as many.
    test_curve
        Test images of the test curves, and so of early stopping and the test weights: the first ones, at most all.
    sgd_updates, sgd_floor, lr
        Of SGD: updates with mini-batches of 64, the target loss at which a run ends (0: none), the learning rate.
    iterations, loss_floor
        Of L-BFGS-GSS: the maximum number of iterations, and the target loss (0: none).
    steps
        Of Adam on paths, as published.
    still_steps
        Steps of the quasi-Newton solver. From 500 on, the maximum at one number of points, in searches of 500, run to
        convergence. 0 leaves these paths out.
    n_terms, n_points, lam
        Of the paths: N_F, M and λ.
    scans
        Whether λ is varied on one pair, and the target loss of L-BFGS-GSS.
    initial
        ``"separate"``: each optimiser has initial weights of its own; ``"shared"``: both start from the same ones.
    pairing
        ``"random"``: pairs are drawn at random among all pairs; ``"rounds"``: in rounds in which every vector has one
        partner, so that no vector is in two pairs as long as there are no more pairs than half the vectors.
    averages
        Whether losses of all vectors, of their mean and of midpoints are measured on training and test images.
    curvatures
        Number of vectors of each set, the first ones, at which the Hessian is measured.
    resolutions
        Whether N_F and M are varied on one pair of each optimiser.
    target_barrier, still_gradients
        Where the second search ends before it converges: at a barrier of at most the first, over continuous t (0: only
        without one); or after as many evaluations as this number of gradients of L has (0: no limit).
    """

    runs: int
    pairs: int
    train_size: int
    test_curve: int = 2000
    sgd_updates: int = UPDATES
    sgd_floor: float = 0.0
    lr: float = 0.1
    iterations: int = 1000
    loss_floor: float = 1e-8
    steps: int = STEPS
    still_steps: int = STILL
    n_terms: int = TERMS
    n_points: int = POINTS
    lam: float = LAM
    scans: bool = False
    initial: str = "shared"
    pairing: str = "rounds"
    averages: bool = False
    curvatures: int = 0
    resolutions: bool = False
    target_barrier: float = 0.0
    still_gradients: int = 0

    def __post_init__(self) -> None:
        for of in fields(self):  # 1 and 1.0 are one number, and have to give the same tasks
            kind: Any = {"int": index, "float": float, "bool": bool, "str": str}[str(of.type)]
            value = getattr(self, of.name)
            try:
                object.__setattr__(self, of.name, kind(value))
            except (TypeError, ValueError):
                raise TypeError(f"{of.name} is {value!r}; expected {of.type}") from None
        least = dict.fromkeys(("runs", "pairs", "train_size", "test_curve", "sgd_updates", "iterations", "steps"), 1)
        least |= {
            "n_terms": 1,
            "n_points": 3,
            "still_steps": 0,
            "target_barrier": 0,
            "still_gradients": 0,
            "sgd_floor": 0,
            "loss_floor": 0,
            "lam": 0,
            "curvatures": 0,
        }
        for name, number in least.items():
            if not number <= getattr(self, name) < inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {number}")
        if not 0 < self.lr < inf:
            raise ValueError(f"lr is {self.lr}; expected a number above 0")
        for name, known in NAMED.items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(known)}")
        if self.kept < 2:
            raise ValueError(f"runs is {self.runs}, of which {self.kept} is kept; expected at least 2 runs to pair")

    @property
    def kept(self) -> int:
        """Number of runs that are kept."""
        return ceil(self.runs * KEPT / RUNS)

    def seeds(self, optimizer: str) -> list[int]:
        """Return the seeds of an optimiser's runs, which determine the initial weights."""
        first = self.runs if self.initial == "separate" and optimizer == "sgd" else 0
        return list(range(first, first + self.runs))

    def target(self, optimizer: str) -> float:
        """Return the training loss at which an optimiser's runs end; 0 if they run for all their epochs."""
        return self.sgd_floor if optimizer == "sgd" else self.loss_floor

    @property
    def searches(self) -> dict[str, str]:
        """Names of the path searches."""
        still = "run to convergence" if self.still_steps >= STILL else f"{self.still_steps} quasi-Newton steps"
        if self.target_barrier and self.still_steps >= STILL:
            still = "until no barrier is left"
        if self.still_gradients:
            still += f", at most {self.still_gradients} gradients of L"
        return {"adam": f"{self.steps} Adam steps", "still": still}

    @property
    def sgd_epochs(self) -> int:
        """Epochs that make up the updates."""
        return max(1, round(self.sgd_updates / ceil(self.train_size / BATCH)))


def _scale(scale: str, variant: str, targets: str) -> dict[str, NetworkPlan]:
    if scale == "smoke":
        common: dict[str, Any] = {"runs": 3, "pairs": 1, "test_curve": 100, "steps": 4, "still_steps": 4}
        common |= {"n_terms": 4, "n_points": 12, "averages": True}
        small: dict[str, Any] = {"sgd_updates": 40, "iterations": 6}
        return {model: NetworkPlan(train_size=128, **common, **small, scans=model == "fcp") for model in TABLE_1}
    own: dict[str, Any] = {"averages": True, "curvatures": CURVATURES, "resolutions": True}
    own |= {"target_barrier": NO_BARRIER, "still_gradients": STEPS}
    if scale == "small":
        # Twice as many runs are kept as there are pairs, so that no two paths of a set share a run.
        sizes = {"fcp": (62, 20, 5000), "lenet": (12, 4, 500), "autoencoder": (25, 8, 2000), "lstm": (12, 4, 500)}
    elif scale == "full":
        sizes = dict.fromkeys(TABLE_1, (RUNS, PAIRS, variant_train_size(variant)))
        own |= {"test_curve": TEST_IMAGES, "initial": "separate", "pairing": "random"}
        own |= {"still_gradients": STEPS // 10}
    else:
        raise ValueError(f"scale is {scale!r}; expected one of {', '.join(SCALES)}")
    if targets not in TARGETS:
        raise ValueError(f"targets are {targets!r}; expected one of {', '.join(TARGETS)}")
    networks = {}
    for model, (runs, pairs, images) in sizes.items():
        sgd, lbfgs = (TABLE_1[model][o][0] if targets == "table1" else 0.0 for o in ("sgd", "lbfgs-gss"))
        of_model = {**own, "sgd_floor": sgd, "loss_floor": lbfgs, "scans": model == "fcp"}
        networks[model] = NetworkPlan(runs, pairs, images, **of_model)
    return networks


@dataclass(frozen=True)
class Plan:
    """A campaign: its networks with their numbers, and its data.

    Attributes
    ----------
    scale, variant
        ``"smoke"``, ``"small"`` or ``"full"``; ``"paper"``, or ``"authors"``, from whose code the printed tables come.
    data, data_key
        Where the images are read from, and which they are.
    seed
        Of the choice of pairs.
    networks
        By model.
    device
        ``"cpu"`` or ``"gpu"``: where the networks are computed.
    n_test
        Number of test images; None if it is not known.
    """

    scale: str
    variant: str
    data: str
    data_key: str
    seed: int = 0
    networks: dict[str, NetworkPlan] = field(default_factory=dict)
    device: str = "cpu"
    n_test: int | None = None

    @classmethod
    def make(
        cls,
        scale: str,
        variant: str = "authors",
        *,
        data: str,
        data_key: str,
        only: tuple[str, ...] = (),
        seed: int = 0,
        device: str = "cpu",
        targets: str = "table1",
        overrides: Mapping[str, Any] | None = None,
    ) -> Plan:
        """Return a scale's plan, with some numbers replaced.

        Parameters
        ----------
        targets
            Where runs end. ``"table1"``: at the mean training loss of their network and optimiser in Table 1, or after
            their epochs. ``"none"``: after their epochs. Runs of scale ``"smoke"`` reach no target.
        only
            Networks; all if empty.
        overrides
            Attributes of :class:`NetworkPlan` for all networks, and for one under the network's name.

        Raises
        ------
        ValueError
            If a name is unknown or a number out of range.
        """
        unknown = set(only) - set(TABLE_1)
        if unknown:
            raise ValueError(f"no network is called {sorted(unknown)[0]!r}; expected some of {', '.join(TABLE_1)}")
        known = {f.name: f.type for f in fields(NetworkPlan)}
        networks = {}
        for model, network in _scale(scale, variant, targets).items():
            own = {k: v for k, v in (overrides or {}).items() if k not in TABLE_1}
            of_model = (overrides or {}).get(model, {})
            if not isinstance(of_model, Mapping):
                raise ValueError(f"{model} is {of_model!r}; expected a table of numbers, [{model}]")
            own |= of_model
            for name, value in own.items():
                if name not in known:
                    raise ValueError(f"a plan has no {name!r}; expected some of {', '.join(known)}")
                kinds: Any = {"int": Integral, "float": Real, "bool": (bool, np.bool_), "str": str}[str(known[name])]
                if not isinstance(value, kinds) or (isinstance(value, bool) and known[name] != "bool"):
                    raise ValueError(f"{name} is {value!r}; expected {known[name]}")
            if not only or model in only:
                networks[model] = replace(network, **own)
        if device not in DEVICES:
            raise ValueError(f"device is {device!r}; expected one of {', '.join(DEVICES)}")
        if not isinstance(seed, Integral) or seed < 0:
            raise ValueError(f"seed is {seed!r}; expected a whole number of at least 0")
        return cls(scale, variant, data, data_key, int(seed), networks, device)

    def within(self, n_images: int, n_test: int | None = None) -> Plan:
        """Return the plan with no more training images than there are, and as many updates as before.

        Parameters
        ----------
        n_images, n_test
            Numbers of training and of test images.
        """
        cut = {m: replace(n, train_size=min(n.train_size, n_images)) for m, n in self.networks.items()}
        return replace(self, networks=cut, n_test=n_test)

    def as_dict(self) -> dict[str, Any]:
        """Return the plan as JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> Plan:
        """Return the plan that :meth:`as_dict` was called on."""
        networks = {model: NetworkPlan(**network) for model, network in numbers["networks"].items()}
        return cls(**{**numbers, "networks": networks})


def image_counts(plan: Mapping[str, Any], model: str) -> dict[str, int]:
    """Return the numbers of images behind a network's results: ``train``, ``test_landscape`` and ``test_curves``.

    Parameters
    ----------
    plan
        From :meth:`Plan.as_dict`.
    """
    network, there = plan["networks"][model], plan.get("n_test") or TEST_IMAGES
    return {
        "train": network["train_size"],
        "test_landscape": min(network["train_size"], there),
        "test_curves": min(network["test_curve"], there),
    }


def read_overrides(path: str | Path) -> dict[str, Any]:
    """Read overrides from a TOML file; ValueError names the file if it is none."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from None


def save_plan(plan: Plan, store: Store, change: bool = False) -> None:
    """Write the plan to its store, beside that of other networks; arguments and errors of :func:`combined`."""
    with store.locked("plan"):
        write_json(store.folder / "plan.json", combined(plan, store, change).as_dict())


def combined(plan: Plan, store: Store, change: bool = False) -> Plan:
    """Return the plan together with the folder's plan of other networks; nothing is written.

    Parameters
    ----------
    change
        Whether a network's numbers may change. Results that still apply are used, the others are left unused.

    Raises
    ------
    ValueError
        If the folder holds a campaign of another variant, scale or seed, on other data or another device; or, without
        ``change``, with other numbers, which it names.
    """
    if not (store.folder / "plan.json").exists():
        return plan
    before = load_plan(store)
    for name in ("variant", "data_key", "scale", "seed", "device"):
        if getattr(before, name) != getattr(plan, name):
            raise ValueError(
                f"{store.folder} holds a campaign with {name} {getattr(before, name)!r}, not "
                f"{getattr(plan, name)!r}; name another folder"
            )
    if not change and (changes := _changes(before, plan)):
        raise ValueError(
            f"{store.folder} holds a campaign with other numbers: {', '.join(changes)}; give them as they "
            "were, name another folder, or say --change-plan to continue with the new ones"
        )
    networks = {**before.networks, **plan.networks}
    return replace(plan, networks={model: networks[model] for model in TABLE_1 if model in networks})


def _changes(before: Plan, plan: Plan) -> list[str]:
    """Return the numbers that differ between two plans, as "fcp's runs was 12, is 8"."""
    return [
        f"{model}'s {name} was {was}, is {value}"
        for model, network in plan.networks.items()
        if model in before.networks
        for name, value in vars(network).items()
        if (was := getattr(before.networks[model], name)) != value
    ]


def load_plan(store: Store) -> Plan:
    """Read the plan of a folder.

    Raises
    ------
    ValueError
        If the folder holds none.
    """
    path = store.folder / "plan.json"
    if not path.exists() and (store.folder / "barriers.json").exists():
        raise ValueError(f"{store.folder} holds barriers of sets, no campaign; their command resumes and shows them")
    if not path.exists():
        raise ValueError(f"{store.folder} holds no campaign; minilandscape reproduce --out {store.folder} makes one")
    try:
        return Plan.from_dict(read_json(path))
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} is no plan, or is damaged; restore it, or name another folder") from None
