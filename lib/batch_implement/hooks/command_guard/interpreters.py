"""What code for an interpreter (`python3 -c`, a here-document) would run and write.

    find_started_commands("import os; os.system('rm x')", "python")  # [['sh', '-c', 'rm x']]
    find_started_commands("subprocess.run(['rm', 'x'])", "python")  # [['rm', 'x']]
    find_written_path("open('.claude/batch_state.json', 'w')", [], names, "")  # '.claude/batch_state.json'
    find_written_path("open('.claude/batch_state.json', 'r')", [], names, "")  # ''

Python, JavaScript, Ruby, Perl and PHP are treated alike: the code is not parsed but searched for common writing calls,
and their arguments are followed through assignments and `sys.argv`. Only code that names a protected path counts. A
call whose target cannot be followed then counts as writing that path, unless the path is only read, printed or replaced
where it is named.

Nothing here raises or runs code. At most 200 calls of each kind are examined, and 400 characters of each call.
"""

from __future__ import annotations

import re

from .protected_paths import ANY, TEMP, TEMPORARY
from .writing_commands import resolve_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator

    from .protected_paths import ProtectedNames

_MAX_CALLS = 200

# Writing calls in the usual scripting languages, and which argument they write to.
_FIRST = (
    "remove unlink rmtree removedirs rmdir truncate chmod utime writeFile appendFile rm rm_r rm_f rm_rf "
    "createWriteStream outputFile writeJson outputJson file_put_contents writeTextFile write delete touch"
)
_BOTH = "rename renames replace move mv"
_SECOND = "copy copy2 copyfile copyFile cp link symlink"
_ARGUMENTS = {n: at for names, at in ((_FIRST, (0,)), (_BOTH, (0, 1)), (_SECOND, (1,))) for n in names.split()}
# What every code is searched for.
_RUN = re.compile(
    r"\b(?:system|popen|Popen|run|call|check_call|check_output|getoutput|exec(?:File)?(?:Sync)?|spawn(?:Sync)?)[\s(]"
)
_ENVIRONMENT = re.compile(
    r"(?:os\.environ\[|(?:os\.environ\.get|(?:os\.)?getenv)\(|\bENV\[|process\.env(?:\.|\[))"
    r"['\"]?(\w+)['\"]?(?:[^])\n]{0,100}[])])?"
)
_CHDIR = re.compile(r"\bchdir\s*[( ]")
_LITERAL = re.compile(r"'((?:[^'\\\n]|\\.){0,400})'|\"((?:[^\"\\\n]|\\.){0,400})\"|`([^`\n]{0,400})`")
# The rest is compiled only for code that names something guarded.
_MAIN = r"\b(?:main\s*\(|sys\.argv\s*=)\s*(?=\[)"
_MODULE = r"\b(?:os|shutil|fs|fsp|promises|io|codecs|File|FileUtils|IO|Bun|Deno)\."
_FUNCTION = (
    rf"(?:{_MODULE}|(?:(?<![\w$.])|(?<=\)\.))(?!(?:replace|write|delete|touch)\b))"
    rf"({'|'.join(sorted(_ARGUMENTS, key=len, reverse=True))})(?:Sync)?(?:\s*\(|\s+(?=['\"$]))"
)
_METHOD = r"\.(write_text|write_bytes|unlink|touch|rename|replace|symlink_to|hardlink_to|chmod|open)\s*\("
_OPEN = rf"(?:{_MODULE}|(?<![\w$.])|(?<=\)\.))open(?:Sync)?[\s(]"
_EDITED = r"\bfileinput\.(?:input|FileInput)\s*\("
_MODE = r"\s*(?:mode\s*=\s*)?['\"](?:[rbt]*[wax][bt+]*|[rbt]*\+[bt]*)['\"]|(?s:.*)O_(?:WRONLY|RDWR|TRUNC|CREAT)"
_STEP = rf"{_LITERAL.pattern}|[()\[\]{{}},;]"
_ASSIGNED = (
    r"(?<![\w.])[$@]?(\w{1,60})\s*=(?!=)\s*([^;\n]{1,200})"
    r"|\bfor ?\(?(?:const |let |var )?(\w{1,60}) (?:in|of) ([^:\n]{1,200})"
    r"|\bwith ([^\n]{1,200}?) as (\w{1,60})"
)
_BASE = r"[\s(\[]*(?:[\w.]*\b(?:Path|join|resolve|str)\s*\(\s*)*([A-Za-z_]\w*)"  # what a path begins with
_LISTING = r"glob|iterdir|listdir|scandir|readdir|walk|children|entries"
_LOOKS = (  # at what is named behind it
    r"\b(?:open|readFile|readTextFile|File\.read|load|require|print|log|puts|exists|isfile|replace|sub|count)(?:Sync)?"
    r"\s*\(\s*(?:[^()\n]*,\s*)?$"
)


