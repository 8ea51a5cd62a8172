"""Two attempts failed alike when the same test, file or error failed, whatever differs between two runs of one code."""

from __future__ import annotations

import pytest
from batch_implement.core.error_comparison import is_same_error

FIRST, SECOND = "batch/night-1/3-add-login", "batch/night-1/3-add-login.2"
VERIFY = (
    "The verify command `pytest -q` failed with exit status 1. Fix the cause, commit, then `batchctl done` again; if "
    "you cannot: `batchctl fail --reason TEXT`. The end of its output (data; all of it is in {log}):\n"
    "> FAILED {test} - AssertionError: assert 'a' in '{tmp}/out.txt'\n> {n} failed, 1{n} passed in 0.{n}2s"
)
SAME = [
    ("3 of 17 tests fail at 4f2a91bc", "4 of 17 tests  fail at 99aabbcc"),
    ("/tmp/tmpa1b2c3d4/test_a.py fails", "/tmp/tmpz9y8x7w6/test_a.py fails"),
    ('"/tmp/pytest-of-ann/pytest-3/test_a0/x.py", line 3', '"/tmp/pytest-of-ann/pytest-14/test_a0/x.py", line 9'),
    ("cannot open /private/var/folders/x1/a/T/tmp.Ab3dEf/a.c", "cannot open /private/var/folders/x1/a/T/tmp.Z9d/a.c"),
    ("src/app.js:12:5 - error TS2304: unknown name 'x'", "src/app.js:140:17 - error TS2304: unknown name 'x'"),
    ("src/app.ts(12,5): error TS2304", "src/app.ts(140,17): error TS2304"),
    ("--- FAIL: TestLogin (0.02s)", "--- FAIL: TestLogin (1.35s)"),
    ("FAIL src/a.test.js (5.2 s, 120MB)", "FAIL src/a.test.js (7.31 s, 98MB)"),
    ("2026-01-31T12:00:01.250Z ERROR no reply", "2026-02-01T01:10:59.001Z ERROR no reply"),
    ("[12:00:01] boom on Sat Jan 31, 2026", "[09:10:59] boom on Sun Feb 1, 2026"),
    ("<Parser object at 0x7f3a10c2> is not closed", "<Parser object at 0x55d0aa98> is not closed"),
    ("job 0b1e3a52-9d7e-4b8a-8a60-cc0d8a3f1d11 died", "job 7c2d4b60-1111-4b8a-9f00-aa0d8a3f1d22 died"),
    ("connect ECONNREFUSED 127.0.0.1:43213", "connect ECONNREFUSED 127.0.0.1:51877"),
    ("GET http://localhost:43213/users failed", "GET http://localhost:51877/users failed"),
]  # fmt: skip
DIFFERENT = [
    ("FAILED tests/unit/test_a.py::test_one", "FAILED tests/unit/test_b.py::test_one"),
    ("FAILED tests/test_a.py::test_one", "FAILED tests/test_a.py::test_two"),
    ("FAILED tests/test_a.py::test_case_1", "FAILED tests/test_a.py::test_case_2"),
    ("FAILED tests/test_a.py::test_add[1-2]", "FAILED tests/test_a.py::test_add[3-4]"),
    ("not ok 3 - src/a loads", "not ok 3 - src/b loads"),
    ("cannot find module './lib/a'", "cannot find module './lib/b'"),
    ("FAIL spec/case-1.test.js", "FAIL spec/case-2.test.js"),
    ("--- FAIL: TestAPI/v1/login (0.02s)", "--- FAIL: TestAPI/v2/login (0.02s)"),
    ("src/a.c:12: error: x", "src/b.c:12: error: x"),
    ("error TS2304 in src/a.ts", "error TS2551 in src/a.ts"),
    ("decade/facade is missing", "decade/defaced is missing"),
    ("No such file: /srv/app/a.conf", "No such file: /srv/app/b.conf"),
    ("/tmp/tmpa1b2c3d4/test_a.py fails", "/tmp/tmpa1b2c3d4/test_b.py fails"),
    ("src/tmp/a.py is empty", "src/tmp/b.py is empty"),
]


def verify_message(number, test="tests/test_a.py::test_one"):
    private = f"/work/a.git/worktrees/3-add-login{'.2' if number > 1 else ''}/batch-implement"
    log = f"{private}/logs/verify/night-1.3.{number}/0-{number}-{number}f2a91bc00112233/output"
    return VERIFY.format(n=number, test=test, tmp=f"/tmp/run{number}", log=log)


@pytest.mark.parametrize(("first", "second"), SAME)
def test_the_same_failure_of_another_run_is_the_same_error(first, second):
    assert is_same_error(first, second)


@pytest.mark.parametrize(("first", "second"), DIFFERENT)
def test_another_test_file_or_error_is_another_error(first, second):
    assert not is_same_error(first, second)


def test_the_worktree_of_an_attempt_is_no_part_of_its_error():
    first, second = (
        f'File "/work/shop.worktrees/night-1/{name}/src/cart.py", line 3' for name in ("3-add-login", "3-add-login.2")
    )
    assert is_same_error(first, second, FIRST, SECOND)
    assert not is_same_error(first, second.replace("cart", "user"), FIRST, SECOND)


def test_what_batchctl_says_of_a_failed_verify_command_is_compared_by_its_output():
    assert is_same_error(verify_message(1), verify_message(2), FIRST, SECOND)
    assert not is_same_error(verify_message(1), verify_message(2, "tests/test_b.py::test_one"), FIRST, SECOND)


def test_a_long_message_is_compared_in_linear_time():
    for text in (
        "1" * 200_000,
        "1:" * 100_000,
        "a[" * 100_000,
        "/tmp/" * 40_000,
        "0" * 7 + "abcdef" * 40_000,
        "1.1ms" * 50_000,
    ):
        assert is_same_error(text, text)
