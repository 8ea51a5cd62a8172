"""Hosts over SSH: a cluster that a run starts for itself, by Dask's own SSHCluster, and ends with itself.

    names = hosts.named(path)                     the hosts of a file, the first has the scheduler, too
    its = hosts.started(names, slots, host)       its.scheduler_address, its.close(); Refused when one cannot start

How to log in (user, port, key) is asked of `~/.ssh/config`; a host's key has to be in `~/.ssh/known_hosts`. On each
host the same path of Python is started as the driver's. The dashboard, which Dask never encrypts, is on loopback.
"""

from __future__ import annotations

import ipaddress
import sys
from typing import Any, Dict, List, Optional

from ...base.text import one_line
from ...core.errors import RefusedError
from . import task

LOOPBACK = "127.0.0.1"
CONNECT_S = 30
DEATH_TIMEOUT_S = 60


def read_hosts(path: str) -> List[str]:
    """The hosts that a file names, one a line, without what follows a `#`. Refused for none, and for a file that
    cannot be read.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.split("#")[0].strip() for line in file]
    except (OSError, ValueError) as error:
        raise RefusedError(f"The list of hosts {path} cannot be read: {error}.", "cluster-setup") from error
    names = [line for line in lines if line]
    odd = next((name for name in names if len(name.split()) > 1 or "@" in name or name.startswith("-")), None)
    if odd is not None:
        raise RefusedError(
            f"{path} has {odd!r}, which is no name of a host. Write one a line; user, port and key belong into "
            "~/.ssh/config.",
            "cluster-setup",
        )
    if not names:
        raise RefusedError(
            f"{path} names no host. Write one a line; the first has the scheduler, too.", "cluster-setup"
        )
    return names


def is_loopback(name: str) -> bool:
    """Whether that name or address can only be the machine itself. Names are not looked up: the answer could change."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def requires_encryption() -> bool:
    """Whether Dask's settings demand certificates."""
    import dask

    return bool(dask.config.get("distributed.comm.require-encryption", None))


def start_cluster(names: List[str], slots: int, host: Optional[str]) -> Any:
    """Dask's SSHCluster: a scheduler on the first of `names`, a worker with that many slots on each. They listen at
    `host`, None for where Dask thinks best. Refused when one cannot be started; those that were are ended then.
    """
    from distributed import SSHCluster

    listen: Dict[str, Any] = {} if host is None else {"host": host}
    listen["dashboard_address"] = f"{LOOPBACK}:0"
    try:
        return SSHCluster(
            [names[0], *names],
            connect_options={"connect_timeout": CONNECT_S},
            # one that begins while the cluster is given up looks for its scheduler no longer than that
            worker_options={
                **listen,
                "nthreads": slots,
                "resources": {task.RESOURCE: slots},
                "death_timeout": DEATH_TIMEOUT_S,
            },
            scheduler_options={**listen, **({"protocol": "tls://"} if requires_encryption() else {})},
        )
    except ImportError as error:
        raise RefusedError(
            "--cluster ssh: needs asyncssh, which this Python has not: `pip install asyncssh`.", "cluster-setup"
        ) from error
    except Exception as error:  # asyncssh's own, and bare ones of Dask
        words = one_line(f"{type(error).__name__}: {error}", 500)
        raise RefusedError(
            f"A cluster could not be started on {', '.join(names[:5])}: {words}. This has to work for each of them, "
            f"without a question: `ssh {names[0]} {sys.executable} -m distributed.cli.dask_spec --help`.",
            "cluster-unreachable",
        ) from error
