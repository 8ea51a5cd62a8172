"""Decide whether a Bash command line would change the state, edit all of `.git`, or run a command of the user's.

    names = ProtectedNames(user_commands=frozenset({"abort", "skip"}), roots=("/home/me/p",), cwd="/home/me/p/docs")
    refusal = check_command("cd .. && rm .claude/batch_state.json", names)
    if refusal: print(refusal.kind, refusal.what)           # state `rm` on .claude/batch_state.json

`shell_parser` splits the text into simple commands. This module follows what each one runs (wrappers such as `sudo` or
`xargs`, nested scripts, interpreters); `write_policies` and `interpreters` say what a command writes, `selections` what
a `find` or `grep -r` reaches, `protected_paths` which paths count. Nothing is executed and no file is read.

Guarantees: no input raises; time is linear in the length, and only the first 64 KB are read; everything refused also
matches `fast_path.mentions_batch`.

Refused is what a command does by its own words. What cannot be read in it passes: scripts and archives in files, links,
names that a program prints or that are put together at run time, arguments of functions and aliases, text that no shell
can parse, whatever walks over all files without entering `.git`. After the call the state is put back.
"""

from __future__ import annotations

import re

from ..fast_path import mentions_batch
from ..shell_parser import (
    ANY,
    ASSIGNMENT,
    HOME,
    MAX_CHARS,
    MAX_PATH_CHARS,
    ROOT,
    TEMP,
    WORD_SEPARATOR,
    Shell,
    Unreadable,
    get_operands,
    get_option_letters,
    strip_keywords,
)
from .protected_paths import WALK, ProtectedNames, resolve_from
from .write_policies import KEEPS_CONTENT, POLICIES, find_writes, is_stash_change

__all__ = ["ProtectedNames", "Refusal", "check_command"]

_SHELLS = frozenset(("sh", "bash", "dash", "zsh", "ksh", "ash", "su", "script"))
_CODE = {  # interpreters, and the letters of the options with code
    "python": "c", "pypy": "c", "node": "ep", "bun": "ep", "perl": "eE", "ruby": "e", "php": "r",
}  # fmt: skip
_WRAPPERS = frozenset((
    "env", "sudo", "doas", "nohup", "setsid", "command", "builtin", "exec", "time", "nice", "ionice", "stdbuf",
    "busybox", "timeout", "gtimeout", "flock", "caffeinate", "xargs", "parallel", "npx", "bunx", "unbuffer", "winpty",
    "screen", "systemd-run", "strace",
))  # fmt: skip
_RUNNERS = frozenset(("uv", "poetry", "pipenv", "hatch", "pdm", "rye", "conda", "npm", "pnpm", "yarn", "bundle"))
_BATCHCTL_PATH = re.compile(r"(?:^|/)batchctl(?:\.py)?$|\bbatch_implement(?:[./]cli(?:[./]batchctl)?(?:\.py)?)?$")
_PRINTS_OPERANDS = frozenset(("echo", "printf", "ls", "which", "realpath", "readlink", "command"))
_PASSES_ON = frozenset(("cat", "sort", "uniq", "tac", "tr", "tee", "cut"))
_OTHERS = frozenset(("batchctl", "find", "grep", "git", "eval", "cd", "jq", "tmux", "watch"))
_GIT_FOLDERS = ("--git-dir", "--absolute-git-dir", "--git-common-dir")


class Refusal(Exception):
    """Why a command line is refused. `kind` is `state` or `command`; `what` names the command at fault, and what it
    would change; `enters_git`: all of `.git`.
    """

    def __init__(self, kind: str, what: str, enters_git: bool = False) -> None:
        super().__init__(kind, what)
        self.kind, self.what, self.enters_git = kind, what, enters_git


def check_command(command: str, names: ProtectedNames) -> Refusal | None:
    """Return why `command` must not run; None if it may, or if the guard cannot tell."""
    if mentions_batch(command.encode("utf-8", "surrogatepass")):
        try:
            _CommandChecker(names).read_script(command[:MAX_CHARS].replace("\0", "").replace(WORD_SEPARATOR, " "))
        except Refusal as refusal:
            return refusal
        except (Unreadable, RecursionError):
            pass
    return None


