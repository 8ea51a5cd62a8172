"""Decide whether a Bash command line would change the state file or run a command reserved for the user.

    names = ProtectedNames(user_commands=frozenset({"abort", "skip"}), roots=("/home/me/p",), cwd="/home/me/p/docs")
    refusal = check_command("cd .. && rm .claude/batch_state.json", names)
    if refusal: print(refusal.kind, refusal.what)           # state `rm` on .claude/batch_state.json

`shell_parser` splits the text into simple commands as a shell would. This module follows what each one runs (wrappers
such as `sudo` or `xargs`, nested scripts, interpreters, files that the text itself wrote) and what it prints for the
next command. `writing_commands`, `find_program` and `interpreters` list what a command writes; `protected_paths`
decides which paths count. Nothing is executed and no file is read.

Guarantees: no input raises; time is linear in the length, and only the first 64 KB are read; everything refused also
matches `fast_path.mentions_batch`. Text that cannot be parsed (unbalanced quotes, endless nesting) is refused only if
one of its lines names the state file after a writing command.

The guard stops a confused model, not a hostile one, and prefers a miss to a false alarm: PostToolUse undoes what gets
through. Not detected: scripts and programs in files that existed before; links to the state; names assembled at run
time (`.cla${x}`, `${x%y}`, `printf -v`); other letter case; arguments of shell functions, aliases and options
(`dotglob`); removing the whole project folder; copying or unpacking a folder over `.claude`, patches; tools that
rewrite every file they find (`prettier --write .`); times, sizes and regular expressions of `find`; what a container,
`at` or `expect` runs; libraries that save under a name (`to_json`); languages missing from `_INTERPRETERS`.
"""

from __future__ import annotations

import re

from ..fast_path import mentions_batch
from .protected_paths import ANY, HOME, MAX_PATH_CHARS, ROOT, TEMP, ProtectedNames
from .shell_parser import ASSIGNMENT, MAX_CHARS, WORD_SEPARATOR, Shell, Unreadable, strip_keywords
from .writing_commands import find_writes, get_operands, get_option_letters, get_option_values, resolve_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn, Optional

__all__ = ["ProtectedNames", "Refusal", "check_command"]

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "ash", "source", ".", "su", "script"))
# Interpreters: the letters of the options with code, and the options that take the next word.
_INTERPRETERS = {
    "python": ("c", "-W -X"), "pypy": ("c", "-W -X"), "ipython": ("c", ""), "node": ("ep", "-r --import"),
    "nodejs": ("ep", "-r --import"), "bun": ("ep", "-r"), "tsx": ("ep", "-r"), "ts-node": ("ep", "-r"),
    "perl": ("eE", "-I"), "ruby": ("e", "-I -r"), "php": ("r", "-d"),
}  # fmt: skip
# Wrappers: the options that take the next word, and how many words come before the command.
_WRAPPERS: dict[str, tuple[str, int]] = {
    "env": ("-u -C --unset --chdir", 0), "sudo": ("-u -g -h -p -C -D -R -T -U --user --group", 0), "doas": ("-u -C", 0),
    "nohup": ("", 0), "setsid": ("", 0), "command": ("", 0), "builtin": ("", 0), "exec": ("-a", 0),
    "time": ("-f -o", 0), "nice": ("-n", 0), "ionice": ("-c -n", 0), "stdbuf": ("-i -o -e", 0), "busybox": ("", 0),
    "timeout": ("-s -k", 1), "gtimeout": ("-s -k", 1), "flock": ("-w -E", 1), "caffeinate": ("", 0),
    "xargs": ("-I -n -P -L -d -a -s -E --max-args --max-procs --delimiter --arg-file", 0), "parallel": ("-j", 0),
    "npx": ("-p --package", 0), "bunx": ("", 0), "watch": ("-n --interval", 0), "unbuffer": ("", 0), "winpty": ("", 0),
    "screen": ("-S -c", 0), "systemd-run": ("-u -p --unit --property", 0), "strace": ("-o -e -p -s -E", 0),
    "uv run": ("--with --python -p -n --name --group --extra --package --project --directory", 0),
}  # fmt: skip
# Treated as `uv run`, by the first operand.
_RUNNERS = {
    **dict.fromkeys(("uv", "poetry", "pipenv", "hatch", "pdm", "rye", "conda"), ("run",)),
    **dict.fromkeys(("npm", "pnpm", "yarn", "bundle"), ("exec", "dlx")),
}
# Other spellings of batchctl.
_BATCHCTL_PATH = re.compile(r"/batchctl(?:\.py)?$|\bbatch_implement(?:[./]cli(?:[./]batchctl)?(?:\.py)?)?$")
_BATCHCTL_OPTIONS = "--root --project --state -C"  # options with a value


