"""Read a list of features in YAML or JSON, held against the published schema.

    document = parse_document(data, "features.yaml", "yaml")
    find_errors(document)                   all that the schema says against it, each with its line and column
    read_document(document, "features.yaml", options)

The form is `schemas/features.schema.json`: a list of features, or an object with `features` and `defaults`. A feature
is a text, read as a line of a text file is, or an object. `details` keep what is written, cleaned: a title becomes the
text of the feature, a description keeps its line breaks, references become texts, and what decides how the feature is
done goes into `policy`.
"""

from __future__ import annotations

import re

from ...base.text import clean, clean_block
from ...core.batch_policy import FEATURE_FIELDS, RUN_FIELDS
from ...validation import errors
from ..feature_list import Feature, FeatureListError, Listing, ListOptions, check_features, decode_text, parse_feature
from . import located_values

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Tuple

    from ...validation.errors import SchemaError
    from .located_values import Document

MAX_SHOWN_ERRORS = 5
MAX_SHOWN_LINES = 10
NOTE_AS_NAME = re.compile(r".*\(\s*(?:after|id)", re.IGNORECASE | re.DOTALL)


def read(data: bytes, name: str, kind: str, options: ListOptions = ListOptions()) -> Listing:  # noqa: B008
    """Return what the bytes list. `kind` is `yaml`, `json` or `jsonl`. Raises FeatureListError."""
    return read_document(parse_document(data, name, kind), name, options)


def read_document(document: Document, name: str, options: ListOptions) -> Listing:
    """Return the features of a document: a list of ours, else a task file of another tool. Raises FeatureListError."""
    schema_errors = find_errors(document)
    listing = read_tool_file(document, name, options) if schema_errors or options.tag else None
    if listing is not None:
        return listing
    if schema_errors:
        raise _schema_error(document.value, schema_errors, name)
    return list_features(document, name)


def _schema_error(value: Any, schema_errors: List[SchemaError], name: str) -> FeatureListError:
    first = schema_errors[0]
    if isinstance(value, dict) and "features" not in value and "defaults" not in value and "mean" not in first.message:
        names = ", ".join(f"`{clean(each)[:40]}`" for each in list(value)[:8])
        return FeatureListError(
            f"no list of features: this is an object with {names}. Give a list, or an object with the list in "
            "`features`; `batchctl schema features` describes it.",
            "features-yaml",
            name,
            first.line or 1,
        )
    return FeatureListError(_list_errors(schema_errors), "features-yaml", name, first.line or 1)


def _list_errors(schema_errors: List[SchemaError]) -> str:
    """Return the first errors in words, each kind once with the lines where it is."""
    kinds: Dict[str, List[SchemaError]] = {}
    for error in schema_errors:
        kinds.setdefault(error.message, []).append(error)
    said: List[str] = []
    for message, same in list(kinds.items())[:MAX_SHOWN_ERRORS]:
        pointer = f"{same[0].pointer}: " if same[0].pointer else ""
        line = f"Line {same[0].line}: " if said else ""
        others = ", ".join(str(error.line) for error in same[1 : MAX_SHOWN_LINES + 1])
        more = " and more" if len(same) > MAX_SHOWN_LINES + 1 else ""
        also = f" The same on line{'s' if len(same) > 2 else ''} {others}{more}." if others else ""
        said.append(f"{line}{pointer}{message}{also}")
    number = len(schema_errors)
    if len(kinds) > MAX_SHOWN_ERRORS or number == errors.MAX_ERRORS:
        count = f"at least {number}" if number == errors.MAX_ERRORS else number
        said.append(f"{count} errors in all; `batchctl validate` lists them.")
    return " ".join(said)


def read_tool_file(document: Document, name: str, options: ListOptions) -> Optional[Listing]:
    """Return the features of a task file of another tool; None if it is none. Raises FeatureListError."""
    from .. import tool_formats
    from ..tool_formats import task_master

    read_tool = tool_formats.find_reader(document.value)
    if options.tag and read_tool is not task_master.read:
        raise FeatureListError(
            "this is no Task Master file, so it has no tags. Leave `--tag` out.", "features-file", name
        )
    return read_tool(document, name, options) if read_tool else None


