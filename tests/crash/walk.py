"""The walk along all system calls of all kinds of write, with something done to each: killed, or failed.

    for kind, call, ended, root in walk(server, known, folder, pairs, "signal=KILL"):
        ...                                         # how the write ended, and the project that it left

Every kind is tried once for each (name, n) that it comes to; those of one (name, n) share one strace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from scratch import Versions, laid
from traced import Call, Server

PASSIVE = frozenset(("getpid", "gettid", "set_robust_list", "brk", "mmap", "munmap", "rt_sigaction", "rt_sigprocmask"))


class Step(NamedTuple):
    """What one injected run came to: of which kind, at which call, how it ended, and where the project is."""

    kind: str
    call: Call
    ended: dict[str, Any]
    root: str

    def __str__(self) -> str:
        return f"{self.kind}, {self.call.name} number {self.call.n} ({shown(self.call)})"


def stops(calls: dict[str, list[Call]], leave_out: frozenset[str] = PASSIVE) -> list[tuple[str, int, dict[str, Call]]]:
    """Every (name, n) of these writes, with the call that it is in each kind that comes that far."""
    reach: dict[tuple[str, int], dict[str, Call]] = {}
    for kind, own in calls.items():
        for call in own:
            if call.name not in leave_out:
                reach.setdefault((call.name, call.n), {})[kind] = call
    return [(name, n, kinds) for (name, n), kinds in sorted(reach.items())]


def walk(
    server: Server,
    known: dict[str, Versions],
    folder: str,
    at: Iterable[tuple[str, int, dict[str, Call]]],
    what: str,
    when: str = "{n}",
) -> Iterator[Step]:
    """Do `what` at each of these stops, `when` being which calls from the n-th on."""
    for name, n, kinds in at:
        jobs = [(kind, laid(known[kind].before, f"{folder}/walk-{kind}")) for kind in kinds]
        ended = server.run(jobs, f"{name}:{what}:when={when.format(n=n)}")
        for kind, root in jobs:
            yield Step(kind, kinds[kind], ended[kind], root)


def plain(text: str) -> str:
    """What strace wrote in hexadecimal, as text."""
    return bytes(text, "ascii").decode("unicode_escape")


def shown(call: Call) -> str:
    """The arguments of a call, readable and short."""
    return plain(call.arguments).replace("\n", " ")[:160]
