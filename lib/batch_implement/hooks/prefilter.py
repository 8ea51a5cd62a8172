"""The guard's first glance at a Bash call: can this command concern the batch at all?

Runs on every Bash call of a live batch, so it imports nothing and parses nothing: a few substring tests on bytes.

    if not worth_a_look(raw): return          # raw is the hook's payload as it came on stdin
    refusal = shellguard.forbidden(command, names)

Guarantee: when `worth_a_look` says False for a payload, `shellguard.forbidden` returns None for the command in it. That
holds by construction: `forbidden` asks `mentions` first, and `worth_a_look` asks the same `mentions` about the same
text, because it undoes exactly the JSON escapes that ASCII text can have. The names of the state are written out here;
they are part of the published layout and do not change between projects.

Nothing here raises, and no input takes more than time linear in its length.
"""


def mentions_batch(text: bytes) -> bool:
    """Say whether a shell command, as UTF-8 bytes, holds a word that `shellguard.forbidden` could object to.

    Quotes, backslashes and line continuations are taken out first: a shell does not see them inside a word.
    """
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
        or (b"stash" in text and b"-a" in text)
        or (b".git" in text and (b"rm " in text or b"mv " in text))
    ):
        return True
    if b"find" in text and (
        b"-delete" in text
        or b"-exec" in text
        or b"xargs" in text
        or b"read" in text
        or b"(find" in text
        or b"`find" in text
    ):
        return True
    return b"*" in text and (
        b" .*" in text
        or b"/.*" in text
        or b".c*" in text
        or b".cl*" in text
        or (b"rm " in text and (b" .?" in text or b" .[" in text))
    )


def needs_analysis(raw: bytes) -> bool:
    """Say whether the payload of a PreToolUse hook on Bash holds a command that deserves a real analysis.

    `raw` is the payload as it came. Only its tool input is looked at: the transcript's path, which every payload has,
    lies in a folder named `.claude` too. A payload without a tool input is looked at as a whole. False is certain, True
    is not.
    """
    start = raw.find(b'"tool_input"')
    if start >= 0:
        end = raw.rfind(b'"tool_use_id":', start)
        raw = raw[start : end if end > start else len(raw)]
    if b"\\" in raw:
        # Pairs first: a run of backslashes is read from its left, so what is left over starts an escape. A NUL byte
        # cannot occur in JSON text, so it can stand for the escaped backslash meanwhile.
        raw = raw.replace(b"\\\\", b"\0")
        if b"\\u00" in raw and any(b"\\u00" + d in raw for d in (b"0a", b"0A", b"2", b"3", b"4", b"5", b"6", b"7")):
            return True  # ASCII that no common writer of JSON escapes
        raw = raw.replace(b"\\n", b"\n").replace(b"\\", b"").replace(b"\0", b"\\")
    return mentions_batch(raw)


def may_publish(raw: bytes) -> bool:
    """Say whether the payload of a Bash call may hold a `git push` or `gh pr create`. False is certain, True is not."""
    return b"push" in raw or b"gh pr" in raw
