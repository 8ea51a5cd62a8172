"""What stands between backticks in pages, prompts and messages is parsed: command and options exist.

A placeholder in capitals, and what a message puts in, stand for anything that fits.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from typing import Callable

import document_commands
import pages
import pytest
from batch_implement.cli import arguments
from batch_implement.core.errors import UsageError
from pages import PAGES, REPOSITORY

COMMANDS, BATCH = document_commands.command_parsers(), arguments.build_slash_parser()
STAND_INS = ("1", "implement", "json", "placeholder")  # for what a message or a person puts there
COMMAND = re.compile(r"`((?:/?batchctl|/batch-implement|make)\s[^`]+)`")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def of_pages() -> Iterator[tuple[str, str]]:
    """(page, what stands between backticks) of every page and prompt."""
    for page in PAGES:
        yield from ((pages.name(page), span) for span in pages.spans(page))


def of_messages() -> Iterator[tuple[str, str]]:
    """(file, what stands between backticks) of every text in the program, `VALUE` for what is put in."""
    for path in sorted((REPOSITORY / "lib").rglob("*.py")):
        for text in texts(ast.parse(path.read_text(encoding="utf-8"))):
            if "`" in text:
                yield from ((path.name, " ".join(span.split())) for span in COMMAND.findall(text))


def texts(tree: ast.AST) -> Iterator[str]:
    """The texts of a program, whole."""
    if isinstance(tree, ast.JoinedStr):
        yield "".join(str(part.value) if isinstance(part, ast.Constant) else "VALUE" for part in tree.values)
        return
    if isinstance(tree, ast.Constant) and isinstance(tree.value, str):
        yield tree.value
    for child in ast.iter_child_nodes(tree):
        yield from texts(child)


def wrong(span: str) -> str:
    """What is wrong with a command between backticks; empty when nothing is, or when it is none."""
    program, _, rest = span.partition(" ")
    if program == "make":
        return "" if not rest or rest.split()[0] in TARGETS else f"there is no target {rest.split()[0]}"
    if program not in ("batchctl", "/batchctl", "/batch-implement") or not rest:
        return ""
    rest = re.sub(r" [>|<].*$", "", rest).replace("[OPTIONS]", "")
    rest = re.sub(r"\[([^]]*)\]|\.\.\.", lambda found: found[1] or "", rest)
    try:
        words = shlex.split(rest)
    except ValueError as error:
        return f"the shell cannot read it: {error}"
    if program == "/batch-implement":
        parser = BATCH
    elif words[0] in ("help", "--help", "--version", "COMMAND", "VALUE"):
        return ""
    elif words[0] in COMMANDS:
        parser = COMMANDS[words.pop(0)]
    else:
        return f"there is no command {words[0]}"
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in known(parser)]
    found = f"there is no option {unknown[0]}" if unknown else ""
    for value in () if unknown else STAND_INS:
        found = parsed(parser, words, value)
        if not found:
            break
    return found


def known(parser: argparse.ArgumentParser) -> set[str]:
    """The options that a parser knows."""
    return {"--help", *parser._option_string_actions}


def parsed(parser: argparse.ArgumentParser, words: list[str], value: str) -> str:
    """What the parser says with `value` for each placeholder; that something is left out is nothing wrong, nor is that
    the last of the stand-ins does not fit.
    """
    words = [re.sub(r"\b[A-Z]{2,}(-[A-Z]+)*\b|^[A-Z]$", value, word).split("|")[0] for word in words]
    try:
        parser.parse_args([word for word in words if word != "--help"])
    except UsageError as error:
        said = str(error)
        fine = rf"arguments are required|xpected (one|at least one) argument|'{STAND_INS[-1]}'"
        return "" if re.search(fine, said) else said
    return ""


@pytest.mark.parametrize("source", [of_pages, of_messages], ids=["pages", "messages"])
def test_a_command_between_backticks_is_a_command_with_options_that_exist(
    source: Callable[[], Iterator[tuple[str, str]]],
) -> None:
    spans = sorted({span for span in source() if re.match(r"(batchctl|/batchctl|/batch-implement|make) ", span[1])})
    assert len(spans) > 40
    assert [(where, span, wrong(span)) for where, span in spans if wrong(span)] == []


@pytest.mark.parametrize(
    "span",
    [
        "batchctl dance", "batchctl status --wach", "batchctl skip three", "batchctl report --format pdf",
        "/batchctl pauze", "/batch-implement FILE --verfy CMD", "make lunch", "batchctl decide 'x",
    ],
)  # fmt: skip
def test_a_command_between_backticks_that_is_none_is_noticed(span: str) -> None:
    assert wrong(span)
