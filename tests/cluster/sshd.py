"""An sshd of the tests' own on a loopback port, with a host key and a login key of its own, and a client's settings.

    its = Sshd(folder, home, driver_home)       its.pid; its.left() are the processes that came by it
    its.end()

Who logs in has `home` for a home. The driver's `~/.ssh/config` knows it as 127.0.0.1 and as localhost. Nothing of the
machine's own SSH is read or changed: as root the folder that sshd wants in /run is in a mount namespace of its own.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from pathlib import Path

import psutil
import pytest
from local import LIB, until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
APART = 'mount -t tmpfs none /run && mkdir -m 755 /run/sshd && exec "$@"'


class Sshd:
    """The server, from its start to its end."""

    def __init__(self, folder: Path, home: Path, driver_home: Path) -> None:
        if SSHD is None or shutil.which("ssh-keygen") is None:
            pytest.skip("there is no sshd here: the package openssh-server has it")
        folder.mkdir(mode=0o700)
        self.home = home
        for name in ("host", "login"):
            subprocess.run(
                ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True, timeout=60
            )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        (folder / "sshd_config").write_text(
            f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder / 'host'}\nPidFile none\nUsePAM no\n"
            f"StrictModes no\nAuthorizedKeysFile {folder / 'login.pub'}\nPasswordAuthentication no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
            f"SetEnv HOME={home} PYTHONPATH={LIB} GIT_CONFIG_NOSYSTEM=1\n"
        )
        self.settings = driver_home / ".ssh"
        self.settings.mkdir(mode=0o700)
        known = self.settings / "known_hosts"
        known.write_text(f"[127.0.0.1]:{port} {(folder / 'host.pub').read_text()}")
        (self.settings / "config").write_text(
            f"Host localhost 127.0.0.1\n  HostName 127.0.0.1\n  Port {port}\n  User {getpass.getuser()}\n"
            f"  IdentityFile {folder / 'login'}\n  UserKnownHostsFile {known}\n"
        )
        line = [SSHD, "-D", "-e", "-f", str(folder / "sshd_config")]
        if os.getuid() == 0 and not os.path.isdir("/run/sshd"):
            line = ["unshare", "--mount", "sh", "-c", APART, "sh", *line]
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(line, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        until(lambda: b"Server listening" in self.log.read_bytes() or self.process.poll() is not None)
        if self.process.poll() is not None:
            pytest.skip(f"sshd does not start here: {self.log.read_text()[-300:]}")
        self.pid = self.process.pid

    def left(self) -> list[psutil.Process]:
        """What runs by logins now, also what has outlived its login: nobody else has that home."""
        found = psutil.Process(self.pid).children(recursive=True)
        for each in psutil.process_iter():
            try:
                if each not in found and each.environ().get("HOME") == str(self.home):
                    found.append(each)
            except psutil.Error:
                continue
        return found

    def listening(self) -> set[str]:
        """The addresses at which that listens."""
        found = set()
        for each in self.left():
            try:
                told = each.net_connections("inet")
            except psutil.NoSuchProcess:
                continue
            found |= {one.laddr.ip for one in told if one.status == psutil.CONN_LISTEN}
        return found

    def end(self) -> None:
        left = self.left()
        shutil.rmtree(self.settings)
        self.process.terminate()
        self.process.wait(60)
        for each in left:
            try:
                each.kill()
            except psutil.NoSuchProcess:
                pass
