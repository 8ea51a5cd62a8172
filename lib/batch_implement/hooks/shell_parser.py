"""Split shell text into simple commands, from left to right, and run a method on each as soon as it is complete.

    class Printer(Shell):
        def run_command(self, words, text): print(words); return ANY
        def handle_write(self, operator, path): print(operator, path)

    Printer("/home/me/project").read_script("cd docs && f='a b'; rm \\"$f\\" >> log")

Words come without quotes and with the variables set in the text; what cannot be known is `ANY`, a known place without a
known name starts with `ROOT`, `HOME` or `TEMP`. Assignments and `cd` are passed on as words: the subclass keeps
`variables` and `cwd`. Functions are read where they are defined.

`split_options` and its kind take the arguments of a command apart.

Guarantees: nothing is executed; time is linear in the length. Text that is not a shell script (unbalanced quotes)
or expands to more than eight times `MAX_CHARS` raises Unreadable, endless nesting RecursionError; nothing else does.
"""

from __future__ import annotations

import re

ANY = "\0"  # text that is not known; NUL cannot occur in a shell word
ROOT, HOME, TEMP = "/\0root", "/\0home", "/\0temp"  # the project's root, a home folder, one for temporary files
TEMPORARY = re.compile(r"(?<!at)te?mp(?!l)", re.I)  # what the name of a variable for a temporary place has
MAX_CHARS = 64 * 1024  # of a text; through variables and nested scripts eight times as much may be read again
MAX_PATH_CHARS = 4096  # of a variable's value
WORD_SEPARATOR = "\x1f"  # between the words of an expansion

ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(\+?)=(.*)", re.S)
_BLANKS = re.compile(r"(?:[ \t\r]|\\\n)*")
_PLAIN = re.compile(r"[^ \t\r\n\"'\\$`()<>|&;{,]+")
_INSIDE = {'"': re.compile(r"[^\"\\$`]+"), "}": re.compile(r"[^}\"\\$`]+"), "": re.compile(r"[^\\$`]+")}
_BACKQUOTED = re.compile(r"((?:[^`\\]|\\.)*)`", re.S)
_LITERAL = re.compile(r"'([^']*)'|\$'((?:[^'\\]|\\.)*)'", re.S)
_PARAMETER = re.compile(r"\$(?:(\w+|[@*])|[#?$!-])")
_ARITHMETIC = re.compile(r"\$?\(\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)\)")
_EXPANSION = re.compile(r"(\w+)(?:\[([^]]*)\])?(?::?([-=?+])(.*))?", re.S)
_REDIRECT = re.compile(r"(?:\d+|\{\w+\})?(&>>?|>>|>\||>&|<<<|<<-?|<>|<&|[<>])")
_PROCESS = re.compile(r"\s+<(?=\()")
_DELIMITER = re.compile(r"[ \t]*(?:'([^'\n]*)'|\"([^\"\n]*)\"|(\\?)([^\s;&|<>()'\"`]+))")
_GIT_VALUED = ("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--attr-source")
_KEYWORDS = frozenset(("if", "then", "else", "elif", "do", "while", "until", "!", "{", "}", "coproc"))


class Unreadable(Exception):
    """The text is not a shell script, or expands to too much."""


