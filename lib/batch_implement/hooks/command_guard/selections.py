"""What a search that prints or runs something on many files (`find`, `grep -r`) reaches of `.git` and of the state.

A few files and folders stand for all. A path counts if the patterns of the command take it in and do not leave it out;
of the batch's own files only if there are such patterns. With a test that no pattern decides (`-regex`, `-empty`; for
what removes also times, sizes and users) nothing counts: better a miss than a false alarm. Nothing here raises.
"""

from __future__ import annotations

import re

from ..shell_parser import get_operands, get_option_letters, get_option_values
from .protected_paths import WALK, covers, glob_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .protected_paths import ProtectedNames

FOLDERS = [".git", ".git/batch-implement", ".claude"]
GIT = [".git/index", ".git/HEAD", ".git/config", ".git"]  # files first: one of them may stand for all
OWN = [".claude/batch_state.json", ".git/batch-implement/sidecar", ".git/batch-implement", ".claude"]
_NEVER = frozenset(("-regex", "-iregex", "-empty", "-quit", "-samefile", "-inum"))
_UNDECIDED = re.compile(r"-(?:[acm](?:min|time)|newer\w*|perm|size|user|group|no(?:user|group)|links)")
_REMOVERS = frozenset(("rm", "mv", "unlink", "shred", "trash", "gzip", "bzip2", "xz"))


def select_by_find(args: list[str], names: ProtectedNames, cwd: str) -> tuple[list[str], list[list[str]]]:
    """Return the paths, below `WALK`, that a find prints, and the commands that it runs."""
    begins = (i for i, a in enumerate(args) if a[:1] in ("-", "(", "!") and a not in ("-H", "-L", "-P"))
    at = next(begins, len(args))
    starts, words = [a for a in args[:at] if a[:1] != "-"], args[at:]
    wanted: list[tuple[str, str]] = []  # patterns: the test, and the glob
    unwanted: list[tuple[str, str]] = []
    recent: list[tuple[str, str]] = []  # since the last alternative
    pruned: list[tuple[str, str]] = []
    runs: list[list[str]] = []
    kinds, low, high, negated, brackets = "", 0, 999, False, [False]
    for i, (word, value) in enumerate(zip(words, [*words[1:], ""])):
        if word in ("!", "-not"):
            negated = not negated
            continue
        if word == "(":
            brackets.append(brackets[-1] != negated)
        elif word == ")":
            brackets = brackets[:-1] or [False]
        elif word in ("-o", "-or", ",") and len(brackets) == 1:
            unwanted += pruned
            wanted = [pattern for pattern in wanted if pattern not in pruned] if pruned else wanted
            kinds, recent, pruned = "", [], []
        elif re.fullmatch("-i?(?:name|path|wholename)", word):
            test = "name" if word in ("-name", "-iname") else "path"
            (unwanted if negated != brackets[-1] else wanted).append((test, value))
            recent += [(test, value), ("path", f"{value}/*" if test == "path" else f"*/{value}/*")]
        elif word == "-prune":
            pruned = recent
            unwanted += recent * brackets[-1]
        elif word in ("-type", "-xtype"):
            kinds += "fd".replace(value, "") if negated else value
        elif word in ("-mindepth", "-maxdepth") and value.isdecimal():
            low, high = (int(value[:3]), high) if word == "-mindepth" else (low, int(value[:3]))
        elif word in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next((j for j in range(i, len(words)) if words[j] in (";", "+")), len(words))
            runs.append(words[i + 1 : end])
        elif word == "-delete":
            runs.append(["rm", "{}"])
        negated = False
    prints = {"-print", "-print0", "-printf"} & set(words) or not runs
    if any(map(_UNDECIDED.fullmatch, words)):
        prints, runs = False, [run for run in runs if run and run[0].rsplit("/", 1)[-1] not in _REMOVERS]
    paths: list[str] = []
    for start in dict.fromkeys(starts or ["."]) if not _NEVER & set(words) else ():
        place = names.locate(start, cwd)
        above = place[1] if place and place[0] else ["elsewhere"]
        is_own = {".claude", "batch-implement"} & {*above} or any(re.search(r"\w", glob) for _, glob in wanted)
        for path in GIT + OWN * bool(is_own):
            parts = path.split("/")
            shown = {"name": parts[-1], "path": "/".join([start.rstrip("/"), *parts[len(above) :]])}
            passed = {test for test, glob in wanted if glob_matches(glob, shown[test])}
            if (
                len(above) <= len(parts) and covers(above, parts) and low <= len(parts) - len(above) <= high
                and (not kinds or ("d" if path in FOLDERS else "f") in kinds) and passed == {test for test, _ in wanted}
                and not any(glob_matches(glob, shown[test]) for test, glob in unwanted)
            ):  # fmt: skip
                paths.append(f"{WALK}/{path}")
    return paths if prints else [], [[w.replace("{}", path) for w in run] for run in runs for path in paths]


def select_by_grep(name: str, args: list[str], names: ProtectedNames, cwd: str) -> list[str]:
    """Return the paths, below `WALK`, that a recursive grep or rg prints; empty for another one."""
    letters = get_option_letters(args).lower()
    enters = "--hidden" in args or letters.count("u") > 1 if name == "rg" else "r" in letters or "--recursive" in args
    if not enters:
        return []
    paths = get_operands(args, "-e -f -A -B -C -m -g -t --glob --include --exclude --exclude-dir --type")
    globs = get_option_values(args, ("--include", "--glob", "-g", "-t", "--type"))
    excluded = get_option_values(args, ("--exclude", "--exclude-dir")) + [g[1:] for g in globs if g[:1] == "!"]
    find = [*(paths if {"-e", "-f"} & set(args) else paths[1:]), "-type", "f"]
    for test in [["-name", glob] for glob in globs if glob[:1] != "!"]:
        find += test
    for glob in excluded:
        find += ["!", "-name", glob, "!", "-path", f"*/{re.sub('/[*]*$', '', glob)}/*"]
    return select_by_find(find, names, cwd)[0]
