"""How a list of features is read, and how an odd one is refused."""

from __future__ import annotations

import contextlib
import io
import os
import socket

import pytest
from batch_implement.base.text import clean
from batch_implement.core.errors import UsageError
from batch_implement.features.feature_list import Feature, LeftOut, ListOptions
from batch_implement.features.source_files import parse_text, read_file, read_stdin
from listings import refusal, texts


def test_a_text_file_gives_a_feature_a_line_with_its_line_number(listed):
    path = listed("# what to do\n\nAdd a login page\n   \n # later\n Fix issue #7  \n")
    listing = read_file(path)
    assert listing.features == [Feature("Add a login page", 3), Feature("Fix issue #7", 6)]
    assert listing.left_out == [LeftOut(1, "# what to do", "comment"), LeftOut(5, "# later", "comment")]
    assert listing.format == "plain text: 2 open of 2"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("last", ["", "end"])
def test_every_line_ending_and_a_byte_order_mark_are_accepted(listed, end, bom, last):
    found = read_file(listed(bom + end.join(["one", "", "two three", "# no"]) + (end if last else "")))
    assert found.features == [Feature("one", 1), Feature("two three", 3)]


def test_only_line_ends_end_a_feature(listed):
    assert read_file(listed("a\x0bb\x0cc\x1cd\x85e\u2028f\n")).features == [Feature("a b c d e\u2028f", 1)]


def test_the_kind_can_be_given_by_the_caller():
    assert texts(parse_text(b"- [ ] a\n- [x] b", "it", "md")) == ["a"]
    assert texts(parse_text(b"a\nb", "it", "txt")) == ["a", "b"]


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"one\n# no\ntwo\n", ["one", "two"]),
        (b"# Plan\n\n- [ ] one\n\n- [x] two\n## More\n1. [ ] three\n", ["one", "three"]),
        (b"- [ ] one\nanother\n", ["one", "another"]),
    ],
)
def test_standard_input_is_text_unless_it_is_a_checklist_throughout(data, expected):
    assert texts(read_stdin(io.BytesIO(data))) == expected


@pytest.mark.parametrize(
    "data",
    [
        b'["one", "two"]',
        b'\xef\xbb\xbf\r\n [\r\n "one",\r "two"]\n',
        b'{"features": ["one", "two"]}',
        b'[\n{ "title": "one"}, "two"]',
    ],
)
def test_standard_input_that_begins_like_a_list_in_json_is_one(data):
    assert texts(read_stdin(io.BytesIO(data))) == ["one", "two"]


def test_json_on_standard_input_that_is_broken_is_not_taken_for_lines():
    assert "standard input:4: not JSON" in refusal(read_stdin, io.BytesIO(b'[\n"one",\n"two"\n'))
    assert texts(read_stdin(io.BytesIO(b"[one] two\n{three}\n"))) == ["[one] two", "{three}"]


def test_standard_input_is_named_in_messages_and_read_within_bounds():
    assert refusal(read_stdin, io.BytesIO(b"")).startswith("standard input: the file is empty")
    assert refusal(read_stdin, io.BytesIO(b"x\nx"), ListOptions(), "issue 7").startswith("issue 7:2: ")
    with open("/dev/zero", "rb") as endless:
        assert "larger than 10 MB" in refusal(read_stdin, endless)


def test_control_and_bidi_characters_become_spaces_and_nothing_else_changes():
    text = "a\tb\x00c\x1b[0m\x7f\x80\x9f\u202a\u202e\u2066\u2069\u200e\u200f\u061cz"
    assert clean(text) == "a b c [0m" + " " * 10 + "z"
    kept = "  é e\u0301 👩\u200d👩\u200d👧 \u200c \u00a0 \u3000 \u2028 \ufeff «q» \u202f\u2029\u2065\u206a "
    assert clean(kept) == kept


def test_a_feature_keeps_its_inner_blanks_and_loses_the_outer_ones(listed):
    assert texts(read_file(listed("\t a  b\u202ec \u200f\n"))) == ["a  b c"]
    assert texts(read_file(listed("a\n\x0b\u202e\n"))) == ["a"]
    assert texts(read_file(listed("- [ ]  a\x1b  b\u202ec \u200f\n- [ ] \u202e", "f.md"))) == ["a   b c"]


@pytest.mark.parametrize("name", ["TODO", "todo.TXT", "list.text", ".todo", "TODO.1", "todo.2024-05", "v1.2 ideas"])
def test_a_file_without_a_suffix_is_plain_text(listed, name):
    assert texts(read_file(listed("a\nb\n", name))) == ["a", "b"]


def test_a_suffix_that_no_list_has_is_refused_with_two_ways_on(listed):
    message = refusal(read_file, listed("a\n", "my list.unknown"))
    assert "lists of features do not end in .unknown" in message
    assert "rename it to .txt or .md" in message and "`batchctl create - < 'my list.unknown'`" in message


def test_a_missing_file_is_named_and_the_folder_it_was_looked_for_in(tmp_path):
    message = refusal(read_file, str(tmp_path / "no\x1bne.txt"))
    assert "no ne.txt: file not found" in message and os.getcwd() in message


def test_a_directory_and_a_path_that_cannot_be_are_refused(tmp_path):
    assert "this is a directory" in refusal(read_file, str(tmp_path))
    assert "a b: cannot be read: " in refusal(read_file, "a\0b")
    assert "cannot be read: File name too long" in refusal(read_file, "x" * 5_000)


