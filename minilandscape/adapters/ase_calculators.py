"""Calculators of ASE's convention by name: MODULE:CLASS with options, and short names."""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Iterable
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator, Calculator, FileIOCalculator, get_calculator_class
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones

from ..display import nearest

#: Short names, each with the options that it stands for.
SHORT: dict[str, tuple[str, dict[str, Any]]] = {
    "emt": ("ase.calculators.emt:EMT", {}),
    "lj": ("ase.calculators.lj:LennardJones", {}),
    "gfn1-xtb": ("tblite.ase:TBLite", {"method": "GFN1-xTB"}),
    "gfn2-xtb": ("tblite.ase:TBLite", {"method": "GFN2-xTB"}),
}
#: Elements whose parameters in ASE's EMT are, in its own words, not for any serious use.
ROUGH = ("H", "C", "N", "O")
#: Options without which a calculator prints.
QUIET: dict[str, dict[str, Any]] = {"tblite.ase:TBLite": {"verbosity": 0}}


def named_calculator(name: str, options: dict[str, Any] | None = None) -> Callable[[], Any]:
    """Return a function that makes the calculator of a name.

    Parameters
    ----------
    name
        ``emt``, ``lj``, ``gfn1-xtb``, ``gfn2-xtb``, or MODULE:CLASS, searched in the current folder first.
    options
        Passed to the class by name.

    Raises
    ------
    ValueError
        If there is no such calculator, or it cannot be made with the options.
    """
    spec, defaults = SHORT.get(name.lower(), (name, {}))
    made = _loaded(name, spec)
    attribute = spec.partition(":")[2]
    _check_options(name, made, options or {})
    make = partial(made, **{**QUIET.get(spec, {}), **defaults, **(options or {})})
    try:
        first = make()
    except (Exception, SystemExit) as error:
        raise ValueError(f"calculator {name}: {attribute} raised {type(error).__name__}: {error}") from error
    if not hasattr(first, "get_potential_energy"):
        raise ValueError(f"calculator {name}: {attribute} made a {type(first).__name__}; expected an ASE calculator")
    return make


def options_of_files(name: str, options: dict[str, Any], start: Atoms, end: Atoms) -> dict[str, Any]:
    """Return the charge and multiplicity that structures say, where a calculator would not read them.

    Those of ``atoms.info``, if the class of the name has an option for them, without a value of its own, and
    ``options`` give none. Raises ValueError as `named_calculator` does.
    """
    made = _loaded(name, SHORT.get(name.lower(), (name, {}))[0])
    return _said_and_not_read({**getattr(made, "default_parameters", {}), **options}, start, end)


def _loaded(name: str, spec: str) -> Callable[..., Any]:
    """What MODULE:CLASS names, searched in the current folder first."""
    if "" not in sys.path[:1]:
        sys.path.insert(0, "")
    module, colon, attribute = spec.partition(":")
    if not colon or not attribute or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(
            f"the calculator is {name!r}{_meant(name)}; expected {', '.join(SHORT)}, or MODULE:CLASS, as "
            "tblite.ase:TBLite"
        )
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        missing = error.name or module
        raise ValueError(
            f"calculator {name}: no module named {missing!r} here or installed{_instead(name, spec, missing)}"
        ) from None
    except (Exception, SystemExit) as error:
        raise ValueError(f"calculator {name}: {module} raised {type(error).__name__}: {error}") from error
    if not callable(made := getattr(loaded, attribute, None)):
        if made is not None:
            raise ValueError(
                f"calculator {name}: {attribute} is one {type(made).__name__}; expected a class, or a function that "
                "makes one"
            )
        names = [each for each, value in vars(loaded).items() if callable(value)]
        raise ValueError(
            f"calculator {name}: {module} has no {attribute!r}{nearest(attribute, names)} to make a calculator with"
        )
    return made


def _meant(name: str) -> str:
    """MODULE:CLASS of a module or file without one, ASE's own name of a calculator, or a short name that is alike."""
    spec = name.removeprefix("./").replace(".py", "", 1)
    if spec != name and ":" in spec:
        return f" (did you mean {spec}?)"
    for module in (spec, f"{spec}.ase", f"{spec}.calculators"):
        if found := _calculators_of(module):
            return f" (did you mean {found[0]}?)"
    try:
        of_ase = get_calculator_class(name.lower())
    except Exception:  # what it imports may be missing, or raise anything
        part = [short for short in SHORT if len(name) > 2 and name.lower() in short]
        return f" (did you mean {part[0]}?)" if part else nearest(name, SHORT)
    return f" (did you mean {of_ase.__module__}:{of_ase.__qualname__}?)"


