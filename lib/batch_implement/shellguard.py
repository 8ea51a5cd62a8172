"""Reads a Bash command line and says whether it plainly touches the state, or gives one of the person's verbs.

    names = Names(verbs=frozenset({"abort", "skip"}), roots=("/home/me/project",), cwd="/home/me/project/docs")
    refusal = forbidden("cd .. && rm .claude/batch_state.json", names)
    if refusal: print(refusal.kind, refusal.what)           # state `rm` on .claude/batch_state.json

`shellreader` reads the text as a shell would and hands over each simple command. Here it is judged by what its name
and its options say that it writes: through `cd`, wrappers such as `sudo` or `xargs`, nested scripts, and code given to
an interpreter, which `scriptguard` reads. `guarded` knows which paths count. Nothing is run, no file is looked at.

Guarantees: no input raises; time grows with the length, and only the first 64 KB are read; whatever is refused has
`rawscan.mentions`. Text that cannot be read (unbalanced quotes, endless nesting) is refused only if a line of it names
the state behind a writing command.

It is made against a confused model, not a hostile one, and prefers a miss to a false alarm: a check after the fact
undoes what gets through. Not seen: scripts and programs in files, links to the state, names put together at run time
(`.cla${x}`, arrays, `read`), other letter case, archives and patches that hold the state, a shell function's arguments.
"""

from __future__ import annotations

import re

from .guarded import ANY, HOME, LONGEST, ROOT, Names
from .rawscan import mentions
from .shellreader import ASSIGNMENT, LIMIT, NOTHING, SPLIT, Shell, Unreadable, bare, operands, printed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, NoReturn, Optional

__all__ = ["Names", "Refusal", "forbidden"]

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "ash"))
_CODE = {"python": "c", "pypy": "c", "node": "ep", "nodejs": "ep", "bun": "ep", "perl": "eE", "ruby": "e", "php": "r"}
# Wrappers: the options that take the next word, and how many words come before the command.
_WRAPPERS: dict[str, tuple[str, int]] = {
    "env": ("-u -C --unset --chdir", 0), "sudo": ("-u -g -h -p -C -D -R -T -U --user --group", 0), "doas": ("-u -C", 0),
    "nohup": ("", 0), "setsid": ("", 0), "command": ("", 0), "builtin": ("", 0), "exec": ("-a", 0),
    "time": ("-f -o", 0), "nice": ("-n", 0), "ionice": ("-c -n", 0), "stdbuf": ("-i -o -e", 0), "busybox": ("", 0),
    "timeout": ("-s -k", 1), "gtimeout": ("-s -k", 1), "flock": ("-w -E", 1), "caffeinate": ("", 0),
    "xargs": ("-I -n -P -L -d -a -s -E --max-args --max-procs --delimiter --arg-file", 0),
}  # fmt: skip
# Writers of each of their operands: the options that take the next word.
_WRITERS: dict[str, str] = {
    "rm": "", "unlink": "", "shred": "-n -s", "truncate": "-s -r", "touch": "-r -d -t", "chmod": "", "chown": "",
    "chgrp": "", "chattr": "", "tee": "", "sponge": "", "trash": "", "ed": "-p", "ex": "-c", "dos2unix": "",
    "patch": "-p -i -d -o", "unzip": "-d -x",
}  # fmt: skip
_COPIERS = {"cp": "-S", "install": "-m -o -g -S", "ln": "-S", "rsync": "-e", "mv": "-S"}
_PACKERS = frozenset(("gzip", "bzip2", "xz", "gunzip"))
_OUTPUT = {"curl": ("-o", "--output"), "wget": ("-O", "--output-document"), "sort": ("-o", "--output")}
_CLI_OPTIONS = "--root --project --state -C"  # of batchctl, with a value


class Refusal:
    """Why a command is refused. `kind`: `state` or `verb`; `what`: the simple command that does it, in a few words."""

    __slots__ = ("kind", "what")

    def __init__(self, kind: str, what: str) -> None:
        self.kind = kind
        self.what = what

    def __repr__(self) -> str:
        return f"Refusal({self.kind!r}, {self.what!r})"