class Refusal:
    """Why a command line is refused. `kind` is `state` or `command`, `what` names the simple command at fault."""

    __slots__ = ("kind", "what")

    def __init__(self, kind: str, what: str) -> None:
        self.kind = kind
        self.what = what

    def __repr__(self) -> str:
        return f"Refusal({self.kind!r}, {self.what!r})"


def check_command(command: str, names: ProtectedNames) -> Optional[Refusal]:
    """Return why `command` must not run; None if it may, or if the guard cannot tell."""
    if not mentions_batch(command.encode("utf-8", "surrogatepass")):
        return None
    text = command[:MAX_CHARS].replace("\0", "").replace(WORD_SEPARATOR, " ")
    checker = _CommandChecker(names)
    try:
        checker.read_script(text)
    except _RefusalFound as error:
        return error.refusal
    except (Unreadable, RecursionError):
        return _check_unreadable(text, names)
    return None


def _check_unreadable(text: str, names: ProtectedNames) -> Optional[Refusal]:
    """Refuse text that cannot be parsed if a line names the state file after a writing command."""
    for line in re.sub(r"[\"'\\]", "", text).split("\n"):
        at = line.find(f"{names.folder}/{names.state}")
        if at < 0:
            continue
        before = line[max(0, at - 300) : at]
        writers = r"(?:^|[;&|(`])\s*(?:sudo )?(rm|mv|tee|truncate|shred|unlink|sed -i)\s[^;&|]*$"
        match = re.search(rf"{writers}|(>)\s*$", before)
        if match:
            return Refusal("state", f"`{match.group(1) or match.group(2)}` on {names.folder}/{names.state}")
    return None


class _RefusalFound(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.what)
        self.refusal = refusal


