"""What every test has: a home folder of its own, and a guard that makes a touch of the real one fail.

`home_guard` works for every test, asked for or not. `repository` is a scratch git repository with one commit,
`store` the store of the batch in it, `batch` the first version of such a batch; `batches.py` has the rest.
"""

from __future__ import annotations

import os
import pwd
import shutil
import site
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.store import audit_log
from batch_implement.store.store import Store
from batches import new_batch

SCRUBBED = ("CLAUDE", "BATCH_IMPLEMENT_", "GIT_", "XDG_")
GITCONFIG = (
    "[user]\n\tname = Scratch\n\temail = scratch@example.invalid\n[init]\n\tdefaultBranch = main\n"
    "[commit]\n\tgpgsign = false\n"
)
CHANGES_FILES = frozenset(
    f"os.{name}"
    for name in (
        "chmod", "chown", "link", "listdir", "mkdir", "remove", "rename", "rmdir", "scandir", "symlink", "truncate",
        "utime",
    )
) | {"open"}  # fmt: skip


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases of a parametrized test beyond the first N with `prove`, where the test is marked `some(N)`."""
    seen: Counter[str] = Counter()
    for item in items:
        marker = item.get_closest_marker("some")
        if marker:
            test = item.nodeid.partition("[")[0]
            seen[test] += 1
            if seen[test] > marker.args[0]:
                item.add_marker(pytest.mark.prove)


class HomeGuard:
    """Fails a test that opens, lists or changes anything in the real home folder.

    What belongs to the interpreter, to PATH, to this repository or to the temporary folder may lie in there. Only this
    process is watched; others are kept away by HOME, which is a scratch folder. `touched` has the paths.
    """

    def __init__(self) -> None:
        homes = {os.path.realpath(pwd.getpwuid(os.getuid()).pw_dir), os.path.realpath(os.path.expanduser("~"))}
        self.homes = homes - {"/"}  # which stands for having none
        repository = str(Path(__file__).resolve().parents[1])
        programs = [sys.prefix, sys.base_prefix, site.getuserbase(), *os.get_exec_path()]
        allowed = [*programs, tempfile.gettempdir(), repository]
        self.allowed = tuple({name for path in allowed for name in (path, os.path.realpath(path)) if path})
        self.touched: list[str] = []
        self.on = False
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[object, ...]) -> None:
        if not self.on or event not in CHANGES_FILES:
            return
        for path in arguments[: 2 if event in ("os.rename", "os.link", "os.symlink") else 1]:
            if isinstance(path, (str, bytes)) and self.is_in_home(os.fsdecode(path)):
                self.touched.append(os.fsdecode(path))
                pytest.fail(f"{event} of {os.fsdecode(path)}: a test must not touch the real home folder")

    def is_in_home(self, path: str) -> bool:
        """Whether an absolute path is one that no test may touch."""
        return any(_within(path, home) for home in self.homes) and not any(_within(path, ok) for ok in self.allowed)


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


_guard = HomeGuard()


@pytest.fixture(scope="session")
def scratch_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home folder of all tests: git knows from it who commits."""
    home = tmp_path_factory.mktemp("scratch-home")
    (home / ".gitconfig").write_text(GITCONFIG, encoding="utf-8")
    return home


@pytest.fixture(autouse=True)
def no_trouble_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit log's trouble is kept for whoever calls next: another test's is not this one's."""
    monkeypatch.setattr(audit_log, "last_error", "")


@pytest.fixture(autouse=True)
def home_guard(scratch_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HomeGuard]:
    """A scratch home and an environment without anybody's settings; a test that touches the real home fails."""
    for name in [name for name in os.environ if name.startswith(SCRUBBED)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(scratch_home))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    _guard.touched.clear()
    _guard.on = True
    yield _guard
    _guard.on = False
    if _guard.touched:  # code under test may have swallowed the first failure
        pytest.fail(f"The real home folder was touched: {', '.join(_guard.touched)}")


@pytest.fixture(scope="session")
def pristine_repository(tmp_path_factory: pytest.TempPathFactory, scratch_home: Path) -> Path:
    """A git repository with one commit (README.md), to be copied."""
    path = tmp_path_factory.mktemp("pristine") / "repository"
    path.mkdir()
    (path / "README.md").write_text("# scratch\n", encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(SCRUBBED)}
    environment.update(HOME=str(scratch_home), GIT_CONFIG_NOSYSTEM="1")
    for words in (["init", "-q", "--template="], ["add", "."], ["commit", "-qm", "start"]):
        subprocess.run(["git", *words], cwd=path, env=environment, check=True)
    return path


@pytest.fixture
def repository(pristine_repository: Path, tmp_path: Path) -> Path:
    """A scratch git repository with one commit."""
    path = tmp_path.resolve() / "repository"
    shutil.copytree(pristine_repository, path, symlinks=True)
    return path


@pytest.fixture
def store(repository: Path) -> Store:
    """The store of the repository; there is no batch in it yet."""
    return Store(Project(str(repository)))


@pytest.fixture
def batch(store: Store) -> dict[str, object]:
    """The first version of a batch of three features, written."""
    return store.create(new_batch(3))
