"""Stability of the embedding under noise on the points, against reference mode.

The shipped weights are run in soft mode, in which they were trained. In reference mode (the index
rules of the authors' code: balls keep the first points in order, sampling starts at point 0 and
skips points near the origin) the same weights are run unchanged, which compares the rules and not
two trained networks. Clouds of a CloudSet are in farthest-point order, in which the first points of
a ball are spread evenly, in favour of the authors' rule; ``--shuffle`` puts the points in random
order for both modes, as in files of other programs.

    python benchmarks/stability.py                         # a few people of the synthetic world
    python benchmarks/stability.py --clouds set.safetensors

With weights trained in reference mode, each mode runs its own:

    og-reid train synthetic/default model.mode=reference --out runs/reference_mode
    python benchmarks/stability.py --reference runs/reference_mode/model.safetensors

``--model runs/default/model.safetensors`` measures those of robust mode.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshes import load_body
from meshes.lift import lift_image
from meshes.pointcloud import PointCloud
from meshes.world import draw_camera, render, sample_scene
from og_reid import load_model
from og_reid.data.clouds.cloud_set import CloudSet
from og_reid.models import OGNet
from pose import Pose

#: Standard deviations of the noise on each coordinate, metres.
NOISE = (1e-6, 1e-5, 1e-4, 1e-3)
#: First identity of the world: outside the training identities of the shipped weights.
FIRST_PERSON = 900_000


def world_clouds(count: int) -> CloudSet:
    """Clouds of people of the synthetic world, lifted from their images with the true keypoints."""
    generator, body = torch.Generator().manual_seed(0), load_body()
    camera = draw_camera(0, 0)

    def cloud_of(number: int) -> tuple[PointCloud, int, int, str]:
        image = render(sample_scene(FIRST_PERSON + number, camera, generator))
        lifted = lift_image(image.image.numpy(), Pose(image.keypoints), body)
        return lifted.cloud, number, 0, str(number)

    return CloudSet.from_clouds(cloud_of(number) for number in range(count))


def in_mode(model: OGNet, mode: str) -> OGNet:
    """Copy of a network with the index rules of a mode."""
    copy = OGNet(**{**model.architecture(), "dims": model.dims, "mode": mode})
    weights = {key: v for key, v in model.state_dict().items() if not key.startswith("proj_output")}
    copy.load_state_dict(weights)
    return copy.eval()


@torch.no_grad()
def changes(model: OGNet, points: Tensor, colors: Tensor, noise: float, draws: int) -> Tensor:
    """(2, draws * B): cosine to the noise-free embedding e, and relative change |e' - e| / |e|."""
    generator = torch.Generator().manual_seed(1)
    base = model(points, colors)
    rows = []
    for _ in range(draws):
        moved = points + noise * torch.randn(points.shape, generator=generator)
        embedding = model(moved, colors)
        cosine = F.cosine_similarity(base, embedding)
        rows.append(torch.stack([cosine, (embedding - base).norm(dim=1) / base.norm(dim=1)]))
    return torch.cat(rows, dim=1)


def write(line: str) -> None:
    """Writes a line to standard output and flushes it."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clouds", type=Path, help="a CloudSet file instead of the world")
    parser.add_argument("--model", default="cloud", help="weights, as of og_reid.load_model")
    parser.add_argument("--reference", help="weights for reference mode; default: those of --model")
    parser.add_argument("--count", type=int, default=8, help="clouds")
    parser.add_argument("--draws", type=int, default=4, help="draws of the noise per cloud")
    parser.add_argument("--points", type=int, help="points per cloud; default: as the model's")
    parser.add_argument("--shuffle", action="store_true", help="put the points in random order")
    args = parser.parse_args()
    torch.set_num_threads(1)
    stored = load_model(args.model)
    clouds = CloudSet.load(args.clouds) if args.clouds else world_clouds(args.count)
    size = args.points or stored.preprocessing.num_points
    chosen = torch.arange(min(args.count, len(clouds)))
    points, colors = clouds.batch(chosen, size).network_input()
    if args.shuffle:
        order = torch.randperm(size, generator=torch.Generator().manual_seed(2))
        points, colors = points[:, order], colors[:, order]
    own = stored.model.mode
    modes = (own, "reference")
    models = {mode: in_mode(stored.model, mode) for mode in modes}
    if args.reference:
        models["reference"] = in_mode(load_model(args.reference).model, "reference")
    write(
        f"{len(points)} clouds of {size} points, {args.draws} draws each; "
        f"{'each mode has its own weights' if args.reference else 'both modes share weights'}\n"
        f"noise (m)  mode        cosine mean / least   change mean / most"
    )
    for noise in NOISE:
        means = {}
        for mode in modes:
            cosine, change = changes(models[mode], points, colors, noise, args.draws)
            means[mode] = float(change.mean())
            write(
                f"{noise:<10.0e} {mode:10} {cosine.mean():10.6f} / {cosine.min():8.6f}"
                f"{change.mean():13.2e} / {change.max():.2e}"
            )
        ratio = means["reference"] / max(means[own], 1e-12)
        write(f"{'':10} reference changes {ratio:.1f} times as much")


if __name__ == "__main__":
    main()
