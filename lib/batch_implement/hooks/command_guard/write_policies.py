"""A table of policies: what common commands write, remove or move, by their names, options and operands.

    list(find_writes("rm", ["-r", "build"]))         # [('rm', 'build', True)]: with everything in it
    list(find_writes("sed", ["-i", "s/a/b/", "x"]))  # [('sed -i', 's/a/b/', False), ('sed -i', 'x', False)]
    list(find_writes("cat", ["x"]))                  # []: it only reads

A path is spelled as in the command and may be a word that is not a path. Nothing here raises or runs anything.
"""

from __future__ import annotations

import re

from ..shell_parser import get_operands, get_option_letters, get_option_values, skip_git_options
from .protected_paths import resolve_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator


def find_writes(name: str, args: list[str]) -> Iterator[tuple[str, str, bool]]:
    """Yield how, which path, and whether with all that is in it the command writes; nothing for an unknown command."""
    how, base = name, ""
    if name == "git":
        rest = skip_git_options(args)
        for folder in get_option_values(args[: len(args) - len(rest)], ("-C",)):
            base = resolve_from(base, folder)
        args = rest
        how, args = " ".join(["git", *args[:1]]), args[1:]
    elif name in ("tar", "bsdtar", "unzip"):
        base = "".join(get_option_values(args, ("-C", "--directory", "-d"))[:1])
    if how in POLICIES:
        policy, valued, harmless, deep = POLICIES[how]
        letters = set(get_option_letters(args))
        if any(w in args or (w[0] != "-" and letters & {*w}) for w in harmless.split()):
            return
        is_deep = deep == "*" or bool(letters & {*deep}) or bool({"--recursive", "--all"} & {*args})
        for path in policy(args, valued):
            yield f"{how} -i" if policy is _edited else how, resolve_from(base, path), is_deep
        if name == "mv":
            yield from ((name, path, False) for path in _copied(args, valued))


def _edited(args: list[str], valued: str) -> list[str]:
    """Return the operands if an option says that they are edited in place; what awk's program redirects to."""
    is_edited = any(re.match("-[aclnpsruzE0-9]*i|--in-?place|--write|inplace$", a) for a in args)
    redirected = [path for a in args for path in re.findall(r'^[^>]*\{.*>\s*"([^"]+)"', a)]
    return (get_operands(args, valued) if is_edited else []) + redirected


def _copied(args: list[str], valued: str) -> list[str]:
    """Return the target of a copy, and what is written in it if it is a folder."""
    into = get_option_values(args, ("-t", "--target-directory"))
    paths = get_operands(args, valued)
    sources, target = (paths, into[0]) if into else (paths[:-1], paths[-1] if len(paths) > 1 else "")
    ends = [source.rstrip("/").rsplit("/", 1)[-1] for source in sources if target]
    emptied = ["*" for a in args if a.startswith("--del") and target.strip("./")]
    return [target, *(f"{target}/{end}" for end in ends + emptied if end[:6] in ("batch_", "*"))]


def _moved(args: list[str], valued: str) -> list[str]:
    return get_operands(args, valued)[: None if get_option_values(args, ("-t", "--target-directory")) else -1]


def _unpacked(args: list[str], valued: str) -> list[str]:
    is_unpacked = re.match("-?[A-Za-z]*x", "".join(args[:1])) or {"--extract", "--remove-files", "-x"} & set(args)
    return get_operands(args, valued) if is_unpacked else []


def _output(args: list[str], valued: str) -> list[str]:
    """Return the values of an output option: a letter, alone or behind others, and its long form; dd's `of=`."""
    near = (re.fullmatch(f"-[A-Za-z]*?{valued[0]}(.*)|of=(.+)", a) for a in args)
    paths = [match[1] or match[2] or after for match, after in zip(near, [*args[1:], ""]) if match]
    return paths + get_option_values(args, (valued[2:],))


def _cleaned(args: list[str], valued: str) -> list[str]:
    excluded = " ".join(get_option_values(args, ("-e", "--exclude")))
    is_kept = re.search("claude|batch", excluded) or "x" not in get_option_letters(args).lower()
    return [] if is_kept else get_operands(args, valued) or ["."]


def _stashed(args: list[str], valued: str) -> list[str]:
    paths = get_operands(args, valued)
    if paths[:1] in (["list"], ["show"], ["apply"], ["pop"], ["drop"]):
        return []
    ignored_too = "a" in get_option_letters(args) or "--all" in args
    return paths[1:] if paths[:1] == ["push"] and paths[1:] else ["."] * ignored_too


def is_stash_change(args: list[str]) -> bool:
    """Return whether `git` with these arguments changes the list of stashes, or what it is taken from."""
    words = skip_git_options(args)
    if words[:1] != ["stash"] or {"-h", "--help"} & set(words):
        return False
    return words[1:2] not in (["list"], ["show"], ["create"])


KEEPS_CONTENT = frozenset(("touch", "chmod", "chown", "chgrp", "chattr", "dos2unix", "ln"))
# Commands with what they write, the options that take the next word, the options and letters with which they write
# nothing, and the letters with which they write everything in a folder (* always).
_ROWS: tuple[tuple[str, Callable[[list[str], str], list[str]], str, str, str], ...] = (
    ("rm", get_operands, "", "", "rR"),
    ("trash,rimraf,git mv", get_operands, "", "", "*"),
    ("unlink,chmod,chown,chgrp,chattr,dos2unix,tee,sponge,nano", get_operands, "", "", ""),
    ("shred,truncate,touch,ed,ex,patch", get_operands, "-n -s -r -d -t -p -c -i -o", "", ""),
    ("git checkout,git restore", get_operands, "-b -B -s --source", "", ""),
    ("git rm", get_operands, "", "--cached", ""),
    ("vi,vim,nvim", get_operands, "-c -S -u --cmd", "R", ""),
    ("gzip,gunzip,bzip2,xz", get_operands, "", "ckltp", ""),
    ("unzip", get_operands, "-d -x", "lptvzZ", ""),
    ("sed,gsed,yq,jaq,prettier", _edited, "-e -f --expression --file", "", ""),
    ("perl,ruby,awk,gawk", _edited, "-e -E -I -v -f", "", ""),
    ("cp,ln,install,rsync", _copied, "-S -m -o -g -e -t --target-directory", "", ""),
    ("mv", _moved, "-S -t --target-directory", "", "*"),
    ("tar,bsdtar", _unpacked, "-f -C --file --directory", "", "*"),
    ("curl,sort,dd", _output, "o --output", "", ""),
    ("wget", _output, "O --output-document", "", ""),
    ("git clean", _cleaned, "-e --exclude", "n --dry-run", "*"),
    ("git stash", _stashed, "-m --message", "", "a"),
)
POLICIES = {name: row[1:] for row in _ROWS for name in row[0].split(",")}
