"""Sections of the report of the demonstration."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from meshes import Lift, lift_image
from pose import MediapipePose, NoPersonError, Pose, read_image

from ..data import Splits
from ..data.datasets.market import Attributes
from ..evaluation import Labels, rank_distances
from ..evaluation.results import ResultRow
from ..inference.encoder import Search
from ..train import TrainResult
from ..viz.curves import curves_figure
from ..viz.html_report import Html, ReportImage, Section, results_table
from ..viz.lift import lift_figure
from ..viz.ranking import Ranking, ranking_figure, sheet_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from .demo_forecast import DemoProgress

__all__ = [
    "DENSE", "SHIPPED", "TRAINED", "UNTRAINED", "photo_section", "ranking_section",
    "reading_section", "results_section", "training_section", "world_section",
]  # fmt: skip

#: Name of the trained model in tables.
TRAINED = "OG-Net-Small, trained just now"
#: Name of the model with its initial weights.
UNTRAINED = "OG-Net-Small, untrained"
#: Name of the shipped model of point clouds.
SHIPPED = "OG-Net-Small, shipped weights"
#: Name of the default model, of images.
DENSE = "dense local features, the default"
_SHOWN, _TOP = 5, 5  # rankings in the report, and their length
_QUALITY = 85  # JPEG quality of figures with images, in percent


def photo_section(image: str | Path | None, tell: DemoProgress) -> Section:
    """Image, keypoints, fitted body and point cloud of one image."""
    tell("lifting an image", 0, 1, "")
    pixels = read_image(_astronaut() if image is None else image)
    pose = MediapipePose()(pixels)
    if not pose.found:
        raise NoPersonError(
            f"no person was found in {image}: give an image of one standing person, at least "
            "60 pixels tall"
        )
    lifted = lift_image(pixels, pose)
    tell("lifting an image", 1, 1, "")
    seen = len(lifted.cloud.seen())
    text = (
        "The pose network finds keypoints and their visibility; a body is fitted to them; each of "
        f"its {len(lifted.fit.vertices[0]):,} surface points takes the colour of the pixel that it "
        f"projects to. {seen:,} of them are visible in this image. The others (turned away, "
        "occluded, or outside the image) are drawn light grey: the fit gives their position, but "
        "no pixel their colour."
    )
    credit = "" if image is not None else " Portrait of Eileen Collins: NASA, public domain."
    return Section(
        "From an image to a coloured 3D point cloud",
        [text, ReportImage(_lift_figure(pixels, pose, lifted), "Image, keypoints, fitted body, "
                       "and the point cloud from three sides." + credit, quality=_QUALITY)],
    )  # fmt: skip


def _astronaut() -> np.ndarray:
    try:
        from skimage.data import astronaut
    except ImportError as error:
        raise ImportError(
            "scikit-image is needed for the demonstration's portrait; install it with: "
            "pip install 'og-reid[demo]', or give --image"
        ) from error
    return astronaut()


def _lift_figure(pixels: np.ndarray, pose: Pose, lifted: Lift) -> Figure:
    height, width = pixels.shape[:2]
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    covered, _ = lifted.view.covers(column.flatten() + 0.5, row.flatten() + 0.5)
    silhouette = covered.reshape(height, width).numpy()
    return lift_figure(pixels, pose.keypoints, silhouette, lifted.upright())


def world_section(splits: Splits, attributes: Mapping[str, Attributes]) -> Section:
    """Images of the synthetic data set."""
    occluded = [each for each in splits.query if attributes[each.name].occluded]
    chosen = splits.train[:: max(1, len(splits.train) // 11)][:11]
    rows = [[read_image(each.path) for each in line] for line in (chosen, occluded[:11])]
    people = [len({each.pid for each in split}) for split in (splits.train, splits.query)]
    text = (
        f"{people[0]} training and {people[1]} other test identities; {len(splits.train)} training "
        f"images, {len(splits.query)} queries and {len(splits.gallery)} gallery images; "
        f"{len(occluded)} of the queries are occluded. All are rendered, and lifted from the "
        "images alone, by the same code as the image above."
    )
    return Section(
        "A synthetic data set",
        [
            text,
            ReportImage(
                sheet_figure(rows), "Top: training images. Bottom: occluded queries.", "", _QUALITY
            ),
        ],
    )


def training_section(result: TrainResult) -> Section:
    """Learning curves."""
    history = [
        {name: value for name, value in asdict(record).items()
         if value is not None and name in ("step", "loss", "accuracy", "mAP", "rank1")}
        for record in result.history
    ]  # fmt: skip
    last = result.history[-1]
    text = (
        f"{last.step} steps in {last.wall_seconds / 60:.1f} minutes "
        f"({last.cpu_seconds / 60:.1f} minutes of processor time). Accuracy: fraction of a batch "
        "whose nearest other point cloud has the same identity. mAP and rank-1: on the test "
        "identities, none of which is trained on."
    )
    return Section(
        "Training OG-Net-Small",
        [text, ReportImage(curves_figure(history), alt="Learning curves.")],
    )


def results_section(rows: Sequence[ResultRow], splits: Splits) -> Section:
    """Table of metrics by method, for all and for occluded queries."""
    table: dict[str, dict[str, object]] = {}
    for row in rows:
        line = table.setdefault(row.method, {"method": row.method})
        line[f"rank-1, {row.queries}"] = 100 * row.metrics.rank(1)
        line[f"mAP, {row.queries}"] = 100 * row.metrics.mAP
    columns = [name for name in next(iter(table.values())) if name != "method"]
    text = (
        "In percent; gallery images of the query's identity and camera are left out. The histogram "
        "compares the colours of 13 body parts, without learning. The shipped weights are the "
        "same network trained longer, on other identities of such worlds; its sum with the "
        "histogram adds their distances. Dense local features compare the images themselves, by "
        "the cells that both show: also by the global embedding alone, and with all cells counted "
        "in full (unmasked). Bold: the best of a column."
    )
    caption = (
        f"{len(splits.query)} queries, {len(splits.gallery)} gallery images; mAP by the "
        f"{rows[0].metrics.ap} convention."
    )
    return Section(
        "Metrics",
        [text, results_table(list(table.values()), caption=caption, best=columns)],
    )


def ranking_section(
    distances: Mapping[str, Search], splits: Splits, attributes: Mapping[str, Attributes]
) -> Section:
    """Rankings of the default model for evenly chosen queries, occluded and not, and the worst."""
    query, gallery = splits.query, splits.gallery
    best = rank_distances(
        distances[DENSE],
        Labels.of(query, gallery),
        k=len(gallery),
    ).indices.tolist()
    # Rank of each query's first correct answer, from 1.
    first = [
        next(n for n, j in enumerate(row, 1) if j >= 0 and gallery[j].pid == query[i].pid)
        for i, row in enumerate(best)
    ]
    occluded = [attributes[each.name].occluded for each in query]

    def shown(i: int) -> Ranking:
        found = [gallery[j] for j in best[i][:_TOP] if j >= 0]
        return Ranking(
            query=read_image(query[i].path),
            results=[read_image(each.path) for each in found],
            correct=[each.pid == query[i].pid for each in found],
            occluded=occluded[i],
            label=f"ID {query[i].pid}, camera {query[i].camid}\nfirst correct: {first[i]}",
        )

    def picture(caption: str, chosen: Sequence[int]) -> ReportImage:
        return ReportImage(ranking_figure([shown(i) for i in chosen]), caption, quality=_QUALITY)

    right = sum(place == 1 for place in first)
    blocks: list[str | ReportImage] = [
        f"By dense local features; the first answer is correct for {right} of {len(query)} "
        "queries. Correct answers have a green frame, wrong ones a red one; under each query is "
        "the rank of the first correct answer.",
    ]
    for title, kind in (("Occluded", True), ("Unoccluded", False)):
        some = [index for index, hidden in enumerate(occluded) if hidden == kind]
        count = min(_SHOWN, len(some))
        if count:
            even = [some[len(some) * i // count] for i in range(count)]
            blocks.append(picture(f"{title} queries, chosen evenly.", even))
    worst = sorted(range(len(query)), key=lambda i: (-first[i], i))[:_SHOWN]
    blocks.append(picture("Queries with the worst rankings.", worst))
    return Section("Rankings", blocks)


def reading_section() -> Section:
    """Example code for other images."""
    code = (
        "import og_reid\n\n"
        "# dense local features of two images: at most 1, higher = more alike\n"
        'similarity = float(og_reid.similarity("image.jpg", "other.jpg"))\n\n'
        "# the point clouds of both people\n"
        'cloud = og_reid.lift("image.jpg")\n'
        "embedding = og_reid.embed(cloud)       # (512,), unit norm\n"
        'other = og_reid.embed(og_reid.lift("other.jpg"))\n'
        "similarity = float(embedding @ other)  # 1 = equal embeddings"
    )
    return Section(
        "Your own images", [Html(f'<pre tabindex="0"><code>{html.escape(code)}</code></pre>')]
    )
