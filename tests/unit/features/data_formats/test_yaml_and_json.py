"""YAML and JSON as lists of features: what they may say, what becomes of it, and how each odd one is refused.

Each file in `broken_features/` is one that must be refused; `NAME.says` beside it has what its message must say, a
fragment a line. Adding a pair adds a test.
"""

from __future__ import annotations

import json
import random
from pathlib import Path

import listings
import pytest
import yaml
from batch_implement.core.errors import UsageError
from batch_implement.features import source_files
from batch_implement.features.data_formats import yaml_and_json
from batch_implement.features.feature_list import Feature, Listing
from batch_implement.validation.schema import Schema, load_published

BROKEN = Path(__file__).parents[1] / "broken_features"
FILES = sorted(path for path in BROKEN.iterdir() if path.suffix != ".says")
EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "features.yaml"


def read(text, kind="yaml"):
    return source_files.parse_text(text.encode(), f"f.{kind}", kind)


def one(text):
    """The details of the only feature in a YAML text."""
    (feature,) = read(text).features
    return feature.details


def refusal(text, kind="yaml"):
    return listings.refusal(read, text, kind)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_broken_file_is_refused_with_its_line_the_likely_cause_and_what_to_do(path, yaml_parser):
    with pytest.raises(UsageError) as caught:
        source_files.read_file(str(path))
    message = caught.value.message
    assert message.startswith(str(path)) and message.isprintable()
    fragments = path.with_name(f"{path.name}.says").read_text("utf-8").splitlines()
    assert [fragment for fragment in fragments if fragment not in message] == []


def test_every_broken_file_says_what_its_message_must_say():
    said = {path.name.removesuffix(".says") for path in BROKEN.iterdir() if path.suffix == ".says"}
    assert said == {path.name for path in FILES}
    assert all(path.with_name(f"{path.name}.says").read_text("utf-8").strip() for path in FILES)


FULL = """
defaults:
  verify: make test
  verify_timeout_s: 60
  setup: " npm ci "
  keep: [/target/]
  evidence: [commit, verify]
  workflow_mode: direct
  unattended: true
  limits:
    max_retries: 2
    max_retries_total: 20
    max_failures_in_a_row: 4
features:
  - Add a table of users
  - 'Write it down (after: 1) (id: notes)'

  - id: login
    title: Add a login page
    description: |
      With a form.

        and a button
    depends_on: [1, "#12", notes]
    touches: [app/login.py, tests/]
    verify: |
      make lint
      make test
    verify_timeout_s: 90
    evidence: [commit, verify, review]
    workflow_mode: auto-implement
    max_retries: 0
"""


def test_everything_that_a_file_can_say_is_kept_in_the_form_of_the_state(yaml_parser):
    assert read(FULL) == Listing(
        [
            Feature("Add a table of users", 15),
            Feature("Write it down", 16, {"depends_on": ["1"], "id": "notes"}),
            Feature(
                "Add a login page",
                18,
                {
                    "title": "Add a login page",
                    "id": "login",
                    "description": "With a form.\n\n  and a button",
                    "touches": ["app/login.py", "tests/"],
                    "depends_on": ["1", "#12", "notes"],
                    "policy": {
                        "verify": "make lint\nmake test",
                        "verify_timeout_s": 90,
                        "evidence": ["commit", "verify", "review"],
                        "workflow_mode": "auto-implement",
                        "max_retries": 0,
                    },
                },
            ),
        ],
        {
            "unattended": True,
            "verify": "make test",
            "verify_timeout_s": 60,
            "setup": "npm ci",
            "keep": ["/target/"],
            "evidence": ["commit", "verify"],
            "workflow_mode": "direct",
            "max_retries": 2,
            "max_retries_total": 20,
            "max_failures_in_a_row": 4,
        },
    )


def test_json_says_the_same_as_yaml_and_knows_its_lines():
    from_yaml = read(FULL)
    as_json = json.dumps(yaml.safe_load(FULL), indent=1)
    from_json = read(as_json, "json")
    assert [feature._replace(line=0) for feature in from_json.features] == [
        feature._replace(line=0) for feature in from_yaml.features
    ]
    assert from_json.defaults == from_yaml.defaults
    lines = as_json.splitlines()
    assert [lines[feature.line - 1].strip()[:9] for feature in from_json.features] == ['"Add a ta', '"Write it', "{"]


