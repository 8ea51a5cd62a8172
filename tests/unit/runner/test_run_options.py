"""The options of `batchctl run`: typed, kept, taken up again."""

from __future__ import annotations

import pytest
from batch_implement.cli import arguments
from batch_implement.core import run_transitions
from batch_implement.core.errors import UsageError
from batch_implement.runner import options
from batch_implement.runner.options import Options
from batches import NOW, checked, new_batch, owner


def typed(*words):
    parser = arguments.CommandParser(prog="batchctl run", allow_abbrev=False)
    arguments.add_batch_options(parser)
    arguments.add_run_options(parser)
    return options.from_arguments(parser.parse_args(words), "/here")


def after_a_run(*words):
    """The state of a batch that was run with these options."""
    chosen = options.with_defaults(typed(*words), "/project")
    return checked(
        run_transitions.begin(
            new_batch(2), NOW, owner(), branch="batch/batch-1/merged", base_commit="c0ffee", target="main",
            worktrees=f"{chosen.worktrees}/batch-1", jobs=chosen.jobs, options=options.to_stored(chosen),
            budgets=options.to_budgets(chosen),
        )
    )  # fmt: skip


def test_what_nobody_typed_is_none():
    assert typed("features.txt") == Options()


def test_a_new_run_has_defaults_where_nothing_was_typed():
    chosen = options.with_defaults(typed("features.txt"), "/project")
    assert (chosen.jobs, chosen.permission_mode, chosen.allow, chosen.merge) == (1, "acceptEdits", [], False)
    assert chosen.worktrees == "/project.worktrees"
    assert options.to_budgets(chosen) == {"feature_time_s": 7200}


def test_everything_that_can_be_typed_arrives():
    chosen = options.with_defaults(
        typed(
            "f.txt", "--jobs", "4", "--client", "./bin/claude", "--model", "opus", "--permission-mode", "dontAsk",
            "--allow", "Bash(make:*)", "--allow", "WebFetch", "--worktrees", "../trees", "--merge", "--pr", "--notify",
            "say $BATCH_EVENT", "--feature-time", "45m", "--feature-turns", "50", "--feature-cost", "2.5", "--max-time",
            "8h", "--max-cost", "20", "--max-wait", "1h30m", "--setup", "npm ci", "--keep", "/target/", "--keep", "*.o",
        ),
        "/project",
    )  # fmt: skip
    assert chosen == Options(
        resume=None, jobs=4, worker=None, client="/here/bin/claude", model="opus", permission_mode="dontAsk",
        allow=["Bash(make:*)", "WebFetch"], worktrees="/trees", merge=True, pr="batch", notify="say $BATCH_EVENT",
        feature_time=2700, feature_turns=50, feature_cost=2.5, max_time=28_800, max_cost=20.0, max_wait=5400,
        setup="npm ci", keep=["/target/", "*.o"],
    )  # fmt: skip
    assert options.to_budgets(chosen) == {
        "feature_time_s": 2700, "feature_turns": 50, "feature_cost_usd": 2.5, "time_s": 28_800, "cost_usd": 20.0,
        "wait_s": 5400,
    }  # fmt: skip


def test_a_client_named_without_a_folder_is_looked_for_on_path():
    assert typed("--client", "claude-next").client == "claude-next"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("45m", 2700), ("8h", 28_800), ("1h30m", 5400), ("1h1m1s", 3661)]
)
def test_a_duration_is_typed_with_units(text, seconds):
    assert typed("--max-time", text).max_time == seconds


@pytest.mark.parametrize("text", ["", "90", "0s", "0h0m", "m", "1.5h", "-5m", "5m1h", "8 h", "٣h", "9999999h", "400d"])
def test_what_is_no_duration_is_refused_with_an_example(text):
    with pytest.raises(UsageError, match="write it as 90s, 45m, 8h"):
        typed(f"--max-time={text}")


