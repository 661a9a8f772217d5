"""Labels of appearance."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meshes.world import describe_identity, draw_identity, world_settings
from meshes.world.people.attributes import ATTRIBUTE_VALUES, COLORS, color_name
from meshes.world.surfaces.fabric import Fabric
from meshes.world.surfaces.palette import _CLOTH

NAMED = {
    "black": "black", "white": "white", "grey": "grey", "blue": "blue", "green": "green",
    "yellow": "yellow", "orange": "orange", "red": "red", "pink": "pink", "purple": "purple",
    "brown": "brown", "navy": "blue", "denim": "blue", "sky": "blue", "olive": "green",
    "light grey": "grey", "lilac": "purple", "mint": "green", "beige": "brown", "burgundy": "red",
}  # fmt: skip


@pytest.mark.parametrize(("cloth", "term"), NAMED.items())
def test_cloth_colours_have_their_basic_term(cloth, term):
    assert color_name(_CLOTH[cloth]) == term


@pytest.mark.parametrize("settings", ["default", "held-out"])
def test_every_identity_has_labels(settings):
    draw = world_settings(settings).identity
    found = [describe_identity(draw(seed)) for seed in range(60)]
    assert len({each.upper_color for each in found}) > 5
    assert all(1.4 < each.stature < 2.1 for each in found)
    assert {each.sleeves for each in found} >= {"short", "long"}


def test_labels_are_those_of_the_outermost_clothes():
    identity = draw_identity(3)
    red = Fabric("solid", ((0.72, 0.12, 0.14),) * 3)
    striped = Fabric("hstripe", ((0.1, 0.28, 0.63), (0.13, 0.28, 0.63), (0.13, 0.28, 0.63)))
    top = replace(identity.top, kind="top", fabric=striped, sleeve=0.3)
    bare = replace(identity, jacket=None, cape=None, top=top)
    assert describe_identity(bare).upper_color == "blue"
    assert describe_identity(bare).upper_pattern == "patterned"
    assert describe_identity(bare).sleeves == "short"
    coat = replace(identity.top, kind="coat", fabric=red, sleeve=0.67, hem=-0.4)
    dressed = describe_identity(replace(bare, jacket=coat))
    assert (dressed.upper, dressed.upper_color) == ("coat", "red")
    assert (dressed.upper_pattern, dressed.sleeves) == ("plain", "long")
    short = replace(identity.bottom, kind="shorts", hem=-0.3, fabric=red)
    assert describe_identity(replace(bare, bottom=short)).lower_length == "short"
    assert describe_identity(replace(bare, bottom=short)).lower_color == "red"
    tall = replace(bare, betas=bare.betas.clone().index_fill_(0, bare.betas.new_zeros(1).long(), 2))
    assert describe_identity(tall).stature != describe_identity(bare).stature


def test_values_out_of_range_are_refused():
    labels = describe_identity(draw_identity(0))
    for name in ATTRIBUTE_VALUES:
        with pytest.raises(ValueError, match=name):
            replace(labels, **{name: "turquoise"})
    with pytest.raises(ValueError, match="beard"):
        replace(labels, beard=1)
    with pytest.raises(ValueError, match="stature"):
        replace(labels, stature=float("nan"))
    assert len(set(COLORS)) == 11
