"""Render one person of the synthetic world under changing light, and from changing cameras.

    python examples/world_light.py world.png

First row: the sun moves around the person. Second row: one camera after the other, each with its
own place, light and colours.
"""

import sys
from dataclasses import replace

import torch

from meshes.world import Camera, draw_camera, render, sample_scene
from og_reid.viz.world_sheet import write_sheet


def main(out: str, columns: str = "6", identity: str = "11") -> None:
    """A sheet of two rows."""
    count, person = int(columns), int(identity)

    def image(camera: Camera) -> object:
        generator = torch.Generator().manual_seed(7)  # one pose and place, all else equal
        return render(sample_scene(person, camera, generator, passers_by=0)).image.numpy()

    street = replace(draw_camera(0, 1), sun=2.0, sun_height=0.6, indoor=False)
    turned = [replace(street, sun_azimuth=6.283 * i / count) for i in range(count)]
    cameras = [draw_camera(0, i) for i in range(1, count + 1)]
    write_sheet([image(each) for each in (*turned, *cameras)], count, out)


if __name__ == "__main__":
    main(*sys.argv[1:])