@pytest.mark.parametrize("text", ["", "0", "-1", "1e3", "nan", "inf", "5$", "٣", "0.00", "12345678"])
def test_what_is_no_amount_is_refused(text):
    with pytest.raises(UsageError, match="not an amount in US dollars"):
        typed(f"--max-cost={text}")


@pytest.mark.parametrize("text", ["0", "65", "x", "", "-1", "٣"])
def test_jobs_are_a_number_from_1_to_64(text):
    with pytest.raises(UsageError, match="from 1 to 64"):
        typed(f"--jobs={text}")


@pytest.mark.parametrize("text", ["", "make", "Bash(", "Bash()", "Bash(make) x", "(make)", "--x", "Bash(a\nb)"])
def test_what_is_no_permission_rule_is_refused(text):
    if text == "make":  # a tool could have any name
        assert typed(f"--allow={text}").allow == ["make"]
        return
    with pytest.raises(UsageError, match="not a permission rule"):
        typed(f"--allow={text}")


@pytest.mark.parametrize("mode", ["plan", "nonsense"])
def test_a_mode_that_changes_nothing_is_not_offered(mode):
    with pytest.raises(UsageError, match="acceptEdits"):
        typed("--permission-mode", mode)


@pytest.mark.parametrize("name", ["worker", "client", "model", "notify", "worktrees"])
def test_an_empty_value_is_refused(name):
    with pytest.raises(UsageError, match=f"Invalid value for --{name}: it is empty"):
        typed(f"--{name}= ")


def test_one_pull_request_and_one_for_each_exclude_each_other():
    assert typed("--pr-per-feature").pr == "feature"
    with pytest.raises(UsageError, match="not allowed with"):
        typed("--pr", "--pr-per-feature")


def test_options_of_the_client_beside_a_command_are_refused_as_they_would_do_nothing():
    with pytest.raises(UsageError, match="so --model, --feature-cost would do nothing"):
        typed("--worker", "true", "--model", "opus", "--feature-cost", "5")


def test_a_resumed_run_has_what_the_last_had():
    words = ("--jobs", "3", "--model", "opus", "--pr", "--merge", "--max-cost", "9", "--worktrees", "/trees",
             "--allow", "WebFetch", "--notify", "say")  # fmt: skip
    before = options.with_defaults(typed(*words), "/project")
    assert options.for_resume(after_a_run(*words), Options(), "/project") == before


def test_what_is_typed_anew_holds():
    state = after_a_run("--jobs", "3", "--max-cost", "9", "--max-time", "8h")
    again = options.for_resume(state, typed("--resume", "--jobs", "1", "--max-cost", "20"), "/project")
    assert (again.resume, again.jobs, again.max_cost, again.max_time) == ("", 1, 20.0, 28_800)


def test_a_command_and_a_client_take_each_others_place():
    with_command = options.for_resume(after_a_run("--model", "opus"), typed("--worker", "true"), "/project")
    assert (with_command.worker, with_command.model) == ("true", None)
    with_client = options.for_resume(after_a_run("--worker", "true"), typed("--model", "opus"), "/project")
    assert (with_client.worker, with_client.model) == (None, "opus")


def test_a_batch_that_was_never_run_gives_its_limits_alone():
    state = new_batch(2, budgets={"cost_usd": 5})
    assert options.for_resume(state, Options(), "/project") == options.with_defaults(Options(max_cost=5), "/project")


def test_a_setup_command_is_part_of_the_policy_and_stays_with_it_until_another_is_given():
    assert options.to_policy(typed("f.txt", "--setup", "npm ci")) == {"setup": "npm ci"}
    assert options.to_policy(options.for_resume(after_a_run("f.txt"), typed("--resume"), "/project")) == {}
    assert options.to_policy(typed("--resume", "--keep", "/target/")) == {"keep": ["/target/"]}


@pytest.mark.parametrize("words", [("--setup", " "), ("--keep", "!x"), ("--keep", ""), ("--keep", "a\nb")])
def test_what_prepares_nothing_is_refused(words):
    with pytest.raises(UsageError, match=r"is empty|is not a pattern of paths"):
        typed("f.txt", *words)
