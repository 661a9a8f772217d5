"""Figures: the right panels with the right marks in them."""

import io
import sys

import numpy as np
import pytest
import torch

from meshes.pointcloud import PointCloud
from og_reid.viz import view
from og_reid.viz.curves import curves_figure
from og_reid.viz.lift import lift_figure
from og_reid.viz.ranking import Ranking, ranking_figure, sheet_figure
from og_reid.viz.style import DARK, LIGHT, rgb
from pose import COCO_17, Keypoints

colors = pytest.importorskip("matplotlib.colors")

GREEN, ORANGE, RED = LIGHT.right, LIGHT.doubtful, LIGHT.wrong


@pytest.fixture
def photo():
    return np.random.default_rng(0).integers(0, 256, (40, 20, 3), dtype=np.uint8)


@pytest.fixture
def keypoints():
    generator = torch.Generator().manual_seed(0)
    xy = torch.rand(17, 2, generator=generator) * torch.tensor([20.0, 40.0])
    score = torch.ones(17)
    score[16] = 0  # not found
    visibility = torch.ones(17)
    visibility[[9, 10]] = torch.tensor([0.3, 0.05])
    return Keypoints(xy, score, visibility)


@pytest.fixture
def cloud():
    """A red slab in front, an unseen one behind, and bright green background far off."""
    grid = torch.cartesian_prod(torch.linspace(-0.3, 0.3, 25), torch.linspace(-0.9, 0.9, 75))
    front = torch.cat([grid, torch.full((len(grid), 1), 0.1)], 1)
    back = front * torch.tensor([1.0, 1.0, -1.0])
    beside = torch.tensor([[3.0, 0.0, 0.0]])
    count = len(grid)
    return PointCloud(
        points=torch.cat([front, back, beside]),
        colors=torch.cat(
            [
                torch.tensor([[1.0, 0, 0]]).expand(count, 3),
                torch.full((count, 3), 0.5),
                torch.tensor([[0.0, 1, 0]]),
            ]
        ),
        visible=torch.cat([torch.ones(count), torch.zeros(count), torch.ones(1)]).bool(),
        part=torch.cat([torch.zeros(2 * count), torch.full((1,), -1)]).long(),
    )


