"""Connect to a Dask scheduler, call it with a time limit, and watch whether it still answers.

    connect(address, timeout_s)             a client
    call_scheduler(client, call)            the result of a call through it
    monitor = SchedulerMonitor(patience_s)
    monitor.is_responsive(client)           whether it answered within that time

A scheduler that is gone closes its connections; one that is frozen keeps them, so it has to be asked.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from concurrent import futures
from typing import Any, Callable

from ...core.errors import RefusedError

DEFAULT_PATIENCE = "15m"  # Dask's setting `batch-implement.patience` has another
POLL_S = 5
ANSWER_S = 30


def import_distributed() -> Any:
    """Return dask.distributed. Raise RefusedError when it is not installed."""
    try:
        import distributed as package
    except ImportError as error:
        raise RefusedError(
            "--cluster needs dask.distributed, which is not installed. `pip install 'batch-implement[cluster]'`, or "
            "`pip install distributed` in a checkout of batch-implement; see docs/cluster.md.",
            "cluster-setup",
        ) from error
    return package


def get_patience_s() -> float:
    """Return for how many seconds a run waits for a lost scheduler. Raises RefusedError for an invalid setting."""
    import dask

    value = dask.config.get("batch-implement.patience", DEFAULT_PATIENCE)
    try:
        return float(dask.utils.parse_timedelta(value))
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(
            f"Dask's setting batch-implement.patience is {value!r}; give a time such as `15m` or `90s`.",
            "cluster-setup",
        ) from error


def read_scheduler_file(path: str) -> str:
    """Return the address in a scheduler file. Raises RefusedError when it has none."""
    try:
        with open(path, encoding="utf-8") as file:
            return str(json.load(file)["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefusedError(
            f"{path} is not a scheduler file of Dask (`dask scheduler --scheduler-file PATH` writes one).",
            "cluster-setup",
        ) from error


def connect(address: str, timeout_s: float) -> Any:
    """Return a client of that scheduler. Raises TimeoutError after `timeout_s`, and whatever Dask raises."""
    # A frozen scheduler accepts the connection and sends nothing: Dask itself would wait for ever.
    make = import_distributed().Client
    answer = _start_call(
        lambda: make(address, timeout=timeout_s, set_as_default=False, name="batch-implement"),
        lambda client: client.close(timeout=ANSWER_S),
    )
    try:
        return answer.result(timeout_s + POLL_S)
    except futures.TimeoutError:
        if answer.cancel():
            raise TimeoutError(f"it takes connections, and has said nothing for {timeout_s:.0f} s") from None
        return answer.result()


def call_scheduler(client: Any, call: Callable[[], Any]) -> Any:
    """Return the result of a call through that client. Raises TimeoutError when the scheduler stops answering."""
    hearing, answer = SchedulerMonitor(ANSWER_S), _start_call(call, lambda _: None)
    while True:
        try:
            return answer.result(POLL_S)
        except futures.TimeoutError:
            if answer.done():
                return answer.result()  # raises a TimeoutError of the call itself
            if not hearing.is_responsive(client):
                raise TimeoutError(f"it has not answered for {ANSWER_S} s") from None


def _start_call(call: Callable[[], Any], too_late: Callable[[Any], object]) -> futures.Future[Any]:
    """Run a call in a thread. `too_late` gets the result when the future was cancelled before."""
    answer: futures.Future[Any] = futures.Future()

    def do() -> None:
        try:
            result = call()
        except BaseException as error:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)
            return
        if answer.set_running_or_notify_cancel():
            answer.set_result(result)
        else:
            too_late(result)

    threading.Thread(target=do, daemon=True).start()
    return answer


class SchedulerMonitor:
    """Watch whether a scheduler answers, for many threads: one at a time asks it, every few seconds."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s, self.asking = patience_s, threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Count the patience from now on."""
        self.last_answer_s = time.monotonic()

    def is_responsive(self, client: Any) -> bool:
        """Return whether the scheduler has answered within the patience; True while another thread asks it."""
        if not self.asking.acquire(blocking=False):
            return True
        try:
            if time.monotonic() - self.last_answer_s > min(POLL_S, self.patience_s / 2):
                with contextlib.suppress(Exception):  # Dask raises errors of many kinds
                    limit_s = min(ANSWER_S, self.patience_s)
                    client.sync(client.scheduler.identity, n_workers=0, callback_timeout=limit_s)
                    self.last_answer_s = time.monotonic()
            return time.monotonic() - self.last_answer_s < self.patience_s
        finally:
            self.asking.release()
