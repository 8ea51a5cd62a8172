"""The pages hold: links lead somewhere, tables are those of the code."""

from __future__ import annotations

import json
import re
from pathlib import Path

import document_state
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PAGES = [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md"), *REPOSITORY.glob("examples/**/*.md")]


def anchors(page: Path) -> set[str]:
    """The names that GitHub gives to a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path).resolve() if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{page.name} links to {target}"


def test_the_tables_of_the_state_page_are_those_of_schema_and_migration() -> None:
    text = document_state.DOCUMENT.read_text(encoding="utf-8")
    assert document_state.written(text) == text, "stale: run scripts/document_state.py"


def test_every_top_level_field_has_a_row_in_the_state_page() -> None:
    fields = json.loads(document_state.SCHEMA.read_text(encoding="utf-8"))["properties"]
    rows = set(re.findall(r"^\| `([a-z_]+)` \|", document_state.DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE))
    assert rows >= set(fields)


def test_the_hooks_page_has_a_row_for_every_hook_and_no_other() -> None:
    declared = {
        (event, tool)
        for event, entries in json.loads((REPOSITORY / "hooks" / "hooks.json").read_text())["hooks"].items()
        for entry in entries
        for tool in matched(entry.get("matcher", "any"))
    }
    rows = re.findall(
        r"^\| (\w+(?:, \w+)*) \| ([^|]+) \|", (REPOSITORY / "docs" / "hooks.md").read_text("utf-8"), re.MULTILINE
    )
    described = {
        (event, tool) for events, tools in rows[1:] for event in events.split(", ") for tool in tools.split(", ")
    }
    assert described == declared


def matched(matcher: str) -> list[str]:
    """What a matcher lets through, as the page names it."""
    return ["our three commands"] if matcher.startswith("batch-implement:") else matcher.split("|")


def test_the_security_page_begins_with_the_trust_model() -> None:
    first = (REPOSITORY / "SECURITY.md").read_text(encoding="utf-8").split("\n\n")[1]
    assert first.startswith("**We guard against a confused model, not against a hostile one.**")
