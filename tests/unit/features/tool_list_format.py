"""How the expectations beside the files of `tool_lists/` and `text_lists/` are written.

    = Task Master tasks.json: 2 open of 5       what the list is read as
    ! a note
    - 4 2 Print the sum (done)                  a line that is left out: its number, its text, why
    * 3 Parse the file                          a feature: its line and its text
      id: task-1                                `id`, `section`, `depends_on` of its details
        | a line of its description

Options are in the name of a file, behind its first dot: `NAME.--leaves.json`, `NAME.--tag=next.json`.
"""

from __future__ import annotations

from batch_implement.features import source_files
from batch_implement.features.feature_list import ListOptions


def options_of(path):
    """The options that the name of a file asks for."""
    words = [word for word in path.name.split(".") if word.startswith("--")]
    values = dict(word.lstrip("-").partition("=")[::2] for word in words)
    without = [values["without"]] if "without" in values else []
    tag, dash = values.get("tag", ""), values.get("dash", "")
    return ListOptions(leaves="leaves" in values, bullets="bullets" in values, tag=tag, dash=dash, without=without)


def read(path):
    return source_files.read_file(str(path), options_of(path))


def describe(listing):
    """A listing in the form of an expectation."""
    lines = [f"= {listing.format}", *(f"! {note}" for note in listing.notes)]
    lines += [f"- {line} {text} ({reason})" for line, text, reason in listing.left_out]
    for feature in listing.features:
        lines.append(f"* {feature.line} {feature.text}")
        for name, value in feature.details.items():
            if name == "description":
                lines += [f"    | {line}".rstrip() for line in value.split("\n")]
            elif name != "title" or value != feature.text:
                lines.append(f"  {name}: {', '.join(value) if isinstance(value, list) else value}")
    return "\n".join(lines) + "\n"
