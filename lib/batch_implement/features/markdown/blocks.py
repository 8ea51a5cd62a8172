"""Parse the block structure of Markdown as CommonMark has it: headings, lists, quotes, code, HTML, paragraphs. Pure.

    document = parse_blocks(lines)
    for block in document.children:
        block.kind, block.line, block.end, block.children

`lines` are without line ends. Inline markup stays as it is. Beyond CommonMark 0.31 a container deeper than MAX_DEPTH is
text, and of link definitions only those of one line are known. With `lenient=True` what people write for a list item is
one, too: a line that begins with a box without a bullet (`[ ] text`), a box right behind its bullet (`-[ ] text`), and
typographic bullets. The time grows with the size of the text, whatever is in it.
"""

from __future__ import annotations

import re

from .html_blocks import HTML_BLOCKS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence

MAX_DEPTH = 60
FENCED, INDENTED = "fenced", "indented"
CONTAINERS = ("item", "quote", "document")
NO_NUMBER = -1  # of an item that is not in an ordered list

# Tabs count up to here: afterwards they are text.
_PREFIX = re.compile(r"[ \t>]*(?:(?:[-*+\u2022]|[0-9]{1,9}[.)])[ \t>]+)*")
_ATX = re.compile(r"(#{1,6})(?:[ \t]+|$)")
_FENCE = re.compile(r"(`{3,}(?!.*`)|~{3,})(.*)")
_PLAIN_BOX = re.compile(r" *[-*+] (?=\[[ xX]\] )")  # most of the items of most lists
_SETEXT = re.compile(r"(?:=+|-+)[ \t]*$")
_ORDERED = re.compile(r"([0-9]{1,9})([.)])(?= |$)")
_DEFINITION = re.compile(
    r" {0,3}\[(?!\s*\])[^\[\]\\]{1,999}\]:[ \t]*(?:<[^<>]*>|[^\s<]\S*)"
    r"""(?:[ \t]+(?:"[^"]*"|'[^']*'|\([^()]*\)))?[ \t]*$"""
)
_BARE_BOX = re.compile(r"(?:[-*+\u2022\u25e6\u2023\u25aa\u25cf\u00b7]|[0-9]{1,9}[.)])?(?=\[(?:[ xX]| *)\](?![(\[:]))")
_TYPOGRAPHIC_BULLET = re.compile(r"[\u2022\u25e6\u2023\u25aa\u25cf\u00b7](?=[ \t])")
_STARTS = frozenset(">#`~<=-_*+0123456789")
_LENIENT_STARTS = _STARTS | frozenset("[\u2022\u25e6\u2023\u25aa\u25cf\u00b7")

_COMMENT, _ANY_TAG = 1, 6  # the places in HTML_BLOCKS of comments, and of what cannot interrupt a paragraph


_NO_BLOCKS: List[Block] = []  # of what is not a container; never changed
_NO_LINES: List[str] = []


class Block:
    """One block: `kind` is document, quote, item, paragraph, heading, code, html, rule or definition.

    `line` and `end` are its first and last line, from 1 as the parser was told. `lines` has the text of a paragraph,
    without the indentation of its lines, and that of a heading as its only entry. An item has its `marker` (`-`, `*`,
    `+`, `.`, `)` or, for a box without a bullet, nothing), its `number`, NO_NUMBER where the list is not ordered, and
    the column at which its content begins, `offset`. Code is FENCED or INDENTED by its `marker`; `level` is that of a
    heading. `is_closed` says whether the end of fenced code, or of HTML that has one, was there. A comment is HTML with
    the `marker` `<!--`.
    """

    __slots__ = (
        "children",
        "end",
        "is_closed",
        "kind",
        "level",
        "line",
        "lines",
        "marker",
        "number",
        "offset",
        "width",
    )

    def __init__(self, kind: str, line: int, marker: str = "", level: int = 0) -> None:
        self.kind, self.line, self.end, self.marker, self.level = kind, line, line, marker, level
        self.children: List[Block] = [] if kind in CONTAINERS else _NO_BLOCKS
        self.lines: List[str] = _NO_LINES if kind in CONTAINERS else []
        self.number = NO_NUMBER
        self.offset = self.width = 0
        self.is_closed = False


