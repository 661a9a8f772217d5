"""The interactive page, as a file: its data, its size, and names that try to break out."""

import base64
import html
import json
import re

import numpy as np
import pytest
import torch

import og_reid
from build_viewer import STATIC, sources_digest
from meshes import PointCloud
from og_reid.viz import Look, ViewItem, view, viewer_page
from og_reid.viz.viewer import page_bytes

HOSTILE = "</script><script>alert(1)</script><!-- {{data}} \"' &amp; \u202e\x00\ud800 <b>日本</b>"


def data_of(page: str) -> dict:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(found[1])


def array(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


@pytest.fixture
def cloud(rng):
    points = torch.randn(500, 3, generator=rng)
    part = torch.randint(-1, 24, (500,), generator=rng)
    visible = torch.rand(500, generator=rng) < 0.5
    return PointCloud(points, torch.rand(500, 3, generator=rng), part=part, visible=visible)


def test_positions_colors_and_flags_are_kept_to_their_rounding(cloud):
    item = ViewItem(cloud, "a", contribution=torch.linspace(0, 1, 500))
    (raw,) = data_of(viewer_page([item]))["items"]
    units = array(raw["points"], "<u2").reshape(-1, 3)
    points = np.array(raw["origin"]) + units * np.array(raw["step"])
    extent = np.ptp(cloud.points.numpy(), axis=0)
    assert (np.abs(points - cloud.points.numpy()) <= extent / 65535).all()
    colors = array(raw["colors"], "u1").reshape(-1, 3) / 255
    assert np.abs(colors - cloud.colors.numpy()).max() <= 0.5 / 255 + 1e-6
    flags = array(raw["flags"], "u1")
    assert (flags >> 7 == cloud.visible.numpy()).all()
    expected = np.where(item.body_part.numpy() < 0, 127, item.body_part.numpy())
    assert ((flags & 127) == expected).all()
    assert np.abs(array(raw["contribution"], "u1") / 255 - np.linspace(0, 1, 500)).max() < 0.003


def test_one_point_and_equal_points_have_pages():
    for count in (1, 3):
        cloud = PointCloud(torch.ones(count, 3), torch.ones(count, 3))
        (raw,) = data_of(viewer_page([ViewItem(cloud)]))["items"]
        assert raw["count"] == count
        assert raw["origin"] == [1, 1, 1]


def test_faces_of_equal_bodies_are_stored_once(body):
    cloud = PointCloud(body.v_template, torch.zeros(body.num_vertices, 3), part=body.part)
    items = [ViewItem(cloud, str(number)) for number in range(4)]
    page = viewer_page(items)
    data = data_of(page)
    assert len(data["meshes"]) == 1
    faces = array(data["meshes"][0]["faces"], "<u4").reshape(-1, 3)
    assert (faces == body.faces.numpy()).all()
    assert len(page) < min(page_bytes(items), 5e6)


def test_hostile_names_stay_text(cloud):
    page = viewer_page([ViewItem(cloud, HOSTILE)], title=HOSTILE)
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    (raw,) = data_of(page)["items"]
    assert raw["name"] == HOSTILE.replace("\u202e", "\ufffd").replace("\x00", "\ufffd").replace(
        "\ud800", "\ufffd"
    )
    page.encode("utf-8")
    title = re.search("<title>(.*?)</title>", page, re.DOTALL)[1]
    assert "<" not in title
    assert html.unescape(title) == raw["name"]


def test_nothing_in_the_page_names_another_place(cloud):
    page = viewer_page([ViewItem(cloud)])
    assert "default-src 'none'" in page
    assert not re.search(r'(src|href)="(?!data:)', page)
    assert "<!--" not in (STATIC / "viewer.js").read_text()


def test_large_pages_are_refused_before_they_are_made(cloud, tmp_path, monkeypatch):
    monkeypatch.setattr("og_reid.viz.viewing.viewer_page", None)
    items = [ViewItem(cloud)] * 60_000
    with pytest.raises(ValueError, match=r"60,000 items.*MB.*most_megabytes"):
        view(items, html=tmp_path / "a.html")
    assert list(tmp_path.iterdir()) == []


def test_a_page_needs_items_and_contributions(cloud):
    with pytest.raises(ValueError, match="at least one item"):
        viewer_page([])
    with pytest.raises(ValueError, match="contribution"):
        viewer_page([ViewItem(cloud)], Look(color="contribution"))


def test_notebooks_show_clouds_in_a_frame_without_rights(cloud):
    assert og_reid.__name__  # its import registers the view
    shown = cloud._repr_html_()
    assert shown.startswith("<iframe srcdoc=")
    assert 'sandbox="allow-scripts allow-downloads"' in shown
    page = html.unescape(re.search('srcdoc="(.*?)"', shown, re.DOTALL)[1])
    data = data_of(page)
    assert data["embedded"] is True
    assert data["items"][0]["count"] == 500
    assert PointCloud(torch.zeros(0, 3), torch.zeros(0, 3))._repr_html_() is None


def test_the_script_is_built_from_its_sources():
    built = (STATIC / "viewer.js").read_text(encoding="utf-8")
    assert sources_digest() in built.partition("\n")[0], "run: make viewer"
