"""The time, as the state holds it. Kept apart so that everything else can be given a time instead of taking one."""

from __future__ import annotations

import os
import time


def now() -> str:
    """This moment in UTC: `2026-01-31T23:59:59Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


_last_id_us = 0


def new_batch_id() -> str:
    """A fresh batch id from the time in microseconds: `batch-YYYYMMDD-HHMMSS-ffffff`; never one that this process had
    before. Its last two digits are those of the process's id: processes that make one at the same moment differ.
    """
    global _last_id_us
    moment = max(time.time_ns() // 1000, _last_id_us + 1)
    _last_id_us = moment = moment + (os.getpid() - moment) % 100
    return time.strftime("batch-%Y%m%d-%H%M%S-", time.gmtime(moment // 10**6)) + f"{moment % 10**6:06d}"


def from_now(seconds: float) -> str:
    """The moment `seconds` from now, in the same form."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))


def parse_epoch_s(moment: str) -> int:
    """A moment in that form as seconds since 1970. ValueError for another form."""
    import calendar

    return calendar.timegm(time.strptime(moment, "%Y-%m-%dT%H:%M:%SZ"))


def add_seconds(moment: str, seconds: float) -> str:
    """The moment `seconds` after another, both in that form."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(parse_epoch_s(moment) + seconds))


def seconds_between(first: str, second: str) -> int:
    """Seconds from one moment to another; less than 0 when the second is earlier."""
    return parse_epoch_s(second) - parse_epoch_s(first)
