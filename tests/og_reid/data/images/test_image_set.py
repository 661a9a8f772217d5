"""Images of people in batches, and their features."""

from pathlib import Path

import numpy as np
import pytest
import torch

from og_reid.data import ImageSet, Sample
from og_reid.data.images.preprocess import preprocess_image
from og_reid.inference.extract import embed_images
from og_reid.models import PGFA
from og_reid.models.embedding import Embedding
from og_reid.retrieval.similarity import similarity_blocks, visible_part_similarity
from pose import (
    Keypoints,
    heatmaps,
    part_visibility,
    read_sep_json,
    to_openpose18,
    write_sep_json,
)
from pose.runtime.torchvision_import import import_torchvision

SIZE = (48, 32)


def person(seed: int) -> Keypoints:
    generator = torch.Generator().manual_seed(seed)
    xy = torch.rand(1, 17, 2, generator=generator) * torch.tensor([40.0, 60.0])
    return to_openpose18(Keypoints(xy, torch.rand(1, 17, generator=generator)))


@pytest.fixture
def folder(tmp_path) -> Path:
    """Five images of 90 x 40 pixels; keypoints of all but the last."""
    from PIL import Image

    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (90, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        if i < 4:
            write_sep_json(tmp_path / f"{i}.json", person(i))
    return tmp_path


def people_of(folder: Path, **changes) -> ImageSet:
    samples = [Sample(folder / f"{i}.png", i // 2, i % 2 + 1) for i in range(5)]

    def found(sample: Sample) -> Keypoints:
        return read_sep_json(folder / f"{sample.path.stem}.json", missing_ok=True)

    return ImageSet(samples, found, **{"size": SIZE, **changes})


@pytest.mark.parametrize("mode", ["corrected", "reference"])
def test_a_batch_is_made_of_its_pieces(folder, mode):
    people = people_of(folder, mode=mode, parts=2)
    batch = people.batch(torch.tensor([3, 0, 4]))
    assert batch.images.shape == (3, 3, *SIZE)
    assert batch.heatmaps.shape == (3, 18, 3, 2)
    assert batch.heatmaps.dtype == batch.visibility.dtype == torch.float32
    assert batch.visibility.shape == (3, 2)
    assert batch.pids.tolist() == [1, 0, 2]
    assert batch.camids.tolist() == [2, 1, 1]
    pixels = np.random.default_rng(3).integers(0, 256, (90, 40, 3), dtype=np.uint8)
    assert torch.equal(batch.images[0], preprocess_image(pixels, SIZE))
    known = read_sep_json(folder / "3.json")
    maps = heatmaps(known, (90, 40), mode=mode, cells=(3, 2)).float()
    assert torch.equal(batch.heatmaps[0], maps)
    assert 0 < float(maps.mean()) < 1
    visible = part_visibility(known, (90, 40), mode=mode, parts=2)
    assert torch.equal(batch.visibility[0], visible)
    assert batch.heatmaps[2].eq(1).all()  # no person was found
    assert batch.visibility[2].eq(1).all()


def test_mirrored_at_random_and_repeatably(folder):
    people = people_of(folder)
    rows = torch.arange(5)
    plain = people.batch(rows)
    drawn = [people.batch(rows, torch.Generator().manual_seed(2)) for _ in range(2)]
    assert torch.equal(drawn[0].images, drawn[1].images)
    turned = [not torch.equal(a, b) for a, b in zip(plain.images, drawn[0].images, strict=True)]
    assert 0 < sum(turned) < 5
    for i, flag in enumerate(turned):
        expected = plain.images[i].flip(-1) if flag else plain.images[i]
        assert torch.equal(drawn[0].images[i], expected)
        maps = plain.heatmaps[i].flip(-1) if flag else plain.heatmaps[i]
        assert torch.equal(drawn[0].heatmaps[i], maps)


def test_features_do_not_depend_on_the_batch(folder, rng):
    try:
        import_torchvision("the test", "make test")
    except ImportError as error:
        pytest.skip(str(error))
    network = PGFA(3, 3, generator=rng).train()
    people = people_of(folder)
    pieces = list(embed_images(network, people, batch_size=2, descriptor="head"))
    assert [len(piece) for piece in pieces] == [2, 2, 1]
    assert network.training
    joined = Embedding.cat(pieces)
    (whole,) = embed_images(network, people, descriptor="head")
    torch.testing.assert_close(joined.parts, whole.parts, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(joined.features, whole.features, rtol=1e-3, atol=1e-3)
    blocks = [block for _, block in similarity_blocks(joined, pieces)]
    torch.testing.assert_close(torch.cat(blocks, 1), visible_part_similarity(joined, joined))
    with pytest.raises(ValueError, match=r"visibility must be \(5, 3\)"):
        next(embed_images(network, people_of(folder, parts=2)))


def test_bad_sets_are_named(folder):
    with pytest.raises(ValueError, match="at least one image"):
        ImageSet([], lambda sample: None)
    with pytest.raises(ValueError, match="multiples of 16"):
        people_of(folder, size=(50, 32))
    with pytest.raises(ValueError, match="parts must be at least 0"):
        people_of(folder, parts=-1)
    with pytest.raises(ValueError, match="rows must name at least one"):
        people_of(folder).batch(torch.arange(0))
    mixed = people_of(folder)
    mixed.keypoints = lambda s: person(0) if s.pid else person(0).select(["nose", "neck"])
    with pytest.raises(ValueError, match=r"one layout for all images; got \[2, 18\] joints"):
        mixed.batch(torch.arange(5))
    (folder / "1.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1\.png"):
        people_of(folder).batch(torch.arange(3))
