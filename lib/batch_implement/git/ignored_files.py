"""Find work in files that git ignores: no commit has it, so it would stay in this folder alone.

    found = find_left_out(root, written, since_ns, others_since_ns)
    found.work          what was written by Write or Edit, and new source text
    found.others        other new files, such as data, for a message

Left out are what programs make (`artefacts`: build output, caches), what belongs to a machine or a user (`.env`, editor
folders, logs, databases, keys, `tmp/`), and of what no tool call wrote: what `.git/info/exclude` has, text that says it
is generated, minified text, and what a compiler made of a tracked file of the same name. Paths are relative to the top
of the working tree.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from typing import Collection, Iterable, Iterator, List, NamedTuple, Set

from . import artefacts, git_client

MAX_ENTRIES = 20_000  # of ignored folders that are looked at
MAX_LISTED = 1000
MAX_READ = 64 * 1024
_NAMES = re.compile(r"\S+")
# What programs make outside of artefact folders, and what belongs to a user or a machine: neither is work.
_PROGRAM_FOLDERS = frozenset(
    _NAMES.findall("""
    .git .hg .svn .ipynb_checkpoints .nyc_output .yarn .pnpm-store .pnp .vite .vercel .netlify .serverless .aws-sam
    .astro .expo .angular .docusaurus .bundle .ccache .pytype .pyre .sass-cache .scannerwork site-packages virtualenv
    env cmake-build-debug cmake-build-release test-results playwright-report vendor deps generated __generated__
    android ios tmp temp .tmp .temp scratch
    """)
)
_USER_FOLDERS = frozenset(_NAMES.findall(".idea .vscode .vs .fleet .zed .history .direnv .devenv .vagrant .claude"))
_PROGRAM_FILES = _NAMES.findall("""
    *.log *.log.* *.pid *.sock *.lock *-lock.* *.tmp *.temp *.bak *.orig *.rej *.swp *.swo *~ #*# .#* .coverage*
    coverage.* lcov.info junit*.xml *.tsbuildinfo .eslintcache .stylelintcache *.prof *.gcda *.gcno *.exe *.dll
    *.dylib *.wasm *.whl *.jar *.map *.min.* Thumbs.db nohup.out
    """)
_USER_FILES = _NAMES.findall("""
    .env .env.* .envrc *.env *.local *.local.* local_settings.py settings_local.py secrets.* credentials* *.pem
    *.key *.p12 *.crt *.iml *.code-workspace *.db *.db-* *.sqlite* *.rdb *.override.y*ml
    """)
_SOURCE = frozenset(
    _NAMES.findall("""
    py pyi pyx ipynb js mjs cjs jsx ts mts cts tsx vue svelte go rs java kt kts scala groovy c h cc cpp cxx hpp hh
    m mm swift cs fs vb rb erb php pl pm lua r jl hs ml mli clj cljs ex exs erl dart zig nim sh bash zsh fish ps1
    bat sql proto graphql tf scss sass less md rst adoc tex yaml yml toml mk cmake
    """)
)
_MARKERS = frozenset((".git", "pyvenv.cfg", "CACHEDIR.TAG"))  # of repositories, virtual environments and caches
# A compiler, bundler or copy step puts these beside a source of the same name.
_COMPILED = frozenset(("js", "mjs", "cjs", "jsx", "ts", "mts", "cts", "c", "cc", "cpp", "h", "java", "php"))
_GENERATED = re.compile(
    rb"@generated|auto-?\s?generated|generated[ -]+(by|file|from|code|automatically|with|using)"
    rb"|(do not|don'?t|should not be|must not be) (edit|modif|change)",
    re.IGNORECASE,
)
_MAX_LINE = 1000  # bytes; longer ones are minified


class LeftOut(NamedTuple):
    """Ignored files that no commit has, sorted: those with work in them, and other new ones."""

    work: List[str]
    others: List[str]


def find_left_out(root: str, written: Collection[str], since_ns: int, others_since_ns: int = 0) -> LeftOut:
    """Return the ignored files that were made or changed at or after `since_ns` (the others: also `others_since_ns`),
    by the file system's time of change.

    `written` are absolute paths that tool calls wrote; those outside of the working tree are left out.
    """
    ignored = git_client.list_ignored_paths(root)
    if not ignored:
        return LeftOut([], [])
    top = git_client.get_top(root)
    work = {path for path in _list_written(top, written) if _is_recent(top, path, since_ns)}
    recent = _drop_excluded(top, [path for path in _iter_recent(top, ignored, since_ns) if path not in work])
    tracked: Set[str] = set()
    sources = [path for path in recent if _has_source_text(top, path)]
    if any(_get_suffix(path) in _COMPILED for path in sources):
        tracked = {_get_stem(path) for path in git_client.run_git(top, "ls-files", "-z").stdout.split("\0")}
    work.update(path for path in sources if _get_suffix(path) not in _COMPILED or _get_stem(path) not in tracked)
    others = set(recent).difference(work, sources)
    return LeftOut(sorted(work), sorted(path for path in others if _is_recent(top, path, others_since_ns)))


def list_of_user(root: str) -> List[str]:
    """Return at most MAX_LISTED ignored paths that no program made, a folder that is ignored as a whole as one."""
    return [path for path in git_client.list_ignored_paths(root) if not _is_of_program(path)][:MAX_LISTED]


def _list_written(top: str, written: Iterable[str]) -> List[str]:
    """Return the paths among `written` that are ignored, relative to `top`."""
    real_top, paths = os.path.realpath(top), []
    for path in written:
        folder, name = os.path.split(path)
        inside = os.path.relpath(os.path.join(os.path.realpath(folder), name), real_top)
        if not inside.startswith("../") and _may_be_work(inside) and os.path.lexists(os.path.join(top, inside)):
            paths.append(inside)
    if not paths:
        return []
    listed: List[str] = []
    options = ("ls-files", "--others", "--ignored", "--exclude-standard", "-z", "--")
    for start in range(0, len(paths), 500):
        listed += git_client.run_git(top, *options, *paths[start : start + 500], literal_paths=True).stdout.split("\0")
    return [path for path in listed if path and not path.endswith("/")]


def _iter_recent(top: str, paths: Iterable[str], since_ns: int) -> Iterator[str]:
    """Yield the ignored files that changed since then and may be work, of at most MAX_ENTRIES entries of folders."""
    left = MAX_ENTRIES
    for ignored in paths:
        if not _may_be_work(ignored):
            continue
        if not ignored.endswith("/"):
            if _is_recent(top, ignored, since_ns):
                yield ignored
            continue
        for folder, folders, files in os.walk(os.path.join(top, ignored)):
            left -= len(files) + len(folders)
            if left < 0:
                return
            inside = os.path.relpath(folder, top)
            if not _MARKERS.isdisjoint((*folders, *files)):
                folders.clear()
                continue
            folders[:] = sorted(name for name in folders if _may_be_work(f"{name}/"))
            for name in files:
                if _may_be_work(name) and _is_recent(top, f"{inside}/{name}", since_ns):
                    yield f"{inside}/{name}"


def _drop_excluded(top: str, paths: List[str]) -> List[str]:
    """Return the paths without those that the repository's exclude file has: there somebody put them on purpose."""
    if not paths:
        return []
    listed = "".join(f"{path}\0" for path in paths)
    rules = git_client.run_git(top, "check-ignore", "-v", "-z", "--stdin", input=listed, check=False).stdout.split("\0")
    excluded = {path for source, path in zip(rules[0::4], rules[3::4]) if source.endswith("info/exclude")}
    return [path for path in paths if path not in excluded]


