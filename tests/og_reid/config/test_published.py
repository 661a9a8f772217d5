"""The configurations of the published rows, and a run of their recipe in small."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from og_reid.config.load import config_folder, from_dict, load_config, to_dict
from og_reid.config.schema import TrainConfig
from og_reid.data.augmentation.transforms import Augmentation
from og_reid.data.clouds.batch import CloudBatch
from og_reid.data.keyed_random import KeyedRandom
from og_reid.inference.pretrained import load_model
from og_reid.losses import reference_circle_loss
from og_reid.models import OGNet
from og_reid.train import StepLog, build_sampler, train

# Written from the commands in the README of the authors' code: learning rate, epochs, weight decay,
# whether weights are averaged, sampling (a number = class sampler), batch size, gamma of the circle
# loss (0 = without), rank-1 and mAP.
ROWS = """
market_small          1e-3 1000 5e-4 yes balance 36  0 86.79 67.92
market_small_circle   1e-3 1500 5e-4 yes balance 36 64 87.38 70.48
market_base           1e-3 1500 5e-4 yes       3 36  0 86.82 69.02
market_base_circle    1e-3 1500 5e-4 yes balance 36 64 87.80 70.56
market_deep           6e-4 1000 5e-4 no  balance 30  0 -     -
market_deep_circle    6e-4 1000 5e-4 no  balance 30 64 88.81 72.91
duke_small            1e-3 1000 5e-4 yes       1 36  0 77.33 57.74
duke_small_circle     1e-3 1000 5e-4 yes balance 36 32 77.15 58.51
duke_base             1e-3 1000 5e-4 yes       1 36  0 76.53 57.92
duke_base_circle      1e-3 1000 5e-4 yes balance 36 64 78.37 60.07
duke_deep             6e-4 1000 5e-4 no  balance 36  0 76.97 59.23
duke_deep_circle      6e-4 1000 5e-4 no  balance 36 64 78.50 60.70
cuhk03_small          1e-3 1000 1e-3 no        1 36  0 43.07 38.06
cuhk03_small_circle   8e-4 1000 1e-3 no  balance 36 64 46.43 41.79
cuhk03_base           8e-4 1000 1e-3 no        1 36  0 44.00 39.28
cuhk03_base_circle    1e-3 1000 1e-3 no        3 36 96 48.29 43.73
cuhk03_deep           6e-4 1500 5e-4 no        3 36  0 45.71 41.15
cuhk03_deep_circle    6e-4 1500 5e-4 no  balance 36 64 49.43 45.71
msmt17_small          6e-4  600 5e-4 yes       1 36  0 42.44 20.31
msmt17_small_circle   6e-4  600 5e-4 yes balance 36 64 43.84 21.79
msmt17_base           6e-4  600 5e-4 yes balance 36  0 44.27 21.57
msmt17_base_circle    6e-4  600 5e-4 yes balance 36 64 45.28 22.81
msmt17_deep           4e-4  600 5e-4 no  balance 30  0 44.56 21.41
msmt17_deep_circle    4e-4  600 5e-4 no  balance 30 64 47.32 24.07
"""
TABLE = {row.split()[0]: row.split()[1:] for row in ROWS.strip().splitlines()}


def test_every_published_result_has_its_file() -> None:
    files = {path.stem for path in (config_folder() / "og_net").glob("*.yaml")}
    assert files == set(TABLE)
    assert len(files) == 24


@pytest.mark.parametrize("name", TABLE)
def test_settings_of_a_published_result(name: str) -> None:
    lr, epochs, decay, averaged, sampling, size, gamma, *_ = TABLE[name]
    config = load_config(f"og_net/{name}")
    optim, loss, data, model = config.optim, config.loss, config.data, config.model
    assert (optim.optimizer, optim.lr, optim.weight_decay) == ("amsgrad", float(lr), float(decay))
    assert (optim.warmup, optim.final_lr_ratio, optim.grad_clip) == (0, 0.01, 0)
    assert optim.swa_fraction == (0.1 if averaged == "yes" else 0)
    assert averaged == "no" or optim.bn_update_batches is None
    assert config.budget.epochs == int(epochs)
    assert data.sampling == ("class" if sampling.isdigit() else sampling)
    assert data.images_per_class == (int(sampling) if sampling.isdigit() else 1)
    assert (data.batch_size, data.num_points, data.point_order) == (int(size), 4096, "reference")
    assert (data.recolor, data.channel_permute) == (0, 0)
    assert (loss.identity, loss.label_smoothing, loss.warmup_epochs) == (1, 0, 10)
    assert (loss.contrastive, loss.triplet) == (0, 0)
    assert loss.circle == (1 if int(gamma) else 0)
    if int(gamma):
        assert (loss.circle_form, loss.circle_gamma) == ("reference", float(gamma))
    kind = name.split("_")[1]
    assert model.arch == {"small": "ognet-small", "base": "ognet", "deep": "ognet-deep"}[kind]
    assert (model.k, model.mode, model.num_points) == (
        9 if kind == "deep" else 20,
        "reference",
        768,
    )
    assert (model.ball_samples, model.embedding_dim) == ((8, 16, 32), 512)
    assert (config.tta, config.ap_method) == ("scale-1.1", "trapezoid")
    off = to_dict(TrainConfig(augment=Augmentation.none()))["augment"]
    changes = {k: v for k, v in to_dict(config)["augment"].items() if off[k] != v}
    # These two say how strong an occluder is, and there is none.
    del changes["occlude_max"], changes["occluder_color_leak"]
    assert changes == {
        "mirror": 0.5, "scale_range": (0.75, 1.33), "jitter": 0.01, "jitter_limit": 0.01
    }  # fmt: skip


@pytest.mark.parametrize("name", TABLE)
def test_a_file_states_its_published_metrics(name: str) -> None:
    *_, rank1, mean_ap = TABLE[name]
    text = (config_folder() / "og_net" / f"{name}.yaml").read_text()
    comment = " ".join(line[2:] for line in text.splitlines() if line.startswith("# "))
    assert re.search("not verified here", comment, re.IGNORECASE)
    assert ("Circle on" in comment) == name.endswith("circle")
    if rank1 == "-":
        assert "no result in the README" in comment
    else:
        assert f"{rank1} ({mean_ap}) %" in comment


@pytest.mark.parametrize(("name", "wide"), [("small", 384), ("base", 512), ("deep", 384)])
def test_the_networks_are_the_published_ones(name: str, wide: int) -> None:
    model = load_config(f"og_net/duke_{name}").model
    built = OGNet.preset(model.arch)
    assert (built.k, built.num_points) == (model.k, model.num_points)
    assert (built.dropout, built.dims[-1]) == (0.7, wide)


class Clouds:
    """People in two colours each, in a frame of their own: `og_reid.data.CloudDataset`."""

    def __init__(self, people: int, images: int, seed: int, point_order: str = "reference") -> None:
        rng = torch.Generator().manual_seed(seed)
        self.point_order = point_order
        self.pids = torch.arange(people).repeat_interleave(images)
        self.camids = torch.arange(images).repeat(people)
        total = people * images
        height = torch.linspace(-0.8, 0.8, 60)
        self.points = torch.randn(total, 60, 3, generator=rng) * 0.15 + 0.3
        self.points[..., 1] += height
        clothes = torch.rand(people, 2, 3, generator=rng).repeat_interleave(images, 0)
        noise = 0.05 * torch.randn(total, 60, 3, generator=rng)
        self.colors = (clothes[:, (height > 0).long()] + noise).clamp(0, 1)

    def __len__(self) -> int:
        return len(self.pids)

    def batch(
        self,
        indices: Tensor | Sequence[int],
        num_points: int,
        draws: KeyedRandom | None = None,
    ) -> CloudBatch:
        rows = torch.as_tensor(indices)
        keep = torch.arange(0, 60, 60 // num_points)[:num_points]
        if draws is not None:
            keep = torch.randperm(60, generator=draws.generator(0))[:num_points].sort().values
        points, colors = self.points[rows][:, keep], self.colors[rows][:, keep]
        shown = torch.ones(points.shape[:2], dtype=torch.bool)
        return CloudBatch(points, colors, torch.full(shown.shape, -1), shown, centered=True)


def recipe(sampling: str = "balance", **changes: object) -> TrainConfig:
    """A published row with a network, batches and a run of a size for tests."""
    settings = to_dict(load_config("og_net/market_base_circle"))
    settings["data"] |= {
        "num_points": 30, "batch_size": 9, "sampling": sampling, "images_per_class": 2
    }  # fmt: skip
    settings["model"] |= {"num_points": 16, "k": 2, "ball_samples": (2, 2, 4), "embedding_dim": 32}
    settings["loss"]["warmup_epochs"] = 1
    settings["optim"]["swa_fraction"] = 0.5
    settings |= {"budget": {"epochs": 4}, "device": "cpu", "checkpoint_every": 5} | changes
    return from_dict(settings)


class Pointwise(nn.Module):
    """A network that trains in no time, with the dropout of OG-Net."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        rng = torch.Generator().manual_seed(4)
        self.dropout = 0.5
        # No bias before the norm: its slope is nothing but rounding, which Adam blows up.
        self.points = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32, bias=False))
        self.norm = nn.BatchNorm1d(32)
        self.proj_output = nn.Linear(32, classes)
        self.inputs: list[tuple[Tensor, Tensor]] = []
        for weight in self.parameters():
            weight.data.uniform_(-0.3, 0.3, generator=rng)

    def forward(self, points: Tensor, colors: Tensor) -> Tensor:
        self.inputs.append((points, colors))
        return self.norm(self.points(torch.cat([points, colors], dim=-1)).mean(dim=1))


