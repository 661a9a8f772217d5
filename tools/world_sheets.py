"""Contact sheets of a world: many people, one person under many conditions, night, rain, groups.

python tools/world_sheets.py sheets --settings city
python tools/world_sheets.py sheets --settings city --sheet things --sheet crowd --sheet poses
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

from meshes.world import (
    OCCLUDERS,
    SETTINGS,
    Camera,
    Scene,
    WorldSettings,
    render,
    sample_scene,
    world_settings,
)
from meshes.world.city.uniforms import BLOCK
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


def _layered(scene: Scene, settings: WorldSettings, number: int) -> bool:
    person = scene.figure.identity
    return person.jacket is not None or bool(person.worn) or person.bottom.kind == "dress"


def _in_uniform(scene: Scene, settings: WorldSettings, number: int) -> bool:
    block = [settings.identity(number - number % BLOCK + index) for index in range(BLOCK)]
    return sum(each.top == scene.figure.identity.top for each in block) > 1


#: Sheets of the groups of the city: scenes that show what the group adds.
GROUP_SHEETS: dict[str, Callable[[Scene, WorldSettings, int], bool]] = {
    "things": lambda scene, settings, number: scene.occluder not in (*OCCLUDERS, "none"),
    "layers": _layered,
    "uniforms": _in_uniform,
    "poses": lambda scene, settings, number: scene.figure.motion.gait not in ("walk", "stand"),
    "belongings": lambda scene, settings, number: scene.figure.identity.belonging != "none",
    "crowd": lambda scene, settings, number: bool(scene.behind),
}
_TRIES = 60  # scenes for each image of a sheet


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
    images: list[torch.Tensor] = []
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


def draw_group(name: str, settings: WorldSettings, count: int, seed: int) -> torch.Tensor:
    """Images (at most count, H, W, 3) of scenes that show a group."""
    images: list[torch.Tensor] = []
    for number in range(_TRIES * count):
        camera = settings.camera(seed, 1 + number % 40)
        generator = Rng.seeded("group sheet", seed, number).generator
        kind = "any" if name == "things" else None
        scene = sample_scene(seed + number, camera, generator, kind, settings=settings)
        if GROUP_SHEETS[name](scene, settings, seed + number):
            images.append(render(scene).image)
            if len(images) == count:
                break
    if not images:
        raise ValueError(f"sheet {name!r} has no scene; settings may lack the group of that name")
    return torch.stack(images)


def main() -> None:
    """Draw the sheets that the arguments name."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="folder of the sheets")
    parser.add_argument("--settings", default="city", choices=SETTINGS)
    parser.add_argument("--without", nargs="*", default=[], help="groups that are off")
    parser.add_argument("--sheet", choices=[*SHEETS, *GROUP_SHEETS], action="append",
                        help="default: those that every world has")  # fmt: skip
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
        if name in GROUP_SHEETS:
            images = draw_group(name, settings, count, options.seed)
        else:
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
