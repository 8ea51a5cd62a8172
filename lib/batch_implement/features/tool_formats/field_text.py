"""Write the fields of a task as Markdown for the worker. Pure.

    format_fields([("acceptanceCriteria", ["It compiles"])])     '## Acceptance criteria\\n\\n- It compiles'

Nothing of a value is left out: what is neither a text nor a list of texts is shown as JSON.
"""

from __future__ import annotations

import json
import re

from ...base.text import clean, clean_block
from .task_status import normalize_word, read_flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Tuple

MAX_LINE_CHARS = 120  # a longer value gets a heading
# What is to be done and how it is seen gets one, however short it is.
SECTIONS = frozenset((
    "details", "teststrategy", "acceptance", "acceptancecriteria", "criteria", "steps", "notes", "design", "plan",
    "comments",
))  # fmt: skip
TEXT_NAMES = (
    "text", "title", "name", "description", "criterion", "content", "step", "task", "body", "label", "login",
)  # fmt: skip
DONE_NAMES = ("done", "passes", "passed", "completed", "complete", "checked", "met", "isdone", "iscompleted")


def format_fields(fields: Iterable[Tuple[str, Any]]) -> str:
    """Return names and values as Markdown: first what fits on a line each, then a section for each other one."""
    lines: List[str] = []
    sections: List[str] = []
    for name, value in fields:
        if is_empty(value):
            continue
        label = format_label(name)
        text = format_value(value)
        if _is_row(value):
            text = ", ".join(value)
            value = text
        is_long = "\n" in text or len(text) > MAX_LINE_CHARS or isinstance(value, (list, dict))
        if is_long or normalize_word(name) in SECTIONS:
            sections.append(f"## {label}\n\n{text}")
        else:
            lines.append(f"{label}: {text}")
    return "\n\n".join(filter(None, ["\n".join(lines), *sections]))


def _is_row(value: Any) -> bool:
    """Return whether a value is a list of single words, as labels are."""
    return isinstance(value, list) and all(isinstance(entry, str) and len(entry.split()) == 1 for entry in value)


def join_blocks(*blocks: str) -> str:
    """Return the blocks that are not empty, cleaned, with an empty line between them."""
    return "\n\n".join(filter(None, map(clean_text, blocks)))


def clean_text(text: str) -> str:
    """Return a text of several lines cleaned, tabs as blanks, so that a YAML file can hold it."""
    return clean_block(text.expandtabs(4)).strip()


def is_empty(value: Any) -> bool:
    """Return whether a value says nothing: null, a blank text, an empty list or object."""
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def format_label(name: str) -> str:
    """Return the name of a field in words: `acceptanceCriteria` as `Acceptance criteria`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-\s]+", " ", clean(name)).split()
    spelled = [word if word.isupper() and len(word) > 1 else word.lower() for word in words]
    text = " ".join(spelled)
    return text[:1].upper() + text[1:]


def format_value(value: Any) -> str:
    """Return a value as Markdown of one or more lines."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)) or value is None:
        return json.dumps(value)
    if isinstance(value, list):
        if all(_is_plain(entry) for entry in value):
            return "\n".join(_format_entry(entry) for entry in value if not is_empty(entry))
    elif all(_is_plain(entry) and not isinstance(entry, dict) for entry in value.values()):
        return "\n".join(
            f"- {format_label(name)}: {_on_one_entry(format_value(entry))}" for name, entry in value.items()
        )
    return f"```json\n{clean_text(json.dumps(value, indent=2, ensure_ascii=False))}\n```"


def _is_plain(entry: Any) -> bool:
    """Return whether a value is a scalar or an object of scalars."""
    if isinstance(entry, dict):
        return all(not isinstance(value, (list, dict)) for value in entry.values()) and _text_name(entry) is not None
    return not isinstance(entry, list)


def _format_entry(entry: Any) -> str:
    """Return an entry of a list as a bullet; with a box if the entry says whether it is done."""
    if not isinstance(entry, dict):
        return f"- {_on_one_entry(format_value(entry))}"
    name = _text_name(entry)
    done = next((key for key in entry if normalize_word(key) in DONE_NAMES and read_flag(entry[key]) is not None), None)
    box = "" if done is None else f"[{'x' if read_flag(entry[done]) else ' '}] "
    others = [f"{key}: {format_value(value)}" for key, value in entry.items() if key not in (name, done)]
    others = [clean(text) for text in others if not text.endswith(": ")]
    return f"- {box}{_on_one_entry(format_value(entry[name]))}" + (f" ({', '.join(others)})" if others else "")


def _text_name(entry: Dict[str, Any]) -> Optional[str]:
    names = {normalize_word(key): key for key in entry}
    return next((names[name] for name in TEXT_NAMES if isinstance(entry.get(names.get(name, "")), str)), None)


def _on_one_entry(text: str) -> str:
    """Return a text whose further lines belong to the bullet that it is written behind."""
    return text.replace("\n", "\n  ")
