"""Reads a Bash command line and says whether it plainly touches the state, or gives one of the person's verbs.

    names = Names(verbs=frozenset({"abort", "skip"}), roots=("/home/me/project",), cwd="/home/me/project/docs")
    refusal = forbidden("cd .. && rm .claude/batch_state.json", names)
    if refusal: print(refusal.kind, refusal.what)           # state `rm` on .claude/batch_state.json

The text is read once, left to right, as a shell would: quotes, variables that it sets itself, substitutions,
here-documents, `cd`, wrappers such as `sudo` or `xargs`, and code given to an interpreter. Each simple command is
judged as soon as it is complete. Nothing is run, no file is looked at.

Guarantees: no input raises; time grows with the length, and only the first 64 KB are read; whatever is refused has
`rawscan.mentions`. Text that cannot be read (unbalanced quotes, endless nesting) is refused only if a line of it names
the state behind a writing command.

It is made against a confused model, not a hostile one, and prefers a miss to a false alarm: a check after the fact
undoes what gets through. Not seen: scripts and programs in files, links to the state, names put together at run time
(`.cla${x}`, arrays, `read`), other letter case, archives and patches that hold the state, a shell function's arguments.
"""

from __future__ import annotations

import re

from .rawscan import mentions

TYPE_CHECKING = False  # `typing` costs a hook more than the work it does
if TYPE_CHECKING:
    from typing import Iterable, NoReturn, Optional

_LIMIT = 64 * 1024  # characters read, and an eighth of what may be read again through variables and nested scripts
_DEPTH = 24  # substitutions and scripts inside one another
_ANY = "\0"  # stands for text that is not known; NUL cannot occur in a shell word
_SPLIT = "\x1f"  # where an unquoted expansion falls apart into words
_ROOT, _HOME, _TEMP = "/\0root", "/\0home", "/\0temp"  # places that are known without a name

_BLANKS = re.compile(r"(?:[ \t\r]|\\\n)*")
_PLAIN = re.compile(r"[^ \t\r\n\"'\\$`()<>|&;{,]+")
_DOUBLE = re.compile(r"[^\"\\$`]+")
_BACKQUOTED = re.compile(r"`((?:[^`\\]|\\.)*)`", re.S)
_ANSI = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.S)
_PARAMETER = re.compile(r"\$(?:(\w+)|\{(\w+)\}|\{\w+:?[-=]([^}$`\"'\n]*)\}|[@*#?$!-])")
_REDIRECT = re.compile(r"&>>?|>>|>\||>&|<<<|<<-?|<>|<&|[<>]")
_DESCRIPTOR = re.compile(r"(?:\d+|\{\w+\})(?=[<>])")
_DELIMITER = re.compile(r"[ \t]*(?:'([^'\n]*)'|\"([^\"\n]*)\"|(\\?)([^\s;&|<>()'\"`]+))")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=(.*)", re.S)

_KEYWORDS = frozenset(("if", "then", "else", "elif", "do", "while", "until", "!", "{", "}", "coproc"))
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

