"""The plan: what the paper runs, at a scale, as tasks."""

from __future__ import annotations

import tomllib
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from math import ceil, inf
from pathlib import Path
from typing import Any

import numpy as np

from ..backend import DEVICES
from ..networks import MODELS, variant_train_size
from .store import Store
from .task import Task
from .work import KEPT

WORK = "minilandscape.campaign.work"
OPTIMIZERS = ("lbfgs-gss", "sgd")
SCALES = ("smoke", "small", "full")
#: SGD's training losses of Table 1, at which its runs end.
SGD_FLOORS = {"fcp": 6.21e-4, "lenet": 1.76e-5, "autoencoder": 4.57e-2, "lstm": 1.35e-2}
#: Updates of SGD: 75 epochs of 60,000 images.
UPDATES = 70_000
#: A search of no more steps than this ends when L stands still, which it mostly does before.
STILL = 500
#: λ of the scan that tests whether heights depend on it.
SCAN = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2)
#: Loss floors of L-BFGS-GSS beside 1e-8, on which its lengths and barriers may depend.
OTHER_FLOORS = (1e-6, 1e-12)


@dataclass(frozen=True)
class Ends:
    """Where a network's runs and searches end, to plan with.

    Attributes
    ----------
    updates
        Of SGD, until it is at its floor.
    iterations
        Of L-BFGS-GSS, until it is at its own.
    still
        Gradients of L until a search between vectors of L-BFGS-GSS stands still: training weights on the training
        landscape, test weights on it, test weights on the test landscape.
    """

    updates: int
    iterations: int
    still: tuple[int, int, int]


#: Means of the campaigns of scale small; of LeNet one run of each, its searches guessed.
SMALL_ENDS = {
    "fcp": Ends(15_000, 120, (145, 35, 35)),
    "lenet": Ends(13_000, 150, (100, 35, 35)),
    "autoencoder": Ends(66_000, 1000, (310, 310, 85)),
    "lstm": Ends(2_100, 160, (630, 35, 35)),
}
#: With all images SGD is at Table 1's losses when its updates end.
FULL_ENDS = {
    model: replace(ends, updates=UPDATES, iterations=300 if model == "fcp" else 1000)
    for model, ends in SMALL_ENDS.items()
}
#: Gradients of L until a search between vectors of SGD stands still: it mostly finds no barrier after its least steps.
SGD_STILL = 40


