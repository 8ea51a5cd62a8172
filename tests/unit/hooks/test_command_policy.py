"""What the guard refuses of a Bash call, and what it lets pass.

`command_corpus.json` is the heart: a line added there is a test. Its commands are read from a project at
/home/me/project, and none of them is ever run here. What the guard leaves to what comes after it is `undone` (by the
next hook) or `refused` (by batchctl), and tests/crash does it for real. `mass_edits.json` has searches that edit or
remove many files; those are run here, and the disk says whether the verdict is right.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from batch_implement.hooks.command_guard import interpreters, protected_paths, write_policies
from batch_implement.hooks.command_guard.command_policy import ProtectedNames, check_command
from batch_implement.hooks.fast_path import mentions_batch, needs_analysis

ROOT = "/home/me/project"
STATE = ".claude/batch_state.json"
USER_COMMANDS = frozenset(("create", "add", "skip", "retry", "pause", "resume", "abort", "run"))
NAMES = ProtectedNames(USER_COMMANDS, roots=(ROOT,), cwd=ROOT)
CORPUS: list[dict[str, str]] = json.loads(Path(__file__).with_name("command_corpus.json").read_text(encoding="utf-8"))
ATTACKS = [entry for entry in CORPUS if entry["verdict"] in ("state", "command")]
LEFT = [entry["command"] for entry in CORPUS if entry["verdict"] in ("undone", "refused")]
MASS_EDITS: list[dict[str, str]] = json.loads(Path(__file__).with_name("mass_edits.json").read_text(encoding="utf-8"))
GUARD_TABLE = Path(__file__).parents[2] / "crash" / "guard_table.json"


def shown(entry: dict[str, str]) -> str:
    """A test's name from its command."""
    return entry["command"][:60].encode("unicode_escape").decode()


each = pytest.mark.parametrize("entry", CORPUS, ids=shown)

ORDINARY = r"""
pytest -q
python3 -m pytest tests/unit -x --tb=short
npm test
npm run build && npm run lint
git status
git status --short
git diff --stat
git diff HEAD~1 -- src/app.ts
git log --oneline -10
git add -A
git add src/app.py tests/test_app.py
git commit -m "feat: add the login form"
git commit -m "fix: don't lose the session's cookie (#12)"
git commit -m "$(cat <<'EOF'\nAdd retries\n\nThe client gave up at the first 503.\nEOF\n)"
git checkout -b feature/login
git push -u origin HEAD
git stash
git stash pop
git rev-parse --show-toplevel
gh pr create --title "Add login" --body "Adds the form."
ls -la
ls src/**/*.ts
cat package.json | jq .scripts
head -50 README.md
grep -rn "TODO" src --include='*.py'
rg -n "def main" -g '*.py'
find . -name '*.py' -not -path './node_modules/*'
find src -type f | head
sed -n '1,80p' src/app.py
sed -i 's/foo/bar/g' src/app.py
awk '{print $1}' access.log | sort | uniq -c
mkdir -p src/components && touch src/components/Button.tsx
rm -rf dist build
rm -f /tmp/out.txt
cp .env.example .env
mv old.py new.py
curl -s http://localhost:3000/health
docker compose up -d
docker ps --format '{{.Names}}'
make
make test
cargo test --all
cargo clippy -- -D warnings
go test ./...
go build ./cmd/server
tsc --noEmit
npx eslint . --fix
ruff check . && ruff format --check .
mypy --strict src
pip install -r requirements.txt
python3 -c "print(1 + 1)"
python3 - <<'EOF'\nimport sys\nprint(sys.version)\nEOF
python3 train.py --batch-size 32 --epochs 2
node -e "console.log(process.version)"
echo "done" > /tmp/log.txt
tail -f server.log
ps aux | grep node
kill 12345
export NODE_ENV=test; npm start &
cd web && yarn install
psql -c 'select count(*) from users'
which python3
wc -l $(git ls-files '*.py')
tree -L 2
env | sort
sleep 5
date +%s
tar czf /tmp/src.tgz src
chmod +x scripts/deploy.sh
diff a.txt b.txt
python manage.py migrate
bundle exec rspec
./gradlew test
terraform plan
kubectl get pods
""".strip().splitlines()


def payload(command: str, *, ascii_only: bool = False) -> bytes:
    """A hook's payload for a Bash call, as the client writes it."""
    fields = {
        "session_id": "0b9c1f3a-8d2e-4c55-9a77-1f2e3d4c5b6a",
        "transcript_path": "/home/me/.claude/projects/-home-me-project/0b9c1f3a.jsonl",
        "cwd": ROOT,
        "permission_mode": "default",
        "hook_event_name": "PreToolUse",
        "tool_name": "Bash",
        "tool_input": {"command": command, "description": "Do the next step"},
        "tool_use_id": "toolu_01AbCdEf",
    }
    separators = None if ascii_only else (",", ":")
    return json.dumps(fields, ensure_ascii=ascii_only, separators=separators).encode("utf-8", "surrogatepass")