# Writing calls in the usual scripting languages, and which argument they write to.
_FIRST = (
    "remove unlink rmtree removedirs rmdir truncate chmod utime writeFile appendFile rm rm_r rm_f rm_rf "
    "createWriteStream outputFile file_put_contents writeTextFile write delete touch"
)
_BOTH = "rename renames replace move mv"
_SECOND = "copy copy2 copyfile copyFile cp link symlink"
_ARGUMENTS = {n: at for names, at in ((_FIRST, (0,)), (_BOTH, (0, 1)), (_SECOND, (1,))) for n in names.split()}
_MODULE = r"\b(?:os|shutil|fs|fsp|promises|io|codecs|File|FileUtils|IO|Bun|Deno)\."
_FUNCTION = re.compile(
    rf"(?:{_MODULE}|(?:(?<![\w$.])|(?<=\)\.))(?!(?:replace|write|delete|touch)\b))"
    rf"({'|'.join(sorted(_ARGUMENTS, key=len, reverse=True))})(?:Sync)?(?:\s*\(|\s+(?=['\"$]))"
)
_METHOD = re.compile(r"\.(write_text|write_bytes|unlink|touch|rename|replace|symlink_to|hardlink_to|chmod|open)\s*\(")
_OPEN = re.compile(rf"(?:{_MODULE}|(?<![\w$.])|(?<=\)\.))open(?:Sync)?[\s(]")
_RUN = re.compile(
    r"\b(?:system|popen|Popen|run|call|check_call|check_output|getoutput|exec(?:File)?(?:Sync)?|spawn(?:Sync)?)[\s(]"
)
_LITERAL = re.compile(r"'((?:[^'\\\n]|\\.){0,400})'|\"((?:[^\"\\\n]|\\.){0,400})\"|`([^`\n]{0,400})`")
_STEP = re.compile(rf"{_LITERAL.pattern}|[()\[\]{{}},;]")
_ASSIGNED = re.compile(r"(?<![\w.])[$@]?(\w{1,60})\s*=(?!=)\s*([^;\n]{1,200})")
_MODE = re.compile(
    r"\s*(?:mode\s*=\s*)?['\"](?:[rbt]*[wax][bt+]*|[rbt]*\+[bt]*)['\"]|.*O_(?:WRONLY|RDWR|TRUNC|CREAT)", re.S
)


class Refusal:
    """Why a command is refused. `kind`: `state` or `verb`; `what`: the simple command that does it, in a few words."""

    __slots__ = ("kind", "what")

    def __init__(self, kind: str, what: str) -> None:
        self.kind = kind
        self.what = what

    def __repr__(self) -> str:
        return f"Refusal({self.kind!r}, {self.what!r})"


class Names:
    """What is guarded, and from where paths are read.

    `verbs` are refused after `batchctl`. `private` are further path endings, or absolute paths; one with a slash at its
    end is a folder with all in it. `roots` are absolute spellings of the project's root and `cwd` the absolute folder
    the command starts in; without roots any absolute path with the right ending counts, without `cwd` it is the root.
    """

    __slots__ = ("cwd", "folder", "roots", "state", "targets", "verbs")

    def __init__(
        self,
        verbs: frozenset[str],
        *,
        state: str = "batch_state.json",
        folder: str = ".claude",
        private: tuple[str, ...] = (
            ".claude/batch_state.json.tmp", ".claude/batch-implement/", ".git/batch-implement/"
        ),
        roots: tuple[str, ...] = (),
        cwd: str = "",
    ) -> None:  # fmt: skip
        self.verbs = verbs
        self.state = state
        self.folder = folder
        self.roots = tuple(tuple(_segments(root)) for root in roots)
        self.cwd = cwd
        self.targets: list[tuple[tuple[str, ...], bool, bool]] = [((folder, state), False, False)]
        self.targets += [(tuple(_segments(p)), p.endswith("/"), p.startswith("/")) for p in private]


def forbidden(command: str, names: Names) -> Optional[Refusal]:
    """The reason why `command` must not run, or None: it is innocent, or too clever to tell."""
    if not mentions(command.encode("utf-8", "surrogatepass")):
        return None
    text = command[:_LIMIT].replace("\0", "").replace(_SPLIT, " ")
    judge = _Judge(names)
    try:
        judge.script(text)
    except _Found as found:
        return found.refusal
    except (_Unreadable, RecursionError):
        return _by_words(text, names)
    return None


def _by_words(text: str, names: Names) -> Optional[Refusal]:
    """The verdict on text that cannot be read: a line that names the state behind a writing command, without echo."""
    bare = re.sub(r"[\"'\\]", "", text)
    for line in bare.split("\n"):
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


class _Unreadable(Exception):
    """The text is not a shell script, or too much of one."""