@pytest.mark.parametrize("sampling", ["balance", "class", "shuffle", "pk"])
def test_a_resumed_run_of_the_recipe_is_the_same_run(tmp_path: Path, sampling: str) -> None:
    """Interrupted at step 12, after the checkpoint at step 10 and one averaged epoch."""
    config = recipe(sampling, budget={"epochs": 4})
    if sampling == "pk":
        config = from_dict(
            to_dict(config) | {"data": to_dict(config)["data"] | {"num_ids": 3, "num_instances": 3}}
        )
    clouds = Clouds(9, 4, seed=0)
    whole = train(config, clouds, out_dir=tmp_path / "whole", model=Pointwise(9))
    total = len(whole.history)
    assert total == 4 * {"balance": 4, "class": 4, "shuffle": 4, "pk": 3}[sampling]

    def interrupt(record: StepLog) -> None:
        if record.step == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(config, clouds, out_dir=tmp_path / "two", progress=interrupt, model=Pointwise(9))
    again = train(config, clouds, out_dir=tmp_path / "two", resume=True, model=Pointwise(9))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[name]), name
    assert [record.loss for record in whole.history] == [record.loss for record in again.history]


def test_the_run_is_the_recipe_written_out(tmp_path: Path) -> None:
    """Against a plain loop over the same batches with torch's own optimiser and averaging."""
    config, clouds = recipe(), Clouds(9, 4, seed=0)
    model, twin = Pointwise(9), Pointwise(9)
    model.dropout = 0.0
    history = train(config, clouds, out_dir=tmp_path, model=model).history
    seen = list(model.inputs)
    assert len(seen) == 4 * 4 + 4, "one more epoch of batches measures the norms"
    assert len({float(points.sum()) for points, _ in seen}) == 20, "no batch comes twice"

    sampler = build_sampler(config.data, clouds.pids, clouds.camids, config.seed)
    optimizer = torch.optim.Adam(twin.parameters(), lr=1e-3, weight_decay=5e-4, amsgrad=True)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4, eta_min=1e-5)
    average = torch.optim.swa_utils.AveragedModel(twin)
    for step, (points, colors) in enumerate(seen[:16]):
        labels = clouds.pids[sampler.indices(step)]
        features = twin(points, colors)
        loss = functional.cross_entropy(twin.proj_output(features), labels)
        loss = loss + reference_circle_loss(features, labels, gamma=64.0)
        assert history[step].loss == pytest.approx(float(loss.detach()), rel=1e-5)
        assert history[step].lr == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.zero_grad()
        (loss * min(1.0, 0.1 + 0.9 * (step + 1) / 4)).backward()
        optimizer.step()
        if step % 4 == 3:
            scheduler.step()
            if step // 4 >= 0.5 * 4:
                average.update_parameters(twin)
    final = average.module.train()
    final.norm.reset_running_stats()
    final.norm.momentum = None
    with torch.no_grad():
        for points, colors in seen[16:]:
            final(points, colors)
    for name, value in final.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, msg=name)