class Shell:
    """A script that is read, with its variables and folder. A subclass says what becomes of the commands."""

    def __init__(self, cwd: str) -> None:
        self.cwd = cwd
        self.variables: dict[str, str] = {}
        self.spent = 0
        self.text, self.at = "", 0  # of the script in hand
        self.body_at = -1  # where the next here-document of this line begins; -1: none on this line

    def run_command(self, words: list[str], text: str) -> str:
        """Handle a simple command with `text` as input. Return what it prints, one item a line; `ANY` if unknown."""
        raise NotImplementedError

    def handle_write(self, operator: str, path: str) -> None:
        """Handle one redirection to a file."""

    def spend(self, characters: int) -> None:
        """Count characters that are read again. Raise Unreadable if there are too many."""
        self.spent += characters
        if self.spent > 8 * MAX_CHARS:
            raise Unreadable

    def get_variable(self, name: str) -> str:
        """Return the value of a variable; `ANY` if unknown."""
        if name not in self.variables:
            places = {"HOME": HOME, "CLAUDE_PROJECT_DIR": ROOT, "BATCH_IMPLEMENT_ROOT": ROOT}
            places["PWD"] = self.cwd if self.cwd[:1] in ("/", ANY) else f"{ROOT}/{self.cwd}"
            return places.get(name) or (TEMP if TEMPORARY.search(name) else ANY)
        self.spend(len(self.variables[name]))
        return self.variables[name]

    def assign(self, assignment: re.Match[str]) -> None:
        """Set the variable of a match of ASSIGNMENT; a long value becomes `ANY`."""
        value = (self.get_variable(assignment[1]) if assignment[2] else "") + assignment[3]
        self.variables[assignment[1]] = value if len(value) <= MAX_PATH_CHARS else ANY

    def read_script(self, text: str, feed: str = "", quoted: bool = False) -> str:
        """Read a whole script with `feed` as its standard input, or `quoted` text. Return its output, or the text."""
        self.spend(len(text))
        kept = self.text, self.at, self.body_at, self.cwd
        self.text, self.at, self.body_at = text, 0, -1
        try:
            return self._read_quoted("") if quoted else self._read_commands("", feed)
        finally:
            self.text, self.at, self.body_at, self.cwd = kept

    def _read_commands(self, closing: str, piped: str = "") -> str:
        """Read up to `closing` (a round bracket, or the end). Return what the last command prints."""
        text = self.text
        words: list[str] = []  # of a command; then where it begins, what it reads, and what the last one printed
        begin, feed, out = 0, "", ANY
        folders: list[str] = []  # to go back to at the ends of subshells
        loops: list[int] = []  # where the loops that are open begin
        pattern = False  # of a `case`: the next bracket ends it
        while True:
            self._match(_BLANKS)
            begin = begin if words else self.at
            c = text[self.at : self.at + 1]
            redirect = None if c in "&|" and text[self.at + 1 : self.at + 2] != ">" else self._match(_REDIRECT)
            operator = redirect[1] if redirect else ""
            if operator and strip_keywords(words)[:1] == ["[["] and words[-1] != "]]":
                words.append(operator)
            elif operator in ("<", ">") and text.startswith("(", self.at):
                feed = self._read_substitution()
                words.append(ANY)
            elif operator in ("<<", "<<-"):
                feed = self._read_here_document(r"\t*" if operator == "<<-" else "")
            elif operator == "<" and self._match(_PROCESS):
                feed = self._read_substitution()
            elif operator:
                self._match(_BLANKS)
                path = " ".join(self._read_word())
                feed = path if operator == "<<<" else feed
                if operator not in ("<", "<&", "<<<") and not (operator == ">&" and re.fullmatch(r"\d+-?|-", path)):
                    self.handle_write(operator, path)
            elif c in "\n;&|()":
                keyword = strip_keywords(words)[:1]
                if keyword == ["for"] or {"while", "until"} & set(words[:2]):
                    loops.append(begin)
                elif keyword == ["done"] and loops:
                    body = text[loops.pop() : begin]
                    if feed:  # which stands behind the loop: read it again with that
                        self.read_script(body, feed)
                printed = self.run_command(words, feed or piped)
                out = printed if words else out
                goes_on = (c == "|" and text[self.at : self.at + 2] != "||") or (c == "\n" and not words)
                piped = printed if goes_on else ""
                closes = c == ")" and keyword != ["case"] and (not pattern or keyword == ["esac"])
                if keyword == ["case"] or text.startswith(";;", self.at):
                    pattern = c != ")"
                elif c == ")" or keyword == ["esac"]:
                    pattern = False
                words, feed = [], ""
                if not c and closing:
                    raise Unreadable
                if c == "(" and self._match(_ARITHMETIC):
                    continue
                self.at += 2 if text[self.at : self.at + 2] in ("&&", "||", ";;", "|&") else 1
                if not c or (closes and closing and not folders):
                    return out
                if c == "(" and not pattern:
                    folders.append(self.cwd)
                elif closes and folders:
                    self.cwd = folders.pop()
                elif c == "\n" and self.body_at >= 0:
                    self.at, self.body_at = self.body_at, -1
            elif c == "#":
                self.at = text.find("\n", self.at) % (len(text) + 1)  # the end if there is none
            else:
                words += self._read_word()

    def _match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """Return the match of a pattern here, and step over it."""
        match = pattern.match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match

    def _read_here_document(self, tabs: str) -> str:
        """Return the body of a here-document; at the end of this line reading continues after it."""
        delimiter = self._match(_DELIMITER)
        if not delimiter:
            raise Unreadable
        word = delimiter[1] or delimiter[2] or delimiter[4] or ""
        start = self.body_at if self.body_at >= 0 else self.text.find("\n", self.at) + 1 or len(self.text)
        end = re.compile(rf"^{tabs}{re.escape(word)}(?=\)|$)", re.M).search(self.text, start)
        self.body_at = end.end() if end else len(self.text)
        body = self.text[start : end.start() if end else len(self.text)]
        try:
            return body if delimiter[4] is None or delimiter[3] else self.read_script(body, quoted=True)
        except Unreadable:  # a lone backquote in prose: the shell complains and goes on
            return body

    def _read_substitution(self) -> str:
        """Read a command or process substitution from its bracket. Return its output."""
        self.at += 1
        cwd, out = self.cwd, self._read_commands(")")
        self.cwd = cwd
        return out

    def _read_expansion(self) -> str:
        """Read an expansion, or a command in backquotes, and return its value."""
        text, at = self.text, self.at
        parameter = self._match(_PARAMETER) or self._match(_ARITHMETIC)
        if parameter:
            return self.get_variable(parameter[1]) if parameter.lastindex else ANY
        self.at += 1
        if text[at] == "`":
            backquoted = self._match(_BACKQUOTED)
            if not backquoted:
                raise Unreadable
            return self.read_script(re.sub(r"\\([\\`$])", r"\1", backquoted[1]))
        if text.startswith("$(", at):
            return self._read_substitution()
        if not text.startswith("${", at):
            return "$"
        self.at += 1
        inner = _EXPANSION.fullmatch(self._read_quoted("}"))
        if not inner or inner[3] == "+":
            return inner[4] if inner else ANY
        value = self.get_variable(inner[1]) if inner[2] in (None, "@", "*") else ANY
        return inner[4] or ANY if value == ANY and inner[3] in ("-", "=") else value

    def _read_quoted(self, closing: str) -> str:
        """Read text in quotes or braces, from after its start up to `closing`; empty for the end."""
        out = []
        while True:
            plain = self._match(_INSIDE[closing])
            out.append(plain[0] if plain else "")
            c, after = self.text[self.at : self.at + 1], self.text[self.at + 1 : self.at + 2]
            if c and c in "$`":
                out.append(self._read_expansion())
            elif c == "\\":
                out.append("" if after == "\n" else after if after in '"\\$`' else c + after)
                self.at += 2
            elif c or not closing:
                self.at += 1
                if c == closing:
                    return "".join(out)
            else:
                raise Unreadable

    def _read_word(self) -> list[str]:
        """Read one word with its quotes. Return several words where it expands to several."""
        out: list[str] = []
        text, braces = self.text, False
        while True:
            plain = self._match(_PLAIN)
            out.append(plain[0] if plain else "")
            c, after = text[self.at : self.at + 1], text[self.at + 1 : self.at + 2]
            literal = self._match(_LITERAL) if c and c in "'$" else None
            if not c or c in " \t\r\n<>|&;()":
                break
            if literal:
                escaped = re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t"}.get(m[1], m[1]), literal[2] or "")
                out.append(literal[1] or escaped)
            elif c == "'":
                raise Unreadable
            elif c == "\\":
                out.append(after.strip("\n"))
                self.at += 2
            elif c == "`" or (c == "$" and after != '"'):
                out.append(re.sub(r"\s+", WORD_SEPARATOR, self._read_expansion()))
            else:
                self.at += 1
                out.append(self._read_quoted(c) if c == '"' else "" if c == "$" else c)
                braces = braces or c == "{"
        word = "".join(out)
        if ASSIGNMENT.match(word):
            return [word.replace(WORD_SEPARATOR, " ")]
        start, end = word.find("{"), word.find("}")
        if braces and 0 <= start < end < 4096 and "," in word[start:end] and WORD_SEPARATOR not in word:
            return [word[:start] + choice + word[end + 1 :] for choice in word[start + 1 : end].split(",")]
        return word.split(WORD_SEPARATOR)


