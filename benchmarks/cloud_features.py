"""Local features on the lifted body: OG-Net of colours, of features, and of both.

Images are lifted with estimated keypoints and masks of the default model, whose local features are
sampled at the visible points of each cloud (`og_reid.inference.add_local_features`). Small OG-Nets
are trained for the same CPU minutes each, by seeds in turn, and scored on identities of the
held-out world that nothing was chosen on. Rows without a network compare clouds by the mean feature
of their visible points, images by late interaction, and late interaction joined with an OG-Net.
Intervals are 95 % percentiles over resampled identities.

    python benchmarks/cloud_features.py --data LABELLED --held-out HELD_OUT
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

import heldout
from body_positions import read_images
from heldout import DEVELOPMENT, HeldOutSet, write
from occlusion_report import row_cells, summary, tables
from occlusion_rows import compared, fused, load_network

from meshes import lift_images, load_body
from og_reid import load_model
from og_reid.config import load_config
from og_reid.data import CloudSet
from og_reid.inference import DenseEncoder, add_local_features
from og_reid.inference.cloud_encoder import CloudEncoder
from og_reid.inference.own_surface import OwnSurface
from og_reid.models.embedding import Embedding
from og_reid.train import train
from pose import MediapipePose

RESULTS = Path(__file__).parent / "results"
_BATCH = 32
_POINTS = 768  # of a cloud; training draws 256 of them
_JOINED = 0.3  # weight of OG-Net beside late interaction
_NETWORKS = {"colours": (True, False), "features": (False, True), "both": (True, True)}


def lifted(
    images: Sequence[np.ndarray], identity: Tensor, camera: Tensor, model: DenseEncoder
) -> CloudSet:
    """Clouds of images with colours and local features."""
    body, estimator, masks = load_body(), MediapipePose(), OwnSurface()
    sets = []
    for start in range(0, len(images), _BATCH):
        part = list(images[start : start + _BATCH])
        poses = [estimator(image) for image in part]
        lifts = lift_images(part, poses, body, masks=masks(part, poses), background=64)
        lifts = add_local_features(lifts, part, model)
        rows = range(start, start + len(part))
        items = [
            (lift.cloud, int(identity[row]), int(camera[row]), str(row))
            for lift, row in zip(lifts, rows, strict=True)
        ]
        sets.append(CloudSet.from_clouds(items, max_points=_POINTS))
    return CloudSet.concat(sets)


def changed(clouds: CloudSet, colours: bool, features: bool) -> CloudSet:
    """Clouds with grey points, without features, or both."""
    if not colours:
        clouds = replace(clouds, colors=torch.full_like(clouds.colors, 128))
    return clouds if features else replace(clouds, features=None)


def trained(clouds: CloudSet, kind: str, seed: int, minutes: float, folder: Path) -> CloudEncoder:
    """Small OG-Net of one kind of input."""
    colours, features = _NETWORKS[kind]
    channels = clouds.feature_channels if features else 0
    config = load_config(
        "synthetic/og_net_small",
        [
            f"model.feature_channels={channels}", "data.recolor=0", "data.num_ids=16",
            "budget.steps=1000000", f"budget.cpu_minutes={minutes}", f"seed={seed}",
            "validate_every=0", "loss.identity=0.5",
        ],
    )  # fmt: skip
    out = folder / f"{kind}_{seed}"
    train(config, changed(clouds, colours, features), out_dir=out)
    model = load_model(str(out / "model.safetensors"))
    assert isinstance(model, CloudEncoder)
    return model


def pooled(clouds: CloudSet) -> Tensor:
    """(N, C) mean feature of visible points, centred by the mean of all clouds."""
    assert clouds.features is not None
    rows = []
    for start, end in zip(clouds.ptr[:-1].tolist(), clouds.ptr[1:].tolist(), strict=True):
        seen = clouds.features[start:end][clouds.visible[start:end]].float()
        rows.append(seen.mean(0) if len(seen) else torch.zeros(clouds.feature_channels))
    means = torch.stack(rows)
    return F.normalize(means - means.mean(0), dim=1)


def similarity(model: CloudEncoder, clouds: CloudSet, images: HeldOutSet) -> Tensor:
    """(Q, G) cosines of embeddings."""
    codes = Embedding.cat(model.embed(clouds))
    return model.compare(codes[images.queries], codes[images.gallery])


def main() -> None:
    """Lift, train, score."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="labelled training images")
    parser.add_argument("--held-out", type=Path, required=True, help="held-out set")
    parser.add_argument("--identities", type=int, default=400, help="of the training images")
    parser.add_argument("--people", type=int, help="last of the held-out identities; default: all")
    parser.add_argument("--minutes", type=float, default=7.0, help="CPU minutes of a network")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--write", action="store_true", help="write to results/")
    args = parser.parse_args()
    torch.set_num_threads(1)
    start = time.process_time()
    model = load_model("default")
    assert isinstance(model, DenseEncoder)
    network, size, rules = load_network("default")
    images = heldout.load(args.held_out, size, args.people, DEVELOPMENT)
    arrays = list(images.images.permute(0, 2, 3, 1).numpy())
    scored = lifted(arrays, images.identity, images.camera, model)
    world = read_images(args.data, args.identities)
    clouds = lifted(
        list(world.image), torch.from_numpy(world.identity), torch.from_numpy(world.camera), model
    )
    write(f"lifted {len(scored)} and {len(clouds)} images, "
          f"{(time.process_time() - start) / 60:.1f} CPU minutes")  # fmt: skip
    queries, gallery = images.queries, images.gallery
    means = pooled(scored)
    cells = compared(heldout.describe(network, images.images).local, queries, gallery, **rules)
    rows = {"late interaction": cells, "mean feature": means[queries] @ means[gallery].T}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(args.seeds):
            for kind, (colours, features) in _NETWORKS.items():
                encoder = trained(clouds, kind, seed, args.minutes, Path(folder))
                found = similarity(encoder, changed(scored, colours, features), images)
                title = f"OG-Net of {kind}, seed {seed}"
                rows[title] = found
                rows[f"late interaction + {title}"] = fused(cells, found, _JOINED)
                write(f"{title}: done")
    lines = [
        "$ python benchmarks/cloud_features.py "
        + " ".join(Path(each).name for each in sys.argv[1:]),
        f"{len(images.identity.unique())} identities, {len(gallery)} gallery images; trained for "
        f"{args.minutes:g} CPU minutes each on {len(clouds)} clouds of {args.identities} people",
    ]
    groups = {name: row_cells(each, images, queries) for name, each in rows.items()}
    lines += [*summary(groups), *tables(groups)]
    for line in lines:
        write(line)
    if args.write:
        (RESULTS / "cloud_features.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