@dataclass(frozen=True)
class NetworkPlan:
    """What is run of one network.

    Attributes
    ----------
    runs
        Initialisations for each optimiser, of which the 48/75 with the lowest training losses are kept.
    pairs
        Random distinct pairs of each set; as many as there are, where there are fewer. No vector is in two of them as
        long as they are no more than half as many as the vectors.
    train_size
        Training images, and images of the test landscape as far as there are.
    test_curve
        Test images that the curves are measured on.
    sgd_updates, sgd_floor, lr
        Of SGD: mini-batches of 64 in all, the training loss that ends a run, and the learning rate.
    iterations, loss_floor
        Of L-BFGS-GSS.
    steps
        Of Adam on paths, as published.
    still_steps
        The most steps of the quasi-Newton solver, which else goes on until L stands still; 0 leaves these paths out.
    n_terms, n_points, lam
        Of the paths: N_F, M and λ.
    scans
        Whether λ is scanned on one pair, and other loss floors are tried.
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
    steps: int = 100
    still_steps: int = STILL
    n_terms: int = 10
    n_points: int = 50
    lam: float = 1e-4
    scans: bool = False

    def __post_init__(self) -> None:
        least = dict.fromkeys(("runs", "pairs", "train_size", "test_curve", "sgd_updates", "iterations", "steps"), 1)
        least |= {"n_terms": 1, "n_points": 3, "still_steps": 0, "sgd_floor": 0, "loss_floor": 0, "lam": 0}
        for name, number in least.items():
            if not number <= getattr(self, name) < inf:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {number}")
        if not 0 < self.lr < inf:
            raise ValueError(f"lr is {self.lr}; expected a number above 0")
        if self.kept < 2:
            raise ValueError(f"runs is {self.runs}, of which {self.kept} is kept; expected at least 2 runs to pair")

    @property
    def kept(self) -> int:
        """Runs that are kept."""
        return ceil(self.runs * KEPT[0] / KEPT[1])

    @property
    def searches(self) -> dict[str, str]:
        """What the searches of paths are called."""
        still = "until it stands still" if self.still_steps >= STILL else f"{self.still_steps} quasi-Newton steps"
        return {"adam": f"{self.steps} Adam steps", "still": still}

    @property
    def sgd_epochs(self) -> int:
        """Passes over the images that make as many updates."""
        return max(1, round(self.sgd_updates / ceil(self.train_size / 64)))


def _scale(scale: str, variant: str) -> dict[str, NetworkPlan]:
    if scale == "smoke":
        common: dict[str, Any] = {"runs": 3, "pairs": 1, "test_curve": 100, "steps": 4, "still_steps": 4}
        common |= {"n_terms": 4, "n_points": 12}
        small = {"sgd_updates": 40, "iterations": 6}
        return {model: NetworkPlan(train_size=128, **common, **small, scans=model == "fcp") for model in MODELS}
    if scale == "small":
        # Twice as many runs are kept as there are pairs, so that no two paths of a set share a run.
        sizes = {"fcp": (62, 20, 5000), "lenet": (12, 4, 500), "autoencoder": (25, 8, 2000), "lstm": (18, 6, 500)}
    elif scale == "full":
        sizes = dict.fromkeys(MODELS, (75, 300, variant_train_size(variant)))
    else:
        raise ValueError(f"scale is {scale!r}; expected one of {', '.join(SCALES)}")
    return {
        model: NetworkPlan(runs, pairs, images, sgd_floor=SGD_FLOORS[model], scans=model == "fcp")
        for model, (runs, pairs, images) in sizes.items()
    }


@dataclass(frozen=True)
class Plan:
    """A campaign: which networks, how much of each, on which data.

    Attributes
    ----------
    scale, variant
        ``"smoke"``, ``"small"`` or ``"full"``; ``"paper"`` or ``"authors"``, whose code the printed tables come from.
    data, data_key
        Where the images are read from, and what they are.
    seed
        Of the choice of pairs.
    networks
        By model.
    device
        ``"cpu"`` or ``"gpu"``: where the networks are computed.
    """

    scale: str
    variant: str
    data: str
    data_key: str
    seed: int = 0
    networks: dict[str, NetworkPlan] = field(default_factory=dict)
    device: str = "cpu"

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
        overrides: Mapping[str, Any] | None = None,
    ) -> Plan:
        """A scale's plan, with some numbers given otherwise.

        Parameters
        ----------
        only
            Networks; all if empty.
        overrides
            Attributes of :class:`NetworkPlan` for all networks, and for one under the network's name.

        Raises
        ------
        ValueError
            If a name is unknown or a number out of range.
        """
        unknown = set(only) - set(MODELS)
        if unknown:
            raise ValueError(f"no network is called {sorted(unknown)[0]!r}; expected some of {', '.join(MODELS)}")
        known = {f.name: f.type for f in fields(NetworkPlan)}
        networks = {}
        for model, network in _scale(scale, variant).items():
            own = {k: v for k, v in (overrides or {}).items() if k not in MODELS}
            of_model = (overrides or {}).get(model, {})
            if not isinstance(of_model, Mapping):
                raise ValueError(f"{model} is {of_model!r}; expected a table of numbers, [{model}]")
            own |= of_model
            for name, value in own.items():
                if name not in known:
                    raise ValueError(f"a plan has no {name!r}; expected some of {', '.join(known)}")
                kinds: Any = {"int": int, "float": (int, float), "bool": bool}[str(known[name])]
                if not isinstance(value, kinds) or (isinstance(value, bool) and known[name] != "bool"):
                    raise ValueError(f"{name} is {value!r}; expected {known[name]}")
            if not only or model in only:
                networks[model] = replace(network, **own)
        if device not in DEVICES:
            raise ValueError(f"device is {device!r}; expected one of {', '.join(DEVICES)}")
        return cls(scale, variant, data, data_key, seed, networks, device)

    def within(self, n_images: int) -> Plan:
        """The plan with no more training images than there are, and as many updates all the same."""
        cut = {m: replace(n, train_size=min(n.train_size, n_images)) for m, n in self.networks.items()}
        return replace(self, networks=cut)

    def facts(self) -> dict[str, Any]:
        """The plan as JSON."""
        return asdict(self)

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Plan:
        """What :meth:`facts` gave."""
        networks = {model: NetworkPlan(**network) for model, network in facts["networks"].items()}
        return cls(**{**facts, "networks": networks})

    # Tasks -------------------------------------------------------------------------------------------------------

    def tasks(self, costs: Mapping[str, Costs] | None = None) -> list[Task]:
        """All tasks, each after those that it needs; the cheap networks first."""
        tasks: list[Task] = []
        for model in self.networks:
            of = NetworkTasks(self, model, (costs or {}).get(model))
            tasks += of.everything()
        return list({task.id: task for task in tasks}.values())  # the plan's own λ is among those of the scan

    def network_tasks(self, model: str) -> NetworkTasks:
        """The tasks of one network by what they are."""
        return NetworkTasks(self, model, None)


def read_overrides(path: str | Path) -> dict[str, Any]:
    """The overrides that a TOML file holds; ValueError names the file where it is none."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a TOML file: {error}") from None