def verdict(command: str, names: ProtectedNames = NAMES) -> str:
    """The kind of the refusal, or `pass`."""
    refusal = check_command(command, names)
    return refusal.kind if refusal else "pass"


def expected(entry: dict[str, str]) -> str:
    """The verdict of the guard alone."""
    return "pass" if entry["command"] in LEFT else entry["verdict"]


@each
def test_every_command_of_the_corpus_gets_its_verdict(entry: dict[str, str]) -> None:
    assert verdict(entry["command"]) == expected(entry), entry["why"]


def test_what_the_guard_leaves_to_the_undo_is_done_for_real_in_the_table_of_guards() -> None:
    table = {row.get("do") for row in json.loads(GUARD_TABLE.read_text(encoding="utf-8"))}
    assert LEFT
    assert [command for command in LEFT if command not in table] == []


def test_the_corpus_is_large_varied_and_explained() -> None:
    assert len(CORPUS) == len({entry["command"] for entry in CORPUS}) >= 160
    assert 0.4 <= len(ATTACKS) / len(CORPUS) <= 0.6
    assert {entry["verdict"] for entry in CORPUS} == {"pass", "state", "command", "undone", "refused"}
    assert all(entry["why"].endswith(".") for entry in CORPUS)


def test_an_attack_is_refused_too_when_the_root_is_not_known() -> None:
    assert [
        shown(entry)
        for entry in ATTACKS
        if verdict(entry["command"], ProtectedNames(USER_COMMANDS)) != entry["verdict"]
    ] == []


def can_be_wrapped(entry: dict[str, str]) -> bool:
    """Whether a command is complete, and does not end the brackets that are put around it."""
    open_ended = ("unbalanced", "oops", "EOF .claude")
    return not entry["command"].startswith("case ") and not any(mark in entry["command"] for mark in open_ended)


@pytest.mark.parametrize("wrapper", ["bash -c {}", "true && {{ {}\n}}", "x=$({}\n)", "timeout 9 sh -c {}"])
def test_a_wrapper_changes_no_verdict(wrapper: str) -> None:
    def wrapped(command: str) -> str:
        return wrapper.format("'" + command.replace("'", "'\\''") + "'" if " -c " in wrapper else command)

    entries = list(filter(can_be_wrapped, CORPUS))
    assert len(entries) > len(CORPUS) / 2
    assert [shown(entry) for entry in entries if verdict(wrapped(entry["command"])) != expected(entry)] == []


def test_a_refusal_says_which_simple_command_does_it() -> None:
    def said(command: str) -> str:
        refusal = check_command(command, NAMES)
        assert refusal is not None
        return f"{refusal.kind}: {refusal.what}"

    assert said(f"ls; sed -i s/a/b/ {STATE}") == f"state: `sed -i` on {STATE}"
    assert said(f"ls && echo x >> {STATE}") == f"state: `>>` on {STATE}"
    assert said("true; batchctl --json abort now") == "command: batchctl abort"
    assert said("npm ci; git clean -fdx") == "state: `git clean` on ."
    assert said(f"python3 -c \"open('{STATE}', 'w')\"") == f"state: `code for python3` on {STATE}"


@pytest.mark.parametrize("module", [write_policies, protected_paths, interpreters], ids=lambda module: module.__name__)
def test_the_examples_in_a_manual_are_true(module: ModuleType) -> None:
    known = {**vars(module), "names": ProtectedNames(USER_COMMANDS)}
    examples = re.findall(r"^    (\S.*?)(?:  +# (.*?)(?:: .*)?)?$", module.__doc__ or "", re.MULTILINE)
    assert [value for _, value in examples if value]
    for expression, value in examples:
        if value:
            assert eval(expression, known) == ast.literal_eval(value)
        else:
            exec(expression, known)


