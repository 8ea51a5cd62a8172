"""Play a case through the real entry functions, in this process, and judge what came of it.

    result = Play(ground, watch).case(case)
    result.outcome      "exit 1", "silent", "answered", "trouble UsageError", "fine", "StateError", ...
    result.findings     what may not be, a sentence each; empty when all is well

Judged are: no traceback and no error but our own; a hook decides something (block, deny, allow) only where the valid
payload with the same fields gets that decision too; nothing outside is touched, nothing deleted; time and memory.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any, NamedTuple

import batch_state_manager
from batch_implement.cli import batchctl
from batch_implement.core.errors import BatchError
from batch_implement.features import reader
from batch_implement.hooks import compaction, dispatch, error_reporting
from cases import Case, payload_of
from ground import PRIVATE, SESSION, STATE, Ground, told
from watch import CPU_S, MEMORY_MB, Limits, TooLong, Watch

LARGE = 40_000  # bytes; what is smaller is looked at every 25th time only
HUGE = 1 << 20  # bytes; what is larger gets a process of its own, and names no paths
CODES = (0, 1, 2, 3, 4)
TRACE = "Traceback (most recent call last)"
compaction.TRANSCRIPT_LAG_S = 0.02


class Result(NamedTuple):
    """What came of a case."""

    outcome: str
    findings: list[str]
    cpu_s: float = 0.0
    rose_mb: float = 0.0
    said: str = ""


class Play:
    """The stage: a ground, a watch and the process's own standard streams and environment."""

    def __init__(self, ground: Ground, watch: Watch) -> None:
        self.ground, self.watch = ground, watch
        self.met: list[BaseException] = []
        self._wait_for_task = error_reporting.report_error
        error_reporting.report_error = self._note
        self.dirty = False
        self.number = 0

    def _note(self, event: str, project: Any, error: Exception) -> Any:
        self.met.append(error)
        return self._wait_for_task(event, project, error)

    def case(self, case: Case) -> Result:
        """Lay the ground, play the case, judge it."""
        self.lay(case)
        before = self.ground.taken()
        self.watch.begin(frozenset(self.named(case)))
        if case.swap[0]:
            self.watch.swap = self._swap(*case.swap)
        outcome, said, findings, limits = self._played(case)
        self.watch.end()
        findings += self.watch.findings + self.ground.trouble(
            before, said if case.door == "states" else None, swapped=bool(case.swap[0])
        )
        self.dirty = self.watch.started
        if case.act.startswith("hook") and decision(said) and not findings:
            findings += self._unfounded(case, decision(said))
        return Result(outcome, findings, limits.cpu_s, limits.rose_mb, said)

    def lay(self, case: Case) -> None:
        """The ground as the case has it."""
        self.ground.lay(case.shape, sealed=case.sealed, whole=self.dirty)
        for name, content in case.laid:
            if isinstance(content, str):
                self.ground.put_thing(name, content)
            else:
                self.ground.put(name, content)

    def named(self, case: Case) -> set[str]:
        """The paths that a case itself names."""
        names = {*case.words, *(name for name, _ in case.laid)}
        if case.act.startswith("hook") and len(case.raw) < HUGE:
            names |= texts(as_json(self.raw(case)))
            names |= {word for name in list(names) for word in name.replace('"', " ").split()}
        given = as_json(self.raw(case)) if case.act.startswith("hook") and len(case.raw) < HUGE else None
        cwd = given.get("cwd") if isinstance(given, dict) else None
        bases = {self.ground.root, cwd if isinstance(cwd, str) else self.ground.root}
        places = set()
        for base, name in ((base, name) for base in bases for name in names):
            place = os.path.join(base, name)
            try:
                places |= {place, os.path.abspath(place), os.path.realpath(place)}
            except (OSError, ValueError):
                continue
        if any(
            name == PRIVATE for name, _ in case.laid
        ):  # the sidecar, a text of ours, is read through a linked folder
            places.add(os.path.realpath(f"{self.ground.root}/{PRIVATE}") + "/sidecar")
        return places

    def raw(self, case: Case) -> bytes:
        """Standard input of the case."""
        return case.raw.replace(b"ROOT", self.ground.root.encode())

    def environment(self, case: Case) -> dict[str, str]:
        """The environment of the case: in a client that holds the batch, or a person's terminal."""
        client = (
            {"CLAUDE_CODE_SESSION_ID": SESSION, "CLAUDE_PID": str(os.getppid()), "CLAUDECODE": "1"}
            if case.client
            else {}
        )
        if case.client and case.act.startswith("hook"):
            client["CLAUDE_PID"] = str(os.getpid())
        return {**self.ground.environment, **client}

    def _played(self, case: Case) -> tuple[str, str, list[str], Limits]:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape", write_through=True) for _ in "ab")
        kept = sys.stdout, sys.stderr, sys.stdin, sys.argv
        sys.stdout, sys.stderr, sys.stdin = out, err, io.TextIOWrapper(io.BytesIO(self.raw(case)))
        os.environ.clear()
        os.environ.update(self.environment(case))
        os.chdir(self.ground.root)
        self.met.clear()
        findings: list[str] = []
        outcome = "?"
        self.number += 1
        limits = Limits(memory=self.number % 25 == 0 or size_of(case) > LARGE)
        try:
            with limits:
                outcome = self._act(case)
        except TooLong as late:
            outcome = "too long"
            findings.append(f"too long: {late}")
        except SystemExit as leaving:
            outcome = f"exit {leaving.code or 0}"
            if case.act != "batchctl" or leaving.code:
                findings.append(f"left with {leaving.code!r}")
        except BaseException as error:
            outcome = type(error).__name__
            findings.append(f"traceback: {where(error)}")
        finally:
            sys.stdout, sys.stderr, sys.stdin, sys.argv = kept
        said = "".join(stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err))
        if TRACE in said:
            findings.append("a traceback was shown")
        for error in self.met:
            outcome = f"trouble {type(error).__name__}"
            if not isinstance(error, BatchError):
                findings.append(f"a hook's own trouble: {where(error)}")
        if case.act.startswith("hook") and err.buffer.getvalue():
            findings.append("a hook wrote to standard error")
        if limits.cpu_s > CPU_S:
            findings.append(f"too long: {limits.cpu_s:.1f} s of processor time")
        if limits.rose_mb > MEMORY_MB:
            findings.append(f"too large: {limits.rose_mb:.0f} MB")
        return outcome, said, findings, limits

    def _act(self, case: Case) -> str:
        """Do it; how it ended, in a word or two. What escapes is the caller's to judge."""
        act, _, rest = case.act.partition(" ")
        if act == "hook":
            event, _, tool = rest.partition(" ")
            dispatch.main(event, tool)
            said = sys.stdout.buffer.getvalue()
            return ("decided" if decision(said.decode("utf-8", "replace")) else "answered") if said else "silent"
        if act == "batchctl":
            sys.argv = ["batchctl", *case.words]
            status = batchctl.main(case.words)
            assert status in CODES, status
            return f"exit {status}"
        try:
            if act == "library":
                batch_state_manager.load_batch_state(f"{self.ground.root}/{STATE}")
            elif act == "read":
                reader.read_file(os.path.join(self.ground.root, case.words[0]))
            else:
                reader.read_stdin(sys.stdin.buffer)
        except (BatchError, batch_state_manager.BatchStateError) as error:
            return type(error).__name__
        return "fine"

    def _swap(self, at: int, thing: str) -> Any:
        """What replaces the state at the `at`-th look at a file."""
        left = [at]

        def swap() -> None:
            left[0] -= 1
            if left[0] == 0:
                self.ground.put_thing(STATE, thing)

        return swap

    def _unfounded(self, case: Case, made: str) -> list[str]:
        """A finding when the valid payload with the same fields does not lead to the decision that was made."""
        _, event, tool = (*case.act.split(), "", "")[:3]
        given = as_json(self.raw(case))
        if not isinstance(given, dict):
            return [f"a hook decided ({made}) on a payload that is none"]
        valid = mended(payload_of(event, tool), given)
        plain = case._replace(raw=told(valid), laid=(), swap=(0, ""))
        if case.door == "states":
            plain = plain._replace(laid=case.laid)
        self.lay(plain)
        _, said, _, _ = self._played(plain)
        return [] if decision(said) == made else [f"a hook decided ({made}), with a valid payload {decision(said)!r}"]


