"""Map of embeddings: places, nearest embeddings, and the page by mouse, touch and keyboard."""

from __future__ import annotations

import json
import re
import sys

import numpy as np
import pytest
from numpy.random import default_rng

from browser import Browsing, audit
from og_reid.viz.embedding_map import map_page, project_embeddings, write_map

IMAGE = default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)
EVIL = '</script><script>alert("1")</script>'


def data(page: str) -> dict:
    return json.loads(re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)[0])


def test_principal_components_keep_distances_of_a_plane() -> None:
    rng = default_rng(0)
    plane = rng.normal(size=(30, 2)) * [5, 1]
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    places = project_embeddings(plane @ turn[:2] + 3, "pca")

    def between(rows):
        return np.linalg.norm(rows[:, None] - rows[None], axis=-1)

    ratio = between(places)[~np.eye(30, dtype=bool)] / between(plane)[~np.eye(30, dtype=bool)]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-6)  # one scale for both axes
    assert places.min() >= 0.039
    assert places.max() <= 0.961


def test_tsne_keeps_groups_together_and_repeats() -> None:
    pytest.importorskip("sklearn")
    group = np.arange(60) % 3
    rows = np.eye(3)[group] * 10 + default_rng(0).normal(size=(60, 3))
    places = project_embeddings(rows, seed=4)
    assert (places == project_embeddings(rows, seed=4)).all()
    distance = np.linalg.norm(places[:, None] - places[None], axis=-1)
    np.fill_diagonal(distance, np.inf)
    assert (group[distance.argmin(1)] == group).mean() > 0.95


@pytest.mark.parametrize("count", [0, 1, 2, 4])
def test_few_embeddings_have_places(count: int) -> None:
    places = project_embeddings(default_rng(0).normal(size=(count, 3)))
    assert places.shape == (count, 2)
    assert np.isfinite(places).all()
    assert len(np.unique(places.round(6), axis=0)) == count


def test_equal_embeddings_have_places() -> None:
    assert np.isfinite(project_embeddings(np.ones((3, 4)))).all()


@pytest.mark.parametrize(
    ("features", "method", "message"),
    [
        (np.zeros(3), "tsne", r"must be \(N, D\)"),
        (np.zeros((3, 0)), "tsne", "D >= 1"),
        (np.full((9, 2), np.nan), "pca", "finite"),
        (np.zeros((9, 2)), "umap", "'tsne' or 'pca'; got 'umap'"),
    ],
)
def test_bad_features_are_refused(features, method, message) -> None:
    with pytest.raises(ValueError, match=message):
        project_embeddings(features, method)


def test_missing_scikit_learn_names_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(ImportError, match=r"og-reid\[map\]"):
        project_embeddings(np.eye(9))


def test_the_page_holds_nearest_embeddings_by_cosine() -> None:
    features = [[1, 0], [2, 0.1], [0, 1], [0.1, 3]]
    page = map_page(
        np.eye(4)[:, :2], list("abcd"), [IMAGE, None, None, None],
        groups=["x", "x", None, "y"], features=features, title="<i>", note="<b>",
    )  # fmt: skip
    points = data(page)["points"]
    assert [point["near"][0] for point in points] == [1, 0, 3, 2]
    assert [len(point["near"]) for point in points] == [3] * 4
    assert [point["group"] for point in points] == [0, 0, -1, 1]
    assert points[0]["image"].startswith("data:image/webp;base64,")
    assert points[1]["image"] == ""
    assert "&lt;i&gt;" in page
    assert "<b>" not in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"positions": [[0, np.nan]]}, "finite"),
        ({"positions": [[0, 0, 0]]}, r"\(N, 2\)"),
        ({"names": []}, "names must have one entry per point, 1; got 0"),
        ({"images": [IMAGE / 255]}, r"images\[0\] must be"),
        ({"groups": ["a", "b"]}, "groups must have"),
        ({"features": [[1], [2]]}, "features must have 1 rows"),
    ],
)
def test_bad_pages_are_refused(change, message) -> None:
    given = {"positions": [[0, 0]], "names": ["a"], "images": [None]} | change
    with pytest.raises(ValueError, match=message):
        map_page(given.pop("positions"), given.pop("names"), given.pop("images"), **given)


def test_the_map_by_mouse_touch_and_keyboard(tmp_path, browsing: Browsing) -> None:
    # Left, right, below the middle, and far above; the first of a hostile name.
    places = [[0.2, 0.5], [0.8, 0.5], [0.5, 0.9], [0.5, 0.05]]
    names = [EVIL, "right.jpg", "ünten " + "long" * 60, "above"]
    page = tmp_path / "map.html"
    groups = ["a", "a", None, "b"]
    write_map(page, map_page(places, names, [IMAGE] * 4, groups=groups, features=np.eye(4) + 0.1))
    shown = browsing.open(page)

    def selected() -> str:
        return shown.inner_text("#card p >> nth=0")

    assert selected() == "no point selected"
    shown.focus("#map")
    seen = []
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "Escape"):
        shown.keyboard.press(key)
        seen.append(selected())
    assert seen[0] == EVIL
    assert seen[-1] == "no point selected"
    assert seen[1:4] == ["right.jpg", names[2], EVIL]
    box = shown.locator("#map").bounding_box()
    side = min(box["width"], box["height"])
    left = box["x"] + (box["width"] - side) / 2
    shown.mouse.move(left + 0.8 * side + 6, box["y"] + 0.5 * side)
    assert selected() == "right.jpg"
    assert shown.locator("#map .kin").count() == 1
    before = shown.get_attribute("#map", "viewBox")
    shown.keyboard.press("+")
    assert shown.get_attribute("#map", "viewBox") != before
    shown.click("#all")
    assert shown.get_attribute("#map", "viewBox") == before
    shown.fill("#search", "ÜNTEN")
    assert selected() == names[2]
    shown.check("#images")
    assert shown.locator("#map image").count() == 4
    assert audit(shown) == []
    phone = browsing.open(page, width=360, height=740, touch=True, dark=True)
    box = phone.locator("#map").bounding_box()
    phone.touchscreen.tap(box["x"] + 0.8 * box["width"], box["y"] + 0.5 * box["height"])
    assert phone.inner_text("#card .name") == "right.jpg"
    root = "document.documentElement"
    assert phone.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    assert audit(phone) == []
