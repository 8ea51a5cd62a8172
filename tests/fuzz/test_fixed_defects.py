"""What fuzzing found, mended since: one test a defect, named for what went wrong."""

from __future__ import annotations

import io
import json
import os
import sys
import time

import pytest
from batch_implement.base import project_paths, strict_json
from batch_implement.base.project_paths import Project
from batch_implement.cli import arguments
from batch_implement.core.errors import UsageError
from batch_implement.features import source_files
from batch_implement.features.data_formats import located_values
from batch_implement.hooks import dispatch, error_reporting, transcript
from batch_implement.report import log_format
from batch_implement.store import audit_log
from batch_implement.validation import errors, file_validation
from batches import new_batch, owner, run_program

MB = 1 << 20


def check_file(path):
    """The errors of one file, as `batchctl validate` reports them."""
    return file_validation.validate_files([path])[1]["files"][0]["errors"]


def quick(call, *given):
    """What a call gives, or the text of its Misuse; it takes no longer than a case may."""
    began = time.process_time()
    try:
        found = call(*given)
    except (UsageError, ValueError) as error:
        found = str(error)
    assert time.process_time() - began < 2
    return found


# -- lists of features -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["txt", "md"])
def test_millions_of_lines_took_a_gigabyte_before_they_were_refused(kind):
    assert "3,145,729 lines" in quick(source_files.parse_text, b"- a\n" * (3 * MB), "f", kind)


def test_blanks_behind_a_bracket_on_standard_input_took_time_with_their_square():
    assert "characters" in quick(source_files.read_stdin, io.BytesIO(b"[" + b" " * 200_000 + b"x"))


@pytest.mark.parametrize(
    "text", ["[" + "[]," * 210_000 + "1]", "[{" + ",".join(f'"{n}":1' for n in range(210_000)) + "}]"]
)
def test_small_values_without_number_took_fifty_times_their_room(text):
    assert "holds more than the 200,000 values" in quick(source_files.parse_text, text.encode(), "f", "json")


def test_escapes_took_a_hundred_times_their_room():
    import tracemalloc

    data = json.dumps(["\\" * MB]).encode()
    tracemalloc.start()
    assert ":1: /0: found" in quick(source_files.parse_text, data, "f", "json")
    assert tracemalloc.get_traced_memory()[1] < 40 * MB
    tracemalloc.stop()


def test_commas_within_texts_are_no_values():
    assert strict_json.parse(json.dumps([",[{" * 10, '"\\', "\\"] * 3).encode(), max_values=20)
    with pytest.raises(ValueError, match="more than the 3 values"):
        strict_json.parse(json.dumps([",[{", 1, 2, 3]).encode(), max_values=3)


def test_a_likely_name_was_looked_for_for_each_of_a_hundred_thousand_names(monkeypatch):
    real, asked = errors.difflib.get_close_matches, []
    monkeypatch.setattr(
        errors.difflib, "get_close_matches", lambda *given, **how: asked.append(1) or real(*given, **how)
    )
    names = {str(number): 1 for number in range(500)}
    assert "unknown property" in quick(source_files.parse_text, json.dumps([names]).encode(), "f", "json")
    assert 0 < len(asked) <= errors.MAX_ERRORS


def test_a_likely_name_was_looked_for_for_a_name_of_a_million_letters():
    assert "unknown property" in quick(source_files.parse_text, json.dumps([{"ab" * MB: 1}]).encode(), "f", "json")


def test_keys_in_yaml_were_taken_without_end(monkeypatch):
    monkeypatch.setattr(located_values, "MAX_EVENTS", 1000)
    text = "\n".join(f"{number}: 1" for number in range(600))
    assert "f:500: more values than a list of features can have" in quick(
        source_files.parse_text, text.encode(), "f", "yaml"
    )


# -- arguments ---------------------------------------------------------------------------------------------------------


def test_a_likely_command_was_looked_for_for_a_word_of_a_million_letters():
    assert "Unknown command" in quick(arguments.parse_command, ["st" * MB])


# -- hooks -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def hook(store, repository, monkeypatch, capsys):
    """Fires an event in the session that holds a batch; its answer as text."""
    store.create(new_batch(3, owner=owner("s-1")))
    monkeypatch.chdir(repository)
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", "s-1")
    monkeypatch.setenv("CLAUDE_PID", str(os.getpid()))

    def fire(event, tool="", raw=None, **payload):
        data = json.dumps(payload).encode() if raw is None else raw
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        dispatch.main(event, tool)
        return capsys.readouterr().out

    return fire


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'["' + b"a" * 17 * MB + b'"]', "is larger than 16 MB."),
        (b'{"a": [' + b"1," * MB + b"1]}", "is not a JSON object or has too many values."),
    ],
    ids=["bytes", "values"],
)
def test_a_payload_of_any_size_was_parsed(hook, raw, said):
    assert f"({len(raw):,} bytes) {said}" in hook("Stop", raw=raw)


def test_a_push_that_is_nested_deeply_was_a_hooks_own_trouble(hook):
    assert hook("PostToolUse", "Bash", tool_input={"command": "git push " + "${a:-" * 20_000}) == ""


def test_arguments_of_a_slash_command_took_time_with_their_square(hook):
    told = {"command_name": "batch-implement:batchctl", "command_args": "skip 1 --reason " + "x" * MB}
    answer = quick(lambda: hook("UserPromptExpansion", **told))
    assert "The arguments have 1,048,592 characters" in answer


