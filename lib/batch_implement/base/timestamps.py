"""UTC times in the form of the state, `2026-01-31T23:59:59Z`. Pure code takes a time as an argument instead."""

from __future__ import annotations

import os
import time


def now() -> str:
    """Return the current time."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


_last_id_us = 0


def new_batch_id() -> str:
    """Return a batch id from the time in microseconds, `batch-YYYYMMDD-HHMMSS-ffffff`, unique within this process."""
    global _last_id_us
    moment = max(time.time_ns() // 1000, _last_id_us + 1)
    _last_id_us = moment = moment + (os.getpid() - moment) % 100  # the last two digits differ between processes
    return time.strftime("batch-%Y%m%d-%H%M%S-", time.gmtime(moment // 10**6)) + f"{moment % 10**6:06d}"


def from_now(seconds: float) -> str:
    """Return the time in `seconds` seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def parse_epoch_s(moment: str) -> int:
    """Return a time as seconds since 1970. Raise ValueError for another form."""
    import calendar

    return calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ"))


def add_seconds(moment: str, seconds: float) -> str:
    """Return the time `seconds` after `moment`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(parse_epoch_s(moment) + seconds))


def seconds_between(first: str, second: str) -> int:
    """Return the seconds from one time to another, negative if the second is earlier."""
    return parse_epoch_s(second) - parse_epoch_s(first)
