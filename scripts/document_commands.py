"""Write the generated parts of docs/commands.md: slash commands, from commands/*.md, and those of batchctl.

python3 scripts/document_commands.py            rewrites the text between the marks
python3 scripts/document_commands.py --check    changes nothing; exits with 1 if the text is stale
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator

import generated
from generated import REPOSITORY

sys.path.insert(0, str(REPOSITORY / "lib"))

from batch_implement.cli import arguments
from batch_implement.commands.authorization import USER_COMMANDS, WORKER_COMMANDS

DOCUMENT = REPOSITORY / "docs" / "commands.md"
EXAMPLES = {
    "batch-implement": "/batch-implement features.txt --verify 'make test'",
    "auto-implement": "/auto-implement Let the list show what is overdue",
    "batchctl": "/batchctl status",
}
EVERYWHERE = frozenset(("--help", "--json"))  # described once, above the commands


def command_parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of every command, in the order of `batchctl help`."""
    (known,) = (a.choices for a in arguments.build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return {name: known[name] for _, names in arguments.COMMAND_GROUPS for name in names}


def help_example(parser: argparse.ArgumentParser) -> str:
    """Return the example in a command's help."""
    return (parser.epilog or "").removeprefix("Example: ")


def command_user(command: str) -> str:
    """Return who runs a command."""
    if command in USER_COMMANDS:
        return "For you only."
    return "For the model." if command in WORKER_COMMANDS else "For you and the model."


def usage_line(parser: argparse.ArgumentParser) -> str:
    """Return a command's usage on one line, without the options that every command has."""
    words = [parser.prog]
    given = [action for action in parser._actions if action.option_strings and name_of(action) not in EVERYWHERE]
    words += ["[OPTIONS]"] if len(given) > 4 else map(option_in_usage, given)
    words += [argument_value(action) for action in parser._actions if not action.option_strings]
    return " ".join(words)


def argument_value(action: argparse.Action) -> str:
    """Return the value that an option or argument takes, as it is typed; empty for none."""
    if action.nargs == 0:
        return ""
    name = str(action.metavar or "|".join(map(str, action.choices or ())))
    return {"?": f"[{name}]", "+": f"{name} ...", "*": f"[{name} ...]"}.get(str(action.nargs), name)


def option_in_usage(action: argparse.Action) -> str:
    """Return an option with its value, in brackets if it is optional."""
    words = f"{action.option_strings[0]} {argument_value(action)}".rstrip()
    return words if action.required else f"[{words}]"


def name_of(action: argparse.Action) -> str:
    """Return the name of an option or argument."""
    return action.option_strings[-1] if action.option_strings else action.dest


def options_table(parser: argparse.ArgumentParser, known: frozenset[str] = frozenset()) -> Iterator[str]:
    """Return the table of a parser's arguments and options, without the known ones; no lines if there are no others."""
    own = [action for action in parser._actions if name_of(action) not in known | EVERYWHERE]
    if own:
        yield from ("", "| argument | what it says |", "| --- | --- |")
    for action in own:
        name = f"{action.option_strings[0] if action.option_strings else ''} {argument_value(action)}".strip()
        yield f"| `{generated.table_cell(name)}` | {generated.table_cell(action.help or '')} |"


def command_sections() -> str:
    """Return a section for each command, grouped by who runs it."""
    lines: list[str] = []
    for group, names in arguments.COMMAND_GROUPS:
        lines += [f"## {group}", ""]
        for name in names:
            parser = command_parsers()[name]
            lines += [
                f"### {name}",
                "",
                f"Usage: `{usage_line(parser)}`",
                "",
                f"{command_user(name)} {parser.description}",
            ]
            shared = (
                batch_options_table() if batch_options_table() <= set(map(name_of, parser._actions)) else frozenset()
            )
            own = list(options_table(parser, shared))
            if shared:
                beyond = ", and these:" if own else "."
                lines += ["", f"It takes the file and the options of [/batch-implement](#batch-implement){beyond}"]
            lines += [*own, "", "```sh", help_example(parser), "```", ""]
    return "\n".join(lines[:-1])


def batch_options_table() -> frozenset[str]:
    """Return the arguments that every new batch takes."""
    parser = arguments.CommandParser(add_help=False)
    arguments.add_batch_options(parser)
    return frozenset(map(name_of, parser._actions))


def front_matter(command: str) -> dict[str, str]:
    """Return the front matter of a slash command."""
    text = (REPOSITORY / "commands" / f"{command}.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^([a-z-]+): (.*)$", text.split("---\n")[1], re.MULTILINE))


def slash_command_sections() -> str:
    """Return a section for each slash command."""
    lines: list[str] = []
    for command, shown in EXAMPLES.items():
        known = front_matter(command)
        lines += [f"## /{command}", "", f"Usage: `/{command} {known['argument-hint']}`", "", known["description"]]
        if command == "batch-implement":
            lines += options_table(arguments.build_slash_parser())
        lines += ["", "```text", shown, "```", ""]
    return "\n".join(lines[:-1])


def render_document(text: str) -> str:
    """Return the document with its generated parts up to date."""
    parts = {"commands": slash_command_sections(), "batchctl": command_sections()}
    return generated.replace_generated(DOCUMENT, text, "document_commands.py", parts)


if __name__ == "__main__":
    sys.exit(generated.write_or_check(DOCUMENT, sys.argv[1:], render_document))
