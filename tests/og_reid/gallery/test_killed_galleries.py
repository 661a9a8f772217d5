"""Killed writers: nothing acknowledged is lost, nothing doubled, nothing forgotten comes back."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest

pytest.importorskip("lancedb")

import og_reid
from gallery_writer import ROWS, write
from local_people import views

#: Killed processes; more by the variable.
KILLS = int(os.environ.get("OG_REID_GALLERY_KILLS", "3"))
# LanceDB has threads, and cannot be forked: children come from a process that has not imported it.
server = multiprocessing.get_context("forkserver")


def test_killed_writers(tmp_path: Path) -> None:
    server.set_forkserver_preload(["og_reid.gallery.gallery", "gallery_writer"])
    folder, log = tmp_path / "gallery", tmp_path / "log"
    draw = random.Random(0)
    events: list[list[str]] = []
    for seed in range(KILLS):
        log.write_text("")
        child = server.Process(target=write, args=(str(folder), str(log), seed), daemon=True)
        child.start()
        while "added" not in log.read_text():
            assert child.is_alive()
            time.sleep(0.01)
        time.sleep(draw.random() * 1.5)
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        events += [line.split() for line in log.read_text().splitlines()]
        check(folder, events)
    gallery = og_reid.Gallery.open(folder)
    gallery.compact()
    check(folder, events)
    gone = [name for kind, name in events if kind == "forgot"]
    files = [each.read_bytes() for each in folder.rglob("*") if each.is_file()]
    for name in gone:
        seed, number = name[1:].split("n")
        made = views(list(range(ROWS)), int(seed) * 1000 + int(number)).features
        assert made is not None
        secrets = [each.numpy().tobytes() for each in made]
        assert not any(secret in each for secret in secrets for each in files)


def check(folder: Path, events: list[list[str]]) -> None:
    """What a reader finds, and what is found after the same writes again."""
    done = {kind: {name for each, name in events if each == kind} for kind, _ in events}
    gallery = og_reid.Gallery.open(folder)
    ids = [
        each for block in gallery._folder.store().snapshot().scan(["id"]) for each in block["id"]
    ]
    assert len(set(ids)) == len(ids)
    groups: dict[str, int] = {}
    for each in ids:
        group = each.split("-")[0]
        groups[group] = groups.get(group, 0) + 1
    assert set(groups.values()) <= {ROWS}
    gone, perhaps = done.get("forgot", set()), done.get("forgetting", set())
    added, tried = done.get("added", set()), done.get("adding", set())
    assert not gone & set(groups)
    assert added - perhaps <= set(groups)
    assert set(groups) <= tried
