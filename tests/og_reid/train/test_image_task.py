"""ImageTask: reproducible batches, loss, model files."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from og_reid.config.load import from_dict, load_config
from og_reid.data import ImageBatch, ImageSet, Sample
from og_reid.data.images.augment import ImageConfig, augment_images
from og_reid.inference.image_encoder import ImageEncoder
from og_reid.inference.preprocessing import ImagePreprocessing
from og_reid.inference.pretrained import load_cloud_model, load_model, save_network
from og_reid.models import PGFA
from og_reid.train import ImageTask, fit
from pose.runtime.torchvision_import import import_torchvision

pytest.importorskip("PIL")


def config(**changes):
    settings = {
        "data": {"sampling": "shuffle", "batch_size": 4},
        "model": {"arch": "pgfa", "parts": 2},
        "image": {"height": 32, "width": 16, "erase": 0.5},
        "optim": {"optimizer": "sgd", "lr": 0.01, "warmup": 0, "swa_fraction": 0, "grad_clip": 0},
        "budget": {"steps": 2},
        "device": "cpu",
    }
    for group, values in changes.items():
        settings[group] = {**settings.get(group, {}), **values}
    return from_dict(settings)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    from PIL import Image

    import_torchvision("the test", "pip install torchvision")
    place = tmp_path_factory.mktemp("photographs")
    for i in range(10):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{i}.png")
    return place


def people(folder, parts=2, threads=1, first=0):
    samples = [Sample(folder / f"{i}.png", 5 + first + i // 2, i % 2) for i in range(10)]
    return ImageSet(samples, lambda s: None, parts=parts, size=(32, 16), threads=threads)


def same(a: ImageBatch, b: ImageBatch) -> None:
    for name, each in vars(a).items():
        assert torch.equal(each, getattr(b, name)), name


def test_a_batch_repeats_and_a_part_of_it_is_that_part(folder):
    task = ImageTask(config(), people(folder))
    whole = task.batch(3)
    same(whole, task.batch(3))
    same(whole, ImageTask(config(), people(folder, threads=3)).batch(3))
    part = task.batch(3, slice(1, None, 2))
    for name, each in vars(whole).items():
        assert torch.equal(each[1::2], getattr(part, name))
    assert not torch.equal(whole.images, task.batch(4).images)
    state = torch.get_rng_state()
    task.batch(5)
    assert torch.equal(state, torch.get_rng_state())


def test_labels_count_the_identities_of_the_set(folder):
    task = ImageTask(config(), people(folder, first=100))
    assert task.model.num_classes == 5
    for step in range(3):
        rows = task.sampler.indices(step)
        assert torch.equal(task.batch(step).pids, rows // 2)
        assert (
            task.names(step)[0] == f"{rows[0]}: identity {105 + int(rows[0]) // 2}, {rows[0]}.png"
        )


@pytest.mark.parametrize(("parts", "branch"), [(2, "pose"), (2, "none"), (0, "average")])
def test_the_objective_is_the_authors_loss(folder, parts, branch):
    task = ImageTask(config(model={"parts": parts, "global_branch": branch}), people(folder, parts))
    task.model.eval()  # no dropout
    batch = task.batch(0)
    found = task.features(batch)
    assert all(len(each) == len(batch) for each in found.values())
    outcome = task.objective(found)
    by_part, whole = task.model.classify(task.model(batch.images, batch.heatmaps))
    expected = sum(functional.cross_entropy(each, batch.pids) for each in by_part.unbind(1))
    if whole is not None:
        both = 0.2 if parts else 0.0
        expected = both * expected + (1 - both) * functional.cross_entropy(whole, batch.pids)
    torch.testing.assert_close(outcome.loss, expected)
    assert 0 <= outcome.accuracy <= 1


def test_a_resumed_run_ends_where_the_uninterrupted_does(folder, tmp_path):
    def run(out, steps, resume=False):
        # A schedule that does not depend on the budget, which the first half does not know.
        steady = {"schedule": "step", "milestones": [50]}
        settings = config(budget={"steps": steps}, optim=steady)
        validation = (people(folder),) * 2 if resume else None
        task = ImageTask(settings, people(folder), validation=validation)
        return fit(settings, task, out_dir=out, resume=resume)

    once = run(tmp_path / "once", 2)
    run(tmp_path / "twice", 1)
    again = run(tmp_path / "twice", 2, resume=True)
    assert [r.loss for r in once.history] == [r.loss for r in again.history]
    weights = load_model(tmp_path / "once" / "model.safetensors").model.state_dict()
    others = load_model(tmp_path / "twice" / "model.safetensors").model.state_dict()
    for name, each in weights.items():
        assert torch.equal(each, others[name]), name
    assert once.validation is None
    assert again.validation.num_queries == 10


def test_the_backbone_learns_slower(folder):
    task = ImageTask(config(optim={"backbone_lr_mult": 0.25}), people(folder))
    assert [group["lr"] for group in task.parameter_groups()] == [0.25, 1.0]


def test_images_prepared_otherwise_are_refused(folder):
    with pytest.raises(ValueError, match=r"prepared as configured.*\(3, \(32, 16\)"):
        ImageTask(config(model={"parts": 3}), people(folder))
    with pytest.raises(ValueError, match="prepared as configured"):
        ImageTask(config(image={"mode": "reference"}), people(folder))
    junk = people(folder)
    junk.pids[0] = -1
    with pytest.raises(ValueError, match="1 unlabelled items"):
        ImageTask(config(), junk)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": {"height": 40}}, "multiples of 16"),
        ({"image": {"erase": 1.5}}, "image.erase"),
        ({"optim": {"backbone_lr_mult": 0}}, "optim.backbone_lr_mult"),
        ({"loss": {"part_weight": 2}}, "part_weight"),
        ({"model": {"global_branch": "both"}}, "global_branch"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        config(**change)


@pytest.mark.parametrize("name", ["occluded_duke", "market", "duke"])
def test_the_published_recipe_is_in_the_files(name):
    recipe = load_config(f"{name}/pgfa")
    optim = recipe.optim
    assert (optim.optimizer, optim.lr, optim.backbone_lr_mult, optim.milestones) == (
        "sgd",
        0.1,
        0.1,
        (40,),
    )
    assert (recipe.budget.epochs, recipe.data.batch_size, recipe.data.sampling) == (
        60,
        32,
        "shuffle",
    )
    assert (recipe.image.height, recipe.image.width, recipe.loss.part_weight) == (384, 128, 0.2)
    assert recipe.model.init_from == "imagenet"


def batch_of(count=64):
    generator = torch.Generator().manual_seed(0)
    return ImageBatch(
        1 + torch.rand(count, 3, 48, 32, generator=generator),
        torch.rand(count, 2, 3, 2, generator=generator),
        torch.ones(count, 2),
        torch.arange(count),
        torch.zeros(count, dtype=torch.int64),
    )


def test_mirroring_and_erasing_follow_their_draws():
    batch, draws = batch_of(), torch.rand(64, 6, generator=torch.Generator().manual_seed(1))
    before = batch.images.clone()
    changed = augment_images(batch, ImageConfig(48, 32, flip=0.5, erase=0.5), draws)
    assert torch.equal(batch.images, before)
    for i in range(64):
        flipped, erased = draws[i, 0] < 0.5, draws[i, 1] < 0.5
        expected = before[i].flip(-1) if flipped else before[i]
        maps = batch.heatmaps[i].flip(-1) if flipped else batch.heatmaps[i]
        assert torch.equal(changed.heatmaps[i], maps)
        gone = (changed.images[i] == 0).all(0)
        assert bool(gone.any()) == bool(erased)
        assert torch.equal(changed.images[i][:, ~gone], expected[:, ~gone])
        if erased:  # one full rectangle of 2 to 40 % (a rounded side may add a little)
            rows, columns = gone.any(1), gone.any(0)
            assert int(gone.sum()) == int(rows.sum() * columns.sum())
            assert 0.01 < float(gone.float().mean()) < 0.45
    assert torch.equal(changed.visibility, batch.visibility)
    untouched = augment_images(batch, ImageConfig(48, 32, flip=0, erase=0), draws)
    same(untouched, batch)


def test_a_saved_network_gives_the_same_and_damage_is_named(tmp_path):
    import_torchvision("the test", "pip install torchvision")
    network = PGFA(3, 2, global_branch="none", generator=torch.Generator().manual_seed(0)).eval()
    path = tmp_path / "model.safetensors"
    save_network(path, network, ImagePreprocessing(32, 16), {"a": 1}, {"step": 7})
    stored = load_model(path)
    assert isinstance(stored, ImageEncoder)
    images = torch.rand(2, 3, 32, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(stored.model(images).stripes, network(images).stripes)
    assert (stored.preprocessing, stored.training, stored.provenance) == (
        ImagePreprocessing(32, 16), {"a": 1}, {"step": 7},
    )  # fmt: skip
    with pytest.raises(ValueError, match="is a model of images: give a model of clouds"):
        load_cloud_model(path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        load_model(path)
    with torch.no_grad():
        network.model.conv1.weight[0] = torch.nan
    with pytest.raises(ValueError, match="NaN"):
        save_network(tmp_path / "b.safetensors", network, ImagePreprocessing(32, 16))
    assert not (tmp_path / "b.safetensors").exists()
    with pytest.raises(ValueError, match="multiples of 16"):
        ImagePreprocessing(40, 16)
    with pytest.raises(dataclasses.FrozenInstanceError):
        stored.version = ""
