"""What the Markdown pages show: command lines, code between backticks, links and the anchors that they lead to.

for page in PAGES: for command in commands(page): ...
spans(page)      what stands between backticks outside of blocks
links(page)      the targets of its links
anchors(page)    the names that a code host gives to its headings
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDERS = ("", "docs/", "docs/adr/", ".github/**/", "examples/**/", "commands/", "agents/")
PAGES = sorted({page for folder in FOLDERS for page in REPOSITORY.glob(f"{folder}*.md")})
# What makes a line of a block that also shows answers a command: `$ ` before it, or one of these programs.
PROGRAMS = frozenset((
    "batchctl", "cat", "cd", "claude", "dask", "export", "gh", "git", "make", "mkdir", "npm", "pip", "pipx", "python",
    "python3", "ssh", "/auto-implement", "/batch-implement", "/batchctl", "/plugin",
))  # fmt: skip
_FENCE = re.compile(r"^ *(```+|~~~+)(.*)$")


class Block(NamedTuple):
    """A block of code: its language (empty for an indented one) and its lines."""

    language: str
    lines: list[str]


def name(page: Path) -> str:
    """A page by its path in the repository."""
    return page.relative_to(REPOSITORY).as_posix()


def split(page: Path) -> tuple[list[str], list[Block]]:
    """The lines of prose of a page, and its blocks."""
    prose: list[str] = []
    blocks: list[Block] = []
    fence = None
    for line in page.read_text(encoding="utf-8").splitlines():
        found = _FENCE.match(line)
        if fence is not None:
            if found and found[1].startswith(fence) and not found[2].strip():
                fence = None
            else:
                blocks[-1].lines.append(line)
        elif found:
            fence = found[1]
            blocks.append(Block(found[2].strip(), []))
        elif line.startswith("    ") and (not prose or not prose[-1].strip()):
            if not prose or prose[-1] != " ":  # a blank in the prose stands for an indented block
                blocks.append(Block("", []))
                prose.append(" ")
            blocks[-1].lines.append(line[4:])
        else:
            prose.append(line)
    return prose, blocks


def commands(page: Path) -> list[str]:
    """The command lines that a page shows in its blocks, each whole, with its answer left out."""
    found: list[str] = []
    for language, lines in split(page)[1]:
        if language in ("sh", "bash", "shell"):
            found += whole(lines)
        elif language in ("", "text", "console"):
            found += [line.removeprefix("$ ") for line in lines if line.startswith("$ ") or _is_command(line)]
    return found


def _is_command(line: str) -> bool:
    return line.partition(" ")[0] in PROGRAMS


def whole(lines: Iterable[str]) -> Iterator[str]:
    """The commands of a shell script, those of many lines in one piece; comments are left out."""
    command: list[str] = []
    for line in lines:
        if command or (line.strip() and not line.startswith("#")):
            command.append(line)
            if _ends("\n".join(command)):
                yield "\n".join(command)
                command = []
    assert not command, f"this command has no end: {command}"


def _ends(text: str) -> bool:
    """Whether a command is whole: its quotes, loops and here-documents are closed."""
    here = re.search(r"<<-?'?(\w+)'?", text)
    if here:
        return text.endswith(f"\n{here[1]}")
    bare = re.sub(r"'[^']*'|\"(?:\\.|[^\"\\])*\"|(?<!\S)#[^\n]*", "", text)
    opened = re.findall(r"(?:^|[;&|\n])\s*(?:for|while|until|if|case)\b", bare)
    closed = re.findall(r"(?:^|[;&|\n])\s*(?:done|fi|esac)\b", bare)
    return not re.search(r"['\"]|(?:\\|&&|\|)$", bare.rstrip()) and len(opened) == len(closed)


def spans(page: Path) -> list[str]:
    """What stands between backticks in the prose of a page."""
    found = re.findall(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "\n".join(split(page)[0]), re.DOTALL)
    return [re.sub(r"\s*\n\s*", " ", text.strip()).replace("\\|", "|") for _, text in found]


def links(page: Path) -> list[str]:
    """The targets of the links and pictures of a page."""
    prose = re.sub(r"(`+)[^`].*?\1", "", "\n".join(split(page)[0]))
    inline = re.findall(r"\]\(\s*<?([^)\s>]+)", prose)
    return [*inline, *re.findall(r"(?:href|src)=\"([^\"]+)\"", prose), *re.findall(r"^\[[^]]+\]: +(\S+)", prose, re.M)]


def anchors(page: Path) -> set[str]:
    """The names that a code host gives to a page's headings; the second of a name has `-1`."""
    found: dict[str, int] = {}
    names = set()
    for line in split(page)[0]:
        heading = re.match(r"#{1,6} +(.*?)(?: +#+)?$", line)
        if heading:
            text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading[1])
            anchor = re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-")
            names.add(f"{anchor}-{found[anchor]}" if anchor in found else anchor)
            found[anchor] = found.get(anchor, 0) + 1
    return names
