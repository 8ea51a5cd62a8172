"""Parse shell text from left to right, once, and pass on each simple command as soon as it is complete.

    class Printer(Shell):
        def handle_command(self, words, text=""): print(words)
        def handle_write(self, operator, path): print(operator, path)

    Printer("/home/me/project").read_script("cd docs && f='a b'; rm \\"$f\\" >> log")

Supported: quotes, comments, keywords, variables and arrays set in the text, defaults, substitutions, braces,
arithmetic, tests, `case`, subshells, redirections and here-documents. What cannot be known (`${x%y}`, most output)
is `ANY` in the word. Assignments and `cd` are passed on as words: the subclass keeps `variables` and `cwd`. Globs stay
as they are. Functions are read where they are defined, not where they are called.

Guarantees: nothing is executed. Text that is not a shell script (unbalanced quotes, endless nesting), or expands to
more than eight times `MAX_CHARS`, raises Unreadable, and nothing else is raised; time is linear in the length.
"""

from __future__ import annotations

import re

from .protected_paths import ANY, HOME, MAX_PATH_CHARS, ROOT, TEMP, TEMPORARY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

MAX_CHARS = 64 * 1024  # of a text; through variables and nested scripts eight times as much may be read again
WORD_SEPARATOR = "\x1f"  # between the words of an expansion and the items of an array
_MAX_DEPTH = 24  # substitutions and scripts inside one another

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.S)
_BLANKS = re.compile(r"(?:[ \t\r]|\\\n)*")
_SPACE = re.compile(r"(?:\s|\\\n|(?<=\s)#[^\n]*)*")
_PLAIN = re.compile(r"[^ \t\r\n\"'\\$`()<>|&;{,]+")
_INSIDE = {'"': re.compile(r"[^\"\\$`]+"), "}": re.compile(r"[^}\"\\$`]+"), "": re.compile(r"[^\\$`]+")}
_BACKQUOTED = re.compile(r"`((?:[^`\\]|\\.)*)`", re.S)
_ANSI = re.compile(r"\$'((?:[^'\\]|\\.)*)'", re.S)
_PARAMETER = re.compile(r"\$(?:(\w+|[@*])|[#?$!-])")
_EXPANSION = re.compile(r"(\w+)(?:\[([^]]*)\])?(?::?([-=?+])(.*))?", re.S)
_REDIRECT = re.compile(r"&>>?|>>|>\||>&|<<<|<<-?|<>|<&|[<>]")
_DESCRIPTOR = re.compile(r"(?:\d+|\{\w+\})(?=[<>])")
_DELIMITER = re.compile(r"[ \t]*(?:'([^'\n]*)'|\"([^\"\n]*)\"|(\\?)([^\s;&|<>()'\"`]+))")
_KEYWORDS = frozenset(("if", "then", "else", "elif", "do", "while", "until", "!", "{", "}", "coproc"))


class Unreadable(Exception):
    """The text is not a shell script, or expands to too much."""


class Shell:
    """The state of a script while it is read: folder, variables, files, work done so far.

    A subclass says what becomes of the commands. `files` are those that the text itself writes with `>`, by the path as
    it is spelled there, without `./`.
    """

    def __init__(self, cwd: str) -> None:
        self.cwd = cwd
        self.variables: dict[str, str] = {}
        self.files: dict[str, str] = {}
        self.spent = self.depth = 0

    def handle_command(self, words: list[str], text: str = "") -> None:
        """Handle one simple command; `text` is its standard input as far as known."""
        raise NotImplementedError

    def handle_write(self, operator: str, path: str) -> None:
        """Handle one redirection to a file."""

    def get_output(self, words: list[str], text: str) -> str:
        """Return what a simple command prints; `ANY` if unknown."""
        return ANY

    def read_script(self, text: str) -> str:
        """Read a whole script, then restore `cwd`. Return what its last command prints."""
        self.spend(len(text))
        cwd = self.cwd
        out = _ScriptReader(self, text).read()
        self.cwd = cwd
        return out

    def get_written_text(self, path: str) -> Optional[str]:
        """Return what the text wrote to a file, as far as known; None for another file."""
        return self.files.get(path.removeprefix("./"))

    def spend(self, characters: int) -> None:
        """Count characters that are read again. Raise Unreadable if there are too many."""
        self.spent += characters
        if self.spent > 8 * MAX_CHARS:
            raise Unreadable

    def enter(self) -> None:
        """Count a level of nesting; leave it with `depth -= 1`. Raise Unreadable if it is too deep."""
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Unreadable

    def get_variable(self, name: str) -> str:
        """Return the value of a variable; `ANY` if unknown."""
        value = self.variables.get(name)
        if value is None:
            if name == "PWD":
                return self.cwd if self.cwd.startswith("/") else f"{ROOT}/{self.cwd}"
            if name in ("CLAUDE_PROJECT_DIR", "BATCH_IMPLEMENT_ROOT"):
                return ROOT
            return HOME if name == "HOME" else TEMP if TEMPORARY.search(name) else ANY
        self.spend(len(value))
        return value

    def assign(self, assignment: re.Match[str]) -> None:
        """Set the variable of a match of ASSIGNMENT; a long value becomes `ANY`."""
        value = (self.get_variable(assignment[1]) if assignment[2] else "") + assignment[3]
        self.variables[assignment[1]] = value if len(value) <= MAX_PATH_CHARS else ANY


