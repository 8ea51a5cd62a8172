"""Find what the texts of features suggest about which needs which, without saying it. Pure.

    find_suggestions(texts, bodies, look_up)    for each text: index of a feature that it seems to need -> reason

A few English phrases are known: `tests for X`, `test the X`, `document X`; `after the X is there`, `once X works`;
`on top of X`; `using the X from feature 2`, `needs feature 2`; `depends on #12`, `blocked by #12`, `needs #12`. X is
taken for a feature only if exactly one other feature makes it: that has all words of X, and X has at least half the
words of what it makes, which in `Add a cache for the login page` is a cache. Words are compared in lower case and the
singular, without those that say little.

A missed suggestion costs nothing, a wrong one an order that nobody asked for: in doubt there is none. Texts are
untrusted: they are searched within bounds, in linear time, and quoted shortened and cleaned.
"""

from __future__ import annotations

import re
from itertools import islice
from typing import Callable, Dict, Iterator, List, Sequence, Set, Tuple

from ..base.text import one_line

SHOWN_CHARS = 60
MAX_SUGGESTIONS = 50  # suggestions that are looked at
TEXT_CHARS, BODY_CHARS = 1_000, 65_536
TOO_COMMON = 100  # a word that so many features have singles none of them out
DENIAL_CHARS = 40

Pair = Tuple[int, str]

_WORD = re.compile(r"[^\W_]+")
_INSIGNIFICANT = frozenset(
    _WORD.findall(
        """
        a an the this that these those it its them they he she we you i our my your their s t of and or for to with by
        from at as is are be been was all any every each some more another other one only whole entire everything
        add adds added create implement build write make introduce provide set setup new old simple basic existing
        first how works work working exist exists feature features functionality app application project code
        codebase repo
        """
    )
)
_REMOVES = re.compile(r"(?:remove|delete|drop|deprecate|disable|replace|rename|revert)s?\b", re.I)

_LABEL = re.compile(r"\A(?:\[[^\]]{0,30}\]|\w[\w/()-]{0,30}:(?= )) ?")  # `docs: `, `[backend] `
_OPENING = re.compile(r"\A(?:after|once|when|as soon as)\b[^,]*,\s*", re.I)
# Where the part of a text that says what the feature makes ends.
_CLAUSE = re.compile(
    r"[;!?()]|\.(?=\s|$)|\b(?:after|once|until|before|when|while|if|unless|using|based on|on top of|instead of|without|"
    r"so that|as soon as|because|like|unlike)\b",
    re.I,
)
# Where in that part the attributes of the thing made begin.
_ADDITION = re.compile(
    r"[,:]|\s[-\u2013\u2014]\s|\b(?:with|to|for|in|on|from|by|at|into|via|through|per|that|which|as|so|under|over)\b",
    re.I,
)
_PARTS = re.compile(r",|&|\band\b", re.I)
_IN_THE_DOCS = re.compile(r" in (?:the |our )?(?:readme|docs|documentation|wiki|manual|guide)\b.*", re.I)

_REST = r" (?! ?(?:all|any|both|each|every)\b)(?P<x>[^.;:!?()]{1,200})"
_TESTS = re.compile(
    r"\A(?:(?:add|write|create|provide) )?(?:(?:the|a|some|more|missing|automated|unit|integration|regression|and|"
    r"functional|acceptance|property|smoke|browser|end-to-end|e2e) ){0,5}"
    rf"(?:tests?(?: (?:coverage|cases?|suites?))?|docs|documentation) (?:for|of){_REST}",
    re.I,
)
_TEST = re.compile(rf"\A(?:test|document) (?:the|how|our){_REST}", re.I)
_DOCUMENT = re.compile(rf"\Adocument{_REST}", re.I)
# Not `finished` or `ready`, which rather say what the program does: `say so after the upload is finished`.
_AFTER = re.compile(
    r"\b(?:after|once|as soon as) (?P<x>[^.,;:!?()]{1,80}?) (?:(?:is|are|has been|have been) (?:there|in place|"
    r"done|merged|implemented|working)|exists?|works?|has landed|have landed)\b",
    re.I,
)
_ON_TOP = re.compile(rf"\bon top of{_REST}", re.I)

_NEEDS = r"\b(?:depends?\s+on|blocked\s+by|needs|requires)"
_ENDS = r"(?![\w/-]|\.\d)"
_ISSUES = re.compile(
    rf"{_NEEDS}[\s:*_-]{{0,12}}(?:\[ \]\s{{0,3}})?(?P<list>#\d{{1,9}}{_ENDS}"
    rf"(?:(?:\s{{0,4}}(?:,|&|and\b|or\b|\n[ \t]{{0,8}}[-*+](?: \[ \])?)){{1,2}}\s{{0,4}}#\d{{1,9}}{_ENDS})*)",
    re.I,
)
_FEATURES = re.compile(
    rf"(?:{_NEEDS}|\b(?:after|builds? on|on top of)|\b(?:using|uses?|reus(?:es?|ing)|with) [^.;!?()]{{1,80}}?"
    rf" from) features? (?P<list>#?\d{{1,9}}{_ENDS}(?: ?(?:,|&|and\b|or\b) ?#?\d{{1,9}}{_ENDS})*)",
    re.I,
)
_REFERENCE = re.compile(r"#?\d+")
# What negates the phrase that follows it; so does another feature or issue, which is then the one that needs it.
_DENIED = re.compile(
    r"(?:(?:\b(?:not|no longer|never|without|until|unless|instead of|than|was|were|nothing|formerly|previously)|"
    r"n['\u2019]t)\s+(?:\w+\s+)?|(?:#|\bfeature )\d+(?:,? +(?:which|that))? +(?:\w+ +)?)$",
    re.I,
)
_UNSURE = re.compile(r"\s*\?")
# Parts of a body that say nothing themselves: comments, code, quotes, struck out text; and ticked boxes.
_ASIDE = re.compile(
    r"<!--.*?(?:-->|\Z)|^[ \t]*(```|~~~).*?(?:^[ \t]*\1|\Z)|^[ \t]*>[^\n]*|~~[^~\n]*~~|`[^`\n]*`", re.M | re.S
)
_TICKED = re.compile(r"^[ \t]*[-*+][ \t]+\[[xX]\][^\n]*\n?", re.M)


