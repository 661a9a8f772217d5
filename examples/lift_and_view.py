"""Lift the person of an image to a point cloud, and look at it from four sides.

    python examples/lift_and_view.py photo.jpg lifted

Writes lifted/cloud.ply, lifted/cloud.png, and lifted/lift.html: keypoints, what is hidden, the fit
with the error of every joint, reasons for doubt.
"""

import sys
from pathlib import Path

from og_reid.pipelines import LiftSpec, lift_file
from og_reid.viz.lift import cloud_images
from og_reid.viz.world_sheet import write_sheet


def main(image: str, folder: str) -> None:
    """Cloud, figure and page of an image."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    _, cloud = lift_file(LiftSpec((Path(image),), out / "cloud.ply", html=out / "lift.html"))
    write_sheet(cloud_images(cloud, [0, 60, 180, 300]), 4, out / "cloud.png")
    print(f"{len(cloud)} points, {len(cloud.seen())} of them seen on the body")


if __name__ == "__main__":
    main(*sys.argv[1:])
