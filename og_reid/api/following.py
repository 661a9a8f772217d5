"""Public function: follow people through videos, across gaps and cameras."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pose.runtime.defaults import plain_torch

from ..data.files.mot import UNKNOWN, BoxTracks, read_mot
from ..data.images.frames import FrameSource, numbered_frames
from ..inference.detections import DetectedPeople, crop_people, takes_marks
from ..inference.encoder import EmbedOptions, Encoder, GivenInput
from ..inference.extract import usable_device
from ..inference.pretrained import DEFAULT_MODEL, encoder_for
from ..models.embedding import Embedding
from ..retrieval.calibration import Calibration
from ..retrieval.inputs import as_count
from ..retrieval.progress import Progress
from ..tracking.joining import join_tracklets
from ..tracking.linking import link_boxes
from ..tracking.pair_evidence import PairEvidence, pair_evidence
from ..tracking.result import FollowedTracklet, FollowResult, FollowSettings, rounded
from ..tracking.tracklet_embeddings import tracklet_embeddings
from ..tracking.tracklets import (
    Tracklet,
    box_clearness,
    choose_boxes,
    split_tracklets,
    tracklets_apart,
)

__all__ = ["follow"]

#: Name of the camera where none is given.
CAMERA = "camera"


@plain_torch()
def follow(
    frames: FrameSource | Mapping[str, FrameSource],
    detections: BoxTracks | str | Path | Mapping[str, BoxTracks | str | Path],
    model: str | Path | Encoder = DEFAULT_MODEL,
    *,
    settings: FollowSettings | None = None,
    calibration: Calibration | None = None,
    batch_size: int = 32,
    device: str | torch.device | None = None,
    progress: Progress | None = None,
) -> FollowResult:
    """Follow people through videos: join their tracklets across gaps and cameras.

    Boxes without an identity are linked from frame to frame by their overlap. The clearest images
    of each tracklet are embedded; tracklets whose images are probably of one person are joined,
    never two that are in one frame.

    Args:
        frames: Video of a camera: file, folder of images, or images, see
            `og_reid.data.images.frames.numbered_frames`; or those of several cameras by name.
        detections: Boxes of people in the frames, or a file of them (`og_reid.data.read_mot`); for
            several cameras by the same names. Identities, where they are given, are tracklets.
        model: As for `og_reid.describe`; a model of images.
        settings: Number of images, threshold and more; None: the defaults.
        calibration: Probability of one person from the similarity of two images; None: that of the
            model. For models without local features, similarities are cosines, and all pairs have
            the shared evidence 1.
        batch_size: As for `og_reid.describe`.
        device: Likewise.
        progress: Called with (images embedded, images in all).

    Returns:
        The boxes with the numbers of people, the tracklets, and an embedding of each.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: A file is not readable, names of cameras differ, a frame is missing, or the
            model is not of images or has no calibration.
        ImportError: A video file is given, and OpenCV is missing.
    """
    settings, size = settings or FollowSettings(), as_count(batch_size, "batch_size")
    where = None if device is None else usable_device(device)
    encoder = encoder_for(model, clouds=False)
    used = calibration or getattr(encoder.preprocessing, "calibration", None)
    if encoder.inputs != "image" or used is None:
        raise ValueError(
            "model must be one of images with a calibration; give the default one, or calibration="
            "og_reid.retrieval.fit_calibration(scores, shared, same) of labelled pairs"
        )
    if where is not None:
        encoder = encoder.to(where)
    videos, boxes = _cameras(frames, detections)
    linked = {
        name: link_boxes(each, overlap=settings.overlap, gap=settings.gap)
        for name, each in boxes.items()
    }
    tracklets = [each for name, tracks in linked.items() for each in split_tracklets(name, tracks)]
    images, owner = _embedded(encoder, videos, linked, tracklets, settings.images, size, progress)
    if images is None:
        nothing = torch.zeros(len(tracklets), len(tracklets), dtype=torch.float64)
        evidence = PairEvidence(nothing, nothing)
    else:
        interaction = getattr(encoder.preprocessing, "interaction", None)
        evidence = pair_evidence(images, owner, len(tracklets), used, interaction)
    apart = tracklets_apart(tracklets, settings.max_gap)
    groups, confidence = join_tracklets(
        evidence, apart, threshold=settings.threshold, prior=settings.prior
    )
    result = _result(linked, tracklets, groups, confidence, owner, settings)
    if images is None or images.features is None:
        return result
    return replace(result, embeddings=tracklet_embeddings(images, owner)[0])


def _cameras(frames: Any, detections: Any) -> tuple[dict[str, Any], dict[str, BoxTracks]]:
    """Videos and boxes by the name of the camera."""
    if not isinstance(frames, Mapping) and not isinstance(detections, Mapping):
        frames, detections = {CAMERA: frames}, {CAMERA: detections}
    if not isinstance(frames, Mapping) or not isinstance(detections, Mapping):
        raise ValueError("frames and detections must both be of one camera, or of several by name")
    if set(frames) != set(detections) or not frames:
        raise ValueError(
            "frames and detections must have the same cameras, at least one; got "
            f"{sorted(map(str, frames))} and {sorted(map(str, detections))}"
        )
    read = {
        str(name): each if isinstance(each, BoxTracks) else read_mot(each)
        for name, each in detections.items()
    }
    return {str(name): each for name, each in frames.items()}, read


def _embedded(
    encoder: Encoder,
    videos: Mapping[str, Any],
    linked: Mapping[str, BoxTracks],
    tracklets: list[Tracklet],
    count: int,
    size: int,
    progress: Progress | None,
) -> tuple[Embedding | None, np.ndarray]:
    """Embeddings of the chosen images of all tracklets, and the tracklet of each."""
    clear = {name: box_clearness(tracks) for name, tracks in linked.items()}
    chosen: dict[str, dict[int, int]] = {name: {} for name in linked}
    for number, each in enumerate(tracklets):
        for row in choose_boxes(clear[each.camera], each, count).tolist():
            chosen[each.camera][row] = number
    total = sum(map(len, chosen.values()))
    found: list[Embedding] = []
    owner: list[int] = []
    waiting: list[tuple[np.ndarray, np.ndarray | None]] = []

    def embed() -> None:
        masks = [mask for _, mask in waiting] if takes_marks(encoder) else None
        given = GivenInput([image for image, _ in waiting], masks=masks)
        items, _ = encoder.accept(given)
        found.append(Embedding.cat(encoder.embed(items, EmbedOptions(batch_size=size))))
        waiting.clear()

    for name, rows in chosen.items():
        for people, numbers in _people(videos[name], linked[name], rows):
            waiting += zip(people.images, people.masks, strict=True)
            owner += numbers
            if len(waiting) >= size:
                embed()
            if progress is not None:
                progress(len(owner), total)
    if waiting:
        embed()
    return (Embedding.cat(found) if found else None), np.array(owner, np.int64)


def _people(
    video: FrameSource, tracks: BoxTracks, rows: Mapping[int, int]
) -> Iterator[tuple[DetectedPeople, list[int]]]:
    """Crops of the chosen boxes frame by frame, and the tracklet of each.

    Boxes outside of the image are left out.
    """
    frames = {int(tracks.frames[row]) for row in rows}
    for frame, image in numbered_frames(video, frames):
        there = np.flatnonzero(tracks.frames == frame)
        boxes = tracks.boxes[there]
        edge = np.array([image.shape[1], image.shape[0]])
        inside = (np.minimum(boxes[:, 2:], edge) > np.maximum(boxes[:, :2], 0)).all(1)
        there, boxes = there[inside], boxes[inside]
        wanted = [place for place, row in enumerate(there.tolist()) if row in rows]
        yield crop_people(image, boxes, wanted), [rows[int(there[place])] for place in wanted]


def _result(
    linked: Mapping[str, BoxTracks],
    tracklets: list[Tracklet],
    groups: np.ndarray,
    confidence: np.ndarray,
    owner: np.ndarray,
    settings: FollowSettings,
) -> FollowResult:
    images = np.bincount(owner, minlength=len(tracklets))
    ids = {name: np.full(len(tracks), UNKNOWN) for name, tracks in linked.items()}
    found = []
    for number, each in enumerate(tracklets):
        person = int(groups[number]) + 1
        ids[each.camera][each.rows] = person
        found.append(
            FollowedTracklet(
                each.camera, each.id, person, int(each.frames[0]), int(each.frames[-1]),
                len(each.rows), int(images[number]), rounded(float(confidence[number])),
            )
        )  # fmt: skip
    tracks = {name: each.with_ids(ids[name]) for name, each in linked.items()}
    return FollowResult(tracks, dict(linked), tuple(found), settings)
