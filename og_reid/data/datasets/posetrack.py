"""Reader of Occluded-PoseTrack-ReID: detections of PoseTrack21, selected by a sampling file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .schema import DatasetSample, PoseTrack

__all__ = ["list_posetrack"]

#: The sampling files and the annotations of a video are far below it.
_MAX_BYTES = 256_000_000


def list_posetrack(source: PoseTrack, root: Path) -> Iterator[DatasetSample]:
    """Images of a split, in the order of video, person and frame.

    The sampling file holds two columns, ``id`` and ``split``, each as an object from row to value;
    the files of the videos hold ``images`` (``id``, ``vid_id``) and ``annotations`` (``id``,
    ``image_id``, ``person_id``). A crop is called ``<video>/<person>_<video>_<frame>.jpg``.

    Raises:
        ValueError: a file breaks this format; the message names it.
    """
    wanted = _wanted(source, root / source.sampling)
    found = []
    for path in sorted((root / source.annotations).glob("*.json")):
        try:
            record = _read(path)
            videos = {image["id"]: str(image["vid_id"]) for image in record["images"]}
            for each in record["annotations"]:
                if each["id"] in wanted:
                    frame, person = each["image_id"], int(each["person_id"])
                    found.append((videos[frame], person, str(frame)))
                    wanted.discard(each["id"])
        except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
            raise ValueError(
                f"{path} must be a file of PoseTrack21 with images and annotations: {error!r}"
            ) from error
    if wanted:
        raise ValueError(
            f"{root / source.sampling}: {len(wanted):,} of its detections are not in "
            f"{root / source.annotations}: are both of one version? First: "
            f"{sorted(map(str, wanted))[:3]}"
        )
    for video, person, frame in sorted(found):
        if not (video.isalnum() and frame.isalnum() and video.isdigit()):
            raise ValueError(f"{root / source.annotations}: videos and frames must be numbers")
        name = f"{person}_{video}_{frame}.jpg"
        yield DatasetSample(
            root / source.crops / video / name, person + source.offset, source.camid,
            source_camid=int(video),
        )  # fmt: skip


def _wanted(source: PoseTrack, path: Path) -> set[Any]:
    record = _read(path)
    try:
        ids, splits = record["id"], record["split"]
        values = set(splits.values())
        chosen = {ids[row] for row, split in splits.items() if split == source.split}
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} must have the columns id and split, each from row to value: {error!r}"
        ) from error
    if not chosen:
        raise ValueError(f"{path} chooses nothing for {source.split}; its splits are {values}")
    return chosen


def _read(path: Path) -> Any:
    from pose.files.reading import reading

    with reading(path, "must be a JSON file"):
        size = path.stat().st_size
        if size > _MAX_BYTES:
            raise ValueError(f"must have at most {_MAX_BYTES // 1_000_000} MB; got {size:,} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
