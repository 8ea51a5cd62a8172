"""`batchctl validate` and `batchctl schema`."""

from __future__ import annotations

import builtins
import json
from pathlib import Path

import pytest
from batch_implement.core.errors import UsageError
from batch_implement.features.data_formats import yaml_support
from batch_implement.store import serialization
from batch_implement.validation import file_validation
from batch_implement.validation.schema import load_published
from batches import new_batch

CORPUS = sorted(
    path for path in (Path(__file__).parents[1] / "features" / "broken_features").iterdir() if path.suffix != ".says"
)
# What has no place: there is nothing in it, or what is wrong is not in one place.
NOWHERE = {"empty.json", "empty.yaml", "only_comments.yaml", "nan.json", "surrogate.json", "too_deep.json"}


def check_file(path):
    """The errors of one file, as `batchctl validate` reports them."""
    return file_validation.validate_files([path])[1]["files"][0]["errors"]


@pytest.fixture(autouse=True)
def tests_environment(monkeypatch):
    """Lets PyYAML be taken from where the tests have it, which may be inside this repository."""
    monkeypatch.setattr(yaml_support, "forbidden_folders", lambda: [])


@pytest.fixture
def file(tmp_path):
    """Writes a state file: `file(state)` or `file(b"bytes")`; its path."""

    def write(content, name="state.json"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else serialization.serialize(content))
        return str(path)

    return write


@pytest.fixture(params=["jsonschema", "without jsonschema"])
def reporter(request, monkeypatch):
    """With jsonschema, which finds every error, and without."""
    if request.param == "jsonschema":
        pytest.importorskip("jsonschema")
        return request.param
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name == "jsonschema":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    return request.param


def test_a_valid_state_is_valid(file, reporter):
    path = file(new_batch(2))
    assert file_validation.validate_files([path]) == (
        f"{path}: valid",
        {"valid": True, "files": [{"file": path, "errors": [], "valid": True, "mended": None}], "exit_code": 0},
    )


def test_an_old_file_is_valid_when_it_can_be_migrated(file):
    old = {"batch_id": "b", "features_file": "", "total_features": 1, "features": ["a"], "current_index": 0}
    path = file(json.dumps({**old, "status": "running", "completed_features": [7]}).encode())
    text, data = file_validation.validate_files([path])
    note = "valid, of an older version: the next change migrates it with 1 repair (`--json` lists them)"
    assert text == f"{path}: {note}"
    assert data["files"][0]["mended"] == ["completed_features held 7, which is not a feature's index and was left out"]
    assert "Missing required fields: ['status']" in check_file(file(json.dumps(old).encode()))[0]["message"]


def test_every_wrong_field_is_reported_where_it_is(file, reporter):
    path = file({**new_batch(2), "status": "odd", "completed_features": ["x"], "policy": {}})
    pointers = {error["pointer"].split("/")[1] for error in check_file(path)}
    assert pointers == {"status", "completed_features", "policy"}
    text, data = file_validation.validate_files([path])
    assert f"{path}:14:25: /completed_features/0: found 'x', expected an integer. Index of a" in text
    assert (data["valid"], data["exit_code"]) == (False, 1)


@pytest.mark.parametrize(
    ("damage", "place", "message"),
    [
        (
            {"completed_features": [7]}, "14:2: /completed_features",
            "completed_features names feature index 7; the last one is 1",
        ),
        (
            {"completed_features": [0], "skipped_features": [{"feature_index": 0, "reason": "r", "timestamp": ""}]},
            "16:2: /skipped_features", "feature index 0 is in completed_features and again in skipped_features",
        ),
        ({"total_features": 3}, "10:2: /total_features", "total_features is 3, but features has 2"),
        ({"status": "failed"}, "5:2: /status", "status is failed, but features are left"),
    ],
)  # fmt: skip
def test_a_broken_invariant_is_reported_at_the_field_that_it_is_about(file, reporter, damage, place, message):
    path = file({**new_batch(2), **damage})
    assert file_validation.validate_files([path])[0] == f"{path}:{place}: {message}"