def forbidden(command: str, names: Names) -> Optional[Refusal]:
    """The reason why `command` must not run, or None: it is innocent, or too clever to tell."""
    if not mentions(command.encode("utf-8", "surrogatepass")):
        return None
    text = command[:LIMIT].replace("\0", "").replace(SPLIT, " ")
    judge = _Judge(names)
    try:
        judge.script(text)
    except _Found as found:
        return found.refusal
    except (Unreadable, RecursionError):
        return _by_words(text, names)
    return None


def _by_words(text: str, names: Names) -> Optional[Refusal]:
    """The verdict on text that cannot be read: a line that names the state behind a writing command, without echo."""
    for line in re.sub(r"[\"'\\]", "", text).split("\n"):
        at = line.find(f"{names.folder}/{names.state}")
        if at < 0:
            continue
        before = line[max(0, at - 300) : at]
        writers = r"(?:^|[;&|(`])\s*(?:sudo )?(rm|mv|tee|truncate|shred|unlink|sed -i)\s[^;&|]*$"
        found = re.search(rf"{writers}|(>)\s*$", before)
        if found:
            return Refusal("state", f"`{found.group(1) or found.group(2)}` on {names.folder}/{names.state}")
    return None


class _Found(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.what)
        self.refusal = refusal


def _letters(args: list[str]) -> str:
    """All one-letter options in `args`, in a row."""
    return "".join(a[1:] for a in args if re.fullmatch("-[A-Za-z0-9]+", a))


def _after(args: list[str], options: tuple[str, ...]) -> list[str]:
    """The values of the options: the next word, or what follows an equals sign."""
    values = [v for a, v in zip(args, args[1:]) if a in options]
    return values + [a.split("=", 1)[1] for a in args if "=" in a and a.split("=", 1)[0] in options]


