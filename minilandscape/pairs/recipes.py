"""Recipes: how another process comes by the landscape on which it connects a pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Protocol

from ..landscape.named import named_landscape
from .networks import landscape_over


class Recipe(Protocol):
    """How a process that connects a pair comes by the landscape."""

    @property
    def options(self) -> dict[str, Any]:
        """What determines the landscape, as JSON."""

    def landscape(self) -> Any:
        """The landscape itself."""


@dataclass(frozen=True)
class NetworkRecipe:
    """A network's mean loss over the first images of a split.

    Attributes
    ----------
    data, data_key
        Where the images are read from, and what they are.
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
        """All but the place of the data."""
        return {name: value for name, value in asdict(self).items() if name != "data"}

    def landscape(self) -> Any:
        """Made once a process."""
        what = self.split, self.n_images, self.device, self.dtype
        return landscape_over(self.model, self.variant, self.data, self.data_key, *what)


@dataclass(frozen=True)
class NamedRecipe:
    """A landscape of one's own, MODULE:NAME, looked for in a folder first.

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
        """Its name."""
        return {"landscape": self.name}

    def landscape(self) -> Any:
        """Made once a process."""
        return _named(self)


@lru_cache(maxsize=2)
def _named(recipe: NamedRecipe) -> Any:
    more = {} if recipe.convert is None else {"convert": recipe.convert}
    return named_landscape(recipe.name, recipe.folder, **more)


@dataclass(frozen=True, eq=False)
class GivenRecipe:
    """A landscape as it is, under a name; worker processes get a copy of it."""

    given: Any
    name: str

    @property
    def options(self) -> dict[str, Any]:
        """Its name."""
        return {"landscape": self.name}

    def landscape(self) -> Any:
        """The landscape that was given."""
        return self.given