def test_what_is_not_said_is_not_there():
    assert read("- title: a\n") == Listing([Feature("a", 1, {"title": "a"})], {})
    assert read("defaults: {}\nfeatures: [a]\n") == Listing([Feature("a", 2)], {})
    assert read("defaults: {limits: {}}\nfeatures: [a]\n").defaults == {}
    assert one('- {title: a, description: " \\n ", depends_on: [], touches: []}') == {"title": "a"}


@pytest.mark.parametrize(
    ("given", "references"),
    [("2", ["2"]), ("b", ["b"]), ("'#12'", ["#12"]), ("[b, 2, 007]", ["b", "2", "007"]), ("'2'", ["2"])],
)
def test_a_reference_is_kept_as_the_text_that_was_written_alone_or_in_a_list(given, references):
    assert one(f"- title: a\n  depends_on: {given}\n")["depends_on"] == references


@pytest.mark.parametrize(
    "text",
    [
        "yes", "no", "on", "True", "2024-01-01", "12:30:00", "1e3", "1.5", "0o17", "0x1F", "007", "+1", "1_000", ".inf",
        "nan", "=", "-x", "~x", "9" * 40, "a:b", "http://host.invalid/#top", "C# and F#",
    ],
)  # fmt: skip
def test_a_text_written_bare_stays_the_text_that_it_looks_like(text, yaml_parser):
    assert [feature.text for feature in read(f"- x\n- {text}\n").features] == ["x", text]
    assert read(f"- title: {text}\n").features[0].text == text


def test_a_note_without_quotes_which_yaml_takes_for_a_property_is_read_as_it_was_written(yaml_parser):
    listing = read("features:\n- Add a table (id: schema)\n- Add a page (after: 1, schema)\n- title: c\n")
    assert [feature[:3] for feature in listing.features] == [
        ("Add a table", 2, {"id": "schema"}),
        ("Add a page", 3, {"depends_on": ["1", "schema"]}),
        ("c", 4, {"title": "c"}),
    ]
    assert "f.yaml:2: invalid reference 'lunch break'" in refusal("- a\n- b (after: lunch break)\n")
    assert "unknown property 'b (after'" in refusal('["a", {"b (after": "1)"}]', "json")
    assert ":1: a note without a feature" in refusal("- (after: 1)\n")
    for text in ("- b (after: 1\n", "- b (before: 1)\n", "- {b (after: [1]}\n", "- b (after: 1)\n  id: c\n"):
        assert "f.yaml:1: " in refusal(text)


def test_whole_numbers_that_json_writes_with_a_point_are_whole_numbers():
    listing = read('{"features": [{"title": "a", "max_retries": 2.0, "depends_on": [1.0]}], "defaults": {}}', "json")
    ((_, _, details, _),) = listing.features
    assert repr(details["policy"]["max_retries"]) == "2"
    assert details["depends_on"] == ["1"]


def test_a_title_is_cleaned_as_a_line_of_text_is():
    listing = read('- title: " a\\tb\\x1b[0m\\u202e "\n- title: >\n    two\n    lines\n- "c\\nd"\n')
    assert [feature.text for feature in listing.features] == ["a b [0m", "two lines", "c d"]
    assert listing.features[0].details["title"] == "a b [0m"


def test_a_description_keeps_its_lines_and_loses_what_could_hide():
    assert one('- {title: a, description: "\\n  x\\ty\\x1b\\r\\n\\u202ez\\n\\n"}')["description"] == "  x y\n z"


def test_comments_with_a_blank_a_byte_order_mark_and_any_line_end_are_accepted(yaml_parser):
    for end in ("\n", "\r\n", "\r"):
        text = "\ufeff# a list" + end + "- one # the first" + end + "- 'two'  #second" + end
        assert [feature[:2] for feature in read(text).features] == [("one", 2), ("two", 3)]
    assert [feature.line for feature in read('\ufeff[\r"a",\r\n"b"]', "json").features] == [2, 3]


