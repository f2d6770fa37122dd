"""Samples of a landscape: tensors, tuples and dictionaries of them, data sets and data loaders, read once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
)

#: Shares of the loss and of the samples, inputs and targets.
Batch = tuple[float, float, Any, Any]
#: Samples of a data set that are read twice, to see whether they change.
READ_TWICE = 32
#: Of these, how many are put together at a time.
TOGETHER = 8
#: Why samples may not change.
ONE_FUNCTION = "a landscape is one function, and needs the same samples at every point. Give the data set"


@dataclass(frozen=True)
class Samples:
    """Inputs and targets on a device.

    Attributes
    ----------
    inputs
        A tensor, the module's argument; a tuple, its arguments; or a dictionary, its arguments by name. The first axis
        of every tensor counts the samples.
    targets
        The same, or None: the loss then takes the outputs alone.
    n
        How many samples there are.
    """

    inputs: Any
    targets: Any
    n: int

    def rows(self, index: Any) -> tuple[Any, Any]:
        """Copies, since layers may work in place, of the inputs and targets of a slice or an index tensor."""

        def some(tensor: torch.Tensor) -> torch.Tensor:
            found = tensor[index]
            return found.clone() if isinstance(index, slice) else found

        return mapped(some, self.inputs), mapped(some, self.targets)


@dataclass(frozen=True)
class Batches:
    """Samples, a few at a time, with what their losses add to the loss of all.

    Attributes
    ----------
    samples
        All of them.
    bounds
        (K + 1,): where batches may begin and end.
    shares
        (K + 1,): the weight of all samples before each bound, as a part of the whole; None for a sum.
    whole
        Whether the loss is one of all samples together, which no batches make.
    points
        How many points together have as few samples as lie between two bounds.
    """

    samples: Samples
    bounds: np.ndarray
    shares: np.ndarray | None
    whole: bool
    points: int

    def __call__(self, at_once: int, every: bool = False) -> Iterator[Batch]:
        """Shares of the loss and of the samples, inputs and targets; fewer samples where more points go together.

        Batches that add nothing to the loss are left out unless ``every``: all of their targets are ignored.
        """
        last = len(self.bounds) - 1
        step = last if self.whole else max(1, self.points // at_once)
        for a in range(0, last, step):
            b = min(a + step, last)
            share = 1.0 if self.shares is None else float(self.shares[b] - self.shares[a])
            if share or every:
                rows = slice(int(self.bounds[a]), int(self.bounds[b]))
                yield share, (rows.stop - rows.start) / self.samples.n, *self.samples.rows(rows)

    def of_rows(self, index: torch.Tensor, most: int) -> Iterator[Batch]:
        """Some samples, at most so many at a time, with shares by which their losses estimate that of all."""
        for part in index.split(most):
            yield self.share_of(len(part), len(index)), len(part) / self.samples.n, *self.samples.rows(part)

    def share_of(self, n_part: int, n_few: int) -> float:
        """Weight of the loss of a part of a few samples in the estimate of the loss of all samples."""
        return self.samples.n / n_few if self.shares is None else n_part / n_few


def arguments(inputs: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """What a module is called with."""
    if isinstance(inputs, Mapping):
        return (), dict(inputs)
    return (tuple(inputs), {}) if isinstance(inputs, (tuple, list)) else ((inputs,), {})


def mapped(function: Callable[[torch.Tensor], Any], tree: Any) -> Any:
    """A tree of tuples, lists and dictionaries with its tensors replaced; what else is in it stays."""
    if isinstance(tree, torch.Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: mapped(function, inner) for key, inner in tree.items()}
    if isinstance(tree, (tuple, list)):
        return tuple(mapped(function, inner) for inner in tree)
    return tree


def leaves(tree: Any) -> list[torch.Tensor]:
    """The tensors of a tree."""
    found: list[torch.Tensor] = []
    mapped(found.append, tree)
    return found


def read_samples(inputs: Any, targets: Any, device: torch.device, half: bool = False) -> Samples:
    """Inputs and targets, copied.

    Parameters
    ----------
    inputs
        Tensors, or a Dataset or DataLoader of (input, target), (input, input, …, target), dictionaries or inputs.
    targets
        Tensors; None where the inputs hold them or the loss needs none.
    half
        Whether inputs of 16 bits become float32, as the module has.

    Raises
    ------
    TypeError
        If they are no tensors.
    ValueError
        If they do not fit together, lie on another device, or change from one reading to the next.
    """
    loaded = isinstance(inputs, (DataLoader, Dataset))
    if loaded:
        if targets is not None:
            raise ValueError(f"targets are given beside a {type(inputs).__name__}, which holds its own; give one")
        with torch.random.fork_rng(devices=[]):  # iterators draw a seed of their own, and data sets may draw more
            inputs, targets = _split(_items(inputs))
    counts: dict[int, str] = {}
    for name, tree in (("inputs", inputs), ("targets", targets)):
        if name == "inputs" or tree is not None:
            for n in _counts(name, tree, None if loaded else device):
                counts.setdefault(n, name)
    if len(counts) > 1:
        both = " and ".join(f"{n} {name}" for n, name in counts.items())
        raise ValueError(f"there are {both}; expected as many of all")
    n = next(iter(counts))
    if not n:
        raise ValueError("there are 0 inputs; expected samples")

    def own(tensor: torch.Tensor) -> torch.Tensor:
        copy = tensor.detach().to(device, copy=True)
        return copy.float() if half and copy.dtype in (torch.float16, torch.bfloat16) else copy

    return Samples(mapped(own, inputs), mapped(own, targets), n)


def _counts(name: str, tree: Any, device: torch.device | None) -> list[int]:
    """The numbers of samples of the tensors of inputs or targets, which lie on a device unless that is None."""
    tensors = leaves(tree)
    if not tensors:
        raise TypeError(
            f"{name} is {type(tree).__name__}; expected a tensor whose first axis counts the samples, a tuple or "
            "dictionary of such tensors, a Dataset or a DataLoader: torch.as_tensor of an array"
        )
    for tensor in tensors:
        if not tensor.ndim:
            raise TypeError(f"{name} has a tensor of one number; expected tensors whose first axis counts samples")
        if device is not None and tensor.device != device:
            raise ValueError(f"{name} lie on {tensor.device}, the module on {device}; {name}.to({str(device)!r})")
    return [len(tensor) for tensor in tensors]


def _split(batch: Any) -> tuple[Any, Any]:
    """Inputs and targets of what a loader gives: the last of several is the target."""
    if isinstance(batch, (tuple, list)) and len(batch) == 1:
        return batch[0], None
    if isinstance(batch, (tuple, list)):
        *inputs, targets = batch
        return inputs[0] if len(inputs) == 1 else tuple(inputs), targets
    return batch, None


def _items(source: Any) -> Any:
    """All samples of a data set or loader, collated, in the data set's own order where a loader only shuffles."""
    loader = source if isinstance(source, DataLoader) else DataLoader(source)
    dataset, collate = loader.dataset, loader.collate_fn or torch.utils.data.default_collate
    if isinstance(dataset, IterableDataset):
        return joined(_streamed(loader))
    order = _order(loader, dataset)
    if order is None:
        drawn = _drawn(loader)
        _refuse_augmentation(dataset, drawn, collate if loader.batch_sampler is not None else None)
        return joined(list(loader))
    if not len(order):
        raise ValueError("the data set has no samples")
    _refuse_augmentation(dataset, order, collate)
    items = [dataset[k] for k in order]
    try:
        return collate(items)
    except RuntimeError as error:
        raise ValueError(
            f"the samples cannot be put together ({error}); expected inputs of one shape, or a collate_fn that makes "
            "them so"
        ) from error


