"""Two processes that share a batch find what one process finds with all of it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from og_reid.config import from_dict
from og_reid.data.clouds import CloudSet
from og_reid.models.norm import share_norms
from og_reid.ops.moments import share_moments, sharing_moments
from og_reid.schedule import build_optimizer
from og_reid.train import Record, fit, join_processes, read_log
from og_reid.train.clouds import CloudTask, LabelledClouds
from og_reid.train.processes import Processes, join_rows, present_processes
from og_reid.train.step import Stepper
from og_reid.train.task import ALL_ROWS, whole_group

fork = multiprocessing.get_context("fork")


def together(
    world: int, work: Callable[..., None], *arguments: object, wait: float = 60.0
) -> list[int]:
    """Runs work(*arguments) in joined processes; their exit codes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def enter(rank: int) -> None:
        os.environ.update(
            RANK=str(rank), WORLD_SIZE=str(world), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
        )
        with join_processes("cpu", seconds=wait) as processes:
            assert processes == Processes(rank, world)
            work(*arguments)

    children = [fork.Process(target=enter, args=(rank,)) for rank in range(world)]
    for child in children:
        child.start()
    for child in children:
        child.join(120)
    return [child.exitcode for child in children]


def clouds(people: int = 8, images: int = 3, points: int = 64) -> CloudSet:
    generator = torch.Generator().manual_seed(0)
    total = people * images
    return CloudSet(
        points=torch.randn(total * points, 3, generator=generator).half() * 0.3,
        colors=torch.randint(256, (total * points, 3), generator=generator, dtype=torch.uint8),
        part=torch.zeros(total * points, dtype=torch.int8),
        visible=torch.rand(total * points, generator=generator) < 0.8,
        ptr=torch.arange(total + 1) * points,
        pids=torch.arange(people).repeat_interleave(images) + 1,
        camids=torch.arange(images).repeat(people),
        names=tuple(f"{index}.jpg" for index in range(total)),
    )


SETTINGS = {
    "data": {"num_points": 48, "identities": 4, "views": 2, "recolor": 0.5},
    "model": {"num_points": 24, "k": 4, "ball_counts": [4, 4, 8], "embedding_dim": 32},
    "loss": {"contrastive": 1.0, "circle": 0.1, "triplet": 0.5},
    "optim": {"lr": 0.01, "average": 0.5, "norm_batches": 2},
    "budget": {"steps": 4},
    "device": "cpu",
}


class InDouble(CloudTask):
    """The task in double precision, which tells wrong from rounded."""

    def batch(self, step: int, rows: slice = ALL_ROWS) -> LabelledClouds:
        batch = super().batch(step, rows)
        return replace(batch, points=batch.points.double(), colors=batch.colors.double())


def gradients(preset: str, path: Path) -> None:
    # Losses with weights and memories of their own, too: all processes must change them alike.
    loss = {**SETTINGS["loss"], "quadruplet": 0.1, "oim": 1, "verification": 1, "center": 0.1}
    model = {**SETTINGS["model"], "preset": preset}
    config = from_dict({**SETTINGS, "model": model, "loss": loss})
    task = InDouble(config, clouds())
    task.model.double()
    processes = present_processes()
    optimizer = build_optimizer(whole_group(task.model), config.optim)
    stepper = Stepper(
        task, optimizer, config.optim, seed=3, device=torch.device("cpu"), processes=processes
    )
    found = stepper.gradients(0, [task.batch(0, processes.rows)], 1.0)
    slopes = {name: each.grad for name, each in task.model.named_parameters()}
    state = dict(task.model.named_buffers())
    if processes.first:
        torch.save({"found": found, "slopes": slopes, "state": state}, path)


@pytest.mark.parametrize("preset", ["ognet-small", "dgcnn", "pointnet2-ssg"])
def test_two_processes_find_the_gradient_of_one(tmp_path: Path, preset: str) -> None:
    gradients(preset, tmp_path / "one.pt")
    assert together(2, gradients, preset, tmp_path / "two.pt") == [0, 0]
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("one.pt", "two.pt"))
    assert two["found"][0] == pytest.approx(one["found"][0], rel=1e-9)
    assert two["found"][1] == one["found"][1]
    # A bias before a norm has no gradient but rounding.
    largest = max(float(each.abs().max()) for each in one["slopes"].values() if each is not None)
    for name, slope in one["slopes"].items():
        torch.testing.assert_close(
            two["slopes"][name], slope, rtol=1e-6, atol=1e-9 * largest, msg=name
        )
    for name, value in one["state"].items():
        torch.testing.assert_close(two["state"][name], value, rtol=1e-6, atol=1e-9, msg=name)


def whole_run(folder: Path) -> None:
    # Plain, short steps: long ones, and the first ones of Adam, blow rounding up.
    optim = {**SETTINGS["optim"], "kind": "sgd", "lr": 0.001, "accumulate": 2}
    config = from_dict({**SETTINGS, "optim": optim, "checkpoint_every": 2})
    task = CloudTask(config, clouds())
    result = fit(config, task, out_dir=folder)
    weights = [each.detach() for each in result.model.state_dict().values()]
    if present_processes().world > 1:  # all have the same network in the end
        for each in weights:
            theirs = [torch.empty_like(each) for _ in range(2)]
            dist.all_gather(theirs, each)
            assert torch.equal(*theirs)
    if present_processes().first:
        torch.save(weights, folder / "final.pt")