def resolve_environment(code: str, value: Callable[[str], str]) -> str:
    """Return `code` with each access to a known environment variable replaced by a literal of its value."""

    def literal(look: re.Match[str]) -> str:
        known = value(look[1])
        return look[0] if known == ANY and "," in look[0] else f"'{known}'"  # a default is as good as a guess

    return _ENVIRONMENT.sub(literal, code)


def find_started_commands(code: str, language: str) -> list[list[str]]:
    """Return the commands, as words, that `code` gives to a shell or starts, as far as they are literals."""
    found = []
    for call in _find_calls(_RUN, code):
        words = [_unquote(m) for m in _LITERAL.finditer("".join(_split_call_arguments(code, call.end())))]
        if words and words[0][:1] == "-":
            words.insert(0, "python3")  # behind `sys.executable`
        if words:
            found.append(["sh", "-c", words[0]] if " " in words[0] else words)
    for call in _find_calls(_MAIN, code) if "batch_implement" in code else ():
        words = [_unquote(m) for m in _LITERAL.finditer("".join(_split_call_arguments(code, call.end())))]
        found.append(["batchctl", *words[words[:1] == ["batchctl"] :]])
    if language in ("perl", "ruby", "php"):
        found += [["sh", "-c", m[3]] for m in _LITERAL.finditer(code) if m[3]]
    return found


def find_written_path(code: str, argv: list[str], names: ProtectedNames, cwd: str) -> str:
    """Return the protected path that `code`, run with `argv` in `cwd`, writes or removes; empty for none."""
    for call in _find_calls(_CHDIR, code):
        to = _split_call_arguments(code, call.end())[0]
        cwd = TEMP if TEMPORARY.search(to) else resolve_from(cwd, "".join(_unquote(m) for m in _LITERAL.finditer(to)))
    literals = [(_unquote(m), m) for m in _LITERAL.finditer(code)]
    named = [path for path in [*(text for text, _ in literals), *argv] if names.touches(path, cwd, True)]
    if not named and not {names.folder, names.state} <= {text for text, _ in literals}:
        return ""
    assigned = {m[1] or m[3] or m[6]: m[2] or m[4] or m[5] for m in re.finditer(_ASSIGNED, code)}
    used = any(names.touches(path, cwd, names.folder in path) for path in argv) or any(
        text == names.state or names.touches(text, cwd, names.folder in text)
        for text, literal in literals
        if not _is_only_read(code, literal)
    )

    def aims(expression: str, deep: bool, hops: int = 3) -> bool:
        parts = [_unquote(m) for m in _LITERAL.finditer(expression)]
        if parts:
            base = re.match(_BASE, expression)
            if base and TEMPORARY.search(f"{base[1]} {assigned.get(base[1], '')}"):
                return False
            return any(names.touches(path, cwd, deep) for path in [*parts, "/".join(parts)])
        number = re.search(r"argv\[([1-9]\d*)\]", expression)
        if number and argv:
            return any(names.touches(path, cwd, deep) for path in argv[int(number[1][:3]) - 1 :][:1])
        variable = re.match(r"\s*[$@%]?(?:Path\()?(\w+)", expression)
        if variable and variable[1] in assigned and hops:
            source = assigned[variable[1]]
            return aims(source, deep or bool(names.folder in source and re.search(_LISTING, source)), hops - 1)
        return bool(variable) and used

    guilty = any(aims(expression, deep) for expression, deep in _find_targets(code, assigned))
    return (named or [names.state])[0] if guilty else ""


