"""Start a cluster on hosts over SSH with Dask's SSHCluster. It ends with the run.

    names = read_hosts(path)                        the first host also runs the scheduler
    cluster = start_cluster(names, slots, host)     cluster.scheduler_address, cluster.close()

User, port and key come from `~/.ssh/config`; a host's key has to be in `~/.ssh/known_hosts`. Each host runs the Python
of the driver's path. The dashboard, which Dask never encrypts, listens on loopback.
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
    """Return the hosts in a file, one per line; `#` begins a comment. Raises RefusedError without a valid host."""
    try:
        with open(path, encoding="utf-8") as file:
            lines = [line.split("#")[0].strip() for line in file]
    except (OSError, ValueError) as error:
        raise RefusedError(f"The list of hosts {path} cannot be read: {error}.", "cluster-setup") from error
    names = [line for line in lines if line]
    odd = next((name for name in names if len(name.split()) > 1 or "@" in name or name.startswith("-")), None)
    if odd is not None:
        raise RefusedError(
            f"{path} has {odd!r}, which is not a host name. Write one a line; user, port and key belong into "
            "~/.ssh/config.",
            "cluster-setup",
        )
    if not names:
        raise RefusedError(
            f"{path} names no host. Write one a line; the first has the scheduler, too.", "cluster-setup"
        )
    return names


def is_loopback(name: str) -> bool:
    """Return whether a name or address can only be this machine. Names are not resolved: the answer could change."""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def requires_encryption() -> bool:
    """Return whether Dask's settings require certificates."""
    import dask

    return bool(dask.config.get("distributed.comm.require-encryption", None))


def start_cluster(names: List[str], slots: int, host: Optional[str]) -> Any:
    """Start a scheduler on the first host and a worker with `slots` on each, which listen at `host` (None: any).

    Raises RefusedError, and ends what was started, when one cannot be started.
    """
    from distributed import SSHCluster

    listen: Dict[str, Any] = {} if host is None else {"host": host}
    listen["dashboard_address"] = f"{LOOPBACK}:0"
    try:
        return SSHCluster(
            [names[0], *names],
            connect_options={"connect_timeout": CONNECT_S},
            # a worker that starts while the cluster is given up ends by itself
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
            "--cluster ssh: needs asyncssh, which is not installed: `pip install asyncssh`.", "cluster-setup"
        ) from error
    except Exception as error:  # asyncssh's own, and bare ones of Dask
        words = one_line(f"{type(error).__name__}: {error}", 500)
        raise RefusedError(
            f"A cluster could not be started on {', '.join(names[:5])}: {words}. This has to work for each of them, "
            f"without a question: `ssh {names[0]} {sys.executable} -m distributed.cli.dask_spec --help`.",
            "cluster-unreachable",
        ) from error