class _CommandChecker(Shell):
    """Check each command of a script. Raise `Refusal` at the first that is forbidden."""

    def __init__(self, names: ProtectedNames) -> None:
        super().__init__(names.cwd)
        self.names = names

    def touches(self, path: str, deep: bool = False) -> bool:
        """Return whether a path names something protected; with `deep` also a folder that contains it."""
        return self.names.touches(path, self.cwd, deep)

    def handle_write(self, operator: str, path: str, deep: bool = False) -> None:
        """Refuse a write by a redirection or command."""
        if path.startswith(WALK):
            from .selections import FOLDERS, GIT, OWN

            walked = path[len(WALK) + 1 :].rstrip("/")
            if operator in KEEPS_CONTENT or walked not in GIT + OWN or (walked in FOLDERS and not deep):
                return
            if walked in GIT:
                raise Refusal("state", f"`{operator}` on all files, those in .git too", enters_git=True)
            path = f"{walked}, which `-not -path './{walked}'` leaves out"
        elif not self.touches(path, deep):
            return
        shown = path.replace(ROOT + "/", "").replace(ANY, "...")
        raise Refusal("state", f"`{operator}` on {shown[:100]}")

    def run_command(self, words: list[str], text: str = "") -> str:
        """Check one simple command with `text` as its standard input. Return what it prints; `ANY` if unknown."""
        at, words, out = 0, strip_keywords(words), ANY
        if words[:1] == ["for"] and words[2:3] in (["in"], []):
            items = words[3:] if words[2:] else self.get_variable("@").split(WORD_SEPARATOR)
            self.variables[words[-1] if not words[2:] else words[1]] = self.choose_word(items)
            return text
        while at < len(words):
            assigned = ASSIGNMENT.fullmatch(words[at])
            if assigned:
                self.assign(assigned)
            elif words[at] not in ("export", "local", "declare", "readonly", "typeset"):
                break
            at += 1
        if at == len(words):
            return text
        name, args = words[at].rsplit("/", 1)[-1], words[at + 1 :]
        self.spend(16)
        language = name.rstrip("js.0123456789")
        if name in _PRINTS_OPERANDS and (name != "command" or {"-v", "-V"} & set(args)):
            out = re.sub(r"\\[0nt]", "\n", ("\n" if name == "ls" else " ").join(get_operands(args)))
        elif name in _PASSES_ON:
            out = ANY if name not in ("tr", "tee", "cut") and get_operands(args) else text
        elif name in _WRAPPERS or (name in _RUNNERS and args[:1] in (["run"], ["exec"], ["dlx"])):
            out = self.check_wrapper(name, args, text)
        elif name in ("cd", "pushd", "popd"):
            to = (get_operands(args) or ["-" if name == "popd" or "-" in args else HOME])[0]
            to = resolve_from(self.cwd, ANY if to == "-" else HOME + to[1:] if to[:1] == "~" else to)
            self.cwd = to if len(to) < MAX_PATH_CHARS else ANY
        elif name in ("eval", "trap"):
            out = self.read_script(" ".join(args if name == "eval" else args[:1]))
        elif name in ("read", "mapfile", "readarray"):
            variables = get_operands(args, "-d -n -N -p -u" + " -t" * (name == "read"))
            self.variables.update(dict.fromkeys(variables, self.choose_word(text.split())))
        elif name in _SHELLS:
            self.check_shell(name, args, text)
        elif language in _CODE:
            self.check_interpreter(name, _CODE[language], args, text)
        elif name in ("find", "grep", "egrep", "rg"):
            out = self.check_search(name, args, text)
        elif name in ("tmux", "watch"):
            self.read_script("\n".join(typed for typed in args if " " in typed))
        elif name == "batchctl":
            self.check_batchctl(args)
        elif name in ("pwd", "mktemp"):
            out = self.get_variable("PWD") if name == "pwd" else TEMP
        elif name == "git" and args[:1] == ["rev-parse"]:
            printed = {"--show-toplevel": ROOT, **dict.fromkeys(_GIT_FOLDERS, f"{ROOT}/.git")}
            out = printed.get(args[-1], f"{ROOT}/.git/{args[-1]}" if "--git-path" in args else ANY)
        if name == "git" and self.names.denies_stash and is_stash_change(args):
            raise Refusal("command", "git stash")
        for how, path, deep in find_writes(name, args):
            self.handle_write(how, path, deep)
        self.spend(len(out))
        return out

    def choose_word(self, words: list[str]) -> str:
        """Return the word that stands for a loop's variable: a protected path if there is one."""
        paths = (w for deep in (False, True) for w in words if w.startswith(WALK) or self.touches(w, deep))
        return next(paths, (words or [ANY])[0])[:MAX_PATH_CHARS]

    def check_search(self, name: str, args: list[str], text: str) -> str:
        """Check the commands that a find runs. Return what a find or grep prints of protected paths."""
        from . import selections

        starts = next((i for i, a in enumerate(args) if a[:1] in ("-", "(", "!")), len(args))
        self.spend((starts + 1) * sum(map(len, args)))
        if name == "find":
            printed, runs = selections.select_by_find(args, self.names, self.cwd)
            printed += [self.run_command(words) for words in runs]
        elif any(a.startswith(WALK) for a in args):
            printed = [a for a in args if a.startswith(WALK)]
        elif text:
            is_inverted = "v" in get_option_letters(args) and not re.search(r"git|claude|\\\.", " ".join(args))
            return text if is_inverted else ANY
        else:
            printed = selections.select_by_grep(name, args, self.names, self.cwd)
        return "\n".join(printed)

    def check_wrapper(self, name: str, args: list[str], text: str) -> str:
        """Check what a wrapper runs; for `xargs` with the words of its input. Return what it prints."""
        at, follows_option = 0, name in _RUNNERS or name == "flock"
        while at < len(args) and (
            args[at][:1] == "-" or re.fullmatch(r"[A-Za-z_]\w*=.*|\d+[smhd]?", args[at], re.S)
            or (follows_option and not is_known(args[at]))
        ):  # fmt: skip
            follows_option = args[at][:1] == "-"
            at += 1
        inner = args[at:]
        if name in ("xargs", "parallel") and inner:
            ends = inner.index(":::") if ":::" in inner else len(inner)
            items, inner = inner[ends + 1 :] or text.split(), inner[:ends]
            options = args[:at]
            marks = [a[2:] or after for a, after in zip(options, [*options[1:], ""]) if a[:2] == "-I"]
            mark = (marks or ["{}"])[0]
            if (marks or name == "parallel" or "-i" in options) and any(mark in w for w in inner):
                chosen = self.choose_word(items)
                self.spend(len(chosen) * sum(w.count(mark) for w in inner))
                inner, items = [w.replace(mark, chosen) for w in inner], []
            inner, text = inner + items, ""
        return self.run_command(inner, text)

    def check_shell(self, name: str, args: list[str], text: str) -> None:
        """Check the script that a shell runs: code after -c, or its standard input."""
        code = next((i for i, a in enumerate(args) if re.fullmatch("-[a-z]*c|--command", a)), -1)
        operands = get_operands(args[code + 1 :], "-o -eo -euo -O --rcfile")
        if "-n" in args:
            return
        if code >= 0:
            text, operands = "".join(operands[:1]), operands[1:]
        elif operands and operands[0] not in ("-", "/dev/stdin") and "-s" not in args:
            self.check_wrapper(name, operands, text)
            return
        self.variables.update((str(at), word[:MAX_PATH_CHARS]) for at, word in enumerate(operands[:9], code < 0))
        self.variables["@"] = self.variables["*"] = WORD_SEPARATOR.join(operands[code >= 0 :])[:MAX_PATH_CHARS]
        self.read_script(text)

    def check_batchctl(self, args: list[str]) -> None:
        """Refuse a batchctl command that is reserved for the user."""
        verb = "".join(get_operands(args, "--root --project --state -C")[:1])
        if verb in self.names.user_commands and not {"--help", "-h"} & set(args):
            raise Refusal("command", f"batchctl {verb}")

    def check_interpreter(self, name: str, letters: str, args: list[str], text: str) -> None:
        """Check a call of an interpreter: its code, or batchctl's own script."""
        at = next((i for i, a in enumerate(args) if a[:1] != "-" and args[i - 1 : i] not in (["-W"], ["-X"])), None)
        options = args[: at if at is not None else len(args)]
        brings_code = options and re.fullmatch(f"-[A-Za-z0-9.]*[{letters}]|--eval|--print", options[-1])
        file = args[len(options) :][:1]
        if brings_code:
            code = "".join(file)
        elif not file or options[-1:] == ["-"]:
            code = text
        else:
            if _BATCHCTL_PATH.search(file[0]):
                self.check_batchctl(args[len(options) + 1 :])
            return
        from . import interpreters

        for words in interpreters.find_started_commands(code):
            self.run_command(words)
        path = interpreters.find_written_path(code, self.touches)
        if path:
            self.handle_write(f"code for {name}", path, deep=True)


def is_known(word: str) -> bool:
    """Return whether a word behind an option is a command that the guard knows, rather than the option's value."""
    name = word.rsplit("/", 1)[-1]
    known = (POLICIES, _SHELLS, _WRAPPERS, _RUNNERS, _PRINTS_OPERANDS, _PASSES_ON, _OTHERS)
    return name.rstrip("js.0123456789") in _CODE or any(name in names for names in known)