def test_a_large_payload_is_read_all_the_same(hook):
    assert '"decision": "block"' in hook("Stop", last_assistant_message="x" * 2 * MB)


def test_a_list_of_what_was_told_that_is_no_text_made_a_hook_end_in_a_traceback(repository):
    project = Project(str(repository))
    os.mkdir(project.private)
    with open(f"{project.private}/{error_reporting.REPORTED}", "wb") as told:
        told.write(b"\xff\0\n")
    assert "hook failed" in str(error_reporting.report_error("Stop", project, UsageError("x", "usage")))
    assert error_reporting.report_error("Stop", project, UsageError("x", "usage")) is None


def test_what_was_told_was_noted_through_a_link(repository, tmp_path):
    project = Project(str(repository))
    os.mkdir(project.private)
    (tmp_path / "mine").write_text("precious")
    os.symlink(tmp_path / "mine", f"{project.private}/{error_reporting.REPORTED}")
    assert error_reporting.report_error("Stop", project, UsageError("x", "usage"))
    assert (tmp_path / "mine").read_text() == "precious"


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b"])
def test_a_name_that_the_system_does_not_take_was_a_hooks_own_trouble(hook, name):
    assert hook("PreToolUse", "Write", tool_input={"file_path": name}) == ""


# -- transcripts -------------------------------------------------------------------------------------------------------


def test_a_fifo_in_the_transcripts_place_was_waited_for(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    assert transcript.read_context_tokens(str(tmp_path / "fifo")) == 0


def test_half_of_a_pair_in_the_id_of_a_call_was_a_hooks_own_trouble(tmp_path):
    assert not transcript.has_tool_call(str(tmp_path), "t-\ud800")


@pytest.mark.parametrize("metadata", [[1], "x", {"postTokens": -1}, {"postTokens": 10**400}])
def test_a_boundary_without_its_numbers_was_a_hooks_own_trouble(tmp_path, metadata):
    line = json.dumps({"type": "system", "subtype": "compact_boundary", "compactMetadata": metadata})
    (tmp_path / "t.jsonl").write_text(line)
    assert transcript.read_context_tokens(str(tmp_path / "t.jsonl")) == 0


# -- validate ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["f.json", "batch_state.json", "f"])
def test_validate_waited_for_a_fifo(tmp_path, name):
    os.mkfifo(tmp_path / name)
    assert "not a regular file" in check_file(str(tmp_path / name))[0]["message"]


def test_validate_read_a_device_without_end():
    assert "not a regular file" in quick(check_file, "/dev/zero")[0]["message"]


def test_validate_followed_a_link_in_the_states_place(tmp_path):
    (tmp_path / "mine").write_text("{}")
    os.symlink(tmp_path / "mine", tmp_path / "batch_state.json")
    assert "cannot be read" in check_file(str(tmp_path / "batch_state.json"))[0]["message"]


def test_validate_ended_in_a_traceback_at_a_name_with_a_zero_byte():
    assert "cannot be read" in check_file("a\0b")[0]["message"]


# -- the audit log -----------------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path):
    """The log's place in a private folder."""
    (tmp_path / "private").mkdir()
    return tmp_path / "private" / audit_log.NAME


@pytest.mark.parametrize("line", ['{"event": []}', '{"event": {}}', "[" * 100_000], ids=["a list", "an object", "deep"])
def test_a_line_of_the_log_that_is_none_of_ours_ended_in_a_traceback(log, line):
    log.write_text(line + "\n")
    assert log_format.format_entries(audit_log.read_entries(str(log.parent))) == []


def test_the_log_was_read_from_a_fifo_without_end(log):
    os.mkfifo(log)
    assert list(audit_log.read_entries(str(log.parent))) == []


def test_the_log_was_written_through_a_linked_folder(log, tmp_path):
    os.symlink(log.parent, tmp_path / "link")
    audit_log.record(str(tmp_path / "link"), "x")
    assert not log.exists() and "symbolic link" in audit_log.last_error
    log.write_text('{"event": "x"}\n')
    assert list(audit_log.read_entries(str(tmp_path / "link"))) == []


def test_the_log_was_written_to_a_file_that_is_linked_from_elsewhere(log, tmp_path):
    (tmp_path / "mine").write_text("precious")
    os.link(tmp_path / "mine", log)
    audit_log.record(str(log.parent), "x")
    assert (tmp_path / "mine").read_text() == "precious"


# -- the project -------------------------------------------------------------------------------------------------------


def test_a_fifo_in_the_place_of_git_was_waited_for(tmp_path):
    os.mkfifo(tmp_path / ".git")
    assert project_paths.find_git_dir(str(tmp_path)) is None


# -- the parser --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"a" 1}', '{\n "a": {"b" 1}\n}\n', '["\\u12"]', '"open'])
def test_json_that_is_none_was_an_error_of_pythons_own_where_its_package_was_not_loaded(text):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from batch_implement.store import serialization\nfrom batch_implement.core.errors import StateError\n"
        "assert 'json.decoder' not in sys.modules\n"
        "try:\n    serialization.parse(sys.argv[2].encode())\n"
        "except StateError as error:\n    print(error.message)\n"
    )
    lib = os.path.dirname(os.path.dirname(os.path.dirname(strict_json.__file__)))
    done = run_program(sys.executable, "-I", "-S", "-c", program, lib, text, cwd="/")
    assert done.stdout.startswith("Corrupted batch state file: not JSON"), done.stderr
