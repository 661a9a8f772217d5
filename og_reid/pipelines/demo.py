"""The demonstration: an image lifted, a synthetic data set made, learned and searched, a report.

Nothing is downloaded and no data set is needed. Everything that a real experiment uses is used
here in the same way: the world is written as a folder of images, and those are read, lifted,
trained on and ranked by the code that serves real ones.
"""

from __future__ import annotations

import html
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from meshes import Lift, lift_image
from meshes.world import draw_camera, render, sample_scene, write_world
from pose import MediapipePose, NoPersonError, Pose, read_image

from ..config.load import load_config
from ..config.schema import TrainConfig
from ..data import CloudSet, Splits, load_market, read_attributes
from ..data.clouds.lift_dataset import lift_dataset
from ..data.datasets.market import Attributes
from ..data.sample import Sample
from ..evaluation import Labels, rank_distances
from ..evaluation.results import ResultRow
from ..inference.cloud_encoder import CloudEncoder
from ..inference.encoder import Encoder, Search
from ..inference.preprocessing import Preprocessing
from ..inference.pretrained import load_model
from ..train import MODEL_FILE, StepLog, TrainResult, build_model, train
from ..viz.curves import curves_figure
from ..viz.html_report import Html, ReportImage, Section, results_table, write_report
from ..viz.lift import lift_figure
from ..viz.ranking import Ranking, ranking_figure, sheet_figure
from .evaluation import compute_distances, score_distances
from .forecast import Forecast, format_duration

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["DemoSize", "run_demo"]

Progress = Callable[[str, float, float, str], None]

# People 1000000 and on: the shipped weights were trained on others, see configs/synthetic.
_FIRST_IDENTITY = 1_000_000
_TRAINED = "OG-Net-Small, trained just now"
_UNTRAINED = "OG-Net-Small, untrained"
_SHIPPED = "OG-Net-Small, shipped weights"
_SHOWN, _TOP = 5, 5  # rankings in the report, and their length
_QUALITY = 85  # of pictures with photographs
# Processor time of a step of training, and of lifting an image, in times of making an image.
_STEP, _LIFT = 9.0, 0.9


@dataclass(frozen=True)
class DemoSize:
    """How much the demonstration does.

    Attributes:
        train_identities: people to learn from.
        test_identities: other people, to find again.
        views: photographs of each.
        cameras: cameras of the world.
        overrides: settings that replace those of configs/synthetic/og_net_small.yaml.
    """

    train_identities: int = 48
    test_identities: int = 32
    views: int = 12
    cameras: int = 6
    overrides: tuple[str, ...] = ("budget.steps=240", "validate_every=80")


def run_demo(
    out_dir: str | Path,
    image: str | Path | None = None,
    *,
    size: DemoSize | None = None,
    workers: int = 2,
    progress: Progress | None = None,
) -> Path:
    """Run the demonstration. Finished parts of an interrupted run are kept and used again.

    The figures depend on the size alone: training has a number of steps and one thread, and no
    clock decides anything. Processors with other instructions round otherwise in the last bits.

    Args:
        out_dir: folder for the world, the run and the report.
        image: photograph of one person to lift; None takes the astronaut portrait that comes with
            scikit-image (NASA, public domain).
        size: how much to do; None takes about six minutes of processor time, four of them
            beyond the making of the world.
        workers: processes that render and lift.
        progress: called with (stage, done, total, note).

    Returns:
        The report, ``out_dir/report.html``.

    Raises:
        NoPersonError: nobody was found in ``image``.
        ImportError: a package of the extra ``demo`` is missing; the message says how to get it.
    """
    size = size or DemoSize()
    out = Path(out_dir)
    config = load_config("synthetic/og_net_small", size.overrides)
    tell = _with_forecast(progress or (lambda *_: None), size, config.budget.steps, workers, out)
    photo = _photo_section(image, tell)
    splits, attributes = _world(out / "world", size, workers, tell)
    sets = {
        name: _lift(getattr(splits, name), f"lifting {name}", out / "clouds", workers, tell)
        for name in ("train", "query", "gallery")
    }
    query, gallery = sets["query"], sets["gallery"]
    with _one_thread():
        result = _train(config, sets, out / "run", tell)
        models = _models(config, out / "run" / MODEL_FILE)
        distances = compute_distances(query, gallery, models)
    rows = score_distances(distances, query, gallery, attributes=attributes)
    sections = [
        photo,
        _world_section(splits, attributes),
        _training_section(result),
        _results_section(rows, splits),
        _ranking_section(distances, splits, attributes),
        _reading_section(),
    ]
    report = out / "report.html"
    write_report(report, sections, title="og_reid: re-identification of occluded people")
    tell("report", 1, 1, str(report))
    return report


