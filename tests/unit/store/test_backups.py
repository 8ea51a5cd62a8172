"""Backups: what edits of many files leave of a packed copy, and when an edit of the state is not a user's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from batch_implement.store import backups, sidecar
from batch_implement.store.store import Store
from batches import all_completed, git, new_batch
from hypothesis import given, settings
from hypothesis import strategies as st

TEXT, STATE = (
    b"live\nnew 1 2 3 abc 4\ncheck 5\n",
    json.dumps({"features": ["Rename getUser to fetchUser é"] * 9}).encode(),
)
PACKED, SECOND = backups.pack(TEXT, STATE)


@settings(deadline=None, max_examples=50)
@given(st.binary(), st.binary())
def test_what_was_packed_is_unpacked(text, data):
    assert [backups.unpack(each) for each in backups.pack(text, data)] == [(text, data)] * 2


def test_a_packed_copy_has_no_character_that_a_pattern_could_match():
    assert PACKED.startswith(b"\0")
    text = PACKED.decode()
    assert {ord(character) >> 16 for character in text[1:-1]} == {15}
    assert text.upper() == text.lower() == text
    assert max(map(len, backups.pack(TEXT, STATE * 1000))) < len(STATE * 1000) / 20


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_what_is_put_in_anywhere_is_ignored(data):
    text = PACKED.decode()
    for _ in range(3):
        at = data.draw(st.integers(0, len(text)))
        text = (
            text[:at] + data.draw(st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]))) + text[at:]
        )
    assert backups.unpack(text.encode()) == (TEXT, STATE)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, len(PACKED.decode()) - 5), st.integers(1, 3))
def test_what_lacks_something_is_damaged(at, count):
    text = PACKED.decode()
    assert backups.unpack((text[:at] + text[at + count :]).encode()) is None
    assert backups.unpack(text[:at].encode()) is None


@pytest.mark.parametrize(
    "content", [b"", b"\0", SECOND[:-9], SECOND[9:], b"{}", b"\xff" * 9, PACKED[:-5], "\U000f1234".encode() * 400]
)
def test_anything_else_is_damaged(content):
    assert backups.unpack(content) is None


PROGRAMS = {
    "perl": "perl -pi -e 's/[a-z]+/x/gi; s/\\t/    /g; s/\\s+$/\\n/' FILE",
    "perl, decoded": "perl -CSD -pi -e 's/\\w+/x/g' FILE",
    "sed": "sed -i -e 's/[[:alnum:]]/x/g' -e 's/[ \\t]*$//' -e 's/\\r$//' -e 's/\"/Q/g' FILE",
    "sed, a line before and after": "sed -i -e '1i # Copyright (c) 2026, \\xc3\\xa9' -e '$a # end' FILE",
    "ed": "printf '%s\\n' 'g/x/s//y/g' w q | ed -s FILE",
    "awk": "awk '{gsub(/[a-z]/, \"x\"); print}' FILE > FILE.new && mv FILE.new FILE",
    "tr": "tr 'a-zA-Z0-9' 'n-za-mN-ZA-M5-90-4' < FILE > FILE.new && mv FILE.new FILE",
    "sort": "sort -o FILE FILE",
    "node": "node -e \"const fs = require('fs'); fs.writeFileSync('FILE', "
    "fs.readFileSync('FILE', 'utf8').replace(/[a-z]+/gi, 'x').normalize('NFKC'))\"",
    "Python": "python3 -c \"t = open('FILE', errors='ignore').read(); open('FILE', 'w').write(t.lower() + 'x')\"",
    "Python, Latin-1": "python3 -c \"t = open('FILE', encoding='latin-1').read(); "
    "open('FILE', 'w', encoding='latin-1').write(t.replace('a', 'b'))\"",
    "bash": 'while IFS= read -r line; do printf "%s\\n" "${line//e/E}"; done < FILE > FILE.new; mv FILE.new FILE',
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_that_rewrite_every_file_leave_it_readable(tmp_path, name):
    command = PROGRAMS[name]
    if not shutil.which(command.split(maxsplit=1)[0]) and name not in ("bash", "ed"):
        pytest.skip(f"{name} is not installed")
    (tmp_path / "FILE").write_bytes(PACKED + b"\0" * 5000)
    result = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (0, "")
    assert backups.unpack((tmp_path / "FILE").read_bytes()) == (TEXT, STATE)


FOR_THE_SECOND = {
    "only ASCII is left": "LC_ALL=C tr -cd '\\11\\12\\15\\40-\\176' < FILE > t && mv t FILE",
    "only ASCII is left, by perl": "perl -pi -e 's/[^[:ascii:]]//g' FILE",
    "a header and a footer": "sed -i -e '1i # Copyright é' -e '$a # end' -e 's/getUser/x/g' -e 's/$/\\r/' FILE",
    "ends of lines": "sed -i -e 's/[ \\t]*$//' -e 's/\\t/    /g' FILE",
    "node": "node -e \"const fs = require('fs'); fs.writeFileSync('FILE', "
    "fs.readFileSync('FILE', 'utf8').replace(/[^\\x00-\\x7f]/g, ''))\"",
}


@pytest.mark.parametrize("name", FOR_THE_SECOND)
def test_what_takes_the_first_packed_copy_leaves_the_second_readable(tmp_path, name):
    command = FOR_THE_SECOND[name]
    if name == "node" and not shutil.which("node"):
        pytest.skip("node is not installed")
    (tmp_path / "FILE").write_bytes(SECOND + b"\0" * 5000)
    subprocess.run(["bash", "-c", command], cwd=tmp_path, check=True)
    assert backups.unpack((tmp_path / "FILE").read_bytes()) == (TEXT, STATE)


def test_no_pattern_over_names_sizes_or_times_meets_both_packed_copies(store, batch):
    first, second = Path(store.project.private, sidecar.BACKUP), Path(store.project.second_backup)
    assert first.stat().st_size < 10_000 < 1_000_000 < second.stat().st_size
    assert second.stat().st_blocks * 512 < 100_000
    assert second.stat().st_mtime < 1e9 < first.stat().st_mtime
    for words in (["-path", "*batch*"], ["-size", "-1000k"], ["-size", "+100k"], ["-mmin", "-60"], ["-mtime", "+30"]):
        found = subprocess.run(
            ["find", store.project.root, *words, "-type", "f"], capture_output=True, text=True, check=True
        ).stdout.split()
        assert not {str(first), str(second)} <= set(found), words


# -- whose edit it is --------------------------------------------------------------------------------------------------


def replace_in(path, old="feature 1", new="feature X"):
    Path(path).write_text(Path(path).read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def test_an_edit_of_the_state_alone_is_a_users(store, batch):
    replace_in(store.project.state)
    assert store.read()["features"][0] == "feature X"


def test_an_edit_of_the_state_and_its_readable_copy_is_undone(store, batch):
    before = Path(store.project.state).read_bytes()
    for path in (store.project.state, f"{store.project.private}/{sidecar.READABLE_COPY}"):
        replace_in(path)
    assert store.read() == batch
    assert Path(store.project.state).read_bytes() == before
    assert "was put back" in store.notes[0]
    assert Path(store.project.private, sidecar.READABLE_COPY).read_bytes() == before


def test_a_removal_of_the_state_and_its_readable_copy_is_undone(store, batch):
    before = Path(store.project.state).read_bytes()
    for path in (store.project.state, f"{store.project.private}/{sidecar.READABLE_COPY}"):
        os.unlink(path)
    assert store.read() == batch
    assert Path(store.project.state).read_bytes() == before
    assert "was gone outside batchctl" in store.notes[0]


def test_a_batch_that_is_over_is_put_back_when_its_readable_copy_is_gone_too(store):
    store.create(new_batch(1))
    state = store.update(all_completed)
    os.unlink(store.project.state)
    assert (store.read(), store.notes) == (None, [])
    os.unlink(f"{store.project.private}/{sidecar.READABLE_COPY}")
    assert store.read() == state
    assert not sidecar.read_sidecar(store.project.private).live


def test_a_project_whose_private_folder_and_state_are_gone_is_put_back_from_the_second_backup(store, batch, untrusted):
    before = Path(store.project.state).read_bytes()
    shutil.rmtree(store.project.private)
    os.unlink(store.project.state)
    assert untrusted.read() == batch
    assert Path(store.project.state).read_bytes() == before
    assert untrusted.is_unmodified()


def test_copies_that_are_older_than_the_state_do_not_bring_back_an_older_version(store, batch, untrusted):
    kept = {
        path: Path(path).read_bytes() for path in (f"{store.project.private}/in-force.bi", store.project.second_backup)
    }
    state = store.update(lambda current: {**current, "context_token_estimate": 7})
    for path, content in kept.items():
        Path(path).write_bytes(content)
    os.unlink(f"{store.project.private}/sidecar")
    assert untrusted.read()["context_token_estimate"] == state["context_token_estimate"]


@pytest.mark.parametrize("name", [sidecar.BACKUP, "second backup"])
def test_of_two_packed_copies_the_newer_one_has_the_sidecar(store, batch, name):
    path = Path(store.project.second_backup if name == "second backup" else f"{store.project.private}/{name}")
    older = path.read_bytes()
    store.update(lambda current: {**current, "context_token_estimate": 7})
    path.write_bytes(older)
    private = backups.open_private_folder(store.project, create=False)
    try:
        assert backups.read_backup_sidecar(store.project, private) == sidecar.read_text(store.project.private)
    finally:
        os.close(private)


@pytest.mark.parametrize("how", ["archived", "withdrawn"])
def test_a_batch_that_is_archived_leaves_no_copy_that_could_bring_it_back(store, batch, untrusted, how):
    if how == "archived":
        store.archive("aborted")
    else:
        os.unlink(store.project.state)
        assert store.read() is None
    shutil.rmtree(store.project.private)
    assert (untrusted.read(), store.read()) == (None, None)


def test_the_second_backup_of_a_linked_worktree_is_in_its_own_git_folder(store, batch, repository, tmp_path):
    git(repository, "worktree", "add", "-q", str(tmp_path / "tree"))
    other = Store(type(store.project)(str(tmp_path / "tree")))
    other.create(new_batch(1, batch_id="other"))
    assert other.project.second_backup == f"{repository}/.git/worktrees/tree/implement.bi"
    assert os.path.exists(other.project.second_backup)
