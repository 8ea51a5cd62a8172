"""Signals that end a run, or a look at one: caught for a while, and waited for.

    with signals.caught({signal.SIGINT: stop}):         what Ctrl-C calls meanwhile
        signals.wait(60.0, lambda: stopped)             60 seconds, or until soon after `stopped`

A handler may only note what came: it cannot wake anybody safely, since what it interrupts may hold the very lock that
it would need. So `wait` looks now and then.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import Callable, Iterator, Mapping

POLL_INTERVAL_S = 0.1


@contextlib.contextmanager
def handle_signals(handlers: Mapping[int, Callable[[], object]]) -> Iterator[None]:
    """For the length of a `with` each of these signals calls its handler. Only in the main thread, which alone can have
    handlers; in another nothing changes.
    """
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            before[number] = signal.signal(number, lambda *_, handler=handler: handler())
    try:
        yield
    finally:
        for number, was in before.items():
            signal.signal(number, was)


def wait_until(seconds: float, woken: Callable[[], object]) -> None:
    """Return after that many seconds, or soon after `woken` says so."""
    until = time.monotonic() + seconds
    while not woken() and time.monotonic() < until:
        time.sleep(POLL_INTERVAL_S)
