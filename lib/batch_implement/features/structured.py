"""A list of features in YAML or JSON: held against the published schema, then made the same listing as any other.

    listing = structured.read(data, "features.yaml", "yaml")
    structured.problems(document)               all that the schema says against it, each with its line

The form is `schemas/features.schema.json`, which is what is enforced: a list of features, or an object with `features`
and `defaults`. A feature is a text, which is read as a line of a text file is, or an object. What stands in `details`
is what was written, cleaned: a title becomes the feature's text, a description keeps its line breaks, references become
texts, and what decides how the feature is done goes into `policy`.

To YAML `- Add a page (after: 2)` without quotes is an object with the property `Add a page (after`. Nobody means that,
so it is read as the text that stands there.
"""

from __future__ import annotations

import difflib
import json
import re
from itertools import islice
from typing import NamedTuple

from ..base.text import clean, clean_block
from ..core.errors import UsageError
from ..core.policies import FEATURE_FIELDS
from ..validation import predicates, schema
from . import documents
from .feature_list import Feature, Listing, check_features, decode_text, parse_feature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

    from ..validation.schema import Schema
    from .documents import Document, Steps

MAX_PROBLEMS = 50
LONGEST_NAME = 60  # of a property, as far as it is compared with those that there are
NOTE_AS_NAME = re.compile(r".*\(\s*(?:after|id)", re.IGNORECASE | re.DOTALL)

# What people write for a property, where looking alike does not tell.
SYNONYMS = {
    "after": "depends_on", "needs": "depends_on", "requires": "depends_on", "dependencies": "depends_on",
    "name": "title", "text": "title", "feature": "title", "summary": "title", "body": "description",
    "files": "touches", "paths": "touches", "test": "verify", "command": "verify", "timeout": "verify_timeout_s",
    "mode": "workflow_mode", "retries": "max_retries", "tasks": "features", "items": "features", "policy": "defaults",
}  # fmt: skip


class Problem(NamedTuple):
    """What is wrong with a document: where in it (RFC 6901; "" is the whole), on which line, and what to do.

    `place` are the steps to what stands on that line: of an unknown property those to the property.
    """

    pointer: str
    line: int
    message: str
    place: Steps


def read(data: bytes, name: str, kind: str) -> Listing:
    """Return what the bytes list: their kind is `yaml` or `json`. Raises Misuse."""
    document = parse_document(data, name, kind)
    found = problems(document)
    if found:
        pointer, line, message, _ = found[0]
        place = f" ({pointer})" if pointer else ""
        count = f"at least {MAX_PROBLEMS}" if len(found) == MAX_PROBLEMS else len(found)
        more = f" It is one of {count}: `batchctl validate` shows them." if len(found) > 1 else ""
        raise UsageError(f"{name}, line {line}{place}: {message}{more}", "features-yaml")
    value = document.value
    base: Tuple[Any, ...] = () if isinstance(value, list) else ("features",)
    items = value if isinstance(value, list) else value["features"]
    features = [_to_feature(item, name, document.line((*base, index))) for index, item in enumerate(items)]
    return Listing(
        check_features(features, name), {} if isinstance(value, list) else _batch_defaults(value.get("defaults", {}))
    )


def parse_document(data: bytes, name: str, kind: str) -> Document:
    """Return the bytes as a document that nothing is known of yet. Raises Misuse for what is no YAML or JSON."""
    text = decode_text(data, name)
    if not text.strip():
        raise UsageError(
            f"{name} is empty. Write a list of features; `batchctl schema features` describes it.", "features-yaml"
        )
    document = documents.parse(text, name, kind)
    if kind == "yaml":
        value = document.value
        items = value.get("features") if isinstance(value, dict) else value
        if isinstance(items, list):
            items[:] = map(_restore_note, items)
    return document


def _restore_note(item: Any) -> Any:
    """Return the text whose note YAML took for a property (see the module), anything else as it is."""
    if isinstance(item, dict) and len(item) == 1:
        ((begin, end),) = item.items()
        if NOTE_AS_NAME.fullmatch(begin) and isinstance(end, str) and end.endswith(")"):
            return f"{begin}: {end}"
    return item


def problems(document: Document) -> List[Problem]:
    """Return what the published schema says against a document, by line: each property that is wrong, at most 50.

    Empty when it is valid.
    """
    published = schema.load_published("features")
    found = _problems(document, (), document.value, published, published, schema.compile_schema(published))
    return sorted(islice(found, MAX_PROBLEMS), key=lambda problem: problem.line)


def _problems(
    document: Document, steps: Steps, value: Any, part: Dict[str, Any], published: Dict[str, Any], compiled: Schema
) -> Iterator[Problem]:
    """Yield what is wrong with a value and, as a schema itself names only the first in it, with each value in it.

    `part` is the part of the published schema for it, with `description` and `properties`; `compiled` the same.
    """
    violations = compiled.check(value)
    own = [violation.message for violation in violations if not violation.pointer]
    if own and isinstance(value, dict) and part["properties"]:
        yield from _wrong_names(document, steps, value, part, published)
    elif own:
        found = own[0].partition(", expected text that matches ")[0]
        yield _problem(document, steps, f"{found}. {part['description']}{_hint(value, part)}")
    if violations and isinstance(value, list) and "items" in part:
        below = _below(part, part["items"], published)
        compiled = _compiled(below, published)
        for index, item in enumerate(value):
            yield from _problems(document, (*steps, index), item, below, published, compiled)
    elif violations and isinstance(value, dict):
        for name in value:
            if name in part["properties"]:
                below = _below(part, part["properties"][name], published)
                yield from _problems(
                    document, (*steps, name), value[name], below, published, _compiled(below, published)
                )