def _segments(path: str) -> list[str]:
    """The parts of a path, without empty ones and `.`, and with `..` taken back as far as the path itself goes."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] not in ("..", _ANY):
            parts.pop()
        elif part not in ("", ".") and not (part == ".." and path.startswith("/")):
            parts.append(part)
    return parts


def _fits(pattern: str, name: str) -> bool:
    """Say whether a glob fits all of `name`; `[...]` counts as `?`. Takes at most their lengths multiplied."""
    if pattern == name or len(pattern) > 200 or not any(c in pattern for c in "*?["):
        return pattern == name
    ends = {0}
    for c in re.sub(r"\[[^]]+\]", "?", pattern):
        if c == "*":
            ends = set(range(min(ends), len(name) + 1)) if ends else ends
        else:
            ends = {e + 1 for e in ends if e < len(name) and c in ("?", name[e])}
    return len(name) in ends


def _covers(parts: list[str], target: tuple[str, ...]) -> bool:
    """Say whether each part, as far as there are parts, fits the target's; a hidden name needs a written dot."""
    return all(p == t or ((t[0] != "." or p[0] == ".") and _fits(p, t)) for p, t in zip(parts, target))


def _bare(words: list[str]) -> list[str]:
    """A simple command without the keywords before it."""
    start = next((i for i, w in enumerate(words) if w not in _KEYWORDS), len(words))
    return words[start:] if start else words


def _operands(args: list[str], valued: str = "") -> list[str]:
    """The words of `args` that are no options and no values of the options listed in `valued`."""
    found: list[str] = []
    takes, skip = valued.split(), False
    for at, arg in enumerate(args):
        if skip:
            skip = False
        elif arg == "--":
            return found + args[at + 1 :]
        elif arg[:1] == "-" and arg != "-":
            skip = arg in takes
        else:
            found.append(arg)
    return found


def _letters(args: list[str]) -> str:
    """All one-letter options in `args`, in a row."""
    return "".join(a[1:] for a in args if re.fullmatch("-[A-Za-z0-9]+", a))


def _after(args: list[str], options: tuple[str, ...]) -> list[str]:
    """The values of the options: the next word, or what follows an equals sign."""
    values = [v for a, v in zip(args, args[1:]) if a in options]
    return values + [a.split("=", 1)[1] for a in args if "=" in a and a.split("=", 1)[0] in options]


