"""Recipes, from which another process makes the landscape of a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Protocol

from ..landscape.named import named_landscape
from .networks import landscape_over


class Recipe(Protocol):
    """What a process needs to make the landscape of a pair."""

    @property
    def options(self) -> dict[str, Any]:
        """What determines the landscape, as JSON for the task's id."""

    def landscape(self) -> Any:
        """Return the landscape."""


@dataclass(frozen=True)
class NetworkRecipe:
    """A network's mean loss over the first images of a split.

    Attributes
    ----------
    data, data_key
        Where the images are read from, and which they are.
    """

    model: str
    variant: str
    data: str
    data_key: str
    split: str
    n_images: int
    device: str = "cpu"
    dtype: str = "float32"

    @property
    def options(self) -> dict[str, Any]:
        """All attributes but the place of the data."""
        return {name: value for name, value in asdict(self).items() if name != "data"}

    def landscape(self) -> Any:
        """Return the landscape, made once per process."""
        what = self.split, self.n_images, self.device, self.dtype
        return landscape_over(self.model, self.variant, self.data, self.data_key, *what)


@dataclass(frozen=True)
class NamedRecipe:
    """A user's landscape, MODULE:NAME, imported from a folder first.

    Attributes
    ----------
    convert
        Of :func:`~minilandscape.landscape.named.named_landscape`; a function that other processes can import.
    """

    name: str
    folder: str = ""
    convert: Callable[[Any], Any] | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The landscape's name."""
        return {"landscape": self.name}

    def landscape(self) -> Any:
        """Return the landscape, made once per process."""
        return _named(self)


@lru_cache(maxsize=2)
def _named(recipe: NamedRecipe) -> Any:
    more = {} if recipe.convert is None else {"convert": recipe.convert}
    return named_landscape(recipe.name, recipe.folder, **more)


@dataclass(frozen=True, eq=False)
class GivenRecipe:
    """A landscape object under a name; worker processes get a copy."""

    given: Any
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The landscape's name."""
        return {"landscape": self.name}

    def landscape(self) -> Any:
        """Return the landscape object."""
        return self.given