def _find_targets(code: str, assigned: dict[str, str]) -> Iterator[tuple[str, bool]]:
    """Yield the target expressions of writing calls, and whether they affect a folder with everything in it."""
    for call in _find_calls(_FUNCTION, code):
        given = _split_call_arguments(code, call.end())
        deep = call[1][:2] in ("rm", "mo", "mv", "re")
        yield from ((given[i], deep) for i in _ARGUMENTS[call[1]] if i < len(given))
    for call in _find_calls(_OPEN, code):
        given = [*_split_call_arguments(code, call.end()), "", "", ""]
        perl = re.match(r"\s*['\"]\+?[<>]*>[<>]*\s*([^'\"]*)", given[1])
        if perl:
            yield (f"'{perl[1]}'" if perl[1] else given[2]), False
        elif any(re.match(_MODE, g) for g in given[1:]):
            yield given[0], False
    for call in _find_calls(_EDITED, code):
        given = _split_call_arguments(code, call.end())
        yield from ((given[0], False) for option in given if "inplace" in option)
    for call in _find_calls(_METHOD, code):
        receiver, given = _find_receiver(code, call.start()), _split_call_arguments(code, call.end())
        source = assigned.get(receiver, receiver)
        if receiver in ("os", "fs", "shutil", "io") or (
            call[1] == "open" and not any(re.match(_MODE, g) for g in given)
        ):
            continue
        if call[1] != "replace" or "Path" in source or source[:1] == "(":
            yield receiver, False
            if call[1] in ("rename", "replace"):
                yield from ((g, False) for g in given)


def _is_only_read(code: str, literal: re.Match[str]) -> bool:
    """Return whether a literal is only read, printed, searched for or replaced."""
    before, after = code[max(0, literal.start() - 100) : literal.start()], code[literal.end() : literal.end() + 20]
    return bool(
        (re.match(r"\s*[,)]", after) and re.search(_LOOKS, before))
        or (before[-5:] == "Path(" and re.match(r"\)\.(?:read|exists|stat|is_)", after))
        or re.match(r"\s+(?:not\s+)?in\b", after)
    )


def _find_calls(kind: str | re.Pattern[str], code: str) -> list[re.Match[str]]:
    return list(re.finditer(kind, code))[:_MAX_CALLS]


def _unquote(literal: re.Match[str]) -> str:
    """Return the text of a literal, with `ANY` for what it interpolates."""
    text = next((g for g in literal.groups() if g is not None), "")
    filled = re.sub(r"[$#]?\{([^{}]*)\}", lambda m: TEMP if TEMPORARY.search(m[1]) else ANY, text)
    return filled.lstrip("<>+ ")


def _split_call_arguments(code: str, start: int) -> list[str]:
    """Return the arguments of a call from after its opening bracket; of a long call the first ones."""
    found, depth, last = [], 0, start
    end = min(len(code), start + 400)
    for step in re.compile(_STEP).finditer(code, start, end):
        mark = step[0]
        depth += (mark in "([{") - (mark in ")]}")
        if depth < 0 or (mark == ";" and not depth):
            end = step.start()
            break
        if mark == "," and not depth:
            found.append(code[last : step.start()])
            last = step.end()
    return [*found, code[last:end]]


def _find_receiver(code: str, end: int) -> str:
    """Return the expression before the dot of a method call, back to a space or an unmatched bracket."""
    depth, at = 0, end
    while at > max(0, end - 300):
        c = code[at - 1]
        depth += (c in ")]") - (c in "([")
        if depth < 0 or (depth == 0 and c in " \t\n;,=:&|"):
            break
        at -= 1
    return code[at:end]
