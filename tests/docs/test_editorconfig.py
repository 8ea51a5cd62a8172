"""Every text file that git tracks is as .editorconfig says; what is broken on purpose has it unset there.

How long a line of Python may be is ruff's to hold.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import editorconfig
import pytest
from pages import REPOSITORY

TEXT = (REPOSITORY / ".editorconfig").read_text(encoding="utf-8")
# A property with its value -> what no file has for which it is set.
NEVER = {
    ("charset", "utf-8"): rb"\A\xef\xbb\xbf",  # what is no UTF-8 at all is found by reading it
    ("end_of_line", "lf"): rb"\r",
    ("insert_final_newline", "true"): rb"[^\n]\Z",
    ("trim_trailing_whitespace", "true"): rb"[ \t](?:\n|\Z)",
    ("trim_trailing_whitespace", "false"): rb"(?!)",
    ("indent_style", "space"): rb"^ *\t",
    ("indent_style", "tab"): rb"^\t* ",
}
NUMBERS = {"indent_size", "tab_width", "max_line_length"}  # of an indentation only the kind is looked at


def rules(path: Path) -> Mapping[str, str]:
    """What .editorconfig says of a file."""
    return editorconfig.get_properties(str(path))


def wrong(content: bytes, wanted: Mapping[str, str]) -> list[str]:
    """The properties that a file of this content breaks, or that nothing here knows."""
    set_ = {(name, value) for name, value in wanted.items() if value != "unset" and name not in NUMBERS}
    found = {pair for pair in set_ if pair not in NEVER or re.search(NEVER[pair], content, re.MULTILINE)}
    if content.decode("utf-8", "replace").encode() != content:
        found |= {pair for pair in set_ if pair[0] == "charset"}
    return sorted(f"{name} = {value}" for name, value in found)


def tracked() -> list[Path]:
    """The text files that git tracks, by git's own sign of one: no zero byte."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    files = [REPOSITORY / name for name in listed.stdout.split("\0") if name]
    return [file for file in files if file.is_file() and not file.is_symlink() and b"\0" not in file.read_bytes()]


def test_every_text_file_is_as_it_says() -> None:
    files = tracked()
    assert len(files) > 500
    broken = {str(file.relative_to(REPOSITORY)): wrong(file.read_bytes(), rules(file)) for file in files}
    assert {name: what for name, what in broken.items() if what} == {}


@pytest.mark.parametrize(
    ("name", "content", "property_"),
    [
        ("a.md", b"\xef\xbb\xbfa\n", "charset = utf-8"), ("lib/a.py", b"# \xff\n", "charset = utf-8"),
        ("a.json", b"1\r\n", "end_of_line = lf"), ("docs/a.md", b"a\nb", "insert_final_newline = true"),
        ("a.yml", b"a: \nb:\n", "trim_trailing_whitespace = true"), ("a", b"a\t\n", "trim_trailing_whitespace = true"),
        ("lib/b/a.py", b"if 1:\n\tpass\n", "indent_style = space"), ("hooks/run", b"  \ta\n", "indent_style = space"),
        ("Makefile", b"a:\n\tb\n  c\n", "indent_style = tab"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_is_noticed(name: str, content: bytes, property_: str) -> None:
    assert wrong(content, rules(REPOSITORY / name)) == [property_]


def test_a_property_that_nothing_here_knows_is_noticed() -> None:
    assert wrong(b"", {"end_of_line": "crlf", "quote_type": "single"}) == ["end_of_line = crlf", "quote_type = single"]


@pytest.mark.parametrize("folder", re.findall(r"^\[(.+)/\*\*\]$", TEXT, re.MULTILINE))
def test_a_folder_that_is_left_out_has_files_that_need_it(folder: str) -> None:
    everywhere = rules(REPOSITORY / "a.txt")
    files = [file for file in (REPOSITORY / folder).rglob("*") if file.is_file()]
    assert {what for file in files for what in wrong(file.read_bytes(), everywhere)} >= {"insert_final_newline = true"}
    assert all(set(rules(file).values()) == {"unset"} for file in files if file.suffix != ".py")


def test_lines_of_python_are_as_long_as_ruff_lets_them_be() -> None:
    longest = re.search(r"^line-length = (\d+)$", (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"), re.M)
    assert longest and rules(REPOSITORY / "lib/a.py")["max_line_length"] == longest[1]