def _with_forecast(show: Progress, size: DemoSize, steps: int, workers: int, out: Path) -> Progress:
    """Adds to each note how long the rest will take; what an earlier run has made is left out."""
    people = {"train": size.train_identities, "test": size.test_identities}
    images = {name: count * size.views for name, count in people.items()}
    share = 1 / max(1, min(workers, os.cpu_count() or 1))
    work = {
        "making a world": sum(images.values()) * share,
        "lifting train": images["train"] * _LIFT * share,
        "lifting query": images["test"] / 4 * _LIFT * share,
        "lifting gallery": images["test"] * 3 / 4 * _LIFT * share,
        "training": steps * _STEP,
    }
    forecast = Forecast(work, _seconds_for_an_image())
    world = sum(1 for _ in (out / "world").glob("*/*.jpg")) / sum(images.values())
    clouds = sum(1 for _ in (out / "clouds").rglob("*.safetensors")) / sum(images.values())
    for stage in work:
        lifting = (
            clouds if stage.startswith("lifting") else float((out / "run" / MODEL_FILE).is_file())
        )
        forecast.note(stage, min(1.0, world if stage == "making a world" else lifting), 1)
    whole = f"{format_duration(forecast.seconds())} in all"

    def tell(stage: str, done: float, total: float, note: str) -> None:
        if stage == "lifting a photograph":
            show(stage, done, total, whole)
            return
        left = "" if stage == "report" else forecast.note(stage, done, total)
        show(stage, done, total, ", ".join(filter(None, (note, left))))

    return tell


def _seconds_for_an_image() -> float:
    """A first measurement of this machine: what one image of a world takes, beside its load."""
    scene = sample_scene(_FIRST_IDENTITY, draw_camera(1, 1), torch.Generator().manual_seed(0))
    seconds = []
    with _one_thread():
        for _ in range(3):  # the first one loads tables, too
            start = time.perf_counter()
            render(scene)
            seconds.append(time.perf_counter() - start)
    # Three images fit between the turns of other processes; minutes do not.
    return min(seconds) * max(1.0, (os.getloadavg()[0] + 1) / (os.cpu_count() or 1))


def _photo_section(image: str | Path | None, tell: Progress) -> Section:
    tell("lifting a photograph", 0, 1, "")
    pixels = read_image(_astronaut() if image is None else image)
    pose = MediapipePose()(pixels)
    if not pose.found:
        raise NoPersonError(
            f"no person was found in {image}: give a photograph of one standing person, at least "
            "60 pixels tall"
        )
    lifted = lift_image(pixels, pose)
    tell("lifting a photograph", 1, 1, "")
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


@contextmanager
def _one_thread() -> Iterator[None]:
    """The number of threads changes the order of sums, and with it every figure that follows."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _lift_figure(pixels: np.ndarray, pose: Pose, lifted: Lift) -> Figure:
    height, width = pixels.shape[:2]
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    covered, _ = lifted.view.covers(column.flatten() + 0.5, row.flatten() + 0.5)
    silhouette = covered.reshape(height, width).numpy()
    return lift_figure(pixels, pose.keypoints, silhouette, lifted.upright())


def _world(
    root: Path, size: DemoSize, workers: int, tell: Progress
) -> tuple[Splits, dict[str, Attributes]]:
    """Make the world and read it back like any other data set."""
    write_world(
        root,
        train_identities=size.train_identities,
        test_identities=size.test_identities,
        views=size.views,
        cameras=size.cameras,
        seed=1,
        first_identity=_FIRST_IDENTITY,
        workers=workers,
        progress=lambda done, total: tell("making a world", done, total, ""),
    )
    return load_market(root), read_attributes(root)


def _lift(
    samples: Sequence[Sample], stage: str, cache: Path, workers: int, tell: Progress
) -> CloudSet:
    def show(done: int, total: int) -> None:
        tell(stage, done, total, "")

    return lift_dataset(samples, workers=workers, progress=show, cache=cache)


def _train(
    config: TrainConfig, sets: Mapping[str, CloudSet], folder: Path, tell: Progress
) -> TrainResult:
    def show(record: StepLog) -> None:
        note = f"loss {record.loss:.2f}, accuracy {record.accuracy:.2f}"
        tell("training", record.fraction, 1.0, note)

    return train(
        config,
        sets["train"],
        out_dir=folder,
        validation=(sets["query"], sets["gallery"]),
        progress=show,
        resume=True,
    )


def _models(config: TrainConfig, trained: Path) -> dict[str, Encoder]:
    """The three networks of the comparison; the untrained one has the trained one's start."""
    start = build_model(config.model, 0, torch.Generator().manual_seed(config.seed))
    return {
        _UNTRAINED: CloudEncoder(start.eval(), Preprocessing(config.data.num_points)),
        _TRAINED: load_model(trained),
        _SHIPPED: load_model(),
    }