def parse_blocks(lines: Sequence[str], first: int = 1, lenient: bool = False) -> Block:
    """Return the document that the lines are. `first` is the number of the first one."""
    parser = _Parser(first, lenient)
    for number, line in enumerate(lines, first):
        parser.read_line(number, _expand_tabs(line) if "\t" in line else line)
    _finish_blocks(parser.document)
    return parser.document


def _expand_tabs(line: str) -> str:
    """Return a line with spaces for the tabs before its text, which count for the structure."""
    match = _PREFIX.match(line)
    end = match.end() if match else 0
    return line[:end].expandtabs(4) + line[end:]


def _cut_closing_hashes(text: str) -> str:
    """Return the text of a heading without the `#` signs that may close it: those at the end behind a blank."""
    bare = text.rstrip("#")
    return text if bare and bare[-1] not in " \t" else bare.rstrip(" \t")


def _finish_blocks(block: Block) -> None:
    """Set the last line of each container, and take link definitions out of paragraphs."""
    children, has_definition = block.children, False
    for child in children:
        if child.children:
            _finish_blocks(child)
        elif child.kind == "paragraph" and "]:" in child.lines[0]:
            has_definition = True
    if has_definition:
        block.children = children = [part for child in children for part in _split_definitions(child)]
    if children:
        block.end = max(block.end, children[-1].end)


def _split_definitions(block: Block) -> List[Block]:
    """Return a block, or for a paragraph that begins with link definitions these and what follows them."""
    count = 0
    if block.kind == "paragraph":
        while count < len(block.lines) and _DEFINITION.match(block.lines[count]):
            count += 1
    if not count:
        return [block]
    definition = Block("definition", block.line)
    definition.lines, definition.end = block.lines[:count], block.line + count - 1
    if count == len(block.lines):
        return [definition]
    block.lines, block.line = block.lines[count:], block.line + count
    return [definition, block]


