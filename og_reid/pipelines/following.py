"""People followed through videos: boxes with joined identities, a summary, and sheets of frames."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .fields import as_path, as_tuple
from .input_files import check_model, check_output, is_there
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from ..inference.encoder import Encoder
    from ..tracking.result import FollowResult, FollowSettings

__all__ = ["FollowSpec", "Followed", "follow_videos"]

_SHEETS = ("png", "gif")
_SHOWN = {"png": 8, "gif": 60}  # frames of a sheet


@dataclass(frozen=True)
class FollowSpec:
    """Videos and boxes, the model, and the folder of the result.

    Attributes:
        videos: Video, or folder of frames, of each camera.
        detections: File of boxes of each camera, in the same order, see `og_reid.data.read_mot`.
        out: Folder of the result.
        model: Path for `og_reid.load_model`, or its result.
        images: See `og_reid.tracking.FollowSettings`.
        threshold: Likewise.
        overlap: Likewise.
        gap: Likewise.
        max_gap: Likewise.
        sheet: Also write frames with boxes before and after: png or gif; None: no.

    Raises:
        ValueError: A value is out of its range, or numbers of videos and files differ.
    """

    videos: tuple[Path, ...]
    detections: tuple[Path, ...]
    out: Path
    model: str | Path | Encoder = "default"
    images: int = 6
    threshold: float = 0.5
    overlap: float = 0.3
    gap: int = 2
    max_gap: int | None = None
    sheet: str | None = None

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        as_path(self, "out")
        for name in ("videos", "detections"):
            as_tuple(self, name)
            object.__setattr__(self, name, tuple(map(Path, getattr(self, name))))
        if len(self.videos) != len(self.detections) or not self.videos:
            raise ValueError(
                "--detections must have one file for each video, in their order; got "
                f"{len(self.detections)} for {len(self.videos)}"
            )
        if self.sheet not in (None, *_SHEETS):
            raise ValueError(f"--sheet must be {' or '.join(_SHEETS)}; got {self.sheet!r}")
        _ = self.settings

    @property
    def settings(self) -> FollowSettings:
        """Settings of `og_reid.follow`."""
        from ..tracking.result import FollowSettings

        return FollowSettings(
            self.images, self.threshold, overlap=self.overlap, gap=self.gap, max_gap=self.max_gap
        )

    @property
    def cameras(self) -> tuple[str, ...]:
        """Name of each camera: that of its video, with a number where two are the same."""
        stems = [each.stem or each.name for each in self.videos]
        twice = {name for name, count in Counter(stems).items() if count > 1}
        return tuple(
            f"{stem}-{place}" if stem in twice else stem for place, stem in enumerate(stems, 1)
        )


@dataclass(frozen=True, eq=False)
class Followed:
    """Written result.

    Attributes:
        result: People and their tracks.
        files: Written files: the boxes of each camera, sheets of frames, the summary.
    """

    result: FollowResult
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return "\n".join([str(self.result), *map(str, self.files)])


def follow_videos(spec: FollowSpec, progress: StageProgress | None = None) -> Followed:
    """Follows people through videos, and writes their boxes with joined identities.

    Args:
        spec: Videos, boxes, model, output.
        progress: Called with ("embedding", images done, images in all).

    Raises:
        ValueError: Files are missing or unreadable, or do not belong together.
    """
    check_model(spec.model)
    check_output(spec.out, folder=True)
    for path in (*spec.videos, *spec.detections):  # before packages are imported
        if not is_there(path):
            raise ValueError(f"{path} is not there: give a video and the file of its boxes")

    from ..api import follow
    from ..data.files.mot import read_mot, write_mot

    videos = dict(zip(spec.cameras, spec.videos, strict=True))
    boxes = {name: read_mot(path) for name, path in zip(videos, spec.detections, strict=True)}
    result = follow(
        videos,
        boxes,
        spec.model,
        settings=spec.settings,
        progress=stage_progress(progress, "embedding"),
    )
    spec.out.mkdir(parents=True, exist_ok=True)
    files = []
    for name, tracks in result.tracks.items():
        files.append(spec.out / f"{name}.csv")
        write_mot(files[-1], tracks)
        if spec.sheet is not None and len(tracks):
            files.append(spec.out / f"{name}.{spec.sheet}")
            _draw(files[-1], videos[name], name, result)
    files.append(spec.out / "follow.json")
    _write_summary(files[-1], result)
    return Followed(result, tuple(files))


def _write_summary(path: Path, result: FollowResult) -> None:
    from pose.files.atomic_write import atomic_write

    with atomic_write(path) as partial:
        partial.write_text(json.dumps(result.summary(), indent=1) + "\n", encoding="utf-8")


def _draw(path: Path, video: Path, camera: str, result: FollowResult) -> None:
    """Sheet of frames that are spread over those with boxes."""
    import numpy as np

    from ..data.images.frames import numbered_frames
    from ..viz.tracks import write_before_after

    tracks = result.tracks[camera]
    before = result.linked[camera].ids
    frames = np.unique(tracks.frames)
    count = min(len(frames), _SHOWN[path.suffix[1:]])
    chosen = frames[np.linspace(0, len(frames) - 1, count).round().astype(int)]
    images, boxes, first, second = [], [], [], []
    for number, image in numbered_frames(video, set(chosen.tolist())):
        rows = tracks.frames == number
        images.append(image)
        boxes.append(tracks.boxes[rows])
        first.append(before[rows].tolist())
        second.append(tracks.ids[rows].tolist())
    write_before_after(path, images, boxes, first, second)
