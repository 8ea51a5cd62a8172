"""Claude Code's permission rules, as far as they stop a night or let a client try its work."""

from __future__ import annotations

import json
import os

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.commands import claude_settings
from batch_implement.commands.claude_settings import CONVERSATION_CALLS, WORKER_CALLS
from batches import git


def one(**held):
    return [("/s.json", {"permissions": held})]


@pytest.mark.parametrize(
    ("rule", "tool", "about"),
    [
        ("Bash", "Bash", "git add -A"), ("Bash(*)", "Bash", "x"), ("Bash()", "Bash", "x"), ("*", "Bash", "x"),
        ("Bash(git:*)", "Bash", "git add -A"), ("Bash(git add:*)", "Bash", "git add -A"),
        ("Bash(git status:*)", "Bash", "git status"), ("Bash(git *)", "Bash", "git add -A"),
        ("Bash(git add *)", "Bash", "git add"), ("Bash(* --force)", "Bash", "git add --force"),
        ("Bash(make test)", "Bash", "make test"), ("Edit", "Edit", ""), ("Edit(**)", "Edit", ""),
        ("Write(/**)", "Write", ""), ("Skill(auto-implement)", "Skill", "auto-implement"),
        ("Skill(batch-implement:auto-implement)", "Skill", "auto-implement"),
        ("Agent(batch-implement:reviewer)", "Agent", "batch-implement:reviewer"), ("Task", "Agent", "any"),
    ],
)  # fmt: skip
def test_a_rule_is_about_what_it_names(rule, tool, about):
    assert claude_settings.is_rule_match(rule, tool, about)


@pytest.mark.parametrize(
    ("rule", "tool", "about"),
    [
        ("Bash(git push:*)", "Bash", "git add -A"), ("Bash(git push *)", "Bash", "git status"),
        ("Bash(git)", "Bash", "git status"), ("Bash(gitleaks:*)", "Bash", "git status"),
        ("Bash(git add:*)", "Bash", "git added"), ("Edit(src/**)", "Edit", ""), ("Edit(.env)", "Edit", ""),
        ("Write(/etc/**)", "Write", ""), ("Edit", "Write", ""), ("WebFetch", "Bash", "x"), ("Bash(", "Bash", "x"),
        ("Skill(other)", "Skill", "auto-implement"), ("Agent(other)", "Agent", "batch-implement:reviewer"),
        ("Bash(a.b)", "Bash", "axb"), ("", "Bash", "x"), ("bash", "Bash", "x"),
    ],
)  # fmt: skip
def test_and_about_nothing_else(rule, tool, about):
    assert not claude_settings.is_rule_match(rule, tool, about)


def test_a_night_may_go_on_although_pushes_and_secrets_are_denied():
    held = one(deny=["Bash(git push:*)", "Bash(curl:*)", "Read(.env)", "Edit(.env)"], ask=["WebFetch"])
    assert claude_settings.find_forbidding_rules(held, WORKER_CALLS) == []


@pytest.mark.parametrize("kind", ["deny", "ask"])
def test_a_rule_that_stops_the_work_is_named_with_its_place(kind):
    held = one(**{kind: ["Bash(git commit:*)", "WebFetch"]})
    assert claude_settings.find_forbidding_rules(held, WORKER_CALLS) == [f"{kind} Bash(git commit:*) in /s.json"]


def test_the_command_of_a_conversation_is_not_needed_at_night():
    held = one(deny=["Skill(auto-implement)"])
    assert claude_settings.find_forbidding_rules(held, WORKER_CALLS) == []
    assert len(claude_settings.find_forbidding_rules(held, CONVERSATION_CALLS)) == 1


def test_a_line_is_allowed_when_each_of_its_commands_is():
    held = one(allow=["Bash(make:*)", 3])
    assert not claude_settings.list_missing_rules(held, [], "make  lint && make test")
    assert claude_settings.list_missing_rules(held, [], "make lint && npm test")
    assert not claude_settings.list_missing_rules(held, ["Bash(npm test:*)"], "make lint; npm test")
    assert claude_settings.split_shell_line("a && b || c; d | e\nf &&") == ["a", "b", "c", "d", "e", "f"]


def test_what_switches_hooks_off_is_told_wherever_it_holds():
    settings_read = [
        ("/s.json", {"disableAllHooks": True}),
        (claude_settings.MANAGED_SETTINGS, {"allowManagedHooksOnly": True}),
        ("/other.json", {"allowManagedHooksOnly": True, "disableAllHooks": "yes"}),
    ]
    messages = list(claude_settings.find_disabled_hooks(settings_read))
    assert len(messages) == 2
    assert messages[0].startswith("/s.json has disableAllHooks")
    assert messages[1].startswith(f"{claude_settings.MANAGED_SETTINGS} has allowManagedHooksOnly")


