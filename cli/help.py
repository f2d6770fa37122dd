"""How help is shown and mistyped names are answered: plain text, options in panels, commands in groups.

Plain text, since rich's boxes break words and cut lines at narrow widths.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import typer.core

from minilandscape.display import nearest

from .commands import COMMANDS, GROUPS
from .options import OF_METHODS, PANELS, PATH, UsageError, spread_options


class PanelledCommand(typer.core.TyperCommand):
    """A command whose help shows its options in their panels and its examples as they are typed.

    An option of K=V takes all that follow it.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments."""
        return list(super().parse_args(ctx, spread_options(args)))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """The usage, in the same form whichever version of Typer writes it."""
        return [re.sub(r"^\{(.*)\}(\.*)$", r"\1\2", piece) for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, then the options of each panel."""
        panels: dict[str, list[tuple[str, str]]] = {"Arguments": [], **{name: [] for name in PANELS}}
        for param in self.get_params(ctx):
            default = "Arguments" if param.param_type_name == "argument" else "Other"
            if (record := param.get_help_record(ctx)) is not None:
                names, text = record
                names = re.sub(r" <.*>$", "", names) if default == "Arguments" else names
                panels.setdefault(getattr(param, "rich_help_panel", None) or default, []).append((names, text))
        for panel, records in _ordered(panels):
            if records:
                with formatter.section(panel):
                    formatter.write_dl(records)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, a line each, to be copied."""
        if self.name in COMMANDS:
            write_examples(formatter, COMMANDS[self.name].examples)


class Group(typer.core.TyperGroup):
    """The commands in their groups; a mistyped one is answered with those that look like it."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A section for each group."""
        for group in GROUPS:
            with formatter.section(group):
                formatter.write_dl([(name, each.summary) for name, each in COMMANDS.items() if each.group == group])

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """What to type first."""
        write_examples(formatter, ("minilandscape demo", "minilandscape connect --help"))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is called."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            raise UsageError(f"there is no command {args[0]!r}{nearest(args[0], COMMANDS)}; see minilandscape --help")
        return super().resolve_command(ctx, args)


def _ordered(panels: dict[str, list[Any]]) -> list[tuple[str, list[Any]]]:
    """Panels in their order, those of some methods after that of all."""
    places = {name: place for place, name in enumerate(panels)}
    return sorted(panels.items(), key=lambda item: places[PATH if item[0].startswith(OF_METHODS) else item[0]])


def write_examples(formatter: Any, lines: Iterable[str]) -> None:
    """A section of lines that are not wrapped."""
    with formatter.section("Examples"):
        for line in lines:
            formatter.write(f"{'':>{formatter.current_indent}}{line}\n")
