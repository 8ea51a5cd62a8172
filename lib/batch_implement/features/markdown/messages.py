"""Say how a Markdown list was read, what in it has two meanings, and which option decides.

A `Report` collects while the list is read; lines of one kind make one message.
"""

from __future__ import annotations

import re
import shlex
from collections import Counter

from ...base.text import clean, one_line
from ..feature_list import FeatureListError, describe_lines
from .boxes import OPEN, UNCLEAR, is_marked_done, read_box

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence, Set, Tuple

    from ..feature_list import Feature, ListOptions

SHOWN = 5
_BOX_BEGINS = frozenset("[\u2610\u2b1c\U0001f532\u25a1\u25a2\u25fb")
REPEATS = 3  # a text that is there so often is probably a check, not work
_HEAD = re.compile(r"[^\w(]*(?:[0-9]+(?:\.[0-9]+)*[.)]?\s+)?[^\w(]*")
_TAIL_REVERSED = re.compile(r"[^\w)]*")  # a search for it up to `$` would take a time that grows with the square
_NOT_WORK = re.compile(
    r"(?:(?:manual |user )?acceptance(?: criteria| tests?| checks?)?|success (?:criteria|metrics)|"
    r"(?:definition|criteria) (?:of|for) done|dod|(?:exit|completion|done|quality) (?:criteria|gates?)|"
    r"(?:overall )?progress(?: tracking| tracker)?|(?:status |task )?legend|"
    r"out of scope|non-?goals|won'?t (?:do|fix)|not (?:doing|planned)|rejected|later|someday(?: ?/ ?maybe)?|maybe|"
    r"icebox|parking lot|ideas|future(?: ideas| work| enhancements)?|"
    r"(?:review |pre-?merge |release |verification )?checklist|"
    r"verification|nice to have|(?:key |known |main |open )?risks)\b.*",
    re.IGNORECASE,
)
_FINISHED = re.compile(
    r"(?:(?:recently |already )?(?:done|completed?|finished|fixed|resolved|released|shipped|archived?|implemented|"
    r"closed)(?: (?:tasks?|items?|features?|work|issues?|bugs?|to-?dos?|goals?|milestones?|phases?|steps?|stories|"
    r"sprints?|list|stuff|things|changes|requests?|improvements?|objectives?|in v?[\d.]+))?|changelog|"
    r"won'?t (?:do|fix)|rejected|cancell?ed|out of scope|non-?goals)\b[^a-z]*",
    re.IGNORECASE,
)
_TICK = re.compile("[\u2705\u2714\u2611]")
_PROBLEMS = {
    "dash": (
        "`[-]` means in progress to some tools and cancelled to others. `--dash open` takes these boxes as open, "
        "`--dash cancelled` leaves them out"
    ),
    "unclear": (
        "a mark that means cancelled to some and not done to others. Write `[ ]` or `[x]`, or strike the text out"
    ),
    "html": (
        "a check box inside an HTML block, where Markdown knows none. Put a blank line between the tag and the list; "
        "in a comment (`<!-- -->`) boxes are left out"
    ),
    "paragraph": (
        "this looks like a check box, but Markdown takes it for a line of the paragraph above. Put a blank line before "
        "the list, and begin each item with `- [ ] text`"
    ),
    "unclosed": "this code block or comment never ends; the check boxes in it would be lost. Close it",
    "empty": "a check box without a text has something below it. Write behind the box what is to be done",
}