def find_suggestions(
    texts: Sequence[str], bodies: Sequence[str], look_up: Callable[[str], Sequence[int]]
) -> List[Dict[int, str]]:
    """Return for each text: index of another feature that it seems to need -> a phrase that quotes the reason.

    `bodies` has an issue's body for each text, or an empty text. `look_up` returns the indices that `#12` or a number,
    from 1 as listed, can mean; more or less than one is no suggestion. At most 50 for one text.
    """
    normalized = [_LABEL.sub("", " ".join(text[:TEXT_CHARS].split()), count=1) for text in texts]
    subjects = _Subjects(normalized)
    result = []
    for index, text in enumerate(normalized):
        suggestions: Dict[int, str] = {}
        for other, reason in islice(_suggestions_for(index, text, bodies[index], subjects, look_up), MAX_SUGGESTIONS):
            if other != index:
                suggestions.setdefault(other, reason)
        result.append(suggestions)
    return result


def quote_text(text: str) -> str:
    """Return untrusted text for a message: one printable line without backticks, at most 60 characters."""
    line = one_line(text, SHOWN_CHARS).replace("`", "'")
    return line if line.isprintable() else "".join(char if char.isprintable() else " " for char in line)


def _suggestions_for(
    index: int, text: str, body: str, subjects: _Subjects, look_up: Callable[[str], Sequence[int]]
) -> Iterator[Pair]:
    # `Document search` may be a search of documents, unless nothing else speaks of documents.
    bare = (_DOCUMENT,) if subjects.count("document") == 1 else ()
    for expression in (_TESTS, _TEST, *bare, _AFTER, _ON_TOP):
        for match in expression.finditer(text):
            if not _is_denied(match):
                for other in subjects.features_named(_IN_THE_DOCS.sub("", _CLAUSE.split(match["x"], 1)[0]), index):
                    yield other, f"its text says `{quote_text(match[0])}`"
    prose = _strip_asides(body[:BODY_CHARS])
    for where, words, expression in (("text", text, _FEATURES), ("text", text, _ISSUES), ("body", prose, _ISSUES)):
        for match in expression.finditer(words):
            if not _is_denied(match) and "or" not in match["list"].casefold() and not _UNSURE.match(words, match.end()):
                for matches in map(look_up, _REFERENCE.findall(match["list"])):
                    if len(matches) == 1:
                        yield matches[0], f"its {where} says `{quote_text(match[0])}`"


def _strip_asides(body: str) -> str:
    """Return what an issue's body says itself; empty if there is nothing in it to find."""
    open_body = _TICKED.sub("", body)
    return _ASIDE.sub(" . ", open_body) if _ISSUES.search(open_body) else ""


def _is_denied(match: re.Match[str]) -> bool:
    start = match.start()
    return _DENIED.search(match.string, max(0, start - DENIAL_CHARS), start) is not None


class _Subjects:
    """The words of what each feature makes (none if it tests or documents), and the features that remove something."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.made: List[Set[str]] = []
        self.removing: Set[int] = set()
        self.by_word: Dict[str, Set[int]] = {}
        for index, text in enumerate(texts):
            subject = _CLAUSE.split(_OPENING.sub("", text), 1)[0]
            follows = any(expression.match(text) for expression in (_TESTS, _TEST, _DOCUMENT))
            self.made.append(set() if follows else _significant_words(_ADDITION.split(subject, 1)[0]))
            if _REMOVES.match(subject):
                self.removing.add(index)
            for word in _significant_words(subject):
                self.by_word.setdefault(word, set()).add(index)

    def count(self, word: str) -> int:
        """Return how many features have a word."""
        return len(self.by_word.get(word, ()))

    def features_named(self, phrase: str, index: int) -> Iterator[int]:
        """Yield the feature other than `index` that a phrase names; for `A and B` each, unless one feature is both."""
        parts = [phrase] if self._features_making(phrase, index) else _PARTS.split(phrase)
        for part in parts:
            makers = self._features_making(part, index)
            if len(makers) == 1 and makers[0] not in self.removing:
                yield makers[0]

    def _features_making(self, phrase: str, index: int) -> List[int]:
        words = _significant_words(phrase)
        if all(word.isdigit() for word in words):  # the 2 in `feature 2` is not a thing that a feature makes
            return []
        with_word = sorted((self.by_word.get(word, set()) for word in words), key=len)
        if len(with_word[0]) > TOO_COMMON:
            return []
        with_all = with_word[0].intersection(*with_word[1:]) - {index}
        return [other for other in with_all if 0 < len(self.made[other]) <= 2 * len(self.made[other] & words)]


def _significant_words(text: str) -> Set[str]:
    return {_to_singular(word) for word in _WORD.findall(text.casefold()) if word not in _INSIGNIFICANT}


def _to_singular(word: str) -> str:
    """Return one form for the singular and the plural of a word, not always the singular: `quer(y|ies)` is `queri`."""
    if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us")):
        word = word[:-1]
    if len(word) > 3 and word.endswith(("se", "xe", "ze", "he", "ie")):
        return word[:-1]
    return word[:-1] + "i" if len(word) > 2 and word[-1] == "y" else word
