"""What code for an interpreter (`python3 -c`, a here-document) runs and writes, as far as its literals say.

    find_started_commands("import os; os.system('rm x')")                         # [['sh', '-c', 'rm x']]
    find_started_commands("subprocess.run(['rm', 'x'])")                          # [['rm', 'x']]
    find_written_path("p = 'a'\\nopen(p, 'w')", lambda path, deep: path == "a")    # 'a'
    find_written_path("p = 'a'\\nopen(p).read()", lambda path, deep: path == "a")  # ''

Python, JavaScript, Ruby, Perl and PHP are treated alike: protected literals and variables set to one are marked, and
common calls that write what is marked are searched for. Arguments, loops, `chdir` and functions are not followed.
Nothing here raises or runs code; time is linear in the length.
"""

from __future__ import annotations

import re

from ..shell_parser import ANY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

_MAX_CALLS, _MAX_VARIABLES = 200, 20
_RUN = re.compile(
    r"\b(?:system|[pP]open|run|call|check_\w+|getoutput|exec(?:File)?|spawn)(?:Sync)?[\s(]([^)\n]{0,400})"
)
_LITERAL = re.compile(r"'((?:[^'\\\n]|\\.){0,400})'|\"((?:[^\"\\\n]|\\.){0,400})\"|`([^`\n]{0,400})`")
_ELSEWHERE = re.compile(r"mk[ds]?te?mp|tmpdir|temporary|gettempdir|tmp_path|\bhome\(|homedir|expanduser", re.I)
_CONTINUED = re.compile(r"(\.claude|\.git|batch-implement)['\"]\)?\s{0,9}[/,]\s{0,9}['\"]")
# \x01 stands for what names something protected, \x02 for a folder that contains it.
_WRAPPED = re.compile(
    r"\b(?:[\w.]{0,40}\.)?(?:Path|str|resolve|abspath|join)\((?:[\w.()]{1,60},\s{0,9})?[\x01\x02](?:\)|(?=[\n;]|$))|"
    r"\b[\w.()]{1,60}\s{0,9}/\s{0,9}[\x01\x02]|(?<!\w)\([\x01\x02]\)"
)
_SET = re.compile(r"[$@]?\b(\w{1,60})\s{0,9}=\s{0,9}([\x01\x02])\s{0,9}(?:[;\n]|$)")
_WRITES = re.compile(
    r"\bopen(?:Sync)?[\s(]{1,9}\x01\s{0,9},\s{0,9}(?:mode\s?=\s?)?['\"](?:[rbt]{0,2}[wax]|[rbt]{1,2}\+)"
    r"|\bopen[\s(]{1,9}[\w$ ]{1,40},\s{0,9}['\"]\+?>{1,2}['\"],\s{0,9}\x01|\bO_(?:WRONLY|RDWR)"
    r"|\x01\.(?:write_text|write_bytes|unlink|touch|rename|replace|symlink_to|chmod|open\(['\"][wa])"
    r"|\b(?:os|shutil|fs|fsp|promises|File|FileUtils|IO|Bun|Deno)\S{0,20}\.(?:write|delete|replace|utime)\(\x01"
    r"|\b(?:remove|unlink|truncate|chmod|writeFile|appendFile|rm|rm_r|rm_f|rm_rf|writeJson|outputFile|rename|"
    r"move|createWriteStream|file_put_contents|writeTextFile)(?:Sync)?[\s(]{1,9}\x01"
    r"|\b(?:rmtree|rename|renames|move|mv|rm|rm_r|rm_rf)(?:Sync)?[\s(]{1,9}[\x01\x02]"
    r"|\b(?:os|shutil|fs|fsp|promises|FileUtils)\S{0,20}\.(?:renames?|replace|move|mv|copy2?|copy[fF]ile|cp|link|symlink)"
    r"(?:Sync)?\([^()\n]{1,200},\s{0,9}\x01"
)


def find_started_commands(code: str) -> list[list[str]]:
    """Return the commands, as words, that `code` gives to a shell or starts, as far as they are literals."""
    started = [["sh", "-c", m[3]] for m in _LITERAL.finditer(code) if m[3]]
    for call in list(_RUN.finditer(code))[:_MAX_CALLS]:
        words = [_unquote(m) for m in _LITERAL.finditer(code, call.start(1), call.end())]
        words[:0] = ["python3"] * (words[:1] == ["-m"])  # behind `sys.executable`
        started += [["sh", "-c", words[0]] if " " in words[0] else words] if words else []
    return started


def find_written_path(code: str, touches: Callable[[str, bool], bool]) -> str:
    """Return the protected path that `code` writes or removes; empty for none. `touches` decides on path and deep."""
    named: list[str] = []

    def mark(literal: re.Match[str]) -> str:
        path = _unquote(literal).lstrip("<>+ ")
        mark = "\1" if touches(path, False) else "\2" if touches(path, True) else ""
        named.extend([path] if mark else [])
        return "'>'," * (_unquote(literal)[:1] == ">") + mark if mark else literal[0]

    code = _LITERAL.sub(mark, _CONTINUED.sub(r"\1/", re.sub("[\1\2]", "", code)))
    for _ in range(2 if named and not _ELSEWHERE.search(code) else 0):
        code = _WRAPPED.sub(lambda m: "\2" if "\2" in m[0] else "\1", code)
        for variable, kind in set(_SET.findall(code)[:_MAX_VARIABLES]):
            code = re.sub(rf"[$@]?\b{variable}\b", kind, code)
        if _WRITES.search(code):
            return named[0]
    return ""


def _unquote(literal: re.Match[str]) -> str:
    """Return the text of a literal, with `ANY` for what it interpolates."""
    return re.sub(r"[$#]?\{[^{}]*\}", ANY, next((g for g in literal.groups() if g is not None), ""))
