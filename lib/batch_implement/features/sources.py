"""Where the features of a batch come from, as a person named it: a file, standard input, or issues.

    found = sources.read(options, cwd, root, sys.stdin.buffer)
    found.listing, found.features_file, found.notes

Reads only; nothing is written when anything cannot be read. Errors are those of `features` (Misuse) and `issues`
(Refused).
"""

from __future__ import annotations

import os
from typing import BinaryIO, List, NamedTuple, Optional

from ..core.errors import UsageError
from . import reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from .reader import Listing


WAYS = (
    "Name one: a file (.txt with a feature a line, .md with check boxes, .yaml or .json), or `--issues N ...`, or "
    "`--label NAME` and `--milestone NAME`."
)
MISSING_FILE = f"A features file is missing. {WAYS}"


class FeatureSource(NamedTuple):
    """A listing, the path it was read from as it was given (`-` for standard input, empty for issues), and what else
    a person should be told, a sentence each.
    """

    listing: Listing
    features_file: str
    notes: List[str]


def read(options: argparse.Namespace, cwd: str, root: str, stdin: Optional[BinaryIO]) -> FeatureSource:
    """What `options` (see `arguments.add_source_options`) name. A path is relative to `cwd`, `root` is the project's;
    `stdin` is None where there is none to read.
    """
    by_number = options.issues is not None
    by_query = options.label is not None or options.milestone is not None
    ways = [options.file is not None, by_number, by_query]
    if sum(ways) != 1:
        raise UsageError(f"The features are named in more than one way. {WAYS}" if any(ways) else MISSING_FILE, "usage")
    if options.file is not None:
        if options.skip_unreadable:
            raise UsageError("--skip-unreadable is for issues; a features file is read whole or not at all.", "usage")
        return FeatureSource(_read_path(options.file, cwd, stdin), options.file, [])
    from . import github_issues

    found = github_issues.read_issues(
        root,
        numbers=github_issues.parse_numbers(options.issues) if by_number else (),
        label=options.label,
        milestone=options.milestone,
        skip_unreadable=options.skip_unreadable,
    )
    listed = [reader.Feature(text, 0, details, number) for text, number, details in github_issues.to_features(found)]
    notes = [f"Issue #{number} is closed and left out." for number in found.closed]
    notes += [f"Issue #{number} cannot be read and is left out: {why}" for number, why in found.unreadable]
    return FeatureSource(reader.Listing(listed, {}), "", notes)


def _read_path(name: str, cwd: str, stdin: Optional[BinaryIO]) -> Listing:
    if name != "-":
        return reader.read_file(os.path.join(cwd, name))
    if stdin is None:
        raise UsageError(
            "There is no standard input in Claude Code. Write the features to a file and name that, or use `batchctl` "
            "in a terminal of your own.",
            "own-terminal",
        )
    return reader.read_stdin(stdin)
