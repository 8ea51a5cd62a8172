"""Handle signals that end a run or a display.

    with signals.handle_signals({signal.SIGINT: stop}):
        signals.wait_until(60.0, lambda: stopped)       60 seconds, or until soon after `stopped`

A handler only sets a flag: it may interrupt code that holds the lock which waking a waiter would need. So `wait_until`
polls.
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
    """Call these handlers for their signals within a `with`. Only the main thread can: in others nothing changes."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number, handler in handlers.items():
            before[number] = signal.signal(number, lambda *_, handler=handler: handler())
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


def wait_until(seconds: float, is_woken: Callable[[], object]) -> None:
    """Return after `seconds`, or soon after `is_woken` returns true."""
    deadline = time.monotonic() + seconds
    while not is_woken() and time.monotonic() < deadline:
        time.sleep(POLL_INTERVAL_S)
