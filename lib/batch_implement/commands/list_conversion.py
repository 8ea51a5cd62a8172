"""The command `convert`: write a list that can be read as YAML, to look at it and edit it."""

from __future__ import annotations

import os

from ..core import prompts
from ..features import sources
from ..features.data_formats import yaml_writer
from ..report import report_files
from .command import CommandResult

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, BinaryIO, Optional

    from .command import CommandContext


def convert(context: CommandContext, options: Any, cwd: str, stdin: Optional[BinaryIO]) -> CommandResult:
    """Return the list that `options.file` names as YAML; with `options.output` write it to that file, which is new."""
    listing = sources.read_path(options.file, cwd, stdin, sources.list_options(options))
    text = yaml_writer.format_listing(listing, "standard input" if options.file == "-" else options.file)
    data = {
        "format": listing.format,
        "features": len(listing.features),
        "left_out": [entry._asdict() for entry in listing.left_out],
        "notes": list(listing.notes),
        "yaml": text,
    }
    if options.output is None:
        return CommandResult(text.rstrip("\n"), data=data)
    path = report_files.save_file(context.project, os.path.join(cwd, options.output), text, replace=False)
    count = prompts.pluralize(len(listing.features), "feature")
    left_out = f"; comments in it name what is left out ({len(listing.left_out)})" if listing.left_out else ""
    verb = "is" if len(listing.features) == 1 else "are"
    return CommandResult(f"{count} {verb} in {path}{left_out}.", data={**data, "path": path})
