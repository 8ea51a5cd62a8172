"""What the real client hears of a project's settings goes by trust, and our look at them says what the client does."""

from __future__ import annotations

import json

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.commands import claude_settings
from client import Client
from scripted_model import call, say

from scripts import git

pytestmark = pytest.mark.prove


@pytest.mark.parametrize("trusted", ["the main work tree", "the linked one", "the parent folder"])
def test_a_client_in_a_linked_work_tree_may_do_what_the_project_allows_when_the_main_one_is_trusted(
    project, scripted, tmp_path, trusted
):
    refused: list[bool] = []

    def work(request):
        request = yield call("Bash", command="make test")
        refused.append(request.error)
        yield say("Done.")

    (project / ".claude").mkdir()
    (project / ".claude/settings.json").write_text(json.dumps({"permissions": {"allow": ["Bash(make:*)"]}}))
    (project / "Makefile").write_text("test:\n\t@echo made\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "Settings")
    linked = tmp_path / "project.worktrees" / "1"
    git(project, "worktree", "add", "-q", str(linked))
    with Client(linked, scripted(coordinator=work), None, tmp_path / "home") as client:
        file = client.configuration / ".claude.json"
        folder = {"the main work tree": project, "the linked one": linked, "the parent folder": tmp_path}[trusted]
        known = {**json.loads(file.read_text()), "projects": {str(folder): {"hasTrustDialogAccepted": True}}}
        file.write_text(json.dumps(known))
        result = client.run("go", mode="acceptEdits")
        environ = client.environment()
    heard = trusted == "the main work tree"
    assert refused == [not heard]
    assert ("has not been trusted" in result.stderr) is not heard
    for tree in (project, linked):
        its = Project(str(tree))
        found = claude_settings.read_settings(its.root, environ)
        goes_by = claude_settings.find_linked_trust_folder(its.private_parent)
        unheard = claude_settings.find_ignored_settings(found, its.root, goes_by, environ)
        assert unheard == (None if heard else str(tree / ".claude/settings.json"))
        assert heard or f'projects["{goes_by}"]' in result.stderr
