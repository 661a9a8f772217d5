"""Killed, interrupted and out-of-disk runs resume to the bit."""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from og_reid.config.load import from_dict
from og_reid.config.schema import TrainConfig
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.train import Interrupted, StepLog, fit, read_log, train
from og_reid.train.checkpoint import load_checkpoint
from og_reid.train.cloud_task import CloudTask

# Processes that start with torch loaded, as ten interpreters would take minutes.
fork = multiprocessing.get_context("fork")


class Pointwise(nn.Module):
    """A mean over points, with dropout in its classifier and a norm."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.map, self.norm = nn.Linear(6, 16), nn.BatchNorm1d(16)
        self.classifier = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 8))
        for weight in self.parameters():
            weight.data.uniform_(-0.3, 0.3, generator=generator)

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        return self.norm(self.map(torch.cat([points, colors], dim=-1)).relu().mean(dim=1))

    def classify(self, features: Tensor) -> Tensor:
        return self.classifier(features)


def clouds(people: int = 8, images: int = 3, points: int = 12) -> CloudSet:
    generator = torch.Generator().manual_seed(0)
    total = people * images
    return CloudSet(
        points=torch.randn(total * points, 3, generator=generator).half(),
        colors=torch.randint(256, (total * points, 3), generator=generator, dtype=torch.uint8),
        part=torch.zeros(total * points, dtype=torch.int8),
        visible=torch.rand(total * points, generator=generator) < 0.8,
        ptr=torch.arange(total + 1) * points,
        pids=torch.arange(people).repeat_interleave(images) + 1,
        camids=torch.arange(images).repeat(people),
        names=tuple(f"{index}.jpg" for index in range(total)),
    )


def config(steps: int, **changes: object) -> TrainConfig:
    settings = {
        "data": {"num_points": 8, "num_ids": 4, "num_instances": 2, "recolor": 0},
        "model": {"num_points": 4},
        "loss": {"identity": 1.0},
        "optim": {"lr": 0.01, "swa_fraction": 0.3, "bn_update_batches": 3, "grad_accum_steps": 2},
        "budget": {"steps": steps},
        "device": "cpu",
        "validate_every": 7,
        "checkpoint_every": 3,
        "keep_checkpoints": 2,
    }
    return from_dict({**settings, **changes})


def run(folder: Path, settings: TrainConfig, resume: bool = True) -> dict[str, Tensor]:
    test = (clouds(4), clouds(4))
    test = (test[0], replace(test[1], camids=test[1].camids + 5))
    result = train(
        settings, clouds(), out_dir=folder, validation=test, resume=resume, model=Pointwise()
    )
    return result.model.state_dict()


def and_save(folder: Path, settings: TrainConfig) -> None:
    torch.save(run(folder, settings), folder / "final.pt")


def figures(folder: Path) -> list[tuple[object, ...]]:
    return [(r.step, r.loss, r.accuracy, r.lr, r.mAP) for r in read_log(folder / "log.csv")]


def test_ten_kills_change_no_bit(tmp_path: Path) -> None:
    settings = config(100)
    begin = time.monotonic()
    whole = run(tmp_path / "whole", settings)
    seconds = time.monotonic() - begin
    rng, kills, chain = random.Random(1), 0, 0
    while kills < 10:
        chain += 1
        folder = tmp_path / f"killed{chain}"
        while not (folder / "final.pt").exists():
            child = fork.Process(target=and_save, args=(folder, settings))
            child.start()
            # Until ten kills are done a child is killed for sure, if it is not too fast.
            child.join(rng.uniform(0.02, 0.2) * seconds if kills < 10 else None)
            if child.is_alive():
                os.kill(child.pid, signal.SIGKILL)
                child.join()
                kills += 1
                assert child.exitcode == -signal.SIGKILL
            else:
                assert child.exitcode == 0
        final = torch.load(folder / "final.pt", weights_only=True)
        assert whole.keys() == final.keys()
        for name, value in whole.items():
            assert torch.equal(value, final[name]), name
        assert figures(folder) == figures(tmp_path / "whole")
        assert not list(folder.glob(".*")), "what kills left half-written is cleared away"


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C interrupts, also where a shell that starts jobs in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_ends_the_step_and_saves(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", config(12))
    task = CloudTask(config(12, validate_every=0), clouds(), model=Pointwise())

    def interrupt(record: StepLog) -> None:
        if record.step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(Interrupted, match=r"after step 5, which is saved in .*--resume continues"):
        fit(config(12, validate_every=0), task, out_dir=tmp_path / "two", progress=interrupt)
    assert load_checkpoint(tmp_path / "two" / "checkpoint.pt")["step"] == 5
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    again = run(tmp_path / "two", config(12))
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    def interrupt(record: StepLog) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    task = CloudTask(config(12), clouds(), model=Pointwise())
    with pytest.raises(KeyboardInterrupt) as caught:
        fit(config(12), task, out_dir=tmp_path, progress=interrupt)
    assert not isinstance(caught.value, Interrupted)
    assert not (tmp_path / "checkpoint.pt").exists()


def fill_the_disk(folder: Path, queue: multiprocessing.SimpleQueue) -> None:
    def limit(record: StepLog) -> None:
        if record.step == 4:  # no file of this process may grow beyond what the log needs
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))

    try:
        task = CloudTask(config(12), clouds(), model=Pointwise())
        fit(config(12), task, out_dir=folder, progress=limit)
    except OSError as error:
        queue.put(str(error))


def test_a_full_disk_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", config(12))
    queue = fork.SimpleQueue()
    child = fork.Process(target=fill_the_disk, args=(tmp_path / "full", queue))
    child.start()
    child.join()
    assert child.exitcode == 0
    message = queue.get()
    assert "checkpoint.pt could not be written; the previous one is kept" in message
    assert load_checkpoint(tmp_path / "full" / "checkpoint.pt")["step"] == 3
    left = {each.name for each in (tmp_path / "full").iterdir()}
    assert left == {"checkpoint.pt", "log.csv"}
    again = run(tmp_path / "full", config(12))
    for name, value in whole.items():
        assert torch.equal(value, again[name]), name