def split_options(args: list[str], valued: str = "") -> tuple[list[str], list[str]]:
    """Return the options in `args`, without the next words that those in `valued` take, and the operands."""
    options: list[str] = []
    operands: list[str] = []
    takes, rest = valued.split(), iter(args)
    for arg in rest:
        if arg == "--":
            operands += rest
        elif arg[:1] != "-" or arg == "-":
            operands.append(arg)
        else:
            options.append(arg)
            if arg in takes:
                next(rest, None)
    return options, operands


def get_operands(args: list[str], valued: str = "") -> list[str]:
    """Return the words of `args` that are neither options nor values of the options in `valued`."""
    return split_options(args, valued)[1]


def get_option_letters(args: list[str]) -> str:
    """Return all one-letter options in `args` as one string."""
    return "".join(a[1:] for a in args if re.fullmatch("-[A-Za-z0-9]+", a))


def get_option_values(args: list[str], options: tuple[str, ...]) -> list[str]:
    """Return the values of the options: the next word, or the text after an equals sign."""
    values = [b for a, b in zip(args, args[1:]) if a in options]
    return values + [a.split("=", 1)[1] for a in args if "=" in a and a.split("=", 1)[0] in options]


def skip_git_options(args: list[str]) -> list[str]:
    """Return git's subcommand and its arguments."""
    at = 0
    while at < len(args) and args[at].startswith("-"):
        at += 2 if args[at] in _GIT_VALUED else 1
    return args[at:]


def strip_keywords(words: list[str]) -> list[str]:
    """Return a simple command without the keywords before it."""
    start = next((i for i, w in enumerate(words) if w not in _KEYWORDS), len(words))
    return words[start:] if start else words
