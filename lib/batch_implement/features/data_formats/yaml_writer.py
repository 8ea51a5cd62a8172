"""Write a list of features as YAML that `yaml_and_json` reads back as the same features. Pure, without PyYAML.

    text = format_listing(listing, "tasks.json")

Texts are in double quotes, as JSON writes them; descriptions are blocks where a block can hold them. Comments at the
top say what was read, and name each line that is in no feature.
"""

from __future__ import annotations

import json
import re

from ...base.text import one_line
from ...core.prompts import pluralize

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

    from ..feature_list import Feature, Listing

LIMITS = ("max_retries", "max_retries_total", "max_failures_in_a_row")
MAX_COMMENT_CHARS = 200
# What a block holds as it is: no tab, no line break but `\n`, nothing that YAML does not print.
BLOCK_LINE = re.compile("[\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]*")


def format_listing(listing: Listing, name: str) -> str:
    """Return the features of a listing as YAML; `name` is what comments call its source."""
    lines = [_format_comment(f"{pluralize(len(listing.features), 'feature')} of {name}")]
    if listing.format:
        lines.append(_format_comment(f"Read as {listing.format}"))
    lines += [_format_comment(note) for note in listing.notes]
    if listing.left_out:
        lines.append(_format_comment(f"Left out: {len(listing.left_out)}"))
        lines += [
            _format_comment(f"  {f'line {line}: ' if line else ''}{text} ({reason})")
            for line, text, reason in listing.left_out
        ]
    lines += ["", *_format_defaults(listing.defaults), "features:"]
    for index, feature in enumerate(listing.features):
        lines += _format_feature(feature, _list_references(listing, index))
    return "\n".join(lines) + "\n"


def _format_comment(text: str) -> str:
    return f"# {one_line(text, MAX_COMMENT_CHARS)}" if not text.startswith(" ") else f"#   {one_line(text)}"


def _format_defaults(defaults: Dict[str, Any]) -> List[str]:
    if not defaults:
        return []
    lines = ["defaults:"]
    lines += [f"  {name}: {_format_value(value)}" for name, value in defaults.items() if name not in LIMITS]
    limits = [f"    {name}: {_format_value(defaults[name])}" for name in LIMITS if name in defaults]
    return [*lines, *(["  limits:", *limits] if limits else []), ""]


def _list_references(listing: Listing, index: int) -> List[str]:
    """Return what a feature needs, by names that hold in a list of the features alone.

    A number in a checklist counts boxes, ticked ones too: it becomes the id or the number of the feature that it means.
    """
    names: List[str] = []
    for written in listing.features[index].details.get("depends_on", ()):
        meant = listing.resolved.get((index, written.strip()))
        if meant is None:
            names.append(written)
        else:
            names += [listing.features[other].details.get("id") or str(other + 1) for other in meant]
    return list(dict.fromkeys(names))


def _format_feature(feature: Feature, references: List[str]) -> List[str]:
    details = {name: value for name, value in feature.details.items() if name != "depends_on"}
    if references:
        details["depends_on"] = references
    lines = [f"{name}: {_format_value(details[name])}" for name in ("id",) if name in details]
    lines.append(f"title: {_format_value(feature.text)}")
    lines += [
        f"{name}: {_format_value(details[name])}" for name in ("section", "depends_on", "touches") if name in details
    ]
    if "description" in details:
        lines += _format_description(details["description"])
    lines += [f"{name}: {_format_value(value)}" for name, value in details.get("policy", {}).items()]
    return [f"  {'-' if index == 0 else ' '} {line}" if line else "" for index, line in enumerate(lines)]


def _format_description(text: str) -> List[str]:
    lines = text.split("\n")
    is_block = all(BLOCK_LINE.fullmatch(line) and line == line.rstrip(" ") for line in lines)
    if not is_block or not lines[0] or not lines[-1]:
        return [f"description: {_format_value(text)}"]
    # A number says how deep the block is where its first line begins with a blank.
    indent = "2" if lines[0].startswith(" ") else ""
    return [f"description: |{indent}-", *(f"  {line}" if line else "" for line in lines)]


def _format_value(value: Any) -> str:
    """Return a value as JSON that YAML reads alike: what YAML takes for a line break or does not print is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(each if BLOCK_LINE.fullmatch(each) else _escape(each) for each in text)


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