def strip_keywords(words: list[str]) -> list[str]:
    """Return a simple command without the keywords before it."""
    start = next((i for i, w in enumerate(words) if w not in _KEYWORDS), len(words))
    return words[start:] if start else words


class _ScriptReader:
    """Read one script and pass its commands to a shell, in order."""

    def __init__(self, shell: Shell, text: str) -> None:
        self.shell = shell
        self.text = text
        self.at = 0
        self.body_at = -1  # where the next here-document of this line begins; -1: none on this line

    def read(self, closing: str = "") -> str:
        """Read up to `closing` (a round bracket, or the end). Return what the last command prints."""
        self.shell.enter()
        text = self.text
        words: list[str] = []  # the command that is being read, what it reads and where it writes
        feed = piped = target = ""
        last: tuple[list[str], str] = ([], "")
        folders: list[str] = []  # to go back to at the ends of subshells
        pattern = False  # of a `case`: the next bracket ends it
        while True:
            blanks = _BLANKS.match(text, self.at)
            self.at = blanks.end() if blanks else self.at
            c = text[self.at : self.at + 1]
            redirect = None if c in "&|" and text[self.at + 1 : self.at + 2] != ">" else _REDIRECT.match(text, self.at)
            if redirect and strip_keywords(words)[:1] == ["[["] and words[-1] != "]]":
                words.append(redirect[0])
                self.at = redirect.end()
            elif redirect and text[redirect.end() - 1 : redirect.end() + 1] in ("<(", ">(") and len(redirect[0]) == 1:
                self.at += 2
                self.read_substitution()
                words.append(ANY)
            elif redirect and redirect[0] in ("<<", "<<-"):
                self.at = redirect.end()
                feed = self.read_here_document(redirect[0] == "<<-")
            elif redirect and redirect[0] == "<<<":
                feed = self.read_operand(redirect)
            elif redirect:
                target = self.read_redirect(redirect) or target
            elif c in "\n;&|()":
                feed = feed or piped
                self.shell.handle_command(words, feed)
                if target:
                    known = self.shell.files.get(target, "") + self.shell.get_output(words, feed) + "\n"
                    self.shell.files[target] = known[:MAX_CHARS]
                piped = self.shell.get_output(words, feed) if c == "|" and text[self.at : self.at + 2] != "||" else ""
                last = (words, feed) if words else last
                keyword = strip_keywords(words)[:1]
                closes = c == ")" and keyword != ["case"] and (not pattern or keyword == ["esac"])
                if keyword == ["case"] or text.startswith(";;", self.at):
                    pattern = c != ")"
                elif c == ")" or keyword == ["esac"]:
                    pattern = False
                words, feed, target = [], "", ""
                if not c or (closes and closing and not folders):
                    if not c and closing:
                        raise Unreadable
                    self.at += 1
                    self.shell.depth -= 1
                    return self.shell.get_output(*last)
                self.at += 2 if text[self.at : self.at + 2] in ("&&", "||", ";;", "|&") else 1
                if c == "(" and text[self.at : self.at + 1] == "(" and self.skip_arithmetic():
                    continue
                if c == "(" and not pattern:
                    folders.append(self.shell.cwd)
                elif closes and folders:
                    self.shell.cwd = folders.pop()
                elif c == "\n" and self.body_at >= 0:
                    self.at, self.body_at = self.body_at, -1
            elif c == "#":
                end = text.find("\n", self.at)
                self.at = end if end >= 0 else len(text)
            elif (descriptor := _DESCRIPTOR.match(text, self.at)) is not None:
                self.at = descriptor.end()
            else:
                words += self.read_word()

    def read_operand(self, redirect: re.Match[str]) -> str:
        """Read the operand of a redirection."""
        blanks = _BLANKS.match(self.text, redirect.end())
        self.at = blanks.end() if blanks else redirect.end()
        return " ".join(self.read_word())

    def read_redirect(self, redirect: re.Match[str]) -> str:
        """Read a redirection. Return the path that it writes; empty if it writes none."""
        path, op = self.read_operand(redirect), redirect[0]
        if op in ("<", "<&") or (op == ">&" and re.fullmatch(r"\d+-?|-", path)):
            return ""
        self.shell.handle_write(op, path)
        path = path.removeprefix("./")
        if op[-2:] != ">>":
            self.shell.files[path] = ""
        return path

    def read_here_document(self, tabs: bool) -> str:
        """Return the body of a here-document; at the end of this line reading continues after it."""
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
        if found[4] is None or found[3]:
            return body
        depth = self.shell.depth
        try:
            return _ScriptReader(self.shell, body).read_quoted("")
        except Unreadable:  # a lone backquote in prose: the shell complains and goes on
            self.shell.depth = depth
            return body

    def read_substitution(self) -> str:
        """Read a command substitution from after its bracket. Return its output."""
        cwd = self.shell.cwd
        out = self.read(")")
        self.shell.cwd = cwd
        return out

    def skip_arithmetic(self) -> bool:
        """Skip `((...))` from its second bracket. Return False, without skipping, for a subshell in a subshell."""
        depth = 0
        for bracket in re.compile(r"[()]").finditer(self.text, self.at):
            depth += 1 if bracket[0] == "(" else -1
            if not depth:
                self.shell.spend(bracket.end() - self.at)
                closed = self.text[bracket.end() : bracket.end() + 1] == ")"
                self.at = bracket.end() + 1 if closed else self.at
                return closed
        raise Unreadable

    def read_expansion(self) -> str:
        """Read an expansion and return its value."""
        text, at = self.text, self.at
        parameter = _PARAMETER.match(text, at)
        if parameter:
            self.at = parameter.end()
            return self.get_array_item(parameter[1], "@" if parameter[1] in "@*" else "") if parameter[1] else ANY
        self.at += 2
        if text.startswith("$(", at):
            return ANY if text[self.at : self.at + 1] == "(" and self.skip_arithmetic() else self.read_substitution()
        if text.startswith("${", at):
            inner = _EXPANSION.fullmatch(self.read_quoted("}"))
            if not inner or inner[3] == "+":
                return inner[4] if inner else ANY
            value = self.get_array_item(inner[1], inner[2] or "")
            return inner[4] or ANY if value == ANY and inner[3] in ("-", "=") else value
        self.at -= 1
        return "$"

    def get_array_item(self, name: str, index: str) -> str:
        """Return a variable's value; of an array the item at `index`, or all items if that is not a number."""
        value = self.shell.get_variable(name)
        if WORD_SEPARATOR not in value or not re.fullmatch(r"\d{0,4}", index):
            return value
        return [*value.split(WORD_SEPARATOR), ANY][: int(index or 0) + 1][-1]

    def read_backquotes(self) -> str:
        """Read a backquoted command. Return its output."""
        found = _BACKQUOTED.match(self.text, self.at)
        if not found:
            raise Unreadable
        self.at = found.end()
        return self.shell.read_script(re.sub(r"\\([\\`$])", r"\1", found[1]))

    def read_quoted(self, closing: str) -> str:
        """Read text in quotes or braces, from after its start up to `closing`; empty for the end."""
        out = []
        while True:
            plain = _INSIDE[closing].match(self.text, self.at)
            if plain:
                out.append(plain[0])
                self.at = plain.end()
            c = self.text[self.at : self.at + 1]
            if c == "$":
                out.append(self.read_expansion())
            elif c == "`":
                out.append(self.read_backquotes())
            elif c == "\\":
                after = self.text[self.at + 1 : self.at + 2]
                out.append("" if after == "\n" else after if after in '"\\$`' else c + after)
                self.at += 2
            elif c == closing:
                self.at += 1
                return "".join(out)
            elif not c:
                raise Unreadable
            else:
                self.at += 1  # a quote inside of braces

    def read_array(self) -> str:
        """Read the items of an array from its bracket."""
        self.at += 1
        found: list[str] = []
        while not self.text.startswith(")", self.at):
            blanks = _SPACE.match(self.text, self.at)
            self.at = blanks.end() if blanks else self.at
            start = self.at
            found += self.read_word()
            if self.at == start and not self.text.startswith(")", start):
                raise Unreadable
        self.at += 1
        return WORD_SEPARATOR.join(found)

    def read_word(self) -> list[str]:
        """Read one word with its quotes. Return several words where it expands to several."""
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
                out.append(self.read_backquotes())
            elif c == "$" and (ansi := _ANSI.match(text, self.at)) is not None:
                out.append(re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), ansi[1]))
                self.at = ansi.end()
            elif c == "$" and text[self.at + 1 : self.at + 2] != '"':
                out.append(re.sub(r"\s+", WORD_SEPARATOR, self.read_expansion()))
            else:
                self.at += 1
                if c == '"':
                    out.append(self.read_quoted('"'))
                elif c != "$":
                    out.append(c)
                    braces = braces or c == "{"
        word = "".join(out)
        if ASSIGNMENT.match(word):
            array = word[-1] == "=" and text.startswith("(", self.at)
            return [word + self.read_array() if array else word.replace(WORD_SEPARATOR, " ")]
        words = word.split(WORD_SEPARATOR) if WORD_SEPARATOR in word else [word]
        start, end = word.find("{"), word.find("}")
        if braces and 0 <= start < end and "," in word[start:end] and len(words) == 1 and len(word) < 4096:
            return [word[:start] + choice + word[end + 1 :] for choice in word[start + 1 : end].split(",")]
        return words
