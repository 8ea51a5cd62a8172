"""Each format of `batchctl validate`, read back as those who take it read it."""

from __future__ import annotations

import io
import json
import re
from xml.etree import ElementTree

import pytest
from batch_implement.cli.arguments import parse_command
from batch_implement.validation import reporters

HOSTILE = [
    "a b.yaml", "%0A::error::x", "a\n::set-output name=x::y", "a,line=7:b%", "\r::x", "]]><x/>", "\"'&<>",
    "\x1b[2J\0\x07", "\ufffe\u202eé😀", "\udcff\ud800", "&amp;&#10;", "<!-- -->", "\t\u2028\u0085",
]  # fmt: skip
CONTROLS = "[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]"
FORMS = ("text", "github", "junit", "json")


def verdict(name, *errors, mended=None):
    """What `validation.validate` says of one file."""
    return {
        "file": name,
        "errors": [dict(zip(("pointer", "line", "column", "message"), error)) for error in errors],
        "valid": not errors,
        "mended": mended,
    }


def data(*files):
    return {"valid": all(each["valid"] for each in files), "files": list(files), "exit_code": 1}


TWO = data(
    verdict("a.yaml"),
    verdict("b.json", ("/a~1b/0", 3, 7, "found 7"), ("", None, None, "cannot be read"), ("", 2, None, "x")),
)


def read_by_a_runner(text):
    """The workflow commands in a log: `(command, properties, message)`, as a runner of GitHub Actions takes them."""
    commands = []
    for line in io.StringIO(text, newline=None):
        match = re.match(r"\s*::([^ :]+)(?: (.*?))?::(.*)", line.rstrip("\n"))
        if match:
            command, properties, message = match.groups("")
            pairs = dict(each.split("=", 1) for each in properties.split(",") if "=" in each)
            commands.append((command, {name: undone(value) for name, value in pairs.items()}, undone(message)))
        assert match or "##[" not in line
    return commands


def undone(value):
    for escaped, plain in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        value = value.replace(escaped, plain)
    return value


def test_text_is_a_line_a_file_or_problem_as_compilers_write_them():
    assert reporters.format_report(TWO, "text").split("\n") == [
        "a.yaml: valid",
        "b.json:3:7: /a~1b/0: found 7",
        "b.json: cannot be read",
        "b.json:2: x",
    ]


def test_a_state_of_an_older_version_is_valid_and_says_what_comes_of_it():
    old = data(verdict("a.json", mended=[]), verdict("b.json", mended=["status `running` was read as in_progress"]))
    migrated = "valid, of an older version: the next change migrates it"
    assert reporters.format_report(old, "text").split("\n") == [
        f"a.json: {migrated}",
        f"b.json: {migrated} with 1 repair (`--json` lists them)",
    ]
    commands = read_by_a_runner(reporters.format_report(old, "github"))
    assert [(name, properties["file"]) for name, properties, _ in commands] == [
        ("notice", "a.json"),
        ("notice", "b.json"),
    ]
    assert commands[0][2] == migrated
    assert "failure" not in reporters.format_report(old, "junit").replace("failures", "")


def test_json_is_the_data():
    assert json.loads(reporters.format_report(TWO, "json")) == TWO


def test_github_gets_an_annotation_for_each_problem_and_the_count():
    text = reporters.format_report(TWO, "github")
    assert read_by_a_runner(text) == [
        ("error", {"file": "b.json", "line": "3", "col": "7", "title": "not valid"}, "/a~1b/0: found 7"),
        ("error", {"file": "b.json", "title": "not valid"}, "cannot be read"),
        ("error", {"file": "b.json", "line": "2", "title": "not valid"}, "x"),
    ]
    assert text.split("\n")[-1] == "1 of 2 files valid."


def test_junit_has_a_test_case_for_each_file_and_one_failure_in_each_that_is_not_valid():
    root = ElementTree.fromstring(reporters.format_report(TWO, "junit"))
    (suite,) = root
    for each in (root, suite):
        assert (each.get("tests"), each.get("failures"), each.get("errors")) == ("2", "1", "0")
    good, bad = suite
    assert (root.tag, suite.tag, good.tag) == ("testsuites", "testsuite", "testcase")
    assert [case.get("name") for case in suite] == [case.get("file") for case in suite] == ["a.yaml", "b.json"]
    assert list(good) == []
    (failure,) = bad
    assert failure.get("message") == "3:7: /a~1b/0: found 7 (and 2 more)"
    assert failure.text.strip().split("\n") == ["3:7: /a~1b/0: found 7", "the file: cannot be read", "2: x"]


@pytest.mark.parametrize("odd", HOSTILE, ids=ascii)
def test_hostile_texts_stay_texts_in_every_format(odd):
    results = data(verdict(odd, (f"/{odd}", 1, 2, odd)), verdict(odd))
    texts = {form: reporters.format_report(results, form).encode("utf-8", "replace").decode() for form in FORMS}
    assert len(texts["text"].split("\n")) == 2
    assert not re.search("[\0-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", texts["text"])
    ((command, properties, _),) = read_by_a_runner(texts["github"])
    assert (command, set(properties)) == ("error", {"file", "line", "col", "title"})
    assert not re.search(CONTROLS, texts["github"] + texts["junit"] + texts["json"])
    shown = re.sub("(?![\r\n])" + CONTROLS.replace("\x0b", "\x09\x0b"), " ", odd)
    assert properties["file"] == shown.encode("utf-8", "replace").decode()
    suite = ElementTree.fromstring(texts["junit"])[0]
    assert [case.tag for case in suite] == ["testcase", "testcase"]
    assert suite[0].get("name") == reporters.NOT_XML.sub("\ufffd", odd)
    assert json.loads(texts["json"])["files"][0]["file"] == odd.encode("utf-8", "replace").decode()


@pytest.mark.parametrize("name", ["::error ::x", " ::add-mask::x", "##[error]x"])
def test_a_file_name_at_the_start_of_a_line_is_no_workflow_command(name):
    text = reporters.format_report(data(verdict(name), verdict(name, ("", 1, 1, "x"))), "text")
    assert read_by_a_runner(text.replace("##[", "::")) == []
    assert [line.split(":1:1")[0].split(": valid")[0] for line in text.split("\n")] == [f"./{name}"] * 2


def test_the_formats_that_can_be_typed_are_those_there_are():
    for form in reporters.FORMATS:
        assert parse_command(["validate", "--format", form, "x"]).format == form
    assert set(FORMS) == set(reporters.FORMATS)
    assert parse_command(["validate"]).format == "text"
