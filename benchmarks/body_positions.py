"""Local features on the fitted body: places of cells for late interaction, and joined scores.

Late interaction costs the difference of places along the body. Compared are the row of the image,
the height on the body that the network predicts, that of the lifted body, and the true one; each
against the row, with 95 % intervals over identities. Then scores are joined: features at the same
vertices of both lifted bodies, and OG-Net of the lifted clouds, each with a weight chosen on
one half of the identities and scored on the other.

    python benchmarks/body_positions.py --data FOLDER --model MODEL

FOLDER is one of `meshes.world.labelled.write_labelled_world`, MODEL a model of local features.
Queries show less than nine tenths of the person, the gallery the rest of the images.
"""

from __future__ import annotations

import argparse
import copy
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from meshes import BodyModel, lift_images, load_body, sample_features
from meshes.lift import Lift
from meshes.world.labelled import LabelledImages, labelled_shards, read_labelled_shard
from og_reid.data import CloudSet
from og_reid.evaluation import ImageLabels, Labels, Metrics, evaluate_distances
from og_reid.evaluation.paired import compare_paired
from og_reid.inference import DenseEncoder, load_model
from og_reid.inference.encoder import GivenInput
from og_reid.inference.fusion import fit_score_weight
from og_reid.inference.pretrained import load_cloud_model
from og_reid.models import DenseReID
from og_reid.models.embedding import Embedding
from og_reid.models.local_features import LocalFeatures
from og_reid.retrieval.late_interaction import local_similarity
from pose import MediapipePose

CLEAR = 0.9  # visible fraction of gallery images
NEAREST = 8  # vertices around the centre of a cell
VERTICES = 400  # vertices that are compared
COMMON = 0.02  # fraction of them that both images must show


def read_images(folder: Path, identities: int) -> LabelledImages:
    """Images of the first identities of a folder."""
    pieces: list[LabelledImages] = []
    for shard in labelled_shards(folder):
        pieces.append(read_labelled_shard(shard))
        if len({int(i) for piece in pieces for i in piece.identity}) >= identities:
            break
    joined = {
        name: np.concatenate([getattr(piece, name) for piece in pieces])
        for name in LabelledImages.__dataclass_fields__
    }
    kept = np.isin(joined["identity"], np.unique(joined["identity"])[:identities])
    return LabelledImages(**{name: values[kept] for name, values in joined.items()})


def true_heights(images: LabelledImages, height: Tensor, grid: tuple[int, int]) -> Tensor:
    """(N, L) mean height on the body in each cell; NaN off the person."""
    vertex = torch.from_numpy(images.vertex.astype(np.int64))
    on = (vertex >= 0).float()
    mean = F.adaptive_avg_pool2d(height[vertex.clamp(min=0)] * on, grid)
    cover = F.adaptive_avg_pool2d(on, grid)
    return torch.where(cover > 0.25, mean / cover.clamp(min=1e-6), torch.nan).flatten(1)


