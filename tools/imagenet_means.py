"""Means of ImageNet feature maps over the synthetic world, for the model "imagenet-cells".

    python tools/imagenet_means.py            # og_reid/weights/imagenet_cells.safetensors
    python tools/imagenet_means.py --out FILE

Renders 200 images (40 identities, half of the images occluded; a minute or two) and writes the mean
of both feature maps over all of their cells. Needs the extra ``imagenet``.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from meshes.world.labelled import labelled_shards, read_labelled_shard, write_labelled_world
from og_reid.files.tensors import write_tensors
from og_reid.models import ImageNetCells

ROOT = Path(__file__).resolve().parents[1]
WORLD = {"identities": 40, "views": 5, "seed": 0, "first_identity": 1_000_000}


def rendered_images() -> Tensor:
    """(200, 3, 256, 128) float32 RGB in [0, 255]."""
    with tempfile.TemporaryDirectory() as folder:
        root = write_labelled_world(Path(folder) / "world", **WORLD)
        shards = [read_labelled_shard(path).image for path in labelled_shards(root)]
    pixels = torch.cat([torch.from_numpy(each) for each in shards])
    return pixels.permute(0, 3, 1, 2).float()


def feature_means(images: Tensor) -> Tensor:
    """(192,) float32 means over all cells."""
    network = ImageNetCells(generator=torch.Generator().manual_seed(0)).eval()
    network.load_imagenet()
    network.calibrate(images)
    return network.mean.clone()


def main() -> None:
    """Writes the means."""
    parser = argparse.ArgumentParser(description="Means of ImageNet feature maps over the world.")
    place = ROOT / "og_reid" / "weights" / "imagenet_cells.safetensors"
    parser.add_argument("--out", type=Path, default=place, help="file to write")
    out = parser.parse_args().out
    world = ", ".join(f"{name} {value}" for name, value in WORLD.items())
    metadata = {"format": "og_reid.means", "world": world, "made_by": "tools/imagenet_means.py"}
    write_tensors(out, {"mean": feature_means(rendered_images())}, metadata)
    print(out)


if __name__ == "__main__":
    main()