def test_clouds_keep_their_frame(tmp_path: Path) -> None:
    """Their middle is .3 from the origin and must stay there."""
    config = recipe(augment=to_dict(TrainConfig(augment=Augmentation.none()))["augment"])
    model = Pointwise(9)
    train(config, Clouds(9, 4, seed=0), out_dir=tmp_path, model=model)
    assert all(points[..., 0].mean() > 0.25 for points, _ in model.inputs)


def test_og_net_trains_by_the_recipe(tmp_path: Path) -> None:
    config = recipe(budget={"epochs": 3})
    query, gallery = Clouds(6, 2, seed=1), Clouds(6, 2, seed=1)
    gallery.camids = gallery.camids + 2
    result = train(config, Clouds(9, 4, seed=0), out_dir=tmp_path, validation=(query, gallery))
    assert isinstance(result.model, OGNet)
    assert (result.model.mode, result.model.proj_output.out_features) == ("reference", 9)
    assert result.validation is not None
    assert (result.validation.test_view, result.validation.ap) == ("scale-1.1", "trapezoid")
    stored = load_model(tmp_path / "model.safetensors")
    assert stored.preprocessing.point_order == "reference"
    assert stored.preprocessing.num_points == 30
    assert stored.model.mode == "reference"


def test_clouds_of_another_layout_are_refused(tmp_path: Path) -> None:
    even = Clouds(9, 4, seed=0, point_order="fps")
    with pytest.raises(ValueError, match=r"data\.point_order is 'reference'; got clouds of 'fps'"):
        train(recipe(), even, out_dir=tmp_path, model=Pointwise(9))
    with pytest.raises(ValueError, match=r"data\.point_order is 'reference'; got clouds of 'fps'"):
        train(recipe(), Clouds(9, 4, 0), out_dir=tmp_path, validation=(even, even))


def test_too_small_data_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a batch needs 9 images, an epoch has 8"):
        train(recipe("shuffle"), Clouds(4, 2, seed=0), out_dir=tmp_path, model=Pointwise(4))
