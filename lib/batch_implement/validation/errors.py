"""Find what a published schema says against a value, with the place of each error and what is expected there.

    for error in find_errors(state, "batch_state", document.position):
        print(error.pointer, error.line, error.column, error.message)

jsonschema finds the places of all errors. Without it (a bare clone) the compiled schema finds the first one in each
top-level field. The messages come from here in both cases.
"""

from __future__ import annotations

import difflib
import json
from itertools import islice
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from ..base.text import clean
from . import schema

Path = Tuple[Any, ...]
Place = Tuple[Optional[int], Optional[int]]

MAX_ERRORS = schema.MAX_ERRORS
MAX_NAME_CHARS = 60
CONTENT_KEYWORDS = frozenset(
    ("definitions", "properties", "required", "additionalProperties", "propertyNames", "items")
)

# What people write for a property of a features file, where the spelling alone does not tell.
SYNONYMS = {
    "after": "depends_on", "needs": "depends_on", "requires": "depends_on", "dependencies": "depends_on",
    "name": "title", "text": "title", "feature": "title", "summary": "title", "body": "description",
    "files": "touches", "paths": "touches", "test": "verify", "command": "verify", "timeout": "verify_timeout_s",
    "mode": "workflow_mode", "retries": "max_retries", "tasks": "features", "items": "features", "policy": "defaults",
}  # fmt: skip


class SchemaError(NamedTuple):
    """A violation of a schema: the path of names and indices to the value, what was found and what is expected.

    `line` and `column` count from 1; None where the value does not come from a text.
    """

    path: Path
    message: str
    line: Optional[int] = None
    column: Optional[int] = None

    @property
    def pointer(self) -> str:
        """Return the path as a JSON pointer (RFC 6901); empty for the whole document."""
        return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in self.path)


def find_errors(value: Any, name: str, position: Callable[[Path], Place]) -> List[SchemaError]:
    """Return what the published schema `name` says against a value, at most 50 errors by place; empty if it is valid.

    `position` returns the line and column of the value at a path.
    """
    published = schema.load_published(name)
    first_errors = schema.Schema(published).check(value)
    if not first_errors:
        return []
    # jsonschema overlooks some duplicates (see schema.py), so the compiled schema's paths are added.
    paths = dict.fromkeys([*_jsonschema_paths(value, published), *(error.path for error in first_errors)])
    explainer = _Explainer(published, position, is_written_by_hand=name == "features")
    errors = (error for path in paths for error in explainer.explain(value, path))
    return sorted(islice(errors, MAX_ERRORS), key=lambda error: (error.line or 0, error.column or 0))


def _jsonschema_paths(value: Any, published: Dict[str, Any]) -> List[Path]:
    """Return each path with an error that jsonschema finds, at most 50; empty if it is not installed."""
    try:
        import jsonschema
    except ImportError:
        return []
    paths: Dict[Path, None] = {}
    for error in jsonschema.Draft7Validator(published).iter_errors(value):
        paths[tuple(error.absolute_path)] = None
        if len(paths) == MAX_ERRORS:
            break
    return list(paths)


