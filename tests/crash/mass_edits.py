"""Everyday edits of many files at once, by what they are for. Each reaches the state, its copies or both, or could.

They are typed in the root of a small project (`test_mass_edits.py`), whose features have the words that are edited.
"""

from __future__ import annotations

_SED = "sed -i 's/getUser/fetchUser/g'"
_ALL = "find . -type f"

TERMINAL = {  # of these, what a user types without any hook is undone as well, for they enter .git
    "grep | xargs sed": f"grep -rl getUser . | xargs {_SED}",
    "grep -Z | xargs -0 sed": f"grep -rlZ getUser . | xargs -0 {_SED}",
    "grep -I | xargs sed": f"grep -rIl getUser . | xargs {_SED}",
    "grep with patterns over names": f"grep -rl getUser --include='*.json' --include='*.py' . | xargs {_SED}",
    "sed $(grep)": f"{_SED} $(grep -rl getUser .)",
    "a loop over grep": f'for f in $(grep -rl getUser .); do {_SED} "$f"; done',
    "grep | while read": f'grep -rl getUser . | while read -r f; do {_SED} "$f"; done',
    "grep in three folders": f"grep -rl getUser .git .claude src | xargs {_SED}",
    "find -exec sed +": f"{_ALL} -exec {_SED} {{}} +",
    "find -exec sed ;": f"{_ALL} -exec {_SED} {{}} \\;",
    "find | xargs sed": f"{_ALL} | xargs {_SED}",
    "find -print0 | xargs -0 sed": f"{_ALL} -print0 | xargs -0 {_SED}",
    "find by name": f"find . -name '*.json' -exec {_SED} {{}} +",
    "find by size": f"{_ALL} -size -100k -exec {_SED} {{}} +",
    "find in parallel": f"{_ALL} -print0 | xargs -0 -P 4 -n 3 {_SED}",
    "sed with backups": f"{_ALL} -exec sed -i.bak s/getUser/fetchUser/ {{}} + ; find . -name '*.bak' -delete",
    "sed, two words": f"{_ALL} -exec sed -i 's/new/fresh/g; s/live/alive/g; s/check/test/g; s/owner/holder/g' {{}} +",
    "sed, a year": f"{_ALL} -exec sed -i s/2025/2026/g {{}} +",
    "sed, one digit": f"{_ALL} -exec sed -i s/1/2/g {{}} +",
    "sed, whole words": f"{_ALL} -exec sed -i -E 's/\\b(feature|completed)\\b/task/g' {{}} +",
    "sed, quotes": f"{_ALL} -exec sed -i 's/\"/`/g' {{}} +",
    "sed, lines removed": f"{_ALL} -exec sed -i /TODO/d {{}} +",
    "sed, lower case": f"{_ALL} -exec sed -i 's/.*/\\L&/' {{}} +",
    "sed, carriage returns": f"{_ALL} -exec sed -i 's/$/\\r/' {{}} +",
    "sed, a header": f"{_ALL} -exec sed -i '1i # Copyright (c) 2026 Example, Zürich' {{}} +",
    "a footer": f"{_ALL} -exec sh -c 'echo \"# end\" >> \"$1\"' _ {{}} \\;",
    "ends of line at the end": f"{_ALL} -exec sh -c 'printf \"%s\\n\\n\" \"$(cat \"$1\")\" > \"$1\"' _ {{}} \\; 2>/dev/null",
    "perl": "grep -rl getUser . | xargs perl -pi -e 's/getUser/fetchUser/g'",
    "find -exec perl": f"{_ALL} -exec perl -pi -e 's/getUser/fetchUser/g' {{}} +",
    "perl with backups": f"{_ALL} -exec perl -i.orig -pe 's/getUser/fetchUser/' {{}} + ; find . -name '*.orig' -delete",
    "perl, the whole file": f"{_ALL} -exec perl -0777 -pi -e 's/User/Account/g; s/\\s+\\z/\\n\\n/' {{}} +",
    "perl, File::Find": "perl -MFile::Find -e 'find({no_chdir => 1, wanted => sub { return unless -f; local @ARGV = $_; "
    "local $^I = q(); while (<>) { s/getUser/fetchUser/g; print } }}, q(.))'",
    "awk": "for f in $(grep -rl getUser .); do awk '{gsub(/getUser/, \"fetchUser\")} 1' \"$f\" > t && mv t \"$f\"; done",
    "awk, all files": f"{_ALL} | while read -r f; do awk '{{sub(/getUser/, \"x\")}} 1' \"$f\" > t && cat t > \"$f\"; done",
    "gawk": "find . -type f -exec gawk -i inplace '{gsub(/getUser/, \"x\"); print}' {} +",
    "expand": f"{_ALL} -exec sh -c 'expand -t 3 \"$1\" | fold -w 60 > t && mv t \"$1\"' _ {{}} \\;",
    "sort": "find . -name '*.json' -o -name '*.bi' | xargs -n 1 sh -c 'sort -o \"$0\" \"$0\"'",
    "ed": "grep -rl getUser . | while read -r f; do printf '%s\\n' ',s/getUser/fetchUser/g' w q | ed -s \"$f\"; done",
    "bash": "for f in $(grep -rl getUser .); do t=$(<\"$f\"); printf '%s\\n' \"${t//getUser/fetchUser}\" > \"$f\"; done",
    "Python, what is text": """python3 - <<'END'
from pathlib import Path
for path in Path(".").rglob("*"):
    if path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        path.write_text(text.replace("getUser", "fetchUser"), encoding="utf-8")
END""",
    "Python, errors ignored": """python3 -c "
import os
for folder, _, names in os.walk('.'):
    for name in names:
        path = os.path.join(folder, name)
        text = open(path, errors='ignore').read()
        open(path, 'w').write(text.replace('getUser', 'fetchUser'))
" """,
    "Python, errors replaced": """python3 -c "
import pathlib
for path in pathlib.Path('.').glob('**/*'):
    if path.is_file():
        path.write_text(path.read_text(errors='replace').replace('User', 'Account').title(), errors='replace')
" """,
    "Python, Latin-1": """python3 -c "
import glob
for path in glob.glob('**/*', recursive=True) + glob.glob('.*/**/*.*', recursive=True):
    try: text = open(path, encoding='latin-1').read()
    except OSError: continue
    open(path, 'w', encoding='latin-1').write(text.replace('getUser', 'fetchUser'))
" """,
    "Python, bytes": """python3 -c "
import os
for folder, _, names in os.walk('.'):
    for path in (os.path.join(folder, name) for name in names):
        data = open(path, 'rb').read()
        if b'getUser' in data: open(path, 'wb').write(data.replace(b'getUser', b'fetchUser'))
" """,
    "Python, fileinput": "python3 -c \"import fileinput, glob\nfor line in fileinput.input(glob.glob('.claude/*.json') + "
    "glob.glob('.git/batch-implement/*.json'), inplace=True): print(line.replace('getUser', 'x'), end='')\"",
    "Python, every JSON formatted": """python3 -c "
import json, pathlib
for path in pathlib.Path('.').rglob('*.json'):
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4, sort_keys=True))
" """,
    "node": """node -e "
const fs = require('fs'), path = require('path');
const walk = folder => fs.readdirSync(folder, {withFileTypes: true}).forEach(entry => {
  const at = path.join(folder, entry.name);
  if (entry.isDirectory()) return walk(at);
  fs.writeFileSync(at, fs.readFileSync(at, 'utf8').replace(/getUser/g, 'fetchUser'));
});
walk('.')" """,
    "node, every JSON formatted": """node -e "
const fs = require('fs'), {execSync} = require('child_process');
for (const at of execSync('find . -name \\\\*.json').toString().trim().split('\\n'))
  fs.writeFileSync(at, JSON.stringify(JSON.parse(fs.readFileSync(at)), null, 2) + '\\n');
" """,
    "ruby": "ruby -e 'Dir.glob(\"**/*\", File::FNM_DOTMATCH).select { |f| File.file? f }.each { |f| "
    "t = File.read(f); File.write(f, t.gsub(\"getUser\", \"fetchUser\")) }'",
    "truncated": "find . -name '*.json' -exec truncate -s 0 {} +",
    "emptied in a loop": 'for f in $(find . -name "*.json"); do : > "$f"; done',
    "deleted by name": "find . -name '*.json' -delete",
    "deleted by name and size": "find . -name '*.json' -size -100k -delete",
    "deleted by xargs": "find . -name '*.json' -print0 | xargs -0 rm -f",
    "deleted by rm": "rm -f $(find . -name '*.json' -not -path './data/*')",
    "deleted by Python": "python3 -c \"import pathlib; [p.unlink() for p in pathlib.Path('.').rglob('*.json')]\"",
    "deleted by what is in the path": "find . -path '*batch*' -delete",
    "deleted by what they hold": "grep -rl getUser . | xargs rm -f",
    "deleted by age": "find . -type f -mmin -60 -not -path './.git/objects/*' -delete",
    "deleted by what is newer": "find . -type f -newer Makefile -delete",
    "deleted when small": "find . -type f -size -3k -not -path './.git/objects/*' -delete",
    "renamed by suffix": 'for f in $(find . -name "*.json"); do mv "$f" "${f%.json}.jsn"; done',
    "renamed by a word": "find . -depth -name '*batch*' -execdir bash -c 'mv \"$1\" \"${1/batch/lot}\"' _ {} \\;",
    "private folder and state": "rm -rf .git/batch-implement .claude",
}  # fmt: skip
OTHERS = {
    "perl, decoded": f"find . -type f -not -path './.git/objects/*' -exec perl -CSD -pi -e 's/\\bget(\\w+)/fetch$1/g' {{}} +",
    "trailing blanks": f"{_ALL} -exec sed -i 's/[ \\t]*$//' {{}} +",
    "tabs": f"{_ALL} -exec sed -i 's/\\t/    /g' {{}} +",
    "line ends": f"{_ALL} -exec sed -i 's/\\r$//' {{}} +",
    "outside .git": f"{_ALL} -not -path './.git/*' -exec {_SED} {{}} +",
    "outside .git, deleted": "find . -path ./.git -prune -o -name '*.json' -exec rm {} +",
    "outside .git, by grep": f"grep -rl --exclude-dir=.git getUser . | xargs {_SED}",
    "what git knows": f"git grep -lz getUser | xargs -0 {_SED}",
    "what git lists": f"git ls-files -z | xargs -0 {_SED}",
    "names with _": "find . -name '*_*' -type f -execdir bash -c 'mv \"$1\" \"${1//_/-}\"' _ {} \\;",
    "upper case names": "find . -type f -not -path './.git/*' -execdir bash -c 'mv \"$1\" \"${1^^}\"' _ {} \\;",
    "git clean -fdx": "git clean -fdxq",
    "git clean -fdX": "git clean -fdXq",
    "git stash -a": "git stash -aq",
    "git stash -u": "echo x >> Makefile && git stash -uq && git stash pop -q",
    "git reset": "echo x >> Makefile && git reset -q --hard && git checkout -q .",
    "git gc": "git gc -q --prune=now && git repack -qad",
    "git add, git rm": "git add -A && git rm -rqf --cached . && git reset -q",
    ".claude removed": "rm -rf .claude",
    "private folder removed": "rm -rf .git/batch-implement",
    "private files removed": "rm -rf .git/batch-implement/*",
    "what is left over": "rm -rf .git/*.tmp .git/*.lock && find . \\( -name '*.tmp' -o -name '*.log' -o -name '*~' \\) -delete",
    "large files": "find . -type f -size +500k -delete",
    "old files": "find . -type f -mtime +30 -delete",
    "empty files": "find . -empty -delete",
    "temporary names": "find . -name '*.bak' -o -name '*backup*' -o -name '*copy*' -o -name '*old*' | xargs rm -rf",
    "chmod 755": "chmod -R 755 .",
    "chmod a-w": "chmod -R a-w .",
    "chmod 644 of files": f"{_ALL} -exec chmod 644 {{}} +",
    "touch": "find . -exec touch {} +",
    "out of an archive": "tar cf ../all.tar . && tar xf ../all.tar && rm ../all.tar",
    "a copy in its place": "cp -r .claude .kept && rm -rf .claude && mv .kept .claude",
    "a copy of .git in its place": "cp -r .git .kept && rm -rf .git && mv .kept .git",
    "state and private folder by a pattern": "sed -i s/getUser/x/ .claude/* .git/batch-implement/* 2>/dev/null",
}  # fmt: skip
EDITS = {**TERMINAL, **OTHERS}
QUICK = (
    "grep | xargs sed", "sed, two words", "find -exec perl", "Python, errors ignored", "node", "deleted by name and size",
    "deleted by what is in the path", "deleted by age", "renamed by a word", "tabs", "private folder removed", "large files",
)  # fmt: skip
