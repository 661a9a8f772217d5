"""Sections of the report of the demonstration."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from meshes import Lift, lift_image
from pose import MediapipePose, NoPersonError, Pose, read_image

from ..data import Sample, Splits
from ..data.datasets.market import Attributes
from ..evaluation import Labels, rank_distances
from ..evaluation.results import ResultRow
from ..inference.encoder import Search
from ..train import TrainResult
from ..viz.curves import curves_figure
from ..viz.html_report import Html, ReportImage, Section, results_table
from ..viz.lift import lift_figure
from ..viz.ranking import sheet_figure
from ..viz.ranking_grid import GridItem, GridRow, RankingGrid, grid_figure
from ..viz.thumbnails import data_uri, encoded_thumbnail

if TYPE_CHECKING:
    from matplotlib.figure import Figure

from .demo_forecast import DemoProgress
from .viewing import lifted_item

__all__ = [
    "DENSE", "SHIPPED", "TRAINED", "UNTRAINED", "Photo", "lift_photo", "photo_section",
    "ranking_section", "reading_section", "results_section", "training_section", "view_section",
    "world_section",
]  # fmt: skip

#: Name of the trained model in tables.
TRAINED = "OG-Net-Small, trained just now"
#: Name of the model with its initial weights.
UNTRAINED = "OG-Net-Small, untrained"
#: Name of the shipped model of point clouds.
SHIPPED = "OG-Net-Small, shipped weights"
#: Name of the default model, of images.
DENSE = "dense local features, the default"
_GESTURES = (
    "Drag to turn, scroll or pinch to zoom; Settings has colours by visibility, body part, "
    "neighbourhood and samples, the body as a surface, skeleton and image."
)
_SHOWN, _TOP = 5, 5  # rankings in the report, and their length
_FRAME = 520  # height of the interactive view, CSS pixels
_THUMBNAIL = 256  # height of images in rankings, pixels
_QUALITY = 85  # JPEG quality of figures with images, in percent


@dataclass(frozen=True, eq=False)
class Photo:
    """Image of one person, with its keypoints and its lift.

    Attributes:
        pixels: (H, W, 3) uint8 RGB.
        pose: Keypoints of the person.
        lifted: Body and point cloud.
        name: Label of the person.
        credit: Source of the image, or empty.
    """

    pixels: np.ndarray
    pose: Pose
    lifted: Lift
    name: str
    credit: str = ""


def lift_photo(image: str | Path | None, tell: DemoProgress) -> Photo:
    """Keypoints and lift of an image; of the portrait of scikit-image without one."""
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
    if image is not None:
        return Photo(pixels, pose, lifted, Path(image).name)
    return Photo(
        pixels, pose, lifted, "portrait", " Portrait of Eileen Collins: NASA, public domain."
    )


def photo_section(photo: Photo) -> Section:
    """Image, keypoints, fitted body and point cloud of one image."""
    seen = len(photo.lifted.cloud.seen())
    text = (
        "The pose network finds keypoints and their visibility; a body is fitted to them; each of "
        f"its {len(photo.lifted.fit.vertices[0]):,} surface points takes the colour of the pixel "
        f"that it projects to. {seen:,} of them are visible in this image. The others (turned "
        "away, occluded, or outside the image) are drawn light grey: the fit gives their position, "
        "but no pixel their colour."
    )
    figure = _lift_figure(photo.pixels, photo.pose, photo.lifted)
    caption = "Image, keypoints, fitted body, and the point cloud from three sides." + photo.credit
    return Section(
        "From an image to a coloured 3D point cloud",
        [text, ReportImage(figure, caption, quality=_QUALITY)],
    )


def view_section(photo: Photo, splits: Splits, attributes: Mapping[str, Attributes]) -> Section:
    """Interactive view of the lifted image and of people of the synthetic world."""
    from ..viz import Look, ViewItem, as_items, embedded_view, scene_image

    (item,) = as_items(photo.lifted)
    items: list[ViewItem] = [replace(item, name=photo.name, image=photo.pixels)]
    for sample in _shown_people(splits, attributes):
        hidden = ", occluded" if attributes[sample.name].occluded else ""
        with suppress(NoPersonError):
            found = lifted_item(sample.path)
            name = f"ID {sample.pid}, camera {sample.camid}{hidden}"
            items.append(replace(found, name=name))
    names = ", ".join(each.name for each in items)
    picture = scene_image(items, Look(height=2 * _FRAME))
    paper = data_uri(picture, 2 * _FRAME, quality=_QUALITY)
    frame = embedded_view(items, title="Point clouds in 3D", height=_FRAME)
    shown = (
        f'<p class="screen-only">{_GESTURES}</p><figure><div class="screen-only">{frame}</div>'
        f'<img class="paper-only" alt="{html.escape(names, quote=True)}" src="{paper}"></figure>'
    )
    return Section("Point clouds in 3D", [Html(shown)])


def _shown_people(splits: Splits, attributes: Mapping[str, Attributes]) -> list[Sample]:
    """An occluded query, another image of the same person, and one of another person."""

    def hidden(sample: Sample) -> bool:
        return attributes[sample.name].occluded

    query, gallery = splits.query, splits.gallery
    first = next((each for each in query if hidden(each)), query[0])
    same = [each for each in gallery if each.pid == first.pid and each.camid != first.camid]
    other = [each for each in query if each.pid != first.pid]
    found = [first]
    for some in (same, other):
        found += [each for each in some if not hidden(each)][:1] or some[:1]
    return found


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
    result = rank_distances(distances[DENSE], Labels.of(query, gallery), k=len(gallery))
    best = result.indices.tolist()
    # Rank of each query's first correct answer, from 1.
    first = [
        next(n for n, j in enumerate(row, 1) if j >= 0 and gallery[j].pid == query[i].pid)
        for i, row in enumerate(best)
    ]
    occluded = [attributes[each.name].occluded for each in query]

    nearest = result.distances

    def shown(i: int) -> GridRow:
        items = tuple(
            GridItem(
                gallery[j].name,
                "right" if gallery[j].pid == query[i].pid else "wrong",
                similarity=1 - float(nearest[i, place]),
                identity=gallery[j].pid,
                camera=gallery[j].camid,
            )
            for place, j in enumerate(best[i])
            if j >= 0
        )
        head = GridItem(query[i].name, identity=query[i].pid, camera=query[i].camid)
        return GridRow(head, items, occluded[i])

    def picture(caption: str, chosen: Sequence[int]) -> ReportImage:
        rows = tuple(shown(i) for i in chosen)
        paths = {each.name: each.path for each in (*query, *gallery)}
        used = {each.name for row in rows for each in (row.query, *row.items[:_TOP])}
        images = {
            name: encoded_thumbnail(read_image(paths[name]), _THUMBNAIL) for name in sorted(used)
        }
        figure = grid_figure(RankingGrid(rows, images), top=_TOP)
        return ReportImage(figure, caption, quality=_QUALITY)

    right = sum(place == 1 for place in first)
    blocks: list[str | ReportImage] = [
        f"By dense local features; the first answer is correct for {right} of {len(query)} "
        "queries. Images of the query's identity and camera are left out. Under each result: "
        "similarity and camera.",
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