def _world_section(splits: Splits, attributes: Mapping[str, Attributes]) -> Section:
    occluded = [each for each in splits.query if attributes[each.name].occluded]
    chosen = splits.train[:: max(1, len(splits.train) // 11)][:11]
    rows = [[read_image(each.path) for each in line] for line in (chosen, occluded[:11])]
    people = [len({each.pid for each in split}) for split in (splits.train, splits.query)]
    text = (
        f"{people[0]} training and {people[1]} other test identities; {len(splits.train)} training "
        f"images, {len(splits.query)} queries and {len(splits.gallery)} gallery images; "
        f"{len(occluded)} of the queries are occluded. All are rendered, and lifted from the "
        "images alone, by the code that lifted the one above."
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


def _training_section(result: TrainResult) -> Section:
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
        [text, ReportImage(curves_figure(history), "Loss, accuracy, metrics.")],
    )


def _results_section(rows: Sequence[ResultRow], splits: Splits) -> Section:
    table: dict[str, dict[str, object]] = {}
    for row in rows:
        line = table.setdefault(row.method, {"method": row.method})
        line[f"rank-1, {row.queries}"] = 100 * row.metrics.rank(1)
        line[f"mAP, {row.queries}"] = 100 * row.metrics.mAP
    columns = [name for name in next(iter(table.values())) if name != "method"]
    text = (
        "In percent; gallery images of the query's identity and camera are left out. The histogram "
        "compares the colours of 13 body parts and learns nothing. The shipped weights are the "
        "same network trained longer, on other identities of such worlds. The last row adds the "
        "distances of the histogram and of the network. Bold: the best of a column."
    )
    caption = (
        f"{len(splits.query)} queries, {len(splits.gallery)} gallery images; mAP by the "
        f"{rows[0].metrics.ap} convention."
    )
    return Section(
        "Metrics",
        [text, results_table(list(table.values()), caption=caption, best=columns)],
    )


def _ranking_section(
    distances: Mapping[str, Search], splits: Splits, attributes: Mapping[str, Attributes]
) -> Section:
    """The shipped weights' answers to evenly chosen queries, occluded and not, and the worst."""
    query, gallery = splits.query, splits.gallery
    best = rank_distances(
        distances[_SHIPPED],
        Labels.of(query, gallery),
        k=len(gallery),
    ).indices.tolist()
    # The place of each query's first right answer, from 1.
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
        f"By the shipped weights; the first answer is correct for {right} of {len(query)} queries. "
        "Correct answers have a green frame, wrong ones a red one; under each query is the rank of "
        "the first correct answer.",
    ]
    for title, kind in (("Occluded", True), ("Unoccluded", False)):
        some = [index for index, hidden in enumerate(occluded) if hidden == kind]
        count = min(_SHOWN, len(some))
        if count:
            even = [some[len(some) * i // count] for i in range(count)]
            blocks.append(picture(f"{title} queries, chosen evenly.", even))
    worst = sorted(range(len(query)), key=lambda i: (-first[i], i))[:_SHOWN]
    blocks.append(picture("The queries that went worst.", worst))
    return Section("Rankings", blocks)


def _reading_section() -> Section:
    code = (
        "import og_reid\n\n"
        'cloud = og_reid.lift("image.jpg")      # a coloured point cloud\n'
        "embedding = og_reid.embed(cloud)       # (512,), unit norm\n"
        'other = og_reid.embed(og_reid.lift("other.jpg"))\n'
        "similarity = float(embedding @ other)  # 1 = equal embeddings"
    )
    return Section("Your own images", [Html(f"<pre><code>{html.escape(code)}</code></pre>")])
