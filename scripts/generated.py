"""Pages with generated parts: what lies between two marks is written by a script, the rest by hand.

<!-- fields: written by scripts/document_state.py -->
...
<!-- fields: end -->

new = written(PAGE, text, "document_state.py", {"fields": "| field | ..."})     the page as it is to be
status = write_or_check(PAGE, arguments, written)                               what the script is called for
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable

REPOSITORY = Path(__file__).resolve().parents[1]


def replace_generated(page: Path, text: str, script: str, parts: dict[str, str]) -> str:
    """Return the text of a page with the generated parts, by the names of their marks, up to date."""
    for name, part in parts.items():
        begin, end = f"<!-- {name}: written by scripts/{script} -->", f"<!-- {name}: end -->"
        assert text.count(begin) == text.count(end) == 1, f"{page} lacks the marks of {name}"
        text = text[: text.index(begin)] + f"{begin}\n{part}\n" + text[text.index(end) :]
    return text


def table_cell(text: str) -> str:
    """Escape a text for a table cell."""
    return text.replace("|", "\\|")


def write_or_check(page: Path, arguments: list[str], written: Callable[[str], str]) -> int:
    """Write the page, or with `--check` only compare; return the exit status."""
    text = page.read_text(encoding="utf-8")
    new = written(text)
    if arguments == ["--check"]:
        if new != text:
            print(f"{page} is stale: run its script without --check.")
        return int(new != text)
    page.write_text(new, encoding="utf-8")
    return 0