PROJECT = "getUser: a b c\n"
PROGRAMS = {"rg", "fd", "parallel", "sudo", "ruby", "gawk"}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with `getUser` in its files, in its history and in a state."""
    folder = tmp_path_factory.mktemp("mass") / "project"
    for name in ["README.md", "src/app.txt", "docs/a.md", STATE, ".git/batch-implement/sidecar", ".env"]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(PROJECT, encoding="utf-8")
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    identity = ["-c", "user.name=Scratch", "-c", "user.email=scratch@example.invalid"]
    for words in (["init", "-q", "--template="], ["add", "README.md", "src", "docs"], ["commit", "-qm", "Add getUser"]):
        subprocess.run(["git", *identity, *words], cwd=folder, env=environment, check=True)
    return folder


def read_files(folder: Path, names: tuple[str, ...]) -> dict[str, bytes]:
    """The files that exist below some names, by their paths."""
    paths = [path for name in names for path in [folder / name, *(folder / name).rglob("*")]]
    return {str(path): path.read_bytes() for path in paths if path.is_file()}


@pytest.mark.parametrize("entry", MASS_EDITS, ids=shown)
def test_a_mass_edit_is_refused_exactly_when_it_would_change_git_or_the_state_that_it_asks_for(
    entry: dict[str, str], pristine: Path, tmp_path: Path
) -> None:
    command = entry["command"]
    names = ProtectedNames(USER_COMMANDS, roots=(str(tmp_path / "project"),), cwd=str(tmp_path / "project"))
    assert verdict(command, names) == entry["verdict"]
    if not all(map(shutil.which, PROGRAMS & set(re.findall(r"\w+", command.replace("awk -i inplace", "gawk"))))):
        return
    folder = tmp_path / "project"
    shutil.copytree(pristine, folder, symlinks=True)
    looked_at = (".git", ".claude") if entry["verdict"] == "state" else (".git",)
    before = read_files(folder, looked_at)
    subprocess.run(
        ["bash", "-c", command], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
    )
    assert (read_files(folder, looked_at) != before) == (entry["verdict"] == "state")


@pytest.mark.parametrize(
    "command", ["sed -i s/a/b/ $(grep -rl a .)", "find . -type f -delete", "find . -maxdepth 1 -exec rm -rf {} +"]
)
def test_a_mass_edit_that_enters_git_is_told_from_one_of_the_state(command: str) -> None:
    refusal = check_command(command, NAMES)
    assert refusal is not None
    assert refusal.enters_git
    assert "those in .git too" in refusal.what
    other = check_command("find . -name 'batch_*' -delete", NAMES)
    assert other is not None
    assert not other.enters_git
    assert "`-not -path './.claude/batch_state.json'` leaves out" in other.what


def test_only_the_verbs_given_are_refused() -> None:
    assert verdict("batchctl report") == "pass"
    assert verdict("batchctl report", ProtectedNames(USER_COMMANDS | {"report"})) == "command"
    assert verdict("batchctl abort", ProtectedNames(frozenset())) == "pass"


@pytest.mark.parametrize(
    ("command", "cwd", "expected"),
    [
        ("rm batch_state.json", f"{ROOT}/.claude", "state"),
        ("rm ../.claude/batch_state.json", f"{ROOT}/src", "state"),
        ("rm .claude/batch_state.json", f"{ROOT}/src", "pass"),
        ("rm -rf .claude", "/home/me/other", "pass"),
        ("cd ../project && rm -rf .claude", "/home/me/other", "state"),
        ("git clean -fdx", f"{ROOT}/src", "pass"),
        ("git clean -fdx", "/home/me/other", "pass"),
        (f"git -C {ROOT} clean -fdx", "/home/me/other", "state"),
        (f"rm -rf {ROOT}/../project/.claude", "/", "state"),
        ("rm -rf /home/me/project2/.claude", ROOT, "pass"),
        ("rm ~/project/.claude/batch_state.json", "/tmp", "state"),
        ("rm ~/other/.claude/batch_state.json", "/tmp", "pass"),
    ],
)
def test_a_relative_path_is_read_from_the_folder_the_command_starts_in(command: str, cwd: str, expected: str) -> None:
    assert verdict(command, ProtectedNames(USER_COMMANDS, roots=(ROOT,), cwd=cwd)) == expected


def test_every_spelling_of_the_root_that_is_given_counts() -> None:
    names = ProtectedNames(USER_COMMANDS, roots=("/private/tmp/p", "/tmp/p"), cwd="/tmp/p")
    assert verdict(f"rm {STATE}", names) == verdict(f"rm /private/tmp/p/{STATE}", names) == "state"


def test_the_private_folder_of_a_linked_worktree_can_be_given_as_an_absolute_path() -> None:
    private = (".claude/batch-implement/", "/home/me/main/.git/worktrees/w/batch-implement/")
    names = ProtectedNames(USER_COMMANDS, private=private, roots=("/home/me/w",), cwd="/home/me/w")
    assert verdict("rm ../main/.git/worktrees/w/batch-implement/sidecar", names) == "state"
    assert verdict("rm ../main/.git/worktrees/v/batch-implement/sidecar", names) == "pass"


def test_what_the_guard_is_known_to_miss_passes() -> None:
    missed = [
        f"ln -s $PWD/{STATE} /tmp/l && echo x > /tmp/l",
        "python3 fix_state.py",
        "rm -rf ../project",
        "shopt -s dotglob; rm -rf *",
        "cp -a /tmp/backup/. .claude/",
        "prettier --write .",
        "find .claude -mmin -5 -delete",
        "x=.claude/x; rm ${x%x}batch_state.json",
        "a=.cla; rm -rf ${a}ude",
        "cd $dir && rm -rf .claude",
        "grep -rl x . > list; xargs sed -i s/a/b/ < list",
        "find . -regex '.*json' -delete",
        "tar -xf backup.tar -C .claude",
        "git apply state.patch",
        f"r() {{ rm $1; }}; r {STATE}",
        ("echo .claude\n" * 6000) + f"rm {STATE}",
    ]
    assert [verdict(command) for command in missed] == ["pass"] * len(missed)


@pytest.mark.parametrize("ascii_only", [False, True])
def test_what_is_refused_is_always_worth_a_look(ascii_only: bool) -> None:
    passed = [entry for entry in CORPUS if not needs_analysis(payload(entry["command"], ascii_only=ascii_only))]
    assert passed
    assert [shown(entry) for entry in passed if check_command(entry["command"], NAMES) is not None] == []
    assert [shown(entry) for entry in passed if mentions_batch(entry["command"].encode())] == []


def test_ordinary_commands_are_hardly_ever_worth_a_look() -> None:
    commands = [line.replace("\\n", "\n") for line in ORDINARY]
    looked_at = [c for c in commands if needs_analysis(payload(c)) or needs_analysis(payload(c, ascii_only=True))]
    assert len(commands) >= 70
    assert len(looked_at) <= 0.05 * len(commands), looked_at
    assert [c for c in commands if check_command(c, NAMES)] == []


def test_the_fields_around_the_tool_input_are_not_looked_at() -> None:
    assert not needs_analysis(payload("pytest -q"))
    after = payload("pytest -q")[:-1] + b',"agent_transcript_path":"/home/me/.claude/projects/x.jsonl"}'
    assert not needs_analysis(after)
    assert needs_analysis(payload('echo \\"tool_use_id\\": ; rm ".claude"/x'))
    assert needs_analysis(b'{"cwd":"/home/me/.claude"}'), "without a tool input everything is looked at"


def test_a_needlessly_escaped_command_is_still_worth_a_look() -> None:
    escaped = "".join(f"\\u{ord(c):04x}" for c in f"rm {STATE}")
    assert needs_analysis(f'{{"tool_input":{{"command":"{escaped}"}},"tool_use_id":"x"}}'.encode())


N = 100_000
HEAVY = {
    "a megabyte of words": "echo a b c .claude " * 55_000,
    "round brackets": "(" * N + STATE,
    "substitutions": "$(" * N + STATE,
    "substitutions in quotes": '"$(' * N + STATE,
    "alternating quotes": "\"'" * N + STATE,
    "backquotes": "`" * N + STATE,
    "backslashes": "\\" * N + STATE,
    "arithmetic": "$((" * N + STATE,
    "braces": "{a," * N + STATE,
    "commas in a brace": ("rm {" + "," * 4000 + " ") * 20 + STATE,
    "here-documents": "cat <<A .claude\n" * N,
    "doubling variables": "a=.claude;" + "a=$a$a;" * 20_000 + "rm $a",
    "globs": "rm " + ".c*l*a*/b*t*e* " * 30_000,
    "steps up": "rm .claude/" + "../" * N,
    "wrappers": "sudo " * N + f"rm {STATE}",
    "nested eval": "eval " * N + f"rm {STATE}",
    "changes of folder": "cd a;" * N + f"rm {STATE}",
    "calls in code": f"python3 <<E\nx='{STATE}';" + "open(x);" * N,
    "quotes in code": f"python3 <<E\n'{STATE}'" + "'a" * N,
    "xargs times xargs": f"echo {'a ' * 20_000}{STATE} | xargs -I{{}} echo " + "{} " * 5_000,
    "comments": "#.claude\n" * N,
    "starts of a find": "find " + "".join(f"./{'./' * i}. " for i in range(200)) + "-name '*' " * 4000 + "-delete",
    "brackets of a find": "find . " + "\\( " * N + "-delete",
    "alternatives of a find": "find . " + "-name x -o " * N + f"-name {'?*' * 90} -delete",
    "finds in pipes": "find . -name x -exec cat {} + | " * N + STATE,
    "filters in pipes": "echo " + "a " * 20_000 + "| grep -v b " * N + STATE,
    "files that grow": f"echo {STATE} > f;" + "cat f f >> f;" * N,
    "files that run themselves": f"echo 'sh f; sh f' > f; sh f; cat {STATE}",
    "arrays": "a=(" * N + STATE,
    "arrays of arrays": "a=(.claude x);" + 'a=("${a[@]}" "${a[@]}");' * N,
    "patterns": "case x in .claude) " * N,
    "expansions in expansions": "${x:-" * N + STATE,
    "expansions in a here-document": "cat <<EOF\n" + "$(cat <<EOF\n" * N + STATE,
    "backquotes in a here-document": "cat <<EOF\n" + "`" * N + STATE,
    "steps of loops": f"echo {'a ' * 20_000}{STATE} | while read -r " + "f " * 20_000,
    "blanks in code": f"python3 <<E\nx='{STATE}'; open" + " " * N + "for" + " " * N + "with",
    "the environment in code": f"python3 <<E\nx='{STATE}';" + "os.getenv(x " * N,
    "names in code": f"python3 <<E\nx='{STATE}';" + "open('a'," * N,
    "loops in code": f"python3 <<E\nx='{STATE}';" + "for x in x with x " * N,
}


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("length", [None, 64_000])
def test_a_heavy_command_is_judged_all_the_same(name: str, length: int | None) -> None:
    command = HEAVY[name][:length]  # anything worse than linear would be seen here: minutes, not milliseconds
    refused = check_command(command, NAMES)
    assert refused is None or needs_analysis(payload(command))


@pytest.mark.parametrize("entry", CORPUS[::5], ids=shown)
def test_no_part_of_a_command_makes_the_guard_raise(entry: dict[str, str]) -> None:
    command = entry["command"]
    for at in range(len(command)):
        check_command(command[:at], NAMES)
        check_command(command[at:], NAMES)


def test_any_text_is_judged_without_an_error() -> None:
    hypothesis = pytest.importorskip("hypothesis")
    st = hypothesis.strategies
    words = [
        STATE, ".claude", "batch_state.json", "batchctl", "abort", "rm", "git", "clean", "-fdx", "find", "-delete",
        "-exec", "xargs", "-I", "{}", "cd", "python3", "-c", "bash", "open(", "'w'", "eval", "for", "in", "f=",
        "$f", "${f", "$(", "$((", "((", ")", "`", "'", '"', "\\", "\n", " ", " ", ";", "|", "&", ">", "<", "<<EOF",
        "EOF", "{", "}", ",", "*", "[", "]", "#", "~", "/", "..", "-", "$'", "\u00e9", "\ud800", "\0", "\x1f",
        ".unlink(", "replace(", "argv[1]", "case ", " esac", " in ", "read ", "while ", "ls ", "grep ", "[[", "]]",
        "!", " -o ", "-prune", "\\(", "\\)", " \\; ", "+=", "${", ":-", "@", "sh ", "python3 <<EOF\n", "os.environ[",
    ]  # fmt: skip

    @hypothesis.settings(max_examples=1500, deadline=None, database=None)
    @hypothesis.given(st.one_of(st.text(), st.lists(st.sampled_from(words), max_size=40).map("".join)))
    def judged(command: str) -> None:
        refusal = check_command(command, NAMES)
        check_command(command, ProtectedNames(USER_COMMANDS))
        if refusal is not None:
            assert refusal.kind in ("state", "command")
            assert 0 < len(refusal.what) < 250
            assert needs_analysis(payload(command, ascii_only=True))
        if mentions_batch(command.encode("utf-8", "surrogatepass")):
            assert needs_analysis(payload(command))
            assert needs_analysis(payload(command, ascii_only=True))

    judged()


def test_the_script_that_measures_the_guard_counts_what_it_denies(tmp_path: Path) -> None:
    file = tmp_path / "commands"
    file.write_text(f'ls\nrm {STATE}\n"cd .claude\\nrm *.json"\n\n', encoding="utf-8")
    script = Path(__file__).parents[3] / "scripts" / "measure_guard.py"
    result = subprocess.run([sys.executable, script, file], capture_output=True, text=True, check=True)
    lines = result.stdout.splitlines()
    assert lines[:2] == [f'`rm` on {STATE}: "rm {STATE}"', '`rm` on *.json: "cd .claude\\nrm *.json"']
    assert lines[2].startswith("2 of 3 commands denied, 2 analyzed, ")
    assert subprocess.run([sys.executable, script, tmp_path / "x"], capture_output=True, check=False).returncode == 2
