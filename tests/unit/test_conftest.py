"""The guard of the real home folder, and what else every test is given."""

from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest
from batches import git

REAL_HOME = os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir)
PROBE = f"{REAL_HOME}/.batch-implement-no-test-may-write-this"


@pytest.mark.parametrize(
    "touch",
    [
        lambda: Path(PROBE).write_text("x"),
        lambda: Path(REAL_HOME, ".claude.json").read_bytes(),
        lambda: os.open(PROBE, os.O_CREAT | os.O_WRONLY),
        lambda: os.mkdir(PROBE),
        lambda: os.listdir(REAL_HOME),
        lambda: os.rename("/nonexistent", PROBE),
        lambda: os.symlink("/nonexistent", PROBE),
        lambda: os.remove(PROBE),
    ],
)
def test_a_touch_of_the_real_home_fails_the_test_before_it_happens(home_guard, touch):
    with pytest.raises(pytest.fail.Exception, match="must not touch the real home"):
        touch()
    assert not os.path.lexists(PROBE)
    assert home_guard.touched
    home_guard.touched.clear()


def test_a_touch_that_is_swallowed_is_remembered_for_the_end_of_the_test(home_guard):
    try:
        Path(PROBE).write_text("x")
    except BaseException as swallowed:
        assert isinstance(swallowed, pytest.fail.Exception)
    assert home_guard.touched == [PROBE]
    home_guard.touched.clear()


def test_the_home_folder_of_a_test_is_a_scratch_one_with_a_git_identity(home_guard, tmp_path):
    home = os.path.expanduser("~")
    assert not home_guard.is_in_home(home)
    assert os.path.realpath(home) != REAL_HOME
    assert git(tmp_path, "config", "user.email") == "scratch@example.invalid"


def test_nothing_of_a_client_or_of_another_repository_is_in_the_environment():
    left = [name for name in os.environ if name.startswith(("CLAUDE", "BATCH_IMPLEMENT_", "GIT_"))]
    assert left == ["GIT_CONFIG_NOSYSTEM"]
