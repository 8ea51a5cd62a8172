"""The cases that are always played, each under a name: the corpus, all things in all places, what is huge, all swaps.

for name, case in corpus(): ...     the files below corpus/: adding one adds its cases
for name, case in systematic(): ...

corpus/states/NAME                  a state file; `sidecar--NAME` and the like: that private file
corpus/features/NAME.EXT            a features file of that extension
corpus/payloads/EVENT--NAME.json    what comes on a hook's standard input; `EVENT-TOOL--NAME.json` for a tool's
corpus/arguments/NAME.json          {"batchctl": [WORDS]} or {"/batchctl": TEXT} or {"/batch-implement": TEXT}
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from cases import AT_STATE, EVENTS, FOLDERS, PRIVATE_FILES, Case, payload_of
from ground import PRIVATE, STATE, THINGS, told
from hostile import DEEP, DIGITS, WHOLES

CORPUS = Path(__file__).parent / "corpus"
SLASH = {"/batchctl": "batch-implement:batchctl", "/batch-implement": "batch-implement:batch-implement"}
MB = 1 << 20
Named = Iterator[tuple[str, Case]]


def hook_case(act: str, **more: object) -> Case:
    """A hook with a valid payload, in the client that holds the batch."""
    return Case("states", act, raw=told(payload_of(*(*act.split(), "")[1:3])), client=True, **more)


def looks(name: str, laid: tuple[tuple[str, bytes | str], ...], **more: object) -> Named:
    """Everybody who comes upon a state or a private file."""
    for words in (("status",), ("log",), ("validate", "--json")):
        yield f"{name}: batchctl {' '.join(words)}", Case("states", "batchctl", words, laid=laid, **more)
    yield f"{name}: library", Case("states", "library", laid=laid, **more)
    for act in AT_STATE:
        yield f"{name}: {act}", hook_case(act, laid=laid, **more)


def corpus() -> Named:
    """The cases of each file below corpus/; their names begin with its path."""
    for path in sorted(CORPUS.rglob("*")):
        if path.is_dir():
            continue
        door, data, name = path.parent.name, path.read_bytes(), f"{path.parent.name}/{path.name}"
        if door == "states":
            kind, _, rest = path.name.partition("--")
            where = f"{PRIVATE}/{kind}" if rest else STATE
            yield from looks(name, ((where, data),))
            unsealed = Case("states", "batchctl", ("status",), sealed=False, laid=((where, data),))
            yield f"{name} unsealed", unsealed
            yield f"{name} by the model", unsealed._replace(sealed=True, client=True)
        elif door == "features":
            yield from lists(name, path.suffix, data)
        elif door == "payloads":
            act = "hook " + path.name.partition("--")[0].replace("-", " ")
            for shape in ("going", "alone", None):
                yield f"{name}: {shape}", Case("payloads", act, raw=data, shape=shape, client=True)
        else:
            yield from typed(name, json.loads(data))


def lists(name: str, extension: str, content: bytes | str) -> Named:
    """Everybody who reads a list of features."""
    laid = ((f"list{extension}", content),)
    yield f"{name}: read", Case("features", "read", (laid[0][0],), shape=None, laid=laid)
    yield f"{name}: validate", Case("features", "batchctl", ("validate", laid[0][0]), shape=None, laid=laid)
    if isinstance(content, bytes):
        yield f"{name}: stdin", Case("features", "stdin", raw=content, shape=None)


def typed(name: str, given: dict[str, object]) -> Named:
    """A line of arguments, by how it was typed."""
    for how, what in given.items():
        for shape in ("going", None):
            if how == "batchctl":
                yield f"{name}: {shape}", Case("arguments", "batchctl", tuple(what), shape=shape)
            else:
                payload = {**payload_of("UserPromptExpansion", ""), "command_name": SLASH[how], "command_args": what}
                act = "hook UserPromptExpansion"
                yield f"{name}: {shape}", Case("arguments", act, raw=told(payload), shape=shape, client=True)


def systematic() -> Named:
    """All of the following."""
    yield from things()
    yield from wholes()
    yield from swaps()
    yield from huge()


def things() -> Named:
    """All things in all places, to everybody."""
    for thing in THINGS:
        places = (STATE, *FOLDERS, *(f"{PRIVATE}/{name}" for name in PRIVATE_FILES))
        for where in (place for place in places if (place, thing) != (f"{PRIVATE}/lock", "a hard link")):  # waits, 10 s
            yield from looks(f"{thing} at {where}", ((where, thing),))
        for extension in (".txt", ".json", ".yaml", ".md"):
            yield from lists(f"{thing} as a list", extension, thing)
        transcript = (("transcript.jsonl", thing),)
        for act in ("hook Stop", "hook PreCompact", "hook PostToolUse"):
            yield f"{thing} as a transcript: {act}", hook_case(act, laid=transcript, shape="many")


def wholes() -> Named:
    """Files and payloads that are nothing of what they should be, to everybody."""
    for number, whole in enumerate(WHOLES):
        yield from looks(f"whole {number}", ((STATE, whole),))
        for extension in (".txt", ".json", ".yaml", ".md"):
            yield from lists(f"whole {number}", extension, whole)
        for event, tool in EVENTS:
            yield (
                f"whole {number}: {event} {tool}",
                Case("payloads", f"hook {event} {tool}".strip(), raw=whole, client=True),
            )


def swaps() -> Named:
    """The state replaced at each look at a file, so between any check and what follows it."""
    for at in range(1, 61):
        for thing in THINGS[:8]:
            for sealed in (True, False):
                swap = (at, thing)
                yield (
                    f"{thing} after {at} looks: status",
                    Case("states", "batchctl", ("status",), sealed=sealed, swap=swap),
                )
                yield f"{thing} after {at} looks: Stop", hook_case("hook Stop", sealed=sealed, swap=swap)


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
        yield from lists(f"huge {name}", ".json", text)
        yield from lists(f"huge {name}", ".yaml", text)
        state = b'{"batch_id": "b", "features": ' + text[: 8 * MB] + b"1]}"
        yield f"huge {name}: status", Case("states", "batchctl", ("status",), laid=((STATE, state),))
        yield f"huge {name}: SessionStart", hook_case("hook SessionStart", laid=((STATE, state),), sealed=False)
        for act in ("hook PreToolUse Bash", "hook Stop", "hook PostToolUse Skill", "hook UserPromptExpansion"):
            raw = b'{"session_id": "s-1", "tool_input": ' + text + b"}"
            yield f"huge {name}: {act}", Case("payloads", act, raw=raw, client=True)
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
            laid = ((f"list{extension}", data),)
            yield f"huge {name}: read {extension}", Case("features", "read", (laid[0][0],), shape=None, laid=laid)
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
        payload = {**payload_of("PreToolUse", "Bash"), "tool_input": {"command": command}}
        yield f"huge command {command[:9]!r}", Case("payloads", "hook PreToolUse Bash", raw=told(payload), client=True)
        payload = {
            **payload_of("PostToolUse", "Bash"),
            "tool_input": {"command": "git push " + command},
            "tool_response": {"stdout": command * 3},
        }
        yield f"huge push {command[:9]!r}", Case("payloads", "hook PostToolUse Bash", raw=told(payload), client=True)
        payload = {**payload_of("Stop", ""), "last_assistant_message": command}
        yield f"huge words {command[:9]!r}", Case("payloads", "hook Stop", raw=told(payload), client=True)
        yield from typed(
            f"huge arguments {command[:9]!r}",
            {"/batchctl": "skip " + command, "/batch-implement": command, "batchctl": [command[:100_000]]},
        )
    yield "huge payload", Case("payloads", "hook PreToolUse Bash", raw=b'{"a": "' + b'\\"' * (32 * MB), client=True)