def lifted_heights(
    lift: Lift, height: Tensor, grid: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """(L,) mean height of the facing vertices nearest to each cell; NaN where none is visible."""
    rows, columns = ((torch.arange(n) + 0.5) / n * side for n, side in zip(grid, size, strict=True))
    cells = torch.stack(torch.meshgrid(rows, columns, indexing="ij"), -1).flatten(0, 1).flip(1)
    facing = lift.view.faces_camera
    if not bool(lift.cloud.visible.any()) or int(facing.sum()) < NEAREST:
        return torch.full((len(cells),), torch.nan)
    near = torch.cdist(cells, lift.view.projected[0, facing, :2]).topk(NEAREST, largest=False)
    return height[facing][near.indices].mean(1)


class Search:
    """Queries and gallery of one set of images."""

    def __init__(self, images: LabelledImages) -> None:
        fraction = torch.from_numpy(images.visible_fraction)
        self.query, self.gallery = (
            (fraction < CLEAR).nonzero()[:, 0],
            (fraction >= CLEAR).nonzero()[:, 0],
        )
        self.pids, self.camids = torch.from_numpy(images.identity), torch.from_numpy(images.camera)

    def labels(self, chosen: Tensor) -> Labels:
        """Labels of the chosen queries."""
        sides = (self.query[chosen], self.gallery)
        return Labels(*(ImageLabels(self.pids[rows], self.camids[rows]) for rows in sides))

    def score(self, similarity: Tensor) -> Metrics:
        """Metrics of a (Q, G) similarity."""
        return evaluate_distances(1 - similarity, self.labels(torch.arange(len(self.query))))


def show(name: str, metrics: Metrics, base: Metrics | None = None) -> None:
    """Prints a row."""
    change = ""
    if base is not None and base is not metrics:
        found = compare_paired(base, metrics)
        change = f"  {100 * found.mean:+.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"
    print(f"{name:44} mAP {100 * metrics.mAP:.1f}  rank-1 {100 * metrics.rank(1):.1f}{change}")


def vertex_similarity(
    lifts: list[Lift], maps: Tensor, size: tuple[int, int], search: Search
) -> tuple[Tensor, Tensor]:
    """(Q, G) mean cosine at vertices that both images show, and bool: enough of them."""
    chosen = torch.randperm(len(lifts[0].cloud), generator=torch.Generator().manual_seed(0))[
        :VERTICES
    ]
    clouds = [
        sample_features(lift, each, size).cloud.select(chosen)
        for lift, each in zip(lifts, maps, strict=True)
    ]
    features = torch.stack(
        [F.normalize(cloud.features, dim=1) for cloud in clouds if cloud.features is not None]
    )
    visible = torch.stack([cloud.visible for cloud in clouds]).float()
    common = visible[search.query] @ visible[search.gallery].T
    cosine = features[search.query].flatten(1) @ features[search.gallery].flatten(1).T
    return cosine / common.clamp(min=1), common >= COMMON * VERTICES


def crossed(first: Tensor, second: Tensor, search: Search) -> Tensor:
    """Joined similarity; each half of the identities has the weight chosen on the other half."""
    even = search.pids[search.query] % 2 == 0
    joined = first.clone()
    for half in (even, ~even):
        rows = (~half).nonzero()[:, 0]
        fusion = fit_score_weight(first[rows], second[rows], search.labels(rows))
        print(f"  weight of the second score {fusion.second:.2f}")
        joined[half] = first[half].lerp(second[half], fusion.second)
    return joined


def predicted_heights(model: DenseEncoder, arrays: list[np.ndarray]) -> Tensor:
    """(N, L) heights on the body that the network predicts."""
    network = copy.deepcopy(model.model)
    assert isinstance(network, DenseReID)
    network.positions = "body"
    items, _ = model.accept(GivenInput(arrays))
    local = Embedding.cat(replace(model, model=network).embed(items)).local
    assert local is not None
    return local.positions.float()


def compare_places(
    local: LocalFeatures,
    places: dict[str, Tensor],
    true: Tensor,
    model: DenseEncoder,
    search: Search,
) -> Tensor:
    """Prints the effect of places of cells; the similarity by the first of them."""
    base: tuple[Tensor, Metrics] | None = None
    own = local.weights.sum(2) > 0.5
    settings = model.preprocessing.interaction
    for name, place in places.items():
        moved = replace(local, positions=place)
        found, _ = local_similarity(moved[search.query], moved[search.gallery], settings)
        metrics = search.score(found)
        base = base or (found, metrics)
        error = float((place - true).abs()[own].nanmean())
        show(f"{name} (error {error:.3f})", metrics, base[1])
    assert base is not None
    return base[0]


def main() -> None:
    """Prints all rows."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--identities", type=int, default=80)
    options = parser.parse_args()
    images, model, body = (
        read_images(options.data, options.identities),
        load_model(options.model),
        load_body(),
    )
    assert isinstance(model, DenseEncoder)
    search, arrays = Search(images), list(images.image)
    items, _ = model.accept(GivenInput(arrays))
    local = Embedding.cat(model.embed(items)).local
    assert local is not None
    run(images, arrays, local, model, body, search)


def run(
    images: LabelledImages,
    arrays: list[np.ndarray],
    local: LocalFeatures,
    model: DenseEncoder,
    body: BodyModel,
    search: Search,
) -> None:
    """Lifts the images and prints both comparisons."""
    grid = model.preprocessing.height // 16, model.preprocessing.width // 16
    size = (arrays[0].shape[0], arrays[0].shape[1])
    estimator = MediapipePose()
    poses = [estimator(array) for array in arrays]
    lifts = [
        lift
        for start in range(0, len(arrays), 32)
        for lift in lift_images(
            arrays[start : start + 32], poses[start : start + 32], body, background=0
        )
    ]
    y = body.v_template[:, 1]
    height = (y - y.min()) / (y.max() - y.min())
    rows = (
        (1 - (torch.arange(grid[0]) + 0.5) / grid[0])
        .repeat_interleave(grid[1])
        .expand(len(arrays), -1)
    )
    lifted = torch.stack([lifted_heights(lift, height, grid, size) for lift in lifts])
    true = true_heights(images, height, grid)
    places = {
        "row of the image": rows,
        "predicted height": predicted_heights(model, arrays),
        "height of the lifted body": torch.where(lifted.isnan(), rows, lifted),
        "true height": torch.where(true.isnan(), rows, true),
        "none": torch.zeros_like(rows),
    }
    found = np.mean([pose.found for pose in poses])
    sides = f"{len(search.query)} queries, {len(search.gallery)} gallery images"
    print(f"{sides}, people found in {found:.0%}")
    first = compare_places(local, places, true, model, search)
    base = search.score(first)
    maps = local.features.transpose(1, 2).unflatten(2, grid).float()
    vertices, enough = vertex_similarity(lifts, maps, size, search)
    show(
        "features at vertices of the lifted bodies",
        search.score(torch.where(enough, vertices, -1)),
        base,
    )
    joined = crossed(first, torch.where(enough, vertices, vertices[enough].mean()), search)
    show("joined", search.score(joined), base)
    clouds = CloudSet.from_clouds((lift.cloud, 0, 0, str(n)) for n, lift in enumerate(lifts))
    shipped = load_cloud_model()
    embedding = Embedding.cat(shipped.embed(clouds))
    cosine = shipped.compare(embedding[search.query], embedding[search.gallery])
    show("OG-Net", search.score(cosine), base)
    show("joined", search.score(crossed(first, cosine, search)), base)


if __name__ == "__main__":
    main()
