"""Play a case through the real entry functions, in this process, and check the result.

    result = CasePlayer(project, watch).case(case)
    result.outcome      "exit 1", "silent", "answered", "trouble UsageError", "fine", "StateError", ...
    result.findings     a message for each rule that was broken

Checked: no traceback and no error but BatchError; a hook decides something (block, deny, allow) only where the valid
payload with the same fields gets the same decision; nothing outside is touched, nothing deleted; time and memory.
"""

from __future__ import annotations

import io
import json
import os
import sys
from typing import Any, NamedTuple

import batch_state_manager
from access_watch import CPU_S, MEMORY_MB, AccessWatch, CaseTimeout, Limits
from batch_implement.cli import batchctl
from batch_implement.core.errors import BatchError
from batch_implement.features import source_files
from batch_implement.hooks import compaction, dispatch, error_reporting
from cases import Case, make_payload
from scratch_project import PRIVATE, SESSION, STATE, ScratchProject, to_json

LARGE = 40_000  # bytes; what is smaller is looked at every 25th time only
HUGE = 1 << 20  # bytes; what is larger gets a process of its own, and names no paths
CODES = (0, 1, 2, 3, 4)
TRACEBACK = "Traceback (most recent call last)"
compaction.TRANSCRIPT_LAG_S = 0.02


class Result(NamedTuple):
    """The result of a case."""

    outcome: str
    findings: list[str]
    cpu_s: float = 0.0
    rose_mb: float = 0.0
    output: str = ""


class CasePlayer:
    """Play cases in one scratch project, with the process's own standard streams and environment."""

    def __init__(self, project: ScratchProject, watch: AccessWatch) -> None:
        self.project, self.watch = project, watch
        self.errors: list[BaseException] = []
        self._report_error = error_reporting.report_error
        error_reporting.report_error = self._note_error
        self.dirty = False
        self.number = 0

    def _note_error(self, event: str, project: Any, error: Exception) -> Any:
        self.errors.append(error)
        return self._report_error(event, project, error)

    def case(self, case: Case) -> Result:
        """Set up the project, run the case, check the result."""
        self.set_up(case)
        before = self.project.snapshot()
        self.watch.begin(frozenset(self.named_paths(case)))
        if case.swap[0]:
            self.watch.swap = self._swap_file(*case.swap)
        outcome, output, findings, limits = self._run(case)
        self.watch.end()
        findings += self.watch.findings + self.project.find_problems(
            before, output if case.surface == "states" else None, swapped=bool(case.swap[0])
        )
        self.dirty = self.watch.started
        if case.action.startswith("hook") and parse_decision(output) and not findings:
            findings += self._check_decision_founded(case, parse_decision(output))
        return Result(outcome, findings, limits.cpu_s, limits.rose_mb, output)

    def set_up(self, case: Case) -> None:
        """Set up the project as the case needs it."""
        self.project.set_up(case.shape, sealed=case.sealed, whole=self.dirty)
        for name, content in case.files:
            if isinstance(content, str):
                self.project.put_special(name, content)
            else:
                self.project.put(name, content)

    def named_paths(self, case: Case) -> set[str]:
        """Return the paths that a case itself names."""
        names = {*case.words, *(name for name, _ in case.files)}
        if case.action.startswith("hook") and len(case.raw) < HUGE:
            names |= collect_strings(parse_json(self.raw(case)))
            names |= {word for name in list(names) for word in name.replace('"', " ").split()}
        payload = parse_json(self.raw(case)) if case.action.startswith("hook") and len(case.raw) < HUGE else None
        cwd = payload.get("cwd") if isinstance(payload, dict) else None
        bases = {self.project.root, cwd if isinstance(cwd, str) else self.project.root}
        places = set()
        for base, name in ((base, name) for base in bases for name in names):
            place = os.path.join(base, name)
            try:
                places |= {place, os.path.abspath(place), os.path.realpath(place)}
            except (OSError, ValueError):
                continue
        if any(
            name == PRIVATE for name, _ in case.files
        ):  # the sidecar, a text of ours, is read through a linked folder
            places.add(os.path.realpath(f"{self.project.root}/{PRIVATE}") + "/sidecar")
        return places

    def raw(self, case: Case) -> bytes:
        """Return the standard input of the case."""
        return case.raw.replace(b"ROOT", self.project.root.encode())

    def environment(self, case: Case) -> dict[str, str]:
        """Return the environment: of a client that owns the batch, or of a user's terminal."""
        client = (
            {"CLAUDE_CODE_SESSION_ID": SESSION, "CLAUDE_PID": str(os.getppid()), "CLAUDECODE": "1"}
            if case.client
            else {}
        )
        if case.client and case.action.startswith("hook"):
            client["CLAUDE_PID"] = str(os.getpid())
        return {**self.project.environment, **client}

    def _run(self, case: Case) -> tuple[str, str, list[str], Limits]:
        out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="surrogateescape", write_through=True) for _ in "ab")
        kept = sys.stdout, sys.stderr, sys.stdin, sys.argv
        sys.stdout, sys.stderr, sys.stdin = out, err, io.TextIOWrapper(io.BytesIO(self.raw(case)))
        os.environ.clear()
        os.environ.update(self.environment(case))
        os.chdir(self.project.root)
        self.errors.clear()
        findings: list[str] = []
        outcome = "?"
        self.number += 1
        limits = Limits(memory=self.number % 25 == 0 or case_size(case) > LARGE)
        try:
            with limits:
                outcome = self._perform(case)
        except CaseTimeout as late:
            outcome = "too long"
            findings.append(f"too long: {late}")
        except SystemExit as leaving:
            outcome = f"exit {leaving.code or 0}"
            if case.action != "batchctl" or leaving.code:
                findings.append(f"left with {leaving.code!r}")
        except BaseException as error:
            outcome = type(error).__name__
            findings.append(f"traceback: {describe_error(error)}")
        finally:
            sys.stdout, sys.stderr, sys.stdin, sys.argv = kept
        output = "".join(stream.buffer.getvalue().decode("utf-8", "replace") for stream in (out, err))
        if TRACEBACK in output:
            findings.append("a traceback was shown")
        for error in self.errors:
            outcome = f"trouble {type(error).__name__}"
            if not isinstance(error, BatchError):
                findings.append(f"a hook's own trouble: {describe_error(error)}")
        if case.action.startswith("hook") and err.buffer.getvalue():
            findings.append("a hook wrote to standard error")
        if limits.cpu_s > CPU_S:
            findings.append(f"too long: {limits.cpu_s:.1f} s of processor time")
        if limits.rose_mb > MEMORY_MB:
            findings.append(f"too large: {limits.rose_mb:.0f} MB")
        return outcome, output, findings, limits

    def _perform(self, case: Case) -> str:
        """Perform the action and return the outcome in a word or two."""
        action, _, rest = case.action.partition(" ")
        if action == "hook":
            event, _, tool = rest.partition(" ")
            dispatch.main(event, tool)
            output = sys.stdout.buffer.getvalue()
            return (
                ("decided" if parse_decision(output.decode("utf-8", "replace")) else "answered") if output else "silent"
            )
        if action == "batchctl":
            sys.argv = ["batchctl", *case.words]
            status = batchctl.main(case.words)
            assert status in CODES, status
            return f"exit {status}"
        try:
            if action == "library":
                batch_state_manager.load_batch_state(f"{self.project.root}/{STATE}")
            elif action == "read":
                source_files.read_file(os.path.join(self.project.root, case.words[0]))
            else:
                source_files.read_stdin(sys.stdin.buffer)
        except (BatchError, batch_state_manager.BatchStateError) as error:
            return type(error).__name__
        return "fine"

    def _swap_file(self, at: int, thing: str) -> Any:
        """Return a callback that replaces the state at the `at`-th access to a file."""
        left = [at]

        def swap() -> None:
            left[0] -= 1
            if left[0] == 0:
                self.project.put_special(STATE, thing)

        return swap

    def _check_decision_founded(self, case: Case, decided: str) -> list[str]:
        """Return a finding if the valid payload with the same fields leads to another decision."""
        _, event, tool = (*case.action.split(), "", "")[:3]
        payload = parse_json(self.raw(case))
        if not isinstance(payload, dict):
            return [f"a hook decided ({decided}) on a payload that is none"]
        valid = keep_valid_fields(make_payload(event, tool), payload)
        plain = case._replace(raw=to_json(valid), files=(), swap=(0, ""))
        if case.surface == "states":
            plain = plain._replace(files=case.files)
        self.set_up(plain)
        _, output, _, _ = self._run(plain)
        return (
            []
            if parse_decision(output) == decided
            else [f"a hook decided ({decided}), with a valid payload {parse_decision(output)!r}"]
        )