class _Judge(Shell):
    """A shell that only judges its commands. Raises `_Found` at the first that is forbidden."""

    def __init__(self, names: Names) -> None:
        super().__init__(names.cwd)
        self.names = names

    def writes(self, operator: str, path: str) -> None:
        self.check(operator, [path])

    def touches(self, path: str, deep: bool = False) -> bool:
        """Say whether a path names something guarded; with `deep` also a folder that holds it."""
        return self.names.touches(path, self.cwd, deep)

    def check(self, how: str, paths: Iterable[str], deep: bool = False) -> None:
        for path in paths:
            if self.touches(path, deep):
                self.refuse(how, path)

    def refuse(self, how: str, path: str) -> NoReturn:
        shown = path.replace(ROOT + "/", "").replace(ANY, "...")
        raise _Found(Refusal("state", f"`{how}` on {shown[:100]}"))

    def command(self, words: list[str], feed: Optional[str] = None, before: tuple[list[str], str] = NOTHING) -> None:
        """Judge one simple command. `feed` is its here-document, `before` the command and here-document piped to it."""
        at, words = 0, bare(words)
        if words[:1] == ["for"] and words[2:3] == ["in"]:
            guilty = [w for w in words[3:] if self.touches(w, True)]
            self.variables[words[1]] = (guilty + words[3:] + [ANY])[0][:LONGEST]
            return
        while at < len(words):
            assigned = ASSIGNMENT.fullmatch(words[at])
            if not assigned and words[at] not in ("export", "local", "declare", "readonly", "typeset"):
                break
            if assigned:
                self.variables[assigned[1]] = assigned[2] if len(assigned[2]) <= LONGEST else ANY
            at += 1
        if at == len(words):
            return
        name, args = words[at].rsplit("/", 1)[-1], words[at + 1 :]
        text = (feed if feed is not None else before[1]) or printed(before[0])
        self.enter()
        self.spend(16)
        language = re.sub(r"[\d.]+$", "", name)
        if name in _WRAPPERS:
            self.wrapped(name, args, text, before)
        elif name in ("uv", "poetry", "pipenv") and args[:1] == ["run"]:
            self.command(args[1:], feed, before)
        elif name in ("cd", "pushd", "popd"):
            to = (operands(args) or ["-" if name == "popd" or "-" in args else HOME])[0]
            to = ANY if to == "-" else HOME + to[1:] if to[:1] == "~" else to
            self.cwd = to if to[:1] in ("/", ANY) or not self.cwd else f"{self.cwd}/{to}"
            self.cwd = self.cwd if len(self.cwd) < LONGEST else ANY
        elif name == "eval" or name == "trap":
            self.script(" ".join(args if name == "eval" else args[:1]))
        elif name in _SHELLS:
            code = next((i for i, a in enumerate(args) if re.fullmatch("-[a-z]*c", a)), -1)
            if code >= 0:
                given = operands(args[code + 1 :]) or [""]
                self.variables.update((str(i), a[:LONGEST]) for i, a in enumerate(given[1:10]))
                self.script(given[0])
            elif operands(args):
                self.command(operands(args), feed, before)
            else:
                self.script(text)
        elif language in _CODE:
            self.interpreter(name, language, args, text)
        elif name == "batchctl":
            self.verb(args)
        elif name == "git":
            self.git(args)
        elif name == "find":
            self.find(args)
        else:
            self.writer(name, args)
        self.depth -= 1

    def wrapped(self, name: str, args: list[str], text: str, before: tuple[list[str], str]) -> None:
        """Judge what a wrapper runs; for `xargs` with the words that the command before it prints."""
        valued, skip = _WRAPPERS[name][0].split(), _WRAPPERS[name][1]
        at = 0
        while at < len(args) and (args[at][:1] == "-" or skip or ASSIGNMENT.match(args[at])):
            if name == "command" and args[at] in ("-v", "-V"):
                return
            skip -= args[at][:1] != "-" and skip > 0
            at += 2 if args[at] in valued else 1
        inner = args[at:]
        if name == "xargs" and inner:
            if before[0][:1] == ["find"]:
                return self.find([*before[0][1:], "-exec", *inner, "{}", ";"])
            given = operands(before[0][1:]) if before[0][:1] == ["ls"] else text.split()
            mark = next((a[2:] or args[i + 1] for i, a in enumerate(args[:at]) if a[:2] == "-I"), "")
            self.spend(inner.count(mark) * (16 * len(given) + sum(map(len, given))))
            inner = [g for w in inner for g in (given if w == mark else [w])] if mark else inner + given
        self.command(inner, text or None, before)

    def verb(self, args: list[str]) -> None:
        """Judge the arguments of batchctl."""
        verb = (operands(args, _CLI_OPTIONS) or [""])[0]
        if verb in self.names.verbs and not {"--help", "-h"} & set(args):
            raise _Found(Refusal("verb", f"batchctl {verb}"))

    def writer(self, name: str, args: list[str]) -> None:
        """Judge a command that writes, removes or moves files."""
        letters = _letters(args)
        if name in _WRITERS:
            deep = name in ("rm", "trash") and ("r" in letters.lower() or "--recursive" in args or name == "trash")
            self.check(name, operands(args, _WRITERS[name]), deep)
        elif name in _COPIERS:
            into = _after(args, ("-t", "--target-directory"))
            paths = operands(args, _COPIERS[name] + " -t --target-directory")
            sources, target = (paths, into[0]) if into else (paths[:-1], paths[-1] if len(paths) > 1 else "")
            if name == "mv":
                self.check(name, sources, True)
            emptied = name == "rsync" and any(a.startswith("--del") for a in args) and target.strip("./") != ""
            self.check(name, [target], emptied)
            if target and not (name == "ln" and not into and len(paths) < 2):
                ends = (s.rstrip("/").rsplit("/", 1)[-1] for s in sources)
                self.check(name, [f"{target}/{end}" for end in ends if end[:5] == self.names.state[:5]])
        elif name in ("sed", "gsed", "yq"):
            if re.search(r"(?:^| )(?:-[nErsuz]*i|--in-?place)", " ".join(a for a in args if a[:1] == "-")):
                self.check(f"{name} -i", operands(args, "-e -f --expression --file"))
        elif name in ("awk", "gawk") and "inplace" in args:
            self.check(f"{name} -i inplace", operands(args, "-i -v -f"))
        elif name == "dd":
            self.check(name, [a[3:] for a in args if a[:3] == "of="])
        elif name in ("tar", "bsdtar") and args:
            if re.match("-?[A-Za-z]*x", args[0]) or {"--extract", "--remove-files", "-x"} & set(args):
                self.check(name, operands(args, "-f -C --file --directory"), True)
        elif name in _PACKERS and not set(letters) & set("ckltp"):
            self.check(name, operands(args))
        elif name in _OUTPUT:
            self.check(name, _after(args, _OUTPUT[name]))

    def git(self, args: list[str]) -> None:
        """Judge a git command: what removes ignored files, or names the state as a path to restore, remove or move."""
        at, cwd = 0, self.cwd
        while at < len(args) and args[at][:1] == "-":
            if args[at] == "-C":
                self.command(["cd", *args[at + 1 : at + 2]])
            at += 2 if args[at] in ("-C", "-c", "--git-dir", "--work-tree", "--namespace") else 1
        sub, rest = "".join(args[at : at + 1]), args[at + 1 :]
        letters = _letters(rest)
        if sub == "clean" and "x" in letters.lower() and "n" not in letters and "--dry-run" not in rest:
            kept = " ".join(_after(rest, ("-e", "--exclude")))
            if self.names.folder not in kept and self.names.state not in kept:
                self.check("git clean -x", operands(rest, "-e --exclude") or ["."], True)
        elif sub == "stash" and rest[:1] not in (["list"], ["show"], ["apply"], ["pop"], ["drop"]):
            everything = "a" in letters or "--all" in rest
            paths = [] if rest[:1] == ["save"] else operands(rest, "-m --message")[rest[:1] == ["push"] :]
            self.check("git stash", paths or ["."] if everything else paths, everything)
        elif sub in ("checkout", "restore", "mv") or (sub == "rm" and "--cached" not in rest):
            self.check(f"git {sub}", operands(rest, "-b -B -s --source"), sub == "mv")
        self.cwd = cwd

    def find(self, args: list[str]) -> None:
        """Judge what a find does to the guarded things that its tests let through; other joints than `and` pass."""
        starts = (i for i, a in enumerate(args) if a[:1] in ("-", "(", "!") and a not in ("-H", "-L", "-P"))
        first = next(starts, len(args))
        tests = args[first:]
        at = next((i for i, a in enumerate(tests) if a in ("-exec", "-execdir", "-ok", "-delete")), len(tests))
        action = ["rm", "{}"] if tests[at : at + 1] == ["-delete"] else tests[at + 1 :]
        action = action[: next((i for i, a in enumerate(action) if a in (";", "+")), None)]
        tests = tests[:at]
        if not action or {"-o", "-or", "-not", "!", "-prune"} & set(tests):
            return
        loose = {"-mtime", "-mmin", "-size", "-newer", "-empty", "-perm", "-user"} & set(tests)
        kind = "".join(_after(tests, ("-type",)))
        named, paths = _after(tests, ("-name", "-iname")), _after(tests, ("-path", "-wholename"))
        deepest = min((int(d) for d in _after(tests, ("-maxdepth",)) if re.fullmatch("[0-9]{1,3}", d)), default=999)
        if loose and not any(n[:5] == self.names.state[:5] for n in named):
            return
        for root in operands(args[:first]) or ["."]:
            for path in self.names.found(root, self.cwd, named, paths, kind, deepest):
                self.command([path if w == "{}" else w for w in action])

    def interpreter(self, name: str, language: str, args: list[str], text: str) -> None:
        """Judge a call of a scripting language: code given to it, files it edits in place, batchctl's own script."""
        codes: list[str] = []
        at = 0
        while at < len(args) and args[at][:1] == "-" and args[at] not in ("-", "--", "-m"):
            option = args[at]
            if option in ("--eval", "--print") or (option[:2] != "--" and option[-1] in _CODE[language]):
                codes.append("".join(args[at + 1 : at + 2]))
                at += 1
            elif option in ("-W", "-X", "-I", "-r"):
                at += 1
            at += 1
        rest = args[at:]
        if language in ("perl", "ruby") and any(re.match("-[aclnpsw0-9]*i", a) for a in args[:at]):
            self.check(f"{name} -i", rest)
        if not codes and rest and rest[0] != "-":
            script = rest[rest[0] == "-m" :]
            if re.search(r"/batchctl$|\bbatch_implement(?:[./]cli(?:\.py)?)?$", f"{self.cwd}/{''.join(script[:1])}"):
                self.verb(script[1:])
            return
        from . import scriptguard

        argv = rest[rest[:1] == ["-"] :]
        for code in codes or [text]:
            for words in scriptguard.commands(code):
                self.command(words)
            path = scriptguard.written(code, argv, self.names, self.cwd)
            if path:
                self.refuse(f"code for {name}", path)
