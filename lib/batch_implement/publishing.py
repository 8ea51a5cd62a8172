"""What a shell command published: `git push` and `gh pr create`, read off the command and its output. Pure."""

from __future__ import annotations

import shlex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List

LONGEST_ERROR = 500
_SEPARATORS = frozenset((";", "&&", "||", "|", "&", "\n", "(", ")"))
_GIT_TAKES_VALUE = frozenset(("-C", "-c", "--git-dir", "--work-tree", "--namespace"))


def operations(command: str, output: str, *, succeeded: bool) -> Dict[str, Dict[str, Any]]:
    """The `push` and `pr` records (without time) of a command that ran with this output; empty when it published
    nothing.
    """
    try:
        lexer = shlex.shlex(command.replace("\n", " ; "), posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:
        return {}
    found: Dict[str, Dict[str, Any]] = {}
    simple: List[str] = []
    for word in [*words, ";"]:
        if word in _SEPARATORS:
            _note(simple, output, succeeded, found)
            simple = []
        else:
            simple.append(word)
    return found


def _note(words: List[str], output: str, succeeded: bool, found: Dict[str, Dict[str, Any]]) -> None:
    if words[:1] == ["git"]:
        rest = words[1:]
        while rest and rest[0].startswith("-"):
            rest = rest[2:] if rest[0] in _GIT_TAKES_VALUE else rest[1:]
        if rest[:1] == ["push"] and "--dry-run" not in rest and "-n" not in rest:
            plain = [word for word in rest[1:] if not word.startswith("-")]
            found["push"] = _record(
                output, succeeded, remote=plain[0] if plain else None, branch=plain[1] if len(plain) > 1 else None
            )
    elif words[:3] == ["gh", "pr", "create"]:
        url = next(
            (
                line.strip()
                for line in reversed(output.splitlines())
                if "/pull/" in line and line.strip().startswith("http")
            ),
            None,
        )
        number = url.rsplit("/", 1)[-1] if url else ""
        found["pr"] = _record(output, succeeded, url=url, number=int(number) if number.isdigit() else None)


def _record(output: str, succeeded: bool, **fields: Any) -> Dict[str, Any]:
    return {"success": succeeded, **fields, "error": None if succeeded else output.strip()[:LONGEST_ERROR]}
