"""The plugin as people get it: with pip, from a marketplace, and in its next version in the middle of a batch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Callable

import built
import pytest
from batch_implement import __version__
from client import Client
from scripted_model import Request, Script, ScriptedModel, call, say

import scripts
from scripts import copy_of_plugin, git, list_features, state_of, subjects

Models = Callable[..., ScriptedModel]
Clients = Callable[..., Client]
ADDRESS = "https://code.invalid/batch-implement.git"
NEXT = "99.0.0"
ID = "batch-implement@batch-implement"


def test_the_plugin_in_a_wheel_is_valid_and_does_a_batch(
    scripted: Models, client_for: Clients, project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    plugin = built.plugin_in(built.shared(tmp_path_factory))
    list_features(project, "add one")
    client = client_for(scripted(coordinator=scripts.coordinator, worker=scripts.worker()), plugin_dir=plugin)
    checked = client.command("plugin", "validate", str(plugin), "--strict")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    result = client.run("/batch-implement features.txt --verify 'test -e feature-1.txt'")
    assert (result.text, result.final["permission_denials"]) == ("All done.", [])
    assert state_of(project)["status"] == "completed" and subjects(project) == ["Add feature-1.txt"]


class Marketplace:
    """A repository with the plugin, which notes from where each of its hooks ran. The client knows it by an address, as
    people do (what it keeps is then its own copy), or by the folder (then it runs what lies there).
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder / "marketplace", folder / "hooks-ran"
        copy_of_plugin(self.folder)
        run = self.folder / "hooks" / "run"
        text = run.read_text(encoding="utf-8")
        run.write_text(text.replace("\n", f"\nprintf '%s\\n' \"$0\" >>'{self.log}'\n", 1), encoding="utf-8")
        git(self.folder, "init", "-q", "-b", "main")
        self._commit("The first version")

    def _commit(self, message: str) -> None:
        git(self.folder, "add", ".")
        git(self.folder, "commit", "-qm", message)

    def publish(self, version: str) -> None:
        """Have the plugin in another version."""
        for path in (self.folder / ".claude-plugin" / "plugin.json", self.folder / "lib/batch_implement/__init__.py"):
            text = path.read_text(encoding="utf-8")
            assert text.count(f'"{__version__}"') == 1
            path.write_text(text.replace(f'"{__version__}"', f'"{version}"'), encoding="utf-8")
        self._commit(version)

    def installed_by(self, client: Client, source: str = ADDRESS) -> None:
        """The two install lines."""
        with open(client.home / ".gitconfig", "a", encoding="utf-8") as file:
            file.write(f'[url "file://{self.folder}/.git"]\n\tinsteadOf = {ADDRESS}\n')
        managed(client, "marketplace", "add", source)
        managed(client, "install", ID)

    def ran(self) -> set[str]:
        """The names of the folders whose hooks ran since this was asked last: the client names its own by version."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return {Path(line).parents[1].name for line in lines}

    def quiet(self) -> set[str]:
        """The same, once no hook of a killed client is left to run."""
        seen, more = self.ran(), {""}
        while more:
            time.sleep(1)
            more = self.ran()
            seen |= more
        return seen


def managed(client: Client, *words: str) -> str:
    """What `claude plugin` answers."""
    done = client.command("plugin", *words, env={"NPM_CONFIG_OFFLINE": "true"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def updated(client: Client, marketplace: Marketplace) -> None:
    """The next version comes out, and the person takes it."""
    marketplace.publish(NEXT)
    managed(client, "marketplace", "update", "batch-implement")
    assert NEXT in managed(client, "update", ID)


@pytest.fixture
def marketplace(tmp_path: Path) -> Marketplace:
    return Marketplace(tmp_path / "source")


@pytest.mark.prove
def test_a_batch_that_one_version_began_is_ended_by_the_next(
    scripted: Models, client_for: Clients, project: Path, marketplace: Marketplace
) -> None:
    """The client is killed in feature 2, with a commit made; the plugin is updated; the batch is resumed."""
    list_features(project, "add one", "add two", "add three")
    worker = scripts.interrupted(call("Bash", command="echo in the middle; sleep 60"))
    model = scripted(coordinator=scripts.coordinator, worker=worker)
    client = client_for(model, plugin_dir=None)
    marketplace.installed_by(client)

    running = client.start("/batch-implement features.txt --verify 'test -e feature-1.txt'")
    running.wait_until(lambda _: (project / "note.txt").exists(), timeout=240)
    running.kill()
    running.end()
    assert marketplace.quiet() == {__version__}
    before = state_of(project)
    assert before["completed_features"] == [0] and before["active"]["feature_index"] == 1

    updated(client, marketplace)
    result = client.run("/batch-implement --resume", timeout=240)
    assert (result.text, result.final["permission_denials"]) == ("All done.", [])
    assert marketplace.ran() == {NEXT}

    after = state_of(project)
    assert (after["status"], after["completed_features"], after["failed_features"]) == ("completed", [0, 1, 2], [])
    for field in ("batch_id", "created_at", "features", "policy", "schema_version"):
        assert after[field] == before[field]
    assert after["evidence"]["0"] == before["evidence"]["0"] and after["revision"] > before["revision"]
    assert subjects(project) == ["Add feature-1.txt", "Add feature-2.txt", "Add note.txt", "Add feature-3.txt"]
    assert after["retry_attempts"] == {}


@pytest.mark.prove
@pytest.mark.parametrize("hosted", [True, False], ids=["hosted", "folder"])
def test_an_update_under_a_working_client_disturbs_no_batch(
    scripted: Models, client_for: Clients, project: Path, marketplace: Marketplace, hosted: bool
) -> None:
    """A client keeps the version that it began with; one that runs a folder has what lies there, at once."""
    did: list[int] = []

    def work(request: Request) -> Script:
        number = scripts.feature_number(request)
        did.append(number)
        if number == 2:
            updated(client, marketplace)
        yield from scripts.worker()(request)

    list_features(project, "add one", "add two", "add three")
    client = client_for(scripted(coordinator=scripts.coordinator, worker=work), plugin_dir=None)
    marketplace.installed_by(client, ADDRESS if hosted else str(marketplace.folder))
    assert client.run("/batch-implement features.txt").text == "All done."
    assert did == [1, 2, 3] and state_of(project)["completed_features"] == [0, 1, 2]
    assert marketplace.ran() == {__version__ if hosted else marketplace.folder.name}


@pytest.mark.prove
@pytest.mark.parametrize("broken", ["lib/hook.py", "lib/batch_implement/hooks/slash_commands.py"])
def test_a_next_version_whose_hooks_are_broken_is_noticed(
    scripted: Models, client_for: Clients, project: Path, marketplace: Marketplace, broken: str
) -> None:
    """What the test of the update looks at is then not so: the batch is not resumed."""

    def idle(request: Request) -> Script:
        yield say("I see nothing to do.")

    list_features(project, "add one", "add two", "add three")
    client = client_for(scripted(coordinator=idle), plugin_dir=None)
    scripts.in_terminal(client, "create", "features.txt")
    marketplace.installed_by(client)
    (marketplace.folder / broken).write_text("raise SystemExit\n", encoding="utf-8")
    updated(client, marketplace)
    client.run("/batch-implement --resume", timeout=240)
    assert marketplace.ran() == {NEXT}
    assert state_of(project)["owner"] is None and state_of(project)["completed_features"] == []