@dataclass(frozen=True)
class Costs:
    """Seconds on one core, measured for a few steps: an update of SGD, a loss of and a gradient over the training
    images, and a gradient of a path's L."""

    update: float
    value: float
    gradient: float
    path: float


class NetworkTasks:
    """The tasks of one network."""

    def __init__(self, plan: Plan, model: str, costs: Costs | None) -> None:
        self.plan, self.model, self.network, self.costs = plan, model, plan.networks[model], costs
        self._data = {"data_key": plan.data_key}
        # On a CPU it goes without saying, and results from before it was said count.
        self._device = {} if plan.device == "cpu" else {"device": plan.device}
        self._hints = {"data": plan.data}
        self._sets: dict[tuple[str, float | None], Task] = {}
        self.ends = (FULL_ENDS if plan.scale == "full" else SMALL_ENDS)[model]

    def everything(self) -> list[Task]:
        """All, in order."""
        tasks: list[Task] = []
        for optimizer in OPTIMIZERS:
            tasks += [*self.runs(optimizer), self.set_of(optimizer)]
        for solver in self.solvers:
            for landscape, optimizer, weights in self.sets:
                tasks += self.paths(landscape, optimizer, weights, solver)
        if self.network.scans:
            for lam in SCAN:
                tasks += [self.scan(optimizer, lam, solver) for solver in self.solvers for optimizer in OPTIMIZERS]
            for floor in OTHER_FLOORS:
                tasks += [*self.runs("lbfgs-gss", floor), self.set_of("lbfgs-gss", floor)]
                tasks += [t for s in self.solvers for t in self.paths("train", "lbfgs-gss", "train", s, floor)]
        return tasks

    @property
    def solvers(self) -> tuple[str, ...]:
        """``"adam"`` with the published budget, ``"still"`` with the quasi-Newton solver until L stands still."""
        return ("adam", "still") if self.network.still_steps else ("adam",)

    @property
    def sets(self) -> list[tuple[str, str, str]]:
        """(landscape, optimiser, weights) of the heights of Fig. 4, then of Fig. S2."""
        both = ("train", "test")
        return [("train", o, w) for o in OPTIMIZERS for w in both] + [("test", o, "test") for o in OPTIMIZERS]

    def runs(self, optimizer: str, floor: float | None = None) -> list[Task]:
        """The training runs of an optimiser."""
        return list(self.set_of(optimizer, floor).needs)

    def _runs(self, optimizer: str, floor: float | None) -> list[Task]:
        n, plan, costs = self.network, self.plan, self.costs
        options: dict[str, Any] = {"optimizer": optimizer, "variant": plan.variant, "train_size": n.train_size}
        options |= self._device
        if optimizer == "sgd":
            options |= {"epochs": n.sgd_epochs, "lr": n.lr, "loss_floor": n.sgd_floor}
        else:
            options |= {"epochs": n.iterations, "loss_floor": n.loss_floor if floor is None else floor}
        cost = 0.0
        if costs is not None:
            measured = costs.value * (1 + n.test_curve / n.train_size)  # both curves, every epoch
            if optimizer == "sgd":
                part = min(1.0, self.ends.updates / n.sgd_updates)
                cost = part * (n.sgd_updates * costs.update + n.sgd_epochs * measured)
            else:
                iterations = min(n.iterations, self.ends.iterations)
                cost = iterations * (costs.gradient + 6 * costs.value + measured)
        return [
            Task(
                f"{self.model}-{self._label(optimizer, floor)}-seed{seed:03d}",
                f"{WORK}:train_run",
                {"model": self.model, "test_curve": n.test_curve, "train": {**options, "seed": seed}, **self._data},
                hints=self._hints,
                cost=cost,
            )
            for seed in range(n.runs)
        ]

    def set_of(self, optimizer: str, floor: float | None = None) -> Task:
        """The solutions that are kept of an optimiser's runs."""
        if (optimizer, floor) not in self._sets:  # all paths of a set share it, and its runs
            seeds = list(range(self.network.runs))
            name = f"{self.model}-{self._label(optimizer, floor)}-set"
            runs = tuple(self._runs(optimizer, floor))
            self._sets[optimizer, floor] = Task(name, f"{WORK}:solution_set", {"seeds": seeds}, runs)
        return self._sets[optimizer, floor]

    def pairs(self, optimizer: str) -> list[tuple[int, int]]:
        """Random distinct pairs of places in a set, the same of training and of test weights.

        They come in rounds, in which every vector has one partner. So all vectors are used equally often, and the pairs
        of the first round, which share none, are independent of each other.
        """
        k = self.network.kept
        n = min(self.network.pairs, k * (k - 1) // 2)
        rng = np.random.default_rng([self.plan.seed, zlib.crc32(f"{self.model} {optimizer}".encode())])
        chosen: dict[tuple[int, int], tuple[int, int]] = {}
        while len(chosen) < n:
            order = rng.permutation(k)
            for i, j in zip(order[::2].tolist(), order[1::2].tolist(), strict=False):
                if len(chosen) < n:
                    chosen.setdefault((min(i, j), max(i, j)), (i, j))
        return list(chosen.values())

    def paths(
        self, landscape: str, optimizer: str, weights: str, solver: str, floor: float | None = None
    ) -> list[Task]:
        """The paths of a set on a landscape."""
        return [
            self._path(landscape, optimizer, weights, solver, pair, k, self.network.lam, floor)
            for k, pair in enumerate(self.pairs(optimizer))
        ]

    def scan(self, optimizer: str, lam: float, solver: str) -> Task:
        """The first pair of a set of training weights with another λ."""
        return self._path("train", optimizer, "train", solver, self.pairs(optimizer)[0], 0, lam)

    def _path(
        self,
        landscape: str,
        optimizer: str,
        weights: str,
        solver: str,
        pair: tuple[int, int],
        k: int,
        lam: float,
        floor: float | None = None,
    ) -> Task:
        n = self.network
        path: dict[str, Any] = {"n_terms": n.n_terms, "n_points": n.n_points, "lam": lam}
        rule: dict[str, Any] = {}
        if solver == "adam":
            path |= {"solver": "adam", "steps": n.steps}
        else:
            path |= {"solver": "auto", "steps": "auto" if n.still_steps >= STILL else n.still_steps}
            rule = {"rule": "stands still above the chord for ten steps"}  # results by an older rule do not count
        scan = "" if lam == n.lam else f"-lam{lam:.0e}"
        options: dict[str, Any] = {"model": self.model, "variant": self.plan.variant}
        options |= {"landscape": landscape, "weights": weights}
        options |= {"images": n.train_size, "pair": list(pair), "path": path, **self._data, **rule, **self._device}
        cost = 0.0
        if self.costs is not None:
            still = SGD_STILL
            if optimizer == "lbfgs-gss":
                places = (("train", "train"), ("test", "train"), ("test", "test"))
                still = self.ends.still[places.index((weights, landscape))]
            cost = self.costs.path * (n.steps if solver == "adam" else min(still, 3 * n.still_steps))
        return Task(
            f"{self.model}-{self._label(optimizer, floor)}-{weights}-on-{landscape}-{solver}{scan}-pair{k:03d}",
            f"{WORK}:pair_path",
            options,
            (self.set_of(optimizer, floor),),
            hints=self._hints,
            cost=cost,
        )

    @staticmethod
    def _label(optimizer: str, floor: float | None) -> str:
        return optimizer if floor is None else f"{optimizer}-floor{floor:.0e}"


def measure_costs(plan: Plan, model: str, data: Any) -> Costs:
    """Measures a few steps of a network on this machine, on one core or on the plan's GPU."""
    import time
    from dataclasses import replace as cut

    from ..backend import set_threads, to_host
    from ..networks import initial_vector, network_landscape
    from ..paths import FourierPathFinder

    n = plan.networks[model]
    few = cut(data, train=data.train[: min(n.train_size, 500)])
    part = n.train_size / len(few.train)
    land = network_landscape(model, few.train, plan.variant, plan.device)
    a, b = (initial_vector(model, np.random.default_rng(seed)) for seed in (0, 1))

    def seconds(work: Any, times: int) -> float:
        for _ in range(1 if plan.device == "cpu" else 2):  # a GPU records the second
            work()
        started = time.perf_counter()
        for _ in range(times):
            work()
        return (time.perf_counter() - started) / times

    set_threads(1)
    try:
        batch = np.arange(min(64, len(few.train)))
        update = seconds(lambda: to_host(land.batch_values_and_gradients(a[None], batch)[0]), 10)
        value = seconds(lambda: land.values(a[None]), 3) * part
        gradient = seconds(lambda: land.values_and_gradients(a[None]), 3) * part
        states = FourierPathFinder(land, n.n_terms, n.n_points).steps(a, b)
        path = seconds(lambda: next(states), 1) * part
    finally:
        set_threads(None)
    return Costs(update, value, gradient, path)


def save_plan(plan: Plan, store: Store, change: bool = False) -> None:
    """Keeps the plan with its results, beside those of other networks.

    Parameters
    ----------
    change
        Whether a network's numbers may be others than before. Results that still count are kept, the others stay
        behind unused.

    Raises
    ------
    ValueError
        If the folder holds a campaign on other data, another device, of the other variant, scale or seed; or, without
        ``change``, with other numbers. It names them.
    """
    from ..files import write_json

    path = store.folder / "plan.json"
    with store.locked("plan"):
        if path.exists():
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
                    "were, name another folder, or say --change-plan to go on with the new ones"
                )
            plan = replace(plan, networks={**before.networks, **plan.networks})
        write_json(path, plan.facts())