def size_of(case: Case) -> int:
    """Bytes that a case puts in, all that a thing may have counted as many."""
    sizes = [LARGE + 1 if isinstance(content, str) else len(content) for _, content in case.laid]
    return len(case.raw) + sum(map(len, case.words)) + sum(sizes)


def mended(valid: Any, given: Any) -> Any:
    """The valid payload with what is of the right kind in the given one; what it does not know is left out."""
    if isinstance(valid, dict) and isinstance(given, dict):
        kept = {
            name: mended(content, given[name])
            for name, content in valid.items()
            if type(given.get(name)) is type(content)
        }
        for name in ("file_path", "notebook_path", "command", "skill", "agent_id", "agent_type"):
            if isinstance(given.get(name), str):
                kept[name] = given[name]
        return kept
    return given


def decision(said: str) -> str:
    """What a hook decided: `block`, `deny`, `allow`; empty when it let things be."""
    found = as_json(said.encode()) if said.startswith("{") else None
    if not isinstance(found, dict):
        return ""
    special = found.get("hookSpecificOutput") or {}
    return (
        found.get("decision") or special.get("permissionDecision") or ("stop" if found.get("continue") is False else "")
    )


def as_json(raw: bytes) -> Any:
    """The value of JSON, by Python's own parser; None for what is none."""
    try:
        return json.loads(raw)  # which takes UTF-16, too, as it may
    except (ValueError, RecursionError):
        return None


def texts(value: Any) -> set[str]:
    """All texts in a value."""
    found, left = set(), [value]
    while left:
        node = left.pop()
        if isinstance(node, str):
            found.add(node)
        elif isinstance(node, (dict, list)):
            left.extend(node.values() if isinstance(node, dict) else node)
    return found


def where(error: BaseException) -> str:
    """An error with the place that it came from."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
    return f"{type(error).__name__}: {str(error)[:200]} at {at}"
