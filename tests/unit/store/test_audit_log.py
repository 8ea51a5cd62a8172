"""The audit log: one line an event, whole, rotated, and never in the way of what it reports."""

from __future__ import annotations

import fcntl
import json
import multiprocessing
import os
import re
import threading

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.report import log_format
from batch_implement.store import audit_log


@pytest.fixture(autouse=True)
def no_trouble_yet(monkeypatch):
    """Trouble of another test is not this one's."""
    monkeypatch.setattr(audit_log, "last_error", "")


def lines(folder):
    return (folder / audit_log.NAME).read_text().splitlines()


def test_an_event_is_one_line_with_time_name_process_and_what_it_brings(tmp_path):
    audit_log.record(str(tmp_path), "created", batch_id="b1", features=3)
    entry = json.loads(lines(tmp_path)[0])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", entry.pop("at"))
    assert entry == {"event": "created", "pid": os.getpid(), "batch_id": "b1", "features": 3}
    assert (tmp_path / audit_log.NAME).stat().st_mode & 0o777 == 0o600


def test_events_are_read_back_in_order_and_line_breaks_stay_inside(tmp_path):
    for text in ("one\nline", "two", "\u2028 é \udcff"):
        audit_log.record(str(tmp_path), "said", text=text)
    assert [entry["text"] for entry in audit_log.read_entries(str(tmp_path))] == ["one\nline", "two", "\u2028 é \udcff"]
    assert len(lines(tmp_path)) == 3


def test_what_is_not_json_is_written_as_its_text(tmp_path):
    audit_log.record(str(tmp_path), "odd", path=tmp_path, some={1}, raw=b"x")
    entry = next(audit_log.read_entries(str(tmp_path)))
    assert (entry["path"], entry["some"], entry["raw"]) == (str(tmp_path), "{1}", "b'x'")


def test_a_very_long_event_is_cut_and_says_so(tmp_path):
    audit_log.record(str(tmp_path), "long", text="x" * 50_000, short="kept")
    entry = next(audit_log.read_entries(str(tmp_path)))
    assert entry["short"] == "kept"
    assert entry["text"] == "x" * 500 + "...[truncated]"
    assert len(lines(tmp_path)[0]) <= audit_log.MAX_LINE_CHARS


@pytest.mark.parametrize("text", ["x" * 50_000, "\U0001f600" * 3000, "\0" * 5000], ids=["long", "emoji", "escapes"])
@pytest.mark.parametrize("fields", [1, 60])
def test_an_event_with_any_long_field_is_shown_by_batchctl_log(tmp_path, text, fields):
    details = {f"field_{number}": text for number in range(fields)}
    audit_log.record(str(tmp_path), "migrated", repairs=[text] * 40, **details)
    audit_log.record(str(tmp_path), "said", text=text, context={text[:200]: [text]})
    assert [entry["event"] for entry in audit_log.read_entries(str(tmp_path))] == ["migrated", "said"]
    assert max(map(len, lines(tmp_path))) <= audit_log.MAX_LINE_CHARS
    shown = log_format.format_entries(audit_log.read_entries(str(tmp_path)))
    assert "repaired: " in shown[1]
    assert "more truncated" in " ".join(shown)


def test_a_long_list_keeps_its_first_elements_and_says_how_many_are_missing(tmp_path):
    audit_log.record(str(tmp_path), "migrated", repairs=[f"{number} " + "x" * 300 for number in range(100)])
    (entry,) = audit_log.read_entries(str(tmp_path))
    assert [text[:2].strip() for text in entry["repairs"][:-1]] == [str(number) for number in range(13)]
    assert entry["repairs"][-1] == "...[87 more truncated]"


def test_portions_fit_into_lines_whatever_has_to_be_escaped(tmp_path):
    repairs = ["\U0001f600" * 300] * 40
    for portion in audit_log.split_for_log(repairs):
        audit_log.record(str(tmp_path), "migrated", repairs=portion)
    found = [text for entry in audit_log.read_entries(str(tmp_path)) for text in entry["repairs"]]
    assert found == repairs


def test_a_line_that_a_crash_cut_is_left_out(tmp_path):
    audit_log.record(str(tmp_path), "first")
    with open(tmp_path / audit_log.NAME, "a") as log:
        log.write('{"at": "x", "ev')
        log.write('\n[]\n"event"\n{"no": 1}\n')
    audit_log.record(str(tmp_path), "last")
    assert [entry["event"] for entry in audit_log.read_entries(str(tmp_path))] == ["first", "last"]


def test_a_line_that_another_process_is_only_just_writing_is_not_taken_for_a_cut_one(tmp_path, monkeypatch):
    audit_log.record(str(tmp_path), "first")
    log = os.open(tmp_path / audit_log.NAME, os.O_WRONLY | os.O_APPEND)
    os.write(log, b'{"event": "sec')  # the system shows what of it has reached the first page
    monkeypatch.setattr(audit_log.time, "sleep", lambda seconds: os.write(log, b'ond"}\n'))
    audit_log.record(str(tmp_path), "third")
    os.close(log)
    assert [json.loads(line)["event"] for line in lines(tmp_path)] == ["first", "second", "third"]


