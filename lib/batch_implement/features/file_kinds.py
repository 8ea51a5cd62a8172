"""Tell what a file is that is no list of features, by its name and by what is in it.

    refuse_name("greeter.py", "greeter.py")         raises: looks like Python source; ...
    refuse_bytes(data, name)                        raises for PDF, office files, images, archives
    refuse_content(lines, name)                     raises for source code, HTML, logs, diffs, data

Each raises FeatureListError, which says what the file seems to be and what to do. What is a list is not decided here.
"""

from __future__ import annotations

import os
import re

from .feature_list import FeatureListError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Optional, Sequence

WRITE_A_LIST = (
    "Write what is to be done into a list, one feature per line (.txt) or as `- [ ] feature` (.md), and name that: "
    "`batchctl create features.txt`."
)
LANGUAGES = {
    "Python": "py pyw pyi ipynb pyx", "JavaScript": "js jsx mjs cjs", "TypeScript": "ts tsx mts", "C": "c h",
    "C++": "cc cpp cxx hh hpp hxx ino", "C#": "cs", "Java": "java", "Kotlin": "kt kts", "Go": "go", "Rust": "rs",
    "Ruby": "rb erb rake gemspec", "PHP": "php phtml", "Perl": "pl pm", "shell": "sh bash zsh fish ksh bat cmd ps1",
    "Lua": "lua", "Swift": "swift", "Scala": "scala sbt", "Haskell": "hs lhs", "Elixir": "ex exs", "Erlang": "erl hrl",
    "Clojure": "clj cljs edn", "Lisp": "el lisp scm", "R": "r rmd", "Julia": "jl", "Dart": "dart", "SQL": "sql",
    "assembler": "asm s", "Vue": "vue", "Svelte": "svelte", "CSS": "css scss sass less", "Nix": "nix", "Zig": "zig",
    "Terraform": "tf", "CMake": "cmake", "make": "mk", "TeX": "tex bib sty", "protocol buffers": "proto",
}  # fmt: skip
BY_SUFFIX: Dict[str, str] = {
    f".{suffix}": f"{language} source" for language, suffixes in LANGUAGES.items() for suffix in suffixes.split()
}
KINDS = {
    "a web page": "html htm xhtml mhtml", "XML": "xml xsl xsd svg plist opml", "a log": "log out err",
    "a patch": "diff patch rej", "a lock file": "lock", "settings": "ini cfg conf env properties editorconfig",
    "an image": "png jpg jpeg gif bmp webp ico tif tiff heic",
    "a program or a library": "exe dll so dylib o a bin class jar wasm",
    "an archive": "zip tar gz tgz bz2 xz 7z rar whl",
    "a database": "db sqlite sqlite3", "sound or video": "mp3 mp4 wav mov avi mkv",
}  # fmt: skip
BY_SUFFIX.update({f".{suffix}": kind for kind, suffixes in KINDS.items() for suffix in suffixes.split()})
OFFICE = {
    ".docx": "a Word document", ".doc": "a Word document", ".odt": "an OpenDocument text",
    ".rtf": "a rich text document",
    ".pdf": "a PDF document", ".pages": "a Pages document", ".pptx": "a presentation", ".ppt": "a presentation",
    ".xlsx": "an Excel workbook", ".xls": "an Excel workbook", ".ods": "a spreadsheet", ".numbers": "a spreadsheet",
    ".eml": "an e-mail", ".msg": "an e-mail", ".epub": "a book",
}  # fmt: skip
BY_NAME = {
    "package-lock.json": "a lock file", "yarn.lock": "a lock file", "pnpm-lock.yaml": "a lock file",
    "composer.lock": "a lock file", "package.json": "the settings of npm",
    "tsconfig.json": "the settings of TypeScript",
    "composer.json": "the settings of Composer", "docker-compose.yml": "settings of Docker", "makefile": "a makefile",
    "gnumakefile": "a makefile", "dockerfile": "a Dockerfile", "jenkinsfile": "Groovy source",
    "rakefile": "Ruby source",
    "gemfile": "Ruby source", "procfile": "settings", "cmakelists.txt": "CMake source",
    "robots.txt": "rules for robots",
    "license": "a license", "license.txt": "a license", "copying": "a license", ".gitignore": "a list of ignored files",
    ".gitattributes": "settings of git", ".env": "settings", "codeowners": "a list of owners",
}  # fmt: skip
CHANGELOG_NAME = re.compile(r"(?:change[-_ ]?log|changes|history|release[-_ ]?notes|news)(?:\.\w+)?$", re.IGNORECASE)
REQUIREMENTS_NAME = re.compile(r"(?:\w+[-_])?requirements(?:[-_]\w+)?\.(?:txt|in)$", re.IGNORECASE)
TABLES = {".csv": ",", ".tsv": "a tab"}