def case_size(case: Case) -> int:
    """Return the number of bytes in a case; a special file counts as large."""
    sizes = [LARGE + 1 if isinstance(content, str) else len(content) for _, content in case.files]
    return len(case.raw) + sum(map(len, case.words)) + sum(sizes)


def keep_valid_fields(valid: Any, payload: Any) -> Any:
    """Return the valid payload with those fields of `payload` that have the right type."""
    if isinstance(valid, dict) and isinstance(payload, dict):
        kept = {
            name: keep_valid_fields(content, payload[name])
            for name, content in valid.items()
            if type(payload.get(name)) is type(content)
        }
        for name in ("file_path", "notebook_path", "command", "skill", "agent_id", "agent_type"):
            if isinstance(payload.get(name), str):
                kept[name] = payload[name]
        return kept
    return payload


def parse_decision(output: str) -> str:
    """Return what a hook decided: `block`, `deny` or `allow`; empty for nothing."""
    found = parse_json(output.encode()) if output.startswith("{") else None
    if not isinstance(found, dict):
        return ""
    special = found.get("hookSpecificOutput") or {}
    return (
        found.get("decision") or special.get("permissionDecision") or ("stop" if found.get("continue") is False else "")
    )


def parse_json(raw: bytes) -> Any:
    """Parse JSON with Python's own parser. Return None for anything else."""
    try:
        return json.loads(raw)  # which takes UTF-16, too, as it may
    except (ValueError, RecursionError):
        return None


def collect_strings(value: Any) -> set[str]:
    """Return all strings in a value."""
    found, left = set(), [value]
    while left:
        node = left.pop()
        if isinstance(node, str):
            found.add(node)
        elif isinstance(node, (dict, list)):
            left.extend(node.values() if isinstance(node, dict) else node)
    return found


def describe_error(error: BaseException) -> str:
    """Return an error with the file and line where it was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    at = f"{os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}" if trace else "?"
    return f"{type(error).__name__}: {str(error)[:200]} at {at}"
