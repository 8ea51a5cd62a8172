"""The tests of what must not happen, tried on code in which it does: each has to notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutating import mutated

SAFETY, FAULTS, SSH, WAYS = "test_safety.py", "test_faults.py", "test_ssh.py", "test_connections.py"
KILLED = "test_the_clients_of_a_driver_that_was_killed_end_by_themselves_and_the_next_merges_each_once"
LOST = "test_what_a_scheduler_lost_that_was_started_again_is_given_out_again_and_not_counted"
# what is wrong: (the tests that notice, the file, what stands there, what stands there instead)
WRONG = {
    "an attempt's branch is pushed by force": (
        SAFETY,
        "runner/dask/repository_cache.py",
        "f\"--force-with-lease=refs/heads/{job.branch}:{here.pushed or ''}\"",
        '"--force"',
    ),
    "the client works on the branch that is pushed": (
        SAFETY,
        "runner/dask/repository_cache.py",
        'LOCAL_PREFIX = "working/"',
        'LOCAL_PREFIX = ""',
    ),
    "what failed is pushed, too": (
        SAFETY,
        "runner/dask/repository_cache.py",
        '    if verdict["kind"] == COMPLETED and verdict["commit"] != here.pushed:',
        '    verdict = {**verdict, "commit": verdict["commit"] or here.job.branch}\n    if verdict["kind"]:',
    ),
    "a pushed attempt is begun anew": (
        SAFETY,
        "runner/dask/repository_cache.py",
        "here.branch, pushed or here.base)",
        "here.branch, job.base)",
    ),
    "a remote that does not answer is the feature's fault": (
        SAFETY,
        "runner/dask/repository_cache.py",
        '{"kind": INTERRUPTED, "message": message, "failure_class": "network"}',
        '{"kind": FAILED, "message": message, "failure_class": "network"}',
    ),
    "any scheduler will do": (
        SAFETY,
        "runner/dask/executor.py",
        'if scheme not in ("tls", "wss") and not ssh.is_loopback(host):',
        "if False:",
    ),
    "the remote's address is sent as it is": (
        SAFETY,
        "git/remotes.py",
        'if scheme in ("http", "https"):',
        'if way in ("nothing",):',
    ),
    "local settings travel": (SAFETY, "runner/job.py", "if os.path.exists(settings) and not remote else None", ""),
    # what the run through faults shows
    "an answer of an attempt that was given up is taken": (
        f"{FAULTS}::test_an_answer_of_an_attempt_that_was_given_up_is_ignored",
        "runner/driver.py",
        'if entry is None or entry["session_id"] != outcome.session_id:',
        "if entry is None:",
    ),
    "a feature is merged twice": (
        f"{FAULTS}::{KILLED}",
        "git/merging.py",
        "    return tip if at == tree else None",
        '    return _write_commit(folder, tip, tree, message, (name, email, date), "UTF-8", by_author_date)',
    ),
    "the clients of a driver that is gone go on": (
        f"{FAULTS}::{KILLED}",
        "runner/dask/task.py",
        "            local_executor.stop_session(begun.session_id)",
        "            pass",
    ),
    "what a scheduler lost is counted": (
        f"{FAULTS}::{LOST}",
        "runner/dask/executor.py",
        "outcome = jobs.interrupted_outcome(job, cause, failure_class)",
        "outcome = jobs.interrupted_outcome(job, cause, failure_class)._replace(kind=jobs.FAILED)",
    ),
    # what the run on more and more slots shows
    "--slots has no effect": (
        WAYS,
        "runner/dask/executor.py",
        "self._call(self.client.run, task.set_slots, options.slots)",
        "pass",
    ),
    "one worker's slots count": (
        f"{FAULTS}::test_the_slots_of_all_workers_count",
        "runner/dask/executor.py",
        "return sum(slots",
        "return max(slots",
    ),
    # waiting: for a worker that is just starting, and for a scheduler that is gone
    "a worker that is just starting is not waited for": (
        f"{FAULTS}::test_a_worker_that_begins_when_the_run_is_connected_already_is_waited_for",
        "runner/dask/executor.py",
        "self.client.wait_for_workers(1, timeout=CLUSTER_S)",
        "None",
    ),
    "a scheduler that is gone is waited for without end": (
        f"{FAULTS}::test_a_scheduler_that_is_gone_is_waited_for_as_long_as_the_patience_and_no_longer",
        "runner/dask/executor.py",
        "until = time.monotonic() + self.patience_s",
        "until = time.monotonic() + 1e6",
    ),
    # over SSH
    "on loopback scheduler and workers are open to all": (
        SSH,
        "runner/dask/executor.py",
        "None if others else ssh.LOOPBACK",
        "None",
    ),
    "only the first host decides": (
        SSH,
        "runner/dask/executor.py",
        "for name in names if not",
        "for name in names[:1] if not",
    ),
    "a scheduler that came up open stays": (
        SSH,
        "runner/dask/executor.py",
        "        cluster.close(timeout=CLUSTER_S)\n",
        "",
    ),
    "a scheduler that came up open is taken": (
        SSH,
        "runner/dask/executor.py",
        "        if not insecure:\n            refuse_unencrypted(str(cluster.scheduler_address))",
        "        pass",
    ),
    "nothing is encrypted": (
        SSH,
        "runner/dask/ssh.py",
        '{"protocol": "tls://"} if requires_encryption()',
        "{} if requires_encryption()",
    ),
    "certificates are taken for granted": (
        SSH,
        "runner/dask/ssh.py",
        'return bool(dask.config.get("distributed.comm.require-encryption", None))',
        "return True",
    ),
    "the dashboard is open to all": (
        SSH,
        "runner/dask/ssh.py",
        'listen["dashboard_address"] = f"{LOOPBACK}:0"',
        'listen["dashboard_address"] = ":0"',
    ),
    "a worker looks for its scheduler for ever": (
        f"{SSH}::test_a_worker_whose_scheduler_went_while_it_began_was_left_behind_and_waited_for_ever",
        "runner/dask/ssh.py",
        '"death_timeout": DEATH_TIMEOUT_S,',
        "",
    ),
    # certificates
    "the driver has no certificate": (
        f"{WAYS}::test_with_certificates_by_dasks_own_settings_the_run_is_encrypted_and_nobody_without_one_gets_in",
        "runner/dask/executor.py",
        '        logging.getLogger("distributed.client")',
        '        __import__("dask").config.set({"distributed.comm.tls.client.cert": None})\n'
        '        logging.getLogger("distributed.client")',
    ),
    # what stays in a cache
    "nothing is removed from a cache": (
        SAFETY,
        "runner/dask/repository_cache.py",
        'for tree in glob.glob(os.path.join(glob.escape(top), "worktrees", "*", "*")):',
        "for tree in ():",
    ),
    "what was fetched stays": (
        SAFETY,
        "runner/dask/repository_cache.py",
        "not in merged[:KEPT_BATCHES]",
        "not in merged",
    ),
    "a work tree goes while somebody works in it": (
        SAFETY,
        "runner/dask/repository_cache.py",
        " and not process_identity.find_marked(tree):",
        ":",
    ),
    "a work tree goes though something has changed in it": (
        SAFETY,
        "runner/dask/repository_cache.py",
        "not _is_modified_since(tree, before)",
        "True",
    ),
    "what is nowhere else is removed with its attempt": (
        SAFETY,
        "runner/dask/repository_cache.py",
        "        if any(git_client.list_changes(tree)) or git_client.operation_in_progress(tree):\n"
        "            return True",
        "        pass",
    ),
}


@pytest.mark.prove
@pytest.mark.parametrize("name", WRONG)
def test_the_tests_notice(name, tmp_path):
    which, *patch = WRONG[name]
    lib = mutated((patch[0], patch[1], patch[2]), str(tmp_path))
    tests = Path(__file__).resolve().parents[1]
    line = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-o", f"pythonpath={lib} {tests}",
            "-m", "prove or not prove", str(Path(__file__).with_name(which))]  # fmt: skip
    environ = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    tried = subprocess.run(line, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=600, check=False)
    print(tried.stdout[-700:])
    assert tried.returncode == 1 and " failed" in tried.stdout, tried.stdout[-2000:] + tried.stderr[-500:]
