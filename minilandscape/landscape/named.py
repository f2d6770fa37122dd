"""Import a landscape by name: MODULE:NAME."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any


def named_landscape(name: str, folder: str = "", convert: Callable[[Any], Any] = lambda made: made) -> Any:
    """Import the landscape that MODULE:NAME names, or that it returns when called.

    Parameters
    ----------
    name
        MODULE:NAME of a function x -> (value, gradient), of an object with the methods of a landscape, or of a function
        without arguments that returns one of these, as my_energy:make.
    folder
        The folder that is searched first; by default the current one.
    convert
        Converts other return values to a landscape, such as a PyTorch module with its loss and data; anything else it
        returns unchanged. The name is added to the messages of its ValueError and TypeError.

    Raises
    ------
    ValueError
        If the name cannot be imported, the function raises, or the result is not a landscape.
    """
    module, colon, attribute = name.partition(":")
    if not colon or not attribute or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"the landscape is {name!r}; expected MODULE:NAME, such as my_energy:make")
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        without = f"; a module is named without .py: {module[:-3]}:{attribute}" if module.endswith(".py") else ""
        raise ValueError(f"{name}: no module named {error.name!r} here or installed{without}") from None
    except (Exception, SystemExit) as error:  # the user's own code can raise anything, or end the program
        raise ValueError(f"{name}: {module} raised {type(error).__name__}: {error}") from error
    if not hasattr(loaded, attribute):
        raise ValueError(f"{name}: {module} has no {attribute!r}")
    found = getattr(loaded, attribute)
    if not _is_factory(name, found):
        return _converted(name, found, convert)
    try:
        made = found()
    except (Exception, SystemExit) as error:
        raise ValueError(f"{name}: {attribute}() raised {type(error).__name__}: {error}") from error
    made = _converted(name, made, convert)
    if not (callable(made) or hasattr(made, "values_and_gradients")):
        raise ValueError(
            f"{name}: {attribute}() returned {type(made).__name__}; "
            "expected a landscape, or a function of a point, x -> (value, gradient), or a PyTorch module with its loss "
            "and data, (module, loss, data)"
        )
    return made


def _converted(name: str, made: Any, convert: Callable[[Any], Any]) -> Any:
    try:
        return convert(made)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name}: {error}") from error


def _is_factory(name: str, found: Any) -> bool:
    """Decide whether the object has to be called to get the landscape.

    It is the landscape itself if it accepts a point, or if it has the methods of a landscape.

    Raises
    ------
    ValueError
        If it is neither a landscape nor a function that returns one.
    """
    if not isinstance(found, type) and hasattr(found, "values_and_gradients"):
        return False
    expected = "expected a function that makes a landscape and takes no arguments, or one of a point, "
    expected += "x -> (value, gradient)"
    if not callable(found):
        raise ValueError(f"{name} is {type(found).__name__}; {expected}")
    try:
        signature = inspect.signature(found)
    except ValueError:  # of compiled functions, which may have none
        return True
    if _takes(signature, 0):
        return True
    if isinstance(found, type) or not _takes(signature, 1):
        raise ValueError(f"{name} takes the arguments {signature}; {expected}")
    return False


def _takes(signature: inspect.Signature, n: int) -> bool:
    """Decide whether a function can be called with n arguments."""
    try:
        signature.bind(*range(n))
    except TypeError:
        return False
    return True
