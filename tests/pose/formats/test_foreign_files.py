"""Keypoint files with more than people in them, and predictions in lists for each image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pose import COCO_17, read_coco, read_mmpose
from pose.files.reading import InputWarning

FLAT = [float(each) for i in range(17) for each in (i, 2 * i, 2)]


def _write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def _person(image: int = 1) -> dict[str, Any]:
    return {"image_id": image, "category_id": 1, "keypoints": FLAT}


def _with_cars(annotations: list[Any]) -> dict[str, Any]:
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg"} for i in (1, 2)],
        "annotations": annotations,
        "categories": [
            {"id": 1, "name": "person", "keypoints": list(COCO_17)},
            {"id": 3, "name": "car"},
            {"id": 4, "name": "bag", "keypoints": []},
        ],
    }


@pytest.mark.parametrize("names", [None, COCO_17])
@pytest.mark.parametrize("box", [{}, {"keypoints": []}, {"keypoints": None}])
@pytest.mark.parametrize("category", [3, 4])
def test_boxes_of_cars_beside_people_are_left_out(
    tmp_path: Path, names: Any, box: dict[str, Any], category: int
) -> None:
    car = {"image_id": 1, "category_id": category, "bbox": [0, 0, 9, 9], **box}
    path = _write(tmp_path / "a.json", _with_cars([car, _person(2), car, _person(1)]))
    found = read_coco(path, names=names)
    assert found.images == ("2.jpg", "1.jpg")
    assert found.keypoints.xy[:, 3].tolist() == [[3.0, 6.0]] * 2


def test_a_person_without_joints_is_still_refused(tmp_path: Path) -> None:
    car = {"image_id": 1, "category_id": 3}
    path = _write(tmp_path / "a.json", _with_cars([car, {"image_id": 1, "category_id": 1}]))
    with pytest.raises(ValueError, match='annotation 1: "keypoints" must be a flat list'):
        read_coco(path)


def _prediction(shift: float = 0) -> dict[str, Any]:
    xy = [[i + shift, 2.0 * i] for i in range(17)]
    return {"keypoints": xy, "keypoint_scores": [0.9] * 17, "bbox": [[0, 0, 9, 9]]}


def test_predictions_of_one_image_in_a_list_of_their_own(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.json", [[_prediction(), _prediction(5)]])
    found = read_mmpose(path)
    assert found.images == ("a", "a")
    assert found.keypoints.xy[:, 0, 0].tolist() == [0, 5]


def test_predictions_of_several_images_are_numbered(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.json", [[_prediction()], [], [_prediction(1), _prediction(2)]])
    found = read_mmpose(path)
    assert found.images == ("0", "2", "2")
    assert found.keypoints.xy[:, 0, 0].tolist() == [0, 1, 2]


def test_the_warning_about_fractions_is_at_the_line_of_the_call(tmp_path: Path) -> None:
    triples = [each for i in range(17) for each in (i / 17, i / 34, 2)]
    content = _with_cars([{**_person(), "keypoints": triples}])
    path = _write(tmp_path / "a.json", content)
    with pytest.warns(InputWarning) as caught:
        read_coco(path)
    assert [each.filename for each in caught] == [__file__]