def _streamed(loader: Any) -> list[Any]:
    """The batches of a data set that only an iterator reads; ValueError where the first is another when read again."""
    batches = list(loader)
    again = next(iter(loader), None)  # None of a stream that can be read once
    if batches and again is not None and not _same(batches[0], again):
        raise ValueError(
            "the first batch of the data set changes from one reading to the next, as random augmentation and "
            f"shuffling do: {ONE_FUNCTION} with the transforms of evaluation, in a fixed order"
        )
    return batches


def _order(loader: Any, dataset: Any) -> Sequence[int] | None:
    """The samples that a loader draws from, in a fixed order; None where only its own iterator knows them."""
    if not hasattr(dataset, "__len__") or loader.batch_sampler is None:  # a data set of batches
        return None
    sampler = loader.sampler
    standard = type(loader.batch_sampler) is BatchSampler
    if standard and isinstance(sampler, SubsetRandomSampler):
        return sorted(int(k) for k in sampler.indices)
    shuffles = isinstance(sampler, RandomSampler) and not sampler.replacement and sampler.num_samples == len(dataset)
    return range(len(dataset)) if standard and (isinstance(sampler, SequentialSampler) or shuffles) else None


def _drawn(loader: Any) -> list[Any]:
    """The samples that a loader's own sampler draws; ValueError where they are others each time, in whatever order."""
    sampler, in_batches = loader.sampler, loader.batch_sampler is not None
    first, second = (
        [k for batch in loader.batch_sampler for k in batch] if in_batches else list(sampler) for _ in range(2)
    )
    if Counter(map(repr, first)) != Counter(map(repr, second)):
        name = type(sampler if type(loader.batch_sampler) in (type(None), BatchSampler) else loader.batch_sampler)
        raise ValueError(
            f"the loader's {name.__name__} draws other samples each time: {ONE_FUNCTION} itself, or a loader with "
            "shuffle=True, which is read in order"
        )
    return first