def _may_be_work(path: str) -> bool:
    return not _is_of_program(path) and not _has_name(path, _USER_FOLDERS, _USER_FILES)


def _is_of_program(path: str) -> bool:
    return artefacts.is_artefact(path) or _has_name(path, _PROGRAM_FOLDERS, _PROGRAM_FILES)


def _has_name(path: str, folders: Collection[str], patterns: Iterable[str]) -> bool:
    """Return whether a path is in one of these folders, or is a file with a name of these patterns."""
    *above, name = path.split("/")  # of a folder the last part is empty
    return not set(above).isdisjoint(folders) or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _is_recent(top: str, path: str, since_ns: int) -> bool:
    """Return whether this is a regular file with content that changed since then."""
    try:
        status = os.lstat(os.path.join(top, path))
    except OSError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size > 0 and status.st_ctime_ns >= since_ns


def _has_source_text(top: str, path: str) -> bool:
    """Return whether a file is text as people write it, which neither says that it is generated nor is minified."""
    suffix = _get_suffix(path)
    if suffix and suffix not in _SOURCE:
        return False
    try:
        with open(os.path.join(top, path), "rb") as file:
            text = file.read(MAX_READ)
    except OSError:
        return False
    is_script = bool(suffix) or text.startswith(b"#!") or path.rpartition("/")[2] in ("Makefile", "Dockerfile")
    is_minified = any(len(line) > _MAX_LINE for line in text.split(b"\n"))
    return is_script and b"\0" not in text and not is_minified and not _GENERATED.search(text[:2000])


def _get_suffix(path: str) -> str:
    return os.path.splitext(path)[1][1:].lower()


def _get_stem(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0]
