"""`batchctl validate` and `batchctl schema`."""

from __future__ import annotations

import builtins
import json

import pytest
from batch_implement import codec, pyyaml, validation
from batch_implement.errors import Misuse
from batch_implement.schema import load_published
from batches import new_batch


@pytest.fixture(autouse=True)
def tests_environment(monkeypatch):
    """Lets PyYAML be taken from where the tests have it, which may be inside this repository."""
    monkeypatch.setattr(pyyaml, "forbidden_folders", lambda: [])


@pytest.fixture
def file(tmp_path):
    """Writes a state file: `file(state)` or `file(b"bytes")`; its path."""

    def write(content, name="state.json"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else codec.serialise(content))
        return str(path)

    return write


@pytest.fixture(params=["jsonschema", "without jsonschema"])
def reporter(request, monkeypatch):
    """With jsonschema, which reports every error, and without."""
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
    assert validation.validate([path]) == (
        f"{path}: valid",
        {"valid": True, "files": [{"file": path, "errors": [], "valid": True}], "exit_code": 0},
    )


def test_an_old_file_is_valid_when_it_can_be_migrated(file):
    old = {"batch_id": "b", "features_file": "", "total_features": 1, "features": ["a"], "current_index": 0}
    assert validation.errors(file(json.dumps({**old, "status": "running"}).encode())) == []
    assert "Missing required fields: ['status']" in validation.errors(file(json.dumps(old).encode()))[0]["message"]


def test_every_wrong_field_is_reported_where_it_is(file, reporter):
    path = file({**new_batch(2), "status": "odd", "completed_features": ["x"], "policy": {}})
    pointers = {error["pointer"].split("/")[1] for error in validation.errors(path)}
    assert pointers == {"status", "completed_features", "policy"}
    text, data = validation.validate([path])
    assert f"{path}: /completed_features/0: " in text
    assert (data["valid"], data["exit_code"]) == (False, 1)


def test_a_broken_invariant_is_reported_for_the_whole_file(file, reporter):
    path = file({**new_batch(2), "completed_features": [7]})
    text, _ = validation.validate([path])
    assert text == f"{path}: (whole file): completed_features names feature index 7; the last one is 1"


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 50, b"[]", b'{"schema_version": 9}'])
def test_what_is_no_state_is_one_error(file, content):
    assert len(validation.errors(file(content))) == 1


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    assert validation.errors(str(tmp_path / "gone")) == [
        {"pointer": "", "message": "cannot be read: No such file or directory"}
    ]
    assert "Is a directory" in validation.errors(str(tmp_path))[0]["message"]


def test_a_file_that_is_too_large_is_not_read(file, monkeypatch):
    monkeypatch.setattr(codec, "MAX_BYTES", 10)
    assert "a state has at most 10" in validation.errors(file(b" " * 11))[0]["message"]


def test_one_that_is_not_valid_among_several_fails_them_all(file):
    good, bad = file(new_batch(1)), file(b"{}", "bad.json")
    text, data = validation.validate([good, bad])
    assert text.startswith(f"{good}: valid\n{bad}: (whole file): ")
    assert ([entry["valid"] for entry in data["files"]], data["exit_code"]) == ([True, False], 1)


@pytest.mark.parametrize("name", validation.PUBLISHED)
def test_a_published_schema_is_printed_as_it_is(name):
    text, data = validation.published(name)
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
    assert validation.validate([path])[0] == f"{path}: valid"


def test_every_wrong_property_of_a_features_file_is_reported_with_its_line(file, reporter):
    path = file(b"defaults:\n  verfy: x\nfeatures:\n- a\n- title: b\n  id: 7\n  touches: [/x]\n", "f.yaml")
    text, data = validation.validate([path])
    assert [(error["pointer"], error["message"][:7]) for error in data["files"][0]["errors"]] == [
        ("/defaults", "line 2:"),
        ("/features/1/id", "line 6:"),
        ("/features/1/touches/0", "line 7:"),
    ]
    assert f"{path}: /features/1/id: line 6: found 7, expected a string." in text
    assert data["exit_code"] == 1


@pytest.mark.parametrize(
    ("name", "content", "fragment"),
    [
        ("f.yaml", b"- a: b: c\n", "line 1: not YAML"),
        ("f.yaml", b"- a\n- A\n", "line 2: the same feature"),
        ("f.json", b'["a", "b (after:)"]', "needs numbers, ids or issues"),
        ("features.json", b"[", "not JSON"),
        ("features.json", b"7", "expected an array or an object"),
        ("features-2.json", b"{}", "'features', which is required"),
        ("f.txt", b"", "is empty"),
        ("f.md", b"text\n", "there is no check box"),
    ],
)
def test_what_no_schema_can_say_of_a_features_file_is_one_error(file, name, content, fragment):
    (error,) = validation.errors(file(content, name))
    assert fragment in error["message"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("features.json", b'{"batch_id": "b", "features": ["a"]}'), ("state.json", b"["), ("x", b'{"status": "odd"}'),
        ("x.json", b"7"), ("features.json", b'{"schema_version": 1}'),
    ],
)  # fmt: skip
def test_what_is_a_state_or_nothing_known_is_held_against_the_states_schema(file, name, content):
    assert not validation.lists_features(file(content, name))


def test_an_unknown_schema_is_refused_with_those_there_are():
    with pytest.raises(Misuse, match=r"no schema 'nonsense'.*batch_state"):
        validation.published("nonsense")
