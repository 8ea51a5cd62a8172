"""CONTRIBUTING.md names what there is: paths, functions, targets of make."""

from __future__ import annotations

import ast
import functools
import re

import pages
import pytest
from pages import REPOSITORY

PAGE = REPOSITORY / "CONTRIBUTING.md"
MOST_LINES = 120
# Words in backticks that are no name of ours: what Claude Code, git and a reader call things.
OTHERS = {"area: imperative", "claude --plugin-dir", ".venv", "node_modules", ".importlinter", "prove"}
_PATHS = tuple(f"{folder}/" for folder in ("lib", "tests", "scripts", "hooks", "schemas", "docs", "agents", ".ci"))
TARGETS = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def recipes() -> dict[str, str]:
    """The recipes of the page: heading -> text."""
    parts = re.split(r"^## (.*)\n", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {heading: text for heading, text in zip(parts[::2], parts[1::2]) if re.search(r"^1\. ", text, re.MULTILINE)}


def missing(span: str, named: frozenset[str]) -> str:
    """What is wrong with a name between backticks; empty when it is there. `named` is what the code has names for."""
    if span.startswith("make "):
        return "" if span.removeprefix("make ") in TARGETS else "no such target"
    if " pytest " in span:
        return missing(span.split(" pytest ")[1], named)
    span = span.removeprefix(".venv/bin/python ")
    if span.startswith(_PATHS):
        return "" if (REPOSITORY / span).exists() else "no such path"
    if span in OTHERS or span.split(maxsplit=1)[0] == "batchctl":
        return ""  # commands are for test_commands_between_backticks.py
    module, _, name = span.rpartition(".")
    if module == "state":
        return ""
    if module:
        file = REPOSITORY / f"lib/batch_implement/{module}.py"
        named = defined(file.read_text(encoding="utf-8")) if file.exists() else frozenset()
    return "" if name in named else "nothing has this name"


def defined(source: str) -> frozenset[str]:
    """The functions, classes, constants, attributes and variables of Python code; a parameter is none of them."""
    nodes = list(ast.walk(ast.parse(source)))
    made = {node.name for node in nodes if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    return frozenset(made | {node.id for node in nodes if isinstance(node, ast.Name) and type(node.ctx) is ast.Store})


@functools.cache
def names_of(path: str) -> frozenset[str]:
    """The names in a file of the repository: those that its code defines, and its texts that are one word (keys, verbs,
    classes of failures), but not those of a test, which has many.
    """
    source = (REPOSITORY / path).read_text(encoding="utf-8")
    if path.endswith(".json"):
        return frozenset(re.findall(r'"(\w+)"', source))
    if path.startswith("tests/"):
        return defined(source)
    words = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    return defined(source) | {word for word in words if isinstance(word, str) and word.isidentifier()}


def named_by(text: str) -> frozenset[str]:
    """The names in the files that a text names."""
    paths = re.findall(r"`((?:lib|schemas|hooks|tests)/[^`]+\.(?:py|json))`", text)
    return frozenset().union(*map(names_of, paths))


def code_of(text: str) -> str:
    """The code of the files that a text names."""
    named = set(re.findall(r"`((?:lib|schemas|hooks)/[^`]+\.(?:py|json))`", text))
    return "\n".join((REPOSITORY / path).read_text(encoding="utf-8") for path in sorted(named))


def test_every_path_and_target_and_name_is_there() -> None:
    everything = named_by(f"{PAGE.read_text(encoding='utf-8')} `lib/batch_implement/errors.py`")
    assert {span: why for span in pages.spans(PAGE) if (why := missing(span, everything))} == {}


@pytest.mark.parametrize(
    "span",
    [
        "lib/no.py", "make nothing", "_no_such_function", "transitions.undecide", "x -m pytest tests/unit/no.py",
        ".venv/bin/python scripts/no.py", "nothing.decide",
        "transitions.question",  # a parameter alone
        "transitions.feature_index",  # a text alone
    ],
)  # fmt: skip
def test_a_name_that_is_not_there_is_noticed(span: str) -> None:
    assert missing(span, named_by(PAGE.read_text(encoding="utf-8")))


def test_a_parameter_is_no_name_that_a_file_has() -> None:
    assert defined("K: int = 1\nclass C:\n    a: int\n    def f(self, p, *, q=0): v = p; g(r=q)") == set("KCafv")


@pytest.mark.parametrize("heading", recipes())
def test_a_recipe_counts_its_steps_and_its_files_have_its_example(heading: str) -> None:
    text = recipes()[heading]
    named = re.search(r"`(\w+)`", heading + text)
    steps = [int(number) for number in re.findall(r"^(\d)\. ", text, re.MULTILINE)]
    assert steps == list(range(1, len(steps) + 1))
    assert named is not None
    assert len(re.findall(rf"\b{named[1]}\b", code_of(text))) >= 2


def test_the_recipes_are_those_for_a_verb_a_hook_a_field_and_a_failure_class() -> None:
    assert [heading.split(":")[0] for heading in recipes()] == [
        "A verb", "A hook", "A field of the state", "A failure class",
    ]  # fmt: skip


def test_the_page_is_short_and_says_what_each_target_of_make_is_that_proves_something() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert {f"make {target}" for target in ("tools", "test", "prove", "long", "bench")} <= set(pages.spans(PAGE))
