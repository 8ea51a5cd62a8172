"""Build the cases: which files there are, and what is done then. One function a surface, from choices to a case.

    SURFACES["states"]      a defective state or private file; a command, a hook or a library call
    SURFACES["features"]    a features file or standard input; it is read, validated, tried (`--dry-run`)
    SURFACES["payloads"]    a hook's payload, of every event in hooks/hooks.json
    SURFACES["arguments"]   arguments for batchctl, `/batchctl` and `/batch-implement`

A case is plain data. `files` maps names to bytes or to a special file (scratch_project.SPECIAL_FILES).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple, Optional

from hostile_input import TEXTS, Choices, damage_bytes, mutate_value, serialize_value
from scratch_project import FEATURE_LIST, PRIVATE, SECOND_BACKUP, SESSION, SPECIAL_FILES, STATE, to_json

HOOKS = json.loads(Path(__file__).resolve().parents[2].joinpath("hooks", "hooks.json").read_text())["hooks"]
EVENTS = tuple((*entry["hooks"][0]["args"], "")[:2] for entries in HOOKS.values() for entry in entries)
SHAPES = ("fresh", "going", "many", "alone", "paused", "over", "nobody's")


class Case(NamedTuple):
    """A case of a surface. `action` is one of `batchctl`, `hook EVENT TOOL`, `library`, `read`, `stdin KIND`."""

    surface: str
    action: str
    words: tuple[str, ...] = ()
    raw: bytes = b""
    shape: Optional[str] = "going"
    sealed: bool = True
    client: bool = False
    files: tuple[tuple[str, bytes | str], ...] = ()
    swap: tuple[int, str] = (0, "")  # before which call on files the state is replaced, and by what


WORKER = {"agent_id": "a-1", "agent_type": "batch-implement:worker"}
COMMON = {
    "session_id": SESSION,
    "cwd": "ROOT",
    "transcript_path": "ROOT/transcript.jsonl",
    "permission_mode": "default",
}
FIELDS: dict[str, dict[str, Any]] = {
    "UserPromptExpansion": {
        "expansion_type": "slash_command", "command_name": "batch-implement:batch-implement",
        "command_args": "features.txt --dry-run", "prompt_id": "q",
    },
    "UserPromptSubmit": {"prompt": "how is it going?", "prompt_id": "q"},
    "SessionStart": {"source": "startup", "model": "m"},
    "SessionEnd": {"reason": "other"}, "PreCompact": {"trigger": "auto", "custom_instructions": ""},
    "Stop": {"stop_hook_active": False, "last_assistant_message": "I am done.", "prompt_id": "p",
    "background_tasks": [{"id": "b", "type": "shell", "status": "running"}]},
    "SubagentStart": {"agent_id": "r", "agent_type": "batch-implement:reviewer"},
    "SubagentStop": {**WORKER, "stop_hook_active": False, "last_assistant_message": "Good.", "background_tasks": []},
    "StopFailure": {"error": "rate_limit",
    "last_assistant_message": "You've hit your limit · resets 5pm (Europe/Berlin)"},
}  # fmt: skip
TOOLS: dict[str, dict[str, Any]] = {
    "Bash": {"tool_name": "Bash", "tool_input": {"command": "git push origin main", "description": "Push"}},
    "Write": {"tool_name": "Write", "tool_input": {"file_path": "ROOT/src/a.py", "content": "x = 1\n"}},
    "Skill": {"tool_name": "Skill", "tool_input": {"skill": "batch-implement:auto-implement"}},
    "Agent": {"tool_name": "Agent", "tool_input": {"subagent_type": "batch-implement:reviewer", "prompt": "Review."}},
    "AskUserQuestion": {"tool_name": "AskUserQuestion", "tool_input": {"questions": [{"question": "Which?",
    "options": []}]}},
    "": {"tool_name": "Read", "tool_input": {"file_path": "ROOT/README.md"}},
}  # fmt: skip
COMMANDS = (
    "batchctl abort", "cat .claude/batch_state.json", "echo x > .claude/batch_state.json",
    "rm -rf .git/batch-implement", "git clean -fdx", "make test",
    "eval \"$(echo cm0gLXJmIC5jbGF1ZGU= | base64 -d)\"", "find . -name 'batch_*' -delete", "batchctl done",
    "gh pr create --title x", "git commit -am 'x'",
)  # fmt: skip
TARGETS = (
    "ROOT/.claude/batch_state.json",
    ".claude/../.claude/batch_state.json",
    "ROOT/.git/batch-implement/sidecar",
    "src/a.py",
    "~/x",
    "a\x00b",
)
TYPED_ARGUMENTS = (
    "status", "log", "help", "pause", "retry 1", "skip 2 --reason x", "resume", "add more.txt", "doctor", "validate",
    "schema features", "--resume",
    "features.txt", "features.txt --dry-run --verify 'make test'", "features.txt --mode direct --review",
    "--issues 1 2", "--label x", "-", "abort",
)  # fmt: skip
COMMAND_NAMES = (
    "batch-implement:batch-implement",
    "batch-implement:auto-implement",
    "batch-implement:batchctl",
    "batch-implement:other",
    "else",
)
TOOL_EVENTS = ("PreToolUse", "PostToolUse", "PostToolUseFailure")


def make_payload(event: str, tool: str) -> dict[str, Any]:
    """A valid payload of an event."""
    more = FIELDS.get(event, {})
    if event in TOOL_EVENTS:
        more = {**TOOLS[tool], "tool_use_id": "t-1", "prompt_id": "p"}
        if event == "PostToolUse":
            more["tool_response"] = {
                "stdout": "To github.com:o/r\n   1..2  main -> main\n",
                "stderr": "",
                "result": "Looks good.",
            }
        if event == "PostToolUseFailure":
            more["error"] = "it broke"
    return {**COMMON, "hook_event_name": event, **more}


def payloads(choices: Choices) -> Case:
    """A payload that is bent, damaged, or hostile in the very fields that are looked at."""
    event, tool = choices.pick(EVENTS)
    payload = make_payload(event, tool)
    if event == "UserPromptExpansion":
        payload["command_name"] = choices.pick(COMMAND_NAMES)
        payload["command_args"] = choices.pick(TYPED_ARGUMENTS) if choices.one_in(2) else choices.text()
    elif tool == "Bash" and choices.one_in(2):
        payload["tool_input"] = {"command": choices.pick(COMMANDS) + (choices.text() if choices.one_in(2) else "")}
    elif tool == "Write" and choices.one_in(2):
        payload["tool_input"] = {
            choices.pick(("file_path", "notebook_path")): choices.pick(TARGETS) if choices.one_in(2) else choices.text()
        }
    elif event == "SessionStart":
        payload["source"] = choices.pick(("startup", "resume", "clear", "compact", "fork", "?"))
    how = choices.number(0, 3)
    if how == 1:
        for _ in range(choices.number(1, 2)):
            payload[choices.pick(list(payload))] = choices.value()
    raw = to_json(mutate_value(choices, payload) if how == 2 else payload)
    files: tuple[tuple[str, bytes | str], ...] = ()
    if choices.one_in(8):
        files = (("transcript.jsonl", _transcript(choices)),)
    elif choices.one_in(40):
        files = ((f"{PRIVATE}/reported-errors", b"\xff\0x"),)
    return Case(
        "payloads", f"hook {event} {tool}".rstrip(), raw=damage_bytes(choices, raw) if how == 3 else raw,
        client=choices.number(0, 3) > 0,
        shape=choices.pick((*SHAPES, None)), files=files,
    )  # fmt: skip


TRANSCRIPT_ENTRIES = (
    {
        "type": "system",
        "subtype": "compact_boundary",
        "compactMetadata": {"trigger": "auto", "preTokens": 9, "postTokens": 5},
    },
    {
        "type": "assistant",
        "message": {
            "usage": {"input_tokens": 5, "cache_read_input_tokens": 7, "output_tokens": 1},
            "content": [{"id": "t-1"}],
        },
    },
    {"type": "attachment", "attachment": {"type": "hook_additional_context", "content": ["[batch-implement]"]}},
)


def _transcript(choices: Choices) -> bytes | str:
    """A client's transcript with something wrong in it, or something else in its place."""
    if choices.one_in(4):
        return choices.pick(SPECIAL_FILES)
    lines = [
        serialize_value(choices, mutate_value(choices, entry) if choices.one_in(2) else entry).replace(b"\n", b"")
        for entry in TRANSCRIPT_ENTRIES
    ]
    return b"\n".join(lines) if choices.one_in(2) else damage_bytes(choices, b"\n".join(lines))


