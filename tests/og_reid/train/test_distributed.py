"""Data-parallel training: gradients and runs of two ranks equal those of one process."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from og_reid.cli import main
from og_reid.config.load import from_dict
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.models.norm import sync_batchnorm_layers
from og_reid.ops.edge_conv import EdgeNorm
from og_reid.ops.edge_moments import share_moments, sync_batchnorm
from og_reid.ops.gated_pool import EdgeTerms
from og_reid.ops.soft_gated_pool import soft_gated_max
from og_reid.ops.soft_pool import soft_moments
from og_reid.train import StepLog, fit, init_distributed, read_log
from og_reid.train.cloud_task import CloudTask, LabelledClouds
from og_reid.train.distributed import (
    DistInfo,
    MainRankFilter,
    all_gather_rows,
    get_dist_info,
)
from og_reid.train.optimizer import build_optimizer
from og_reid.train.step import Stepper
from og_reid.train.task import ALL_ROWS, single_param_group

fork = multiprocessing.get_context("fork")


def together(
    world: int, work: Callable[..., None], *arguments: object, wait: float = 60.0
) -> list[int]:
    """Runs work(*arguments) in joined processes; their exit codes, None for one that hung."""
    # As of torchrun: they meet at a store that is there already, at a port of their own.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

    def enter(rank: int) -> None:
        os.environ.update(
            RANK=str(rank),
            WORLD_SIZE=str(world),
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=str(store.port),
            TORCHELASTIC_USE_AGENT_STORE="True",
        )
        with init_distributed("cpu", seconds=wait) as processes:
            assert processes == DistInfo(rank, world)
            work(*arguments)

    children = [fork.Process(target=enter, args=(rank,), daemon=True) for rank in range(world)]
    end = time.monotonic() + 120
    try:
        for child in children:
            child.start()
        for child in children:
            child.join(max(0.0, end - time.monotonic()))
        return [child.exitcode for child in children]
    finally:
        for child in children:
            if child.is_alive():
                child.kill()
                child.join()


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
    "data": {"num_points": 48, "num_ids": 4, "num_instances": 2, "recolor": 0.5},
    "model": {"num_points": 24, "k": 4, "ball_samples": [4, 4, 8], "embedding_dim": 32},
    "loss": {"contrastive": 1.0, "circle": 0.1, "triplet": 0.5},
    "optim": {"lr": 0.01, "swa_fraction": 0.5, "bn_update_batches": 2},
    "budget": {"steps": 4},
    "device": "cpu",
}


class InDouble(CloudTask):
    """The task in double precision, which keeps rounding apart from errors."""

    def batch(self, step: int, rows: slice = ALL_ROWS) -> LabelledClouds:
        batch = super().batch(step, rows)
        return replace(batch, points=batch.points.double(), colors=batch.colors.double())


def gradients(preset: str, mode: str, path: Path) -> None:
    # Losses with weights and memories of their own, too: all processes must change them alike.
    loss = {**SETTINGS["loss"], "quadruplet": 0.1, "oim": 1, "verification": 1, "center": 0.1}
    model = {**SETTINGS["model"], "arch": preset, "mode": mode}
    config = from_dict({**SETTINGS, "model": model, "loss": loss})
    task = InDouble(config, clouds())
    task.model.double()
    processes = get_dist_info()
    optimizer = build_optimizer(single_param_group(task.model), config.optim)
    stepper = Stepper(
        task, optimizer, config.optim, seed=3, device=torch.device("cpu"), processes=processes
    )
    found = stepper.gradients(0, [task.batch(0, processes.rows)], 1.0)
    slopes = {name: each.grad for name, each in task.model.named_parameters()}
    state = dict(task.model.named_buffers())
    if processes.is_main:
        torch.save({"found": found, "slopes": slopes, "state": state}, path)


@pytest.mark.parametrize(
    ("preset", "mode"),
    [
        *(("ognet-small", mode) for mode in ("robust", "soft")),
        *((preset, "robust") for preset in ("dgcnn", "pointnet2-ssg")),
    ],
)
def test_two_processes_find_the_gradient_of_one(tmp_path: Path, preset: str, mode: str) -> None:
    gradients(preset, mode, tmp_path / "one.pt")
    assert together(2, gradients, preset, mode, tmp_path / "two.pt") == [0, 0]
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
    optim = {**SETTINGS["optim"], "optimizer": "sgd", "lr": 0.001, "grad_accum_steps": 2}
    config = from_dict({**SETTINGS, "optim": optim, "checkpoint_every": 2})
    task = CloudTask(config, clouds())
    result = fit(config, task, out_dir=folder)
    weights = [each.detach() for each in result.model.state_dict().values()]
    if get_dist_info().world_size > 1:  # all have the same network in the end
        for each in weights:
            theirs = [torch.empty_like(each) for _ in range(2)]
            dist.all_gather(theirs, each)
            assert torch.equal(*theirs)
    if get_dist_info().is_main:
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
    joined = all_gather_rows({"x": mine, "seen": everything[rank::world, 0] > 3}, world)
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
    sync_batchnorm_layers(two)
    assert isinstance(two.norm, nn.BatchNorm2d)
    x = torch.randn(8, 3, 6, 5, generator=generator, dtype=torch.float64)
    expected = one(x)
    with sync_batchnorm(world):
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


def faded(count: int) -> tuple[EdgeTerms, Tensor, Tensor, Tensor, EdgeNorm]:
    """What `soft_gated_max` takes, of some clouds, in single precision."""
    generator = torch.Generator().manual_seed(4)
    wide, narrow = (torch.randn(count, 2, 9, n, generator=generator) for n in (16, 4))
    terms = EdgeTerms(
        wide[:, 0], wide[:, 1], narrow[:, 0], narrow[:, 1],
        torch.randn(16, 4, generator=generator), torch.randn(16, generator=generator),
    )  # fmt: skip
    index = torch.randint(9, (count, 9, 5), generator=generator)
    fade = torch.rand(count, 9, 5, generator=generator)
    weight = torch.randn(8, 16, generator=generator)
    return terms, index, fade, weight, EdgeNorm(torch.ones(8), torch.zeros(8))


def shared_gate() -> None:
    """The clouds of one process weigh more than those of the other."""
    rank, world = dist.get_rank(), dist.get_world_size()
    terms, index, fade, weight, norm = faded(4)
    share = fade * torch.tensor([1.0, 0.1, 0.7, 0.0])[:, None, None]
    weight.requires_grad_()
    expected, *moments = soft_gated_max(terms, index, fade, share, weight, norm)
    edges = soft_moments(terms.near, terms.center, index, share)
    slope = torch.autograd.grad(expected.square().sum() + edges[1].sum(), weight)[0]
    own = [term[rank::world] if term.ndim == 3 and len(term) == 4 else term for term in terms]
    index, fade, share = (each[rank::world] for each in (index, fade, share))
    with sync_batchnorm(world):
        found, *theirs = soft_gated_max(EdgeTerms(*own), index, fade, share, weight, norm)
        ours = soft_moments(own[0], own[1], index, share)
        grad = torch.autograd.grad(found.square().sum(), weight)[0]
    dist.all_reduce(grad)
    torch.testing.assert_close(found, expected[rank::world], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(theirs, moments, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ours, edges, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grad, slope, rtol=1e-3, atol=1e-4 * float(slope.abs().max()))


def test_moments_by_weight_are_shared_in_single_precision() -> None:
    assert together(2, shared_gate) == [0, 0]


def lone_checkpoint(folder: Path, owner: int) -> None:
    """The processes see folders of their own, one of them with a checkpoint."""
    rank = dist.get_rank()
    source = folder / "checkpoint.pt"
    own = folder / f"{owner}-{rank}"
    own.mkdir()
    if rank == owner:
        shutil.copy(source, own / source.name)
    task = CloudTask(from_dict({**SETTINGS, "budget": {"steps": 3}}), clouds())
    try:
        fit(task.config, task, out_dir=own, resume=True)
    except ValueError as error:
        raise SystemExit(7 if "is not a file" in str(error) else 9) from error
    except RuntimeError as error:
        raise SystemExit(8) from error


def test_the_first_process_decides_whether_a_run_goes_on(tmp_path: Path) -> None:
    task = CloudTask(from_dict({**SETTINGS, "budget": {"steps": 2}}), clouds())
    fit(task.config, task, out_dir=tmp_path)
    assert together(2, lone_checkpoint, tmp_path, 0, wait=20.0) == [8, 7]
    assert together(2, lone_checkpoint, tmp_path, 1) == [0, 0]
    assert len(read_log(tmp_path / "1-0" / "log.csv")) == 3


def command(folder: Path) -> None:
    settings = [
        "data.sampling=balance", "data.batch_size=8", "data.num_points=32", "model.num_points=32",
        "model.k=2", "model.ball_samples=[2, 2, 2]", "device=cpu", "budget.steps=1",
        "optim.swa_fraction=0",
    ]  # fmt: skip
    data = str(folder / "clouds.safetensors")
    assert (
        main(["train", "synthetic/og_net_small", *settings, "--data", data, "--out", str(folder)])
        == 0
    )


def test_lines_of_a_command_are_printed_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    clouds().save(tmp_path / "clouds.safetensors")
    assert together(2, command, tmp_path) == [0, 0]
    lines = capfd.readouterr().out.splitlines()
    assert len(lines) == len(set(lines))
    assert sum("epoch" in line for line in lines) == 1


def dying(folder: Path) -> None:
    config = from_dict({**SETTINGS, "budget": {"steps": 50}, "checkpoint_every": 2})
    task = CloudTask(config, clouds())

    def die(record: StepLog) -> None:
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
    assert message.startswith("another process of this run ended or does not respond")
    assert "--resume" in message
    assert len(read_log(tmp_path / "log.csv")) >= 2


def hanging(folder: Path) -> None:
    config = from_dict({**SETTINGS, "budget": {"steps": 50}, "checkpoint_every": 2})
    task, rank = CloudTask(config, clouds()), dist.get_rank()

    def hang(record: StepLog) -> None:
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
        assert message.startswith("another process of this run ended or does not respond")
        assert "--resume" in message
    assert [record.step for record in read_log(tmp_path / "log.csv")] == [1, 2, 3]


def uneven(folder: Path) -> None:
    settings = {**SETTINGS, "data": {**SETTINGS["data"], "num_ids": 3, "num_instances": 3}}
    config = from_dict(settings)
    with pytest.raises(ValueError, match=r"a batch of 9 must give each of 2 processes"):
        fit(config, CloudTask(config, clouds()), out_dir=folder)


def test_a_batch_that_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    assert together(2, uneven, tmp_path) == [0, 0]


def test_one_process_joins_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with init_distributed("cpu") as processes:
        assert processes == DistInfo() == get_dist_info()
        assert processes.rows == slice(0, None, 1)


def log_to(folder: Path) -> None:
    logger, rank = logging.getLogger("og_reid"), get_dist_info().rank
    handler = logging.FileHandler(folder / f"{rank}.txt")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.info("news of rank %d", rank)
    logger.error("failure of rank %d", rank)
    handler.close()


def test_rank_0_logs_and_other_ranks_log_errors_alone(tmp_path: Path) -> None:
    assert together(2, log_to, tmp_path) == [0, 0]
    assert (tmp_path / "0.txt").read_text() == "news of rank 0\nfailure of rank 0\n"
    assert (tmp_path / "1.txt").read_text() == "failure of rank 1\n"


def test_the_rank_filter_lasts_as_long_as_the_process_group() -> None:
    logger = logging.getLogger("og_reid")
    before = list(logger.filters)
    with init_distributed("cpu"):
        assert [type(each) for each in logger.filters] == [*map(type, before), MainRankFilter]
        with init_distributed("cpu"):
            assert len(logger.filters) == len(before) + 1
        assert len(logger.filters) == len(before) + 1
    assert logger.filters == before