def test_a_file_without_permission_says_so(listed, monkeypatch):
    def denied(*args):
        raise PermissionError(13, "Permission denied")

    path = listed("a")
    monkeypatch.setattr(os, "open", denied)
    assert "permission denied" in refusal(read_file, path)


def test_pipes_sockets_and_devices_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket"))
        for path in (tmp_path / "fifo", tmp_path / "socket", "/dev/zero", "/dev/null"):
            assert "not a regular file" in refusal(read_file, str(path))


@pytest.mark.parametrize(
    ("content", "name", "expected"),
    [
        ("", "f.txt", "the file is empty. Write one feature per line."),
        (" \n\n", "f.txt", "the file is empty. Write one feature per line."),
        ("# a\n\n#b", "f.txt", "no features: every line is blank or a comment (`#`, `//`, `..`)"),
        ("\ufeff", "f.txt", "no features"),
        ("", "f.md", "the file is empty. Write each feature as `- [ ] text`."),
        ("- [x] a\n- [X] b\n", "f.md", "no open features: all 2 check boxes are ticked"),
        (
            "one\ntwo\n",
            "f.md",
            "there is no check box. Write each feature as `- [ ] text`, or name the file .txt",
        ),
        ("- [ ]\n", "f.md", "there is no check box"),
        ("a\nb\0c\n", "f.txt", ":2: a zero byte. This looks like a binary file"),
        ("a\rb\r\nc\0", "f.txt", ":3: a zero byte"),
        (b"a\nb\xe4c\n", "f.txt", ":2: byte 0xe4 (offset 3) is not UTF-8"),
        (b"\xef\xbb\xbfa\r\rb\xff", "f.md", ":3: byte 0xff (offset 7) is not UTF-8"),
        ("a".encode("utf-16"), "f.txt", "UTF-16 (the file begins with a UTF-16 byte order mark). Save it as UTF-8."),
        ("\ufeffa".encode("utf-16-be"), "f.md", "UTF-16"),
        ("a\n" + "x" * 10_001, "f.txt", ":2: 10,001 characters; a feature has at most 10,000."),
        ("- [ ] " + "x" * 10_001, "f.md", ":1: 10,001 characters"),
        (
            "\n".join(map(str, range(10_001))),
            "f.txt",
            "more than 10,000 features, and one batch takes as many. Split the list.",
        ),
        ("Straße  x\n\n sTRASSE\tX\n", "f.txt", ":3: the same feature as on line 1."),
        ("- [ ] a\n- [x] a\n- [ ] A", "f.md", ":3: the same feature as on line 1."),
        ("- [ ] a\n```\n- [ ] b\n", "f.md", ":2: '```': this code block or comment never ends"),
    ],
)
def test_a_list_that_is_odd_is_refused_with_its_line_and_the_likely_cause(listed, content, name, expected):
    path = listed(content, name)
    message = refusal(read_file, path)
    assert message.startswith(path)
    assert expected in message


def test_the_largest_list_that_is_allowed_is_read(listed):
    found = read_file(listed("\n".join(f"{index} " + "x" * 900 for index in range(10_000))))
    assert len(found.features) == 10_000
    assert len(read_file(listed("x" * 10_000)).features[0].text) == 10_000


def test_a_file_over_ten_megabytes_is_refused_unread(listed, tmp_path):
    path = tmp_path / "large.txt"
    with open(path, "wb") as file:
        file.truncate(10 * 1024 * 1024 + 1)
    assert "larger than 10 MB" in refusal(read_file, str(path))
    path.write_bytes(b"#\n" + (b"#" * 9_999 + b"\n") * 1048)
    assert path.stat().st_size < 10 * 1024 * 1024
    assert "no features" in refusal(read_file, str(path))


def test_a_file_that_grows_while_it_is_read_is_refused_too(listed, monkeypatch):
    path = listed(b"#" * (10 * 1024 * 1024 + 1))
    small = os.stat(listed("a", "small.txt"))
    monkeypatch.setattr(os, "fstat", lambda descriptor: small)
    assert "larger than 10 MB" in refusal(read_file, path)


def test_no_descriptor_stays_open_whatever_the_path_is(listed, tmp_path):
    def next_free():
        with open(os.devnull) as file:
            return file.fileno()

    before = next_free()
    for path in (listed("a"), str(tmp_path), "/dev/null", listed("", "empty")):
        with contextlib.suppress(UsageError):
            read_file(path)
    assert next_free() == before


@pytest.mark.parametrize("name", ["f.txt", "f.md"])
def test_lines_and_open_boxes_take_their_notes_off(listed, name):
    box = "- [ ] " if name == "f.md" else ""
    found = read_file(listed(f"{box}Add a table  (id: schema)\n{box}Add a page (after: 1, schema)\n", name))
    assert found.features == [
        Feature("Add a table", 1, {"id": "schema"}),
        Feature("Add a page", 2, {"depends_on": ["1", "schema"]}),
    ]


def test_a_text_that_is_there_twice_is_found_behind_its_notes(listed):
    assert ":2: the same feature as on line 1." in refusal(read_file, listed("a (id: x)\nA (after: x)\n"))


def test_an_id_that_is_there_twice_is_refused_whatever_its_case(listed):
    assert ":3: the feature on line 1 has the id 'X' too." in refusal(read_file, listed("a (id: x)\n\nb (id: X)"))


def test_what_is_said_beyond_the_text_is_not_the_same_for_two_features(listed):
    first, second = read_file(listed("a\nb\n")).features
    assert first.details is not second.details
