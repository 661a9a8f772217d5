"""Contact sheets of a world: many people, one person under many conditions, night, rain, indoors.

python tools/world_sheets.py sheets --settings city
python tools/world_sheets.py sheets --settings city --sheet night --count 24 --without blur
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshes.world import SETTINGS, Camera, WorldSettings, render, sample_scene, world_settings
from meshes.world.imaging.conditions import Conditions
from meshes.world.rng import Rng

SHEETS: dict[str, Callable[[Conditions], bool] | None] = {
    "people": None,
    "conditions": None,
    "day": lambda c: not c.indoor and c.lux >= 200 and not c.wet,
    "night": lambda c: not c.indoor and c.lux < 200,
    "rain": lambda c: c.rain > 0.1,
    "wet": lambda c: c.wet > 0.3,
    "indoor": lambda c: c.indoor,
}


@dataclass(frozen=True)
class Chosen:
    """Conditions that meet a requirement, out of those of settings."""

    settings: WorldSettings
    wanted: Callable[[Conditions], bool]

    def __call__(self, camera: Camera, rng: Rng) -> Conditions:
        """First conditions that meet the requirement, or the last tried."""
        for number in range(200):
            found = self.settings.conditions(camera, rng.branch(str(number)))
            if self.wanted(found):
                break
        return found


def draw(
    name: str, settings: WorldSettings, count: int, seed: int, occluded: float
) -> torch.Tensor:
    """Images (count, H, W, 3) of a sheet."""
    wanted = SHEETS[name]
    images = []
    number = 0
    while len(images) < count:
        number += 1
        rng = Rng.seeded("sheet", seed, number)
        camera = settings.camera(seed, number)
        chosen = settings
        if wanted is not None:
            chosen = replace(settings, conditions=Chosen(settings, wanted))
            if not wanted(chosen.conditions(camera, Rng.seeded("try", number))):
                continue  # a camera inside has no night
        kind = "any" if rng.flag(occluded) else None
        person = seed + (7 if name == "conditions" else number)
        scene = sample_scene(person, camera, rng.generator, kind, settings=chosen)
        images.append(render(scene).image)
    return torch.stack(images)


def main() -> None:
    """Draw the sheets that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the sheets")
    parser.add_argument("--settings", default="city", choices=SETTINGS)
    parser.add_argument("--without", nargs="*", default=[], help="groups that are off")
    parser.add_argument("--sheet", choices=SHEETS, action="append", help="default: all")
    parser.add_argument("--count", type=int, default=0, help="images a sheet (default: 64 or 24)")
    parser.add_argument("--columns", type=int, default=12)
    parser.add_argument("--occluded", type=float, default=0.25, help="fraction of occluded images")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    from PIL import Image

    torch.set_num_threads(1)
    settings = world_settings(options.settings, without=options.without)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.sheet or SHEETS:
        count = options.count or (64 if name == "people" else 24)
        images = draw(name, settings, count, options.seed, options.occluded)
        blank = -len(images) % options.columns
        images = torch.cat([images, images.new_full((blank, *images.shape[1:]), 255)])
        rows = images.unflatten(0, (-1, options.columns)).permute(0, 2, 1, 3, 4)
        sheet = rows.flatten(0, 1).flatten(1, 2)
        path = options.out / f"{options.settings}_{name}.png"
        Image.fromarray(sheet.numpy()).save(path)
        print(path)


if __name__ == "__main__":
    main()
