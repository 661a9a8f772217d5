"""Synthetic world of people: unlimited identities, cameras, places and occlusions."""

from .city import CITY_GROUPS
from .dataset import WorldPlan, WorldShot, plan_world, write_world
from .imaging.camera import Camera, draw_camera
from .people.identity import Identity, draw_identity
from .presets import world_settings
from .rendering import Rendered, render
from .scene import Scene, sample_scene
from .scenery.occluders import OCCLUDERS
from .settings import SETTINGS, WorldSettings

__all__ = [
    "CITY_GROUPS",
    "OCCLUDERS",
    "SETTINGS",
    "Camera",
    "Identity",
    "Rendered",
    "Scene",
    "WorldPlan",
    "WorldSettings",
    "WorldShot",
    "draw_camera",
    "draw_identity",
    "plan_world",
    "render",
    "sample_scene",
    "world_settings",
    "write_world",
]
