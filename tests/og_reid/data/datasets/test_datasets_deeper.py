"""Own folders whose identities and cameras lie deeper, or together in one name."""

from __future__ import annotations

from pathlib import Path

import pytest

from og_reid.data.datasets import Dataset, from_folder

PEOPLE = ("anna", "bert", "carl", "dora", "emil", "fred")


def images(root: Path, *paths: str) -> Path:
    """Files that are called like images; each has other bytes."""
    for place, path in enumerate(paths):
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"image %d" % place)
    return root


def labels(dataset: Dataset) -> dict[str, set[str]]:
    """Cameras by the name of the identity."""
    people = {number: name for name, number in dataset.identity_names.items()}
    cameras = {number: name for name, number in dataset.camera_names.items()}
    found: dict[str, set[str]] = {}
    for each in (*dataset.train, *dataset.query, *dataset.gallery):
        found.setdefault(people[each.pid], set()).add(cameras.get(each.camid, "?"))
    return found


def test_dates_above_cameras_are_no_identities(tmp_path: Path) -> None:
    images(tmp_path, *(f"{day}/cam{camera}/{person}/1.jpg" for day in ("2023-01-05", "2023-01-06")
                       for camera in (1, 2) for person in PEOPLE))  # fmt: skip
    with pytest.raises(ValueError, match=r"several ways: .*2023-01-05.*CSV file"):
        from_folder(tmp_path)


def test_dates_above_cameras_with_images_are_no_identities(tmp_path: Path) -> None:
    images(tmp_path, *(f"2023-01-0{day}/cam{camera}/{person}_001.jpg" for day in (5, 6)
                       for camera in (1, 2) for person in PEOPLE))  # fmt: skip
    with pytest.raises(ValueError, match="several ways"):
        from_folder(tmp_path)


def test_folders_below_cameras_of_identities_are_ambiguous(tmp_path: Path) -> None:
    images(tmp_path, *(f"{site}/cam{camera}/{person}/1.jpg" for site in ("north", "south")
                       for camera in (1, 2) for person in PEOPLE))  # fmt: skip
    with pytest.raises(ValueError, match="several ways"):
        from_folder(tmp_path)


def test_recordings_below_cameras_of_identities_count_for_these(tmp_path: Path) -> None:
    images(tmp_path, *(f"{person}/cam{camera}/session{take}/1.jpg" for person in PEOPLE
                       for camera in (1, 2) for take in (1, 2)))  # fmt: skip
    dataset = from_folder(tmp_path)
    assert labels(dataset) == {person: {"cam1", "cam2"} for person in PEOPLE}


@pytest.mark.parametrize("shape", ["{}_cam{}", "{}-camera-{}", "{} Cam {}", "{}_c{}", "{}.kam{}"])
def test_identities_with_their_camera_in_one_name_are_taken_apart(
    tmp_path: Path, shape: str
) -> None:
    images(tmp_path, *(f"{shape.format(person, camera)}/{number}.jpg" for person in PEOPLE
                       for camera in (1, 2) for number in range(2)))  # fmt: skip
    dataset = from_folder(tmp_path)
    found = labels(dataset)
    assert set(found) == set(PEOPLE)
    assert all(len(cameras) == 2 for cameras in found.values())
    assert dataset.has_cameras
    assert "people-cameras" in "\n".join(dataset.notes)


def test_names_that_end_like_a_camera_stay_whole_where_none_recurs(tmp_path: Path) -> None:
    images(tmp_path, *(f"{person}_c{place}/{number}.jpg" for place, person in enumerate(PEOPLE)
                       for number in range(2)))  # fmt: skip
    assert len(labels(from_folder(tmp_path))) == len(PEOPLE)


def test_layout_people_keeps_names_with_cameras_whole(tmp_path: Path) -> None:
    images(tmp_path, *(f"{person}_cam{camera}/{number}.jpg" for person in PEOPLE
                       for camera in (1, 2) for number in range(2)))  # fmt: skip
    assert len(labels(from_folder(tmp_path, layout="people"))) == 2 * len(PEOPLE)


def test_rooms_inside_of_identities_are_offered_as_their_cameras(tmp_path: Path) -> None:
    images(tmp_path, *(f"{person}/{room}/1.jpg" for person in PEOPLE
                       for room in ("entrance", "hall")))  # fmt: skip
    with pytest.raises(ValueError, match="layout='people-cameras'"):
        from_folder(tmp_path)


def test_names_in_folders_of_identities_give_the_cameras(tmp_path: Path) -> None:
    images(tmp_path, *(f"{each:04d}/{each:04d}_c{camera}_f{number:07d}.jpg" for each in range(1, 9)
                       for camera in (1, 2) for number in range(2)))  # fmt: skip
    dataset = from_folder(tmp_path)
    assert dataset.has_cameras
    assert {each.camid for each in (*dataset.train, *dataset.gallery)} == {1, 2}
    assert {each.pid for each in (*dataset.train, *dataset.gallery)} == set(range(1, 9))
    assert any("names" in note for note in dataset.notes)


def test_names_of_a_single_camera_leave_cameras_unknown(tmp_path: Path) -> None:
    images(tmp_path, *(f"{person:04d}/{person:04d}_c1_{number}.jpg" for person in range(1, 9)
                       for number in range(3)))  # fmt: skip
    assert not from_folder(tmp_path).has_cameras


def test_names_of_other_identities_than_the_folders_leave_cameras_unknown(tmp_path: Path) -> None:
    images(tmp_path, *(f"{person:04d}/{person + 1:04d}_c{camera}_0.jpg" for person in range(1, 9)
                       for camera in (1, 2)))  # fmt: skip
    assert not from_folder(tmp_path).has_cameras


def test_equal_names_in_few_folders_are_pointed_out(tmp_path: Path) -> None:
    images(tmp_path, *(f"{side}/{number:04d}.png" for side in "AB" for number in range(12)))
    assert any("layout='cameras'" in note for note in from_folder(tmp_path).notes)


def test_images_numbered_alike_in_many_folders_are_not_pointed_out(tmp_path: Path) -> None:
    images(tmp_path, *(f"{person}/{number}.png" for person in PEOPLE for number in range(3)))
    assert not any("layout='cameras'" in note for note in from_folder(tmp_path).notes)
