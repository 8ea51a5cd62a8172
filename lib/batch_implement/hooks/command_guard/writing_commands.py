"""The paths that common commands write, remove or move, by their names, options and operands.

    list(find_writes("rm", ["-r", "build"], names))         # [('rm', 'build', True)]: with everything in it
    list(find_writes("sed", ["-i", "s/a/b/", "x"], names))  # [('sed -i', 's/a/b/', False), ('sed -i', 'x', False)]
    list(find_writes("cat", ["x"], names))                  # []: it only reads

A path is spelled as in the command and may be a word that is not a path. The folder of `git -C`, and the one into which
`-C` or `-d` unpacks, is put before it. Of a folder that is copied or unpacked over another, only its own name is known.

Nothing here raises or runs anything.
"""

from __future__ import annotations

import re

from .protected_paths import ANY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator

    from .protected_paths import ProtectedNames

    Written = tuple[str, str, bool]  # how, which path, and whether with all that is in it

# Writers of each of their operands: the options that take the next word.
_WRITERS: dict[str, str] = {
    "rm": "", "unlink": "", "shred": "-n -s", "truncate": "-s -r", "touch": "-r -d -t", "chmod": "", "chown": "",
    "chgrp": "", "chattr": "", "tee": "", "sponge": "", "trash": "", "ed": "-p", "ex": "-c", "dos2unix": "",
    "patch": "-p -i -d -o", "rimraf": "", "vim": "-c -S -u --cmd", "vi": "-c", "nvim": "-c -S -u --cmd", "nano": "",
}  # fmt: skip
_COPIERS = {"cp": "-S", "install": "-m -o -g -S", "ln": "-S", "rsync": "-e", "mv": "-S"}
_VIEWERS = ("vim", "vi", "nvim")  # with -R
_PACKERS = frozenset(("gzip", "bzip2", "xz", "gunzip"))
_OUTPUT = {"curl": ("o", "--output"), "wget": ("O", "--output-document"), "sort": ("o", "--output")}
_IN_PLACE = {**dict.fromkeys(("sed", "gsed", "yq", "jaq"), "-[nErsuz]*i|--in-?place"), "prettier": "--write|-w"}


def find_writes(name: str, args: list[str], names: ProtectedNames) -> Iterator[Written]:
    """Yield what the command `name` writes with `args`; nothing for an unknown command."""
    options = get_option_letters(args)
    if name == "git":
        yield from _find_git_writes(args, names)
    elif name in _WRITERS:
        deep = name in ("trash", "rimraf") or (name == "rm" and ("r" in options.lower() or "--recursive" in args))
        if name not in _VIEWERS or "R" not in options:
            yield from ((name, path, deep) for path in get_operands(args, _WRITERS[name]))
    elif name in _COPIERS:
        yield from _find_copy_writes(name, args, names)
    elif name in _IN_PLACE:
        if any(re.match(_IN_PLACE[name], a) for a in args):
            yield from ((f"{name} -i", path, False) for path in get_operands(args, "-e -f --expression --file"))
    elif name in ("awk", "gawk", "mawk"):
        if "inplace" in args:
            yield from ((f"{name} -i inplace", path, False) for path in get_operands(args, "-i -v -f"))
        yield from ((name, path, False) for a in args for path in re.findall(r'>\s*"([^"]+)"', a))
    elif name == "dd":
        yield from ((name, a[3:], False) for a in args if a[:3] == "of=")
    elif name in ("tar", "bsdtar"):
        if re.match("-?[A-Za-z]*x", "".join(args[:1])) or {"--extract", "--remove-files", "-x"} & set(args):
            into = "".join(get_option_values(args, ("-C", "--directory"))[:1])
            yield from (
                (name, resolve_from(into, path), True) for path in get_operands(args, "-f -C --file --directory")
            )
    elif name == "unzip" and not set(options) & set("lptvzZ"):
        into = "".join(get_option_values(args, ("-d",))[:1])
        yield from ((name, resolve_from(into, path), False) for path in get_operands(args, "-d -x"))
    elif name in _PACKERS and not set(options) & set("ckltp"):
        yield from ((name, path, False) for path in get_operands(args))
    elif name in _OUTPUT:
        letter, long = _OUTPUT[name]
        near = (re.fullmatch(f"-[A-Za-z]*?{letter}(.*)", a) for a in args)
        paths = [found[1] or after for found, after in zip(near, [*args[1:], ""]) if found]
        yield from ((name, path, False) for path in paths + get_option_values(args, (long,)))


