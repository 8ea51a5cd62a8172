"""What workers of the tests do, act by act: everything that people and models do with git, at random but from a seed.

python -I worker_acts.py FOLDER     the worker of a run, see act_worker.py
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from pathlib import Path
from typing import Callable

sys.path.insert(0, str(Path(__file__).resolve().parent))

from act_worker import Worker


def commit_a_file(worker: Worker) -> None:
    worker.commit(worker.own())


def commit_to_the_shared_file(worker: Worker) -> None:
    worker.commit("shared.txt", *(("--no-verify",) if worker.chance.random() < 0.3 else ()))


def insert_into_the_shared_file(worker: Worker) -> None:
    worker.write("shared.txt", at=worker.number * 8)
    worker.git("commit", "-qam", "Insert")


def commit_to_the_changelog(worker: Worker) -> None:
    worker.commit("CHANGES.md")


def write_and_not_commit(worker: Worker) -> None:
    worker.write(worker.own())


def stage_and_change_again(worker: Worker) -> None:
    worker.git("add", "-f", worker.write("src/staged.txt"))
    worker.write("src/staged.txt")


def amend(worker: Worker) -> None:
    worker.git("add", "-f", worker.write(worker.own()))
    worker.git("commit", "-q", "--amend", "--no-edit", "--allow-empty")


def commit_and_amend(worker: Worker) -> None:
    worker.commit(worker.own())
    amend(worker)


def commit_and_revert(worker: Worker) -> None:
    worker.commit(worker.own())
    worker.git("revert", "--no-edit", "HEAD")
    if worker.chance.random() < 0.4:
        worker.git("revert", "--no-edit", "HEAD")


def reset_away(worker: Worker) -> None:
    worker.commit(worker.own())
    worker.git("reset", "-q", worker.chance.choice(("--hard", "--soft", "--mixed")), "HEAD~1")


def squash(worker: Worker) -> None:
    worker.commit(worker.own())
    worker.commit(worker.own())
    worker.git("reset", "-q", "--soft", "HEAD~2")
    worker.git("commit", "-qm", "Squashed")


def rebase_away(worker: Worker) -> None:
    worker.commit(worker.own())
    worker.commit(worker.own())
    worker.git("rebase", "-q", "--onto", "HEAD~2", "HEAD~1")


def leave_a_rebase(worker: Worker) -> None:
    worker.commit("old.txt")
    worker.git("checkout", "-q", "-b", f"topic-{worker.number}-{worker.start}", "HEAD~1")
    worker.commit("old.txt")
    worker.git("rebase", "-q", worker.branch())


def start_a_branch(worker: Worker) -> str:
    """Commit on a branch of its own, and return it."""
    name = f"side-{worker.number}-{worker.start}-{worker.lines}"
    worker.git("checkout", "-q", "-b", name)
    worker.commit(worker.own())
    return name


def work_on_a_branch(worker: Worker) -> None:
    start_a_branch(worker)
    if worker.chance.random() < 0.5:
        worker.git("checkout", "-q", worker.branch())


def merge_a_branch(worker: Worker) -> None:
    side = start_a_branch(worker)
    worker.git("checkout", "-q", worker.branch())
    worker.commit(worker.own())
    worker.git("merge", "-q", "--no-ff", "--no-commit", side)
    worker.git("add", "-f", worker.write(f"glue-{worker.number}.txt"))
    worker.git("commit", "-qm", "Merge with glue")
    if worker.chance.random() < 0.5:
        worker.git("branch", "-q", "-D", side)


def merge_the_batch(worker: Worker) -> None:
    worker.git("merge", "-q", "--no-edit", worker.branch().rpartition("/")[0] + "/merged")


def pick_a_commit(worker: Worker) -> None:
    side = start_a_branch(worker)
    worker.git("checkout", "-q", worker.branch())
    worker.git("cherry-pick", side)


def detach(worker: Worker) -> None:
    worker.git("checkout", "-q", "--detach")
    worker.commit(worker.own())


def detach_and_go_back(worker: Worker) -> None:
    detach(worker)
    worker.git("checkout", "-q", worker.branch())


def stash(worker: Worker) -> None:
    worker.write("src/app.txt")
    worker.write(worker.own())
    worker.git("stash", "push", "-q", *worker.chance.choice(((), ("-u",), ("-a",))))
    if worker.chance.random() < 0.5:
        # Worktrees share their stashes: this may be another worker's. What is dropped here nobody else has to keep.
        for dropped in re.findall(r"\((\w{40})\)", worker.git("stash", worker.chance.choice(("pop", "apply", "drop")))):
            with open(worker.folder / "dropped", "a") as file:
                file.write(f"{dropped}\n")


def clean(worker: Worker) -> None:
    worker.write(worker.own())
    worker.git("clean", worker.chance.choice(("-fdq", "-fdxq", "-ffdxq")))


def write_ignored_files(worker: Worker) -> None:
    worker.write(worker.chance.choice(("lib/adder.txt", ".env", f"notes-{worker.number}.log", "lib/deep/x/y.txt")))
    worker.write(worker.chance.choice(("build/out.txt", "node_modules/x/index.txt")))


def ignore_more(worker: Worker) -> None:
    worker.write("secret/keep.txt")
    with open(".gitignore", "a") as file:
        file.write("secret/\n")
    worker.git("commit", "-qam", "Ignore more")


def untrack(worker: Worker) -> None:
    worker.write("old.txt")
    worker.git("rm", "-q", "--cached", "-f", "old.txt")
    with open(".git/info/exclude" if os.path.isdir(".git") else ".gitignore", "a") as file:
        file.write("old.txt\n")
    worker.git("commit", "-qam", "Untrack")


def hide_a_change(worker: Worker) -> None:
    worker.git("update-index", worker.chance.choice(("--skip-worktree", "--assume-unchanged")), "src/app.txt")
    worker.write("src/app.txt")


def nest_a_repository(worker: Worker) -> None:
    place = worker.chance.choice(("nested", "src/nested", "lib/nested"))
    (worker.top / place).mkdir(parents=True, exist_ok=True)
    worker.git("init", "-q", cwd=place)
    worker.write(f"{place}/inner.txt")
    worker.git("add", "-A", cwd=place)
    worker.git("commit", "-qm", "Inner", cwd=place)
    worker.write(f"{place}/inner.txt")
    if worker.chance.random() < 0.4:
        worker.git("add", place)
        worker.git("commit", "-qm", "Add the nested repository")


def work_in_the_submodule(worker: Worker) -> None:
    worker.git("submodule", "--quiet", "update", "--init")
    if (worker.top / "sub" / ".git").exists():
        worker.write("sub/library.txt")
        if worker.chance.random() < 0.7:
            worker.git("commit", "-qam", "In the submodule", cwd="sub")
        if worker.chance.random() < 0.6:
            worker.git("commit", "-qam", "Move the submodule")


def rename_and_remove(worker: Worker) -> None:
    worker.git("mv", "old.txt", f"moved-{worker.number}.txt")
    worker.git("commit", "-qam", "Rename")
    worker.commit(f"moved-{worker.number}.txt")


def use_odd_names(worker: Worker) -> None:
    for name in (" leading", "tab\there", "-dash", "ümlaut", 'quo"te', "line\nbreak", "glob*[x]"):
        worker.write(f"odd-{worker.number}/{name}")
    if worker.chance.random() < 0.6:
        worker.git("add", "-A", f"odd-{worker.number}")
        worker.git("commit", "-qm", "Odd names")


def make_links(worker: Worker) -> None:
    os.symlink(worker.text(), f"link-{worker.number}-{worker.start}-{worker.lines}")
    worker.write("run.sh")
    os.chmod("run.sh", 0o755)
    if worker.chance.random() < 0.5:
        worker.git("add", "-A", "--", "run.sh", *(name for name in os.listdir(".") if name.startswith("link-")))
        worker.git("commit", "-qm", "Links")


def replace_a_file_by_a_folder(worker: Worker) -> None:
    if os.path.isfile("old.txt"):
        os.unlink("old.txt")
    worker.write("old.txt/inside.txt") if not os.path.isfile("old.txt") else None


def collect_garbage(worker: Worker) -> None:
    alone = worker.plan["jobs"] == 1  # git warns of it where others work
    worker.git("gc", "-q", *(["--prune=now"] if alone else []))


def add_a_worktree(worker: Worker) -> None:
    path = worker.folder / f"extra-{worker.number}-{worker.start}-{worker.lines}"
    worker.git("worktree", "add", "-q", "--detach", str(path))


def tag(worker: Worker) -> None:
    worker.commit(worker.own())
    worker.git("tag", f"tag-{worker.number}-{worker.start}-{worker.lines}")
    worker.git("reset", "-q", "--hard", "HEAD~1")


def two_agents(worker: Worker) -> None:
    """Let a second agent commit in the same worktree at the same time."""
    names = [f"agent-{worker.number}-{agent}.txt" for agent in range(2)]
    texts = [[worker.text() for _ in range(3)] for _ in names]

    def agent(name: str, lines: list[str]) -> None:
        for line in lines:
            with open(name, "a") as file:
                file.write(line)
            worker.git("add", name)
            worker.git("commit", "-qm", f"Agent on {name}")

    threads = [threading.Thread(target=agent, args=pair) for pair in zip(names, texts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def remove_everything(worker: Worker) -> None:
    for path in worker.top.iterdir():
        if path.name not in (".git", ".claude", ".gitignore", ".gitmodules"):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    worker.git("checkout", "-q", "--", ".")


ACTS: dict[str, Callable[[Worker], None]] = {
    act.__name__.replace("_", " "): act
    for act in (
        commit_a_file, commit_to_the_shared_file, insert_into_the_shared_file, commit_to_the_changelog,
        write_and_not_commit, stage_and_change_again, amend, commit_and_amend, commit_and_revert, reset_away, squash,
        rebase_away, leave_a_rebase, work_on_a_branch, merge_a_branch, merge_the_batch, pick_a_commit, detach,
        detach_and_go_back, stash, clean, write_ignored_files, ignore_more, untrack, hide_a_change, nest_a_repository,
        work_in_the_submodule, rename_and_remove, use_odd_names, make_links, replace_a_file_by_a_folder,
        collect_garbage, add_a_worktree, tag,
        two_agents, remove_everything,
    )
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(Worker(Path(sys.argv[1])).work(ACTS))