class _Judge:
    """What is known while the commands go by: the folder, the variables, the work done. Raises `_Found`."""

    def __init__(self, names: Names) -> None:
        self.names = names
        self.cwd = names.cwd
        self.variables: dict[str, str] = {}
        self.spent = self.depth = 0

    def spend(self, characters: int) -> None:
        self.spent += characters
        if self.spent > 8 * _LIMIT:
            raise _Unreadable

    def script(self, text: str) -> None:
        """Judge a whole script; its `cd` ends with it."""
        self.spend(len(text))
        cwd = self.cwd
        _Reader(self, text).run()
        self.cwd = cwd

    def value(self, name: str) -> str:
        """The value of a variable as far as it is known."""
        value = self.variables.get(name)
        if value is None:
            if name == "PWD":
                return self.cwd if self.cwd.startswith("/") else f"{_ROOT}/{self.cwd}"
            if name in ("CLAUDE_PROJECT_DIR", "BATCH_IMPLEMENT_ROOT"):
                return _ROOT
            return _HOME if name == "HOME" else _TEMP if re.search("te?mp", name, re.I) else _ANY
        self.spend(len(value))
        return value

    def place(self, path: str) -> Optional[tuple[bool, list[str]]]:
        """Where a path lies: (True, parts below the root), (False, parts below some folder), or None: elsewhere."""
        if path[:1] == "~":
            if path[1:2] not in ("", "/"):
                return None
            path = _HOME + path[1:]
        elif path[:1] not in ("/", _ANY) and self.cwd:
            path = f"{self.cwd}/{path}"
        parts = _segments(path)
        if path[:1] != "/":
            known = parts[:1] not in ([".."], [_ANY])
            return known, [p for p in parts if known or p not in ("..", _ANY)]
        if parts[:1] == [_ROOT[1:]]:
            return True, parts[1:]
        if parts[:1] == [_HOME[1:]]:
            parts = parts[1:]
            if parts[:1] in ([], [self.names.folder]):
                return None
            tails = (n for root in self.names.roots for n in range(1, len(root)) if list(root[-n:]) == parts[:n])
            below = next(tails, 0)
            return (bool(below), parts[below:]) if below or not self.names.roots else None
        if parts[:1] == [_TEMP[1:]]:
            return None
        for root in self.names.roots:
            if all(a == b for a, b in zip(parts, root)):
                return True, parts[len(root) :]
        return None if self.names.roots else (False, parts)

    def touches(self, path: str, deep: bool = False) -> bool:
        """Say whether `path` names something guarded; with `deep` also a folder that holds it."""
        if not path or len(path) > 4096:
            return False
        place = self.place(path)
        for target, folder, absolute in self.names.targets:
            size = len(target)
            if absolute:
                parts, starts = _segments(path if path[0] == "/" else f"{self.cwd}/{path}"), range(1)
            elif place is None:
                continue
            else:
                parts, starts = place[1], range(1) if place[0] else range(len(place[1]))
            for start in starts:
                length = len(parts) - start
                if length >= size if folder else length == size:
                    if _covers(parts[start : start + size], target):
                        return True
                elif deep and place and not absolute and length < size:
                    holds = _covers(parts, target) if place[0] else parts[start:] == [self.names.folder]
                    if holds:
                        return True
        return False

    def check(self, how: str, paths: Iterable[str], deep: bool = False) -> None:
        for path in paths:
            if self.touches(path, deep):
                self.refuse(how, path)

    def refuse(self, how: str, path: str) -> NoReturn:
        shown = path.replace(_ROOT + "/", "").replace(_ANY, "...")
        raise _Found(Refusal("state", f"`{how}` on {shown[:100]}"))

    def command(self, words: list[str], feed: Optional[str] = None, before: tuple[list[str], str] = ([], "")) -> None:
        """Judge one simple command. `feed` is its here-document, `before` the command and here-document piped to it."""
        at, words = 0, _bare(words)
        if words[:1] == ["for"] and words[2:3] == ["in"]:
            guilty = [w for w in words[3:] if self.touches(w, True)]
            self.variables[words[1]] = (guilty + words[3:] + [_ANY])[0][:4096]
            return
        while at < len(words):
            assigned = _ASSIGNMENT.fullmatch(words[at])
            if not assigned and words[at] not in ("export", "local", "declare", "readonly", "typeset"):
                break
            if assigned:
                self.variables[assigned[1]] = assigned[2] if len(assigned[2]) <= 4096 else _ANY
            at += 1
        if at == len(words):
            return
        name, args = words[at].rsplit("/", 1)[-1], words[at + 1 :]
        text = feed if feed is not None else before[1]
        if not text and before[0][:1] in (["echo"], ["printf"]):
            text = " ".join(_operands(before[0][1:]))
        self.depth += 1
        if self.depth > _DEPTH:
            raise _Unreadable
        self.spend(16)
        language = re.sub(r"[\d.]+$", "", name)
        if name in _WRAPPERS:
            self.wrapped(name, args, text, before)
        elif name in ("uv", "poetry", "pipenv") and args[:1] == ["run"]:
            self.command(args[1:], feed, before)
        elif name in ("cd", "pushd", "popd"):
            to = (_operands(args) or ["-" if name == "popd" or "-" in args else _HOME])[0]
            to = _ANY if to == "-" else _HOME + to[1:] if to[:1] == "~" else to
            self.cwd = to if to[:1] in ("/", _ANY) or not self.cwd else f"{self.cwd}/{to}"
            self.cwd = self.cwd if len(self.cwd) < 4096 else _ANY
        elif name == "eval" or name == "trap":
            self.script(" ".join(args if name == "eval" else args[:1]))
        elif name in _SHELLS:
            code = next((i for i, a in enumerate(args) if re.fullmatch("-[a-z]*c", a)), -1)
            if code >= 0:
                given = _operands(args[code + 1 :]) or [""]
                self.variables.update((str(i), a[:4096]) for i, a in enumerate(given[1:10]))
                self.script(given[0])
            elif _operands(args):
                self.command(_operands(args), feed, before)
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
        while at < len(args) and (args[at][:1] == "-" or skip or _ASSIGNMENT.match(args[at])):
            if name == "command" and args[at] in ("-v", "-V"):
                return
            skip -= args[at][:1] != "-" and skip > 0
            at += 2 if args[at] in valued else 1
        inner = args[at:]
        if name == "xargs" and inner:
            if before[0][:1] == ["find"]:
                return self.find([*before[0][1:], "-exec", *inner, "{}", ";"])
            given = _operands(before[0][1:]) if before[0][:1] == ["ls"] else text.split()
            mark = next((a[2:] or args[i + 1] for i, a in enumerate(args[:at]) if a[:2] == "-I"), "")
            self.spend(inner.count(mark) * (16 * len(given) + sum(map(len, given))))
            inner = [g for w in inner for g in (given if w == mark else [w])] if mark else inner + given
        self.command(inner, text or None, before)

    def verb(self, args: list[str]) -> None:
        """Judge the arguments of batchctl."""
        verb = (_operands(args, _CLI_OPTIONS) or [""])[0]
        if verb in self.names.verbs and not {"--help", "-h"} & set(args):
            raise _Found(Refusal("verb", f"batchctl {verb}"))

    def writer(self, name: str, args: list[str]) -> None:
        """Judge a command that writes, removes or moves files."""
        letters = _letters(args)
        if name in _WRITERS:
            deep = name in ("rm", "trash") and ("r" in letters.lower() or "--recursive" in args or name == "trash")
            self.check(name, _operands(args, _WRITERS[name]), deep)
        elif name in _COPIERS:
            into = _after(args, ("-t", "--target-directory"))
            paths = _operands(args, _COPIERS[name] + " -t --target-directory")
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
                self.check(f"{name} -i", _operands(args, "-e -f --expression --file"))
        elif name in ("awk", "gawk") and "inplace" in args:
            self.check(f"{name} -i inplace", _operands(args, "-i -v -f"))
        elif name == "dd":
            self.check(name, [a[3:] for a in args if a[:3] == "of="])
        elif name in ("tar", "bsdtar") and args:
            if re.match("-?[A-Za-z]*x", args[0]) or {"--extract", "--remove-files", "-x"} & set(args):
                self.check(name, _operands(args, "-f -C --file --directory"), True)
        elif name in _PACKERS and not set(letters) & set("ckltp"):
            self.check(name, _operands(args))
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
                self.check("git clean -x", _operands(rest, "-e --exclude") or ["."], True)
        elif sub == "stash" and rest[:1] not in (["list"], ["show"], ["apply"], ["pop"], ["drop"]):
            everything = "a" in letters or "--all" in rest
            paths = [] if rest[:1] == ["save"] else _operands(rest, "-m --message")[rest[:1] == ["push"] :]
            self.check("git stash", paths or ["."] if everything else paths, everything)
        elif sub in ("checkout", "restore", "mv") or (sub == "rm" and "--cached" not in rest):
            self.check(f"git {sub}", _operands(rest, "-b -B -s --source"), sub == "mv")
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
        named = _after(tests, ("-name", "-iname"))
        deepest = min((int(d) for d in _after(tests, ("-maxdepth",)) if re.fullmatch("[0-9]{1,3}", d)), default=999)
        if loose and not any(n[:5] == self.names.state[:5] for n in named):
            return
        for root in _operands(args[:first]) or ["."]:
            place = self.place(root)
            if place is None or not (place[0] or place[1][-1:] == [self.names.folder]):
                continue
            parts = place[1] if place[0] else [self.names.folder]
            for target, folder, absolute in self.names.targets:
                for size in range(1, 1 if absolute or not _covers(parts, target) else len(target) + 1):
                    shown = "/".join([root.rstrip("/"), *target[len(parts) : size]])
                    fits = 0 <= size - len(parts) <= deepest and all(_fits(n, target[size - 1]) for n in named)
                    fits = fits and all(_fits(p, shown) for p in _after(tests, ("-path", "-wholename")))
                    if fits and kind in ("", "d" if size < len(target) or folder else "f"):
                        path = "/".join((_ROOT, *target[:size]))
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
        for code in codes or [text]:
            self.code(name, code, rest[rest[:1] == ["-"] :])

    def code(self, name: str, code: str, argv: list[str]) -> None:
        """Judge source text that names the state by its writing calls; a target that cannot be resolved counts."""
        for call in list(_RUN.finditer(code))[:200]:
            inner = [_unquoted(m) for m in _LITERAL.finditer("".join(_arguments(code, call.end())))]
            if inner and " " in inner[0]:
                self.script(inner[0])
            elif inner:
                self.command(inner)
        literals = [_unquoted(m) for m in _LITERAL.finditer(code)]
        named = [p for p in literals + argv if self.touches(p, True)]
        if not named and not (self.names.folder in literals and self.names.state in literals):
            return
        assigned: dict[str, str] = {m[1]: m[2] for m in _ASSIGNED.finditer(code)}

        def aims(text: str, deep: bool = False, hops: int = 3) -> bool:
            parts = [_unquoted(m) for m in _LITERAL.finditer(text)]
            if parts:
                return any(self.touches(p, deep) for p in [*parts, "/".join(parts)])
            number = re.search(r"argv\[([1-9]\d*)\]", text)
            if number and argv:
                return any(self.touches(a, deep) for a in argv[int(number[1][:3]) - 1 :][:1])
            variable = re.match(r"\s*[$@%]?(?:Path\()?(\w+)", text)
            if variable and variable[1] in assigned and hops:
                return aims(assigned[variable[1]], deep, hops - 1)
            return bool(variable)

        guilty = False
        for call in list(_FUNCTION.finditer(code))[:200]:
            given = _arguments(code, call.end())
            deep = call[1][:2] in ("rm", "mo", "mv", "re")
            guilty = guilty or any(aims(given[i], deep) for i in _ARGUMENTS[call[1]] if i < len(given))
        for call in list(_OPEN.finditer(code))[:200]:
            given = [*_arguments(code, call.end()), "", "", ""]
            perl = re.match(r"\s*['\"]\+?[<>]*>[<>]*\s*([^'\"]*)", given[1])
            if perl:
                guilty = guilty or aims(f"'{perl[1]}'" if perl[1] else given[2])
            elif any(_MODE.match(g) for g in given[1:]):
                guilty = guilty or aims(given[0])
        for call in list(_METHOD.finditer(code))[:200]:
            receiver, given = _receiver(code, call.start()), _arguments(code, call.end())
            source = assigned.get(receiver, receiver)
            if receiver in ("os", "fs", "shutil", "io") or (call[1] == "open" and not any(map(_MODE.match, given))):
                continue
            if call[1] != "replace" or "Path" in source or source[:1] == "(":
                guilty = guilty or aims(receiver) or (call[1] in ("rename", "replace") and any(map(aims, given)))
        if guilty:
            self.refuse(f"code for {name}", (named or [self.names.state])[0])


