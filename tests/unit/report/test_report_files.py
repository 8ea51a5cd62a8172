"""Reports as files, of the batch that is here and of those in the archive; and the command that prints them."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import stat

import pytest
from batch_implement.base import project_paths
from batch_implement.core.errors import DurabilityError, RefusedError, StateError, UsageError
from batch_implement.report import report_files, run_report
from batch_implement.store import atomic_files
from batch_implement.store.store import Store
from batches import completed, files_in, new_batch
from run_report_samples import at, run_state

NOW = at(500)


@pytest.fixture
def project(repository):
    return project_paths.Project(str(repository))


def test_every_form_is_written_for_its_owner_alone(project):
    places = report_files.write_reports(project, run_state(), NOW)
    folder = f"{project.private}/reports/batch-20260131-230000-000042"
    assert places == {form: f"{folder}.{form}" for form in ("md", "html", "json")}
    assert {os.stat(place).st_mode & 0o777 for place in places.values()} == {0o600}
    assert os.stat(f"{project.private}/reports").st_mode & 0o777 == 0o700
    data = run_report.build_report(run_state(), NOW)
    with open(places["json"], encoding="utf-8") as file:
        assert json.load(file) == json.loads(json.dumps(dataclasses.asdict(data)))
    for form in ("md", "html"):
        with open(places[form], encoding="utf-8") as file:
            assert file.read() == report_files.render(data, form)


def test_a_later_report_takes_the_place_of_the_earlier_one_and_leaves_nothing_beside(project):
    report_files.write_reports(project, new_batch(1), NOW)
    places = report_files.write_reports(project, completed(new_batch(1)), NOW)
    with open(places["md"], encoding="utf-8") as file:
        assert file.read().startswith("# 1 of 1 feature done")
    assert files_in(f"{project.private}/reports") == {"lock", "batch-1.md", "batch-1.html", "batch-1.json"}


def test_a_full_disk_is_said_and_leaves_the_earlier_report(project, monkeypatch):
    places = report_files.write_reports(project, new_batch(1), NOW)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic_files, "write_all", full)
    with pytest.raises(StateError, match="Disk space is used up"):
        report_files.write_reports(project, completed(new_batch(1)), NOW)
    with open(places["md"], encoding="utf-8") as file:
        assert file.read().startswith("# 0 of 1 feature")
    assert files_in(f"{project.private}/reports") == {"lock", "batch-1.md", "batch-1.html", "batch-1.json"}


def test_a_report_that_the_disk_does_not_confirm_is_said_to_be_written(project, tmp_path, monkeypatch):
    def fail_for_folder(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(atomic_files, "sync", fail_for_folder)
    with pytest.raises(DurabilityError, match=r"mine\.md was written, but the disk did not confirm it"):
        report_files.save_file(project, str(tmp_path / "mine.md"), "text", replace=True)
    assert (tmp_path / "mine.md").read_text(encoding="utf-8") == "text"


def test_a_folder_that_may_not_be_used_is_said_with_what_to_do(project, store, batch, monkeypatch, tmp_path):
    store.archive("aborted")

    def forbidden(*_, **__):
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(report_files.project_paths, "open_folder", forbidden)
    with pytest.raises(StateError, match="/reports cannot be used: Permission denied: check who owns it"):
        report_files.write_reports(project, new_batch(1), NOW)
    with pytest.raises(StateError, match="/archive cannot be used: Permission denied"):
        report_files._read_archived(project, "batch-1.json")
    monkeypatch.setattr(report_files.os, "open", forbidden)
    with pytest.raises(StateError, match=r"mine\.md cannot be written: Permission denied"):
        report_files.save_file(project, str(tmp_path / "mine.md"), "text", replace=True)


def test_half_of_a_surrogate_pair_does_not_keep_a_report_from_being_written(project):
    assert report_files.write_reports(project, new_batch(["a \ud800 b"]), NOW)


def test_a_link_in_the_place_of_the_folder_is_not_followed(project, tmp_path):
    os.makedirs(project.private)
    os.symlink(tmp_path, f"{project.private}/reports")
    with pytest.raises(StateError, match="symbolic link"):
        report_files.write_reports(project, new_batch(1), NOW)


@pytest.mark.parametrize(
    "name",
    [
        ".claude/batch_state.json", ".claude/batch_state.json.tmp", ".git/batch-implement/sidecar", ".git/HEAD",
        "link/sidecar", "nowhere/report.md", "", ".claude",
    ],
)  # fmt: skip
def test_a_report_goes_nowhere_where_state_is_kept(project, batch, name):
    os.symlink(project.private, f"{project.root}/link")
    before = Store(project).require()
    with pytest.raises(UsageError):
        report_files.save_file(project, f"{project.root}/{name}", "text", replace=True)
    assert Store(project).require() == before


def test_a_report_that_is_saved_takes_the_place_of_a_link_and_leaves_what_it_points_to(project, batch):
    os.symlink(project.state, f"{project.root}/report.md")
    before = Store(project).require()
    report_files.save_file(project, f"{project.root}/report.md", "text", replace=True)
    assert not os.path.islink(f"{project.root}/report.md")
    assert Store(project).require() == before


# -- the command -------------------------------------------------------------------------------------------------------


def test_the_command_prints_markdown_html_or_json(typed, batch):
    assert typed("report")[1].startswith("# 0 of 3 features done\n")
    assert typed("report", "--format", "html")[1].startswith("<!doctype html>")
    (status, out, err) = typed("report", "--format", "json")
    assert (status, err) == (0, "")
    assert json.loads(out)["counts"]["pending"] == 3
    assert json.loads(typed("report", "--json")[1])["batch_id"] == "batch-1"


def test_the_command_writes_a_file_where_the_person_is(typed, batch, repository):
    status, out, _ = typed("report", "--format", "html", "--output", "report-1.html")
    assert (status, out) == (0, f"The report of batch batch-1 is in {repository}/report-1.html.\n")
    assert (repository / "report-1.html").read_text().startswith("<!doctype html>")
    answer = json.loads(typed("report", "--output", "report-1.md", "--json")[1])
    assert answer == {"path": f"{repository}/report-1.md", "format": "md"}


def test_the_command_tells_of_a_batch_in_the_archive(typed, store, batch):
    store.archive("aborted")
    assert typed("report")[0] == 1
    status, out, _ = typed("report", "batch-1")
    assert status == 0
    assert "**archived unfinished**" in out
    assert "resume" not in out


def test_of_several_batches_of_one_id_it_is_the_last(project, store, batch):
    store.archive("aborted")
    store.create(completed(new_batch(3)))
    store.archive("aborted")
    state, is_archived = report_files.find_batch(project, "batch-1")
    assert (len(state["completed_features"]), is_archived) == (1, True)


def test_a_batch_that_is_not_known_is_refused_with_those_that_are(project, store, batch):
    store.archive("aborted")
    store.create(new_batch(1, batch_id="batch-2"))
    assert report_files.find_batch(project, "batch-2")[1] is False
    with pytest.raises(RefusedError, match=r"not found, neither here .* Last archived ones: batch-1\."):
        report_files.find_batch(project, "batch-3")
    with pytest.raises(UsageError, match="is not a batch id"):
        report_files.find_batch(project, "../sidecar")


def test_a_file_in_the_archive_that_is_a_link_is_not_read(project, store, batch):
    store.archive("aborted")
    os.symlink("batch-1.json", f"{project.private}/archive/batch-9.json")
    with pytest.raises(RefusedError, match="symbolic link"):
        report_files.find_batch(project, "batch-9")


def test_without_a_batch_the_command_says_how_to_start_one(typed):
    status, _, err = typed("report")
    assert status == 1
    assert "There is no batch" in err