MAGIC = (
    (b"%PDF-", "a PDF document"), (b"\x89PNG", "an image"), (b"\xff\xd8\xff", "an image"), (b"GIF8", "an image"),
    (b"\x7fELF", "a program"), (b"MZ\x90", "a program"), (b"\x1f\x8b", "an archive"), (b"BZh", "an archive"),
    (b"\xfd7zXZ", "an archive"), (b"7z\xbc\xaf", "an archive"), (b"SQLite format 3", "a database"),
    (b"\xd0\xcf\x11\xe0", "an older office document"), (b"{\\rtf", "a rich text document"), (b"bplist", "settings"),
)  # fmt: skip

SHEBANG = re.compile(r"#!\s*/")
HTML = re.compile(
    r"<(?:!doctype html|html|head|body|div|p|ul|ol|li|table|h[1-6]|script|style|span|br)\b", re.IGNORECASE
)
PATCH = re.compile(r"diff --git |@@ -\d+(?:,\d+)? \+\d+|Index: \S+$|\+\+\+ (?:b/|\S+\t)")
LOG = re.compile(
    r"\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d|\[?\d\d:\d\d(?::\d\d)?\]?[ \t]|"
    r"\[?(?:INFO|DEBUG|WARN(?:ING)?|ERROR|TRACE)\]?[ :]|"
    r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d|<[\w-]{2,20}> |\S+ - - \[|Traceback \("
)
JSON_BEGIN = re.compile(r"[\[{]\s*(?:[{\[\"]|$)")
YAML_FIELD = re.compile(r"(?:features|defaults|tasks):\s*$|\s*-\s+(?:title|id|depends_on):\s")
# Strong signs alone: a list of features has sentences about code, and now and then a line of it. These expressions are
# for stripped lines, and read one of any length in a time that grows with it: no two parts in a row match the same.
CODE = re.compile(
    r"(?:def \w+\(|class \w[\w\s,<>.()]*[:{]$|#\s*include\s*[<\"]|from [\w.]+ import\b|"
    r"import [\w.{},* ]+(?: from .+;?|;)$|"
    r"(?:export |async |public |private |protected |static )\w.*[({]|function\b[^.]*\(|func \w*\(|fn \w+|"
    r"(?:const|let|var) \w+\s*[:=]|(?:if|for|while|switch|elif|else if)\b.*(?:\)\s*\{|:)$|return\b.*[;)]$|"
    r"[}\])]+(?:[;,][;,)]*)?$|.*[^\s:][;{]$|.*=>\s*\{|<\?php|@\w+(?:\(.*\))?$|"
    r"\w+\s*(?:[-+*/|]?=|:=)\s*\S+|\w[\w.]*\(.*\);?$|"
    r"(?:SELECT|INSERT INTO|CREATE TABLE|UPDATE) .*|end$|fi$|done$|esac$|else:?$|try:?$)"
)
SURE_CODE = re.compile(
    r"(?:def \w+\([^)]*\).*:|class \w.*[:{]$|#\s*include\s*[<\"]|from [\w.]+ import\b|import [\w.]+(?:;|$| as )|"
    r"(?:export |async )*function \w*\(|(?:const|let|var) \w+\s*=|package [\w.]+;?$|using [\w.:]+;|<\?php|"
    r"(?:public|private) (?:class|static|void|interface)|fn \w+\(.*\)|func (?:\(.*\) )?\w+\(.*\)|"
    r"int main\(|: \S+(?: .*)? ;(?: \w+)?$|\((?:def\w*|let\*?|set[fq]|lambda|cond|when|unless|progn)[\s(])"
)
SHELL = re.compile(
    r"(?:\$ )?(?:sudo|svn|git|cd|npm|pip3?|docker|apt(?:-get)?|curl|wget|ssh|scp|chmod|mkdir|rm|cp|mv)\s.*(?: --?\w|://|/)"
)
BRACE_ALONE = re.compile(r"(?:[{}]\s*;?|;)$")


def _refuse(name: str, kind: str, what_to_do: str = WRITE_A_LIST, line: int = 0) -> FeatureListError:
    return FeatureListError(f"looks like {kind}, not a list of features. {what_to_do}", "features-file", name, line)


def refuse_name(path: str, name: str) -> None:
    """Raise FeatureListError if the name of a file is that of no list of features."""
    base = os.path.basename(path).lower()
    suffix = os.path.splitext(base)[1]
    if suffix in TABLES:
        raise _refuse(
            name, "a table", "Write the column that says what is to be done into a .txt file, one feature per line."
        )
    if suffix == ".toml":
        raise _refuse(name, "TOML", "Write the list as .yaml or .json: `batchctl schema features` describes it.")
    if suffix in OFFICE:
        raise _refuse(name, OFFICE[suffix], "Save it as plain text (.txt), one feature per line, and name that.")
    kind = BY_NAME.get(base) or BY_SUFFIX.get(suffix)
    if kind is None and REQUIREMENTS_NAME.match(base):
        kind = "a list of Python packages"
    if kind is None and CHANGELOG_NAME.match(base):
        raise _refuse(name, "a changelog, which lists what is done")
    if kind is not None:
        raise _refuse(name, kind)


def refuse_bytes(data: bytes, name: str) -> None:
    """Raise FeatureListError if the bytes begin as those of a file that is no text."""
    if data.startswith(b"PK\x03\x04"):
        head = data[:4096]
        kinds = ((b"word/", "a Word document"), (b"xl/", "an Excel workbook"), (b"ppt/", "a presentation"))
        kind = next((kind for part, kind in kinds if part in head or part in data), "an archive")
        raise _refuse(name, kind, "Save it as plain text (.txt), one feature per line, and name that.")
    kind = next((kind for magic, kind in MAGIC if data.startswith(magic)), "")
    if kind:
        raise _refuse(name, kind, "Save what is to be done as plain text (.txt), one feature per line, and name that.")


def refuse_content(texts: Sequence[str], name: str) -> None:
    """Raise FeatureListError if the lines of a text are those of source code, HTML, a log, a patch, or data."""
    filled = [(number, text, text.strip()) for number, text in enumerate(texts[:2_000], start=1) if text.strip()]
    if not filled:
        return
    number, first, bare = filled[0]
    if SHEBANG.match(first):
        raise _refuse(name, "a script (it begins with `#!`)", line=number)
    if bare.startswith(("<?xml", "<svg")):
        raise _refuse(name, "XML")
    if re.match(r"# Task ID: ", first):
        raise _refuse(name, "a file that Task Master wrote for one task", "Name its `tasks.json`: it has all tasks.")
    if re.match(r"-----BEGIN ", first):
        raise _refuse(name, "a key or a certificate")
    if JSON_BEGIN.match(first) and filled[-1][2][-1] in "]}" and any('"' in text for _, text, _ in filled[:5]):
        raise _refuse(name, "JSON", "Name the file .json.")
    if sum(bool(YAML_FIELD.match(text)) for _, text, _ in filled) >= 2:
        raise _refuse(name, "YAML", "Name the file .yaml.")
    table = _find_table([text for _, text, _ in filled])
    if table:
        raise _refuse(
            name,
            f"a table (each line has {table})",
            "Write what is to be done, one feature per line, into a file of its own.",
        )
    counts = {
        "a web page or has HTML in it": (HTML, 3, 0.1), "a patch": (PATCH, 2, 0.0),
        "shell commands": (SHELL, 2, 0.5), "a log or a conversation": (LOG, 3, 0.3), "source code": (CODE, 3, 0.5),
    }  # fmt: skip
    for kind, (pattern, least, share) in counts.items():
        is_indented = pattern in (HTML, SHELL, CODE)
        lines = [line for line in filled if pattern.match(line[2] if is_indented else line[1])]
        if len(lines) >= max(least, share * len(filled)):
            if kind == "source code" and not any(
                SURE_CODE.match(stripped) or BRACE_ALONE.match(stripped) for _, _, stripped in lines
            ):
                continue
            raise _refuse(name, f"{kind} (line {lines[0][0]})")
    if re.match(r"<(?:!doctype|html)\b", bare, re.IGNORECASE):
        raise _refuse(name, "a web page")
    sure = [number for number, _, stripped in filled if SURE_CODE.match(stripped)]
    if len(sure) >= 2 and len(sure) * 4 >= len(filled):
        raise _refuse(name, f"source code (line {sure[0]})")
    braces = [number for number, text, _ in filled if BRACE_ALONE.match(text) and not text[0].isspace()]
    if braces:
        raise FeatureListError(
            "this line looks like code. Indent code below the feature that it belongs to, or take it out.",
            "features-line",
            name,
            braces[0],
        )


def _find_table(texts: Sequence[str]) -> Optional[str]:
    """Return what separates the columns where each line has equally many of it; None if it is no table."""
    for sign, shown in (("|", "`|`"), ("\t", "a tab")):
        counts = {text.strip().count(sign) for text in texts}
        if len(counts) == 1 and counts != {0} and not any(text.lstrip().startswith(("-", "*")) for text in texts):
            return shown
    commas = [text.count(",") for text in texts]
    if len(texts) >= 2 and len(set(commas)) == 1 and commas[0] and re.fullmatch(r"[\w \"]+(,[\w \"]+)+", texts[0]):
        is_header = all(len(cell.split()) <= 2 for cell in texts[0].split(","))
        return "equally many commas" if is_header else None
    return None