def _refuse_augmentation(dataset: Any, order: Sequence[Any], collate: Callable[[Any], Any] | None) -> None:
    """ValueError where a few samples are others when they are read again, or are put together in another way."""
    few = list(order[:: max(1, len(order) // READ_TWICE)][:READ_TWICE])
    items = [dataset[k] for k in few]
    for k, item in zip(few, items, strict=True):
        if not _same(item, dataset[k]):
            raise ValueError(
                f"sample {k} of the data set changes from one reading to the next, as random augmentation does: "
                f"{ONE_FUNCTION} with the transforms of evaluation"
            )
    if collate is None or collate is torch.utils.data.default_collate:
        return
    for start in range(0, len(items), TOGETHER):
        part = items[start : start + TOGETHER]
        if not _same(*_twice(collate, part)):
            raise ValueError(
                "collate_fn puts the same samples together in another way each time, as mixing samples at random does: "
                f"{ONE_FUNCTION} with a collate_fn that draws nothing"
            )


def _twice(collate: Callable[[Any], Any], items: Sequence[Any]) -> tuple[Any, Any]:
    """What some samples are put together to, twice; nothing of those of several shapes, which is said elsewhere."""
    try:
        return collate(list(items)), collate(list(items))
    except RuntimeError:
        return None, None


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))
    try:
        x, y = torch.as_tensor(a), torch.as_tensor(b)
    except (TypeError, ValueError, RuntimeError):  # words and pictures, which the collate_fn sees to
        compare: Any = type(a).__eq__
        return compare is object.__eq__ or bool(a == b)
    return x.shape == y.shape and bool(((x == y) | ((x != x) & (y != y))).all())


def joined(batches: Sequence[Any]) -> Any:
    """Batches put together, tensor by tensor."""
    if not batches:
        raise ValueError("the data loader is empty; an iterator that has been read is, too")
    first = batches[0]
    if isinstance(first, torch.Tensor):
        try:
            return torch.cat(list(batches))
        except RuntimeError as error:
            raise ValueError(
                f"the batches cannot be put together ({error}); expected inputs of one shape in all of them"
            ) from error
    if isinstance(first, Mapping):
        return {key: joined([batch[key] for batch in batches]) for key in first}
    if isinstance(first, (tuple, list)):
        return tuple(joined(part) for part in _transposed(batches))
    return first


def _transposed(batches: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return list(zip(*batches, strict=True))
