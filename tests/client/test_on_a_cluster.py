"""The real client on a worker of a cluster, which shares nothing with the driver's machine but the remote."""

from __future__ import annotations

import subprocess
import sys

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.store.store import Store
from cluster.local import Cluster, has_remote

import scripts


@pytest.mark.prove
def test_a_client_on_a_clusters_worker_is_briefed_guarded_and_its_work_comes_back_with_its_cost(
    project, scripted, client_for, tmp_path
):
    pytest.importorskip("distributed")
    model = scripted(coordinator=scripts.alone())
    client = client_for(model)
    environ = client.environment()
    scripts.list_features(project, "feature 1", "feature 2 (after: 1)")
    remote = has_remote(project, tmp_path / "remote.git")
    keys = {name: environ[name] for name in environ if name.startswith(("ANTHROPIC_", "CLAUDE_", "IS_", "DISABLE_"))}
    its = Cluster(tmp_path / "cluster", client.home, 1, 1, environ=keys)
    try:
        typed = subprocess.run(
            [sys.executable, str(scripts.REPOSITORY / "lib" / "batchctl.py"), "run", "features.txt", "--verify", "ls",
             "--cluster", its.address, "--client", str(client.binary), "--permission-mode", "bypassPermissions"],
            cwd=project, env={name: value for name, value in environ.items() if name not in keys},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
    finally:
        its.end()
    assert typed.returncode == 0, typed.stdout + typed.stderr
    state = Store(Project(str(project))).require()
    assert state["completed_features"] == [0, 1] and state["retry_attempts"] == {}
    assert {scripts.number_alone(request) for request in model.of("coordinator")} == {1, 2}
    one, other = (state["run"]["clients"][name][0] for name in "01")
    assert "(worker-1)" in one["place"] and other["cost_usd"] > 0 and other["turns"] > 1
    subjects = scripts.git(remote, "log", "--format=%s", f"main..{state['run']['branch']}").split("\n")
    assert [subject for subject in subjects if subject] == ["Add feature-2.txt", "Add feature-1.txt"]
