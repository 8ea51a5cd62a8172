"""Everything that the published schema says against a state, each with its place and what should be there.

    for found in violations.of_state(state):
        print(found.steps, found.message)

`schema.Schema.check` names the first violation in each field, which is all that a write needs; a person who mends a
file wants them all. Places come from jsonschema where it is installed, else from a walk of our own that knows the
keywords which the schema of states uses; both give the same (a test holds them to it), and the words are ours.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

from . import predicates, schema

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Tuple

    Steps = Tuple[Any, ...]
    Place = Tuple[Steps, str, str]  # the steps to a value; MISSING or NAME and which property, else "" twice

MISSING = "missing"
NAME = "name"
MAX_FOUND = 50
OF_THE_VALUE = frozenset(
    ("type", "enum", "const", "minimum", "maximum", "minLength", "maxLength", "pattern", "minItems", "maxItems",
     "uniqueItems")
)  # fmt: skip
OF_WHAT_IS_IN_IT = frozenset(("required", "properties", "propertyNames", "additionalProperties", "items"))


class Found(NamedTuple):
    """What is wrong: the steps to the value or the name, and the message."""

    steps: Steps
    message: str


def of_state(state: Any) -> List[Found]:
    """Every violation in a state, in its order, at most 50; empty when it is valid."""
    published = schema.load_published("batch_state")
    places = list(dict.fromkeys(_places(state, published)))
    order = {steps: number for number, steps in enumerate(_steps(state, ()))} if places else {}
    places.sort(key=lambda place: (order.get(_shown_at(place), 0), place[1:]))
    tests = _Tests(published)
    return [Found(_shown_at(place), _message(state, tests, place)) for place in places[:MAX_FOUND]]


def _places(state: Any, published: Dict[str, Any]) -> Iterator[Place]:
    try:
        import jsonschema
    except ImportError:
        yield from _own(state, published, _Tests(published), ())
        return
    for error in jsonschema.Draft7Validator(published).iter_errors(state):
        steps = tuple(error.absolute_path)
        if error.validator == "required":
            yield from ((steps, MISSING, name) for name in error.validator_value if name not in error.instance)
        elif "propertyNames" in error.absolute_schema_path:
            yield steps, NAME, error.instance
        else:
            yield steps, "", ""


class _Tests:
    """The tests of values alone, by the part of the schema that they are of, each compiled once."""

    def __init__(self, published: Dict[str, Any]) -> None:
        self.published = published
        self.compiled: Dict[int, schema.Schema] = {}

    def message(self, value: Any, part: Dict[str, Any]) -> Optional[str]:
        """What is wrong with a value itself, whatever is in it; None when nothing is."""
        if id(part) not in self.compiled:
            own = {keyword: part[keyword] for keyword in part if keyword in OF_THE_VALUE}
            self.compiled[id(part)] = schema.compile_schema(own)
        found = self.compiled[id(part)].check(value)
        return found[0].message if found else None


def _own(value: Any, part: Dict[str, Any], tests: _Tests, steps: Steps) -> Iterator[Place]:
    if tests.message(value, part) is not None:
        yield steps, "", ""
    if isinstance(value, dict):
        yield from ((steps, MISSING, name) for name in part.get("required", ()) if name not in value)
        for name, item in value.items():
            if "propertyNames" in part and tests.message(name, _resolved(part["propertyNames"], tests.published)):
                yield steps, NAME, name
            yield from _own(item, _below(part, name, tests.published), tests, (*steps, name))
    elif isinstance(value, list):
        below = _below(part, 0, tests.published)
        for index, item in enumerate(value):
            yield from _own(item, below, tests, (*steps, index))


_ANYTHING: Dict[str, Any] = {}


def _below(part: Dict[str, Any], step: Any, published: Dict[str, Any]) -> Dict[str, Any]:
    """The part of the schema for what a step leads to, without a $ref."""
    if isinstance(step, int):
        below = part.get("items", _ANYTHING)
    else:
        below = part.get("properties", _ANYTHING).get(step, part.get("additionalProperties", _ANYTHING))
    return _resolved(below, published)


def _resolved(part: Dict[str, Any], published: Dict[str, Any]) -> Dict[str, Any]:
    while "$ref" in part:
        part = published["definitions"][part["$ref"][len(schema.REF_PREFIX) :]]
    return part


def _shown_at(place: Place) -> Steps:
    """The steps to what is shown: of a name that may not be, those to the name."""
    steps, kind, name = place
    return (*steps, name) if kind == NAME else steps


def _steps(value: Any, steps: Steps) -> Iterator[Steps]:
    yield steps
    if isinstance(value, (dict, list)):
        for step, below in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _steps(below, (*steps, step))


def _message(state: Any, tests: _Tests, place: Place) -> str:
    """What is wrong at a place, what should be there, and what was probably meant."""
    steps, kind, name = place
    published = tests.published
    value, part, told = state, published, published
    for step in steps:
        value = value[step]
        written = part["items"] if isinstance(step, int) else part.get("properties", {}).get(step)
        part = _below(part, step, published)
        told = written if written and "description" in written else part
    if kind == MISSING:
        described = part.get("properties", {}).get(name, {})
        hint = _meant(name, [each for each in value if each not in part.get("properties", {})])
        return f"{predicates.missing_property(name)[1]}. {hint or _described(described, published)}".rstrip()
    if kind == NAME:
        named = _resolved(part["propertyNames"], published)
        found = _without_pattern(tests.message(name, named) or "")
        return (
            f"the name {predicates.format_value(name)} is not allowed: {found}. {_described(named, published)}".rstrip()
        )
    found = _without_pattern(tests.message(value, part) or f"found {predicates.format_value(value)}")
    near = (
        difflib.get_close_matches(value[:60], [str(each) for each in part.get("enum", ())], 1) if _text(value) else []
    )
    hint = f"Did you mean `{near[0]}`?" if near else _described(told, published)
    return f"{found}. {hint}".rstrip()


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _without_pattern(message: str) -> str:
    """A message without a regular expression, which says nothing to a person; the description says it in words."""
    return message.partition(", expected text that matches ")[0]


def _described(part: Dict[str, Any], published: Dict[str, Any]) -> str:
    return str(part.get("description") or _resolved(part, published).get("description", ""))


def _meant(name: str, unknown: List[str]) -> str:
    """A guess at which unknown property was meant as the missing one; empty when none is like it."""
    near = difflib.get_close_matches(name, [each[:60] for each in unknown[:MAX_FOUND]], 1)
    return f"Is {predicates.format_value(near[0])}, which is there, meant as it?" if near else ""
