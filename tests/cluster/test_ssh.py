"""`--cluster ssh:hosts.txt`: what is started on the hosts, who can reach it, what is said where it does not work."""

from __future__ import annotations

import ipaddress
import json
import shutil
import subprocess
import sys

import pytest
from batch_implement.core.errors import RefusedError
from batch_implement.runner.dask import executor, ssh
from cluster_user import ClusterUser
from local import until

OPEN, CLOSED = "tcp://192.0.2.7:8786", "tcp://127.0.0.1:8786"


class Made:
    """What Dask's SSHCluster was asked for; it says that it is at `at`, or fails with `error`."""

    def __init__(self, at: str, error: Exception | None = None) -> None:
        self.scheduler_address, self.error, self.closed = at, error, False
        self.names, self.options = [], {}

    def __call__(self, names, **options):
        self.names, self.options = names, options
        if self.error:
            raise self.error
        return self

    def close(self, timeout):
        self.closed = True


@pytest.fixture
def listed(tmp_path):
    """The path of a list of hosts."""

    def write(*names: str) -> str:
        (tmp_path / "hosts.txt").write_text("".join(f"{name}\n" for name in names))
        return str(tmp_path / "hosts.txt")

    return write


@pytest.fixture
def made(monkeypatch):
    """In the place of Dask's SSHCluster: `made(at, error=None)`."""
    distributed = pytest.importorskip("distributed")

    def make(at: str, error: Exception | None = None) -> Made:
        its = Made(at, error)
        monkeypatch.setattr(distributed, "SSHCluster", its)
        return its

    return make


def test_on_loopback_scheduler_and_workers_listen_there_alone(listed, made):
    its = made(CLOSED)
    assert executor._start_over_ssh(listed("127.0.0.1 # here", "", "localhost"), 2, insecure=False) is its
    assert its.names == ["127.0.0.1", "127.0.0.1", "localhost"]
    for who in ("scheduler_options", "worker_options"):
        assert its.options[who]["host"] == "127.0.0.1"
        assert its.options[who]["dashboard_address"].startswith("127.0.0.1:")
    assert its.options["worker_options"]["resources"] == {"claude": 2}


@pytest.mark.parametrize("names", [["one"], ["127.0.0.1", "one"], ["192.0.2.7", "127.0.0.1"]])
def test_unencrypted_hosts_that_others_reach_are_refused_wherever_they_stand_and_nothing_is_started(
    listed, made, names
):
    its = made(CLOSED)
    with pytest.raises(RefusedError, match="--insecure-cluster"):
        executor._start_over_ssh(listed(*names), 1, insecure=False)
    assert its.names == []


def test_a_scheduler_that_comes_up_open_all_the_same_is_ended(listed, made):
    its = made(OPEN)
    with pytest.raises(RefusedError, match="--insecure-cluster"):
        executor._start_over_ssh(listed("127.0.0.1"), 1, insecure=False)
    assert its.closed


def test_with_insecure_cluster_hosts_that_others_reach_are_taken(listed, made):
    its = made(OPEN)
    assert executor._start_over_ssh(listed("one", "two"), 1, insecure=True) is its
    assert "host" not in its.options["scheduler_options"] and not its.closed


def test_where_certificates_are_demanded_hosts_that_others_reach_are_taken_and_the_scheduler_is_told(
    listed, made, monkeypatch
):
    import dask

    its = made("tls://192.0.2.7:8786")
    with dask.config.set({"distributed.comm.require-encryption": True}):
        assert executor._start_over_ssh(listed("one"), 1, insecure=False) is its
    assert its.options["scheduler_options"]["protocol"] == "tls://"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (Exception("Worker failed to start"), "Worker failed to start"),
        (RuntimeError("Cluster failed to start"), "ssh 127.0.0.1"),
        (OSError("Connect call failed"), "Connect call failed"),
        (ImportError("asyncssh"), "pip install asyncssh"),
    ],
)
def test_whatever_goes_wrong_on_the_way_is_one_message(listed, made, error, said):
    made(CLOSED, error)
    with pytest.raises(RefusedError, match=said):
        executor._start_over_ssh(listed("127.0.0.1"), 1, insecure=False)