class Report:
    """What is to be told about the reading of one list."""

    def __init__(self, name: str, lines: Sequence[str], options: ListOptions) -> None:
        self.name, self.lines, self.options = name, lines, options
        self.problems: Dict[str, List[int]] = {}
        self.reference_problems: List[Tuple[str, int, List[int], int]] = []
        self.unusual: List[int] = []
        self.stressed: Dict[str, List[int]] = {}
        self.unknown: Counter[str] = Counter()
        self.doubtful: List[int] = []
        self.unfollowed: List[int] = []
        self.needs_left_out: List[int] = []
        self.boxes: Counter[str] = Counter()
        self.bullets: List[Tuple[str, int]] = []
        self.table_boxes: List[int] = []
        self.heading_boxes: List[int] = []
        self.checks: Counter[str] = Counter()
        self.finished: Counter[str] = Counter()
        self.texts: Counter[str] = Counter()
        self.step_texts: Counter[str] = Counter()
        self.spellings: Dict[str, str] = {}
        self.form = "Markdown checklist"
        self.with_steps = self.steps = self.groups = self.loose_lines = 0
        self.without = {_plain(heading).casefold(): heading for heading in options.without}
        self.unused: Set[str] = set(self.without)
        self.headings: List[str] = []
        self.judged: Dict[str, Tuple[str, str]] = {}

    # -- while the list is read ---------------------------------------------------------------------------------------

    def add(self, problem: str, line: int) -> None:
        """Note a line that refuses the list: a key of _PROBLEMS."""
        lines = self.problems.setdefault(problem, [])
        if line not in lines[-1:]:
            lines.append(line)

    def add_unusual(self, line: int) -> None:
        """Note a box that is spelled as Markdown does not show it."""
        if line not in self.unusual[-1:]:
            self.unusual.append(line)

    def add_stressed(self, mark: str, line: int) -> None:
        """Note a mark that stresses an open box."""
        lines = self.stressed.setdefault(mark, [])
        if line not in lines[-1:]:
            lines.append(line)

    def add_loose_lines(self, count: int) -> None:
        """Count lines of text or code below an item that do not belong to it."""
        self.loose_lines += count

    def add_unknown(self, mark: str) -> None:
        """Note a mark that may be a label."""
        self.unknown[mark] += 1

    def add_unfollowed(self, line: int) -> None:
        """Note a line about needs that names no box."""
        if line not in self.unfollowed[-1:]:
            self.unfollowed.append(line)

    def add_needs_left_out(self, line: int, target: int) -> None:
        """Note a box on `line` that needs one on line `target`, which is left out and not done."""
        self.needs_left_out.append(line)

    def add_reference(self, reference: str, line: int, candidates: List[int], total: int) -> None:
        """Note a reference that refuses the list: the lines of the boxes that it may mean, and how many there are."""
        self.reference_problems.append((reference, line, candidates, total))

    def count_box(self, state: str) -> None:
        """Count a box by its state."""
        self.boxes[state] += 1

    def add_heading(self, text: str, line: int) -> None:
        """Note a heading; it may begin with a box."""
        self.headings.append(text)
        if "[" in text and read_box(text) and read_box(text).state != "unknown":  # type: ignore[union-attr]
            self.heading_boxes.append(line)

    def look_for_box_in_table(self, row: str, line: int) -> None:
        """Note a row of a table with a box in a cell, or with a sign for an open one before a word or none."""
        if any(read_box(f"{cell.strip()} ") for cell in row.split("|") if not _BOX_BEGINS.isdisjoint(cell)):
            self.table_boxes.append(line)

    def add_bullet(self, text: str, line: int) -> None:
        """Note a top-level item without a box."""
        self.bullets.append((text, line))

    def add_feature(self, text: str, line: int, headings: Sequence[str], steps: int) -> None:
        """Count a feature for the notes."""
        if "~~" in text[:4] or _TICK.search(text):
            self.doubtful.append(line)
        plain = _plain(text)
        self.texts[plain.casefold()] += 1
        self.spellings.setdefault(plain.casefold(), plain)
        if steps:
            self.with_steps += 1
            self.steps += steps
        for heading in headings:
            plain, kind = self._judge(heading)
            if kind:
                (self.checks if kind == "check" else self.finished)[plain] += 1
                break

    def add_step(self, state: str, text: str) -> None:
        """Count a box inside of a feature."""
        self.boxes[state] += 1
        bare = text.strip("*_`. ")  # there may be 200,000 of them: more is not worth its time
        folded = bare.casefold()
        count = self.step_texts.get(folded, 0) + 1
        self.step_texts[folded] = count
        if count == REPEATS:  # before, nobody is told about it
            self.spellings.setdefault(folded, bare)

    def find_without(self, headings: Sequence[str], text: str) -> str:
        """Return `below HEADING` or `--without` if the user leaves a box out; empty otherwise."""
        if not self.without:
            return ""
        for heading in headings:
            shown, _ = self._judge(heading)
            plain = shown.casefold()
            if plain in self.without:
                self.unused.discard(plain)
                return f"below `{one_line(shown, 60)}`"
        plain = _plain(text).casefold()
        if plain in self.without:
            self.unused.discard(plain)
            return "--without"
        return ""

    def find_finished(self, headings: Sequence[str]) -> str:
        """Return `below HEADING` if a heading says that what is below it is done; for bullets, which have no box."""
        for heading in headings:
            if _is_finished(heading):
                return f"below `{one_line(_plain(heading), 60)}`"
        return ""

    def _judge(self, heading: str) -> Tuple[str, str]:
        """Return a heading without what is around it, and `check` or `finished` if it is one of such boxes."""
        if heading not in self.judged:  # one may be above 10,000 boxes
            plain = _plain(heading)
            kind = "check" if _NOT_WORK.fullmatch(plain) else "finished" if _is_finished(heading) else ""
            self.judged[heading] = plain, kind
        return self.judged[heading]

    # -- refusals -----------------------------------------------------------------------------------------------------

    def raise_problems(self) -> None:
        """Raise FeatureListError if something has two meanings: the first kind, all of its lines."""
        for kind, message in _PROBLEMS.items():
            lines = self.problems.get(kind)
            if lines:
                shown = one_line(self.lines[lines[0] - 1].strip(), 60)
                where = f" ({describe_lines(lines)})" if len(lines) > 1 else ""
                raise FeatureListError(f"{shown!r}{where}: {message}.", "features-line", self.name, lines[0])
        if self.unused:
            headings = ", ".join(f"`{one_line(heading, 40)}`" for heading in self.headings[:10])
            wanted = self.without[min(self.unused)]
            raise FeatureListError(
                f"--without {shlex.quote(clean(wanted))}: no box is below such a heading or has this text."
                + (f" Its headings are {headings}." if headings else " It has no headings."),
                "features-file",
                self.name,
            )

    def raise_reference_problems(self) -> None:
        """Raise FeatureListError if a note refers to two boxes or none."""
        if not self.reference_problems:
            return
        from .needs import describe_ambiguity

        reference, line, candidates, total = self.reference_problems[0]
        others = [other for _, other, _, _ in self.reference_problems[1:]]
        also = f" The same is wrong on {describe_lines(others)}." if others else ""
        raise FeatureListError(
            f"{describe_ambiguity(reference, candidates, total)}. Give the box that is meant an id, `(id: NAME)`, and "
            f"name that.{also}",
            "feature-order",
            self.name,
            line,
        )

    def explain_no_features(self, features: Sequence[Feature]) -> FeatureListError:
        """Return the error about a list without an open box, with the way on."""
        total, is_open = sum(self.boxes.values()), self.boxes[OPEN]
        line = 0
        if total and not is_open:
            reason = f"no open features: all {total} check boxes are ticked. Untick what is still to do."
        elif total:
            reason = (
                f"no open features: each of the {is_open} open check boxes of {total} is left out, as optional, struck "
                "through, marked as done or by --without. `--optional` takes optional ones."
            )
        elif self.heading_boxes:
            line = self.heading_boxes[0]
            reason = (
                f"no features: the check boxes are in headings ({describe_lines(self.heading_boxes)}). Write each "
                "feature as `- [ ] text`."
            )
        elif self.table_boxes:
            line = self.table_boxes[0]
            reason = (
                f"no features: the check boxes are in a table ({describe_lines(self.table_boxes)}). Write each feature "
                "as `- [ ] text`."
            )
        elif self.bullets:
            count = f"{len(self.bullets)} top-level bullets" if len(self.bullets) > 1 else "one top-level bullet"
            shown = ", ".join(f"`{one_line(text, 40)}`" for text, _ in self.bullets[:3])
            reason = (
                f"no features: there is no check box, but {count} ({shown}). `--bullets` takes them as features; or "
                "write each feature as `- [ ] text`."
            )
            if self.options.bullets:
                reason = f"no open features: all {len(self.bullets)} top-level bullets are struck through or done."
        else:
            reason = (
                "no features: there is no check box. Write each feature as `- [ ] text`, or name the file .txt if each "
                "line is a feature."
            )
        return FeatureListError(reason, "features-file", self.name, line)

    # -- what the dry run says ----------------------------------------------------------------------------------------

    def describe_format(self, count: int) -> str:
        """Return what the list was read as, and how much of it is open."""
        total = sum(self.boxes.values())
        if not total:
            return f"Markdown bullets: {count} of {len(self.bullets)} taken"
        return f"{self.form}: {self.boxes[OPEN] + self.boxes['dash'] + self.boxes[UNCLEAR]} open of {total}"

    def list_notes(self, features: Sequence[Feature]) -> List[str]:
        """Return sentences about what was decided, with the option that decides otherwise."""
        notes = []
        if self.with_steps:
            notes.append(
                f"Nested boxes: the outermost open box is a feature, the {self.steps} boxes in it are its steps (in "
                f"{self.with_steps} of {len(features)}). `--leaves` makes each innermost open box a feature."
            )
        if self.groups:
            notes.append(
                f"Nested boxes: each innermost open box is a feature; {self.groups} boxes with open boxes in them are "
                "its context. Without `--leaves` the outermost open box is a feature."
            )
        for plain, count in self.checks.most_common(SHOWN):
            notes.append(
                f"Below `{one_line(plain, 60)}` {_count_of(count, 'feature')}, which may be no work of {_its(count)} "
                f"own: `--without {shlex.quote(one_line(plain, 200))}` leaves {_them(count)} out."
            )
        for plain, count in self.finished.most_common(SHOWN):
            notes.append(
                f"Below `{one_line(plain, 60)}` {_count_of(count, 'feature')}, though the heading says done: "
                f"`--without {shlex.quote(one_line(plain, 200))}` leaves {_them(count)} out."
            )
        for text, count in self.texts.most_common(SHOWN):
            if count >= REPEATS:
                plain = one_line(self.spellings[text], 200)
                notes.append(
                    f"`{one_line(plain, 60)}` is there {count} times: `--without {shlex.quote(plain)}` leaves it out."
                )
        for text, count in self.step_texts.most_common(SHOWN):
            if count >= REPEATS:
                plain = one_line(self.spellings[text], 200)
                notes.append(
                    f"`{one_line(plain, 60)}` is a step {count} times: `--without {shlex.quote(plain)}` leaves it out."
                )
        for mark, lines in self.stressed.items():
            notes.append(f"`[{mark}]` is read as open ({describe_lines(sorted({*lines}))}).")
        for mark, count in self.unknown.most_common(SHOWN):
            notes.append(
                f"`[{clean(mark)}]` is no known mark and left out ({count}). Write `[ ]` for what is to be done, `[x]` "
                "for what is done."
            )
        if self.doubtful:
            notes.append(
                f"Read as open, though part of the text is ticked or struck through: {describe_lines(self.doubtful)}."
            )
        if self.unusual:
            notes.append(f"Read as check boxes, though Markdown shows none: {describe_lines(sorted({*self.unusual}))}.")
        bullets = 0 if self.options.bullets else len(self.bullets)
        if bullets > len(features):
            notes.append(f"{bullets} top-level bullets without a box are left out: `--bullets` takes them too.")
        if self.loose_lines:
            notes.append(
                f"Between the items {_count_of(self.loose_lines, 'line')} of text or code not indented, and so in no "
                "feature: the worker is not shown this. Indent what belongs to an item."
            )
        if self.table_boxes:
            notes.append(f"Check boxes in a table are left out: {describe_lines(self.table_boxes)}.")
        if self.heading_boxes:
            notes.append(f"Headings that begin with a box are read as headings: {describe_lines(self.heading_boxes)}.")
        if self.unfollowed:
            notes.append(
                f"What these lines need is no box of the list and has no effect: {describe_lines(self.unfollowed)}. "
                "Write `(after: ID)` at the end of a text to name one."
            )
        if self.needs_left_out:
            notes.append(f"These lines need a box that is left out: {describe_lines(self.needs_left_out)}.")
        return notes


