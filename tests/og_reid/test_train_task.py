"""The loop on a task of numbers: what it asks for, in which order, and what it does with it."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from og_reid.checkpoint import read_state, save_state
from og_reid.config import TrainConfig, from_dict, to_dict
from og_reid.data.samplers import ShuffleSampler, step_generator
from og_reid.evaluation import Metrics, evaluate
from og_reid.train import Outcome, fit, read_log
from og_reid.train.task import ALL_ROWS


@dataclass(frozen=True, eq=False)
class Pair:
    x: Tensor
    y: Tensor

    def to(self, device: torch.device | str) -> Pair:
        return Pair(self.x.to(device), self.y.to(device))


class Regression:
    """y = w . x with dropout, and a bias that learns at a tenth of the rate."""

    figures: Iterator[float] = iter(())

    def __init__(self, dropout: float = 0.0) -> None:
        self.model = nn.Sequential(nn.Dropout(dropout), nn.Linear(3, 1))
        generator = torch.Generator().manual_seed(2)
        for weight in self.model.parameters():
            weight.data.normal_(generator=generator)
        self.x = torch.randn(12, 3, generator=generator)
        self.y = self.x @ torch.tensor([1.0, -2.0, 0.5]) + 0.3
        self.sampler = ShuffleSampler(12, batch_size=4, seed=1)
        self.written: list[Mapping[str, Any]] = []

    def parameter_groups(self) -> list[dict[str, Any]]:
        linear = self.model[1]
        return [{"params": [linear.weight], "lr": 1.0}, {"params": [linear.bias], "lr": 0.1}]

    def batch(self, step: int, rows: slice = ALL_ROWS) -> Pair:
        indices = self.sampler.indices(step)
        noise = 0.01 * torch.randn(len(indices), 3, generator=step_generator(3, step))
        return Pair((self.x[indices] + noise)[rows], self.y[indices][rows])

    def features(self, batch: Pair) -> dict[str, Tensor]:
        return {"guess": self.model(batch.x)[:, 0], "y": batch.y}

    def objective(self, features: dict[str, Tensor]) -> Outcome:
        wrong = features["guess"] - features["y"]
        return Outcome(wrong.square().mean(), float((wrong.abs() < 0.1).float().mean()))

    def names(self, step: int) -> list[str]:
        return [str(index) for index in self.sampler.indices(step).tolist()]

    def validate(self) -> Metrics | None:
        mAP = next(self.figures, None)
        return None if mAP is None else metrics(mAP)

    def write_model(self, path: Path, origin: Mapping[str, Any]) -> bool:
        self.written.append({"file": path.name, **origin})
        return False


def metrics(mAP: float) -> Metrics:
    """Figures with this mAP, 1 / n: one query whose match comes n-th."""
    pids = torch.full((5,), 9)
    pids[round(1 / mAP) - 1] = 1
    return evaluate(distance=torch.arange(5.0)[None], query_pids=[1], gallery_pids=pids)


def config(**changes: object) -> TrainConfig:
    settings = {
        "optim": {"kind": "sgd", "lr": 0.1, "warmup": 0, "average": 0, "weight_decay": 0},
        "budget": {"epochs": 40},
        "device": "cpu",
    }
    return from_dict({**settings, **changes})


def test_the_loop_solves_a_regression(tmp_path: Path) -> None:
    task = Regression()
    result = fit(config(), task, out_dir=tmp_path)
    assert len(result.history) == 40 * 3
    assert result.validation is None
    assert result.model is task.model
    torch.testing.assert_close(
        task.model[1].weight[0], torch.tensor([1.0, -2, 0.5]), atol=0.02, rtol=0
    )
    assert result.history[-1].accuracy == 1.0


def test_groups_learn_at_their_own_rate(tmp_path: Path) -> None:
    task = Regression()
    weight, bias = (each.detach().clone() for each in task.model.parameters())
    fit(
        config(
            budget={"steps": 1},
            optim={
                "kind": "sgd",
                "lr": 0.1,
                "weight_decay": 0,
                "momentum": 0.5,
                "warmup": 0,
                "average": 0,
                "clip": 0,
                "final_lr": 1,
            },
        ),
        task,
        out_dir=tmp_path,
    )
    twin = Regression()
    twin.objective(twin.features(twin.batch(0))).loss.backward()
    for (before, after), slope, rate in zip(
        ((weight, task.model[1].weight), (bias, task.model[1].bias)),
        (each.grad for each in twin.model.parameters()),
        (0.1, 0.01),
        strict=True,
    ):
        torch.testing.assert_close(before - after, 1.5 * rate * slope)


def test_a_model_knows_where_it_comes_from(tmp_path: Path) -> None:
    task = Regression()
    fit(config(budget={"steps": 2}, seed=7), task, out_dir=tmp_path)
    (origin,) = task.written
    assert origin["file"] == "model.safetensors"
    assert origin["seed"] == 7
    assert origin["step"] == 2
    assert origin["config"]["optim"]["kind"] == "sgd"
    assert origin["versions"]["torch"] == torch.__version__
    assert set(origin["versions"]) == {"og_reid", "torch", "numpy", "python"}


def test_dropout_depends_on_the_step_alone(tmp_path: Path) -> None:
    losses = []
    for name in "ab":
        torch.rand(3)
        history = fit(config(budget={"steps": 3}), Regression(0.5), out_dir=tmp_path / name).history
        losses.append([record.loss for record in history])
    assert losses[0] == losses[1]
    plain = fit(config(budget={"steps": 3}), Regression(), out_dir=tmp_path / "c").history
    assert plain[0].loss != pytest.approx(losses[0][0])


def test_the_best_network_is_kept(tmp_path: Path) -> None:
    task = Regression()
    task.figures = iter([1 / 3, 1 / 4, 1 / 2, 1 / 2, 1])
    result = fit(config(budget={"steps": 9}, validate_every=2), task, out_dir=tmp_path)
    told = [(each["file"], each["step"], each.get("validation")) for each in task.written]
    assert told == [
        ("best.safetensors", 2, {"mAP": pytest.approx(1 / 3), "rank1": 0}),
        ("best.safetensors", 6, {"mAP": 1 / 2, "rank1": 0}),
        # Written before it is looked at, in case that fails; the finished network may be the best.
        ("model.safetensors", 9, None),
        ("model.safetensors", 9, {"mAP": 1, "rank1": 1}),
        ("best.safetensors", 9, {"mAP": 1, "rank1": 1}),
    ]
    looked = {record.step: record.mAP for record in result.history if record.mAP is not None}
    assert looked == pytest.approx({2: 1 / 3, 4: 1 / 4, 6: 1 / 2, 8: 1 / 2})
    assert result.validation is not None
    assert result.validation.mAP == 1


def test_what_was_best_is_known_after_an_interruption(tmp_path: Path) -> None:
    task = Regression()
    task.figures = iter([1 / 2])
    fit(config(budget={"steps": 2}, validate_every=2), task, out_dir=tmp_path)
    again = Regression()
    again.figures = iter([1 / 3])
    fit(config(budget={"steps": 4}, validate_every=2), again, out_dir=tmp_path, resume=True)
    assert [each["file"] for each in again.written] == ["model.safetensors"]


@pytest.mark.parametrize("left", ["checkpoint.pt", "model.safetensors"])
def test_a_run_is_not_written_over(tmp_path: Path, left: str) -> None:
    fit(config(budget={"steps": 2}), Regression(), out_dir=tmp_path)
    (tmp_path / "checkpoint.pt").rename(tmp_path / left)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}
    with pytest.raises(ValueError, match=r"holds a run already.*--resume.*another folder"):
        fit(config(budget={"steps": 3}), Regression(), out_dir=tmp_path)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


def test_only_its_own_half_written_files_are_cleared_away(tmp_path: Path) -> None:
    own = [
        ".checkpoint.pt.7.partial",
        ".checkpoint.pt.7.older.partial",
        ".best.safetensors.7.partial",
    ]
    for name in (*own, ".notes.txt.7.partial"):
        (tmp_path / name).touch()
    fit(config(budget={"steps": 1}), Regression(), out_dir=tmp_path)
    assert [each.name for each in tmp_path.glob(".*")] == [".notes.txt.7.partial"]


def test_so_many_checkpoints_are_kept(tmp_path: Path) -> None:
    settings = config(budget={"steps": 11}, checkpoint_every=2, keep=3)
    fit(settings, Regression(), out_dir=tmp_path)
    states = {each.name: read_state(each)["step"] for each in tmp_path.glob("*.pt")}
    assert states == {"checkpoint.pt": 11, "checkpoint-1.pt": 10, "checkpoint-2.pt": 8}
    (tmp_path / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(ValueError, match=r"put the one before, checkpoint-1\.pt, in its place"):
        fit(settings, Regression(), out_dir=tmp_path, resume=True)


def test_a_checkpoint_does_not_grow(tmp_path: Path) -> None:
    sizes = []
    for steps in (5, 500):
        fit(config(budget={"steps": steps}), Regression(), out_dir=tmp_path / str(steps))
        sizes.append((tmp_path / str(steps) / "checkpoint.pt").stat().st_size)
    assert abs(sizes[1] - sizes[0]) < 256


def test_accumulated_gradients_are_those_of_the_large_batch(tmp_path: Path) -> None:
    """The loss is a mean over items, and nothing else joins them."""
    optim = {"kind": "sgd", "lr": 0.1, "warmup": 0, "average": 0}
    small, large = Regression(), Regression()
    fit(
        config(budget={"steps": 4}, optim={**optim, "accumulate": 3}), small,
        out_dir=tmp_path / "small",
    )  # fmt: skip

    def joined(step: int, rows: slice = ALL_ROWS) -> Pair:
        parts = [Regression.batch(large, 3 * step + each) for each in range(3)]
        return Pair(torch.cat([p.x for p in parts])[rows], torch.cat([p.y for p in parts])[rows])

    large.batch = joined  # type: ignore[method-assign]
    fit(config(budget={"steps": 4}, optim=optim), large, out_dir=tmp_path / "large")
    for one, two in zip(small.model.parameters(), large.model.parameters(), strict=True):
        torch.testing.assert_close(one, two)
    logs = [read_log(tmp_path / name / "log.csv") for name in ("small", "large")]
    for one, two in zip(*logs, strict=True):
        assert one.loss == pytest.approx(two.loss, rel=1e-5)


def test_an_epoch_has_fewer_accumulated_steps(tmp_path: Path) -> None:
    optim = {"kind": "sgd", "lr": 0.1, "average": 0, "accumulate": 2}
    history = fit(config(budget={"epochs": 5}, optim=optim), Regression(), out_dir=tmp_path).history
    assert len(history) == 5 * (3 // 2)


def test_a_moving_average_by_hand(tmp_path: Path) -> None:
    seen: list[Tensor] = []
    task = Regression()
    optim = {"kind": "sgd", "lr": 0.1, "average": 0, "ema": 0.15}
    fit(
        config(budget={"steps": 6}, optim=optim), task, out_dir=tmp_path,
        progress=lambda record: seen.append(task.model[1].weight.detach().clone()),
    )  # fmt: skip
    mean = Regression().model[1].weight.detach()
    for count, weight in enumerate(seen):
        decay = min(0.15, (1 + count) / (10 + count))
        mean = decay * mean + (1 - decay) * weight
    torch.testing.assert_close(task.model[1].weight.detach(), mean)


def test_a_moving_average_is_what_is_validated(tmp_path: Path) -> None:
    task, seen = Regression(), []

    def validate() -> None:
        seen.append(task.model[1].weight.detach().clone())

    task.validate = validate  # type: ignore[method-assign]
    optim = {"kind": "sgd", "lr": 0.1, "average": 0, "ema": 0.9}
    own: list[Tensor] = []
    fit(
        config(budget={"steps": 5}, optim=optim, validate_every=5), task, out_dir=tmp_path,
        progress=lambda record: own.append(task.model[1].weight.detach().clone()),
    )  # fmt: skip
    torch.testing.assert_close(seen[0], seen[1])  # in the last step, and of the final network
    assert not torch.allclose(own[-1], seen[0]), "training goes on from its own weights"


def test_batches_made_ahead_are_the_same(tmp_path: Path) -> None:
    losses = []
    for depth in (0, 1, 5):
        settings = config(budget={"steps": 7}, prefetch=depth)
        history = fit(settings, Regression(), out_dir=tmp_path / str(depth)).history
        losses.append([record.loss for record in history])
    assert losses[0] == losses[1] == losses[2]


def test_what_goes_wrong_ahead_is_told_in_its_step(tmp_path: Path) -> None:
    task = Regression()

    def broken(step: int, rows: slice = ALL_ROWS) -> Pair:
        if step == 4:
            raise ValueError("photograph 17 cannot be read")
        return Regression.batch(task, step, rows)

    task.batch = broken  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="photograph 17"):
        fit(config(), task, out_dir=tmp_path)
    assert len(read_log(tmp_path / "log.csv")) == 4


def test_the_items_of_a_bad_batch_are_named(tmp_path: Path) -> None:
    task = Regression()
    task.y[task.sampler.indices(5)[2]] = torch.nan
    first = next(step for step in range(9) if task.batch(step).y.isnan().any())
    with pytest.raises(RuntimeError, match=rf"became nan at step {first + 1}:.*failed_batch"):
        fit(config(checkpoint_every=1), task, out_dir=tmp_path)
    named = (tmp_path / "failed_batch.txt").read_text().split()
    assert named == task.names(first)
    state = read_state(tmp_path / "checkpoint.pt") if first else None
    assert state is None or all(each.isfinite().all() for each in state["model"].values())


def test_a_gradient_that_is_not_finite_changes_no_weight(tmp_path: Path) -> None:
    task = Regression()
    before = [each.detach().clone() for each in task.model.parameters()]

    def objective(features: dict[str, Tensor]) -> Outcome:  # the slope of the root at 0
        return Outcome((features["guess"].sum() * 0).abs().sqrt(), 0.0)

    task.objective = objective  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match=r"the norm of the gradient became (nan|inf)"):
        fit(config(), task, out_dir=tmp_path)
    for old, new in zip(before, task.model.parameters(), strict=True):
        assert torch.equal(old, new)


def test_bfloat16_on_a_cpu(tmp_path: Path) -> None:
    task, kinds = Regression(), set()

    def objective(features: dict[str, Tensor]) -> Outcome:
        kinds.add(features["guess"].dtype)
        return Regression.objective(task, features)

    task.objective = objective  # type: ignore[method-assign]
    optim = {"kind": "sgd", "lr": 0.1, "warmup": 0, "average": 0, "weight_decay": 0}
    low = fit(config(optim=optim | {"precision": "bf16"}), task, out_dir=tmp_path / "low").history
    full = fit(config(optim=optim), Regression(), out_dir=tmp_path / "full").history
    assert kinds == {torch.float32}
    assert all(each.dtype == torch.float32 for each in task.model.parameters())
    assert low[0].loss != full[0].loss
    assert low[0].loss == pytest.approx(full[0].loss, rel=0.02)
    assert low[-1].loss < 0.01


def test_half_precision_on_a_cpu_is_refused(tmp_path: Path) -> None:
    optim = {"precision": "fp16"}
    with pytest.raises(ValueError, match=r"optim\.precision=fp16 needs device=cuda; got cpu"):
        fit(config(optim=optim), Regression(), out_dir=tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_low_precision_on_a_gpu(tmp_path: Path, precision: str) -> None:
    optim = {"kind": "sgd", "lr": 0.1, "warmup": 0, "average": 0, "weight_decay": 0}
    settings = config(optim=optim | {"precision": precision}, device="cuda")
    history = fit(settings, Regression(), out_dir=tmp_path).history
    assert history[-1].loss < 0.01
    again = config(optim=optim | {"precision": precision}, device="cuda", budget={"epochs": 41})
    fit(again, Regression(), out_dir=tmp_path, resume=True)
    scale = read_state(tmp_path / "checkpoint.pt")["scaler"]
    assert bool(scale) == (precision == "fp16")


def test_tensorboard_is_asked_for_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="tensorboard=true needs the package tensorboard"):
        fit(config(tensorboard=True), Regression(), out_dir=tmp_path)


def test_tensorboard_gets_the_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, float, int]] = []
    made: list[tuple[str, int]] = []

    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            made.append((folder, purge_step))

        def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
            told.append((tag, scalar_value, global_step))

        def close(self) -> None:
            told.append(("closed", 0, 0))

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    for steps in (2, 3):
        settings = config(tensorboard=True, budget={"steps": steps})
        history = fit(settings, Regression(), out_dir=tmp_path, resume=True).history
    assert made == [(str(tmp_path / "tensorboard"), 1), (str(tmp_path / "tensorboard"), 3)]
    losses = [each for each in told if each[0] == "loss"]
    assert losses == [("loss", record.loss, record.step) for record in history]
    assert [each for each in told if each[0] == "closed"] == [("closed", 0, 0)] * 2


def test_an_old_checkpoint_is_refused_in_words(tmp_path: Path) -> None:
    save_state(tmp_path / "checkpoint.pt", {"step": 3, "config": {}})
    with pytest.raises(ValueError, match="no training state of this package, or of another"):
        fit(config(), Regression(), out_dir=tmp_path, resume=True)


def test_how_a_run_is_made_may_change_on_its_way(tmp_path: Path) -> None:
    fit(config(budget={"steps": 3}), Regression(), out_dir=tmp_path)
    other = config(budget={"steps": 5}, prefetch=0, keep=2, checkpoint_every=1, validate_every=1)
    assert len(fit(other, Regression(), out_dir=tmp_path, resume=True).history) == 5
    changed = config(optim={**to_dict(config())["optim"], "accumulate": 2})
    with pytest.raises(ValueError, match=r"optim\.accumulate: 1 -> 2"):
        fit(changed, Regression(), out_dir=tmp_path, resume=True)
