"""Files that are no lists of features: each is refused with what it seems to be and what to do."""

from __future__ import annotations

import io
import zipfile

import listings
import pytest
from batch_implement.core.errors import UsageError
from batch_implement.features.source_files import read_file, read_stdin


def refusal(path):
    return listings.refusal(read_file, str(path))


def office_file(part):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("[Content_Types].xml", "x")
        archive.writestr(part, "x")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("name", "kind", "way_on"),
    [
        ("greeter.py", "looks like Python source", "`batchctl create features.txt`"),
        ("main.cc", "looks like C++ source", "one feature per line (.txt)"),
        ("index.html", "looks like a web page", "`- [ ] feature` (.md)"),
        ("run.log", "looks like a log", "`batchctl create features.txt`"),
        ("Cargo.lock", "looks like a lock file", "`batchctl create features.txt`"),
        ("package-lock.json", "looks like a lock file", "`batchctl create features.txt`"),
        ("package.json", "looks like the settings of npm", "`batchctl create features.txt`"),
        ("Makefile", "looks like a makefile", "`batchctl create features.txt`"),
        ("LICENSE", "looks like a license", "`batchctl create features.txt`"),
        ("requirements-dev.txt", "looks like a list of Python packages", "`batchctl create features.txt`"),
        ("CHANGELOG.txt", "looks like a changelog, which lists what is done", "`batchctl create features.txt`"),
        ("plan.docx", "looks like a Word document", "Save it as plain text (.txt)"),
        ("plan.xlsx", "looks like an Excel workbook", "Save it as plain text (.txt)"),
        ("plan.pdf", "looks like a PDF document", "Save it as plain text (.txt)"),
        ("plan.csv", "looks like a table", "into a .txt file, one feature per line"),
        ("plan.toml", "looks like TOML", "Write the list as .yaml or .json"),
        ("fix.patch", "looks like a patch", "`batchctl create features.txt`"),
        ("shot.PNG", "looks like an image", "`batchctl create features.txt`"),
    ],
)
def test_a_name_that_no_list_has_is_refused_with_the_kind_and_the_next_command(tmp_path, name, kind, way_on):
    (tmp_path / name).write_text("Add a page\n")
    message = refusal(tmp_path / name)
    assert f"{name}: {kind}, not a list of features." in message and way_on in message


TEXTS = {
    "a script (it begins with `#!`)": "#!/usr/bin/env python3\nprint(1)\n",
    "source code": "import os\n\n\ndef main(path):\n    names = os.listdir(path)\n    return names\n",
    "source code ": "int main(void)\n{\n    int n = 0;\n    return n;\n}\n",
    "source code  ": "const fs = require('fs');\nfunction read(path) {\n  return fs.readFileSync(path);\n}\n",
    "source code    ": "To clean\n  (defun clean (tm)\n    (let ((max 1))\n      (when tm\n        (incf max))))\n",
    "source code   ": ": ARRAY ( n -- ) CREATE CELLS ALLOT ;\n: ENUM CREATE 0 , DOES> DUP ;\n",
    "shell commands": "svn checkout svn://example.invalid/trunk code\ncd code/src\nnotes\n",
    "a web page": "<!DOCTYPE html>\n<html>\n<body>\n<p>Add a page</p>\n</body>\n</html>\n",
    "a web page or has HTML in it": "Add a page\n<ul>\n<li>one\n<li>two\n</ul>\n",
    "XML": "<?xml version='1.0'?>\n<list/>\n",
    "a patch": "diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@\n-one\n+two\n",
    "a log or a conversation": "2024-01-02 10:00:01 begin\n2024-01-02 10:00:02 read\n2024-01-02 10:00:03 end\n",
    "a log or a conversation ": "<anna> shall we?\n<ben> yes\n<anna> then begin\n",
    "JSON": '{"name": "x",\n"tasks": ["a"]}\n',
    "YAML": "features:\n  - title: Add a page\n  - title: Add a form\n",
    "a table (each line has `|`)": "1|Add a page|false\n2|Add a form|true\n",
    "a table (each line has equally many commas)": "title,status\nAdd a page,open\nAdd a form,done\n",
    "a key or a certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
    "a file that Task Master wrote for one task": "# Task ID: 1\n# Title: Add a page\n# Details:\nWith a form\n",
}


@pytest.mark.parametrize(("kind", "text"), list(TEXTS.items()))
def test_what_is_in_a_text_file_shows_that_it_is_no_list(tmp_path, kind, text):
    (tmp_path / "todo").write_text(text)
    message = refusal(tmp_path / "todo")
    assert f"looks like {kind.strip()}" in message and "not a list of features. " in message


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"%PDF-1.7\n", "a PDF document"),
        (b"\x89PNG\r\n\x1a\n", "an image"),
        (b"\x7fELF\x02", "a program"),
        (b"{\\rtf1 x}", "a rich text document"),
        (office_file("word/document.xml"), "a Word document"),
        (office_file("xl/workbook.xml"), "an Excel workbook"),
        (office_file("a.txt"), "an archive"),
    ],
)
def test_the_first_bytes_show_what_is_no_text_whatever_its_name(tmp_path, data, kind):
    (tmp_path / "todo.txt").write_bytes(data)
    assert f"looks like {kind}, not a list of features. Save" in refusal(tmp_path / "todo.txt")


def test_one_line_of_code_at_the_margin_is_named():
    with pytest.raises(UsageError) as caught:
        read_stdin(io.BytesIO(b"Sort the build:\nsourceSets {\n  main\n}\nAdd a generator\nAdd a halo\nShow it\n"))
    assert "standard input:4: this line looks like code. Indent code below the feature" in caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        "Import users from CSV\nClass names in the report\nReturn 404 for unknown pages\n",
        "Use const where a value does not change\nif the file is missing, say so\nfor each row show a tip\n",
        "Add def-use chains\nExport to HTML: <p> and <b>\nCall foo() once\n",
        "Fix crash at 10:30 on Sundays\nERROR messages in red\nAdd a, b and c\n",
        "[parser] read numbers\n[parser] read names\n{braces} in names\n",
    ],
)
def test_lists_that_speak_of_code_are_lists(tmp_path, text):
    (tmp_path / "todo.txt").write_text(text)
    assert [feature.text for feature in read_file(str(tmp_path / "todo.txt")).features] == text.splitlines()
