"""Named cases that are always played: the corpus, special files everywhere, huge files, swapped files.

    for name, case in corpus(): ...     # one or more cases for each file below corpus/
    for name, case in systematic(): ...

corpus/states/NAME                  a state file; `sidecar--NAME` and the like: that private file
corpus/features/NAME.EXT            a features file of that extension
corpus/payloads/EVENT--NAME.json    standard input of a hook; `EVENT-TOOL--NAME.json` for a tool's
corpus/arguments/NAME.json          {"batchctl": [WORDS]} or {"/batchctl": TEXT} or {"/batch-implement": TEXT}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cases import EVENTS, FOLDERS, HOOKS_ON_STATE, PRIVATE_FILES, Case, make_payload
from hostile_input import DEEP, DIGITS, WHOLE_FILES
from scratch_project import PRIVATE, SPECIAL_FILES, STATE, to_json

CORPUS = Path(__file__).parent / "corpus"
SLASH = {"/batchctl": "batch-implement:batchctl", "/batch-implement": "batch-implement:batch-implement"}
MB = 1 << 20
Named = Iterator[tuple[str, Case]]


def make_hook_case(action: str, **more: object) -> Case:
    """A hook with a valid payload, in the client that holds the batch."""
    return Case("states", action, raw=to_json(make_payload(*(*action.split(), "")[1:3])), client=True, **more)


def state_cases(name: str, files: tuple[tuple[str, bytes | str], ...], **more: object) -> Named:
    """Everybody who comes upon a state or a private file."""
    for words in (("status",), ("log",), ("validate", "--json")):
        yield f"{name}: batchctl {' '.join(words)}", Case("states", "batchctl", words, files=files, **more)
    yield f"{name}: library", Case("states", "library", files=files, **more)
    for action in HOOKS_ON_STATE:
        yield f"{name}: {action}", make_hook_case(action, files=files, **more)


def corpus() -> Named:
    """The cases of each file below corpus/; their names begin with its path."""
    for path in sorted(CORPUS.rglob("*")):
        if path.is_dir():
            continue
        surface, data, name = path.parent.name, path.read_bytes(), f"{path.parent.name}/{path.name}"
        if surface == "states":
            kind, _, rest = path.name.partition("--")
            target = f"{PRIVATE}/{kind}" if rest else STATE
            yield from state_cases(name, ((target, data),))
            unsealed = Case("states", "batchctl", ("status",), sealed=False, files=((target, data),))
            yield f"{name} unsealed", unsealed
            yield f"{name} by the model", unsealed._replace(sealed=True, client=True)
        elif surface == "features":
            yield from list_cases(name, path.suffix, data)
        elif surface == "payloads":
            action = "hook " + path.name.partition("--")[0].replace("-", " ")
            for shape in ("going", "alone", None):
                yield f"{name}: {shape}", Case("payloads", action, raw=data, shape=shape, client=True)
        else:
            yield from typed(name, json.loads(data))


def list_cases(name: str, extension: str, content: bytes | str) -> Named:
    """Everybody who reads a list of features."""
    files = ((f"list{extension}", content),)
    yield f"{name}: read", Case("features", "read", (files[0][0],), shape=None, files=files)
    yield f"{name}: validate", Case("features", "batchctl", ("validate", files[0][0]), shape=None, files=files)
    if isinstance(content, bytes):
        yield f"{name}: stdin", Case("features", "stdin", raw=content, shape=None)


def typed(name: str, given: dict[str, object]) -> Named:
    """A line of arguments, by how it was typed."""
    for how, what in given.items():
        for shape in ("going", None):
            if how == "batchctl":
                yield f"{name}: {shape}", Case("arguments", "batchctl", tuple(what), shape=shape)
            else:
                payload = {**make_payload("UserPromptExpansion", ""), "command_name": SLASH[how], "command_args": what}
                action = "hook UserPromptExpansion"
                yield f"{name}: {shape}", Case("arguments", action, raw=to_json(payload), shape=shape, client=True)


def systematic() -> Named:
    """All of the following."""
    yield from things()
    yield from wholes()
    yield from swaps()
    yield from huge()


def things() -> Named:
    """All things in all places, to everybody."""
    for thing in SPECIAL_FILES:
        places = (STATE, *FOLDERS, *PRIVATE_FILES)
        for path in places:
            yield from state_cases(f"{thing} at {path}", ((path, thing),))
        for extension in (".txt", ".json", ".yaml", ".md"):
            yield from list_cases(f"{thing} as a list", extension, thing)
        transcript = (("transcript.jsonl", thing),)
        for action in ("hook Stop", "hook PreCompact", "hook PostToolUse"):
            yield f"{thing} as a transcript: {action}", make_hook_case(action, files=transcript, shape="many")


def wholes() -> Named:
    """Files and payloads that are nothing of what they should be, to everybody."""
    for number, whole in enumerate(WHOLE_FILES):
        yield from state_cases(f"whole {number}", ((STATE, whole),))
        for extension in (".txt", ".json", ".yaml", ".md"):
            yield from list_cases(f"whole {number}", extension, whole)
        for event, tool in EVENTS:
            yield (
                f"whole {number}: {event} {tool}",
                Case("payloads", f"hook {event} {tool}".strip(), raw=whole, client=True),
            )


def swaps() -> Named:
    """The state replaced at each look at a file, so between any check and what follows it."""
    for at in range(1, 61):
        for thing in SPECIAL_FILES[:8]:
            for sealed in (True, False):
                swap = (at, thing)
                yield (
                    f"{thing} after {at} looks: status",
                    Case("states", "batchctl", ("status",), sealed=sealed, swap=swap),
                )
                yield f"{thing} after {at} looks: Stop", make_hook_case("hook Stop", sealed=sealed, swap=swap)


def huge() -> Named:
    """As much as is read at most, and more."""
    for name, unit in (
        ("lists", b"[],"),
        ("numbers", b"1,"),
        ("texts", b'"a",'),
        ("names", b'{"a":1},'),
        ("💣".encode().hex(), '"💣",'.encode()),
    ):
        text = b"[" + unit * (9 * MB // len(unit)) + b"1]"
        yield from list_cases(f"huge {name}", ".json", text)
        yield from list_cases(f"huge {name}", ".yaml", text)
        state = b'{"batch_id": "b", "features": ' + text[: 8 * MB] + b"1]}"
        yield f"huge {name}: status", Case("states", "batchctl", ("status",), files=((STATE, state),))
        yield f"huge {name}: SessionStart", make_hook_case("hook SessionStart", files=((STATE, state),), sealed=False)
        for action in ("hook PreToolUse Bash", "hook Stop", "hook PostToolUse Skill", "hook UserPromptExpansion"):
            raw = b'{"session_id": "s-1", "tool_input": ' + text + b"}"
            yield f"huge {name}: {action}", Case("payloads", action, raw=raw, client=True)
    keys = b"{" + b",".join(b'"%d":1' % number for number in range(800_000)) + b"}"
    for name, data in (
        ("lines", b"a\n" * (4 * MB)), ("blank lines", b"\n" * (9 * MB)), ("one line", b"a" * (9 * MB)), ("blanks",
        b"[" + b" " * (9 * MB) + b"x"),
        ("boxes", b"- [ ] a\n" * MB), ("brackets", b"(" * (9 * MB)), ("ids", b"(id:" * (2 * MB)), ("notes",
        b"a (after: " + b"1," * (4 * MB) + b")"), ("keys", keys),
        ("bare keys", b"\n".join(b"%d: 1" % number for number in range(800_000))), ("open quotes", b'"\\"' * (3 * MB)),
        ("backslashes", b'["' + b"\\\\" * (4 * MB) + b'"]'),
        ("deep", b"[" * (9 * MB)), ("digits", DIGITS.encode() * 900), ("spans", b"`" * (9 * MB)), ("dashes",
        b"- " * (4 * MB)), ("CRs", b"\r" * (9 * MB)),
    ):  # fmt: skip
        for extension in (".txt", ".json", ".yaml", ".md"):
            files = ((f"list{extension}", data),)
            yield f"huge {name}: read {extension}", Case("features", "read", (files[0][0],), shape=None, files=files)
        yield f"huge {name}: stdin", Case("features", "stdin", raw=data, shape=None)
    for command in (
        "$(" * DEEP,
        "a;" * DEEP,
        "'" * (2 * MB),
        "cat .claude/batch_state.json " * 50_000,
        "${a:-" * DEEP,
        "batchctl \\" * DEEP,
        "<<E\n" * DEEP,
    ):
        payload = {**make_payload("PreToolUse", "Bash"), "tool_input": {"command": command}}
        yield (
            f"huge command {command[:9]!r}",
            Case("payloads", "hook PreToolUse Bash", raw=to_json(payload), client=True),
        )
        payload = {
            **make_payload("PostToolUse", "Bash"),
            "tool_input": {"command": "git push " + command},
            "tool_response": {"stdout": command * 3},
        }
        yield f"huge push {command[:9]!r}", Case("payloads", "hook PostToolUse Bash", raw=to_json(payload), client=True)
        payload = {**make_payload("Stop", ""), "last_assistant_message": command}
        yield f"huge words {command[:9]!r}", Case("payloads", "hook Stop", raw=to_json(payload), client=True)
        yield from typed(
            f"huge arguments {command[:9]!r}",
            {"/batchctl": "skip " + command, "/batch-implement": command, "batchctl": [command[:100_000]]},
        )
    yield "huge payload", Case("payloads", "hook PreToolUse Bash", raw=b'{"a": "' + b'\\"' * (32 * MB), client=True)
