"""Decide whether a tool call of a live batch needs nothing from its hook. Runs on every tool call.

    raw = fast_path.read_payload()
    if not fast_path.can_skip(event, tool, root, private, raw): ...      # `hooks.dispatch` handles the event

The decision costs one small read (the sidecar), four stats (the state and its copies) and a few substring tests on the
payload's bytes. `can_skip` is True only when nothing is to be done. Everything else goes to `dispatch`, which asks
`is_irrelevant_call` again with what it knows about the client.

Guarantee: if `needs_analysis` is False for a payload, `command_policy.check_command` returns None for the command in
it. Both ask `mentions_batch` about the same text, because `needs_analysis` undoes exactly the JSON escapes that ASCII
text can have. Time is linear in the length of the payload.
"""

# Neither this module nor its imports may import `os` (1.5 ms, more than all the rest) or `__future__` (0.2 ms):
# docs/performance.md. `posix` is built in on every platform of this plugin.
import posix
import sys

MAX_PAYLOAD_BYTES = 32 * 1024 * 1024
WRITING_TOOLS = ("Bash", "Write")  # as hooks.json names them; Write is for all that write files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..store.sidecar import Sidecar


def read_payload() -> bytes:
    """Read the event's JSON from standard input, at most MAX_PAYLOAD_BYTES."""
    chunks, remaining = [], MAX_PAYLOAD_BYTES
    while remaining > 0:  # in chunks: read(MAX_PAYLOAD_BYTES) would allocate all of them at once
        chunk = sys.stdin.buffer.read(min(remaining, 65536))
        if not chunk:
            break
        chunks.append(chunk)
        remaining -= len(chunk)
    return b"".join(chunks)


def can_skip(event: str, tool: str, root: str, private: str, raw: bytes) -> bool:
    """Return whether the hook can exit now. `root` and `private` are the project's folders as hooks/run found them,
    both empty if it did not look.
    """
    session, pid = posix.environ.get(b"CLAUDE_CODE_SESSION_ID"), posix.environ.get(b"CLAUDE_PID")
    if not (private and session and pid) or posix.environ.get(b"BATCH_IMPLEMENT_REMEMBER"):
        return False
    if not is_skippable_event(event, tool):
        return False
    from ..store import sidecar

    batch = sidecar.read_sidecar(private)
    if batch is None:
        return False
    owns_batch = batch.is_owner(session.decode("utf-8", "surrogateescape"), pid.decode("utf-8", "surrogateescape"))
    state, second_backup = f"{root}/.claude/batch_state.json", f"{private.rpartition('/')[0]}/implement.bi"
    is_intact = batch.matches_disk(state, private, second_backup)
    return is_irrelevant_call(event, tool, raw, batch, is_intact, owns_batch)


def is_skippable_event(event: str, tool: str) -> bool:
    """Return whether calls of this kind can be irrelevant to the batch."""
    if event == "PreToolUse":
        return tool == "Bash"
    return event in ("PostToolUse", "PostToolUseFailure") and tool != "Skill"


def is_irrelevant_call(event: str, tool: str, raw: bytes, batch: "Sidecar", is_intact: bool, owns_batch: bool) -> bool:
    """Return whether a call of a skippable kind needs nothing. `owns_batch`: this client holds the lease; `is_intact`:
    state and copies match the sidecar.
    """
    if not is_intact and (owns_batch or tool in WRITING_TOOLS):
        return False
    if event == "PreToolUse":
        return not needs_analysis(raw)
    return not owns_batch or not (
        batch.remind or (tool == "Bash" and (may_publish(raw) or may_begin_phase(raw, batch.phase)))
    )


def mentions_batch(text: bytes) -> bool:
    """Return whether a shell command (UTF-8) contains a word that `command_policy.check_command` could refuse."""
    # Without quotes, backslashes and line continuations: a shell drops them inside a word.
    if b"\\" in text:
        text = text.replace(b"\\\n", b"").replace(b"\\", b"")
    text = text.replace(b'"', b"").replace(b"'", b"")
    if b".claude" in text or b"batchctl" in text:
        return True
    if b"batch" in text and (
        b"batch_st" in text
        or b"batch_*" in text
        or b"batch*" in text
        or b"batch-implement" in text
        or b"batch_implement" in text
    ):
        return True
    if b"git" in text and (
        b"clean" in text
        or b"stash" in text
        or (b".git" in text and (b"rm " in text or b"mv " in text or b".git/*" in text))
        or b"implement.bi" in text
    ):
        return True
    if b"find" in text and (b"-delete" in text or b"-exec" in text or feeds_command(text, b"find")):
        return True
    if (b"grep -" in text and feeds_command(text, b"grep")) or (b"rg -" in text and feeds_command(text, b"rg")):
        return True
    return b"*" in text and (
        b" .*" in text
        or b"/.*" in text
        or b".c*" in text
        or b".cl*" in text
        or b".g*" in text
        or (b"rm " in text and (b" .?" in text or b" .[" in text))
    )


def feeds_command(text: bytes, program: bytes) -> bool:
    """Return whether a shell command may give the names that `program` prints to a command."""
    return (
        b"xargs" in text
        or b"parallel" in text
        or (b"while" in text and b"read" in text)
        or b"(" + program in text
        or b"`" + program in text
    )


def needs_analysis(raw: bytes) -> bool:
    """Return whether the payload of a PreToolUse hook on Bash may hold a command to refuse. False is certain."""
    # Only the tool input counts: the transcript's path, which every payload has, contains `.claude` too.
    start = raw.find(b'"tool_input"')
    if start >= 0:
        end = raw.rfind(b'"tool_use_id":', start)
        raw = raw[start : end if end > start else len(raw)]
    if b"\\" in raw:
        # Pairs first: a run of backslashes is read from its left, so the remaining one starts an escape. A NUL byte
        # cannot occur in JSON text, so it can replace the escaped backslash meanwhile.
        raw = raw.replace(b"\\\\", b"\0")
        if b"\\u00" in raw and any(b"\\u00" + d in raw for d in (b"0a", b"0A", b"2", b"3", b"4", b"5", b"6", b"7")):
            return True  # ASCII that no common JSON encoder escapes
        raw = raw.replace(b"\\n", b"\n").replace(b"\\", b"").replace(b"\0", b"\\")
    return mentions_batch(raw)


def may_begin_phase(raw: bytes, phase: str) -> bool:
    """Return whether the payload of a Bash call may hold a test run or `git commit` that ends this phase of the open
    feature. False is certain; `phase` is empty without one.
    """
    if phase in ("", "commit", "review", "verify"):
        return False
    start = raw.find(b'"tool_input"')
    end = raw.find(b'"tool_response"', start)
    command = raw[start : end if end > start else len(raw)]
    return (b"commit" in command and b"git" in command) or (phase == "implement" and b"test" in command)


def may_publish(raw: bytes) -> bool:
    """Return whether the payload of a Bash call may hold a `git push` or `gh pr create`. False is certain."""
    return b"push" in raw or b"gh pr" in raw
