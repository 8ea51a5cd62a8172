"""What a driver leaves on hosts over SSH when it is killed, and the line in docs/cluster.md that ends just that."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from cluster_user import ClusterUser
from local import until

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cluster.md"


def with_home(home: Path) -> list[psutil.Process]:
    """The processes whose home that is: those that came over SSH, and what they started."""
    found = []
    for each in psutil.process_iter():
        try:
            if each.environ().get("HOME") == str(home) and each.status() != psutil.STATUS_ZOMBIE:
                found.append(each)
        except psutil.Error:
            continue
    return found


@pytest.mark.prove
def test_the_line_in_the_docs_ends_what_a_killed_driver_has_left_on_the_hosts_and_nothing_else(
    cluster, repository, remote, tmp_path, scratch_home
):
    pytest.importorskip("asyncssh", reason="asyncssh is not installed")
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh here: the package openssh-client has it")
    from sshd import Sshd

    home = tmp_path / "host-home"
    shutil.copytree(scratch_home, home)
    (tmp_path / "hosts.txt").write_text("127.0.0.1\nlocalhost\n")
    server, other = Sshd(tmp_path / "sshd", home, scratch_home), cluster()
    try:
        user = ClusterUser(repository, remote, None, where=f"ssh:{tmp_path / 'hosts.txt'}")
        going = tmp_path / "going"
        user.write_features("feature 1", steps=f'touch {going}; while true; do sleep 0.2; done; echo "$n" > "f-$n"')
        driver = user.start("features.txt")
        until(lambda: going.exists() or driver.poll() is not None)
        driver.kill()
        driver.communicate()
        left = [each for each in with_home(home) if "distributed.cli.dask_spec" in each.cmdline()]
        assert len(left) >= 3, left  # a scheduler and two workers; what follows would prove nothing
        (line,) = re.findall(r"^ *(ssh HOST \".*)$", DOCS.read_text(), re.MULTILINE)
        line = line.replace("ssh HOST", f"ssh -F {scratch_home / '.ssh' / 'config'} 127.0.0.1")
        line = line.replace("PATH/OF/python", sys.executable)
        line = line.replace("ADDRESS", user.state()["run"]["options"]["scheduler"])
        ended = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=300, check=False)
        assert ended.returncode == 0, ended.stderr
        until(lambda: with_home(home) == [])
        assert all(psutil.pid_exists(each.pid) and each.starts == 1 for each in [other.scheduler, *other.workers])
    finally:
        for each in with_home(home):
            each.kill()
        server.end()
