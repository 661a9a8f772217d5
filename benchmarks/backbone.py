"""OG-Net on clouds against ResNet-50 on images: embeddings per second of the same processor.

Evaluation mode, float32, random weights (they do not change the work). ResNet-50 is torchvision's
without its classifier, on 256 x 128 images; OG-Net takes 4096 points. Runs alternate; results are
medians of CPU seconds (all threads).

    python benchmarks/backbone.py
    python benchmarks/backbone.py --threads 2 --batches 16
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import timed

from og_reid.models import OGNet
from og_reid.ops import native_info
from pose.runtime.torchvision_import import import_torchvision

PRESETS = ("ognet-small", "ognet", "ognet-deep")


def people(batch: int, count: int) -> tuple[Tensor, Tensor]:
    """Upright elliptic cylinders 1.7 m high with random colours: (B, N, 3) twice."""
    generator = torch.Generator().manual_seed(0)
    height, angle, *rgb = torch.rand(5, batch, count, generator=generator)
    angle = 2 * torch.pi * angle
    points = torch.stack([0.2 * angle.cos(), 1.7 * height, 0.15 * angle.sin()], dim=-1)
    return points, torch.stack(rgb, dim=-1) - 0.5


def resnet() -> nn.Module:
    """ResNet-50 with 2048-dimensional embeddings."""
    torchvision = import_torchvision("ResNet-50", "pip install --no-deps torchvision")
    model: nn.Module = torchvision.models.resnet50(weights=None)
    model.fc = nn.Identity()
    return model.eval()


def megabytes(model: nn.Module) -> float:
    """Size of the stored weights, MB."""
    return sum(t.numel() * t.element_size() for t in model.state_dict().values()) / 1e6


@torch.inference_mode()
def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="turns of each program")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 1], help="batch sizes")
    parser.add_argument("--points", type=int, default=4096, help="points per cloud")
    parser.add_argument("--threads", type=int, default=1, help="threads of torch and og_reid")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    info = native_info()
    print(f"native code: {info['cpu_level']}, {args.threads} threads")
    backbone = resnet()
    models = {name: OGNet.preset(name).eval() for name in PRESETS}
    print(f"{'resnet50':<12} {megabytes(backbone):6.1f} MB")
    for name, model in models.items():
        print(f"{name:<12} {megabytes(model):6.1f} MB")
    for batch in args.batches:
        points, colors = people(batch, args.points)
        images = torch.rand(batch, 3, 256, 128, generator=torch.Generator().manual_seed(0))
        programs: dict[str, Callable[[], Tensor]] = {"resnet50": lambda x=images: backbone(x)}
        for name, model in models.items():
            programs[name] = lambda m=model, p=points, c=colors: m(p, c)
        times = timed(programs, args.repeats)
        for name, seconds in times.items():
            print(
                f"batch {batch:>2}: {name:<12} {1e3 * seconds / batch:7.1f} CPU ms each, "
                f"{times['resnet50'] / seconds:5.2f} times as many as ResNet-50",
                flush=True,
            )


if __name__ == "__main__":
    main()
