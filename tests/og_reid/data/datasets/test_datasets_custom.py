"""Images of one's own, and the check that opens all files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from og_reid.data.datasets import check_dataset, from_csv, from_folder
from og_reid.data.datasets.schema import SPLITS, Dataset, DatasetSample


def photo(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (32, 16, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def people(root: Path, count: int = 12) -> Path:
    for person in range(1, count + 1):
        for number in range(2):
            photo(root / f"{person}" / f"{number}.png", person * 2 + number)
    return root


def write_csv(root: Path, *lines: str) -> Path:
    path = root / "images.csv"
    path.write_text("\n".join(lines), encoding="utf-8-sig")
    return path


def pids(dataset: Dataset, split: str) -> set[int]:
    return {each.pid for each in dataset.split(split)}


def test_a_folder_is_split_by_identities(tmp_path: Path) -> None:
    dataset = from_folder(people(tmp_path))
    assert pids(dataset, "train") | pids(dataset, "query") == set(range(1, 13))
    assert not pids(dataset, "train") & pids(dataset, "gallery")
    assert 0 < len(pids(dataset, "train")) < 12
    assert pids(dataset, "query") == pids(dataset, "gallery")
    assert {each.path.name for each in dataset.query} == {"0.png"}
    assert not dataset.has_cameras
    assert {each.camid for each in dataset.query} == {0}
    assert {each.camid for each in dataset.gallery} == {1}
    photo(tmp_path / "13" / "0.png", 99)  # without a second image
    more = from_folder(tmp_path)
    assert dataset.train == tuple(each for each in more.train if each.pid != 13)
    assert 13 not in pids(more, "query")
    everyone = from_folder(tmp_path, train_share=1)
    assert (len(everyone.train), everyone.query, everyone.gallery) == (25, (), ())


def test_a_split_made_by_default_is_noted(tmp_path: Path) -> None:
    dataset = from_folder(people(tmp_path))
    reported = f"{len(pids(dataset, 'train'))} of the 12 identities are for training"
    assert [note.startswith(reported) for note in dataset.notes] == [True]
    assert from_folder(tmp_path, train_share=0).notes == ()


def test_names_of_identities_become_numbers(tmp_path: Path) -> None:
    for name in ("anna", "bert"):
        photo(tmp_path / name / "a.png", 1)
    dataset = from_folder(tmp_path, train_share=0)
    assert {each.path.parent.name: each.pid for each in dataset.gallery} == {"anna": 1, "bert": 2}
    for name in ("1_0", "10"):  # int() would read both as ten
        photo(tmp_path / "odd" / name / "a.png", 1)
    assert {each.pid for each in from_folder(tmp_path / "odd", train_share=0).gallery} == {1, 2}
    zero = photo(tmp_path / "zeros" / "0" / "a.png", 1).parent.parent
    assert from_folder(zero, train_share=0).gallery[0].pid == 1  # 0 would be a distractor
    photo(tmp_path / "both" / "01" / "a.png", 1)
    photo(tmp_path / "both" / "1" / "a.png", 2)
    with pytest.raises(ValueError, match="'01' and '1' are one number"):
        from_folder(tmp_path / "both")


def test_bad_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        from_folder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="must hold images as <identity>/<image>; got none"):
        from_folder(tmp_path)
    with pytest.raises(ValueError, match=r"train_share must be in \[0, 1\]; got 2"):
        from_folder(people(tmp_path, 1), train_share=2)


def test_a_csv_with_all_columns_is_read(tmp_path: Path) -> None:
    people(tmp_path, 2)
    path = write_csv(
        tmp_path,
        "path,pid,camid,split,weather",
        "1/0.png,7,3,train,sun",
        r"2\0.png,8,1,query,rain",
        "2/1.png,8,2,gallery,",
        "1/1.png,-1,2,gallery,",
    )
    dataset = from_csv(path)
    assert dataset.has_cameras
    assert dataset.train == (DatasetSample(tmp_path / "1/0.png", 7, 3),)
    assert dataset.query == (DatasetSample(tmp_path / "2/0.png", 8, 1),)
    assert [(each.pid, each.camid) for each in dataset.gallery] == [(8, 2), (-1, 2)]


def test_a_csv_with_words_and_no_split_is_read(tmp_path: Path) -> None:
    people(tmp_path, 2)
    path = write_csv(tmp_path, "pid,path,camid", "bo,1/0.png,door", "bo,1/1.png,yard")
    dataset = from_csv(path, train_share=0)
    assert [(each.pid, each.camid) for each in dataset.query] == [(1, 1)]
    assert [(each.pid, each.camid) for each in dataset.gallery] == [(1, 2)]
    path = write_csv(tmp_path, "pid,path,camid", "bo,1/0.png,", "bo,1/1.png,")
    assert not from_csv(path, train_share=0).has_cameras


@pytest.mark.parametrize(
    ("pids", "expected"),
    [
        (["bo", "bo", "-1", "0"], [1, 1, -1, 0]),  # junk and distractors stay beside words
        (["-7", "-7", "-1", "0000"], [1, 1, -1, 0]),
        (["1_1", "1_1", "11", "11"], [2, 2, 1, 1]),  # a word, though Python would read 11
        (["9" * 30, "9" * 30, "5", "5"], [2, 2, 1, 1]),  # does not fit into 64 bits
        (["007", "007", "11", "11"], [7, 7, 11, 11]),
    ],
)
def test_identities_of_a_csv_are_numbered(
    pids: list[str], expected: list[int], tmp_path: Path
) -> None:
    people(tmp_path, 2)
    names = ("1/0.png", "1/1.png", "2/0.png", "2/1.png")
    lines = [f"{name},{pid},gallery" for name, pid in zip(names, pids, strict=True)]
    dataset = from_csv(write_csv(tmp_path, "path,pid,split", *lines))
    assert [each.pid for each in dataset.gallery] == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,camid"], "has no column pid"),
        (["path,pid"], "must list at least one image"),
        (["path,pid", "1/0.png,"], "line 2: path and pid must be given"),
        (["path,pid", "1/9.png,1"], "line 2: there is no file"),
        (["path,pid", "1/0.png,1", "2/../1/0.png,1"], "line 3: .* listed twice, before in line 2"),
        (["path,pid", "../other.png,1"], "line 2: path must stay in"),
        (["path,pid", "..\\other.png,1"], "line 2: path must stay in"),
        (["path,pid", "link.png,1"], "line 2: path must stay in"),
        (["path,pid", "/etc/hostname,1"], "line 2: path must stay in"),
        (["path,pid", "C:\\other.png,1"], "line 2: path must stay in"),
        (["path,pid,split", "1/0.png,1,test"], "line 2: split must be one of train, query, gal"),
        (["path,pid,split", "1/0.png,0,query"], "line 2: identities -1 .* got 0 in query"),
        (
            ["path,pid,split", "1/0.png,1,train", "1/1.png,1,query"],
            "1 identity in both the training",
        ),
        (["path,pid,camid", "1/0.png,1,2", "1/1.png,1,"], "line 3: camid must be given in all"),
        (["path,pid", "1/0.png,1", "1/1.png,01"], "pid '01' and '1' are one number"),
    ],
)
def test_bad_csv_files_are_refused(lines: list[str], message: str, tmp_path: Path) -> None:
    root = people(tmp_path / "people", 2)
    other = photo(tmp_path / "other.png", 0)
    (root / "link.png").symlink_to(other)
    with pytest.raises(ValueError, match=message):
        from_csv(write_csv(root, *lines))


def test_other_files_than_csv_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.csv"
    for other in (path, tmp_path):
        with pytest.raises(ValueError, match="is not a file: give the CSV file"):
            from_csv(other)
    path.write_bytes(b"path,pid\n\xff\xfe,1")
    with pytest.raises(ValueError, match=r"images\.csv must be text in UTF-8"):
        from_csv(path)
    path.write_text("path,pid\n" + "x" * 200_000 + ",1")
    with pytest.raises(ValueError, match=r"images\.csv must be a CSV file: field larger"):
        from_csv(path)


def test_absolute_paths_must_be_allowed(tmp_path: Path) -> None:
    root = people(tmp_path / "own", 1)
    other = photo(tmp_path / "other.png", 0)
    path = write_csv(root, "path,pid", f"{other},1", "../own/1/0.png,1")
    dataset = from_csv(path, allow_absolute=True, train_share=1)
    assert [each.path for each in dataset.train] == [other, root / "1/0.png"]


def test_the_check_finds_damaged_duplicate_and_leaked_files(tmp_path: Path) -> None:
    good = from_folder(people(tmp_path / "good", 4))
    steps: list[tuple[int, int]] = []
    check = check_dataset(good, progress=lambda *step: steps.append(step))
    assert check.good
    assert steps == [(done, 8) for done in range(1, 9)]

    bad = tmp_path / "bad"
    first = photo(bad / "a.png", 1)
    cut = bad / "cut.jpg"
    Image.open(first).save(cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    (bad / "empty.png").touch()
    for name in ("again.png", "leaked.png", "other.png", "query.png"):
        (bad / name).write_bytes(first.read_bytes())
    photo(bad / "query.png", 2)
    (bad / "gallery.png").write_bytes((bad / "query.png").read_bytes())
    samples: dict[str, list[DatasetSample]] = {split: [] for split in SPLITS}
    for name, split, pid in (
        ("a.png", "train", 1), ("again.png", "train", 1), ("cut.jpg", "train", 1),
        ("empty.png", "query", 1), ("gone.png", "query", 1), ("query.png", "query", 3),
        ("leaked.png", "gallery", 1), ("other.png", "gallery", 2), ("gallery.png", "gallery", 3),
    ):  # fmt: skip
        samples[split].append(DatasetSample(bad / name, pid, 1))
    check = check_dataset(Dataset(**{k: tuple(v) for k, v in samples.items()}, name="", root=bad))
    assert not check.good
    assert check.files == 9
    assert [next(n for n in ("cut", "empty", "gone") if n in text) for text in check.damaged] == [
        "cut", "empty", "gone"
    ]  # fmt: skip
    assert all(str(bad) in text for text in check.damaged)
    names = [(a.name, b.name) for a, b in check.twice]
    assert names == [("a.png", "again.png")]
    assert [(a.name, b.name) for a, b in check.leaked] == [("a.png", "leaked.png")]
    assert {(a.name, b.name) for a, b in check.relabelled} == {
        ("a.png", "other.png"), ("leaked.png", "other.png")
    }  # fmt: skip
