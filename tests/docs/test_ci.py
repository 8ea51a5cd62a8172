"""What CI and editors take from here: hooks for pre-commit, the action, workflows, the schemas; and the page on them.

The hooks run by their entries as pre-commit starts them, without pre-commit, which would have to install this
repository; the action by its own `run:` lines, with its inputs where a runner puts them.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from batch_implement.features.data_formats import yaml_support
from batch_implement.store import serialization
from batch_implement.validation import file_validation
from batches import new_batch
from check_jsonschema.catalog import SCHEMA_CATALOG
from check_pythons import MINORS

REPOSITORY = Path(__file__).resolve().parents[2]
SCHEMAS = REPOSITORY / "schemas"
PAGE = (REPOSITORY / "docs" / "validation.md").read_text(encoding="utf-8")
WORKFLOWS = [REPOSITORY / ".github/workflows/test.yml", REPOSITORY / "examples/ci/validate.yml"]
BROKEN = "defaults:\n  verfy: x\nfeatures:\n- title: a\n- title: b\n  id: 7\n"
HOOKS = yaml.safe_load((REPOSITORY / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
ACTION = yaml.safe_load((REPOSITORY / "action.yml").read_text(encoding="utf-8"))
# Features files that only what reads them as batchctl does can tell from good ones, by what the corpus calls them.
BEYOND_A_SCHEMA = re.compile(
    r"issue_|id_twice|title_twice|empty_note|note_in|text_is_only|key_twice|minified|alias|tag|merge_key|count_is_text"
)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with features files and states, good ones and broken ones, some with odd names."""
    names = {
        "features.yaml": "- a\n- title: b\n  depends_on: [1]\n", "features-bad.yaml": BROKEN,
        "features.json": '["a"]', "features;touch pwned $(touch pwned) 'x\" é.json": "[7]", "-x.json": "[7]",
    }  # fmt: skip
    for name, text in names.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    (tmp_path / "batch_state.json").write_bytes(serialization.serialize(new_batch(2)))
    (tmp_path / "batch_state-bad.json").write_bytes(serialization.serialize({**new_batch(2), "status": "odd"}))
    return tmp_path