def test_a_run_of_two_processes_is_that_of_one(tmp_path: Path) -> None:
    whole_run(tmp_path / "one")
    assert together(2, whole_run, tmp_path / "two") == [0, 0]
    logs = [read_log(tmp_path / name / "log.csv") for name in ("one", "two")]
    assert [len(log) for log in logs] == [4, 4]
    for one, two in zip(*logs, strict=True):
        assert two.loss == pytest.approx(one.loss, rel=1e-4)
        assert two.lr == one.lr
    finals = [
        torch.load(tmp_path / name / "final.pt", weights_only=True) for name in ("one", "two")
    ]
    for one, two in zip(*finals, strict=True):
        torch.testing.assert_close(two, one, rtol=1e-3, atol=1e-4)
    names = {each.name for each in (tmp_path / "two").iterdir()}
    assert names == {"log.csv", "checkpoint.pt", "model.safetensors", "final.pt"}


def joined_rows() -> None:
    rank, world = dist.get_rank(), dist.get_world_size()
    everything = torch.arange(12.0).view(6, 2)
    mine = everything[rank::world].clone().requires_grad_()
    joined = join_rows({"x": mine, "seen": everything[rank::world, 0] > 3}, world)
    assert torch.equal(joined["x"], everything)
    assert torch.equal(joined["seen"], everything[:, 0] > 3)
    weight = torch.arange(12.0).view(6, 2).square()
    (joined["x"] * weight).sum().backward()
    # All processes minimise the same: their sum has world times the gradient.
    assert torch.equal(mine.grad, world * weight[rank::world])


def test_rows_come_back_in_order_with_their_gradients() -> None:
    assert together(3, joined_rows) == [0, 0, 0]


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.head = nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5, momentum=None))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(self.conv(x)).relu().mean((2, 3)))


def shared_norms() -> None:
    rank, world = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(1)
    one, two = Plain().double(), Plain().double()
    for name, value in one.state_dict().items():
        dist.broadcast(value, 0)
        two.state_dict()[name].copy_(value)
    share_norms(two)
    assert isinstance(two.norm, nn.BatchNorm2d)
    x = torch.randn(8, 3, 6, 5, generator=generator, dtype=torch.float64)
    expected = one(x)
    with sharing_moments(world):
        found = two(x[rank::world])
    torch.testing.assert_close(found, expected[rank::world], rtol=1e-9, atol=1e-12)
    for name, value in one.named_buffers():
        torch.testing.assert_close(dict(two.named_buffers())[name], value, rtol=1e-9, atol=1e-12)
    expected.square().sum().backward()
    found.square().sum().backward()
    for mine, theirs in zip(two.parameters(), one.parameters(), strict=True):
        dist.all_reduce(mine.grad)
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(two.eval()(x), one.eval()(x), rtol=1e-9, atol=1e-12)
    moments = (torch.ones(2), torch.ones(2))
    assert share_moments(moments) is moments, "outside of the block nothing is shared"


def test_norms_share_their_moments_on_a_cpu() -> None:
    assert together(2, shared_norms) == [0, 0]


def dying(folder: Path) -> None:
    config = from_dict({**SETTINGS, "budget": {"steps": 50}, "checkpoint_every": 2})
    task = CloudTask(config, clouds())

    def die(record: Record) -> None:
        if record.step == 3 and dist.get_rank() == 1:
            os.kill(os.getpid(), signal.SIGKILL)

    try:
        fit(config, task, out_dir=folder, progress=die)
    except RuntimeError as error:
        (folder / "message.txt").write_text(str(error))
        raise SystemExit(7) from error


def test_a_killed_process_ends_the_others_with_a_message(tmp_path: Path) -> None:
    assert together(2, dying, tmp_path, wait=20.0) == [7, -signal.SIGKILL]
    message = (tmp_path / "message.txt").read_text()
    assert message.startswith("another process of this run ended or does not answer")
    assert "--resume" in message
    assert len(read_log(tmp_path / "log.csv")) >= 2


def hanging(folder: Path) -> None:
    config = from_dict({**SETTINGS, "budget": {"steps": 50}, "checkpoint_every": 2})
    task, rank = CloudTask(config, clouds()), dist.get_rank()

    def hang(record: Record) -> None:
        """The second process does nothing until the first has given up."""
        end = time.monotonic() + 90
        while record.step == 3 and rank == 1 and time.monotonic() < end:
            if (folder / "message0.txt").exists():
                break
            time.sleep(0.1)

    try:
        fit(config, task, out_dir=folder, progress=hang)
    except RuntimeError as error:
        (folder / f"message{rank}.txt").write_text(str(error))
        raise SystemExit(7) from error


def test_a_process_that_hangs_ends_the_others_with_a_message(tmp_path: Path) -> None:
    assert together(2, hanging, tmp_path, wait=10.0) == [7, 7]
    for rank in range(2):
        message = (tmp_path / f"message{rank}.txt").read_text()
        assert message.startswith("another process of this run ended or does not answer")
        assert "--resume" in message
    assert [record.step for record in read_log(tmp_path / "log.csv")] == [1, 2, 3]


def uneven(folder: Path) -> None:
    settings = {**SETTINGS, "data": {**SETTINGS["data"], "identities": 3, "views": 3}}
    config = from_dict(settings)
    with pytest.raises(ValueError, match=r"a batch of 9 must give each of 2 processes"):
        fit(config, CloudTask(config, clouds()), out_dir=folder)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    assert together(2, uneven, tmp_path) == [0, 0]


def test_one_process_joins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with join_processes("cpu") as processes:
        assert processes == Processes() == present_processes()
        assert processes.rows == slice(0, None, 1)
