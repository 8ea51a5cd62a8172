"""The ways to a cluster: a scheduler's file, more slots on a running one, certificates, hosts over SSH."""

from __future__ import annotations

import ipaddress
import signal
import socket
import subprocess

import psutil
import pytest
from batch_implement.cli import arguments
from batch_implement.runner import options
from cluster_user import ClusterUser
from run_states import run_state


@pytest.mark.prove
def test_a_schedulers_file_names_it_slots_are_set_there_and_a_worker_that_is_just_starting_is_waited_for(
    cluster, repository, remote
):
    user = ClusterUser(repository, remote, cluster(slots=2))
    user.where = str(user.its.file)
    user.write_features("feature 1", "feature 2", steps='echo "$n" > "f-$n"; sleep 1')
    status, out, errors = user.run("features.txt", "--dry-run")
    assert status == 0 and "up to 2 at a time" in out, out + errors
    starts = user.its.workers[0].starts
    user.its.workers[0].signal(signal.SIGKILL)
    status, out, errors = user.run("features.txt", "--slots", "1")
    assert status == 0, out + errors
    assert user.its.workers[0].starts > starts
    run = user.state()["run"]
    (one,), (other,) = run["clients"]["0"], run["clients"]["1"]
    assert run["jobs"] == 1 and one["ended_at"] <= other["started_at"]


@pytest.fixture
def certificates(tmp_path):
    """The settings by which Dask takes certificates: everybody has one, and takes only that."""
    key, cert = str(tmp_path / "key.pem"), str(tmp_path / "cert.pem")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=cluster", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    of = "DASK_DISTRIBUTED__COMM__"
    settings = {f"{of}REQUIRE_ENCRYPTION": "true", f"{of}TLS__CA_FILE": cert}
    for who in ("SCHEDULER", "WORKER", "CLIENT"):
        settings.update({f"{of}TLS__{who}__CERT": cert, f"{of}TLS__{who}__KEY": key})
    return settings


@pytest.mark.prove
def test_with_certificates_by_dasks_own_settings_the_run_is_encrypted_and_nobody_without_one_gets_in(
    cluster, repository, remote, certificates
):
    its = cluster(way="tls", environ=certificates)
    user = ClusterUser(repository, remote, its, environ=certificates)
    assert its.address.startswith("tls://")
    user.write_features("feature 1")
    status, out, errors = user.run("features.txt")
    assert status == 0, out + errors
    assert "(worker-1)" in user.state()["run"]["clients"]["0"][0]["place"]
    user.write_features("feature 2")
    for environ, where in (({}, its.address), ({}, its.address.replace("tls", "tcp"))):
        stranger = ClusterUser(repository, remote, its, where, environ)
        status, out, errors = stranger.run("features.txt", "--replace", "--dry-run")
        assert status == 1 and "Traceback" not in errors, errors
        assert "cannot be reached" in errors


@pytest.mark.prove
def test_an_open_scheduler_on_an_address_that_others_reach_is_refused_before_anything_is_sent(
    cluster, repository, remote
):
    user = ClusterUser(repository, remote, cluster())
    user.where = user.its.address.replace("127.0.0.1", "cluster.invalid")
    user.write_features("feature 1")
    status, _, errors = user.run("features.txt")
    assert status == 1 and "--insecure-cluster" in errors and "cluster.invalid" in errors
    assert not (repository / ".claude" / "batch_state.json").exists()


def test_that_a_cluster_may_be_open_is_kept_for_that_one_and_for_no_other():
    """A run that went on with another cluster took that unencrypted, too, unasked."""
    state = run_state(1)
    words = ["run", "f.txt", "--cluster", "tcp://one:8786", "--insecure-cluster"]
    state["run"]["options"] = options.to_stored(options.from_arguments(arguments.parse_command(words), "/p"))

    def taken_up(*more: str) -> bool:
        given = options.from_arguments(arguments.parse_command(["run", "--resume", *more]), "/p")
        return bool(options.for_resume(state, given, "/p").insecure_cluster)

    assert taken_up() and taken_up("--cluster", "tcp://one:8786")
    assert not taken_up("--cluster", "tcp://two:8786")
    assert taken_up("--cluster", "tcp://two:8786", "--insecure-cluster")


@pytest.fixture
def own_address():
    """An address of this machine that is not loopback; what is sent there from here does not leave the machine."""
    for name, addresses in psutil.net_if_addrs().items():
        for each in addresses:
            usable = each.family == socket.AF_INET and not ipaddress.ip_address(each.address).is_loopback
            if usable and psutil.net_if_stats()[name].isup:
                return each.address
    pytest.skip("this machine has no address but loopback")


@pytest.mark.prove
def test_an_open_scheduler_on_the_machines_own_address_works_only_with_insecure_cluster(
    cluster, repository, remote, own_address
):
    user = ClusterUser(repository, remote, cluster(host=own_address))
    assert own_address in user.where
    user.write_features("feature 1", "feature 2 (after: 1)")
    log = user.its.scheduler.folder / "log"
    status, out, errors = user.run("features.txt")
    assert status == 1 and "--insecure-cluster" in errors and own_address in errors, out + errors
    assert "Traceback" not in errors and not (repository / ".claude" / "batch_state.json").exists()
    assert "Receive client connection" not in log.read_text()
    status, out, errors = user.run("features.txt", "--insecure-cluster")
    assert status == 0, out + errors
    assert "Receive client connection" in log.read_text()
    assert user.merged() == ["Add 1", "Add 2"] == user.merged(remote)
    assert all("(worker-1)" in each["place"] for told in user.state()["run"]["clients"].values() for each in told)