def _calculators_of(module: str) -> list[str]:
    """MODULE:CLASS of the calculators that a module defines; none where it cannot be imported."""
    try:
        defined = vars(importlib.import_module(module)).values()
    except (Exception, SystemExit):
        return []
    classes = [each for each in defined if isinstance(each, type) and issubclass(each, BaseCalculator)]
    return [f"{module}:{each.__name__}" for each in classes if each.__module__ == module]


def _instead(name: str, spec: str, missing: str) -> str:
    """What to do about a module that is missing: install that of a short name, or another one that is much like it."""
    module, _, attribute = spec.partition(":")
    if name != spec:
        return f"; pip install {missing}"
    if not f"{module}.".startswith(f"{missing}."):  # the module is there and imports another one
        return ""
    here = [f"{file.stem}:{attribute}" for file in Path().glob("*.py")]
    return nearest(spec, [*here, *(known for known, _ in SHORT.values())])


def what_to_know(calculator: Any, start: Atoms, end: Atoms) -> list[str]:
    """Remark on what a calculator computes without a claim to be right, and on a charge or spin that it does not read.

    A calculator with an option for charge or multiplicity takes these from there, or from the initial charges and
    moments, and not from what files say of the whole (``atoms.info``).
    """
    return [*_rough(calculator, start), *_not_read(calculator, start, end)]


def _rough(calculator: Any, atoms: Atoms) -> list[str]:
    rough = [symbol for symbol in ROUGH if symbol in atoms.symbols]
    if rough and isinstance(calculator, EMT):
        return [
            f"EMT is a potential of metals: its parameters for {', '.join(rough)} are not for any serious use, as "
            "ASE's documentation says; take the numbers for a test"
        ]
    elements = dict.fromkeys(atoms.symbols)
    if len(elements) > 1 and isinstance(calculator, LennardJones):
        return [f"LennardJones has one epsilon and one sigma: it does not tell {', '.join(elements)} apart"]
    return []


def _not_read(calculator: Any, start: Atoms, end: Atoms) -> list[str]:
    kind = type(calculator).__name__
    return [
        f"the files say {name}={value}, which {kind} does not read: give --calculator-options {name}={value} "
        f"({name}={value} where the calculator is made)"
        for name, value in _said_and_not_read(getattr(calculator, "parameters", {}), start, end).items()
    ]


def _said_and_not_read(parameters: Any, start: Atoms, end: Atoms) -> dict[str, Any]:
    """Charge and multiplicity that structures say, and of which a calculator has a parameter that is not set."""
    said = {}
    for name, alone in (("charge", 0), ("multiplicity", 1)):
        found = [value for atoms in (start, end) if (value := atoms.info.get(name, alone)) != alone]
        if found and name in parameters and parameters[name] is None:
            said[name] = found[0]
    return said


def _check_options(name: str, made: Any, options: dict[str, Any]) -> None:
    """Refuse an option that is none of the calculator's: ASE's own base class keeps any without a word.

    Calculators that write input files take whatever their program knows.
    """
    if not (isinstance(made, type) and issubclass(made, Calculator)) or issubclass(made, FileIOCalculator):
        return
    known = dict.fromkeys(made.default_parameters)
    for base in made.__mro__:
        if "__init__" in vars(base):
            of_base = signature(base).parameters.items()
            known |= {key: None for key, kind in of_base if kind.kind is not kind.VAR_KEYWORD}
    for key in options:
        if key not in known and made.default_parameters:
            own = ", ".join(made.default_parameters)
            raise ValueError(
                f"calculator {name}: {made.__name__} has no option {key!r}{nearest(key, known)}; expected one of {own}"
            )


def options_of(words: Iterable[str]) -> dict[str, Any]:
    """Read options from words k=v: Python's numbers, lists and names where v reads so, else text."""
    options: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"{word!r} is no option of a calculator; expected NAME=VALUE, as charge=1")
        try:
            options[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError):
            options[key] = {"true": True, "false": False, "none": None}.get(value.lower(), value)
    return options