READING_COMMANDS = ("status", "next", "brief", "log", "validate", "status --json", "log --json", "next --json")
CHANGING_COMMANDS = (
    "pause",
    "skip 1",
    "retry",
    "start",
    "phase test",
    "abort",
    "clean --all",
    "resume",
    "decide q a",
    "add features.txt",
    "create features.txt",
)
HOOKS_ON_STATE = (
    "hook SessionStart",
    "hook Stop",
    "hook PostToolUse Bash",
    "hook PreToolUse Bash",
    "hook UserPromptSubmit",
    "hook PreCompact",
    "hook PreToolUse Skill",
)
PRIVATE_FILES = (
    SECOND_BACKUP,
    *(
        f"{PRIVATE}/{name}"
        for name in (
            "sidecar", "current.json", "in-force.bi", "lock", "audit.jsonl", "reported-errors", "archive", "quarantine",
            "sidecar.tmp", "audit.jsonl.1",
        )
    ),
)  # fmt: skip
FOLDERS = (".claude", PRIVATE)
STATE_BYTES: dict[str, bytes] = {}  # the valid states, as bytes, filled by whoever has a ground


def states(choices: Choices) -> Case:
    """A state file or one of the private files that is no longer what it was, and somebody who comes upon it."""
    shape = choices.pick(SHAPES)
    data = STATE_BYTES[shape]
    path = STATE if choices.number(0, 3) else choices.pick(PRIVATE_FILES)
    how = choices.number(0, 9)
    content: bytes | str
    if (how < 5 and path == STATE) or (path.endswith((".json", ".tmp")) and how < 7):
        content = serialize_value(choices, mutate_value(choices, json.loads(data)))
    elif how < 9:
        lines = b'{"at": "x", "event": "failed", "feature": 1, "why": "y"}\n' * 3
        sidecar = b"live\nnew 1 2 3 abc 4\nold -\nowner s-1 1\nopen 0 1\nunattended 0\nremind main\n"
        content = damage_bytes(choices, {"audit.jsonl": lines, "sidecar": sidecar}.get(path.rpartition("/")[2], data))
        if path.endswith("audit.jsonl") and choices.one_in(2):
            content = (
                b"\n".join(
                    serialize_value(choices, mutate_value(choices, json.loads(lines.split(b"\n")[0]))).replace(
                        b"\n", b""
                    )
                    for _ in range(2)
                )
                + b"\n"
            )
    else:
        content = choices.pick(SPECIAL_FILES)
        if choices.one_in(4):
            path = choices.pick(FOLDERS)
    action, words, raw = "batchctl", tuple(choices.pick(READING_COMMANDS).split()), b""
    kind = choices.number(0, 9)
    if kind == 0:
        words = tuple(choices.pick(CHANGING_COMMANDS).split()) if choices.one_in(3) else words
    elif kind < 5:
        action, words = choices.pick(HOOKS_ON_STATE), ()
        raw = to_json(make_payload(*(*action.split(), "")[1:3]))
    elif kind == 5:
        action = "library"
    swap = (
        (choices.number(1, 40), choices.pick(SPECIAL_FILES[:8]))
        if choices.one_in(8) and path not in FOLDERS
        else (0, "")
    )
    return Case(
        "states", action, words, raw, shape, sealed=choices.number(0, 2) > 0, client=choices.one_in(2), files=((path,
        content),), swap=swap
    )  # fmt: skip


