"""Reads shell text as a shell would, left to right, once, and hands over each simple command as soon as it is complete.

    class Shown(Shell):
        def command(self, words, feed=None, before=NOTHING): print(words)
        def writes(self, operator, path): print(operator, path)

    Shown("/home/me/project").script("cd docs && f='a b'; rm \\"$f\\" >> log")

It knows quotes, comments, keywords, variables that the text sets itself, defaults, substitutions, braces, arithmetic,
subshells, redirections and here-documents. What it cannot know (a command's output, `${x%y}`) is `ANY` in the word.
Assignments and `cd` are words like others: whoever gets the command keeps `variables` and `cwd`. Globs stay as written.

Guarantees: nothing is run. Text that is no shell script (unbalanced quotes, endless nesting), or that asks for more
reading than eight times `LIMIT`, raises Unreadable, and nothing else does; time grows with the length.
"""

from __future__ import annotations

import re

from .guarded import ANY, HOME, ROOT, TEMP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

LIMIT = 64 * 1024  # characters of a text, and an eighth of what may be read again through variables and nested scripts
NOTHING: tuple[list[str], str] = ([], "")  # no command is piped to this one
_DEPTH = 24  # substitutions and scripts inside one another
SPLIT = "\x1f"  # where an unquoted expansion falls apart into words

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=(.*)", re.S)
_BLANKS = re.compile(r"(?:[ \t\r]|\\\n)*")
_PLAIN = re.compile(r"[^ \t\r\n\"'\\$`()<>|&;{,]+")
_DOUBLE = re.compile(r"[^\"\\$`]+")
_BACKQUOTED = re.compile(r"`((?:[^`\\]|\\.)*)`", re.S)
_ANSI = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.S)
_PARAMETER = re.compile(r"\$(?:(\w+)|\{(\w+)\}|\{\w+:?[-=]([^}$`\"'\n]*)\}|[@*#?$!-])")
_REDIRECT = re.compile(r"&>>?|>>|>\||>&|<<<|<<-?|<>|<&|[<>]")
_DESCRIPTOR = re.compile(r"(?:\d+|\{\w+\})(?=[<>])")
_DELIMITER = re.compile(r"[ \t]*(?:'([^'\n]*)'|\"([^\"\n]*)\"|(\\?)([^\s;&|<>()'\"`]+))")
_KEYWORDS = frozenset(("if", "then", "else", "elif", "do", "while", "until", "!", "{", "}", "coproc"))


class Unreadable(Exception):
    """The text is not a shell script, or too much of one."""


class Shell:
    """What is known while the commands go by: the folder, the variables, the work done so far."""

    def __init__(self, cwd: str) -> None:
        self.cwd = cwd
        self.variables: dict[str, str] = {}
        self.spent = self.depth = 0

    def command(self, words: list[str], feed: Optional[str] = None, before: tuple[list[str], str] = NOTHING) -> None:
        """Take one simple command. `feed` is its here-document, `before` the command and here-document piped to it."""
        raise NotImplementedError

    def writes(self, operator: str, path: str) -> None:
        """Take one redirection to a file."""
        raise NotImplementedError

    def script(self, text: str) -> None:
        """Read a whole script; its `cd` ends with it."""
        self.spend(len(text))
        cwd = self.cwd
        _Reader(self, text).run()
        self.cwd = cwd

    def spend(self, characters: int) -> None:
        """Count what is read again; Unreadable when it is too much."""
        self.spent += characters
        if self.spent > 8 * LIMIT:
            raise Unreadable

    def enter(self) -> None:
        """Count a step inwards, whose way out is `depth -= 1`; Unreadable when it is too deep."""
        self.depth += 1
        if self.depth > _DEPTH:
            raise Unreadable

    def value(self, name: str) -> str:
        """The value of a variable as far as it is known."""
        value = self.variables.get(name)
        if value is None:
            if name == "PWD":
                return self.cwd if self.cwd.startswith("/") else f"{ROOT}/{self.cwd}"
            if name in ("CLAUDE_PROJECT_DIR", "BATCH_IMPLEMENT_ROOT"):
                return ROOT
            return HOME if name == "HOME" else TEMP if re.search("te?mp", name, re.I) else ANY
        self.spend(len(value))
        return value


def bare(words: list[str]) -> list[str]:
    """A simple command without the keywords before it."""
    start = next((i for i, w in enumerate(words) if w not in _KEYWORDS), len(words))
    return words[start:] if start else words


def printed(words: list[str]) -> str:
    """What an `echo` or `printf` prints, roughly; empty for other commands."""
    return " ".join(operands(words[1:])) if words[:1] in (["echo"], ["printf"]) else ""