@pytest.mark.parametrize(
    ("content", "pointer", "place", "message"),
    [
        (b"", "", (None, None), "Corrupted batch state file: empty"),
        (b"\n{", "", (2, 2), "not JSON: Expecting property name enclosed in double quotes"),
        (b'{"a":\n 1 "b": 2}', "", (2, 4), "not JSON: Expecting ',' delimiter. A comma, a colon or a double quote is"),
        (b"\0" * 50, "", (None, None), "filled with zero bytes"),
        (b"\n7", "", (2, 1), "a JSON object is expected, this is int"),
        (b'{\n"schema_version": 9}', "/schema_version", (2, 1), "The state has schema_version 9; "),
        (b'{}', "", (1, 1), "Missing required fields: ['batch_id', "),
        (b'{"a": {"b": 1,\n "b": 2}, "a": 3}', "/a/b", (2, 2), "holds the name 'b' twice in one object"),
        (b"[" * 100 + b"]" * 100, "", (None, None), "nested deeper than the 64 levels"),
        (b'{"a": NaN}', "", (None, None), "holds NaN"),
    ],
)  # fmt: skip
def test_what_is_no_state_is_one_error_with_its_place_where_there_is_one(file, content, pointer, place, message):
    (error,) = check_file(file(content))
    assert (error["pointer"], (error["line"], error["column"])) == (pointer, place)
    assert message in error["message"]
    assert " at line " not in error["message"]


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    assert check_file(str(tmp_path / "gone")) == [
        {"pointer": "", "line": None, "column": None, "message": "cannot be read: No such file or directory"}
    ]
    assert "this is a directory" in check_file(str(tmp_path))[0]["message"]


def test_a_file_that_is_too_large_is_not_read(file, monkeypatch):
    monkeypatch.setattr(serialization, "MAX_BYTES", 10)
    assert "a state has at most 10" in check_file(file(b" " * 11))[0]["message"]


def test_one_that_is_not_valid_among_several_fails_them_all(file):
    good, bad = file(new_batch(1)), file(b"{}", "bad.json")
    text, data = file_validation.validate_files([good, bad])
    assert text.startswith(f"{good}: valid\n{bad}:1:1: Missing required fields: ")
    assert ([entry["valid"] for entry in data["files"]], data["exit_code"]) == ([True, False], 1)


@pytest.mark.parametrize("name", file_validation.PUBLISHED)
def test_a_published_schema_is_printed_as_it_is(name):
    text, data = file_validation.show_schema(name)
    assert json.loads(text) == data == load_published(name)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("features.yaml", b"- a\n- title: b\n"), ("x.YML", b"features: [a]\n"), ("x.json", b'["a"]'),
        ("x.json", b'\xef\xbb\xbf{"features": ["a"]}'), ("features.json", b'["a"]'), ("x.txt", b"a\n"),
        ("x.md", b"- [ ] a"),
    ],
)  # fmt: skip
def test_a_valid_features_file_is_valid(file, name, content):
    path = file(content, name)
    assert file_validation.validate_files([path])[0] == f"{path}: valid"