class _CommandChecker(Shell):
    """Check each command of a script. Raise `_RefusalFound` at the first that is forbidden."""

    def __init__(self, names: ProtectedNames) -> None:
        super().__init__(names.cwd)
        self.names = names

    def handle_write(self, operator: str, path: str) -> None:
        self.check_path(operator, path)

    def touches(self, path: str, deep: bool = False) -> bool:
        """Return whether a path names something protected; with `deep` also a folder that contains it."""
        return self.names.touches(path, self.cwd, deep)

    def check_path(self, how: str, path: str, deep: bool = False) -> None:
        if self.touches(path, deep):
            self.refuse(how, path)

    def refuse(self, how: str, path: str) -> NoReturn:
        shown = path.replace(ROOT + "/", "").replace(ANY, "...")
        raise _RefusalFound(Refusal("state", f"`{how}` on {shown[:100]}"))

    def handle_command(self, words: list[str], text: str = "") -> None:
        """Check one simple command; `text` is its standard input."""
        at, words = 0, strip_keywords(words)
        if words[:1] == ["for"] and words[2:3] == ["in"]:
            self.variables[words[1]] = self.choose_word(words[3:])
            return
        while at < len(words):
            assigned = ASSIGNMENT.fullmatch(words[at])
            if not assigned and words[at] not in ("export", "local", "declare", "readonly", "typeset"):
                break
            if assigned:
                self.assign(assigned)
            at += 1
        if at == len(words):
            return
        name, args = words[at].rsplit("/", 1)[-1], words[at + 1 :]
        self.enter()
        self.spend(16)
        language = re.sub(r"[\d.]+$", "", name)
        kept = self.get_written_text(words[at]) if "/" in words[at] else None
        if kept is not None:
            language = "".join(re.findall("python|node|ruby|perl|php", kept.split("\n", 1)[0])[:1])
            self.handle_command([language or "sh", words[at], *args], text)
        elif name in _WRAPPERS:
            self.check_wrapper(name, args, text)
        elif "".join(args[:1]) in _RUNNERS.get(name, ()):
            self.check_wrapper("uv run", args[1:], text)
        elif name in ("cd", "pushd", "popd"):
            to = (get_operands(args) or ["-" if name == "popd" or "-" in args else HOME])[0]
            to = ANY if to == "-" else HOME + to[1:] if to[:1] == "~" else to
            to = resolve_from(self.cwd, to)
            self.cwd = to if len(to) < MAX_PATH_CHARS else ANY
        elif name in ("eval", "trap"):
            self.read_script(" ".join(args if name == "eval" else args[:1]))
        elif name == "read":
            self.variables.update(
                dict.fromkeys(get_operands(args, "-d -n -N -p -t -u"), self.choose_word(text.split()))
            )
        elif name in _SHELLS:
            self.check_shell(name, args, text)
        elif language in _INTERPRETERS:
            self.check_interpreter(name, language, args, text)
        elif name == "batchctl":
            self.check_batchctl(args)
        elif name == "find":
            for found in self.find_run_commands(args):
                self.handle_command(found)
        elif name == "tmux":
            for typed in args:
                if " " in typed:
                    self.read_script(typed)
        else:
            for how, path, deep in find_writes(name, args, self.names):
                self.check_path(how, path, deep)
        self.depth -= 1

    def choose_word(self, words: list[str]) -> str:
        """Return the word that stands for a loop's variable: a protected path if there is one."""
        guilty = (w for w in words if self.touches(w, True))
        return next(guilty, (words or [ANY])[0])[:MAX_PATH_CHARS]

    def get_output(self, words: list[str], text: str) -> str:
        """Return what a command prints, one item a line; `ANY` if unknown."""
        words = strip_keywords(words) or [""]
        name, args = words[0].rsplit("/", 1)[-1], words[1:]
        paths, out = get_operands(args), ANY
        if name in ("echo", "printf"):
            out = " ".join(paths) if name == "echo" else re.sub(r"\\[0nt]", "\n", " ".join(paths))
        elif name == "cat":
            out = "\n".join(self.get_written_text(path) or ANY for path in paths) if paths else text
        elif name in ("sort", "uniq", "tac", "head", "tail"):
            out = text
        elif name == "ls":
            state = self.names.state
            opened = [p for p in paths or ["."] if "d" not in get_option_letters(args) and not self.touches(p)]
            opened = [p for p in opened if self.touches(f"{p}/{state}")]
            out = "\n".join([state for _ in opened] + [p for p in paths if p not in opened])
        elif name == "find":
            out = "\n".join(" ".join(found[1:]) for found in self.find_run_commands(args) if found[:1] == ["echo"])
        elif name in ("grep", "rg") and len(paths) == 1:
            wanted = paths[0].strip("^$").replace("\\.", ".")
            out = "\n".join(
                line for line in text.split("\n") if (wanted in line) == ("v" not in get_option_letters(args))
            )
        elif name in ("grep", "rg") and "l" in get_option_letters(args):
            out = "\n".join(
                f"{p}/*" if name == "rg" or "r" in get_option_letters(args).lower() else p for p in paths[1:]
            )
        elif name == "pwd":
            out = self.get_variable("PWD")
        elif name == "mktemp":
            out = TEMP
        elif name in ("which", "realpath", "readlink", "command") and paths:
            out = paths[-1]
        elif name in ("dirname", "basename") and paths:
            folder, _, last = paths[0].rstrip("/").rpartition("/")
            out = folder or "." if name == "dirname" else last
        elif name == "git" and "rev-parse" in args:
            if "--show-toplevel" in args:
                out = ROOT
            elif {"--git-dir", "--absolute-git-dir", "--git-common-dir", "--git-path"} & set(args):
                out = "/".join([ROOT, ".git", *get_option_values(args, ("--git-path",))])
        self.spend(len(out))
        return out

    def check_wrapper(self, name: str, args: list[str], text: str) -> None:
        """Check what a wrapper runs; for `xargs` with the words of its input."""
        valued, skip = _WRAPPERS[name][0].split(), _WRAPPERS[name][1]
        at = 0
        while at < len(args) and (args[at][:1] == "-" or skip or ASSIGNMENT.match(args[at])):
            if name == "command" and args[at] in ("-v", "-V"):
                return
            skip -= args[at][:1] != "-" and skip > 0
            at += 2 if args[at] in valued else 1
        inner = args[at:]
        if name == "watch":
            self.read_script(" ".join(inner))
        elif name in ("xargs", "parallel") and inner:
            ends = inner.index(":::") if ":::" in inner else len(inner)
            given = inner[ends + 1 :] or text.split()
            mark = next((a[2:] or args[i + 1] for i, a in enumerate(args[:at]) if a[:2] == "-I"), "")
            mark = mark or "{}" * (name == "parallel")
            marked = sum(mark in w for w in inner[:ends]) if mark else 0
            self.spend(marked * (16 * len(given) + sum(map(len, given))))
            inner = inner[:ends]
            if marked:
                inner = [w.replace(mark, g) for w in inner for g in (given if mark in w else [""])]
            self.handle_command(inner if marked else inner + given)
        else:
            self.handle_command(inner, text)

    def check_shell(self, name: str, args: list[str], text: str) -> None:
        """Check what a shell runs: code after -c, a file written earlier in the text, or its standard input."""
        if "-n" in args:
            return
        code = next((i for i, a in enumerate(args) if re.fullmatch("-[a-z]*c|--command", a)), -1)
        if code >= 0:
            given = get_operands(args[code + 1 :])
            self.set_arguments(given[2:])
            self.read_script("".join(given[:1]))
            return
        given = get_operands(args, "-o -eo -euo -O --rcfile")[name == "script" :]
        kept = self.get_written_text(given[0]) if given else text
        if kept is not None or given[0] in ("-", "/dev/stdin") or "s" in get_option_letters(args):
            self.set_arguments(given[1:])
            self.read_script(text if kept is None else kept)
        else:
            self.handle_command(given, text)

    def set_arguments(self, given: list[str]) -> None:
        """Set the positional parameters of a script."""
        self.variables.update((str(at + 1), word[:MAX_PATH_CHARS]) for at, word in enumerate(given[:9]))
        self.variables["@"] = self.variables["*"] = WORD_SEPARATOR.join(given)[:MAX_PATH_CHARS]

    def check_batchctl(self, args: list[str]) -> None:
        """Refuse a batchctl command that is reserved for the user."""
        verb = (get_operands(args, _BATCHCTL_OPTIONS) or [""])[0]
        if verb in self.names.user_commands and not {"--help", "-h"} & set(args):
            raise _RefusalFound(Refusal("command", f"batchctl {verb}"))

    def find_run_commands(self, args: list[str]) -> list[list[str]]:
        """Return the commands that a find runs on protected paths."""
        from . import find_program

        starts, expression = find_program.split_arguments(args)
        self.spend(len(starts) * sum(map(len, expression)))
        return [
            words
            for start in starts
            for words in find_program.find_run_commands(start, expression, self.names, self.cwd)
        ]

    def check_interpreter(self, name: str, language: str, args: list[str], text: str) -> None:
        """Check a call of an interpreter: its code, files edited in place, batchctl's own script."""
        brings_code, valued = _INTERPRETERS[language]
        codes: list[str] = []
        at = 0
        while at < len(args) and args[at][:1] == "-" and args[at] not in ("-", "--", "-m"):
            option = args[at]
            if option in ("--eval", "--print") or (option[:2] != "--" and option[-1] in brings_code):
                codes.append("".join(args[at + 1 : at + 2]))
                at += 1
            elif option in valued.split():
                at += 1
            at += 1
        argv = args[at:]
        if language in ("perl", "ruby") and any(re.match("-[aclnpsw0-9]*i", a) for a in args[:at]):
            for path in argv:
                self.check_path(f"{name} -i", path)
        if not codes and argv:
            file, argv = argv[0], argv[1:]
            if _BATCHCTL_PATH.search(f"{self.cwd}/{''.join(argv[:1]) if file == '-m' else file}"):
                self.check_batchctl(argv[file == "-m" :])
            kept = self.get_written_text(file) if file != "-" else text
            if kept is None:
                return
            codes = [kept]
        from . import interpreters

        for code in codes or [text]:
            code = interpreters.resolve_environment(code, self.get_variable)
            for words in interpreters.find_started_commands(code, language):
                self.handle_command(words)
            path = interpreters.find_written_path(code, argv, self.names, self.cwd)
            if path:
                self.refuse(f"code for {name}", path)
