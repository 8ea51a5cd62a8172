"""The commands that a `find` runs on protected paths.

    split_arguments([".", "-name", "*.json", "-delete"])  # (['.'], ['-name', '*.json', '-delete'])
    find_run_commands(".", ["-name", "*.json", "-delete"], names, "")  # [['rm', '/\\0root/.claude/batch_state.json']]
    find_run_commands(".", ["-name", "batch_*"], names, "")  # [['echo', '/\\0root/.claude/batch_state.json']]

The expression is evaluated as find does it, with brackets, `-o`, `!` and `-prune`, for each protected path and each
folder on the way to it, as if all of them existed. A printed path is a command `echo`.

A test that only the file system can answer (`-mtime`, `-regex`, whether an `-exec` succeeds) has an unknown result. A
command that depends on it is left out unless the expression names the state: better a miss than a false alarm.

Nothing here raises or runs anything; time is linear in the length of the expression.
"""

from __future__ import annotations

import re

from .protected_paths import glob_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

    from .protected_paths import ProtectedNames

_RUNNING = ("-exec", "-execdir", "-ok", "-okdir")
_PRINTING = ("-print", "-print0", "-printf", "-ls")
# Words of an expression that test nothing, and all those that take no argument.
_ALWAYS = frozenset((
    "-true", "-depth", "-d", "-xdev", "-mount", "-daystart", "-follow", "-noleaf", "-regextype", "-maxdepth",
    "-mindepth", "-warn", "-nowarn", "-fprint", "-fprint0", "-fprintf", "-fls", "-quit", "-ignore_readdir_race",
))  # fmt: skip
_ALONE = frozenset((
    "-true", "-depth", "-d", "-xdev", "-mount", "-daystart", "-follow", "-noleaf", "-warn", "-nowarn", "-quit",
    "-ignore_readdir_race", "-false", "-empty", "-executable", "-readable", "-writable", "-nouser", "-nogroup",
    "-print", "-print0", "-ls", "-prune", "-delete",
))  # fmt: skip


def split_arguments(args: list[str]) -> tuple[list[str], list[str]]:
    """Return the folders that a find starts from, each once, and its expression."""
    begins = (i for i, a in enumerate(args) if a[:1] in ("-", "(", "!") and a not in ("-H", "-L", "-P"))
    at = next(begins, len(args))
    return list(dict.fromkeys(a for a in args[:at] if a[:1] != "-")) or ["."], args[at:]


def find_run_commands(start: str, expression: list[str], names: ProtectedNames, cwd: str) -> list[list[str]]:
    """Return the commands, as words, that a find from `start` in `cwd` runs on protected paths and their folders."""
    pairs = list(zip(expression, expression[1:]))
    lowest, deepest = _get_depth(pairs, "-mindepth", 0), _get_depth(pairs, "-maxdepth", 999)
    state = names.state
    loose = any(
        (a in ("-name", "-iname") and b.startswith(state[:5])) or (a in ("-regex", "-iregex") and state[:8] in b)
        for a, b in pairs
    )
    found: list[list[str]] = []
    for way in names.find_ways_down(start, cwd):
        for depth, path, shown, kind in way:
            if lowest <= depth <= deepest:
                runs, pruned = _evaluate(expression, path, shown, kind, loose)
                found += runs
                if pruned:
                    break
    return found


def _get_depth(pairs: list[tuple[str, str]], option: str, default: int) -> int:
    return next((int(b) for a, b in pairs if a == option and re.fullmatch("[0-9]{1,3}", b)), default)


def _evaluate(words: list[str], path: str, shown: str, kind: str, loose: bool) -> tuple[list[list[str]], bool]:
    """Return the commands that an expression runs on one path, and whether the path is pruned."""
    runs: list[list[str]] = []
    prints = not {"-delete", *_RUNNING, *_PRINTING} & set(words)
    pruned, at = False, 0
    # Results are None if unknown. `other` is the result of the alternatives before the last -o, `chain` that of the
    # tests since; `outside` tells whether this bracket is reached, `brackets` keeps the enclosing ones.
    other: Optional[bool] = False
    chain: Optional[bool] = True
    outside: Optional[bool] = True
    negated = False
    brackets: list[tuple[Optional[bool], Optional[bool], Optional[bool], bool]] = []
    while at < len(words):
        word = words[at]
        at += 1
        reached = _and(outside, _and(chain, _not(other)))
        value: Optional[bool] = True
        if word in ("-o", "-or"):
            other, chain = _or(other, chain), True
            continue
        if word in ("!", "-not"):
            negated = not negated
            continue
        if word == "(":
            brackets.append((other, chain, outside, negated))
            other, chain, outside, negated = False, True, reached, False
            continue
        if word in ("-a", "-and"):
            continue
        if word == ")":
            value = _or(other, chain)
            if brackets:
                other, chain, outside, negated = brackets.pop()
        elif word in _RUNNING:
            end = next((i for i in range(at, len(words)) if words[i] in (";", "+")), len(words))
            if reached or (reached is None and loose):
                runs.append([w.replace("{}", path) for w in words[at:end]])
            value = True if words[end : end + 1] == ["+"] else None
            at = end + 1
        elif word == "-delete" or word in _PRINTING:
            if reached or (reached is None and loose):
                runs.append(["rm" if word == "-delete" else "echo", path])
            at += word == "-printf"
        elif word == "-prune":
            pruned = pruned or bool(reached)
        else:
            value = _passes(word, "".join(words[at : at + 1]), path, shown, kind) if reached is not False else None
            at += word not in _ALONE
        chain = _and(chain, _not(value) if negated else value)
        negated = False
    whole = _or(other, chain)
    if prints and (whole or (whole is None and loose)):
        runs.append(["echo", path])
    return runs, pruned


def _passes(test: str, argument: str, path: str, shown: str, kind: str) -> Optional[bool]:
    """Return whether a path passes a test; None if only the file system can tell."""
    if test in ("-name", "-iname"):
        return glob_matches(argument.lower() if test == "-iname" else argument, path.rsplit("/", 1)[-1])
    if test in ("-path", "-ipath", "-wholename", "-iwholename"):
        return glob_matches(argument, shown)
    if test in ("-type", "-xtype"):
        return kind in argument.split(",")
    if test in ("-false", "-empty"):
        return False
    return True if test in _ALWAYS else None


def _and(one: Optional[bool], two: Optional[bool]) -> Optional[bool]:
    return False if one is False or two is False else None if one is None or two is None else True


def _or(one: Optional[bool], two: Optional[bool]) -> Optional[bool]:
    return _not(_and(_not(one), _not(two)))


def _not(value: Optional[bool]) -> Optional[bool]:
    return None if value is None else not value