class _Explainer:
    """Explains the errors at a path: what was found there, the schema's description, what was probably meant."""

    def __init__(
        self, published: Dict[str, Any], position: Callable[[Path], Place], *, is_written_by_hand: bool
    ) -> None:
        self.published = published
        self.position = position
        self.is_written_by_hand = is_written_by_hand

    def explain(self, value: Any, path: Path) -> Iterator[SchemaError]:
        """Yield the errors of the value at `path` itself, without those of the values in it."""
        part = self.published
        for step in path:
            value, part = value[step], self._subschema(part, step)
        message = _own_check(part)(value)
        if message:
            hint = _hint(value, part) if self.is_written_by_hand else ""
            yield self._error(path, f"{message}. {part.get('description', '')}".rstrip() + hint)
        elif isinstance(value, dict):
            yield from self._explain_names(value, part, path)

    def _explain_names(self, value: Dict[str, Any], part: Dict[str, Any], path: Path) -> Iterator[SchemaError]:
        """Yield an error for each property of an object that is not allowed, and for each that is missing."""
        if "propertyNames" in part:
            names = self._resolve(part["propertyNames"], "")
            check_name = _own_check(names)
            for name in value:
                message = check_name(name)
                if message:
                    message = f"the name {schema.format_value(name)} is not allowed: {message}"
                    yield self._error((*path, name), f"{message}. {names['description']}".rstrip())
        known = part.get("properties", {})
        unknown = [name for name in value if name not in known] if part.get("additionalProperties") is False else []
        intended = {name: _closest_property(name, known) for name in unknown[:MAX_ERRORS]}
        for name, near in intended.items():
            line, column = self.position((*path, name))
            yield SchemaError(path, self._explain_unknown(name, near, value, known), line, column)
        if unknown and len(unknown) == len(value):  # nothing in it is known: a list of what it lacks is no help
            return
        for name in part.get("required", []):
            if name not in value and name not in intended.values():
                description = self._resolve(known.get(name, {}), "")["description"]
                yield self._error(path, f"{schema.missing_property(name)[1]}. {description}".rstrip())

    def _explain_unknown(self, name: str, near: Optional[str], value: Any, known: Dict[str, Any]) -> str:
        problem = f"unknown property {clean(name)[:MAX_NAME_CHARS]!r}"
        if near is not None:
            return f"{problem}. Did you mean `{near}`?"
        # Only the schema of features files forbids unknown properties.
        defaults = self.published["properties"]["defaults"]["properties"]
        for place, names in (
            ("`limits` in `defaults`", defaults["limits"]["properties"]),
            ("`defaults`", defaults),
            ("a feature", self.published["definitions"]["feature"]["properties"]),
        ):
            if _normalize_name(name) in names:
                return f"{problem}. It belongs in {place}."
        if len(value) == 1 and "title" in known:
            return f"{problem}. If it is a text with a colon, put the whole text in quotes."
        return f"{problem}. Known properties: {', '.join(known)}."

    def _error(self, path: Path, message: str) -> SchemaError:
        return SchemaError(path, message, *self.position(path))

    def _subschema(self, part: Dict[str, Any], step: Any) -> Dict[str, Any]:
        """Return the schema of the value that a step leads to, without a $ref."""
        if isinstance(step, int):
            below = part.get("items", {})
        else:
            below = part.get("properties", {}).get(step, part.get("additionalProperties"))
        return self._resolve(below if isinstance(below, dict) else {}, part.get("description", ""))

    def _resolve(self, part: Dict[str, Any], description: str) -> Dict[str, Any]:
        """Return a schema without a $ref, with all descriptions that apply, or the one given if there are none."""
        descriptions = [part.get("description", "")]
        while "$ref" in part:
            part = self.published["definitions"][part["$ref"][len(schema.REF_PREFIX) :]]
            descriptions.append(part.get("description", ""))
        return {**part, "description": " ".join(filter(None, dict.fromkeys(descriptions))) or description}


def _own_check(part: Dict[str, Any]) -> Callable[[Any], str]:
    """Return a function that returns what is wrong with a value itself, whatever is in it; empty if nothing is."""
    own_keywords = {keyword: part[keyword] for keyword in part if keyword not in CONTENT_KEYWORDS}
    compiled = schema.Schema(own_keywords)

    def check(value: Any) -> str:
        errors = compiled.check(value)
        # A regular expression says nothing to a person: the schema's description says it in words.
        return errors[0].message.partition(", expected text that matches ")[0] if errors else ""

    return check


def _closest_property(name: str, known: Dict[str, Any]) -> Optional[str]:
    """Return the known property that was probably meant by another name; None if none is like it."""
    normalized = _normalize_name(name[:MAX_NAME_CHARS])
    synonym = SYNONYMS.get(normalized)
    if synonym in known:
        return synonym
    return next(iter(difflib.get_close_matches(normalized, list(known), n=1)), None)


def _normalize_name(name: str) -> str:
    return name.strip().lower().replace("-", "_").replace(" ", "_")


def _hint(value: Any, part: Dict[str, Any]) -> str:
    """Return what was probably meant by a value of the wrong type, with a blank before it; empty if unknown."""
    if value is None:
        return " The value is missing: fill it in, or leave the property out. A text that begins with `#` needs quotes."
    types = part.get("type", ())
    if isinstance(value, (int, float)) and "string" in types:
        return f' If it is a text, put it in quotes: "{json.dumps(value)}".'
    if isinstance(value, str) and "array" in types and "string" not in types:
        return " A list has square brackets, or a line with `- ` for each entry."
    return ""
