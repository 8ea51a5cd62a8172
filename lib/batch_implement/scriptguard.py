"""Reads code given to an interpreter, as `python3 -c` or a here-document has it: what it would run and what it writes.

    commands("import os; os.system('rm x')")                              # [['sh', '-c', 'rm x']]
    commands("subprocess.run(['rm', 'x'])")                               # [['rm', 'x']]
    written("open('.claude/batch_state.json', 'w')", [], names, cwd)      # '.claude/batch_state.json'

Python, JavaScript, Ruby, Perl and PHP are looked at alike: not parsed, but searched for the calls by which they usually
write. What such a call is given is followed through assignments and `sys.argv`. Code counts only if it names something
guarded; a call whose target cannot be followed then counts as one that writes that.

Nothing here raises and no code is run. Of each kind of call the first 200 are looked at, of a call 400 characters.
"""

from __future__ import annotations

import re

from .guarded import ANY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .guarded import Names

_CALLS = 200

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


def commands(code: str) -> list[list[str]]:
    """The commands that `code` gives to a shell or starts itself, as words, as far as they are written out in it."""
    found = []
    for call in _calls(_RUN, code):
        words = [_unquoted(m) for m in _LITERAL.finditer("".join(_arguments(code, call.end())))]
        if words:
            found.append(["sh", "-c", words[0]] if " " in words[0] else words)
    return found


def written(code: str, argv: list[str], names: Names, cwd: str) -> str:
    """The guarded path that `code`, called with `argv` in the folder `cwd`, writes or removes; empty for none."""
    literals = [_unquoted(m) for m in _LITERAL.finditer(code)]
    named = [path for path in literals + argv if names.touches(path, cwd, True)]
    if not named and not (names.folder in literals and names.state in literals):
        return ""
    assigned: dict[str, str] = {m[1]: m[2] for m in _ASSIGNED.finditer(code)}

    def aims(expression: str, deep: bool, hops: int = 3) -> bool:
        parts = [_unquoted(m) for m in _LITERAL.finditer(expression)]
        if parts:
            return any(names.touches(path, cwd, deep) for path in [*parts, "/".join(parts)])
        number = re.search(r"argv\[([1-9]\d*)\]", expression)
        if number and argv:
            return any(names.touches(path, cwd, deep) for path in argv[int(number[1][:3]) - 1 :][:1])
        variable = re.match(r"\s*[$@%]?(?:Path\()?(\w+)", expression)
        if variable and variable[1] in assigned and hops:
            return aims(assigned[variable[1]], deep, hops - 1)
        return bool(variable)

    guilty = any(aims(expression, deep) for expression, deep in _targets(code, assigned))
    return (named or [names.state])[0] if guilty else ""


def _targets(code: str, assigned: dict[str, str]) -> Iterator[tuple[str, bool]]:
    """What the writing calls write to, as it stands in the code, and whether they take a folder with all in it."""
    for call in _calls(_FUNCTION, code):
        given = _arguments(code, call.end())
        deep = call[1][:2] in ("rm", "mo", "mv", "re")
        yield from ((given[i], deep) for i in _ARGUMENTS[call[1]] if i < len(given))
    for call in _calls(_OPEN, code):
        given = [*_arguments(code, call.end()), "", "", ""]
        perl = re.match(r"\s*['\"]\+?[<>]*>[<>]*\s*([^'\"]*)", given[1])
        if perl:
            yield (f"'{perl[1]}'" if perl[1] else given[2]), False
        elif any(_MODE.match(g) for g in given[1:]):
            yield given[0], False
    for call in _calls(_METHOD, code):
        receiver, given = _receiver(code, call.start()), _arguments(code, call.end())
        source = assigned.get(receiver, receiver)
        if receiver in ("os", "fs", "shutil", "io") or (call[1] == "open" and not any(map(_MODE.match, given))):
            continue
        if call[1] != "replace" or "Path" in source or source[:1] == "(":
            yield receiver, False
            if call[1] in ("rename", "replace"):
                yield from ((g, False) for g in given)


def _calls(kind: re.Pattern[str], code: str) -> list[re.Match[str]]:
    return list(kind.finditer(code))[:_CALLS]


def _unquoted(literal: re.Match[str]) -> str:
    """The text of a literal; what it interpolates is not known."""
    text = next((g for g in literal.groups() if g is not None), "")
    return re.sub(r"[$#]?\{[^{}]*\}", ANY, text).lstrip("<>+ ")


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
