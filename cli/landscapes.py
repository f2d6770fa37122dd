"""Which landscape the vectors of a command lie on: a network's loss over images, or one of the user's own."""

from __future__ import annotations

import importlib
import inspect
import sys
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from .inputs import Vector, load_data, settle
from .options import NETWORKS, TRAIN_ONLY, UsageError, one_of, refuse_given
from .output import note

Landscape = Annotated[
    str | None,
    typer.Option(
        help="Your own landscape: MODULE:NAME of a function x -> (value, gradient), or of a function without arguments "
        "that returns a landscape, as my_energy:make.",
        metavar="MODULE:NAME",
    ),
]
Split = Annotated[
    str,
    typer.Option(
        help="The images of the landscape: train or test.", callback=one_of("train", "test"), rich_help_panel=NETWORKS
    ),
]
Limit = Annotated[
    int | None, typer.Option(min=1, help="Only the first N images of the split.", rich_help_panel=NETWORKS)
]


#: Options of a network and its images.
OF_NETWORKS = ("model", "variant", "data", "train_size", "split", "limit", "device", "dtype")


def check_own(context: typer.Context) -> None:
    """Refuses options that would change nothing: of networks beside a landscape of the user's own, of the training
    images beside ``--split test``."""
    if context.params["landscape"] is not None:
        refuse_given(context, OF_NETWORKS, "options of networks, without effect on --landscape")
    elif context.params["split"] == "test":
        refuse_given(context, ("train_size",), TRAIN_ONLY)
    elif context.params["limit"] is not None and context.params["limit"] <= (context.params["train_size"] or 0):
        refuse_given(context, ("train_size",), f"without effect since --limit takes {context.params['limit']} images")


@dataclass(frozen=True)
class Where:
    """The options that name a landscape."""

    own: str | None
    model: str
    variant: str | None
    data: str
    train_size: int | None
    split: str
    limit: int | None
    device: str
    dtype: str

    def landscape(self, vectors: list[Vector]) -> tuple[Any, dict[str, Any]]:
        """The landscape of some vectors, and what a result says of where they lie."""
        from minilandscape.networks import network_landscape

        if self.own is not None:
            return _own_landscape(self.own), {"landscape": self.own}
        name, chosen = settle(vectors, self.model, self.variant, "; a landscape of your own is named by --landscape")
        mnist = load_data(self.data, self.train_size, chosen, self.device)
        every = getattr(mnist, self.split)
        images = every[: self.limit]
        if self.limit is not None and len(images) < self.limit:
            note(f"--limit asks for {self.limit:,} images; there are {len(images):,}, and all of them are used")
        land = network_landscape(name, images, variant=chosen, device=self.device, dtype=self.dtype)
        part = "all" if len(images) == len(every) else f"the first {len(images):,} of"
        note(f"landscape: the loss over {part} {len(every):,} {'training' if self.split == 'train' else 'test'} images")
        facts = {"model": name, "variant": chosen, "key": mnist.key, "split": self.split, "n_images": len(images)}
        facts["n_images_of_split"] = len(getattr(mnist, self.split))
        return land, {**facts, "remark": mnist.remark} if mnist.remark else facts


def _own_landscape(spec: str) -> Any:
    """The landscape that MODULE:NAME is, or returns when called; the current folder is searched first."""
    module, colon, name = spec.partition(":")
    if not colon or not name or not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(f"--landscape is {spec!r}; expected MODULE:NAME, such as my_energy:make")
    sys.path.insert(0, "")
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        without = f"; a module is named without .py: {module[:-3]}:{name}" if module.endswith(".py") else ""
        raise ValueError(f"--landscape {spec}: no module named {error.name!r} here or installed{without}") from None
    except (Exception, SystemExit) as error:  # the user's own code can raise anything, or end the program
        raise ValueError(f"--landscape {spec}: {module} raised {type(error).__name__}: {error}") from error
    if not hasattr(loaded, name):
        raise ValueError(f"--landscape {spec}: {module} has no {name!r}")
    found = getattr(loaded, name)
    if not _is_factory(spec, found):
        return found
    try:
        made = found()
    except (Exception, SystemExit) as error:
        raise ValueError(f"--landscape {spec}: {name}() raised {type(error).__name__}: {error}") from error
    if not (callable(made) or hasattr(made, "values_and_gradients")):
        raise ValueError(
            f"--landscape {spec}: {name}() returned {type(made).__name__}; "
            "expected a landscape, or a function of a point, x -> (value, gradient)"
        )
    return made


def _is_factory(spec: str, found: Any) -> bool:
    """Whether it is to be called for the landscape; it is one itself if it takes a point, or has a landscape's methods.

    Raises
    ------
    ValueError
        If it is neither.
    """
    if not isinstance(found, type) and hasattr(found, "values_and_gradients"):
        return False
    expected = "expected a function that makes a landscape and takes no arguments, or one of a point, "
    expected += "x -> (value, gradient)"
    if not callable(found):
        raise ValueError(f"--landscape {spec} is {type(found).__name__}; {expected}")
    try:
        signature = inspect.signature(found)
    except ValueError:  # of compiled functions, which may have none
        return True
    if _takes(signature, 0):
        return True
    if isinstance(found, type) or not _takes(signature, 1):
        raise ValueError(f"--landscape {spec} takes the arguments {signature}; {expected}")
    return False


def _takes(signature: inspect.Signature, n: int) -> bool:
    """Whether a call with n arguments would go through."""
    try:
        signature.bind(*range(n))
    except TypeError:
        return False
    return True
