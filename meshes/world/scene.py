"""Scene of one image: person, camera, light, backdrop and occluders."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from pose.runtime.defaults import plain_torch

from .imaging.camera import Camera, Light, View, take_view
from .imaging.conditions import NOON, Conditions
from .imaging.sensor import Sensor, plain_sensor
from .people.clothing import build_outfit
from .people.figure import Figure, pose_figure
from .people.identity import Identity
from .rng import Rng
from .scenery.backdrop import Surroundings
from .scenery.hiding import HIDDEN_RANGE
from .scenery.occluders import Occluder
from .settings import DEFAULT, WorldSettings
from .surfaces.pieces import MeshPart

__all__ = ["HIDDEN_RANGE", "IMAGE_SIZE", "Scene", "draw_heading", "sample_scene"]

IMAGE_SIZE = (256, 128)
"""Height and width of an image, pixels."""


@dataclass(frozen=True, eq=False)
class Scene:
    """Content of one image.

    Attributes:
        figure: the person.
        camera: the camera.
        view: the cropped view.
        light: sun and sky.
        backdrop: ground and walls.
        front: pieces that may hide the person, among them its belongings on the ground.
        behind: other pieces.
        occluder: "none" or a kind of occlusion.
        inside: fraction of the person's area inside the image's borders.
        seed: seed of the sensor's noise.
        sensor: light to pixels.
        conditions: time, weather and place.
    """

    figure: Figure
    camera: Camera
    view: View
    light: Light
    backdrop: Surroundings
    front: tuple[MeshPart, ...]
    behind: tuple[MeshPart, ...]
    occluder: str
    inside: float
    seed: int
    sensor: Sensor = plain_sensor
    conditions: Conditions = NOON


@plain_torch()
def sample_scene(
    identity: int | Identity,
    camera: Camera,
    generator: torch.Generator,
    occlusion: str | Sequence[str] | None = None,
    *,
    hidden_range: tuple[float, float] = HIDDEN_RANGE,
    passers_by: int | None = None,
    settings: WorldSettings = DEFAULT,
) -> Scene:
    """Random scene of an identity in a camera.

    Args:
        identity: the identity or its number.
        camera: the camera.
        generator: source of all that is random in the image; it is advanced.
        occlusion: None for a clear view, "any", or one or several of ``settings.occluders`` to
            choose from.
        hidden_range: range of the occluded fraction of the person, kept where the occluders allow.
        passers_by: number of other people beside and behind; None: drawn by the settings.
        settings: clothes, occluders, backdrops, boxes and sensors to draw from.

    Raises:
        ValueError: unknown kind of occlusion, or a range outside of [0, 1].
    """
    person = settings.identity(identity) if isinstance(identity, int) else identity
    occluders = _chosen(occlusion, settings.occluders)
    low, high = hidden_range
    if not 0 <= low < high <= 1:
        raise ValueError(f"hidden_range must be ordered and in [0, 1]; got {hidden_range}")
    source = Rng(generator)
    if settings.branches:
        source = Rng.seeded(settings.name, source.integer(0, 1 << 62))

    def stream(part: str) -> Rng:
        return source.branch(part) if settings.branches else source

    joints = build_outfit(person).joints
    conditions = settings.conditions(camera, stream("conditions"))
    motion = settings.motion(stream("motion"), person, joints)
    distance, aside = settings.stand(camera, stream("stand"))
    heading = draw_heading(camera, stream("heading"))
    figure = pose_figure(person, motion, heading, (aside, 0.0))
    figure, beside = settings.belongings(figure, stream("belongings"))
    whole = take_view(camera, distance, IMAGE_SIZE)
    whole = settings.shutter(whole, camera, stream("shutter"))
    view, inside = settings.box(figure, whole, stream("box"))
    hiding: list[MeshPart] = []
    occluder = "none"
    if occluders:
        hide = settings.hide
        occluder, hiding, view, left = hide(figure, view, stream("hide"), occluders, hidden_range)
        inside *= left
    backdrop = settings.backdrop(conditions, stream("backdrop"))
    behind = settings.others(stream("others"), aside, figure, view, passers_by)
    return Scene(
        figure=figure,
        camera=camera,
        view=view,
        light=settings.light(camera, conditions, stream("light")),
        backdrop=backdrop,
        front=(*beside, *hiding),
        behind=tuple(behind),
        occluder=occluder,
        inside=inside,
        seed=stream("seed").integer(0, 1 << 40),
        sensor=settings.sensor,
        conditions=conditions,
    )


def _chosen(
    occlusion: str | Sequence[str] | None, occluders: Mapping[str, Occluder]
) -> dict[str, Occluder]:
    if occlusion is None:
        return {}
    if occlusion == "any":
        return dict(occluders)
    kinds = (occlusion,) if isinstance(occlusion, str) else tuple(occlusion)
    unknown = [kind for kind in kinds if kind not in occluders]
    if unknown or not kinds:
        raise ValueError(
            f"occlusion must be None, 'any' or out of {tuple(occluders)}; got {occlusion!r}"
        )
    return {kind: occluders[kind] for kind in kinds}


def draw_heading(camera: Camera, rng: Rng) -> float:
    """Heading, radians: mostly along one path in a camera's view, in both directions."""
    if rng.flag(0.35):
        return rng.uniform(-math.pi, math.pi)
    return camera.heading + (math.pi if rng.flag(0.5) else 0.0) + rng.normal(0, 0.35)