LISTS: dict[str, tuple[bytes, ...]] = {
    "txt": (
        FEATURE_LIST.encode(),
        "# say\n\ufeffÄpfel zählen (id: ä)\r\nzwei\rdrei\n".encode(),
        b"a (after: 2, x) (id: y)\nb\nc (id: x)\n",
    ),
    "md": (b"# To do\n\n- [ ] one\n- [x] two (id: b)\n  1. [ ] three (after: b)\n\n```\n- [ ] no\n```\n",),
    "yaml": (
        b"defaults:\n  verify: make test\n  limits:\n    max_retries: 2\nfeatures:\n- id: a\n  title: Add a page\n"
        b"  touches: [src/, docs/]\n- title: 'Test it'\n  depends_on: a\n  description: |\n    Long\n    words\n"
        b"- Tell of it (after: 1)\n",
        b'[{"title": "x"}, "y"]\n',
    ),
    "json": (
        b'{"defaults": {"verify": "make test", "unattended": true},\n'
        b' "features": [{"id": "a", "title": "Add a page", "touches": ["src/"]},\n'
        b'  "Test it (after: a)",\n  {"title": "Tell of it", "depends_on": ["a", 2], "description": "x\\ny"}]}\n',
    ),
}


def features(choices: Choices) -> Case:
    """A list of features that is damaged, bent, or no file at all."""
    kind = (
        choices.pick(("txt", "md", "yaml", "json", "json", "yml", "markdown", "csv", ""))
        if choices.one_in(4)
        else choices.pick(("txt", "md", "yaml", "json"))
    )
    data = choices.pick(LISTS.get(kind) or LISTS["txt"])
    how = choices.number(0, 9)
    content: bytes | str
    if how < 4 and kind in ("json", "yaml"):
        content = serialize_value(choices, mutate_value(choices, json.loads(LISTS["json"][0])))
    elif how == 4:
        content = "\n".join(
            (f"- [ ] {text}" if kind == "md" else f"- {text}" if kind == "yaml" else text)
            for text in (choices.text(), choices.text())
        ).encode("utf-8", "surrogatepass")
    elif how < 9:
        content = damage_bytes(choices, data)
    else:
        content = choices.pick(SPECIAL_FILES)
    name = f"list.{kind}" if kind else "list"
    way = choices.number(0, 199)
    shape: Optional[str] = None
    action, words, raw = "read", (name,), b""
    if isinstance(content, bytes) and 150 < way < 180:
        action, words, raw = f"stdin {kind}", (), content
    elif 180 < way < 187:
        action, words = "batchctl", ("validate", name)
    elif way == 187:
        action, words = "batchctl", ("convert", name)
    elif way == 188:
        action, words = "batchctl", ("create", name, "--dry-run")
    elif way == 189 and isinstance(content, bytes):
        action, words, raw = "batchctl", ("create", "-", "--json"), content
    elif way == 190:
        action, words, shape = "batchctl", ("add", name), "going"
    return Case("features", action, words, raw, shape, files=((name, content),))