def test_a_log_that_is_not_there_has_no_entries(tmp_path):
    assert list(audit_log.read_entries(str(tmp_path / "gone"))) == []


def test_a_full_log_is_rotated_and_five_old_ones_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_log, "ROTATE_AT_BYTES", 1)
    for number in range(9):
        audit_log.record(str(tmp_path), "event", number=number)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        audit_log.NAME,
        *(f"{audit_log.NAME}.{n}" for n in range(1, 6)),
    ]
    assert [entry["number"] for entry in audit_log.read_entries(str(tmp_path))] == [3, 4, 5, 6, 7, 8]


def test_only_one_of_several_writers_rotates(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_log, "ROTATE_AT_BYTES", 1)
    audit_log.record(str(tmp_path), "event", number=0)
    first = os.open(tmp_path / audit_log.NAME, os.O_WRONLY | os.O_APPEND)  # a writer that opened the log before
    audit_log.record(str(tmp_path), "event", number=1)
    os.close(audit_log._rotate_logs(str(tmp_path), first, os.O_WRONLY | os.O_APPEND))
    assert sorted(path.name for path in tmp_path.iterdir()) == [audit_log.NAME, f"{audit_log.NAME}.1"]


def test_who_rotates_waits_for_another_who_does(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_log, "ROTATE_AT_BYTES", 1)
    audit_log.record(str(tmp_path), "event", number=0)
    with open(tmp_path / audit_log.NAME) as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        writer = threading.Thread(target=audit_log.record, args=(str(tmp_path), "event"), kwargs={"number": 1})
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        assert not (tmp_path / f"{audit_log.NAME}.1").exists()
    writer.join(20)
    assert [entry["number"] for entry in audit_log.read_entries(str(tmp_path))] == [0, 1]


def write_many(folder, worker):
    for number in range(60):
        audit_log.record(folder, "event", worker=worker, number=number, text="x" * (number * 40))


def test_lines_of_several_processes_never_mix_nor_get_lost_in_a_rotation(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_log, "ROTATE_AT_BYTES", 60_000)
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=write_many, args=(str(tmp_path), worker)) for worker in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = {(entry["worker"], entry["number"]) for entry in audit_log.read_entries(str(tmp_path))}
    assert found == {(worker, number) for worker in range(4) for number in range(60)}
    assert (tmp_path / f"{audit_log.NAME}.1").exists()


@pytest.mark.parametrize(
    "make",
    [lambda place: place.mkdir(), lambda place: place.symlink_to("elsewhere"), lambda place: os.mkfifo(place)],
    ids=["folder", "link", "fifo"],
)
def test_a_log_that_cannot_be_written_is_no_error_but_a_sentence_to_say(tmp_path, make):
    make(tmp_path / audit_log.NAME)
    audit_log.record(str(tmp_path), "event")
    assert audit_log.last_error.startswith(f"the audit log {tmp_path}/{audit_log.NAME} could not be written: ")
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_folder_is_such_trouble_too(tmp_path):
    audit_log.record(str(tmp_path / "gone"), "event")
    assert "could not be written" in audit_log.last_error


def test_no_descriptor_stays_open_after_a_rotation(tmp_path, monkeypatch):
    monkeypatch.setattr(audit_log, "ROTATE_AT_BYTES", 1)
    before = len(os.listdir("/dev/fd"))
    for _ in range(4):
        audit_log.record(str(tmp_path), "event")
    assert len(os.listdir("/dev/fd")) == before


class Contrary:
    def __str__(self):
        raise ValueError

    __repr__ = __str__


def test_what_a_script_has_to_say_is_written_whatever_it_is(repository):
    project = Project(str(repository))
    loop = []
    loop.append(loop)
    for odd in (None, loop, Contrary(), {(1, 2): {3}}, "x" * 100_000, 10**400, float("nan"), "\udcff"):
        audit_log.record_script_event(project, "said", "ok", odd)
    told = list(audit_log.read_entries(project.private))
    assert [entry["event"] for entry in told] == ["said"] * 8
    assert (audit_log.last_error, told[0]["context"], told[0]["status"]) == ("", None, "ok")
    assert all(
        len(line) <= audit_log.MAX_LINE_CHARS for line in (repository / ".git/batch-implement/audit.jsonl").open()
    )


def test_what_a_script_has_to_say_never_raises(repository):
    (repository / ".git/batch-implement").write_text("in the way")
    audit_log.record_script_event(Project(str(repository)), "said", "ok", {})
    assert "could not be written" in audit_log.last_error