def _changes(before: Plan, plan: Plan) -> list[str]:
    """ "fcp's runs was 12, is 8", …: the numbers of networks in both plans that differ."""
    return [
        f"{model}'s {name} was {was}, is {value}"
        for model, network in plan.networks.items()
        if model in before.networks
        for name, value in vars(network).items()
        if (was := getattr(before.networks[model], name)) != value
    ]


def save_costs(costs: Mapping[str, Costs], store: Store) -> None:
    """Keeps measured costs beside the plan, so that others can tell how long it still takes."""
    from ..files import write_json

    with store.locked("plan"):
        kept = {**load_costs(store), **costs}
        write_json(store.folder / "costs.json", {model: vars(cost).copy() for model, cost in kept.items()})


def load_costs(store: Store) -> dict[str, Costs]:
    """The costs of a folder, by network; none where none were measured."""
    from ..files import read_json

    try:
        return {model: Costs(**cost) for model, cost in read_json(store.folder / "costs.json").items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError):  # they are estimates, and do without
        return {}


def load_plan(store: Store) -> Plan:
    """The plan of a folder.

    Raises
    ------
    ValueError
        If it holds none.
    """
    from ..files import read_json

    path = store.folder / "plan.json"
    if not path.exists():
        raise ValueError(f"{store.folder} holds no campaign; minilandscape reproduce --out {store.folder} makes one")
    try:
        return Plan.from_facts(read_json(path))
    except (KeyError, TypeError, AttributeError):
        raise ValueError(f"{path} is no plan, or is damaged; restore it, or name another folder") from None
