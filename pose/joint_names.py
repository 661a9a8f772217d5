"""Joint names of data sets, mapped to those of this package."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["check_names", "human_names"]

# Joints of each side, with their synonyms.
_SIDED = {
    "eye": "eye", "ear": "ear", "shoulder": "shoulder", "elbow": "elbow", "wrist": "wrist",
    "hip": "hip", "knee": "knee", "ankle": "ankle", "heel": "heel", "toe": "toe", "foot": "foot",
    "big_toe": "toe", "bigtoe": "toe", "toe_tip": "toe", "foot_index": "toe",
    "small_toe": "small_toe", "smalltoe": "small_toe", "little_toe": "small_toe", "hand": "hand",
    "collar": "collar", "clavicle": "collar", "eye_inner": "eye_inner", "eye_outer": "eye_outer",
    "inner_eye": "eye_inner", "outer_eye": "eye_outer", "mouth": "mouth",
}  # fmt: skip
# Joints on the middle line. A data set's "head" is no joint here, so it gets another name.
_MIDDLE = {
    "nose": "nose", "neck": "neck", "head": "head_center", "head_center": "head_center",
    "head_top": "head_top", "top_head": "head_top", "top_of_head": "head_top",
    "headtop": "head_top", "head_bottom": "head_bottom", "bottom_head": "head_bottom",
    "headbottom": "head_bottom", "upper_neck": "upper_neck", "neck_base": "neck_base",
    "mid_shoulder": "neck", "center_shoulder": "neck", "shoulder_center": "neck",
    "mid_hip": "mid_hip", "midhip": "mid_hip", "center_hip": "mid_hip", "hip_center": "mid_hip",
    "hip": "mid_hip", "pelvis": "mid_hip", "root": "mid_hip", "thorax": "thorax",
    "chest": "chest", "sternum": "sternum", "torso": "torso", "spine": "spine",
    "belly": "belly", "jaw": "jaw", "chin": "chin", "forehead": "forehead",
}  # fmt: skip
# Joint names of a body model in SMPL's layout, its landmarks included.
_SMPL = {
    "pelvis", "spine1", "spine2", "spine3", "neck", "head", "nose",
    *(f"{side}_{joint}" for side in ("left", "right") for joint in _SIDED.values()),
}  # fmt: skip
_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
# Points of face and hands, as COCO-WholeBody has them behind body and feet.
_FINE = re.compile(
    r"face\d*|(left|right)(hand(root)?\d*|palm|thumb\d*|(fore|middle|ring|index|pinky)_?finger\d*|"
    r"pinky\d*|index\d*)"
)


def human_names(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[int, ...]] | None:
    """Joints of a human skeleton by the names of `COCO_17` and the other layouts.

    Case, separators and the place of the side are free: ``L_Eye``, ``leftEye``, ``left eye`` and
    ``eye_left`` are all ``left_eye``. Points of face and hands are left out where the body is
    named, too.

    Args:
        names: names in a file's spelling.

    Returns:
        K names and their K positions in `names`; None where a name is no human joint, such as a
        paw, or two names mean one joint.
    """
    if "spine1" in names and set(names) <= _SMPL:
        return tuple(names), tuple(range(len(names)))  # with its own joints pelvis and head
    words = [_words(name) for name in names]
    ankles = any(_sided(each) in ("left_ankle", "right_ankle") for each in words)
    found: list[tuple[str, int]] = []
    for position, each in enumerate(words):
        if _FINE.fullmatch("".join(each)) and _sided(each) is None:
            continue
        known = _sided(each) or _MIDDLE.get("_".join(each))
        if known is None:
            return None
        # Human3.6M calls the ankle a foot.
        if known in ("left_foot", "right_foot") and not ankles:
            known = known.replace("foot", "ankle")
        found.append((known, position))
    known_names = tuple(name for name, _ in found)
    if not found or len(set(known_names)) < len(known_names):
        return None
    return known_names, tuple(position for _, position in found)


def check_names(names: Sequence[str]) -> tuple[str, ...]:
    """Validated keypoint names.

    Raises:
        ValueError: they are no sequence of different texts.
    """
    if isinstance(names, str) or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"names must be a sequence of texts, one for each keypoint; got {names!r}")
    if not len(names) or len(set(names)) < len(names):
        raise ValueError(f"names must be at least one and differ from each other; got {names!r}")
    return tuple(names)


def _words(name: str) -> list[str]:
    """Lower-case words of a name: ``LEye``, ``leftEye``, ``eye.L`` -> eye and its side."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=^[LR])(?=[A-Z][a-z])", " ", name)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]


def _sided(words: Sequence[str]) -> str | None:
    """``left_eye`` of the words left and eye, in any order; None where they name no such joint."""
    for at in (0, -1):
        if len(words) < 2 or words[at] not in _SIDES:
            continue
        rest = list(words)
        side = _SIDES[rest.pop(at)]
        joint = _SIDED.get("_".join(rest))
        if joint is not None:
            return f"{side}_{joint}"
    return None