def test_a_list_that_cannot_be_read_or_names_nobody_is_said(tmp_path, listed):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for path in (str(tmp_path), str(tmp_path / "none"), str(tmp_path / "bytes")):
        with pytest.raises(RefusedError, match="cannot be read"):
            ssh.read_hosts(path)
    with pytest.raises(RefusedError, match="names no host"):
        ssh.read_hosts(listed("# one"))
    for odd in ("me@one", "one two", "-oProxyCommand=true"):
        with pytest.raises(RefusedError, match="not a host name"):
            ssh.read_hosts(listed(odd))


@pytest.mark.prove
def test_a_worker_whose_scheduler_went_while_it_began_was_left_behind_and_waited_for_ever(
    listed, made, monkeypatch, tmp_path
):
    its = made(CLOSED)
    monkeypatch.setattr(ssh, "DEATH_TIMEOUT_S", 10)
    executor._start_over_ssh(listed("127.0.0.1"), 1, insecure=False)
    file, log = tmp_path / "scheduler.json", tmp_path / "log"

    def begun(*words: str) -> subprocess.Popen[bytes]:
        with open(log, "ab") as to:
            line = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]]
            return subprocess.Popen(line, cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=to, stderr=to)

    with begun("scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)) as (
        scheduler
    ):
        until(lambda: file.exists() and file.read_text().endswith("}"))
        spec = {"0": {"cls": "distributed.Nanny", "opts": its.options["worker_options"]}}
        worker = begun("spec", json.loads(file.read_text())["address"], "--spec", json.dumps(spec))
        until(lambda: b"Start Nanny" in log.read_bytes())
        scheduler.kill()
    try:
        worker.wait(60)
    finally:
        worker.kill()


# -- for real ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path, scratch_home):
    """An sshd on this machine."""
    pytest.importorskip("asyncssh", reason="asyncssh is not installed")
    from sshd import Sshd

    shutil.copytree(scratch_home, tmp_path / "host-home")
    its = Sshd(tmp_path / "sshd", tmp_path / "host-home", scratch_home)
    yield its
    its.end()


@pytest.mark.prove
def test_two_features_are_done_on_two_hosts_over_ssh_where_only_loopback_listens_and_nothing_stays(
    server, repository, remote, listed, tmp_path
):
    user = ClusterUser(repository, remote, None, where=f"ssh:{listed('127.0.0.1', 'localhost')}")
    going, go = tmp_path / "going", tmp_path / "go"
    going.mkdir()
    user.write_features(
        "feature 1", "feature 2",
        steps=f'touch {going}/$n; while ! test -e {go}; do sleep 0.2; done; echo "$n" > "f-$n"',
    )  # fmt: skip
    driver = user.start("features.txt", "--slots", "1")
    until(lambda: len(list(going.iterdir())) == 2 or driver.poll() is not None)
    at = server.listening()
    go.touch()
    out, errors = driver.communicate(timeout=600)
    assert driver.returncode == 0, out + errors + server.log.read_text()
    assert at and all(ipaddress.ip_address(each).is_loopback for each in at), at
    assert user.merged() == ["Add 1", "Add 2"]
    run = user.state()["run"]
    assert run["jobs"] == 2 and len({each[0]["place"] for each in run["clients"].values()}) == 2
    assert list((tmp_path / "host-home").glob(".cache/batch-implement/*/repository.git"))
    until(lambda: not server.left())


@pytest.mark.prove
def test_a_host_that_is_unknown_or_away_or_does_not_let_in_is_one_message_and_nothing_stays(
    server, repository, remote, listed, tmp_path, scratch_home
):
    user = ClusterUser(repository, remote, None, where=f"ssh:{listed('127.0.0.1', 'localhost')}")
    user.write_features("feature 1")
    settings = scratch_home / ".ssh" / "config"
    right = settings.read_text()
    told = []
    for wrong in (
        right.replace("/login", "/host"),
        right.replace("known_hosts", "nobody"),
        right.replace("Host localhost 127.0.0.1", "Host 127.0.0.1")
        + "Host localhost\n  HostName 127.0.0.1\n  Port 1\n",
    ):
        settings.write_text(wrong)
        told.append(user.run("features.txt", "--dry-run"))
    for status, out, errors in told:
        assert status == 1 and "could not be started on 127.0.0.1, localhost" in errors, out + errors
        assert "Traceback" not in errors
    until(lambda: not server.left())