def _unquoted(literal: re.Match[str]) -> str:
    """The text of a literal; what it interpolates is not known."""
    text = next((g for g in literal.groups() if g is not None), "")
    return re.sub(r"[$#]?\{[^{}]*\}", _ANY, text).lstrip("<>+ ")


def _arguments(code: str, start: int) -> list[str]:
    """The arguments of a call, from behind its opening bracket; of a long call the first ones."""
    found, depth, last = [], 0, start
    end = min(len(code), start + 400)
    for step in _STEP.finditer(code, start, end):
        mark = step[0]
        depth += (mark in "([{") - (mark in ")]}")
        if depth < 0 or (mark == ";" and not depth):
            end = step.start()
            break
        if mark == "," and not depth:
            found.append(code[last : step.start()])
            last = step.end()
    return [*found, code[last:end]]


def _receiver(code: str, end: int) -> str:
    """The expression before the dot of a method call: back to a space or bracket that is not inside brackets."""
    depth, at = 0, end
    while at > max(0, end - 300):
        c = code[at - 1]
        depth += (c in ")]") - (c in "([")
        if depth < 0 or (depth == 0 and c in " \t\n;,=:&|"):
            break
        at -= 1
    return code[at:end]


class _Reader:
    """Reads one script and hands its simple commands to a judge, in order."""

    def __init__(self, judge: _Judge, text: str) -> None:
        self.judge = judge
        self.text = text
        self.at = 0
        self.body_at = -1  # where the next here-document of this line begins; -1: none on this line

    def run(self, closing: str = "") -> list[str]:
        """Read up to `closing` (a round bracket, or the end) and return the words of the last command."""
        self.judge.depth += 1
        if self.judge.depth > _DEPTH:
            raise _Unreadable
        words: list[str] = []
        feed: Optional[str] = None
        before: tuple[list[str], str] = ([], "")
        folders: list[str] = []
        last: list[str] = []
        text = self.text
        while True:
            blanks = _BLANKS.match(text, self.at)
            self.at = blanks.end() if blanks else self.at
            c = text[self.at : self.at + 1]
            redirect = None if c in "&|" and text[self.at + 1 : self.at + 2] != ">" else _REDIRECT.match(text, self.at)
            if redirect and text[redirect.end() - 1 : redirect.end() + 1] in ("<(", ">(") and len(redirect[0]) == 1:
                self.at += 2
                self.substituted()
                words.append(_ANY)
            elif redirect:
                feed = self.redirected(redirect, feed)
            elif c in "\n;&|()":
                self.judge.command(words, feed, before)
                last = words or last
                piped = c == "|" and text[self.at : self.at + 2] != "||"
                passed = feed or (before[1] if _bare(words)[:1] == ["cat"] else "")
                before = (_bare(words), passed) if piped else ([], "")
                words, feed = [], None
                if not c or (c == ")" and closing and not folders):
                    if not c and closing:
                        raise _Unreadable
                    self.at += 1
                    self.judge.depth -= 1
                    return last
                self.at += 2 if text[self.at : self.at + 2] in ("&&", "||", ";;", "|&") else 1
                if c == "(" and text[self.at : self.at + 1] == "(" and self.arithmetic():
                    continue
                if c == "(":
                    folders.append(self.judge.cwd)
                elif c == ")" and folders:
                    self.judge.cwd = folders.pop()
                elif c == "\n" and self.body_at >= 0:
                    self.at, self.body_at = self.body_at, -1
            elif c == "#":
                end = text.find("\n", self.at)
                self.at = end if end >= 0 else len(text)
            elif (descriptor := _DESCRIPTOR.match(text, self.at)) is not None:
                self.at = descriptor.end()
            else:
                words += self.word()

    def redirected(self, redirect: re.Match[str], feed: Optional[str]) -> Optional[str]:
        """Read a redirection's target, judge it, and return what the command will read on stdin."""
        op = redirect[0]
        self.at = redirect.end()
        if op in ("<<", "<<-"):
            return self.document(op == "<<-")
        blanks = _BLANKS.match(self.text, self.at)
        self.at = blanks.end() if blanks else self.at
        target = " ".join(self.word())
        if op == "<<<":
            return target
        if op[0] != "<" and not (op == ">&" and re.fullmatch(r"\d+-?|-", target)):
            self.judge.check(op, [target])
        return feed

    def document(self, tabs: bool) -> str:
        """The body of a here-document; the reading goes on behind it at the end of this line."""
        text, found = self.text, _DELIMITER.match(self.text, self.at)
        if not found:
            raise _Unreadable
        self.at = found.end()
        word = next((g for g in (found[1], found[2], found[4]) if g is not None), "")
        start = at = self.body_at if self.body_at >= 0 else text.find("\n", self.at) + 1 or len(text)
        while at < len(text):
            stop = text.find("\n", at)
            stop = stop if stop >= 0 else len(text)
            line = text[at:stop].lstrip("\t") if tabs else text[at:stop]
            if line == word or (line[: len(word)] == word and line[len(word) : len(word) + 1] == ")"):
                break
            at = stop + 1
        end = min(at, len(text))
        self.body_at = min(text.find(word, end) + len(word) if at < len(text) else len(text), len(text))
        body = text[start:end]
        return body if found[4] is None or found[3] else _PARAMETER.sub(lambda m: self.known(m), body)

    def known(self, parameter: re.Match[str]) -> str:
        """The value of `$name` or `${name}`, or its default."""
        name = parameter[1] or parameter[2]
        return self.judge.value(name) if name else parameter[3] or _ANY

    def substituted(self) -> str:
        """Judge a command substitution from behind its bracket; its output, where that is plain."""
        cwd = self.judge.cwd
        last = self.run(")")
        self.judge.cwd = cwd
        if last[:1] == ["pwd"]:
            return self.judge.value("PWD")
        if "--show-toplevel" in last:
            return _ROOT
        if last[:1] in (["echo"], ["printf"]):
            return " ".join(_operands(last[1:]))
        return _TEMP if last[:1] == ["mktemp"] else _ANY

    def arithmetic(self) -> bool:
        """Step over `((...))`, from its second bracket; False, without a step, if it is a subshell in a subshell."""
        depth = 0
        for bracket in re.compile(r"[()]").finditer(self.text, self.at):
            depth += 1 if bracket[0] == "(" else -1
            if not depth:
                self.judge.spend(bracket.end() - self.at)
                closed = self.text[bracket.end() : bracket.end() + 1] == ")"
                self.at = bracket.end() + 1 if closed else self.at
                return closed
        raise _Unreadable

    def dollar(self) -> str:
        """Read an expansion and return its value."""
        text, at = self.text, self.at
        parameter = _PARAMETER.match(text, at)
        if parameter:
            self.at = parameter.end()
            return self.known(parameter)
        if text.startswith("$(", at):
            self.at += 2
            return _ANY if text[self.at : self.at + 1] == "(" and self.arithmetic() else self.substituted()
        elif text.startswith("${", at):
            self.at = text.find("}", at) + 1
            if not self.at:
                raise _Unreadable
        else:
            self.at += 1
            return "$"
        return _ANY

    def backquoted(self) -> str:
        """Judge what is between backquotes; its output is not known."""
        found = _BACKQUOTED.match(self.text, self.at)
        if not found:
            raise _Unreadable
        self.at = found.end()
        self.judge.script(re.sub(r"\\([\\`$])", r"\1", found[1]))
        return _ANY

    def double(self) -> str:
        """Read text in double quotes, from behind the first."""
        out = []
        while True:
            plain = _DOUBLE.match(self.text, self.at)
            if plain:
                out.append(plain[0])
                self.at = plain.end()
            c = self.text[self.at : self.at + 1]
            if c == "$":
                out.append(self.dollar())
            elif c == "`":
                out.append(self.backquoted())
            elif c == "\\":
                after = self.text[self.at + 1 : self.at + 2]
                out.append("" if after == "\n" else after if after in '"\\$`' else c + after)
                self.at += 2
            elif c:
                self.at += 1
                return "".join(out)
            else:
                raise _Unreadable

    def word(self) -> list[str]:
        """Read one word with all its quotes; several words where it expands to several."""
        out: list[str] = []
        text, braces = self.text, False
        while self.at < len(text):
            plain = _PLAIN.match(text, self.at)
            if plain:
                out.append(plain[0])
                self.at = plain.end()
                continue
            c = text[self.at]
            if c in " \t\r\n<>|&;()":
                break
            if c == "'":
                end = text.find("'", self.at + 1)
                if end < 0:
                    raise _Unreadable
                out.append(text[self.at + 1 : end])
                self.at = end + 1
            elif c == "\\":
                out.append(text[self.at + 1 : self.at + 2].strip("\n"))
                self.at += 2
            elif c == "`":
                out.append(self.backquoted())
            elif c == "$" and (ansi := _ANSI.match(text, self.at)) is not None:
                out.append(re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), ansi[1]))
                self.at = ansi.end()
            elif c == "$" and text[self.at + 1 : self.at + 2] != '"':
                out.append(re.sub(r"\s+", _SPLIT, self.dollar()))
            else:
                self.at += 1
                if c == '"':
                    out.append(self.double())
                elif c != "$":
                    out.append(c)
                    braces = braces or c == "{"
        word = "".join(out)
        if _ASSIGNMENT.match(word):
            return [word.replace(_SPLIT, " ")]
        words = word.split(_SPLIT) if _SPLIT in word else [word]
        start, end = word.find("{"), word.find("}")
        if braces and 0 <= start < end and "," in word[start:end] and len(words) == 1 and len(word) < 4096:
            return [word[:start] + choice + word[end + 1 :] for choice in word[start + 1 : end].split(",")]
        return words