def run(command: list[str], folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a command with this repository's bin and this Python first on PATH."""
    path = os.pathsep.join([str(REPOSITORY / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path, "HOME": str(folder), "LC_ALL": "C.UTF-8", **variables}
    return subprocess.run(
        command, cwd=folder, env=environment, check=False, capture_output=True, text=True, timeout=300
    )


# -- pre-commit --------------------------------------------------------------------------------------------------------


def hooked(hook: dict[str, Any], folder: Path) -> list[str]:
    """The files of a folder that a hook is for."""
    return sorted(path.name for path in folder.iterdir() if re.search(hook["files"], path.name))


def test_the_hooks_are_for_features_and_states(project: Path) -> None:
    features, state = HOOKS
    assert (features["id"], state["id"]) == ("batch-implement-features", "batch-implement-state")
    assert {"features.yaml", "features.json", "features-bad.yaml"} <= set(hooked(features, project))
    assert hooked(state, project) == ["batch_state-bad.json", "batch_state.json"]
    assert all(re.search(features["files"], name) for name in ("a/features.yml", "features-2.json"))
    assert not any(
        re.search(features["files"], name) for name in ("my_features.yaml", "features.yaml.bak", "features.md")
    )
    assert all(hook["language"] == "python" for hook in HOOKS)


@pytest.mark.parametrize("hook", HOOKS, ids=lambda hook: hook["id"])
def test_a_hook_passes_good_files_and_stops_a_broken_one(hook: dict[str, Any], project: Path) -> None:
    files = hooked(hook, project)
    good = [name for name in files if name in ("features.yaml", "features.json", "batch_state.json")]
    done = run([*hook["entry"].split(), *good], project)
    assert (done.returncode, done.stdout) == (0, "".join(f"{name}: valid\n" for name in good)), done.stderr
    done = run([*hook["entry"].split(), *files], project)
    assert done.returncode == 1, done.stderr
    assert re.search(r"^(features-bad\.yaml:2:3: /defaults|batch_state-bad\.json:5:2: /status): ", done.stdout, re.M)
    assert not (project / "pwned").exists()


def test_no_hook_or_example_names_a_version_that_is_not_this_one() -> None:
    version = json.loads((REPOSITORY / "plugin.json").read_text(encoding="utf-8"))["version"]
    example = (REPOSITORY / "examples/ci/validate.yml").read_text(encoding="utf-8")
    shown = re.findall(r"(?:batch-implement@|rev: )v([0-9.]+)", PAGE + example)
    assert len(shown) == 2
    assert set(shown) == {version}


# -- the action --------------------------------------------------------------------------------------------------------


def act(folder: Path, files: str, form: str = "github") -> subprocess.CompletedProcess[str]:
    """Run the action's step with these inputs, as a runner does: in bash, the inputs as variables."""
    (step,) = ACTION["runs"]["steps"]
    contexts = {"inputs.files": files, "inputs.format": form, "github.action_path": str(REPOSITORY)}
    variables = {
        name: re.sub(r"\$\{\{ (\S+) \}\}", lambda found: contexts[found[1]], value)
        for name, value in step["env"].items()
    }
    return run(["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]], folder, **variables)


def test_no_input_stands_in_a_shell_line() -> None:
    assert all("${{" not in step["run"] for step in ACTION["runs"]["steps"])
    assert set(ACTION["inputs"]) == {"files", "format"}


def test_the_action_annotates_what_is_not_valid(project: Path) -> None:
    done = act(project, "features.yaml\nfeatures-bad.yaml\n")
    assert done.returncode == 1, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(
        "::error file=features-bad.yaml,line=2,col=3,title=not valid::/defaults: unknown property"
    )
    assert lines[-1] == "1 of 2 files valid."


def test_the_action_takes_patterns_and_passes_what_is_valid(project: Path) -> None:
    done = act(project, "  \nfeatures.*\nbatch_state.json".strip())
    assert (done.returncode, done.stdout) == (0, "3 of 3 files valid.\n"), done.stderr


@pytest.mark.parametrize("files", ["features;*\n-x.json", "$(touch pwned)\n`touch pwned`; touch pwned\n--help"])
def test_hostile_names_reach_the_action_as_names(project: Path, files: str) -> None:
    done = act(project, files)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count("::error file=") == len(files.splitlines())
    assert not (project / "pwned").exists()


def test_without_files_the_action_says_what_is_missing(project: Path) -> None:
    done = act(project, "\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "The input `files` is empty." in done.stderr


def test_in_another_format_nothing_in_a_file_is_a_command_to_the_runner(project: Path) -> None:
    (project / "::error::x.json").write_text("[7]", encoding="utf-8")
    done = act(project, "::error*", "text")
    first, *between, last = done.stdout.strip().split("\n")
    token = first.removeprefix("::stop-commands::")
    assert (done.returncode, len(token), last) == (1, 32, f"::{token}::")
    assert any(line.startswith("./::error::x.json:1:2: /0: found 7") for line in between)


# -- workflows ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.parent.name)
def test_a_workflow_may_read_only_and_names_full_versions(path: Path) -> None:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert workflow["permissions"] == {"contents": "read"}
    for job in workflow["jobs"].values():
        assert "permissions" not in job
        for step in job["steps"]:
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+\.\d+\.\d+", step.get("uses", "a/b@v0.0.0"))
            assert "${{" not in step.get("run", "")
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False


def test_our_workflow_runs_make_test_on_every_system_and_python() -> None:
    (job,) = yaml.safe_load(WORKFLOWS[0].read_text(encoding="utf-8"))["jobs"].values()
    assert job["strategy"]["matrix"] == {
        "os": ["ubuntu-latest", "macos-latest"],
        "python": [f"3.{minor}" for minor in MINORS],
    }
    assert (MINORS[0], MINORS[-1]) == (9, 14)
    assert job["steps"][-1]["run"].split()[:2] == ["make", "test"]


# -- what the code host shows ------------------------------------------------------------------------------------------

FORMS = sorted((REPOSITORY / ".github/ISSUE_TEMPLATE").glob("[!c]*.yml"))
HOSTED = {
    "vendor.github-issue-forms": FORMS,
    "vendor.github-issue-config": [REPOSITORY / ".github/ISSUE_TEMPLATE/config.yml"],
    "vendor.github-workflows": WORKFLOWS,
    "vendor.github-actions": [REPOSITORY / "action.yml"],
}


@pytest.mark.parametrize("schema", HOSTED)
def test_what_the_code_host_reads_has_the_form_that_it_asks_for(schema: str, tmp_path: Path) -> None:
    if schema.removeprefix("vendor.") not in SCHEMA_CATALOG:
        pytest.skip(f"this check-jsonschema has no {schema}")
    broken = tmp_path / "broken.yml"
    broken.write_text("jobs: 7\nbody: 7\ncontact_links: 7\nruns: 7\n", encoding="utf-8")
    said = checked("--builtin-schema", schema, [*HOSTED[schema], broken], tmp_path)
    assert {error["filename"] for error in said["errors"]} == {str(broken)}


def test_a_report_brings_version_doctor_and_log() -> None:
    bug, _ = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in FORMS)
    asked = {field["id"]: field.get("validations", {}).get("required", False) for field in bug["body"] if "id" in field}
    assert {name: asked[name] for name in ("happened", "version", "doctor", "log")} == {
        "happened": True, "version": True, "doctor": True, "log": False,
    }  # fmt: skip


# -- the schemas in other people's hands -------------------------------------------------------------------------------


def checked(option: str, schema: str, files: list[Path], folder: Path) -> dict[str, Any]:
    """What check-jsonschema says of some files, without network; the option says what kind of schema it is."""
    program = [sys.executable, "-m", "check_jsonschema", "-o", "json", "-v"]
    nowhere = {f"{name}_PROXY": "http://127.0.0.1:1" for name in ("HTTP", "HTTPS", "ALL")}
    done = run([*program, option, schema, *map(str, files)], folder, **nowhere)
    said: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (said["status"] != "ok"), done.stderr
    return said


def test_check_jsonschema_passes_valid_features_files(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(# yaml-language-server.*?)```", PAGE, re.DOTALL)
    (tmp_path / "features.yaml").write_text(shown, encoding="utf-8")
    schema = json.loads((SCHEMAS / "features.schema.json").read_text(encoding="utf-8"))
    for number, example in enumerate(schema["examples"]):
        (tmp_path / f"{number}.json").write_text(json.dumps(example), encoding="utf-8")
    files = [*tmp_path.iterdir(), REPOSITORY / "examples" / "features.yaml"]
    assert len(files) > 3
    assert checked("--schemafile", str(SCHEMAS / "features.schema.json"), files, tmp_path)["errors"] == []


def test_check_jsonschema_finds_what_batchctl_finds_in_broken_features_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_support, "forbidden_folders", lambda: [])
    corpus = REPOSITORY / "tests" / "unit" / "features" / "broken_features"
    ours = {}
    for path in sorted(corpus.iterdir()):
        large = path.stat().st_size > 50_000
        if path.suffix != ".says" and not large and not BEYOND_A_SCHEMA.match(path.name):
            pointers = {error.pointer for error in file_validation.check_features_file(str(path))}
            if any(pointers):
                ours[path.name] = pointers
    assert len(ours) > 25
    said = checked("--schemafile", str(SCHEMAS / "features.schema.json"), [corpus / name for name in ours], tmp_path)
    assert {Path(error["filename"]).name for error in said["errors"] + said["parse_errors"]} == set(ours)


def test_check_jsonschema_agrees_about_states(project: Path) -> None:
    said = checked(
        "--schemafile",
        str(SCHEMAS / "batch_state.schema.json"),
        [project / "batch_state.json", project / "batch_state-bad.json"],
        project,
    )
    assert [(Path(error["filename"]).name, error["path"]) for error in said["errors"]] == [
        ("batch_state-bad.json", "$.status")
    ]


@pytest.mark.parametrize("path", sorted(SCHEMAS.iterdir()), ids=lambda path: path.name)
def test_a_schema_refers_to_nothing_outside_of_itself(path: Path) -> None:
    references = re.findall(r'"\$ref": *"([^"]*)"', path.read_text(encoding="utf-8"))
    assert references
    assert all(reference.startswith("#/") for reference in references)


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_session_that_is_shown_is_a_real_one(tmp_path: Path) -> None:
    (shown,) = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    command, *lines = shown.removeprefix("$ ").rstrip("\n").split("\n")
    (tmp_path / "features.yaml").write_text(
        "# ours\ndefaults:\n  verfy: x\nfeatures:\n  - title: a\n  - id: 7\n    title: b\n", encoding="utf-8"
    )
    done = run(command.split(), tmp_path)
    pattern = ".*".join(map(re.escape, "\n".join(lines).split("...")))
    assert re.fullmatch(pattern, done.stdout.rstrip("\n")), done.stdout + done.stderr


def test_the_page_names_every_format_and_hook_and_input() -> None:
    from batch_implement.validation import reporters

    assert [row for row in re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)] == list(reporters.FORMATS)
    for name in (*(hook["id"] for hook in HOOKS), *ACTION["inputs"]):
        assert f"`{name}`" in PAGE


def test_the_settings_that_are_shown_name_the_file_that_is_written() -> None:
    (shown,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    settings = json.loads(shown)
    (written,) = re.findall(r"`batchctl schema features > (\S+)`", PAGE)
    assert list(settings["yaml.schemas"]) == [settings["json.schemas"][0]["url"]] == [f"./{written}"]
    assert f"$schema=./{written}\n" in PAGE
