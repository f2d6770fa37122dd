"""Which landscape the vectors of a command lie on: a network's loss over images, or one of the user's own."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import typer

from minilandscape.display import Row

from .hints import (
    about_landscape,
    file_is_missing,
    is_checkpoint,
    no_checkpoint_landscape,
    no_name_of_landscape,
    path_for_weights,
)
from .inputs import Vector, load_data, one_vector, read_vector_file, resolve_network
from .options import (
    LANDSCAPE,
    NETWORKS,
    TRAIN_ONLY,
    Command,
    Data,
    Device,
    Dtype,
    Model,
    TrainSize,
    Variant,
    choice,
    file_and_row,
    refuse_given,
    replace_parameter,
)
from .output import note

Landscape = Annotated[
    str | None,
    typer.Option(
        help="Your own landscape: MODULE:NAME of a function x -> (value, gradient), or of a function without arguments "
        "that returns a landscape, such as a JaxLandscape, or a PyTorch module with its loss and data, as my_net:make.",
        metavar="MODULE:NAME",
        rich_help_panel=LANDSCAPE,
    ),
]
Split = Annotated[
    str, typer.Option(help="The images that the loss is over.", rich_help_panel=NETWORKS, **choice("train", "test"))
]
Limit = Annotated[
    int | None,
    typer.Option(min=1, help="Only the first N images of the split.", metavar="N", rich_help_panel=NETWORKS),
]


@dataclass(frozen=True)
class Where:
    """Where the vectors of a command lie: the options that name a landscape.

    The fields are the options of every command that :func:`on_landscape` gives them to.
    """

    landscape: Landscape = None
    split: Split = "train"
    limit: Limit = None
    model: Model = "auto"
    variant: Variant = None
    data: Data = "auto"
    train_size: TrainSize = None
    device: Device = "cpu"
    dtype: Dtype = "float32"

    def check(self, context: typer.Context) -> None:
        """Refuses options that would change nothing: of networks beside a landscape of the user's own, of the training
        images beside ``--split test``."""
        if self.landscape is not None:
            refuse_given(context, OF_NETWORKS, "options of networks, without effect on --landscape")
        elif self.split == "test":
            refuse_given(context, ("train_size",), TRAIN_ONLY)
        elif self.limit is not None and self.limit <= (self.train_size or 0):
            refuse_given(context, ("train_size",), f"without effect since --limit takes {self.limit} images")

    def open(
        self, files: Sequence[str], more: Sequence[Vector] = (), single: bool = True, each: bool = False
    ) -> tuple[Any, dict[str, Any], list[Vector]]:
        """The landscape, what a result says of it, and the vectors of some files.

        Files other than .npy are those that a landscape of the user's own reads itself, such as checkpoints.

        Parameters
        ----------
        more
            Further vectors on the landscape.
        single
            Whether each file names one vector.
        each
            Whether vectors are measured one by one, each with :func:`alone`.
        """

        def read(file: str) -> list[Vector]:
            return [one_vector(file)] if single else read_vector_file(file)

        if self.landscape is None:
            vectors = [vector for file in files for vector in read(file)]
            if more:
                _of_one_size([*vectors, *more])
            return *self.of_vectors([*vectors, *more]), vectors
        land = _own_landscape(self.landscape)
        own = [file for file in files if hasattr(land, "read") and _holds_buffers(file)]
        for file in own:
            if not Path(file).exists():
                raise file_is_missing(file)
            if (error := path_for_weights(file)) is not None:
                raise error
        if getattr(land, "interpolates", False):
            if not own or len(own) < len(files) or (more and len(own) < 2):
                raise ValueError(
                    f"--landscape {self.landscape} interpolates buffers, which no .npy and no path holds; expected the "
                    "checkpoints between which it does, as a.pt b.pt"
                )
            land = land if each else land.between(*own)
        vectors = []
        for file in files:
            if file not in own and is_checkpoint(file_and_row(file)[0]):
                raise no_checkpoint_landscape(file, self.landscape)
            here = alone(land, file) if each else land
            vectors += [Vector(file, None, here.read(file))] if file in own else read(file)
        _of_one_size([*vectors, *more])
        return land, {"landscape": self.landscape}, vectors

    def of_vectors(self, vectors: list[Vector]) -> tuple[Any, dict[str, Any]]:
        """The landscape of some vectors, and what a result says of where they lie."""
        from minilandscape.networks import network_landscape

        if self.landscape is not None:
            return _own_landscape(self.landscape), {"landscape": self.landscape}
        name, chosen = resolve_network(
            vectors, self.model, self.variant, "; a landscape of your own is named by --landscape"
        )
        mnist = load_data(self.data, self.train_size, chosen, self.device)
        every = getattr(mnist, self.split)
        images = every[: self.limit]
        if self.limit is not None and len(images) < self.limit:
            note(f"--limit asks for {self.limit:,} images; there are {len(images):,}, and all of them are used")
        land = network_landscape(name, images, variant=chosen, device=self.device, dtype=self.dtype)
        part = "all" if len(images) == len(every) else f"the first {len(images):,} of"
        note(f"landscape: the loss over {part} {len(every):,} {'training' if self.split == 'train' else 'test'} images")
        metadata = {"model": name, "variant": chosen, "key": mnist.key, "split": self.split, "n_images": len(images)}
        metadata["n_images_of_split"] = len(getattr(mnist, self.split))
        return land, {**metadata, "remark": mnist.remark} if mnist.remark else metadata


def alone(land: Any, file: str) -> Any:
    """The landscape at a checkpoint by itself, with its own buffers where they are not recomputed from the data."""
    return land.between(file) if getattr(land, "takes_buffers", False) and _holds_buffers(file) else land


def measures(land: Any, method: str) -> bool:
    """Whether a landscape has a method that measures losses over samples, and samples for it."""
    return hasattr(land, method) and bool(getattr(land, "n_samples", 1))


def _holds_buffers(file: str) -> bool:
    """Whether a file is a checkpoint, and no array of vectors."""
    return not file_and_row(file)[0].endswith(".npy")


def buffers_row(land: Any, files: Sequence[str]) -> list[Row]:
    """The line that says which buffers checkpoints are measured with; none where there are none."""
    text = getattr(land, "buffers_of_a_state", "") if all(_holds_buffers(file) for file in files) else ""
    return [("buffers", text, "")] if text else []


def _of_one_size(vectors: list[Vector]) -> None:
    """ValueError where vectors hold different numbers of numbers."""
    sizes = {vector.values.size: vector.file for vector in vectors}
    if len(sizes) > 1:
        (a, file_a), (b, file_b) = list(sizes.items())[:2]
        raise ValueError(f"{file_a} holds {a} numbers, {file_b} {b}; expected vectors of one landscape")


def of_module(made: Any) -> Any:
    """A landscape of a PyTorch module that a factory has made with its loss and data; anything else as it is."""
    if "torch" not in sys.modules:
        return made
    from minilandscape.adapters.torch_make import landscape_of

    return landscape_of(made)


def _own_landscape(spec: str) -> Any:
    """The landscape that MODULE:NAME is, or returns when called; the current folder is searched first."""
    from minilandscape.landscape.named import named_landscape

    module, colon, name = spec.partition(":")
    if not colon or not name or not all(part.isidentifier() for part in module.split(".")):
        raise no_name_of_landscape(spec)
    try:
        return named_landscape(spec, convert=of_module)
    except ValueError as error:
        raise ValueError(f"--landscape {error}{about_landscape(spec, error)}") from error


#: Options of a network and its images.
OF_NETWORKS = tuple(each.name for each in fields(Where) if each.name != "landscape")


def on_landscape(**defaults: Any) -> Callable[[Command], Command]:
    """Puts the options of :class:`Where`, some with other defaults, in the place of a command's ``where``."""
    options = {
        name: parameter.replace(default=defaults.get(name, parameter.default))
        for name, parameter in inspect.signature(Where, eval_str=True).parameters.items()
    }

    def with_options(command: Command) -> Command:
        @functools.wraps(command)
        def called(**given: Any) -> None:
            command(where=Where(**{name: given.pop(name) for name in options}), **given)

        return replace_parameter(called, command, "where", options.values())

    return with_options
