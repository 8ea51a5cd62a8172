"""Lists written as YAML: what is read back is the same, whatever is in the texts."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import test_tool_formats
import tool_list_format
from batch_implement.features import ordering, source_files
from batch_implement.features.data_formats import yaml_writer
from batch_implement.features.feature_list import Feature, FeatureListError, LeftOut, Listing
from batch_implement.validation import file_validation

PIECES = (
    "Add",
    "a page",
    ": ",
    " # ",
    "- ",
    "'",
    '"',
    "\\",
    "\\n",
    "{",
    "]",
    "&",
    "*",
    "!",
    "|",
    ">",
    "%",
    "@",
    "`",
    "?",
    "yes",
    "null",
    "1e3",
    "~",
    "#12",
    "\u00e9",
    "\u65e5",
    "\U0001f600",
    "\u2028",
    "\u0085",
    "\ufeff",
    "\u200d",
    "\xa0",
)
LINES = (*PIECES, "  indented", "", "", "---", "...", "```", "- [ ] box", "# heading")


def read_back(listing):
    return source_files.parse_text(yaml_writer.format_listing(listing, "x").encode(), "x.yaml", "yaml")


def same(listing):
    """What must come back: texts and details, of which the title need not have been there."""
    features = [
        (feature.text, {k: v for k, v in feature.details.items() if k != "title"}) for feature in listing.features
    ]
    return features, listing.defaults


@pytest.mark.parametrize("path", test_tool_formats.PATHS, ids=lambda path: path.name)
def test_a_list_of_a_tool_comes_back_from_yaml(path, yaml_parser):
    listing = tool_list_format.read(path)
    assert same(read_back(listing)) == same(listing)


LISTS = [
    path
    for folder in ("markdown_lists", "text_lists")
    for path in sorted((Path(__file__).parents[1] / folder).iterdir())
    if path.suffix != ".expected"
]


@pytest.mark.parametrize("path", LISTS, ids=lambda path: path.name)
def test_what_a_feature_of_a_checklist_or_text_needs_comes_back_from_yaml(path, yaml_parser):
    try:
        listing = source_files.read_file(str(path))
        needs = ordering.resolve_dependencies(listing.features, listing.resolved)
    except (FeatureListError, ordering.DependencyError):
        return  # refused: the corpus says why
    again = read_back(listing)
    assert [feature.text for feature in again.features] == [feature.text for feature in listing.features]
    assert ordering.resolve_dependencies(again.features, again.resolved) == needs


def make_text(chance):
    return "".join(chance.choices(PIECES, k=chance.randint(1, 6)))


def make_feature(chance, number):
    """A feature as a reader returns it: made by reading, so that each text is one that a list can have."""
    details = {"title": f"{make_text(chance)} {number}", "id": f"{number}.{chance.choice('ab_-.')}"}
    if chance.random() < 0.6:
        details["description"] = "\n".join(chance.choices(LINES, k=chance.randint(1, 5)))
    if number > 1 and chance.random() < 0.3:
        details["depends_on"] = [str(chance.randint(1, number - 1))]
    if chance.random() < 0.3:
        details["touches"] = [f"src/{chance.choice(('a b', '#1', 'x: y', '[z]', 'é'))}", f"{number}"]
    if chance.random() < 0.3:
        details["section"] = make_text(chance).strip() or "x"
    if chance.random() < 0.3:
        details["verify"] = f"make {number}\nmake {chance.choice(PIECES[:24])}"
    if chance.random() < 0.3:
        details.update(evidence=["commit", "review"], max_retries=number, workflow_mode="direct")
    return details


@pytest.mark.parametrize("seed", range(10))
def test_any_list_of_ours_comes_back_from_yaml(seed, yaml_parser):
    chance = random.Random(seed)
    features = [make_feature(chance, number) for number in range(1, 60)]
    value = {"defaults": {"verify": "make", "limits": {"max_retries": 2}, "unattended": True}, "features": features}
    listing = source_files.parse_text(json.dumps(value).encode(), "x.json", "json")
    assert same(read_back(listing)) == same(listing)


def test_comments_name_what_is_left_out_and_cannot_break_out_of_their_line(yaml_parser):
    listing = Listing([Feature("A", 1)], {}, "x\nfeatures: [B]", [LeftOut(7, "C\n- D", "done")], ["E\u2028- F"])
    text = yaml_writer.format_listing(listing, "a\nb")
    assert [line for line in text.split("\n") if line.startswith("#")] == [
        "# 1 feature of a b",
        "# Read as x features: [B]",
        "# E - F",
        "# Left out: 1",
        "#   line 7: C - D (done)",
    ]
    assert [feature.text for feature in read_back(listing).features] == ["A"]


def test_what_is_written_passes_validation(tmp_path, yaml_parser):
    path = tmp_path / "x.yaml"
    for source in test_tool_formats.PATHS:
        path.write_text(yaml_writer.format_listing(tool_list_format.read(source), source.name), "utf-8")
        assert file_validation.check_features_file(str(path)) == []
