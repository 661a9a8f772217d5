"""Speed of the synthetic world: images and clouds a second of one core, by stage.

    OMP_NUM_THREADS=1 python benchmarks/world.py

Every identity has eight views in as many cameras, half of them occluded; what an identity needs
once, such as its clothes, counts. Stages: the scene (pose, clothes, box, occluders), its image with
mask, keypoints and vertices (`meshes.world.render`), all further truth per pixel and person
(`scene_truth`), the JPEG, and the cloud like that of a lift, in place of an image (`lift_scene`).

With --errors the clouds are compared with the true bodies: mean distance of joints, and the
fraction of the visible surface that is seen.
"""

from __future__ import annotations

import argparse
import io
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image

from meshes.world import Rendered, Scene, render, sample_scene
from meshes.world.clouds import WorldCloud, lift_scene
from meshes.world.people.clothing import world_body
from meshes.world.presets import world_settings
from meshes.world.rng import Rng
from meshes.world.settings import SETTINGS
from meshes.world.truth import scene_truth

VIEWS = 8
STAGES = ("scene", "image", "truth", "JPEG", "cloud")
#: Stages of each product.
PRODUCTS = {
    "image, all truth": ("scene", "image", "truth"),
    "image, labels": ("scene", "image"),
    "JPEG file": ("scene", "image", "JPEG"),
    "cloud": ("scene", "cloud"),
}


class Clock:
    """Processor seconds by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def run(self, stage: str, call: Callable[..., Any], *values: Any) -> Any:
        """Result of a call whose time counts for a stage."""
        start = time.process_time()
        result = call(*values)
        self.seconds[stage] += time.process_time() - start
        return result


def scene_of(settings: str, identity: int, view: int) -> Scene:
    """Scene of a view of an identity; every other one is occluded."""
    world = world_settings(settings)
    rng = Rng.seeded("benchmark", settings, identity, view)
    camera = world.camera(3, view % 9 + 1)
    occlusion = "any" if view % 2 else None
    return sample_scene(identity, camera, rng.generator, occlusion, settings=world)


def jpeg(made: Rendered) -> bytes:
    """The image as a file."""
    buffer = io.BytesIO()
    Image.fromarray(made.image.numpy()).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def cloud_of(scene: Scene) -> WorldCloud:
    """Cloud with the default errors."""
    return lift_scene(scene, torch.Generator().manual_seed(scene.seed))


def measure(settings: str, identities: int) -> tuple[Clock, int]:
    """Times of all stages over some identities, and the number of images."""
    render(scene_of(settings, 999, 0))  # caches of the process
    clock = Clock()
    for identity in range(identities):
        for view in range(VIEWS):
            scene = clock.run("scene", scene_of, settings, identity, view)
            made = clock.run("image", render, scene)
            clock.run("truth", scene_truth, scene)
            clock.run("JPEG", jpeg, made)
            clock.run("cloud", cloud_of, scene)
    return clock, identities * VIEWS


def errors(identities: int) -> None:
    """Prints the errors of clouds of the default world, clear and occluded."""
    regressor = world_body().joint_regressor
    count = world_body().num_vertices
    for occluded in (0, 1):
        distances, seen, right = [], [], []
        for identity in range(identities):
            for view in range(occluded, VIEWS, 2):
                cloud = cloud_of(scene_of("default", identity, view))
                found, true = (
                    regressor @ points for points in (cloud.cloud.points[:count], cloud.points)
                )
                apart = (found - found[:1] - true + true[:1]).norm(dim=1)
                distances.append(1000 * float(apart.mean()))
                shown = cloud.cloud.visible[:count]
                both = float((shown & cloud.visible).sum())
                seen.append(both / max(1.0, float(cloud.visible.sum())))
                right.append(both / max(1.0, float(shown.sum())))
        mean = [sum(each) / len(each) for each in (distances, seen, right)]
        print(
            f"{'occluded' if occluded else 'clear':10s} joints {mean[0]:4.0f} mm, "
            f"recall of visible vertices {mean[1]:.2f}, precision {mean[2]:.2f}"
        )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--identities", type=int, default=8)
    parser.add_argument("--errors", action="store_true", help="errors of the clouds, no times")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.errors:
        errors(options.identities)
        return
    print(f"{options.identities} identities, {VIEWS} views each, half of them occluded, one thread")
    print("ms a view   " + "".join(f"{stage:>8s}" for stage in STAGES))
    rates = []
    for settings in SETTINGS:
        clock, number = measure(settings, options.identities)
        per_view = {stage: clock.seconds[stage] / number for stage in STAGES}
        print(f"{settings:12s}" + "".join(f"{1000 * per_view[each]:8.1f}" for each in STAGES))
        rates.append(
            f"{settings:12s}"
            + "".join(
                f"{1 / sum(per_view[each] for each in stages):20.1f}"
                for stages in PRODUCTS.values()
            )
        )
    print("per second  " + "".join(f"{name:>20s}" for name in PRODUCTS))
    print("\n".join(rates))


if __name__ == "__main__":
    main()
