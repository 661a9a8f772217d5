"""Textures: merging of several, completion of unseen texels."""

from dataclasses import replace

import pytest
import torch

from meshes import Texture, complete_texture, merge_textures, unwrap
from meshes.body.atlas import load_atlas
from meshes.texture.values import MIRRORED, NEARBY, SEEN, UNKNOWN
from textured import part_image, standing_fit

SIZE = 64


@pytest.fixture(scope="module")
def views(body):
    result = []
    for yaw in (0.0, 1.6, 3.1):
        fit = standing_fit(body, yaw=yaw)
        image, mask = part_image(fit)
        result.append(unwrap(fit, image, mask=mask, size=SIZE, relight=False, swell=False))
    return result


def test_views_from_around_cover_the_body_and_agree(body, views):
    merged = merge_textures(views)
    covered = load_atlas(body).texels(SIZE).covered
    parts = [float((view.visibility > 0).sum() / covered.sum()) for view in views]
    assert float((merged.visibility > 0).sum() / covered.sum()) > max(parts) + 0.3
    for view in views:
        there = view.visibility > 0.5
        error = (merged.color - view.color).abs().amax(-1)[there]
        assert float(error.median()) < 0.02
        assert bool((merged.visibility >= view.visibility).all())


def test_a_texture_merged_with_itself_or_alone_stays(views):
    for same in (merge_textures([views[0]]), merge_textures([views[0], views[0]])):
        assert torch.allclose(same.color, views[0].color, atol=1e-5)
        assert torch.equal(same.visibility, views[0].visibility)
        assert torch.equal(same.source, views[0].source)


def test_exposures_are_matched_where_both_are_seen(views):
    dark = replace(views[0], color=views[0].color * 0.7)
    merged = merge_textures([views[0], dark])
    seen = merged.source == SEEN
    assert torch.allclose(merged.color[seen], views[0].color[seen], atol=0.02)


def test_completed_texels_do_not_count_in_a_merge(body, views):
    full = complete_texture(views[0], body)
    assert torch.equal(merge_textures([full]).source, views[0].source)


def test_completion_fills_the_body_and_flags_what_it_fills(body, views):
    covered = load_atlas(body).texels(SIZE).covered
    full = complete_texture(views[1], body)
    assert bool((full.source[covered] != UNKNOWN).all())
    assert bool((full.source[~covered] == UNKNOWN).all())
    kept = views[1].source == SEEN
    assert torch.equal(full.color[kept], views[1].color[kept])
    assert torch.equal(full.source == SEEN, kept)
    assert torch.equal(full.visibility, views[1].visibility)
    mirrored = full.source == MIRRORED
    assert int(mirrored.sum()) > 100
    assert torch.equal(full.color[mirrored], views[1].color.flip(1)[mirrored])
    assert complete_texture(full, body) is full
    plain = complete_texture(views[1], body, mirror=False)
    assert not bool((plain.source == MIRRORED).any())
    assert int((plain.source == NEARBY).sum()) == int((mirrored | (full.source == NEARBY)).sum())


def test_one_seen_texel_colours_the_whole_body(body):
    covered = load_atlas(body).texels(SIZE).covered
    row, column = covered.nonzero()[len(covered) // 2].tolist()
    source = torch.zeros(SIZE, SIZE, dtype=torch.uint8)
    color, visibility = torch.zeros(SIZE, SIZE, 3), torch.zeros(SIZE, SIZE)
    source[row, column], visibility[row, column] = SEEN, 0.5
    color[row, column] = torch.tensor([0.2, 0.4, 0.6])
    one = Texture(color, visibility, source, torch.zeros(10), torch.zeros(body.num_vertices))
    full = complete_texture(one, body)
    assert torch.allclose(full.color[covered], color[row, column].expand(int(covered.sum()), 3))


def test_without_a_seen_texel_nothing_is_completed(body):
    empty = Texture(
        torch.zeros(8, 8, 3), torch.zeros(8, 8), torch.zeros(8, 8, dtype=torch.uint8),
        torch.zeros(10), torch.zeros(body.num_vertices),
    )  # fmt: skip
    assert complete_texture(empty, body) is empty
    assert float(merge_textures([empty, empty]).visibility.max()) == 0


def test_wrong_values_are_named(views):
    with pytest.raises(ValueError, match="at least one"):
        merge_textures([])
    small = Texture(
        torch.zeros(8, 8, 3), torch.zeros(8, 8), torch.zeros(8, 8, dtype=torch.uint8),
        torch.zeros(10), torch.zeros(6879),
    )  # fmt: skip
    with pytest.raises(ValueError, match="one size and body"):
        merge_textures([views[0], small])
    with pytest.raises(ValueError, match=r"color must be \(S, S, 3\)"):
        replace(small, color=torch.zeros(8, 9, 3))
    with pytest.raises(ValueError, match=r"visibility must be \(8, 8\)"):
        replace(small, visibility=torch.zeros(8))
    with pytest.raises(ValueError, match=r"visibility must be in \[0, 1\]"):
        replace(small, visibility=torch.full((8, 8), torch.nan))
    with pytest.raises(ValueError, match="betas and offset"):
        replace(small, offset=torch.zeros(2, 2))
