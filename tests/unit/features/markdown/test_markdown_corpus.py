"""Lists as people write them, each with what a person expects of it: a file in `markdown_lists` and its `.expected`
make a test.

options: --leaves               what is typed, if anything
refused: part of the message    or else:
feature 3: text                 a feature with its line, in order; below it what it has beyond the text
  section: A > B
  id: T002
  needs: 1, 2                   numbers of features, as the dry run shows them
  | a line of the description
left out: done 1-2, 5; heading 4
note: part of a note
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from batch_implement.cli.arguments import parse_command
from batch_implement.core.errors import UsageError
from batch_implement.features import ordering, source_files, sources

LISTS = Path(__file__).parents[1] / "markdown_lists"
FILES = sorted(path for path in LISTS.iterdir() if path.suffix != ".expected")


def read(path, options):
    typed = parse_command(["validate", *shlex.split(options), str(path)])
    return source_files.read_file(str(path), sources.list_options(typed))


def shown(listing):
    """Return a listing as an expectation is written, without notes."""
    needs = ordering.resolve_dependencies(listing.features, listing.resolved)
    lines = []
    for index, feature in enumerate(listing.features):
        details = feature.details
        lines.append(f"feature {feature.line}: {feature.text}")
        lines += [f"  {name}: {details[name]}" for name in ("section", "id") if name in details]
        if needs.get(index):
            lines.append(f"  needs: {', '.join(str(need + 1) for need in needs[index])}")
        lines += [
            f"  | {line}".rstrip() for line in details.get("description", "").split("\n") if details.get("description")
        ]
    left_out: dict = {}
    for entry in listing.left_out:
        left_out.setdefault(entry.reason, []).append(entry.line)
    return lines, left_out


def parse_left_out(text):
    reasons = {}
    for part in text.split("; ") if text else ():
        reason, numbers = re.fullmatch(r"(.+?) ([\d, -]+)", part).groups()
        for span in numbers.split(", "):
            first, _, last = span.partition("-")
            reasons.setdefault(reason, []).extend(range(int(first), int(last or first) + 1))
    return reasons


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_list_is_read_as_a_person_expects(path):
    expected = Path(f"{path}.expected").read_text().rstrip("\n").split("\n")
    fields = {"options": "", "left out": "", "refused": "", "format": "", "note": []}
    features = []
    for line in expected:
        name, _, value = line.partition(": ")
        if name == "note":
            fields["note"].append(value)
        elif name in fields:
            fields[name] = value
        else:
            features.append(line)
    if fields["refused"]:
        with pytest.raises(UsageError) as caught:
            shown(read(path, fields["options"]))
        assert fields["refused"] in caught.value.message
        return
    listing = read(path, fields["options"])
    lines, left_out = shown(listing)
    assert lines == features
    assert left_out == parse_left_out(fields["left out"])
    assert fields["format"] in listing.format
    for note in fields["note"]:
        assert any(note in shown_note for shown_note in listing.notes), listing.notes


def test_there_are_enough_lists_and_each_has_an_expectation():
    assert {path.suffix for path in FILES} <= {".md", ".markdown"}
    assert all(Path(f"{path}.expected").exists() for path in FILES)
    assert len(FILES) >= 80