def test_the_settings_of_organisation_project_clone_and_person_are_read(tmp_path, monkeypatch):
    places = {
        "managed": tmp_path / "managed.json", "project": tmp_path / "p/.claude/settings.json",
        "local": tmp_path / "p/.claude/settings.local.json", "person": tmp_path / "home/.claude/settings.json",
    }  # fmt: skip
    monkeypatch.setattr(claude_settings, "MANAGED_SETTINGS", str(places["managed"]))
    for name, path in places.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"name": name}))
    environ = {"HOME": str(tmp_path / "home")}
    settings_read = claude_settings.read_settings(str(tmp_path / "p"), environ)
    assert [data["name"] for _, data in settings_read] == ["managed", "project", "local", "person"]
    places["local"].write_text("{")
    places["project"].write_text("[]")
    elsewhere = claude_settings.read_settings(
        str(tmp_path / "p"), {**environ, "CLAUDE_CONFIG_DIR": str(tmp_path / "none")}
    )
    assert [data["name"] for _, data in elsewhere] == ["managed"]


def test_odd_settings_hold_no_rules():
    for held in ({"permissions": []}, {"permissions": {"deny": "Bash"}}, {"permissions": {"deny": [1, None]}}, {}):
        assert claude_settings.find_forbidding_rules([("/s.json", held)], WORKER_CALLS) == []
    off = {"permissions": {"disableBypassPermissionsMode": "disable"}}
    assert claude_settings.find_disabled_bypass([("/a", {"permissions": 3}), ("/b", off)]) == ["/b"]


# -- trust -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def main_tree(repository):
    """A project whose settings allow something, committed."""
    (repository / ".claude").mkdir()
    (repository / ".claude/settings.json").write_text(json.dumps({"permissions": {"allow": ["Bash(make:*)"]}}))
    git(repository, "add", "-f", ".claude/settings.json")
    git(repository, "commit", "-qm", "Settings")
    return repository


def unheard(tree, environ):
    project = Project(str(tree))
    settings_read = claude_settings.read_settings(project.root, environ)
    return claude_settings.find_ignored_settings(
        settings_read, project.root, claude_settings.find_trust_folder(project.root, project.git_dir), environ
    )


def trusting(file, *folders):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"projects": {str(folder): {"hasTrustDialogAccepted": True} for folder in folders}}))


def test_what_a_project_allows_is_heard_when_that_very_folder_is_trusted_and_trust_in_its_parent_is_not_enough(
    main_tree, tmp_path
):
    environ, settings = {"HOME": str(tmp_path / "home")}, str(main_tree / ".claude/settings.json")
    assert unheard(main_tree, environ) == settings
    trusting(tmp_path / "home/.claude.json", main_tree.parent)
    assert unheard(main_tree, environ) == settings
    trusting(tmp_path / "home/.claude.json", main_tree)
    assert unheard(main_tree, environ) is None
    os.symlink(main_tree, tmp_path / "link")
    assert unheard(tmp_path / "link", environ) is None


def test_a_linked_work_tree_goes_by_the_trust_in_the_main_one(main_tree, tmp_path):
    environ, linked = {"HOME": str(tmp_path / "home")}, tmp_path / "linked"
    git(main_tree, "worktree", "add", "-q", str(linked))
    trusting(tmp_path / "home/.claude.json", linked)
    assert unheard(linked, environ) == str(linked / ".claude/settings.json")
    trusting(tmp_path / "home/.claude.json", main_tree)
    assert unheard(linked, environ) is None
    for tree in (main_tree, linked):
        assert claude_settings.find_linked_trust_folder(Project(str(tree)).git_dir) == os.path.realpath(main_tree)


def test_a_repository_outside_of_its_main_work_tree_is_trusted_as_itself(main_tree, tmp_path):
    apart = tmp_path / "apart"
    git(main_tree, "clone", "-q", "--separate-git-dir", str(tmp_path / "apart.git"), str(main_tree), str(apart))
    project = Project(str(apart))
    assert claude_settings.find_trust_folder(project.root, project.git_dir) == os.path.realpath(apart)
    assert claude_settings.find_linked_trust_folder(project.git_dir) == os.path.realpath(tmp_path / "apart.git")


def test_trust_is_looked_up_where_the_client_has_it(main_tree, tmp_path):
    home, config = tmp_path / "home", tmp_path / "config"
    trusting(home / ".claude.json", main_tree)
    environ = {"HOME": str(home), "CLAUDE_CONFIG_DIR": str(config)}
    assert unheard(main_tree, environ)
    trusting(config / ".claude.json", main_tree)
    assert unheard(main_tree, environ) is None
    trusting(config / ".config.json")
    assert unheard(main_tree, environ)


def test_settings_that_allow_nothing_need_no_trust(main_tree, tmp_path):
    (main_tree / ".claude/settings.json").write_text(json.dumps({"permissions": {"deny": ["Bash(make:*)"]}}))
    assert unheard(main_tree, {"HOME": str(tmp_path)}) is None


