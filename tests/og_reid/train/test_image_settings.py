"""ImageTask: masks, triplets, stripes of several heights and necks beyond PGFA."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from og_reid.config.load import from_dict
from og_reid.config.schema import TrainConfig
from og_reid.data import ImageSet, Sample
from og_reid.inference.extract import embed_images
from og_reid.inference.pretrained import load_model
from og_reid.losses import part_triplet
from og_reid.models import MGN_STRIPES, Embedding, StripeNet
from og_reid.train import ImageTask, fit
from og_reid.train.image_task import stripe_counts
from pose import Keypoints
from pose.runtime.torchvision_import import import_torchvision

IMAGES = 10


def config(**changes: dict[str, object]) -> TrainConfig:
    settings = {
        "data": {"sampling": "shuffle", "batch_size": 6},
        "model": {"arch": "pgfa", "parts": 2, "global_branch": "average"},
        "image": {"height": 64, "width": 16},
        "optim": {"optimizer": "sgd", "lr": 0.01, "warmup": 0, "swa_fraction": 0, "grad_clip": 0},
        "budget": {"steps": 2},
        "device": "cpu",
    }
    for group, values in changes.items():
        settings[group] = {**settings.get(group, {}), **values}
    return from_dict(settings)


STRIPES = {"arch": "stripes", "stripes": [[1, 2]]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import_torchvision("the test", "pip install torchvision")
    place = tmp_path_factory.mktemp("photographs")
    for i in range(IMAGES):
        pixels = np.random.default_rng(i).integers(0, 256, (40, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{i}.png")
    return place


@pytest.fixture
def people(folder: Path) -> Callable[..., ImageSet]:
    """Two photographs each of five people; of the even ones the lower half is hidden."""

    def make(settings: TrainConfig, unlabelled: int = 0) -> ImageSet:
        pids = [-1 if i < unlabelled else 5 + i // 2 for i in range(IMAGES)]
        samples = [Sample(folder / f"{i}.png", pids[i], i % 2) for i in range(IMAGES)]
        upper = torch.stack([torch.full((18,), 10.0), torch.linspace(2, 18, 18)], 1)
        seen = Keypoints(upper[None], torch.ones(1, 18), names=tuple(map(str, range(18))))

        def keypoints(sample: Sample) -> Keypoints | None:
            return seen if int(sample.path.stem) % 2 == 0 else None

        photos = settings.image
        size = (photos.height, photos.width)
        return ImageSet(samples, keypoints, parts=stripe_counts(settings.model), size=size)

    return make


def train(settings: TrainConfig, people: ImageSet, known: ImageSet, out: Path) -> None:
    """Two steps that change the network, a file that holds it, and figures of known people."""
    task = ImageTask(settings, people, validation=(known, known))
    before = {name: each.clone() for name, each in task.model.named_parameters()}
    result = fit(settings, task, out_dir=out)
    assert len(result.history) == 2
    assert all(np.isfinite(record.loss) for record in result.history)
    changed = {n for n, each in result.model.named_parameters() if not torch.equal(each, before[n])}
    assert {n.split(".")[0] for n in changed} == {n.split(".")[0] for n in before}
    assert result.validation is not None
    stored = load_model(out / "model.safetensors").model
    assert stored.architecture() == task.model.architecture()
    one, two = (Embedding.cat(embed_images(each, people)) for each in (stored, result.model))
    assert one.parts is not None
    assert two.parts is not None
    assert torch.equal(one.parts, two.parts)
    assert one.parts.shape[1] == len(people.batch(torch.tensor([0])).visibility[0])


def test_occluded_stripes_are_masked_out(people: Callable[..., ImageSet], tmp_path: Path) -> None:
    settings = config(loss={"part_masked": True, "part_weight": 0.6})
    task = ImageTask(settings, people(settings))
    task.model.eval()
    batch = task.batch(0)
    assert 0 < float(batch.visibility.mean()) < 1
    features = task.features(batch)
    each = torch.stack(
        [
            functional.cross_entropy(logits, batch.pids, reduction="none")
            for logits in features["by_part"].unbind(1)
        ],
        1,
    )
    whole = functional.cross_entropy(features["whole"], batch.pids)
    parts = 2 * (each * batch.visibility).sum() / batch.visibility.sum()
    torch.testing.assert_close(task.objective(features).loss, 0.6 * parts + 0.4 * whole)
    # Where all is seen it is the loss without masks.
    features["visibility"] = torch.ones_like(batch.visibility)
    plain = ImageTask(config(loss={"part_weight": 0.6}), people(settings), model=task.model)
    torch.testing.assert_close(task.objective(features).loss, plain.objective(features).loss)
    train(settings, people(settings), people(settings), tmp_path)


def test_the_triplet_loss_is_over_common_stripes(
    people: Callable[..., ImageSet], tmp_path: Path
) -> None:
    sampling = {"sampling": "pk", "num_ids": 3, "num_instances": 2}
    settings = config(loss={"part_triplet": 0.5, "triplet_margin": 0.3}, data=sampling)
    task = ImageTask(settings, people(settings))
    task.model.eval()
    features = task.features(task.batch(0))
    plain = ImageTask(config(data=sampling), people(settings), model=task.model)
    extra = task.objective(features).loss - plain.objective(features).loss
    codes, seen = features["codes"], features["visibility"]
    expected = 0.5 * part_triplet(codes, features["labels"], seen, 0.3)
    assert expected > 0
    torch.testing.assert_close(extra, expected)
    train(settings, people(settings), people(settings), tmp_path)


@pytest.mark.parametrize("masked", [False, True])
def test_targets_of_images_are_smoothed(people: Callable[..., ImageSet], masked: bool) -> None:
    settings = config(loss={"part_smoothing": 0.2, "part_masked": masked})
    task = ImageTask(settings, people(settings))
    task.model.eval()
    features = task.features(task.batch(0))
    labels, seen = features["labels"], features["visibility"]
    if not masked:
        seen = torch.ones_like(seen)
    classes = features["whole"].shape[1]
    target = 0.8 * functional.one_hot(labels, classes) + 0.2 / classes
    each = -(target[:, None] * features["by_part"].log_softmax(2)).sum(2)
    parts = each.shape[1] * (each * seen).sum() / seen.sum()
    whole = -(target * features["whole"].log_softmax(1)).sum(1).mean()
    share = settings.loss.part_weight
    torch.testing.assert_close(task.objective(features).loss, share * parts + (1 - share) * whole)


@pytest.mark.parametrize(
    "model",
    [
        STRIPES,
        {**STRIPES, "bnneck": True, "pool": "average"},
        {"arch": "stripes", "stripes": [list(each) for each in MGN_STRIPES], "pool": "max"},
    ],
    ids=["hpm", "neck", "mgn"],
)
def test_stripes_of_several_heights_train(
    people: Callable[..., ImageSet], tmp_path: Path, model: dict[str, object]
) -> None:
    settings = config(model=model, loss={"part_triplet": 1.0, "part_masked": True})
    train(settings, people(settings), people(settings), tmp_path)


def test_visibility_of_stripes_of_several_heights(people: Callable[..., ImageSet]) -> None:
    settings = config(model={"arch": "stripes", "stripes": [[1, 2], [1]]})
    visibility = people(settings).batch(torch.tensor([0, 1])).visibility
    assert visibility.tolist() == [[1, 1, 0, 1], [1, 1, 1, 1]]


def test_branches_share_all_but_the_last_stage() -> None:
    import_torchvision("the test", "pip install torchvision")
    network = StripeNet(3, ((1,), (2,)), neck=True, generator=torch.Generator().manual_seed(0))
    images = torch.rand(2, 3, 64, 16)
    one = network(images)
    assert one.shape == (2, 3, 256)
    with torch.no_grad():
        for weight in network.tails.parameters():
            weight.zero_()
    other = network(images)
    assert torch.equal(one[:, 0], other[:, 0])
    assert not torch.equal(one[:, 1:], other[:, 1:])
    torch.testing.assert_close(
        network.inference_features(one).mean(0), torch.zeros(3, 256), atol=1e-3, rtol=0
    )
    assert network.classify(network.inference_features(one)).shape == (2, 3, 3)
    with pytest.raises(ValueError, match="descriptor must be"):
        network.embed(images, None, None, descriptor="other")


def test_unlabelled_images_get_the_uniform_target(
    people: Callable[..., ImageSet], tmp_path: Path
) -> None:
    settings = config(loss={"lsro": True})
    task = ImageTask(settings, people(settings, unlabelled=4))
    assert task.model.num_classes == 3
    task.model.eval()
    batch = next(b for b in map(task.batch, range(9)) if 0 < (b.pids < 0).sum() < 6)
    features = task.features(batch)
    total = 0
    for share, logits in [
        (0.8, features["whole"]),
        *((0.2, f) for f in features["by_part"].unbind(1)),
    ]:
        each = -logits.log_softmax(1)
        rows = [
            row.mean() if pid < 0 else row[pid] for row, pid in zip(each, batch.pids, strict=True)
        ]
        total = total + share * torch.stack(rows).mean()
    torch.testing.assert_close(task.objective(features).loss, total)
    train(settings, people(settings, unlabelled=4), people(settings), tmp_path)


def test_unlabelled_images_without_lsro_are_refused(people: Callable[..., ImageSet]) -> None:
    plain, settings = config(), config(loss={"lsro": True})
    with pytest.raises(ValueError, match=r"4 unlabelled items.*set loss.lsro=true"):
        ImageTask(plain, people(plain, unlabelled=4))
    pk = config(loss={"lsro": True}, data={"sampling": "pk"})
    with pytest.raises(ValueError, match=r"data\.sampling=shuffle; got True and pk"):
        ImageTask(pk, people(pk, unlabelled=4))
    with pytest.raises(ValueError, match="give generated images"):
        ImageTask(settings, people(settings))


@pytest.mark.parametrize("smoothing", [-0.1, 1.0, float("nan")])
def test_smoothing_out_of_its_range_is_refused(smoothing: float) -> None:
    with pytest.raises(ValueError, match=r"loss\.part_smoothing must be in \[0, 1\)"):
        config(loss={"part_smoothing": smoothing})