def test_the_texts_of_a_description_and_a_title_have_their_bounds():
    read(f"- title: {'x' * 10_000}\n  description: {'y' * 50_000}\n")
    assert "10001 characters, expected at most 10000" in refusal(f"- title: {'x' * 10_001}\n")
    assert "10001 characters, expected at most 10000" in refusal(f"- {'x' * 10_001}\n")
    assert "50001 characters, expected at most 50000" in refusal(f"- title: a\n  description: {'y' * 50_001}\n")


def test_the_longest_list_is_read_and_one_more_refused():
    assert len(read("".join(f"- f {index}\n" for index in range(10_000))).features) == 10_000
    assert len(read(json.dumps([f"f {index}" for index in range(10_000)]), "json").features) == 10_000
    assert "expected at most 10000" in refusal(json.dumps([f"f {index}" for index in range(10_001)]), "json")


def test_every_problem_is_found_with_the_line_of_the_property_that_is_wrong():
    document = yaml_and_json.parse_document(
        b"defaults:\n  limits: {max_retries: x}\n  verfy: a\nfeatures:\n  - title: 1\n    id: 2\n  - a\n  - tilte: b\n"
        b"    max_retries: -1\n",
        "f.yaml",
        "yaml",
    )
    assert [(error.pointer, error.line) for error in yaml_and_json.find_errors(document)] == [
        ("/defaults/limits/max_retries", 2),
        ("/defaults", 3),
        ("/features/0/title", 5),
        ("/features/0/id", 6),
        ("/features/2", 8),
        ("/features/2/max_retries", 9),
    ]


def test_errors_of_all_kinds_are_in_one_message_each_kind_with_its_lines():
    text = "- {title: a, x: 1}\n- {title: b, x: 1}\n- {title: c, x: 1}\n- {tilte: d, verify: make}\n"
    message = refusal(text)
    assert message.startswith("f.yaml:1: /0: unknown property 'x'. Known properties: id, ")
    assert "The same on lines 2, 3. Line 4: /3: unknown property 'tilte'. Did you mean `title`?" in message
    assert "errors in all" not in message
    many = "".join(f"- {{title: a{index}, x{index}: 1}}\n" for index in range(9))
    assert refusal(many).count("unknown property") == 5
    assert refusal(many).endswith("9 errors in all; `batchctl validate` lists them.")


def test_what_is_no_feature_at_all_is_one_problem_not_two():
    for text in (b"- Note: mend it\n", b"- {foo: 1}\n"):
        assert len(yaml_and_json.find_errors(yaml_and_json.parse_document(text, "f.yaml", "yaml"))) == 1


def test_at_most_fifty_problems_are_looked_for():
    document = yaml_and_json.parse_document(b'[{"a": 1}' + b', {"a": 1}' * 9_999 + b"]", "f", "json")
    assert len(yaml_and_json.find_errors(document)) == 50


def test_a_valid_document_has_no_problem():
    assert yaml_and_json.find_errors(yaml_and_json.parse_document(FULL.encode(), "f.yaml", "yaml")) == []


def test_the_example_is_a_list_that_uses_what_there_is():
    listing = source_files.read_file(str(EXAMPLE))
    assert len(listing.features) == 5
    assert {"verify", "evidence"} <= set(listing.defaults)
    assert any("depends_on" in feature.details for feature in listing.features)


def test_the_examples_in_the_schema_fit_it_and_are_read():
    published = load_published("features")
    for example in published["examples"]:
        assert Schema(published).check(example) == []
        assert read(json.dumps(example), "json").features


def test_whatever_is_cut_out_of_a_file_or_put_into_it_ends_in_a_listing_or_a_refusal(yaml_parser):
    chance = random.Random(3)
    odd = "\n\t -#:[]{}\"'&*!|>%@`,\\\x1b\u202e\U0001f600a1\x85\u2028\ufeff"
    for kind, whole in (("yaml", FULL), ("json", json.dumps(yaml.safe_load(FULL), indent=1))):
        for _ in range(400):
            start, length = chance.randrange(len(whole)), chance.randrange(12)
            put = "".join(chance.choice(odd) for _ in range(3))
            text = whole[:start] + put + whole[start + length :]
            try:
                listing = source_files.parse_text(text.encode(), "f", kind)
            except UsageError as error:
                assert error.message.startswith("f") and error.message.isprintable()
            else:
                assert listing.features