def test_every_wrong_property_of_a_features_file_is_reported_with_its_line(file, reporter):
    path = file(b"defaults:\n  verfy: x\nfeatures:\n- a\n- title: b\n  id: 7\n  touches: [/x]\n", "f.yaml")
    text, data = file_validation.validate_files([path])
    lines = [
        f"{path}:2:3: /defaults: unknown property 'verfy'. Did you mean `verify`?",
        f"{path}:6:3: /features/1/id: {data['files'][0]['errors'][1]['message']}",
        f"{path}:7:13: /features/1/touches/0: found '/x'. A path from the project's root: not absolute, without "
        "`..` and control characters.",
    ]
    # Without jsonschema the first error in each top-level field is found.
    assert text.split("\n") == (lines if reporter == "jsonschema" else lines[:2])
    assert data["exit_code"] == 1


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("f.yaml", b"- a: b: c\n", "1:7: not YAML: mapping values"),
        ("f.yaml", b"- a\n- A\n", "2:3: /1: the same feature as on line 1"),
        ("f.yaml", b"- a\n- {title: b,\n   title: c}\n", "3:4: /1/title: 'title' is there twice"),
        ("f.json", b'["a", "b",\n  "A"]', "2:3: /2: the same feature as on line 1"),
        ("f.txt", b"a\n\n A\n", "3:2: the same feature as on line 1"),
        ("f.md", b"- [ ] a\n- [-] b\n", "2:1: '- [-] b': `[-]` means in progress to some tools"),
        ("f.md", b"a\n", ": no features: there is no check box"),
        ("f.yaml", b"- a\n- caf\xe9\n", "2:6: byte 0xe9"),
        ("gone.txt", None, ": file not found. Check the path"),
        ("f.json", b'["a", "b (after:)"]', "1:7: /1: invalid reference ''"),
        ("features.json", b"\n[", "2:2: not JSON: Expecting value. A comma too many"),
        ("features.json", b"7", "expected an array or an object"),
        ("features-2.json", b"{}", "'features', which is required"),
        ("f.txt", b"", ": the file is empty"),
        ("f.md", b"text\n", "there is no check box"),
    ],
)
def test_what_no_schema_can_say_of_a_features_file_is_one_error(file, name, content, fragment):
    path = file(content or b"", name)
    if content is None:
        Path(path).unlink()
    (line,) = file_validation.validate_files([path])[0].split("\n")
    assert fragment in line.removeprefix(path)
    assert line.count(path) == 1


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.name)
def test_each_broken_features_file_has_its_place_and_no_path_twice(path, reporter):
    text, data = file_validation.validate_files([path.name], cwd=str(path.parent))
    assert (data["valid"], data["exit_code"]) == (False, 1)
    lines = path.read_bytes().replace(b"\r\n", b"\n").decode("utf-8", "replace").split("\n")
    for error, shown in zip(data["files"][0]["errors"], text.split("\n")):
        assert shown.count(path.name) == shown.startswith(path.name) == 1
        assert not shown.partition(": ")[2].startswith(("line ", "file ", ","))
        if path.name in NOWHERE:
            assert (error["line"], error["column"]) == (None, None)
        else:
            assert 1 <= error["line"] <= len(lines)
            assert 1 <= error["column"] <= len(lines[error["line"] - 1]) + 1


@pytest.mark.parametrize(
    ("name", "content", "place", "message"),
    [
        ("features.txt", "a\nb (after: 9)\n", ("", 2, 1), "Feature 2 (line 2, `b`) needs `9`, but"),
        ("features.txt", "# x\na (after: 2)\nb (after: 1)\n", ("", 2, 1), "The dependencies form a cycle: 1 (`a`)"),
        (
            "features.json",
            '{"features": ["a",\n {"title": "b", "depends_on": ["z"]}]}',
            ("/features/1", 2, 2),
            "needs `z`",
        ),
        ("features.yaml", "- a\n- title: b\n  depends_on: [2]\n", ("/1", 2, 3), "is the feature itself"),
    ],
)
def test_what_a_feature_needs_has_to_be_there_as_create_has_it(file, name, content, place, message):
    [error] = check_file(file(content.encode(), name))
    assert (error["pointer"], error["line"], error["column"]) == place
    assert message in error["message"]


def test_a_name_is_shown_as_given_and_starts_at_the_folder(file, tmp_path):
    file(b"- a\n- a\n", "f.yaml")
    text, data = file_validation.validate_files(["f.yaml"], cwd=str(tmp_path))
    assert text.startswith("f.yaml:2:3: ")
    assert data["files"][0]["file"] == "f.yaml"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("features.json", b'{"batch_id": "b", "features": ["a"]}'), ("state.json", b"["), ("x", b'{"status": "odd"}'),
        ("x.json", b"7"), ("features.json", b'{"schema_version": 1}'),
    ],
)  # fmt: skip
def test_what_is_a_state_or_nothing_known_is_held_against_the_states_schema(file, name, content):
    assert not file_validation.is_features_file(file(content, name))


def test_an_unknown_schema_is_refused_with_those_there_are():
    with pytest.raises(UsageError, match=r"Unknown schema 'nonsense'.*batch_state"):
        file_validation.show_schema("nonsense")