def parse_document(data: bytes, name: str, kind: str) -> Document:
    """Return the bytes as a document that may violate the schema. `kind` is as for `read`. Raises FeatureListError."""
    if kind == "jsonl":
        from . import json_lines

        return json_lines.parse(data, name)
    text = decode_text(data, name)
    if not text.strip():
        raise FeatureListError(
            "the file is empty. Write a list of features; `batchctl schema features` describes it.",
            "features-yaml",
            name,
        )
    document = located_values.parse(text, name, kind)
    if kind == "yaml":
        value = document.value
        items = value.get("features") if isinstance(value, dict) else value
        if isinstance(items, list):
            items[:] = map(_restore_note, items)
    return document


def _restore_note(item: Any) -> Any:
    """Return the text whose note YAML took for a property, anything else as it is.

    In YAML `- Add a page (after: 2)` without quotes is an object with the property `Add a page (after`. Nobody means
    that.
    """
    if isinstance(item, dict) and len(item) == 1:
        ((begin, end),) = item.items()
        if NOTE_AS_NAME.fullmatch(begin) and isinstance(end, str) and end.endswith(")"):
            return f"{begin}: {end}"
    return item


def find_errors(document: Document) -> List[SchemaError]:
    """Return what the published schema says against a document, at most 50 errors by line; empty if it is valid."""
    return errors.find_errors(document.value, "features", document.position)


def feature_path(document: Document, index: int) -> Tuple[Any, ...]:
    """Return the path of a feature in a valid document."""
    return (index,) if isinstance(document.value, list) else ("features", index)


def list_features(document: Document, name: str) -> Listing:
    """Return the features of a valid document, in its order. Raises FeatureListError."""
    value = document.value
    items = value if isinstance(value, list) else value["features"]
    features = []
    for index, item in enumerate(items):
        try:
            features.append(_to_feature(item, name, document.position(feature_path(document, index)).line))
        except FeatureListError as error:
            error.index = index
            raise
    return Listing(check_features(features, name), {} if isinstance(value, list) else _batch_defaults(value))


def _to_feature(item: Any, name: str, line: int) -> Feature:
    if isinstance(item, str):
        return parse_feature(item, name, line)
    title = parse_feature(item["title"], name, line)
    if title.details:
        raise FeatureListError(
            "the title ends in a note, and an object has properties instead. Remove it and write `depends_on` or `id`.",
            "features-yaml",
            name,
            line,
        )
    details: Dict[str, Any] = {"title": title.text}
    if "id" in item:
        details["id"] = item["id"]
    section = clean(item.get("section", "")).strip()
    if section:
        details["section"] = section
    description = clean_block(item.get("description", ""))
    if description:
        details["description"] = description
    if item.get("touches"):
        details["touches"] = item["touches"]
    references = item.get("depends_on", [])
    if references != []:
        references = references if isinstance(references, list) else [references]
        details["depends_on"] = [_format_reference(reference) for reference in references]
    policy = _select_policy(item, FEATURE_FIELDS)
    if policy:
        details["policy"] = policy
    return Feature(title.text, line, details)


def _format_reference(reference: Any) -> str:
    return reference if isinstance(reference, str) else str(int(reference))  # to JSON 2.0 is an integer


def _batch_defaults(value: Dict[str, Any]) -> Dict[str, Any]:
    defaults = value.get("defaults", {})
    limits = defaults.get("limits", {})
    fields = ("unattended", *FEATURE_FIELDS, *RUN_FIELDS)
    return {**_select_policy(defaults, fields), **_select_policy(limits, tuple(limits))}


def _select_policy(values: Dict[str, Any], names: Tuple[str, ...]) -> Dict[str, Any]:
    """Return the values of these names that there are, integers as such, commands without blanks around them."""
    policy = {name: values[name] for name in names if name in values}
    for name, value in policy.items():
        if isinstance(value, float):
            policy[name] = int(value)
        elif isinstance(value, str):
            policy[name] = value.strip()
    return policy
