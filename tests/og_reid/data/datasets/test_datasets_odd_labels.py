"""Labels that are no labels, or one label in two spellings, in lists and folders."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from og_reid.data.datasets import from_csv, from_folder
from pose.files.reading import InputWarning


def listed(folder: Path, header: str, *rows: str, encoding: str = "utf-8") -> Path:
    """A CSV file with an image for each row, whose names stand for ``*``."""
    lines = [header]
    for place, row in enumerate(rows):
        image = folder / f"{place}.jpg"
        image.write_bytes(b"image %d" % place)
        lines.append(row.replace("*", image.name))
    file = folder / "list.csv"
    file.write_bytes(("\n".join(lines) + "\n").encode(encoding))
    return file


@pytest.mark.parametrize("unknown", ["nan", "NaN", "None", "<NA>", "n/a", "?"])
def test_a_camera_that_is_unknown_in_some_lines_is_no_camera(tmp_path: Path, unknown: str) -> None:
    file = listed(tmp_path, "path,pid,camid", "*,1,1", "*,1,2", f"*,2,{unknown}", "*,2,1")
    with pytest.raises(ValueError, match="line 4: camid must be given in all lines or in none"):
        from_csv(file)


def test_cameras_that_are_unknown_in_all_lines_are_unknown(tmp_path: Path) -> None:
    file = listed(tmp_path, "path,pid,camid", "*,1,nan", "*,1,nan", "*,2,", "*,2,nan")
    assert not from_csv(file).has_cameras


@pytest.mark.parametrize("pair", [("7", "007"), ("7", "7.0"), ("12", "+12")])
def test_one_number_in_two_spellings_is_refused_beside_words(
    tmp_path: Path, pair: tuple[str, str]
) -> None:
    first, second = pair
    file = listed(tmp_path, "path,pid", f"*,{first}", f"*,{second}", "*,anna", "*,anna")
    with pytest.raises(ValueError, match="are one number: write them alike"):
        from_csv(file)


def test_one_number_in_two_spellings_is_refused_beside_words_in_folders(tmp_path: Path) -> None:
    for person in ("7", "007", "anna"):
        (tmp_path / person).mkdir()
        for number in range(2):
            (tmp_path / person / f"{number}.jpg").write_bytes(f"{person}{number}".encode())
    with pytest.raises(ValueError, match="'007' and '7' are one number"):
        from_folder(tmp_path)


def test_numbers_beside_words_are_identities_without_a_warning(tmp_path: Path) -> None:
    file = listed(tmp_path, "path,pid", "*,7", "*,7", "*,anna", "*,anna", "*,008", "*,008")
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputWarning)
        dataset = from_csv(file)
    assert set(dataset.identity_names) == {"7", "008", "anna"}


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32"])
def test_text_with_zero_bytes_is_named_as_text_of_another_kind(
    tmp_path: Path, encoding: str
) -> None:
    file = listed(tmp_path, "path,pid", "*,1", "*,1", encoding=encoding)
    with pytest.raises(ValueError, match="must be text in UTF-8"):
        from_csv(file)


@pytest.mark.parametrize("address", ["https://example.org/1.jpg", "file:///data/1.jpg", "s3://b/1"])
def test_addresses_are_no_paths(tmp_path: Path, address: str) -> None:
    file = listed(tmp_path, "path,pid", f"{address},1", "*,1")
    with pytest.raises(ValueError, match=r"line 2: path must be one of a file.*address"):
        from_csv(file, allow_absolute=True)
