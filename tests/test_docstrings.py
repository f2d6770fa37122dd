"""Docstrings of the public names: complete sections, the names of the signature, and examples that run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
from functools import cached_property
from types import FunctionType
from typing import Any

import pytest

import minilandscape as ml

NAMES = sorted(set(ml.__all__) - {"__version__"})


def sections(documented: Any) -> dict[str, list[str]]:
    """Lines below each heading of a numpydoc docstring, and above the first one as ``""``."""
    found: dict[str, list[str]] = {"": []}
    lines, heading = inspect.cleandoc(documented.__doc__ or "").splitlines(), ""
    for k, line in enumerate(lines):
        underline = lines[k + 1] if k + 1 < len(lines) else ""
        if line and re.fullmatch(r"-{3,}", underline):
            heading = line
            found[heading] = []
        elif not re.fullmatch(r"-{3,}", line):
            found[heading].append(line)
    return found


def names_in(lines: list[str]) -> list[str]:
    """The names that a section of parameters or attributes describes."""
    heads = [line.split(" : ")[0] for line in lines if line and not line.startswith(" ")]
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def parameters_of(documented: Any) -> list[str]:
    try:
        signature = inspect.signature(documented)
    except ValueError:
        return []
    return [name for name in signature.parameters if name not in ("self", "args")]


def missing(name: str) -> list[str]:
    """Everything that a public docstring lacks, in words."""
    documented = getattr(ml, name)
    if inspect.isclass(documented) and issubclass(documented, BaseException):
        return [] if documented.__doc__ else ["a docstring"]
    found, lacks = sections(documented), []
    described = names_in(found.get("Parameters", []))
    if inspect.isclass(documented):
        if not described and not names_in(found.get("Attributes", [])):
            lacks.append("a section Parameters or Attributes")
    else:
        if parameters_of(documented) and not described:
            lacks.append("a section Parameters")
        if inspect.signature(documented).return_annotation not in (None, "None") and not found.get("Returns"):
            lacks.append("a section Returns")
    if described:
        given = parameters_of(documented)
        lacks += [f"the parameter {each}" for each in given if each not in (*described, "options")]
        if "options" not in given:  # else keyword arguments that the signature does not name
            lacks += [f"a parameter {each}, which is described" for each in described if each not in given]
    if not any(line.startswith(">>> ") for line in found.get("Examples", [])):
        lacks.append("an example")
    if found[""] and not found[""][0].endswith((".", ":")):
        lacks.append("a first line that is a sentence")
    return lacks


@pytest.mark.parametrize("name", NAMES)
def test_docstring_is_complete(name: str) -> None:
    lacks = missing(name)
    assert not lacks, f"ml.{name} lacks {'; '.join(lacks)}"


@pytest.mark.parametrize("name", NAMES)
def test_examples_run(name: str) -> None:
    documented = getattr(ml, name)
    finder, runner = doctest.DocTestFinder(), doctest.DocTestRunner(verbose=False)
    output: list[str] = []
    for test in finder.find(documented, f"ml.{name}", globs={}):
        runner.run(test, out=output.append)
    assert not runner.failures, "".join(output)


def methods_of(module: str, name: str, bases: tuple[str, ...] = ()) -> list[tuple[str, Any]]:
    """A public name of an adapter, its methods and properties, and those of its bases; none where it is missing."""
    try:
        found = getattr(importlib.import_module(f"minilandscape.adapters.{module}"), name)
    except ImportError:
        return []
    own = [each for each in getattr(found, "__mro__", ()) if each is found or each.__name__ in bases]
    members = [(f"{name}.{n}", m) for each in own for n, m in vars(each).items() if n[0] != "_"]
    kinds = (FunctionType, property, cached_property)
    return [(name, found), *((n, m) for n, m in members if isinstance(m, kinds))]


METHODS = dict(
    methods_of("torch", "TorchLandscape", ("ModuleVectors",))
    + methods_of("jax", "JaxLandscape")
    + methods_of("torch", "load_along")
)


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_adapters_are_documented_with_examples_that_run(name: str) -> None:
    documented = METHODS[name]
    found, lacks = sections(documented), []
    if inspect.isfunction(documented):
        described = names_in(found.get("Parameters", []))
        lacks += [f"the parameter {each}" for each in parameters_of(documented) if each not in described]
        returns = inspect.signature(documented).return_annotation
        if returns not in (None, "None") and not (found.get("Returns") or found.get("Yields")):
            lacks.append("a section Returns")
        lacks += [] if found.get("Examples") else ["an example"]
    if not found[""] or not found[""][0].endswith("."):
        lacks.append("a first line that is a sentence")
    assert not lacks, f"{name} lacks {'; '.join(lacks)}"
    runner = doctest.DocTestRunner(verbose=False)
    output: list[str] = []
    runner.run(doctest.DocTestParser().get_doctest(documented.__doc__, {}, name, None, 0), out=output.append)
    assert not runner.failures, "".join(output)
