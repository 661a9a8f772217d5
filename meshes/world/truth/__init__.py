"""Truth of a scene, per pixel, per person and as labels."""

from .maps import scene_truth
from .values import GARMENTS, TRUTH, CameraMatrices, LightTruth, OtherPerson, Truth

__all__ = [
    "GARMENTS",
    "TRUTH",
    "CameraMatrices",
    "LightTruth",
    "OtherPerson",
    "Truth",
    "scene_truth",
]
