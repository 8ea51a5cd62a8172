"""Read JSON lines, a value on each line, as a document whose value is the list of them. Raises FeatureListError."""

from __future__ import annotations

from ...base import strict_json
from ..feature_list import MAX_BYTES, FeatureListError, decode_text, split_lines
from .located_values import MAX_DEPTH, MAX_VALUES, Document, Position, explain_json_error


def parse(data: bytes, name: str) -> Document:
    """Return the values of the lines that are not blank, each with the position of its line."""
    document = Document([], {})
    for number, line in enumerate(split_lines(decode_text(data, name), name), start=1):
        if line.strip():
            try:
                value = strict_json.parse(
                    line.encode(), max_bytes=MAX_BYTES, max_depth=MAX_DEPTH, max_values=MAX_VALUES
                )
            except strict_json.JSONError as error:
                reason = f"{explain_json_error(error)} In JSON lines each line is a whole value."
                raise FeatureListError(reason, "features-yaml", name, number, error.column) from None
            document.positions[(len(document.value),)] = Position(number, 1)
            document.value.append(value)
    if not document.value:
        raise FeatureListError("the file is empty. Write a JSON object on each line.", "features-yaml", name)
    return document