def operands(args: list[str], valued: str = "") -> list[str]:
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


class _Reader:
    """Reads one script and hands what it reads to a shell, in order."""

    def __init__(self, shell: Shell, text: str) -> None:
        self.shell = shell
        self.text = text
        self.at = 0
        self.body_at = -1  # where the next here-document of this line begins; -1: none on this line

    def run(self, closing: str = "") -> list[str]:
        """Read up to `closing` (a round bracket, or the end) and return the words of the last command."""
        self.shell.enter()
        words: list[str] = []
        feed: Optional[str] = None
        before = NOTHING
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
                words.append(ANY)
            elif redirect:
                feed = self.redirected(redirect, feed)
            elif c in "\n;&|()":
                self.shell.command(words, feed, before)
                last = words or last
                piped = c == "|" and text[self.at : self.at + 2] != "||"
                passed = feed or (before[1] if bare(words)[:1] == ["cat"] else "")
                before = (bare(words), passed) if piped else NOTHING
                words, feed = [], None
                if not c or (c == ")" and closing and not folders):
                    if not c and closing:
                        raise Unreadable
                    self.at += 1
                    self.shell.depth -= 1
                    return last
                self.at += 2 if text[self.at : self.at + 2] in ("&&", "||", ";;", "|&") else 1
                if c == "(" and text[self.at : self.at + 1] == "(" and self.arithmetic():
                    continue
                if c == "(":
                    folders.append(self.shell.cwd)
                elif c == ")" and folders:
                    self.shell.cwd = folders.pop()
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
        """Read a redirection with its target and return what the command will read on stdin."""
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
            self.shell.writes(op, target)
        return feed

    def document(self, tabs: bool) -> str:
        """The body of a here-document; the reading goes on behind it at the end of this line."""
        text, found = self.text, _DELIMITER.match(self.text, self.at)
        if not found:
            raise Unreadable
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
        return self.shell.value(name) if name else parameter[3] or ANY

    def substituted(self) -> str:
        """Read a command substitution from behind its bracket; its output, where that is plain."""
        cwd = self.shell.cwd
        last = self.run(")")
        self.shell.cwd = cwd
        if last[:1] == ["pwd"]:
            return self.shell.value("PWD")
        if "--show-toplevel" in last:
            return ROOT
        if last[:1] in (["echo"], ["printf"]):
            return printed(last)
        return TEMP if last[:1] == ["mktemp"] else ANY

    def arithmetic(self) -> bool:
        """Step over `((...))`, from its second bracket; False, without a step, if it is a subshell in a subshell."""
        depth = 0
        for bracket in re.compile(r"[()]").finditer(self.text, self.at):
            depth += 1 if bracket[0] == "(" else -1
            if not depth:
                self.shell.spend(bracket.end() - self.at)
                closed = self.text[bracket.end() : bracket.end() + 1] == ")"
                self.at = bracket.end() + 1 if closed else self.at
                return closed
        raise Unreadable

    def dollar(self) -> str:
        """Read an expansion and return its value."""
        text, at = self.text, self.at
        parameter = _PARAMETER.match(text, at)
        if parameter:
            self.at = parameter.end()
            return self.known(parameter)
        if text.startswith("$(", at):
            self.at += 2
            return ANY if text[self.at : self.at + 1] == "(" and self.arithmetic() else self.substituted()
        elif text.startswith("${", at):
            self.at = text.find("}", at) + 1
            if not self.at:
                raise Unreadable
        else:
            self.at += 1
            return "$"
        return ANY

    def backquoted(self) -> str:
        """Read what is between backquotes; its output is not known."""
        found = _BACKQUOTED.match(self.text, self.at)
        if not found:
            raise Unreadable
        self.at = found.end()
        self.shell.script(re.sub(r"\\([\\`$])", r"\1", found[1]))
        return ANY

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
                raise Unreadable

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
                    raise Unreadable
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
                out.append(re.sub(r"\s+", SPLIT, self.dollar()))
            else:
                self.at += 1
                if c == '"':
                    out.append(self.double())
                elif c != "$":
                    out.append(c)
                    braces = braces or c == "{"
        word = "".join(out)
        if ASSIGNMENT.match(word):
            return [word.replace(SPLIT, " ")]
        words = word.split(SPLIT) if SPLIT in word else [word]
        start, end = word.find("{"), word.find("}")
        if braces and 0 <= start < end and "," in word[start:end] and len(words) == 1 and len(word) < 4096:
            return [word[:start] + choice + word[end + 1 :] for choice in word[start + 1 : end].split(",")]
        return words
