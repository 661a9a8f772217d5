"""World that no training sees: other people, things, places, cameras, boxes and crowds."""

from __future__ import annotations

from ..scenery.occluders import Occluder
from ..settings import ViewRule, WorldSettings
from . import greenery, objects
from .cameras import COARSE, DARK, GALLERY, QUERY, compressed_sensor, draw_held_out_camera
from .placing import crowd, hide_in_crowd, loose_box, passer_by
from .surroundings import any_held_out_place
from .wardrobe import draw_held_out_identity

__all__ = ["HELD_OUT"]

_OCCLUDERS = {
    "bin": Occluder(objects.bin_on_wheels, 8, (0.45, 1.2)),
    "pram": Occluder(objects.pram, 8, (0.5, 1.1)),
    "scaffold": Occluder(objects.scaffold, 7, (0.5, 1.3)),
    "ladder": Occluder(objects.step_ladder, 6, (0.45, 1.0)),
    "stall": Occluder(objects.stall, 10, (0.5, 1.3)),
    "bollards": Occluder(objects.bollards, 3, (0.4, 1.0)),
    "trolley": Occluder(objects.trolley, 8, (0.5, 1.0)),
    "wheelchair": Occluder(objects.wheelchair, 6, (0.5, 1.1)),
    "clothes rack": Occluder(objects.clothes_rack, 8, (0.5, 1.1)),
    "machine": Occluder(objects.machine, 6, (0.5, 1.4)),
    "barrier": Occluder(objects.barrier, 6, (0.4, 1.2)),
    "balloons": Occluder(objects.balloons, 4, (0.5, 1.0), lift=(-0.1, 0.5)),
    "branches": Occluder(greenery.branches, 8, (0.4, 1.0)),
    "planter": Occluder(greenery.planter, 6, (0.45, 1.0)),
    "person": Occluder(passer_by, 22, (0.35, 1.2)),
    "cut": Occluder(None, 8),
}
_LEVELS = ((0.12, 0.28), (0.32, 0.48), (0.52, 0.68), (0.72, 0.88))
_VIEWS = (
    ViewRule((GALLERY[0], GALLERY[1] - 1)),
    ViewRule((GALLERY[1], GALLERY[1])),
    ViewRule(QUERY),
    *(ViewRule(QUERY, level) for level in _LEVELS),
    ViewRule(DARK, _LEVELS[0]),
    ViewRule(COARSE, _LEVELS[0]),
    ViewRule(QUERY, passers_by=(2, 5)),
)

#: Settings of the held-out world. Images 0 and 1 of an identity are its gallery, 2 to 6 queries at
#: 0 to 80 % hidden, 7 dark, 8 of low resolution, 9 in a crowd.
HELD_OUT = WorldSettings(
    name="held-out",
    identity=draw_held_out_identity,
    camera=draw_held_out_camera,
    backdrop=any_held_out_place,
    occluders=_OCCLUDERS,
    box=loose_box,
    hide=hide_in_crowd,
    others=crowd,
    sensor=compressed_sensor,
    views=_VIEWS,
)
