"""Tell what a line of a text is: a marker and its text, a done mark, a heading, a ruler, a comment. Pure.

    mark = parse_marker("* [x] Add a page")
    mark.kind, mark.depth, mark.state, mark.text        'box', 0, 'done', 'Add a page'

`text_outline` decides from its neighbours what a line means where the line alone does not tell.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from ..markdown.boxes import DASH, UNCLEAR, classify_mark, find_end

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional, Tuple

DONE = (
    "done|fixed|completed?|finished|implemented|resolved|closed|solved|shipped|"
    "erledigt|fertig|fait|terminé|hecho|feito|fatto|gedaan|klaar|zrobione|hotovo|сделано|готово|完成"
)
CANCELLED = "cancell?ed|won'?t ?fix|won'?t do|rejected|dropped|abandoned|obsolete|discarded|duplicate|invalid"
LATER = (
    "later|some ?day|maybe|ideas?|future|wish ?list|nice[ -]to[ -]haves?|ice ?box|backlog|long(?:er)?[ -]?term|one day|"
    "eventually|low priority|brainstorm\\w*|parking lot|out of scope|not now|postponed|deferred|if time|stretch|"
    "(?:acceptance|success) criteria|definition of done|non-?goals"
)

# A number (`#.` in reStructuredText) or a bullet, or several dashes for a deeper level; `-word` and `*word` are for
# `parse_marker` to decide.
_BULLETS = (
    r"-+>|=+>|::|(?:-{2,6}|\+{2,6}|\*{2,6})(?=\s)|!-?(?=\s)|[-+*•◦▪▫‣\u2043·●○■\u2013—»~>\u2217∙\u2212➢➤▶▸►◆◇★☆→](?=\s)"
)
_NUMBERS = (
    r"\d{1,9}[a-z]?[.)](?=\s)|\d{1,3}(?:\.\d{1,3}){1,3}[.)](?=\s)|\(\d{1,4}\)(?=\s)|[A-Za-z]\)(?=\s)|"
    r"[a-z]\.(?=\s)|\d{1,4}\s[-\u2013—](?=\s)|#\.(?=\s)"
)
MARKER = re.compile(rf"(?:(?P<dashes>(?:-\s){{2,6}})|(?P<bullet>{_BULLETS})|(?P<number>{_NUMBERS}))\s*(?P<text>\S.*)?$")
TIGHT_MARKER = re.compile(r"(?P<bullet>[-*+>•●▪·])(?=[^\W_])(?P<text>.+)$")
BOX = re.compile(
    r"(?:\[\s*(?:(?P<mark>[xX]|_{1,3}|[^\w\s\[\]]\ufe0f?|OK|ok|\.{2,3})\s*)?\]|\((?P<round>[ xX])\))"
    r"(?:(?:\s*-\s*(?=[\w\"'`])|\s+)(?P<text>\S.*))?$"  # `[x]-text` and `[x]- text` too
)
SIGN = re.compile(r"(?:(?P<open>[☐⬜◻◽□🔲])|(?P<done>[✓✔☑✅√🗹])|[✗✘❌☒❎])\ufe0f?\s*(?P<text>\S.*)$")

_DATES = r"(?:\s+(?:in|on|at|by|since)?\s*v?[\d.\-/:]*\w?)?"
# Besides what a Markdown list has, see `markdown.boxes.find_end`.
DONE_AT_BEGIN = re.compile(rf"\[(?:{DONE})\b[^\]]*\]|\((?:{DONE}){_DATES}\)|(?:{DONE}):\s|@done\b", re.IGNORECASE)
DONE_AT_END = re.compile(
    rf"[\[(]\s*(?:{DONE}){_DATES}\s*[\])]$|\s[-\u2013—:.,;=>]{{1,3}}\s?(?:{DONE})[.!]*$|[.!?:]\s*(?:{DONE})[.!]*$|"
    rf"\s=+>\s?(?:{DONE})(?:\s*[,;(].*)?$|"
    r"\s@done\b(?:\([^)]*\))?|\s#done$",
    re.IGNORECASE,
)
CANCELLED_MARK = re.compile(
    rf"[\[(](?:{CANCELLED})\b[^\])]*[\])]|^(?:{CANCELLED}):\s|\s@cancell?ed\b|[-\u2013—]\s*(?:{CANCELLED})$|"
    r"^(?-i:CANCELL?ED|WONTFIX)\b",
    re.IGNORECASE,
)
DONE_HEADING = re.compile(
    r"\W*(?:(?:what(?:'s| is)|already|recently|now|all|things?|tasks?|items?|stuff|bugs?|features?)\s+)*"
    rf"(?:{DONE}|archived|released|changelog|history|past)"
    r"(?:\s+(?:tasks?|items?|bugs?|features?|things?|stuff|issues?|todos?|list|in\b.*|on\b.*|so far|already|recently))*"
    r"\W*(?:v(?=[.\-/]*\d)[.\-/]*|v(?=[.\-/]))?(?:\d(?:[\d.\-/]*\d)?)?\W*$",
    re.IGNORECASE,
)
CANCELLED_HEADING = re.compile(rf"\W*(?:{CANCELLED})(?:\s+(?:tasks?|items?|ideas?|features?))?\W*$", re.IGNORECASE)
LATER_HEADING = re.compile(rf"\b(?:{LATER})\b", re.IGNORECASE)
TITLE = re.compile(
    r"\W*(?:(?:the|my|our|project|current|general|list of|open|main)\s+)*"
    r"(?:to[ -]?dos?|(?:things|stuff|what) to do|next steps|tasks?|road ?map|plans?|features?|bugs?|"
    r"known (?:bugs|issues)|ideas?|notes?|backlog|wish ?list|issues?)(?:\s+(?:list|file|items|notes))?\W*$",
    re.IGNORECASE,
)

RULER = re.compile(r"([-=_*~#+.<>/\\^—\u2013─═\"'`])(?:\s?\1){2,}$")
UNDERLINE = re.compile(r"([-=~^\"'`*+#_.:])\1{1,}$")
# Which of two underlines is the higher heading, whatever comes first in the text.
UNDERLINE_RANKS = {"#": 1, "*": 1, "=": 1, "-": 2, "~": 3, "^": 4, '"': 5}
RULER_SIGNS, LINE_SIGNS = "-=_*~#+<>|/\\—─═", "-=_*~—─═"
DECORATED = re.compile(rf"<?[{LINE_SIGNS}]{{5,}}>?\s*(?P<left>\w.*|\(.*)$|=+\s+(?P<equal>\S.*)$")
FRAME = re.compile(r"[-=~_<>]{1,12}|v{2,12}|\^{2,12}")
MIRRORED = str.maketrans("<>", "><")
HASH_HEADING = re.compile(r"(#{1,6}|---\+{1,6})\s+(\S.*)$")  # `---+` in TWiki and PlDoc
ORG_HEADLINE = re.compile(r"(\*+)\s+(.*)$")
BRACKET_HEADING = re.compile(r"\[([^\[\]]{2,60})\]:?$")
COMMENT = re.compile(r"#(?!\d+\b|\.\s)|//(?!\S*\.)|;;|vim?:|-\*-.*-\*-$|ex:\s|\.\. |:[\w-]+:(?:\s|$)(?!\S*`)")
TABLE_ROW = re.compile(r"\|(?:\s.*\s\||.*\|$)|[+|][-=+|]{3,}$")
LINK = re.compile(r"<?(?:https?|ftp)://\S+>?$")
FENCE = re.compile(r"(`{3,}|~{3,})([^`]*)$")
COMMENT_BLOCKS = {"/*": "*/", "<!--": "-->", "=begin": "=end"}
TODO_TXT = re.compile(r"x \d{4}-\d\d-\d\d(?: |$)|\([A-Z]\) \S|\d{4}-\d\d-\d\d \S")
# Only words that end no sentence: a feature may end with `is`, `from` or `with`.
DANGLING = re.compile(
    r"[,(/&]$|\s(?:an?|the|and|or|but|of|than|because|into|per|via|its|their|our|your|whose|e\.g\.|i\.e\.)$",
    re.IGNORECASE,
)

TWO_SENTENCES = re.compile(r"\w[.!?]\s+[A-Z\u00c0-\u00de\u0400-\u042f]")
# A sentence to whoever reads the file, not about what is to be done.
REMARK = re.compile(
    r"(?:please (?:check|report|send|write|add|feel|see|read|note|do not|don't)|feel free|thanks|note that|n\.?b\.?[: ]"
    r"|(?:this|the following|these) (?:file|list|document|page|is|are|items?)\b|here (?:is|are)|"
    r"see (?:also )?(?:: )?\S+$|(?:subject|from|in-reply-to|references|message-id): \S|"  # of a mail
    r"(?:last )?updated?:? \d|copyright\b|\(c\) |author:|version:|if you (?:want|have|find|would))",
    re.IGNORECASE,
)
AFTER, NUMBER = re.compile(r"\(after:", re.IGNORECASE), re.compile(r"(?<![\w#-])\d+(?![\w-])")
SENTENCE_END = re.compile(r"[.!?](?:\s+[^a-zß-ÿа-яё\d\s]|$)|\u3002")

MAX_FRAMED_CHARS = 100
MARK_CHARS = 60  # a mark is within so many characters from the begin or the end of a text


class Mark(NamedTuple):
    """What a line begins with, and its text without that.

    `kind` is `bullet`, `number`, `box`, or empty where there is no marker. `sign` is the marker itself. `depth` counts
    the levels that the marker itself goes down: 1 for `--` and `- -`. `state` is that of a box: `open`, `done`, `dash`
    (`[-]`, a crossed box), `star` (`[*]`), `unknown` (`[+]`), or empty where there is none.
    """

    kind: str
    sign: str
    depth: int
    state: str
    text: str


def parse_marker(text: str, *, tight: str = "") -> Mark:
    """Return the marker of a stripped line; `tight` are the signs that need no blank after them in this text."""
    if text[:1].isalpha() and text[1:2] not in (".", ")"):
        return Mark("", "", 0, "", text)  # as most lines are
    kind, sign, depth, rest = "", "", 0, text
    match = MARKER.match(text)
    if match and len(match["bullet"] or "") > 1 and text.rstrip(":").endswith(match["bullet"]):
        match = None  # `--- 1.0 ---` is a heading
    if match:
        sign, rest = match["dashes"] or match["bullet"] or match["number"], match["text"] or ""
        kind = "number" if match["number"] else "bullet"
        depth = sign.count("-") - 1 if match["dashes"] else len(sign) - 1 if sign[:2] in ("--", "**", "++") else 0
        if ">" in sign:
            depth = 0
    elif tight and text[0] in tight:
        match = TIGHT_MARKER.match(text)
        if match and not (text[0] in "*" and "*" in text[1:].rstrip(" .")[-1:]):
            kind, sign, rest = "bullet", match["bullet"], match["text"]
    state = ""
    box = BOX.match(rest)
    if box:
        kind, rest = "box", box["text"] or ""
        mark = (box["mark"] or box["round"] or "").strip("_ ")
        if mark in ("*", "..", "...") or mark.lower() == "ok":
            state = "star" if mark == "*" else "open" if mark[0] == "." else "done"
        else:
            state = classify_mark(mark[:1] or " ").replace(UNCLEAR, DASH)
    else:
        signed = SIGN.match(rest)
        if signed:
            kind, rest = "box", signed["text"]
            state = "open" if signed["open"] else "done" if signed["done"] else "dash"
    return Mark(kind, sign.strip(), depth, state, rest)


def find_done_mark(text: str) -> str:
    """Return `done` or `cancelled` if a text says of itself that it is, else an empty text."""
    begin, end = text[:MARK_CHARS], text[-MARK_CHARS:]
    if CANCELLED_MARK.search(begin) or (end != begin and CANCELLED_MARK.search(end)):
        return "cancelled"
    is_done = find_end(text) or DONE_AT_BEGIN.match(begin) or DONE_AT_END.search(end)
    return "done" if is_done else ""


@lru_cache(maxsize=1_000)  # one heading may be above 10,000 entries
def judge_heading(text: str) -> str:
    """Return `done` or `cancelled` for a heading of what is not to be done any more, `later`, or an empty text."""
    if DONE_HEADING.match(text) or find_end(text) == "done":
        return "done"
    if CANCELLED_HEADING.match(text):
        return "cancelled"
    return "later" if LATER_HEADING.search(text) else ""


@lru_cache(maxsize=1_000)  # and one section in memory for all of them
def join_headings(headings: Tuple[str, ...]) -> str:
    """Return headings as the section of an entry, each once."""
    return " > ".join(dict.fromkeys(headings))


def count_sentences(text: str) -> int:
    """Return how many sentences seem to end in a text."""
    return len(SENTENCE_END.findall(text))


def find_framed_heading(text: str) -> Optional[str]:
    """Return the text of a heading between the same signs on both sides (`- Bugs -`, `vvv - Bugs - vvv`), else None."""
    pieces = text.split()
    depth = 0
    while 2 * depth + 2 < len(pieces) and FRAME.fullmatch(pieces[depth]):
        if pieces[depth].translate(MIRRORED) != pieces[-1 - depth]:
            break
        depth += 1
    is_short = depth and len(text) <= MAX_FRAMED_CHARS and pieces[depth][0].isalnum()
    return " ".join(pieces[depth:-depth]).strip(" :") or None if is_short else None


def find_decorated_heading(text: str) -> Optional[str]:
    """Return the text of a heading between or behind rulers (`=== Bugs ===`), None if a line is none."""
    framed = find_framed_heading(text)
    if framed:
        return framed
    if len(text.strip("-=_*~#+—─═ ")) > 120 or (text[0].isalnum() and text[-1].isalnum()):
        return None
    heading = _cut_rulers(text)
    if not heading:
        match = DECORATED.match(text) or BRACKET_HEADING.match(text)
        heading = next(group for group in match.groups() if group) if match else ""
    is_arrow = text.endswith(("=>", "->")) and text[0] != "<"
    if not heading or is_arrow or RULER.match(text) or BOX.match(text) or find_end(text):
        return None
    return heading.strip(" :") or None


def _cut_rulers(text: str) -> str:
    """Return what is between two rulers, as in `== Bugs ==:`, or before a long one; empty if no ruler ends it.

    A search for the last ruler by an expression would take a time that grows with the square.
    """
    body = text[:-1] if text.endswith(":") else text
    inner = body.lstrip(RULER_SIGNS)
    head = len(body) - len(inner)
    bare = inner.rstrip(RULER_SIGNS)
    if head and len(inner) - len(bare) >= 2 and bare.strip() and (head >= 2 or bare[0].isspace()):
        bare = bare.strip()
        return "" if bare[0] in RULER_SIGNS else bare
    bare = text.rstrip(LINE_SIGNS)
    return bare.rstrip() if bare and len(text) - len(bare) >= 5 and (bare[0].isalnum() or bare[0] == "_") else ""


def find_hash_heading(text: str) -> Optional[Tuple[str, str]]:
    """Return the signs that a heading like `## Bugs ##` begins with, and its text; None if a line is none."""
    match = HASH_HEADING.match(text)
    if match is None:
        return None
    heading, end = match[2], len(match[2])
    while end > 1 and (heading[end - 1] == "#" or heading[end - 1].isspace()):
        end -= 1
    return match[1], heading[:end]


def has_number_note(text: str) -> bool:
    """Return whether a text ends with a note like `(after: 2)`, with a number in it."""
    note = text[text.rfind(")", 0, -1) + 1 : -1] if text.endswith(")") else ""
    begin = AFTER.search(note)
    return begin is not None and NUMBER.search(note, begin.end()) is not None


def is_shouted(text: str) -> bool:
    """Return whether a short text is in capital letters only."""
    return 3 <= len(text) <= 40 and text.upper() == text and sum(map(str.isalpha, text)) >= 3 and text.lower() != text


def continues(before: str, text: str, *, starts_upper: bool) -> bool:
    """Return whether a line surely goes on with the sentence of the line before it.

    `starts_upper` says whether entries of this text begin with a capital letter.
    """
    if before.endswith((")", "]")) and re.search(r"\((?:after|id|needs?|depends on)\b[^()]*\)$", before, re.IGNORECASE):
        return False
    if DANGLING.search(before) and (len(before) >= 30 or before[-1] in ",("):
        return True
    word = re.split(r"[\s,.;:!?]", text, maxsplit=1)[0]
    begins_low = (word.islower() and word.replace("'", "").isalpha()) or text[
        0
    ] in "(&,;"  # no name such as `connectionBox`, `api.rpn`
    return begins_low and starts_upper and len(before) >= 60
