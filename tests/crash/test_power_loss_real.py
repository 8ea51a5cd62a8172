"""Real cuts: a file system is shut down under load, without its log being flushed, mounted again and looked at.

Linux and root only, with mkfs and loop devices. The shutdown is the call that `xfs_io -x -c shutdown` makes; ext4
knows it too, and is mounted without the crutch that hides a missing sync before a rename (`noauto_da_alloc`). What
was acknowledged is what the load had said before the cut began: a shutdown in the middle of a sync can let that sync
return.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import select
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest
import traced
import writes
from batch_implement.core.errors import BatchError
from batch_implement.store import serialization
from mutations import SYNCS, mutated
from traced import LIB

SHUTDOWN, WITHOUT_LOG = 0x8004587D, struct.pack("I", 2)
MAKE = {"ext4": ["mkfs.ext4", "-q", "-F"], "xfs": ["mkfs.xfs", "-q", "-f"]}
MOUNT = {"ext4": "loop,noauto_da_alloc", "xfs": "loop"}
SIZE = {"ext4": 64 << 20, "xfs": 320 << 20}
CUTS = 100
CUTS_FOR_A_MUTATION = 60
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def lacking(kind: str) -> str:
    """Why there are no real cuts of this file system here; "" when there are."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "real cuts need root on Linux"
    missing = [name for name in (MAKE[kind][0], "mount", "umount") if shutil.which(name, path=PATH) is None]
    if missing:
        return f"real cuts need {', '.join(missing)} (packages e2fsprogs, xfsprogs, mount)"
    if not Path("/dev/loop-control").exists():
        return "real cuts need loop devices"
    return ""


class Disk:
    """A file system of one kind in a file, mounted at `place`."""

    def __init__(self, kind: str, folder: str) -> None:
        self.kind, self.image, self.place = kind, f"{folder}/{kind}.img", f"{folder}/{kind}"
        os.makedirs(self.place)
        with open(self.image, "wb") as image:
            image.truncate(SIZE[kind])
        self._run(*MAKE[kind], self.image)
        self.mount()

    def _run(self, *words: str) -> None:
        subprocess.run(words, check=True, capture_output=True, env={**os.environ, "PATH": PATH})

    def mount(self) -> None:
        """Mount it, replaying its log."""
        self._run("mount", "-t", self.kind, "-o", MOUNT[self.kind], self.image, self.place)

    def unmount(self) -> None:
        """Unmount it; whoever was killed on it may need a moment to let go."""
        for _ in range(50):
            with contextlib.suppress(subprocess.CalledProcessError):
                self._run("umount", self.place)
                return
            time.sleep(0.02)
        self._run("umount", "-l", self.place)

    def cut(self) -> None:
        """Shut it down as a power cut does."""
        folder = os.open(self.place, os.O_RDONLY)
        try:
            fcntl.ioctl(folder, SHUTDOWN, WITHOUT_LOG)
        finally:
            os.close(folder)


@pytest.fixture(params=list(MAKE))
def disk(request, folder):
    """A mounted file system, taken away at the end."""
    reason = lacking(request.param)
    if reason:
        pytest.skip(reason)
    place = f"{folder}/disk-{request.param}"
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    try:
        made = Disk(request.param, place)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"{request.param} cannot be made or mounted here: {error.stderr.decode().strip()}")
    yield made
    made.unmount()
    shutil.rmtree(place, ignore_errors=True)


def one_cut(disk: Disk, lib: str, mode: str, first: int, when: random.Random) -> tuple[int, int]:
    """Let the load run, cut, mount again; the last number said before the cut, and the last that was ever said."""
    root = f"{disk.place}/project"
    words = [sys.executable, "-S", "-s", str(traced.HERE / "load.py"), lib, mode, root, str(first)]
    load = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={"PATH": os.defpath})
    pipe = load.stdout.fileno()
    said = b""
    while not said:
        said = os.read(pipe, 65536)
        assert said, "the load did not begin"
    end = time.monotonic() + when.uniform(0, 0.03)
    while (left := end - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            said += os.read(pipe, 65536)
    while select.select([pipe], [], [], 0)[0]:
        said += os.read(pipe, 65536)
    disk.cut()
    before = int(said.split()[-1])
    load.kill()
    rest, _ = load.communicate()
    disk.unmount()
    disk.mount()
    return before, int((said + rest).split()[-1])


def trouble_after(disk: Disk, mode: str, said: int, latest: int) -> str:
    """What is wrong with the project after a cut; "" for nothing."""
    root = f"{disk.place}/project"
    try:
        for trusted in (True, False):
            store = writes.store_of("", root, trusted)
            state = store.read()
            if mode == "update":
                if not (state and said <= state["context_token_estimate"] <= latest + 1):
                    return f"{said} was acknowledged, {state and state['context_token_estimate']} is there"
                if state["revision"] != state["context_token_estimate"] + 1:
                    return f"revision {state['revision']} is none that was written"
            if mode == "update" and store.notes:
                return f"says what is not so: {store.notes}"
        if mode == "archive":
            for path in sorted(Path(root, ".git/batch-implement/archive").iterdir()):
                serialization.parse(path.read_bytes())
            kept = Path(root, ".git/batch-implement/archive", f"batch-{said}.json")
            if not kept.exists():
                return f"{kept.name} was put away, acknowledged, and is not there"
            if state is not None:
                store.archive("after the cut")
    except BatchError as error:
        return f"cannot be used: {error.message}"
    return ""


def cut_often(disk: Disk, lib: str, mode: str, most: int, seed: int) -> tuple[list[str], int]:
    """Cut up to so many times, or until there is trouble; the troubles, and how often it was cut."""
    root = f"{disk.place}/project"
    os.makedirs(f"{root}/.git")
    if mode == "update":
        writes.store_of("", root).create(writes.new_batch())
    when, number = random.Random(seed), 1
    os.sync()
    for cuts in range(1, most + 1):
        said, latest = one_cut(disk, lib, mode, number, when)
        trouble = trouble_after(disk, mode, said, latest)
        if trouble:
            return [trouble], cuts
        state = writes.store_of("", root).read()
        number = latest + 2 if state is None else state["context_token_estimate"] + 1
    return [], most


@pytest.mark.prove
@pytest.mark.parametrize("mode", ["update", "archive"])
def test_a_cut_under_load_leaves_the_old_version_or_the_new_and_nothing_acknowledged_is_lost(disk, mode):
    seed = random.randrange(10**6)
    troubles, cuts = cut_often(disk, LIB, mode, CUTS, seed)
    print(f"{cuts} cuts of {disk.kind}, {mode}, seed {seed}: {troubles or 'nothing lost'}")
    assert not troubles


# ext4 and xfs write all changes of folders to one log, in order, so that a cut there never shows the other syncs of
# folders missing (`mutations.SYNCS`); the replayer, which trusts in no such order, does.
SHOWN = {
    "no sync of the new version": "update",
    "no sync of the folder after the rename": "update",
    "no sync of the sidecar": "update",
    "no sync of what goes into the archive": "archive",
}


@pytest.mark.prove
@pytest.mark.parametrize("name", SHOWN)
def test_cuts_notice(disk, folder, name):
    seed = random.randrange(10**6)
    troubles, cuts = cut_often(disk, mutated(SYNCS[name], folder), SHOWN[name], CUTS_FOR_A_MUTATION, seed)
    print(f"{name}, {disk.kind}, seed {seed}: {troubles or 'not noticed'} at cut {cuts}")
    assert troubles
