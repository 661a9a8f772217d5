"""Bad crops: nothing in them, hidden people, several people, poor images; never a sure match."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import og_reid
from encoder_kinds import encoders
from og_reid.inference import DenseEncoder
from og_reid.models import Embedding
from og_reid.retrieval import Calibration
from rendered_people import one_person, two_people

SIZE = (256, 128)
SURE = 0.9


@pytest.fixture(scope="module")
def model() -> DenseEncoder:
    """The default model; where it has no calibration, with one that takes high scores as sure."""
    found: Any = og_reid.load_model()
    if not isinstance(found, DenseEncoder):
        found = encoders()["dense"]
    if found.preprocessing.calibration is None:
        seen = replace(found.preprocessing, calibration=Calibration(-5.0, 12.0))
        found = replace(found, preprocessing=seen)
    return found


@pytest.fixture(scope="module")
def trained() -> DenseEncoder:
    found: Any = og_reid.load_model()
    if getattr(found.preprocessing, "calibration", None) is None:
        pytest.skip("needs weights with a calibration")
    return found


def flat(level: int) -> np.ndarray:
    return np.full((*SIZE, 3), level, np.uint8)


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def crop(name: str) -> np.ndarray:
    """Image of scikit-image, of the shape of a crop."""
    from skimage import data
    from skimage.transform import resize

    image = getattr(data, name)()
    image = image if image.ndim == 3 else np.stack([image] * 3, 2)
    return (resize(image[..., :3], SIZE, anti_aliasing=True) * 255).astype(np.uint8)


def drawn(shirt: tuple[int, int, int], trousers: tuple[int, int, int]) -> np.ndarray:
    """Figure of rectangles."""
    image = flat(230)
    image[20:60, 50:78] = (240, 200, 170)
    image[60:150, 40:88] = shirt
    image[150:240, 44:84] = trousers
    return image


def grey(image: np.ndarray) -> np.ndarray:
    return np.repeat(image.mean(2, keepdims=True), 3, 2).astype(np.uint8)


NOTHING = {
    "grey": flat(128), "black": flat(0), "white": flat(255), "noise": noise(0), "noise 2": noise(1),
}  # fmt: skip
TEXTURES = ("grass", "brick", "gravel")


def poor() -> dict[str, np.ndarray]:
    """Images of a person that show little of it, or badly."""
    person = one_person(0)
    return {
        "grey": grey(person), "night": (person * 0.05).astype(np.uint8),
        "thumbnail": np.ascontiguousarray(person[::16, ::16]),  # 16 x 8 pixels
        "drawing": drawn((200, 30, 30), (30, 30, 200)), "two people": two_people(0),
        "row of equal people": np.concatenate([person, person, person], axis=1),
        "upside down": np.ascontiguousarray(person[::-1]),
    }  # fmt: skip


def test_every_image_has_a_result_that_says_how_much_was_seen(model: DenseEncoder) -> None:
    person = one_person(1)
    for name, image in {**NOTHING, **poor()}.items():
        found = og_reid.same_person(image, person, model)
        assert np.isfinite(found.score), name
        assert 0 <= found.shared <= 1, name
        assert found.decided == (found.probability is not None), name
        assert f"{100 * found.shared:.1f} %" in str(found), name


def test_a_gallery_of_bad_images_is_ranked_without_errors(model: DenseEncoder) -> None:
    images = [*NOTHING.values(), *poor().values()]
    found = og_reid.rank([one_person(1), flat(128)], images, model, k=len(images))
    assert found.indices.sort(dim=1).values.tolist() == [list(range(len(images)))] * 2
    assert found.distances.isfinite().all()
    assert found.shared is not None
    assert ((found.shared >= 0) & (found.shared <= 1)).all()


def hidden(model: DenseEncoder, image: np.ndarray) -> Embedding:
    """The image as if a thing covered the whole person."""
    found = og_reid.describe(image, model)
    assert found.local is not None
    local = replace(
        found.local,
        weights=torch.zeros_like(found.local.weights),
        visibility=torch.zeros_like(found.local.visibility),
    )
    return replace(found, local=local)


def test_a_hidden_person_is_never_a_match_of_itself(model: DenseEncoder) -> None:
    person = one_person(0)
    covered = hidden(model, person)
    for pair in ((covered, person), (person, covered), (covered, covered)):
        found = og_reid.same_person(*pair, model)
        assert not found.decided
        assert found.shared == 0
    costs = model.preprocessing.interaction
    assert float(og_reid.similarity(covered, person, model)) == pytest.approx(costs.lowest)
    gallery = Embedding.cat([covered, og_reid.describe(one_person(1), model)])
    ranked = og_reid.rank(person, gallery, model)
    assert ranked.indices.tolist() == [[1, 0]]
    assert "not enough seen" in str(ranked).splitlines()[2]


def test_two_equal_people_are_the_same_evidence(model: DenseEncoder) -> None:
    person = og_reid.describe(one_person(0), model)
    gallery = Embedding.cat([person, og_reid.describe(one_person(1), model), person])
    found = og_reid.rank(person, gallery, model, k=3, min_shared=0.0)
    assert found.indices[0].tolist() == [0, 2, 1]
    assert float(found.distances[0, 0]) == float(found.distances[0, 1])


def test_different_images_of_nothing_are_no_match(trained: DenseEncoder) -> None:
    images = list(NOTHING.values())
    for number, one in enumerate(images):
        for other in [*images[number + 1 :], crop("grass"), one_person(0)]:
            found = og_reid.same_person(one, other, trained)
            assert (found.probability or 0.0) < SURE, str(found)


def test_two_textures_are_no_sure_match(trained: DenseEncoder) -> None:
    found = og_reid.same_person(crop("grass"), crop("gravel"), trained)
    assert (found.probability or 0.0) < SURE


def test_plain_areas_and_noise_are_not_decided(trained: DenseEncoder) -> None:
    for name, image in NOTHING.items():
        found = og_reid.same_person(image, image, trained)
        assert not found.decided, f"{name}: {found}"


@pytest.mark.parametrize("name", ["chelsea", "coffee", "rocket", *TEXTURES])
def test_a_scene_without_people_is_no_sure_match_of_a_person(
    trained: DenseEncoder, name: str
) -> None:
    scene = og_reid.describe(crop(name), trained)
    for seed in range(3):
        found = og_reid.same_person(scene, one_person(seed), trained)
        assert (found.probability or 0.0) < SURE, str(found)


def test_a_drawing_is_no_sure_match_of_another_one(trained: DenseEncoder) -> None:
    one, other = drawn((200, 30, 30), (30, 30, 200)), drawn((30, 160, 40), (20, 20, 20))
    assert (og_reid.same_person(one, other, trained).probability or 0.0) < SURE


@pytest.mark.parametrize("image", [
    np.zeros((0, 5, 3), np.uint8), np.zeros((1, 128, 3), np.uint8), np.zeros((256, 1, 3), np.uint8),
    np.zeros((64, 32), bool), b"no image",
], ids=["empty", "row", "column", "bool", "bytes"])  # fmt: skip
def test_what_is_no_image_of_a_person_is_refused(model: DenseEncoder, image: Any) -> None:
    with pytest.raises((ValueError, OSError), match="image"):
        og_reid.describe(image, model)
