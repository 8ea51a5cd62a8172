"""Read JSON lines, a value on each line, as a document whose value is the list of them. Raises FeatureListError."""

from __future__ import annotations

from ...base import strict_json
from ..feature_list import MAX_BYTES, FeatureListError, decode_text, split_lines
from ..located_values import MAX_DEPTH, MAX_VALUES, Document, Position, explain_json_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Tuple


def parse(data: bytes, name: str) -> Document:
    """Return the values of the lines that are not blank, each with the position of its line."""
    values: List[Any] = []
    positions: Dict[Tuple[Any, ...], Position] = {}
    for number, line in enumerate(split_lines(decode_text(data, name), name), start=1):
        if not line.strip():
            continue
        try:
            value = strict_json.parse(line.encode(), max_bytes=MAX_BYTES, max_depth=MAX_DEPTH, max_values=MAX_VALUES)
        except strict_json.JSONError as error:
            raise FeatureListError(
                f"{explain_json_error(error)} In JSON lines each line is a whole value.",
                "features-yaml",
                name,
                number,
                error.column,
            ) from None
        positions[(len(values),)] = Position(number, len(line) - len(line.lstrip()) + 1)
        values.append(value)
    if not values:
        raise FeatureListError("the file is empty. Write a JSON object on each line.", "features-yaml", name)
    return Document(values, positions)
