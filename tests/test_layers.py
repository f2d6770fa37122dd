"""Imports point one way, CuPy is named in one module, and importing the package is light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import minilandscape

ROOT = Path(minilandscape.__file__).parent
#: Lowest first: a module imports from its own line or from those before it.
LAYERS = (
    ("backend", "cuda", "display", "drawing", "files", "workers", "motion"),
    ("tasks",),
    ("landscape",),
    ("hessian", "noise"),
    ("potentials", "data", "formats"),
    ("networks",),
    ("optimizers",),
    ("paths", "saddles"),
    ("connect",),
    ("analysis",),
    ("training",),
    ("pairs",),
    ("figures", "set_barriers"),
    ("paper", "demo", "adapters"),
)
HEIGHT = {name: height for height, names in enumerate(LAYERS) for name in names}


def imports(file: Path) -> list[tuple[str, ...]]:
    """The absolute names of what a module of the package imports, as tuples."""
    here = ("minilandscape", *file.relative_to(ROOT).with_suffix("").parts)
    found: list[tuple[str, ...]] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else ()
            base += tuple(node.module.split(".")) if node.module else ()
            found += [(*base, alias.name) for alias in node.names]
    return found


def test_imports_point_one_way() -> None:
    files = [file for file in ROOT.rglob("*.py") if file != ROOT / "__init__.py"]
    assert len(files) > 20
    for file in files:
        own = file.relative_to(ROOT).with_suffix("").parts[0]
        for name in imports(file):
            if name[0] == "minilandscape" and len(name) > 1 and name[1] != own:
                assert HEIGHT[name[1]] <= HEIGHT[own], f"{file.name} imports {'.'.join(name)}, which lies above it"


def test_every_folder_says_what_it_may_import() -> None:
    folders = [file.parent for file in ROOT.glob("*/__init__.py")]
    assert len(folders) > 10
    for folder in folders:
        text = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""
        head, found, rule = text.partition("May import ")
        assert head.strip(), f"{folder.name} does not say what lives there"
        assert found, f"{folder.name} does not say what it may import"
        allowed = set(re.findall(r"`(\w+)`", rule))
        assert all(HEIGHT[name] <= HEIGHT[folder.name] for name in allowed), folder.name
        for file in folder.rglob("*.py"):
            used = {name[1] for name in imports(file) if name[0] == "minilandscape" and len(name) > 1}
            assert used <= allowed | {folder.name}, (
                f"{file} imports {used - allowed}, which {folder.name} does not name"
            )


def test_only_backend_names_cupy() -> None:
    for file in ROOT.rglob("*.py"):
        assert ("cupy",) not in {name[:1] for name in imports(file)}, file
        if file.name != "backend.py":
            assert '"cupy"' not in file.read_text(encoding="utf-8"), file


def test_importing_the_package_is_light() -> None:
    code = "import sys, minilandscape, minilandscape.networks, minilandscape.paths; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"matplotlib", "sklearn", "typer", "autograd", "cupy", "torch", "ase", "mlxtend", "pandas"} & set(loaded)
