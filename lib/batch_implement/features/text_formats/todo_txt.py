"""Read todo.txt: one task per line, `x 2024-01-02 text` is done, `(A) text` has a priority.

The format is described at https://github.com/todotxt/todo.txt. Priorities, dates, `+project`, `@context` and
`key:value` stay in the text; the order is that of the file.
"""

from __future__ import annotations

import re

from ..feature_list import LeftOut, Listing, check_features, parse_clean_feature
from ..open_entries import count_open, nothing_open_error, number_open_features
from . import text_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .text_layout import Line


def is_todo_txt(lines: Sequence[Line]) -> bool:
    """Return whether lines are of the todo.txt format: its dates or priorities, and no marks of other lists.

    A creation date alone could also be that of a log: then a project, a context or a `key:value` must be there, too.
    """
    if any(line.column for line in lines):
        return False
    marked = [line for line in lines if text_lines.TODO_TXT.match(line.text)]
    if not marked:
        return False
    others = [line for line in lines if not text_lines.TODO_TXT.match(line.text)]
    if any(text_lines.parse_marker(line.text).kind for line in others) or 3 * len(marked) < len(lines):
        return False
    is_sure = any(line.text[0] in "x(" for line in marked)
    return is_sure or any(re.search(r"(?:^|\s)[+@][^\W\d]|\s\w+:[^\s/]", line.text) for line in lines)


def read(lines: Sequence[Line], name: str) -> Listing:
    """Return the open tasks of a todo.txt. Raises FeatureListError."""
    features, left_out, is_open = [], [], []
    for line in lines:
        if line.text.startswith("#"):
            left_out.append(LeftOut(line.number, line.text, "comment"))
            continue
        is_open.append(not line.text.startswith("x "))
        if is_open[-1]:
            features.append(parse_clean_feature(line.text, name, line.number, near_misses=True))
        else:
            left_out.append(LeftOut(line.number, line.text, "done"))
    if not features:
        raise nothing_open_error(name, len(is_open))
    features = number_open_features(features, is_open)
    return Listing(check_features(features, name), {}, f"todo.txt: {count_open(is_open)}", left_out)
