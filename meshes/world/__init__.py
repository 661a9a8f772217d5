"""A synthetic world of people: endless identities, cameras, places and occlusions."""

from .camera import Camera, draw_camera
from .dataset import WorldPlan, WorldShot, plan_world, write_world
from .identity import Identity, draw_identity
from .occluders import OCCLUDERS
from .render import Rendered, render
from .scene import Scene, sample_scene

__all__ = [
    "OCCLUDERS",
    "Camera",
    "Identity",
    "Rendered",
    "Scene",
    "WorldPlan",
    "WorldShot",
    "draw_camera",
    "draw_identity",
    "plan_world",
    "render",
    "sample_scene",
    "write_world",
]
