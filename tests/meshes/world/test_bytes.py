"""The worlds stay what they were: weights and published figures depend on their images.

The digests hold where torch rounds as on the machine of the golden file, which products and
functions of fixed numbers show; elsewhere the coarse content alone is compared. After an intended
change of a world, ``python tests/meshes/world/test_bytes.py`` writes the golden file again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from meshes.world import Rendered, render, sample_scene
from meshes.world.presets import world_settings
from meshes.world.rng import Rng

GOLDEN = Path(__file__).parents[2] / "golden" / "world" / "scenes.json"
#: Settings, identity, camera, occlusion.
SCENES = (
    ("default", 7, 1, None),
    ("default", 7, 4, "person"),
    ("default", 21, 2, "fence"),
    ("default", 21, 3, "umbrella"),
    ("default", 33, 5, "cut"),
    ("held-out", 3, 1, None),
    ("held-out", 12, 5, "any"),
    ("held-out", 40, 12, "any"),
)


def _render(settings: str, identity: int, camera: int, occlusion: str | None) -> Rendered:
    world = world_settings(settings)
    rng = Rng.seeded("bytes", settings, identity, camera)
    scene = sample_scene(
        identity, world.camera(5, camera), rng.generator, occlusion, settings=world
    )
    return render(scene)


def _digest(made: Rendered) -> str:
    total = hashlib.sha256()
    for value in (
        made.image, made.mask, made.amodal, made.vertex, made.keypoints.xy,
        made.keypoints.visibility, made.joints, made.rotations, made.betas,
    ):  # fmt: skip
        total.update(value.contiguous().numpy().tobytes())
    total.update(f"{made.occluder} {made.yaw!r} {made.visible_fraction!r} {made.pitch!r}".encode())
    return total.hexdigest()


def _content(made: Rendered) -> dict[str, object]:
    """Mean colours of 32 x 32 blocks, and pixels of the masks."""
    blocks = made.image.float().reshape(8, 32, 4, 32, 3).mean((1, 3))
    return {
        "occluder": made.occluder,
        "blocks": [round(value, 1) for value in blocks.flatten().tolist()],
        "pixels": [int(made.mask.sum()), int(made.amodal.sum())],
        "keypoints": [round(value, 2) for value in made.keypoints.xy.flatten().tolist()],
    }


def _arithmetic() -> str:
    """Digest of products and functions of fixed numbers, in shapes of the world's."""
    total = hashlib.sha256()
    values = torch.linspace(-1.7, 2.3, 6879 * 3).reshape(6879, 3)
    turn = torch.tensor([[0.8, 0.0, 0.6], [0.1, 0.99, -0.1], [-0.6, 0.2, 0.77]])
    weights = torch.linspace(0.01, 1, 6879 * 24).reshape(6879, 24)
    transforms = torch.linspace(-1, 1, 6 * 24 * 12).reshape(6, 24, 12)
    for rows in (1, 21, 300, 1025, 6879):
        some = values[:rows]
        total.update((some @ turn.T).numpy().tobytes())
        total.update((some @ turn).numpy().tobytes())
        total.update((some @ turn[0]).numpy().tobytes())
        total.update(torch.addmm(turn[0], some, turn * 40).sin().sum(-1).numpy().tobytes())
        total.update(torch.cdist(some[:200], values[::4]).numpy().tobytes())
        total.update(some.abs().pow(2.2).numpy().tobytes())
        total.update(torch.nn.functional.normalize(some, dim=-1).numpy().tobytes())
    total.update((weights @ transforms).numpy().tobytes())
    for number in range(1, 11):
        several = values.expand(number, -1, -1).contiguous()
        total.update(torch.einsum("jv,bvc->bjc", weights.T, several).numpy().tobytes())
    total.update((values[:4096] @ torch.linspace(0, 1, 24).reshape(3, 8)).numpy().tobytes())
    return total.hexdigest()


@pytest.mark.parametrize("number", range(len(SCENES)))
def test_images_and_truth_are_those_of_the_golden_file(number):
    golden = json.loads(GOLDEN.read_text())
    expected = golden["scenes"][number]
    made = _render(*SCENES[number])
    assert expected["scene"] == list(SCENES[number])
    if _arithmetic() == golden["arithmetic"]:
        assert _digest(made) == expected["digest"]
    found = _content(made)
    assert found["occluder"] == expected["occluder"]
    assert found["blocks"] == pytest.approx(expected["blocks"], abs=1.0)
    assert found["pixels"] == pytest.approx(expected["pixels"], rel=0.01)
    assert found["keypoints"] == pytest.approx(expected["keypoints"], abs=0.05)


def test_a_changed_pixel_changes_the_digest():
    made = _render(*SCENES[0])
    before = _digest(made)
    made.image[100, 60, 1] ^= 1
    assert _digest(made) != before


if __name__ == "__main__":
    torch.set_num_threads(1)
    rows = []
    for scene in SCENES:
        made = _render(*scene)
        rows.append({"scene": scene, "digest": _digest(made), **_content(made)})
    scenes = ",\n".join(json.dumps(row) for row in rows)
    GOLDEN.write_text(f'{{"arithmetic": "{_arithmetic()}", "scenes": [\n{scenes}\n]}}\n')
