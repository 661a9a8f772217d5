"""Dense local features against ResNet-50: CPU time of the network, of a description, of a search.

Evaluation mode, float32, weights of the package (they do not change the work). ResNet-50 is
torchvision's without its classifier, on 256 x 128 images. ``describe`` includes reading and
resizing an image, without a pose network. Runs alternate; results are medians of CPU seconds.

    OMP_NUM_THREADS=1 python benchmarks/dense.py
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from measuring import timed

import og_reid
from og_reid.models.dense_reid import DenseReID
from og_reid.ops import native_info
from pose.runtime.torchvision_import import import_torchvision

SIZES = ((256, 128), (192, 96))
GALLERY = 300


def resnet() -> nn.Module:
    """ResNet-50 with 2048-dimensional embeddings."""
    torchvision = import_torchvision("ResNet-50", "pip install --no-deps torchvision")
    model: nn.Module = torchvision.models.resnet50(weights=None)
    model.fc = nn.Identity()
    return model.eval()


def jpeg(height: int, width: int) -> bytes:
    """JPEG file of smooth noise."""
    from PIL import Image

    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(small).resize((width, height)).save(stream, "JPEG", quality=90)
    return stream.getvalue()


def networks(batch: int) -> dict[str, Callable[[], object]]:
    """Forward passes of a batch by name."""
    generator = torch.Generator().manual_seed(0)

    def images(size: tuple[int, int]) -> Tensor:
        found = torch.rand(batch, 3, *size, generator=generator) * 255
        return found.contiguous(memory_format=torch.channels_last)

    backbone, inputs = resnet().to(memory_format=torch.channels_last), images((256, 128))
    network = (
        DenseReID(reliability=1.0, context_blocks=2, generator=generator)
        .eval()
        .to(memory_format=torch.channels_last)
    )
    programs: dict[str, Callable[[], object]] = {"ResNet-50 256 x 128": lambda: backbone(inputs)}
    for size in SIZES:
        programs[f"dense {size[0]} x {size[1]}"] = partial(_local, network, images(size))
    return programs


def _local(network: DenseReID, images: Tensor) -> object:
    return network.local_features(network(images))


@torch.inference_mode()
def main() -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="turns of each program")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"native code: {native_info()['cpu_level']}, 1 thread")
    for batch in (32, 1):
        times = timed(networks(batch), args.repeats)
        peer = next(iter(times.values()))
        for name, seconds in times.items():
            print(
                f"batch {batch:>2}: {name:<20} {1e3 * seconds / batch:6.1f} CPU ms an image, "
                f"{peer / seconds:5.1f} times as many as ResNet-50",
                flush=True,
            )
    model = og_reid.load_model()
    files = {f"{high} x {wide}": jpeg(high, wide) for high, wide in ((256, 128), (1080, 720))}
    times = timed(
        {name: lambda file=file: og_reid.describe(file, model) for name, file in files.items()},
        args.repeats,
    )
    for name, seconds in times.items():
        print(f"describe, JPEG of {name}: {1e3 * seconds:.1f} CPU ms", flush=True)
    one = og_reid.describe(jpeg(256, 128), model)
    gallery = type(one).cat([one] * GALLERY)
    seconds = timed({"": lambda: og_reid.similarity(one, gallery, model)}, args.repeats)[""]
    print(f"similarity of one image to {GALLERY}: {1e3 * seconds:.1f} CPU ms", flush=True)


if __name__ == "__main__":
    main()
