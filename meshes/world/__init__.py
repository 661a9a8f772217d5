"""Synthetic world of people: unlimited identities, cameras, places and occlusions."""

from .city import CITY_GROUPS
from .imaging.camera import Camera, draw_camera
from .items import ItemKey, ItemPlan, WorldDataset, WorldItem, WorldStream, dataset
from .market import WorldPlan, WorldShot, plan_world, write_world
from .people.attributes import Attributes, describe_identity
from .people.identity import Identity, draw_identity
from .people.words import Description, describe_in_words, person_facts, seen_facts
from .presets import world_settings
from .rendering import Rendered, render
from .scene import Scene, sample_scene
from .scenery.occluders import OCCLUDERS
from .settings import SETTINGS, WorldSettings
from .tracks import Track, sample_track
from .truth import TRUTH, CameraMatrices, LightTruth, OtherPerson, Truth, scene_truth

__all__ = [
    "CITY_GROUPS",
    "OCCLUDERS",
    "SETTINGS",
    "TRUTH",
    "Attributes",
    "Camera",
    "CameraMatrices",
    "Description",
    "Identity",
    "ItemKey",
    "ItemPlan",
    "LightTruth",
    "OtherPerson",
    "Rendered",
    "Scene",
    "Track",
    "Truth",
    "WorldDataset",
    "WorldItem",
    "WorldPlan",
    "WorldSettings",
    "WorldShot",
    "WorldStream",
    "dataset",
    "describe_identity",
    "describe_in_words",
    "draw_camera",
    "draw_identity",
    "person_facts",
    "plan_world",
    "render",
    "sample_scene",
    "sample_track",
    "scene_truth",
    "seen_facts",
    "world_settings",
    "write_world",
]