def _find_copy_writes(name: str, args: list[str], names: ProtectedNames) -> Iterator[Written]:
    """Yield what a command writes whose last operand is the target of the others or their new folder."""
    into = get_option_values(args, ("-t", "--target-directory"))
    paths = get_operands(args, _COPIERS[name] + " -t --target-directory")
    sources, target = (paths, into[0]) if into else (paths[:-1], paths[-1] if len(paths) > 1 else "")
    if name == "mv":
        yield from ((name, source, True) for source in sources)
    yield name, target, name == "rsync" and any(a.startswith("--del") for a in args) and target.strip("./") != ""
    if target:
        ends = (source.rstrip("/").rsplit("/", 1)[-1] for source in sources)
        yield from ((name, f"{target}/{end}", False) for end in ends if end[:5] == names.state[:5])


def _find_git_writes(args: list[str], names: ProtectedNames) -> Iterator[Written]:
    """Yield what git writes: by removing ignored files, or by restoring, removing or moving named paths."""
    at, base = 0, ""
    while at < len(args) and args[at][:1] == "-":
        if args[at] == "-C":
            base = resolve_from(base, "".join(args[at + 1 : at + 2]))
        at += 2 if args[at] in ("-C", "-c", "--git-dir", "--work-tree", "--namespace") else 1
    sub, rest = "".join(args[at : at + 1]), args[at + 1 :]
    options = get_option_letters(rest)
    paths: list[str] = []
    deep = True
    if sub == "clean" and "x" in options.lower() and "n" not in options and "--dry-run" not in rest:
        kept = " ".join(get_option_values(rest, ("-e", "--exclude")))
        if names.folder not in kept and names.state not in kept:
            paths = get_operands(rest, "-e --exclude") or ["."]
        sub = "clean -x"
    elif sub == "stash" and rest[:1] not in (["list"], ["show"], ["apply"], ["pop"], ["drop"]):
        deep = "a" in options or "--all" in rest
        paths = [] if rest[:1] == ["save"] else get_operands(rest, "-m --message")[rest[:1] == ["push"] :]
        paths = paths or ["."] if deep else paths
    elif sub in ("checkout", "restore", "mv") or (sub == "rm" and "--cached" not in rest):
        paths, deep = get_operands(rest, "-b -B -s --source"), sub == "mv"
    yield from ((f"git {sub}", resolve_from(base, path), deep) for path in paths)


def resolve_from(folder: str, path: str) -> str:
    """Return `path` as seen from `folder`; an empty `folder` is the current one."""
    return path if not folder or path[:1] in ("/", "~", ANY) else f"{folder}/{path}"


def get_operands(args: list[str], valued: str = "") -> list[str]:
    """Return the words of `args` that are neither options nor values of the options in `valued`."""
    found: list[str] = []
    takes, skip = valued.split(), False
    for at, arg in enumerate(args):
        if skip:
            skip = False
        elif arg == "--":
            return found + args[at + 1 :]
        elif arg[:1] == "-" and arg != "-":
            skip = arg in takes
        else:
            found.append(arg)
    return found


def get_option_letters(args: list[str]) -> str:
    """Return all one-letter options in `args` as one string."""
    return "".join(a[1:] for a in args if re.fullmatch("-[A-Za-z0-9]+", a))


def get_option_values(args: list[str], options: tuple[str, ...]) -> list[str]:
    """Return the values of the options: the next word, or the text after an equals sign."""
    found = [b for a, b in zip(args, args[1:]) if a in options]
    return found + [a.split("=", 1)[1] for a in args if "=" in a and a.split("=", 1)[0] in options]