@pytest.mark.parametrize("known", ["[]", "{", '{"projects": []}', '{"projects": {"ROOT": 1}}'])
def test_a_configuration_that_tells_nothing_trusts_nothing(main_tree, tmp_path, known):
    (tmp_path / ".claude.json").write_text(known.replace("ROOT", str(main_tree)))
    assert unheard(main_tree, {"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("command", "rules"),
    [
        ("make test", ["Bash(make test:*)"]),
        ("pytest -q tests/unit", ["Bash(pytest:*)"]),
        ("python3 -m pytest -x", ["Bash(python3 -m pytest:*)"]),
        ("go test ./...", ["Bash(go test:*)"]),
        ("npm run test -- --ci", ["Bash(npm run test:*)"]),
        ("make lint && make test", ["Bash(make lint:*)", "Bash(make test:*)"]),
        ("bash run.sh", ["Bash(bash run.sh:*)"]),  # `Bash(bash:*)` would allow everything
        ("python3 test.py --all", ["Bash(python3 test.py --all:*)"]),
        ("make -j2 test", ["Bash(make -j2 test:*)"]),
        ("CI=1 npm test", ["Bash(CI=1 npm test:*)"]),
        ("./check", ["Bash(./check:*)"]),
    ],
)
def test_the_rule_for_a_verify_command_allows_it_and_its_narrower_variants(command, rules):
    assert claude_settings.list_missing_rules([], (), command) == rules
    assert claude_settings.list_missing_rules([], rules, command) == []
    assert claude_settings.list_missing_rules([], ["Bash"], command) == []


def test_a_rule_for_exactly_the_verify_command_is_not_enough():
    assert claude_settings.list_missing_rules([], ["Bash(make test)"], "make test") == ["Bash(make test:*)"]


def test_refused_calls_are_counted_by_the_rule_that_would_allow_them():
    commands = ["make test", "cd x && make test ONE=1", "git add a && npm ci"]
    calls = [*(("Bash", command) for command in commands), ("WebFetch", "")]
    counted = claude_settings.count_refusals(calls, ["Bash(git add:*)"])
    assert counted == {"Bash(make test:*)": 2, "Bash(npm ci:*)": 1, "WebFetch": 1}
    assert len(claude_settings.count_refusals([("Bash", f"tool{n} a") for n in range(99)], [])) == 20


def test_no_rule_is_advised_for_a_call_that_the_rules_allow_already():
    calls = [("Bash", "batchctl abort"), ("Bash", "ls > /etc/x")]
    assert claude_settings.count_refusals(calls, ["Bash(batchctl:*)"]) == {}


def test_one_refused_line_of_several_commands_counts_once_with_all_its_rules():
    counted = claude_settings.count_refusals([("Bash", "npm ci && npm test")], [])
    assert counted == {"Bash(npm ci:*), Bash(npm test:*)": 1}


@pytest.mark.parametrize(
    ("line", "commands"),
    [
        ("sed -n '/^<<<<<<</,/^>>>>>>>/p' a | head; make", ["sed -n '/^<<<<<<</,/^>>>>>>>/p' a", "head", "make"]),
        ('grep -nE "a|b;c" x && npm ci', ['grep -nE "a|b;c" x', "npm ci"]),
        ('echo "a \\" ; b" | c\\;d', ['echo "a \\" ; b"', "c\\;d"]),
        ("cat > f <<'EOF'\nit's | x\n>>>>>>> y\nEOF\nmake 2>&1 | tail -3", ["cat > f", "make 2>&1", "tail -3"]),
        ('git commit -m "$(cat <<\'E\'\nIt\'s "a|b"\nE\n)" && x', ['git commit -m "$(cat )"', "x"]),
        ("echo $(a; b) <(c | d) && e", ["echo $(a; b) <(c | d)", "e"]),
        ("(cd x && make); { a; b; } # c; d", ["cd x", "make", "a", "b"]),
        ("find . -exec grep {} \\; | wc", ["find . -exec grep {} \\;", "wc"]),
        ("make \\\n test &> log & wait", ["make test &> log", "wait"]),
        ("> f", []),
        ("make 'x", []),
        ("for f in *; do rm $f; done", []),
    ],
)
def test_a_shell_line_is_split_outside_of_quotes_only(line, commands):
    assert claude_settings.split_shell_line(line) == commands


def test_the_message_of_a_commit_is_no_part_of_its_rule():
    assert claude_settings.derive_beginning('git commit -m "add x"') == "git commit"


@pytest.mark.parametrize(
    ("verify", "rules"),
    [
        ("make test", ["Bash(make test:*)"]),
        ("make lint && python3 -m pytest -q", ["Bash(make lint:*)", "Bash(python3 -m pytest:*)"]),
        ("curl -f localhost/health", ["Bash(curl -f localhost/health:*)"]),
        ("rm -rf out; bash -c 'x y'", ["Bash(rm -rf out:*)", "Bash(bash -c 'x y':*)"]),
        ("python3 -c 'f(1, 2)'", []),
        ("if x; then y; fi", []),
    ],
)
def test_the_rules_for_a_run_allow_the_verify_command_and_no_other_use_of_its_programs(verify, rules):
    assert claude_settings.derive_rules(verify) == rules
