"""Read the fields of a task of any tool: whether it is open, and its text as Markdown. Pure.

read_state({"passes": False, "status": "review"})          State("open", "review", "")
format_fields({"acceptanceCriteria": ["It compiles"]})     '## Acceptance criteria\\n\\n- It compiles'
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from ...base.text import clean, clean_block


def words(text: str) -> List[str]:
    """Return the words of a text; as a list literal they would take a line each."""
    return text.split()


OPEN, DONE, CANCELLED, DEFERRED = "open", "done", "cancelled", "deferred"
# Words are compared as `to_word` spells them.
FLAGS = words(
    "passes passed passing done completed complete implemented finished closed checked isdone iscompleted iscomplete"
)
NOT_BEGUN = [
    "",
    *words("pending open opened todo notstarted unstarted new planned backlog ready proposed queued next no"),
]
# A task of another status, as `review`, may be as good as done, or wait for somebody: a note says that it is taken.
_BEGUN = (
    "inprogress started active doing wip working ongoing underway current hooked claimed assigned failing failed error "
    "reopened partial partiallydone incomplete upcoming"
)
_DONE = (
    "done completed complete closed passing passed pass resolved finished fixed merged shipped implemented verified "
    "released deployed success true yes x"
)
_CANCELLED = (
    "cancelled canceled wontfix wontdo rejected duplicate abandoned obsolete tombstone deleted archived superseded "
    "dropped notplanned invalid removed descoped outofscope skipped declined deprecated"
)
_DEFERRED = "deferred onhold hold postponed later someday icebox paused parked frozen"
STATES = {
    **dict.fromkeys((*NOT_BEGUN, *words(_BEGUN)), OPEN),
    **dict.fromkeys(words(_DONE), DONE),
    **dict.fromkeys(words(_CANCELLED), CANCELLED),
    **dict.fromkeys(words(_DEFERRED), DEFERRED),
}
MAX_LINE_CHARS = 120  # a longer value gets a heading
# What is to be done, and how it is seen, gets a heading however short it is.
SECTIONS = words("details teststrategy acceptance acceptancecriteria criteria steps notes design plan comments")


class State(NamedTuple):
    """OPEN, DONE, CANCELLED or DEFERRED; the status as written; and what is doubtful about it, empty if nothing is."""

    state: str
    status: str = ""
    doubt: str = ""

    @property
    def has_begun(self) -> bool:
        """Whether an open task is said to be more than pending."""
        return self.state == OPEN and to_word(self.status) not in NOT_BEGUN


@lru_cache(maxsize=4096)
def to_word(text: str) -> str:
    """Return a status or the name of a field in lower case, ASCII letters and digits alone."""
    return re.sub(r"[^a-z0-9]", "", text.lower())


def by_word(item: Mapping[str, Any]) -> Dict[str, str]:
    """Return the names of fields by how `to_word` spells them."""
    return {to_word(name): name for name in item}


def state_of(status: str) -> State:
    """Return the state of a task that has a status alone."""
    state = STATES.get(to_word(status)) if status.isascii() else None
    return State(state or OPEN, status, "" if state else f"{clean(status)[:60]!r} is taken as open")


def read_state(item: Mapping[str, Any]) -> State:
    """Return the state of a task. A flag (`passes`) decides: tools that have one look at nothing else."""
    names = by_word(item)
    values = {name: item[names[name]] for name in ("status", "state") if name in names}
    status = next((value for name, value in values.items() if is_state(name, value)), "")
    found = state_of(str(status).strip())
    flag = next((names[name] for name in FLAGS if is_state(name, item.get(names.get(name, "")))), None)
    if flag is None or (found.state in (CANCELLED, DEFERRED) and not read_flag(item[flag])):
        return found
    state = DONE if read_flag(item[flag]) else OPEN
    doubt = f"{clean(found.status)[:60]!r} with `{flag}: {str(state == DONE).lower()}` is taken as {state}"
    return State(state, found.status, doubt if status and state != found.state and not found.doubt else "")


def is_state(name: str, value: Any) -> bool:
    """Return whether a field of this word and value says how far a task is."""
    if name in FLAGS:
        return read_flag(value) is not None
    return name in ("status", "state") and isinstance(value, str) and bool(value.strip())


def read_flag(value: Any) -> Optional[bool]:
    """Return what a flag says: True, False, or None where it is none."""
    return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}.get(str(value).lower())


# -- Markdown ----------------------------------------------------------------------------------------------------------


def format_fields(fields: Mapping[str, Any]) -> str:
    """Return fields as Markdown: first what fits on a line each, then a section for each other one."""
    lines: List[str] = []
    sections: List[str] = []
    for name, value in fields.items():
        if is_empty(value):
            continue
        if isinstance(value, list) and all(isinstance(each, str) and len(each.split()) == 1 for each in value):
            value = ", ".join(value)  # labels
        text = format_value(value)
        is_long = "\n" in text or len(text) > MAX_LINE_CHARS or isinstance(value, (list, dict))
        if is_long or to_word(name) in SECTIONS:
            sections.append(f"## {format_label(name)}\n\n{text}")
        else:
            lines.append(f"{format_label(name)}: {text}")
    return join_blocks("\n".join(lines), *sections)


def join_blocks(*blocks: str) -> str:
    """Return the blocks that are not empty, cleaned, tabs as blanks, with an empty line between them."""
    return "\n\n".join(filter(None, (clean_block(block.expandtabs(4)).strip() for block in blocks)))


def is_empty(value: Any) -> bool:
    """Return whether a value says nothing: null, a blank text, an empty list or object."""
    return value is None or value in ([], {}) or (isinstance(value, str) and not value.strip())


def format_label(name: str) -> str:
    """Return the name of a field in words: `acceptanceCriteria` as `Acceptance criteria`."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[_\-\s]+", " ", clean(name)).split()
    text = " ".join(word if word.isupper() and len(word) > 1 else word.lower() for word in words)
    return text[:1].upper() + text[1:]


def format_value(value: Any) -> str:
    """Return a value as Markdown of one or more lines; as JSON what is no text, number or list of such."""
    if isinstance(value, str):
        return join_blocks(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list) and all(map(_is_entry, value)):
        return "\n".join(_format_entry(entry) for entry in value if not is_empty(entry))
    if isinstance(value, (list, dict)):
        return f"```json\n{join_blocks(json.dumps(value, indent=2, ensure_ascii=False))}\n```"
    return json.dumps(value)


def _is_entry(entry: Any) -> bool:
    """Return whether a value fits on a bullet: a scalar, or an object of scalars with a text."""
    values = list(entry.values()) if isinstance(entry, dict) else [entry, ""]
    return not any(isinstance(each, (list, dict)) for each in values) and any(isinstance(each, str) for each in values)


def _format_entry(entry: Any) -> str:
    """Return an entry of a list as a bullet, of an object its first text, then its other fields, in brackets."""
    if not isinstance(entry, dict):
        return "- " + format_value(entry).replace("\n", "\n  ")
    name = next(name for name, each in entry.items() if isinstance(each, str))
    others = (f"{key}: {format_value(each)}" for key, each in entry.items() if key != name and not is_empty(each))
    rest = clean(", ".join(others))
    return "- " + format_value(entry[name]).replace("\n", "\n  ") + (f" ({rest})" if rest else "")
