"""Read the features of a batch from the source that the options name: a file, standard input, or issues.

    source = sources.read(options, cwd, root, sys.stdin.buffer)
    source.listing, source.features_file, source.notes

Raises UsageError for a list that cannot be used, RefusedError for issues that cannot be read. Writes nothing.
"""

from __future__ import annotations

import os
from typing import Any, BinaryIO, Dict, List, NamedTuple, Optional

from ..core.errors import UsageError
from . import source_files
from .feature_list import Listing, ListOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

WAYS = (
    "Name one: a file (.txt with one feature per line, .md with check boxes, .yaml or .json), or `--issues N ...`, or "
    "`--label NAME` and `--milestone NAME`."
)
MISSING_FILE = f"A features file is missing. {WAYS}"


class FeatureSource(NamedTuple):
    """A listing, its path as given (`-` for standard input, empty for issues), and notes for the user.

    `tick` is what the state keeps of `--tick`: the path from the root and the options that the list was read with.
    """

    listing: Listing
    features_file: str
    notes: List[str]
    tick: Optional[Dict[str, Any]] = None


def read(options: argparse.Namespace, cwd: str, root: str, stdin: Optional[BinaryIO]) -> FeatureSource:
    """Return the features that `options` name (see `arguments.add_batch_options`).

    Relative paths start at `cwd`; `root` is the project's; `stdin` is None where there is none to read.
    """
    by_number = options.issues is not None
    by_query = options.label is not None or options.milestone is not None
    ways = [options.file is not None, by_number, by_query]
    if sum(ways) != 1:
        raise UsageError(f"The features are named in more than one way. {WAYS}" if any(ways) else MISSING_FILE, "usage")
    if options.file is not None:
        if options.skip_unreadable:
            raise UsageError("--skip-unreadable is for issues; a features file is read whole or not at all.", "usage")
        listing = read_path(options.file, cwd, stdin, list_options(options))
        tick = None
        if getattr(options, "tick", False):  # `add` has no such option
            if options.file == "-":
                raise UsageError("--tick is for a list in a file, not for standard input.", "usage")
            path = os.path.relpath(os.path.realpath(os.path.join(cwd, options.file)), os.path.realpath(root))
            tick = {"file": path, "options": list_options(options)._asdict()}
        return FeatureSource(listing, options.file, [], tick)
    if list_options(options) != ListOptions() or getattr(options, "tick", False):
        raise UsageError(
            "--leaves, --bullets, --optional, --dash, --without, --tag and --tick are for a list in a file, not for "
            "issues.",
            "usage",
        )
    from . import github_issues

    issues = github_issues.read_issues(
        root,
        numbers=github_issues.parse_numbers(options.issues) if by_number else (),
        label=options.label,
        milestone=options.milestone,
        skip_unreadable=options.skip_unreadable,
    )
    notes = [f"Issue #{number} is closed and left out." for number in issues.closed]
    notes += [f"Issue #{number} cannot be read and is left out: {reason}" for number, reason in issues.unreadable]
    return FeatureSource(Listing(issues.features, {}), "", notes)


def list_options(options: argparse.Namespace) -> ListOptions:
    """Return what `options` say about the reading of a list (see `arguments.add_batch_options`)."""
    return ListOptions(
        leaves=options.leaves,
        bullets=options.bullets,
        optional=options.optional,
        dash=options.dash or "",
        without=tuple(options.without or ()),
        tag=options.tag or "",
    )


def read_path(name: str, cwd: str, stdin: Optional[BinaryIO], options: ListOptions) -> Listing:
    """Return what a file lists, or standard input if its name is `-`. Raises UsageError."""
    if name != "-":
        return source_files.read_file(os.path.join(cwd, name), options)
    if stdin is None:
        raise UsageError(
            "There is no standard input in Claude Code. Write the features to a file and name that, or use `batchctl` "
            "in your own terminal.",
            "own-terminal",
        )
    return source_files.read_stdin(stdin, options)