def drawn(figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def images(figure) -> list[np.ndarray]:
    return [axis.images[0].get_array() for axis in figure.axes if axis.images]


def test_lift_figure_panels(photo, keypoints, cloud):
    figure = lift_figure(photo, keypoints, photo[::-1], cloud)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles[:3] == ["image", "keypoints", "fitted body"]
    assert len(titles) == 6
    shown = images(figure)
    np.testing.assert_array_equal(shown[0], photo)
    np.testing.assert_array_equal(shown[1], photo)
    np.testing.assert_array_equal(shown[2], photo[::-1])
    front, _, back = shown[3:]
    center = (front.shape[0] // 2, front.shape[1] // 2)
    assert front[center].tolist() == [255, 0, 0]
    assert len(set(back[center].tolist())) == 1  # unseen: grey
    assert 128 < back[center][0] < 255
    # The background point would have shrunk the person; it is not drawn.
    assert (front[:, center[1]] != 255).any(-1).mean() > 0.85
    assert not (front == (0, 255, 0)).all(-1).any()
    assert drawn(figure).startswith(b"\x89PNG")


def test_lift_figure_marks_visibility(photo, keypoints, cloud):
    axis = lift_figure(photo, keypoints, None, cloud).axes[1]
    marks = {
        tuple(np.round(np.ravel(line.get_data()), 3)): line.get_color()
        for line in axis.lines
        if len(line.get_xdata()) == 1
    }
    assert len(marks) == 16  # the joint that was not found is not drawn
    place = [tuple(np.round(p, 3)) for p in keypoints.xy.numpy()]
    assert marks[place[0]] == GREEN
    assert marks[place[9]] == ORANGE
    assert marks[place[10]] == RED
    bones = [line for line in axis.lines if len(line.get_xdata()) == 2]
    assert len(bones) == 15  # 16 without the one to the missing ankle
    assert sorted({line.get_color() for line in bones}) == sorted({GREEN, ORANGE, RED})
    # Joints far outside must not shrink the image.
    assert axis.get_xlim() == (0, 20)
    assert axis.get_ylim() == (40, 0)


def test_lift_figure_draws_a_silhouette(photo, keypoints, cloud):
    silhouette = np.zeros((40, 20), bool)
    silhouette[10:30, 5:15] = True
    shown = images(lift_figure(photo, keypoints, silhouette, cloud))[2]
    np.testing.assert_array_equal(shown[~silhouette], photo[~silhouette])
    tint = np.array(rgb(DARK.series[0]))
    assert (shown[10, 5:15] == tint).all()  # outline
    np.testing.assert_allclose(shown[20, 10], 0.6 * photo[20, 10] + 0.4 * tint, atol=0.5)


def test_lift_figure_without_a_person(photo):
    empty = PointCloud(torch.zeros(0, 3), torch.zeros(0, 3))
    figure = lift_figure(photo, Keypoints.none(COCO_17), None, empty)
    assert len(figure.axes) == 5
    assert not figure.axes[1].lines
    assert drawn(figure)


def test_lift_figure_refuses_unfitting_arguments(photo, keypoints, cloud):
    with pytest.raises(ValueError, match="image must be"):
        lift_figure(photo / 255, keypoints, None, cloud)
    with pytest.raises(ValueError, match="silhouette of the image's size"):
        lift_figure(photo, keypoints, np.zeros((20, 40), bool), cloud)
    with pytest.raises(ValueError, match="fit_overlay must be"):
        lift_figure(photo, keypoints, np.zeros((40, 20, 4), np.uint8), cloud)
    with pytest.raises(ValueError, match="one person"):
        lift_figure(photo, Keypoints.stack([keypoints]), None, cloud)


def test_curves_go_to_their_panels():
    history = [
        {"step": 10 * i, "loss": 5.0 - i, "triplet_loss": 1.0, "accuracy": i / 5} for i in range(5)
    ]
    history[4]["mAP"] = 0.5
    left, right = curves_figure(history).axes
    assert [line.get_label() for line in left.lines] == ["loss", "triplet_loss"]
    assert [line.get_label() for line in right.lines] == ["accuracy", "mAP"]
    assert left.lines[0].get_xdata().tolist() == [0, 10, 20, 30, 40]
    assert left.lines[0].get_ydata().tolist() == [5, 4, 3, 2, 1]
    assert right.lines[1].get_xdata().tolist() == [40]
    assert right.get_xlabel() == "step"


def test_curves_of_odd_histories():
    with pytest.raises(ValueError, match="at least one record"):
        curves_figure([])
    left, right = curves_figure([{"loss": 1.0}, {"loss": float("nan")}]).axes
    assert left.get_xlabel() == "record"
    assert not right.lines
    assert "nothing logged" in right.texts[0].get_text()
    many = curves_figure([{f"loss_{i}": 1.0 for i in range(20)}])
    assert len(many.axes[0].lines) == 20
    assert drawn(many)


def test_ranking_frames_and_marks(photo):
    rows = [
        Ranking(photo, [photo] * 3, [True, False, True], occluded=True, label="17"),
        Ranking(photo, [photo] * 8, [False] * 8),
    ]
    figure = ranking_figure(rows, top=5)
    assert len(figure.axes) == 12
    first, second = figure.axes[:6], figure.axes[6:]

    def frame(axis):
        return colors.to_hex(axis.spines["left"].get_edgecolor())

    assert [frame(axis) for axis in first[1:4]] == [GREEN, RED, GREEN]
    assert [axis.axison for axis in first] == [True] * 4 + [False] * 2
    assert first[0].get_title() == "occluded query"
    assert first[0].get_xlabel() == "17"
    assert second[0].get_title() == "query"
    assert frame(first[0]) != frame(second[0])
    assert first[2].get_title().startswith("2")
    assert drawn(figure)


def test_bad_rankings_are_refused(photo):
    with pytest.raises(ValueError, match="one entry per result; got 1 for 2"):
        Ranking(photo, [photo] * 2, [True])
    with pytest.raises(ValueError, match=r"results\[1\] must be"):
        Ranking(photo, [photo, photo[..., 0]], [True, True])
    with pytest.raises(ValueError, match="at least one ranking"):
        ranking_figure([])
    with pytest.raises(ValueError, match="top must be"):
        ranking_figure([Ranking(photo, [], [])], top=0)


def test_a_sheet_shows_images_in_their_places(photo):
    dark, wide = photo // 2, photo.transpose(1, 0, 2)
    figure = sheet_figure([[photo], [dark, photo, wide]])
    assert len(figure.axes) == 6
    shown = [axis.images[0].get_array() if axis.images else None for axis in figure.axes]
    expected = [photo, None, None, dark, photo, wide]
    for image, wanted in zip(shown, expected, strict=True):
        assert (image is None) == (wanted is None)
        if wanted is not None:
            np.testing.assert_array_equal(image, wanted)
    assert not any(axis.axison or axis.get_title() for axis in figure.axes)
    assert drawn(figure).startswith(b"\x89PNG")


def test_sheets_need_images(photo):
    for rows in ([], [[]], [[], []]):
        with pytest.raises(ValueError, match="at least one image"):
            sheet_figure(rows)
    with pytest.raises(ValueError, match=r"rows\[1\]\[2\] must be \(H, W, 3\) uint8 RGB"):
        sheet_figure([[photo], [photo, photo, photo / 255]])


def test_figures_leave_pyplot_alone(photo):
    had = "matplotlib.pyplot" in sys.modules
    drawn(ranking_figure([Ranking(photo, [photo], [True])]))
    assert ("matplotlib.pyplot" in sys.modules) == had


def test_view_without_a_display_names_the_alternative(monkeypatch, cloud):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(RuntimeError, match=r"png=.*html="):
        view(cloud)


def test_view_without_open3d_names_the_command(monkeypatch, cloud):
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setitem(sys.modules, "open3d", None)
    with pytest.raises(ImportError, match="pip install open3d"):
        view(cloud)


def test_view_refuses_an_empty_cloud():
    with pytest.raises(ValueError, match="at least one point"):
        view(PointCloud(torch.zeros(0, 3), torch.zeros(0, 3)))


def test_missing_matplotlib_names_the_extra(monkeypatch, photo):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match=r"og-reid\[demo\]"):
        ranking_figure([Ranking(photo, [photo], [True])])


def test_long_curves_have_their_mean():
    values = [float(i % 2) for i in range(400)]
    pale, mean = curves_figure([{"loss": each} for each in values]).axes[0].lines
    assert pale.get_ydata().tolist() == values
    assert mean.get_label() == "loss"
    np.testing.assert_allclose(mean.get_ydata()[20:-20], 0.5)
    values[200] = float("nan")
    _, mean = curves_figure([{"loss": each} for each in values]).axes[0].lines
    assert np.isnan(mean.get_ydata()).nonzero()[0].tolist() == [200]
