"""The directive ``{command-options} NAME``: the arguments and options of a command, as its help has them."""

from __future__ import annotations

from typing import Any

import typer
from docutils import nodes
from docutils.parsers.rst import Directive
from minilandscape_cli.main import app
from sphinx.application import Sphinx


def row(*cells: nodes.Node) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))


def table(records: list[tuple[str, str]]) -> nodes.table:
    """Two columns: the option, and what it does."""
    group = nodes.tgroup("", cols=2)
    group += [nodes.colspec(colwidth=30), nodes.colspec(colwidth=70)]
    group += nodes.tbody("", *(row(nodes.literal("", name), nodes.Text(text)) for name, text in records))
    return nodes.table("", group, classes=["command-options"])


class CommandOptions(Directive):
    """Tables of a command's arguments and options, one for each panel of its help."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Reads the command that the program itself runs."""
        command: Any = typer.main.get_command(app).commands[self.arguments[0]]  # type: ignore[attr-defined]
        context = command.make_context("minilandscape", [], resilient_parsing=True)
        panels: dict[str, list[tuple[str, str]]] = {}
        for option in command.get_params(context):
            default = "Arguments" if option.param_type_name == "argument" else "Options"
            if option.name != "help" and (record := option.get_help_record(context)) is not None:
                panels.setdefault(getattr(option, "rich_help_panel", None) or default, []).append(record)
        shown: list[nodes.Node] = []
        for panel, records in panels.items():
            shown += [nodes.rubric("", panel), table(records)]
        return shown


def setup(app: Sphinx) -> dict[str, Any]:
    """Registers the directive."""
    app.add_directive("command-options", CommandOptions)
    return {"parallel_read_safe": True}
