"""Workers of a cluster that do nothing but answer, many in one process.

    python -m benchmarks.idlers ADDRESS WORKERS SLOTS

A machine that cannot carry a hundred worker processes can carry their connections, heartbeats and answers, which is all
that the scheduler sees of them. They end with their scheduler.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from typing import Any

from batch_implement.base import process_identity
from batch_implement.runner.dask import task


def idle_task(data: bytes, size: int, batch_id: str) -> bytes:
    """Stand in for `task.run_attempt`: report the place, then return that many bytes."""
    from distributed import get_worker

    own = get_worker()
    own.log_event(
        task.get_topic(batch_id),
        {"session_id": str(len(data)), "place": f"{process_identity.get_host_name()} ({own.name})"},
    )
    return os.urandom(size)


async def stay(address: str, count: int, slots: int) -> None:
    """Have so many workers until the scheduler is gone."""
    from distributed import Worker

    its: dict[str, Any] = {"nthreads": slots, "resources": {task.RESOURCE: slots}, "memory_limit": 0}
    async with contextlib.AsyncExitStack() as stack:
        workers = [
            await stack.enter_async_context(
                Worker(address, name=f"{os.getpid()}-{number}", host="127.0.0.1", dashboard=False, **its)
            )
            for number in range(count)
        ]
        await asyncio.gather(*(worker.finished() for worker in workers))


if __name__ == "__main__":
    asyncio.run(stay(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