LINES = (
    "{}", "status {}", "phase {}", "fail --reason {}", "done --no-change {}", "done --wait {}", "decide {} {}",
    "create {}", "add {}", "skip {}", "skip 1 --reason {}",
    "retry {}", "pause --reason {}", "resume {}", "validate {}", "convert {}", "schema {}", "log --feature {}",
    "create features.txt --dry-run --mode {}", "issues {}", "help {}",
    "create features.txt --dry-run --verify {}", "create --issues {}", "create --label {} --dry-run",
    "create --milestone {}", "{} --json", "--json {}", "log {}", "doctor {}",
    "create features.txt --dry-run --verify-timeout {} --max-retries {}", "create features.txt {} --dry-run",
    "next {}", "brief {}", "start {}", "abort {}", "--version {}",
)  # fmt: skip
SLASH_LINES = (
    "{}", "features.txt {}", "--resume {}", "features.txt --dry-run --verify {}", "features.txt --mode {}",
    "--issues {}", "--label {}", "{} --dry-run", "--resume {} --replace",
)  # fmt: skip
CHEAP = ("{}", "status {}", "next {}", "{} --json", "--json {}", "status --json {}")


def arguments(choices: Choices) -> Case:
    """A line of arguments with something hostile in it, for one of the three places where they can be typed."""

    def filled(lines: tuple[str, ...]) -> list[str]:
        words = [
            word.replace("{}", choices.text() if choices.number(0, 3) else choices.pick(TYPED_ARGUMENTS))
            for word in choices.pick(lines).split()
        ]
        return words + [choices.text() for _ in range(choices.number(0, 2) if choices.one_in(4) else 0)]

    shape = choices.pick(("going", "fresh", "paused", None))
    way = choices.number(0, 5)
    if way < 2:
        words = tuple(
            word.replace("\0", "?") for word in filled(LINES if choices.one_in(2) else CHEAP)
        )  # a system call ends at a zero byte
        return Case("arguments", "batchctl", words, shape=shape, client=choices.one_in(3))
    lines, name = ((SLASH_LINES, COMMAND_NAMES[0]), (LINES, COMMAND_NAMES[2]), (("{}",), COMMAND_NAMES[1]))[
        choices.pick((0, 0, 0, 0, 1, 2))
    ]
    typed = " ".join(json.dumps(word) if choices.one_in(2) else word for word in filled(lines))
    payload = {**make_payload("UserPromptExpansion", ""), "command_name": name, "command_args": typed}
    return Case("arguments", "hook UserPromptExpansion", raw=to_json(payload), shape=shape, client=True)


SURFACES = {"states": states, "features": features, "payloads": payloads, "arguments": arguments}
assert all("{}" not in text for text in TEXTS)
