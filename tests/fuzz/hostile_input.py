"""Build hostile input: values of unexpected types and damaged bytes.

    choices = DrawnChoices(draw)                    # by hypothesis, which makes a failing case small
    choices = RandomChoices(random.Random(seed))    # eight times as fast
    mutate_value(choices, value)                    # a JSON value with one to three defects
    damage_bytes(choices, data)                     # bytes with one to three defects

Nothing else is random, so every case can be repeated.
"""

from __future__ import annotations

import copy
import json
import random
from typing import Any, Callable

from hypothesis import strategies as st

DEEP = 100_000
DIGITS = "7" * 10_000


def nest_lists(levels: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(levels - 1):
        value = [value]
    return value


TEXTS = (
    "", " ", "\n", "\x00", "a\x00b", "\ud800", "a\udfffb", "\udcff", "\ufeff", "\u202egnp.exe", "\u2028",
    "\x1b[2J\x07", "-", "--", "-x",
    "..", "../../outside/secret.txt", "/dev/zero", "/etc/passwd", "~", "~root", "$(touch pwned)", "`touch pwned`", "'",
    '"', "\\", "%s%n",
    "{0.__class__}", "NaN", "1e999", "\uff11\uff12", "²", DIGITS, "9" * 4301, "0", "-1", "true", "null", "[[[[",
    "a" * 300, "é😀",
    "x " * 40_000, "💣" * 20_000,
    "2026-99-99T99:99:99Z", "0000-00-00T00:00:00Z", "9999-12-31T23:59:60Z", "(after: 1)", "(id: x)", "a,b", "main",
    "worker",
    "batch-implement:worker", "batchctl abort", "rm -rf .claude", "a" * 5000 + "$(",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    3,
    1.5,
    -0.0,
    1e308,
    2**31,
    2**53 + 1,
    2**63,
    2**64,
    -(2**63),
    10**400,
    10**4000,
    [],
    {},
    [[]],
    [{}],
    {"": None},
    [None],
    [0, 0],
    ["a", 1],
    nest_lists(63),
    nest_lists(70),
    {"a": {"a": {}}},
    {"\ud800": 1},
    {"0": 0},
    {"x" * 5000: []},
    ["x"] * 3000,
    [[]] * 3000,
)
TOKENS = (
    b"\xef\xbb\xbf", b"\xff\xfe", b"\0", b"\0" * 5000, b"NaN", b"-Infinity", b"1e999", DIGITS.encode(), b'"\\ud800"',
    b'"\\uDC00"',
    b"\xed\xa0\x80", b"\xff", b"\xc0\xaf", b"[" * DEEP, b'{"a":' * DEEP, b"[" * DEEP + b"]" * DEEP, b",", b'"', b"\\",
    b"\\u", b"\n", b"\r", b"\t", b"]", b"}",
    b'"a": 1, "a": 2,', b"/* c */", b"'", b"- ", b"&a ", b"*a ", b"!!python/object/apply:os.system ", b"<<: ",
    b"---\n", b"%YAML 9.9\n", b"? ",
    b"| ", b"> ", b"- [ ] ", b"- [x] ", b"```\n", b"# ", b" (after: 1)", b" (id: a)", b" (after:", "\u2028".encode(),
    "\x85".encode(), b"- \x1b",
)  # fmt: skip
WHOLE_FILES = (
    b"", b" ", b"\0" * 4096, b"null", b"1", b'"x"', b"[]", b"{}", b"[" * DEEP, b'{"a":' * DEEP,
    b"[" * DEEP + b"]" * DEEP, DIGITS.encode(), b"- " * DEEP,
    b"-\n" * 5000, b"\xff" * 1000, b"{" * 1000, b"[[]," * 20_000, b"\n" * 300_000, b'"' + b"\\u0000" * 20_000 + b'"',
    b"a: " * 5000, b"*" * 10_000, b"? " * 5000,
)  # fmt: skip


class Choices:
    """The decisions that make up one case."""

    def number(self, least: int, most: int) -> int:
        """A whole number from `least` to `most`."""
        raise NotImplementedError

    def pick(self, of: Any) -> Any:
        """One of a tuple or list."""
        return of[self.number(0, len(of) - 1)]

    def one_in(self, times: int) -> bool:
        """True once in so many times."""
        return self.number(1, times) == times

    def text(self) -> str:
        """A hostile text."""
        return self.pick(TEXTS)

    def value(self) -> Any:
        """A hostile value; it may be changed."""
        return self.text() if self.one_in(3) else copy.deepcopy(self.pick(VALUES))


class DrawnChoices(Choices):
    """Decisions by hypothesis."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.draw = draw

    def number(self, least: int, most: int) -> int:
        return self.draw(st.integers(least, most)) if most > least else least


class RandomChoices(Choices):
    """Decisions by dice."""

    def __init__(self, dice: random.Random) -> None:
        self.dice = dice

    def number(self, least: int, most: int) -> int:
        return least + int(self.dice.random() * (most - least + 1))


def mutate_value(choices: Choices, value: Any) -> Any:
    """The value, which is not changed, with one to three things in it replaced, taken away or added."""
    value = copy.deepcopy(value)
    for _ in range(choices.number(1, 3)):
        parent, key, node = None, None, value
        while isinstance(node, (dict, list)) and node and (parent is None or not choices.one_in(3)):
            parent, key = node, choices.pick(list(node)) if isinstance(node, dict) else choices.number(0, len(node) - 1)
            node = parent[key]
        if parent is None:
            return choices.value()
        what = choices.number(0, 5)
        if what == 0:
            del parent[key]
        elif what == 1 and isinstance(parent, dict):
            parent[choices.text()] = choices.value()
        elif what == 1:
            parent.insert(key, copy.deepcopy(node))
        elif what == 2 and type(node) is int:
            parent[key] = node + choices.pick((-1, 1, 10**6))
        elif what == 3 and isinstance(node, str):
            parent[key] = node + choices.text()
        else:
            parent[key] = choices.value()
    return value


def serialize_value(choices: Choices, value: Any) -> bytes:
    """The value as JSON, in one of the layouts that it may have; NaN and half pairs are written as they are."""
    how = choices.number(0, 2)
    if how == 0:
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if how == 1 and isinstance(value, dict):  # a field a line, as our own writer does it
        lines = [f" {json.dumps(str(name))}: {json.dumps(content)}" for name, content in value.items()]
        return ("{\n" + ",\n".join(lines) + "\n}\n").encode()
    return json.dumps(value, indent=1).encode()


def damage_bytes(choices: Choices, data: bytes) -> bytes:
    """The bytes with one to three things done to them."""
    if choices.one_in(12):
        return choices.pick(WHOLE_FILES)
    for _ in range(choices.number(1, 3)):
        at = choices.number(0, len(data))
        what = choices.number(0, 6)
        if what == 0:
            data = data[:at]
        elif what == 1 and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << choices.number(0, 7))]) + data[at + 1 :]
        elif what == 2:
            data = data[:at] + data[at + choices.number(1, 40) :]
        elif what == 3:
            data = data[:at] + data[max(0, at - choices.number(1, 200)) : at] + data[at:]
        elif what == 4:
            encoding = choices.pick(("utf-16", "utf-16-le", "utf-8-sig", "utf-32"))
            data = data.decode("utf-8", "replace").encode(encoding)
        else:
            data = data[:at] + choices.pick(TOKENS) + data[at:]
    return data
