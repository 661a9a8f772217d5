"""Choices by name, for signatures and command lines; this module imports without torch."""

from __future__ import annotations

from typing import Literal

__all__ = ["FileFormat", "Masks", "Target"]

Target = Literal[
    "first", "most_joints", "most_joints_last", "most_confident", "largest", "most_central"
]
"""Rule that selects one of several people in an image, see `pose.select_person`."""

FileFormat = Literal["coco", "alphapose", "sep-json", "openpose", "kpr", "mmpose"]
"""Format of keypoint files. ``coco`` and ``alphapose`` are one file of many images, the others a
folder with a file for each image: named as the image but for its ending; ``openpose`` appends
``_keypoints.json`` to the stem, and ``kpr`` to the whole name. The files may lie in
folders as the images do."""

Masks = Literal["own-surface", "pose"]
"""Source of the masks of people in lifts: their own surface by the default model for images,
see `og_reid.lift`, or people as the pose estimator finds them."""