def join_errors(errors: Sequence[FeatureListError]) -> FeatureListError:
    """Return the first error, with the lines of the others."""
    first = errors[0]
    others = [error.line for error in errors[1:]]
    also = f" The same is wrong on {describe_lines(others)}." if others else ""
    return FeatureListError(f"{first.reason}{also}", "features-line", first.name, first.line)


def _plain(text: str) -> str:
    """Return a heading without markup, numbers, symbols and colons around it."""
    bare = re.sub(r"[*_`~]", "", clean(text))
    bare = bare[_HEAD.match(bare).end() :]  # type: ignore[union-attr]  # it matches any text
    return " ".join(bare[: len(bare) - _TAIL_REVERSED.match(bare[::-1]).end()].split())  # type: ignore[union-attr]


def _is_finished(heading: str) -> bool:
    return (
        bool(_FINISHED.fullmatch(_plain(heading))) or is_marked_done(heading) or heading.lstrip("*_ ").startswith("~~")
    )


def _count_of(number: int, noun: str) -> str:
    """Return `is one line`, `are 1,200 lines`."""
    return f"is one {noun}" if number == 1 else f"are {number:,} {noun}s"


def _its(count: int) -> str:
    return "its" if count == 1 else "their"


def _them(count: int) -> str:
    return "it" if count == 1 else "them"
