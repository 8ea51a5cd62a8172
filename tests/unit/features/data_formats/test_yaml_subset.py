"""YAML that PyYAML reads in two ways, with libyaml and without: it is refused in both, the rest is read alike."""

from __future__ import annotations

import random

import pytest
import yaml
from batch_implement.features.data_formats import located_values
from batch_implement.features.feature_list import FeatureListError

READ_IN_TWO_WAYS = [
    ("%FOO bar\n---\n- a\n", 1, "a line that begins with `%` is a directive"),
    ("# list\n\n%YAML 1.1\n---\n- a\n", 3, "Remove the `%YAML` line"),
    ("- a\n-\tb\n", 2, "a tab outside of quotes"),
    ("title: a\n \t\nid: b\n", 2, "a tab outside of quotes"),
    ("title: a\n  \tb\n", 2, "a tab outside of quotes"),
    ("- a b\t# a comment\n", 1, "a tab outside of quotes"),
    ("- [a,\n\tb]\n", 2, "a tab outside of quotes"),
    ("title: |\n \ta\n", 2, "a tab before the text of a block"),
    ("title: |\n\n  \t\n  a\n", 3, "a tab before the text of a block"),
    ("title: >#no\n  a\n", 1, "a comment directly after `>`"),
    ("- [what now?]\n", 1, "a question mark in brackets"),
    ("- {is it?: a}\n", 1, "a question mark in brackets"),
    ("- {a:, b: c}\n", 1, "nothing between `:` and what follows it"),
    ("- {a:[b]}\n", 1, "nothing between `:` and what follows it"),
    ("- a\ufeffb\n", 1, "U+FEFF"),
    ("- a\u2028b\n", 1, "U+2028"),
    ("- {\n  ? a : b,\n  ?\n  }\n", 3, "a key is missing"),
    ("- a: #b\n", 1, "is a comment in YAML and would be lost"),
    ("- [a, b : #c\n  ]\n", 1, "is a comment in YAML and would be lost"),
]

# One of the parsers notices some of it by itself, with what it says and the cause that is given.
PARSERS_OWN = {
    "a tab outside of quotes": "tabs do not indent",
    "a tab before the text of a block": "Tabs do not indent",
    "a comment directly after `>`": "only a comment may follow, with a blank before it",
    "a question mark in brackets": "A text with a question mark in brackets needs quotes",
    "nothing between `:` and what follows it": "In brackets a colon needs a blank after it",
}


@pytest.mark.parametrize(("text", "line", "reason"), READ_IN_TWO_WAYS)
def test_what_is_read_in_two_ways_is_refused_with_its_line_and_a_remedy(yaml_parser, text, line, reason):
    with pytest.raises(FeatureListError) as caught:
        located_values.parse(text, "f", "yaml")
    by_the_parser = PARSERS_OWN.get(reason, "\0")
    assert reason in caught.value.reason or by_the_parser in caught.value.reason
    assert caught.value.line in (line, line + 1)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("- \"a\tb\"\n- 'c\td'\n", ["a\tb", "c\td"]),
        ("verify: |\n  all:\n  \tmake\n  \ttest\n", {"verify": "all:\n\tmake\n\ttest\n"}),
        ("- a # a\tcomment\n#\tanother\n- b\n", ["a", "b"]),
        ("- what now?\n- is it? yes\n- '%YAML'\n- 100 %\n", ["what now?", "is it? yes", "%YAML", "100 %"]),
        ("- [a, 'b?', http://a.b/c]\n", [["a", "b?", "http://a.b/c"]]),
    ],
)
def test_what_is_read_in_one_way_is_read(yaml_parser, text, value):
    assert located_values.parse(text, "f", "yaml").value == value


PIECES = [
    "- ", "  ", "\n", "\t", ": ", "? ", "[", "]", "{", "}", ", ", "#", " #", "'", '"', "|\n", "> \n", "a", "b c", ":",
    "|-\n  ", "|2\n", "---\n", "...\n", "%YAML 1.1\n", "\\x41", "é", "\u2028", "\x85", "\ufeff", "null", "''", "?", ",",
]  # fmt: skip


def outcome(text):
    try:
        document = located_values.parse(text, "f", "yaml")
    except FeatureListError:
        return "refused"
    return document.value, document.positions if document.value is not None else {}


@pytest.mark.skipif(not hasattr(yaml, "CSafeLoader"), reason="this PyYAML was built without libyaml")
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.some(1)
def test_whatever_is_written_is_read_alike_by_both_parsers_or_refused_by_both(seed, monkeypatch):
    chance = random.Random(seed)
    texts = ["".join(chance.choices(PIECES, k=chance.randint(3, 18))) for _ in range(2_000 if seed == 0 else 40_000)]
    texts = [text for text in texts if text.strip()]
    in_c = [outcome(text) for text in texts]
    monkeypatch.delattr(yaml, "CSafeLoader")
    assert [text for text, there in zip(texts, in_c) if outcome(text) != there] == []