class _Parser:
    """The open blocks: containers from the document inwards, and the leaf that the next line may continue."""

    def __init__(self, first: int, lenient: bool) -> None:
        self.document = Block("document", first)
        self.stack = [self.document]
        self.leaf: Optional[Block] = None
        self.html_end: Optional[re.Pattern[str]] = None
        self.has_quote = False  # whether one was open since the last line outside of all containers
        self.lenient = lenient
        self.starts = _LENIENT_STARTS if lenient else _STARTS

    def read_line(self, number: int, line: str) -> None:
        """Take the next line, without tabs before its text."""
        stack, leaf, length = self.stack, self.leaf, len(line)
        if (leaf is None or leaf.kind == "paragraph") and not self.has_quote:
            match = _PLAIN_BOX.match(line)
            if match and self._open_plain_box(number, line, match.end()):
                return
        position, indent = 0, length - len(line.lstrip(" "))
        depth = 1
        for container in stack[1:]:
            if container.kind == "quote":
                if indent == length or indent - position > 3 or line[indent] != ">":
                    break
                position = indent + 1
                if position < length and line[position] == " ":
                    position += 1
                indent = length - len(line[position:].lstrip(" "))
            elif indent == length or line.isspace():
                if not container.children:
                    break  # an item begins with one blank line at most
            elif indent >= position + container.width:
                position += container.width
            else:
                break
            depth += 1
        is_blank = indent == length or line[indent:].isspace()
        is_matched = depth == len(stack)
        if is_matched and leaf is not None and leaf.kind != "paragraph":
            if self._continue_leaf(leaf, number, line, position, indent, is_blank):
                return
            leaf = self.leaf = None
        if is_blank:
            if not is_matched or leaf is not None:
                del stack[depth:]
                self.leaf = None
            return
        self._read_text(number, line, position, indent, depth)

    def _open_plain_box(self, number: int, line: str, offset: int) -> bool:
        """Return whether a line of which the content begins at `offset` is an item with a box, after opening it.

        This is what `_read_text` does, four times as fast. There is no quote around the line.
        """
        position, depth = 0, 1
        for container in self.stack[1:]:
            if offset - 2 < position + container.width:
                break
            position += container.width
            depth += 1
        if offset - 2 - position >= 4 or depth > MAX_DEPTH:
            return False
        del self.stack[depth:]
        item, paragraph = Block("item", number, line[offset - 2]), Block("paragraph", number)
        item.offset, item.width = offset, offset - position
        item.children.append(paragraph)
        paragraph.lines.append(line[offset:])
        self.stack[-1].children.append(item)
        self.stack.append(item)
        self.leaf = paragraph
        return True

    def _continue_leaf(self, leaf: Block, number: int, line: str, position: int, indent: int, is_blank: bool) -> bool:
        """Return whether a line belongs to the code or HTML that is open."""
        if leaf.marker == FENCED:
            fence = leaf.lines[0]
            text = line[indent:].rstrip(" \t")
            if indent - position <= 3 and text.startswith(fence) and not text.strip(fence[0]):
                leaf.is_closed, self.leaf = True, None
            leaf.end = number
            return True
        if leaf.kind == "html":
            if self.html_end is None:
                if is_blank:
                    return False
            elif self.html_end.search(line, position):
                leaf.is_closed, self.leaf = True, None
            leaf.end = number
            return True
        if leaf.kind == "code":
            if is_blank:
                return True
            if indent - position >= 4:
                leaf.end = number
                return True
        return False

    def _read_text(self, number: int, line: str, position: int, indent: int, depth: int) -> None:
        """Open the blocks that begin on a line, or add the line to the open paragraph.

        `position` is where the content of the container `stack[depth - 1]` begins, `indent` where the text does.
        """
        stack, length = self.stack, len(line)
        paragraph = self.leaf if self.leaf is not None and self.leaf.kind == "paragraph" else None
        is_matched = depth == len(stack)
        position_of_item = -1
        while True:
            if indent - position >= 4:
                if paragraph is None:
                    self._open(Block("code", number, INDENTED), depth)
                    return
                break
            if line[indent] not in self.starts:
                break
            if self._open_leaf(number, line, position, indent, depth, paragraph, is_matched):
                return
            lenient = self.lenient and position_of_item != indent
            opened = self._open_container(
                number, line, position, indent, depth, paragraph if is_matched else None, lenient=lenient
            )
            if opened is None:
                break
            position, depth, paragraph, is_matched = opened, len(stack), None, True
            position_of_item = position if stack[-1].kind == "item" else -1
            indent = length - len(line[position:].lstrip(" ")) if position < length else length
            if indent == length or line[indent:].isspace():
                return
        if paragraph is not None:
            paragraph.lines.append(line[indent:])
            paragraph.end = number
            return
        paragraph = Block("paragraph", number)
        paragraph.lines.append(line[indent:])
        self._open(paragraph, depth)

    def _open(self, block: Block, depth: int) -> None:
        """Add a block to the container `stack[depth - 1]`; close what is open below that."""
        del self.stack[depth:]
        self.stack[-1].children.append(block)
        self.leaf = block
        self.has_quote = block.kind == "quote" or (self.has_quote and depth > 1)
        if block.kind in ("quote", "item"):
            self.stack.append(block)
            self.leaf = None

    def _open_leaf(
        self,
        number: int,
        line: str,
        position: int,
        indent: int,
        depth: int,
        paragraph: Optional[Block],
        is_matched: bool,
    ) -> bool:
        """Return whether a heading, a rule, code or HTML begins here, after opening it."""
        first = line[indent]
        if first == "#":
            match = _ATX.match(line, indent)
            if match:
                heading = Block("heading", number, level=len(match[1]))
                heading.lines.append(_cut_closing_hashes(line[match.end() :].strip(" \t")))
                self._open(heading, depth)
                self.leaf = None
            return match is not None
        if first in "`~":
            match = _FENCE.match(line, indent)
            if match:
                code = Block("code", number, FENCED)
                code.lines.append(match[1])
                self._open(code, depth)
            return match is not None
        if first == "<":
            return self._open_html(number, line, indent, depth, paragraph)
        is_underline = first in "=-" and paragraph is not None and is_matched and _SETEXT.match(line, indent)
        if is_underline and paragraph is not None and not all(map(_DEFINITION.match, paragraph.lines)):
            paragraph.kind, paragraph.level, paragraph.end = "heading", 1 if first == "=" else 2, number
            self._keep_definitions(paragraph)
            self.leaf = None
            return True
        if first in "-*_" and len(line.rstrip(first + " \t")) <= indent and line.count(first, indent) >= 3:
            self._open(Block("rule", number), depth)
            self.leaf = None
            return True
        return False

    def _keep_definitions(self, heading: Block) -> None:
        """Move link definitions that the text of an underlined heading begins with in front of it."""
        count = 0
        while _DEFINITION.match(heading.lines[count]):
            count += 1
        if count:
            definition = Block("definition", heading.line)
            definition.lines, definition.end = heading.lines[:count], heading.line + count - 1
            heading.line += count
            self.stack[-1].children.insert(-1, definition)
        heading.lines = [" ".join(part.strip(" \t") for part in heading.lines[count:])]

    def _open_html(self, number: int, line: str, indent: int, depth: int, paragraph: Optional[Block]) -> bool:
        for place, (begin, end) in enumerate(HTML_BLOCKS):
            if begin.match(line, indent) and (place < _ANY_TAG or paragraph is None):
                html = Block("html", number, "<!--" if place == _COMMENT else "<pre>" if place == 0 else "<")
                self._open(html, depth)
                self.html_end = end
                if end is not None and end.search(line, indent):
                    html.is_closed, self.leaf = True, None
                return True
        return False

    def _open_container(
        self,
        number: int,
        line: str,
        position: int,
        indent: int,
        depth: int,
        paragraph: Optional[Block],
        *,
        lenient: bool,
    ) -> Optional[int]:
        """Return where the content of a quote or item that begins here begins, after opening it; None if none does.

        `paragraph` is the one that it would interrupt.
        """
        if depth > MAX_DEPTH:
            return None
        if line[indent] == ">":
            self._open(Block("quote", number), depth)
            return indent + 2 if line[indent + 1 : indent + 2] == " " else indent + 1
        marker_end = self._match_marker(line, indent, paragraph, lenient=lenient)
        if marker_end is None:
            return None
        item = Block("item", number, line[marker_end - 1] if marker_end > indent else "")
        digits = line[indent : marker_end - 1]
        if digits and digits.isdigit() and digits.isascii():
            item.number = int(digits)
        self._open(item, depth)
        spaces = len(line) - marker_end - len(line[marker_end:].lstrip(" "))
        if not 1 <= spaces <= 4 or marker_end + spaces == len(line):
            spaces = 1
        # A box without a blank before it begins right here; what belongs to it is indented by one column at least.
        is_bare = marker_end < len(line) and line[marker_end] == "["
        item.offset = marker_end + (0 if is_bare else spaces)
        item.width = item.offset - position
        if is_bare and marker_end == indent:
            item.width += 1
        return item.offset

    def _match_marker(self, line: str, indent: int, paragraph: Optional[Block], *, lenient: bool) -> Optional[int]:
        """Return where the marker of an item that begins here ends; None if none does."""
        first, length = line[indent], len(line)
        if first in "-*+" and (indent + 1 == length or line[indent + 1] == " "):
            end, is_first = indent + 1, True
        else:
            match = _ORDERED.match(line, indent)
            if match:
                end, is_first = match.end(), int(match[1]) == 1
            elif lenient:
                match = _BARE_BOX.match(line, indent) or _TYPOGRAPHIC_BULLET.match(line, indent)
                return match.end() if match else None
            else:
                return None
        if paragraph is not None and (not is_first or not line[end:].strip(" \t")):
            return None
        return end
