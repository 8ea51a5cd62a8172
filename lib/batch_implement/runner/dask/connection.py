"""The scheduler of a cluster: what speaks with it, the file that names it, and whether it still answers.

    distributed()               dask.distributed; Refused with how to get it
    of_file(path)               the address in a file that `dask scheduler --scheduler-file PATH` wrote
    patience_s()                for how long a run waits for one that is gone
    connected(address, timeout_s)       a client of it
    asked(client, call)                 what a call through it brings
    hearing = Hearing(patience_s)
    hearing.goes_on(client)     whether it has answered within that time

One that is gone is told by its connection; one that is frozen keeps its connections, so it is asked.
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
    """dask.distributed; Refused with how to get it."""
    try:
        import distributed as package
    except ImportError as error:
        raise RefusedError(
            "--cluster needs dask.distributed, which this Python has not. `pip install 'batch-implement[cluster]'`, or "
            "`pip install distributed` where batch-implement is a checkout; docs/cluster.md tells the rest.",
            "cluster-setup",
        ) from error
    return package


def get_patience_s() -> float:
    """Seconds for which a run waits for a scheduler that is gone. Refused for a setting that is no time."""
    import dask

    told = dask.config.get("batch-implement.patience", DEFAULT_PATIENCE)
    try:
        return float(dask.utils.parse_timedelta(told))
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(
            f"Dask's setting batch-implement.patience is {told!r}; it is a time such as `15m` or `90s`.",
            "cluster-setup",
        ) from error


def read_scheduler_file(path: str) -> str:
    """The address that a scheduler file has. Refused when it is none."""
    try:
        with open(path, encoding="utf-8") as file:
            return str(json.load(file)["address"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefusedError(
            f"{path} is no scheduler file of Dask (`dask scheduler --scheduler-file PATH` writes one).", "cluster-setup"
        ) from error


def connect(address: str, timeout_s: float) -> Any:
    """A client of that scheduler. Raises what Dask does, and TimeoutError when nothing has come of it in that time:
    where somebody takes the connection and then says nothing, as one that is frozen does, Dask waits for ever.
    """
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
    """What a call brings that goes through the scheduler of that client, as long as that takes. Raises what the call
    does, and TimeoutError when the scheduler itself falls silent meanwhile.
    """
    hearing, answer = SchedulerMonitor(ANSWER_S), _start_call(call, lambda _: None)
    while True:
        try:
            return answer.result(POLL_S)
        except futures.TimeoutError:
            if answer.done():
                return answer.result()  # this is where a TimeoutError of the call's own comes out
            if not hearing.is_responsive(client):
                raise TimeoutError(f"it has not answered for {ANSWER_S} s") from None


def _start_call(call: Callable[[], Any], too_late: Callable[[Any], object]) -> futures.Future[Any]:
    """What a call is going to bring. `too_late` gets it when the future was cancelled meanwhile."""
    answer: futures.Future[Any] = futures.Future()

    def do() -> None:
        try:
            brought = call()
        except BaseException as error:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(error)
            return
        if answer.set_running_or_notify_cancel():
            answer.set_result(brought)
        else:
            too_late(brought)

    threading.Thread(target=do, daemon=True).start()
    return answer


class SchedulerMonitor:
    """Whether a scheduler answers, asked by many threads: one of them asks it, at most every few seconds."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s, self.asking = patience_s, threading.Lock()
        self.reset()

    def reset(self) -> None:
        """Count from now: nobody has asked for a while."""
        self.last_answer_s = time.monotonic()

    def is_responsive(self, client: Any) -> bool:
        """Whether the scheduler of that client has answered within the patience, as far as this thread can tell: True
        while another one asks.
        """
        if not self.asking.acquire(blocking=False):
            return True
        try:
            if time.monotonic() - self.last_answer_s > min(POLL_S, self.patience_s / 2):
                with contextlib.suppress(Exception):  # any of Dask's errors: what counts is that it did not answer
                    limit_s = min(ANSWER_S, self.patience_s)
                    client.sync(client.scheduler.identity, n_workers=0, callback_timeout=limit_s)
                    self.last_answer_s = time.monotonic()
            return time.monotonic() - self.last_answer_s < self.patience_s
        finally:
            self.asking.release()
