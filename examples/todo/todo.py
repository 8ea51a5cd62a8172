"""A to-do list for the terminal, kept in a JSON file.

    python3 todo.py add "buy milk"
    python3 todo.py list

The list lies in `todo.json` in the working directory, or where `--file` says.
"""

import argparse
import json
import os
import sys


def load(path):
    """The tasks in a file, oldest first; none when there is no file yet."""
    if not os.path.exists(path):
        return []
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def save(path, tasks):
    """Replace the file's tasks."""
    temp = path + ".new"
    with open(temp, "w", encoding="utf-8") as file:
        json.dump(tasks, file, indent=1)
    os.replace(temp, path)


def line(number, task):
    """One task as the list shows it."""
    return f"{number:>3}  {task['text']}"


def add(tasks, options):
    """Append a task."""
    tasks.append({"text": options.text})
    return [f"Added as {len(tasks)}."]


def show(tasks, options):
    """Every task, a line each."""
    return [line(number, task) for number, task in enumerate(tasks, 1)] or ["Nothing to do."]


def parser():
    """The command line."""
    top = argparse.ArgumentParser(prog="todo", description="A to-do list for the terminal.")
    top.add_argument("--file", default="todo.json", help="where the list lies")
    commands = top.add_subparsers(dest="command", required=True)

    command = commands.add_parser("add", help="add a task")
    command.add_argument("text")
    command.set_defaults(run=add)

    command = commands.add_parser("list", help="show the tasks")
    command.set_defaults(run=show)

    return top


def main(argv=None):
    """Run one command; the exit status."""
    options = parser().parse_args(argv)
    tasks = load(options.file)
    try:
        lines = options.run(tasks, options)
    except ValueError as error:
        print(f"todo: {error}", file=sys.stderr)
        return 1
    save(options.file, tasks)
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