def _problem(document: Document, steps: Steps, message: str, place: Optional[Steps] = None) -> Problem:
    """Return a problem with the value at `steps`; its line is that of `place`, where that is given."""
    place = steps if place is None else place
    return Problem(predicates.pointer([*reversed(steps)]), document.line(place), message, place)


def _below(part: Dict[str, Any], below: Dict[str, Any], published: Dict[str, Any]) -> Dict[str, Any]:
    """Return a schema that stands in another, without a $ref, with all the descriptions that hold for it."""
    if "$ref" not in below:
        return {"description": part["description"], "properties": {}, **below}
    definition = published["definitions"][below["$ref"].rpartition("/")[2]]
    described = dict.fromkeys(each["description"] for each in (below, definition) if "description" in each)
    return {"properties": {}, **definition, "description": " ".join(described)}


def _compiled(part: Dict[str, Any], published: Dict[str, Any]) -> Schema:
    return schema.compile_schema({**part, "definitions": published["definitions"]})


def _wrong_names(
    document: Document, steps: Steps, value: Any, part: Dict[str, Any], published: Dict[str, Any]
) -> Iterator[Problem]:
    """Yield a problem for each property of an object that is not known, and for each that must be there and is not."""
    known = part["properties"]
    unknown = [name for name in value if name not in known]
    meant = {name: _meant(name, known) for name in unknown[:MAX_PROBLEMS]}
    for name, near in meant.items():
        yield _problem(document, steps, _unknown(name, near, value, known, published), (*steps, name))
    if unknown and len(unknown) == len(value):  # nothing in it is known: what it lacks besides is no help
        return
    for name in part.get("required", []):
        if name not in value and name not in meant.values():
            yield _problem(document, steps, f"{predicates.missing_property(name)[1]}. {known[name]['description']}")


def _meant(name: str, known: Dict[str, Any]) -> Optional[str]:
    """Return the known property that was probably meant by another name; None when none is like it."""
    plain = _plain(name[:LONGEST_NAME])
    synonym = SYNONYMS.get(plain)
    if synonym in known:
        return synonym
    return next(iter(difflib.get_close_matches(plain, list(known), n=1)), None)


def _plain(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _unknown(name: str, near: Optional[str], value: Any, known: Dict[str, Any], published: Any) -> str:
    what = f"the property {clean(name)[:60]!r} is not known here"
    if near is not None:
        return f"{what}. Did you mean `{near}`?"
    defaults = published["properties"]["defaults"]["properties"]
    for place, names in (
        ("`limits` in `defaults`", defaults["limits"]["properties"]),
        ("`defaults`", defaults),
        ("a feature", published["definitions"]["feature"]["properties"]),
    ):
        if _plain(name) in names:
            return f"{what}. It belongs in {place}."
    if len(value) == 1 and "title" in known:
        return f"{what}. If it is a text with a colon in it, put the whole in quotes."
    return f"{what}. There are: {', '.join(known)}."


def _hint(value: Any, part: Dict[str, Any]) -> str:
    if value is None:
        return " Nothing stands there: fill it in, or leave it out. A text that begins with `#` needs quotes."
    takes = part.get("type", ())
    if isinstance(value, (int, float)) and "string" in takes:
        return f' If it is a text, put it in quotes: "{json.dumps(value)}".'
    if isinstance(value, str) and "array" in takes and "string" not in takes:
        return " A list has square brackets, or a line with `- ` for each entry."
    return ""


def _to_feature(item: Any, name: str, line: int) -> Feature:
    if isinstance(item, str):
        return parse_feature(item, name, line)
    title = parse_feature(item["title"], name, line)
    if title.details:
        raise UsageError(
            f"{name}, line {line}: the title ends in a note, and beside a title notes are properties. Take it off and "
            "write `depends_on` or `id`.",
            "features-yaml",
        )
    details: Dict[str, Any] = {"title": title.text}
    if "id" in item:
        details["id"] = item["id"]
    description = clean_block(item.get("description", ""))
    if description:
        details["description"] = description
    if item.get("touches"):
        details["touches"] = item["touches"]
    references = item.get("depends_on", [])
    if references != []:
        several = references if isinstance(references, list) else [references]
        details["depends_on"] = [_format_reference(each) for each in several]
    policy = _select_policy(item, FEATURE_FIELDS)
    if policy:
        details["policy"] = policy
    return Feature(title.text, line, details)


def _format_reference(reference: Any) -> str:
    return reference if isinstance(reference, str) else str(int(reference))  # to JSON 2.0 is an integer


def _batch_defaults(given: Dict[str, Any]) -> Dict[str, Any]:
    limits = given.get("limits", {})
    return {**_select_policy(given, ("unattended", *FEATURE_FIELDS)), **_select_policy(limits, tuple(limits))}


def _select_policy(given: Dict[str, Any], names: Tuple[str, ...]) -> Dict[str, Any]:
    """Return what is given of these, whole numbers as such, commands without blanks around them."""
    policy = {name: given[name] for name in names if name in given}
    for name, value in policy.items():
        if isinstance(value, float):
            policy[name] = int(value)
        elif isinstance(value, str):
            policy[name] = value.strip()
    return policy
