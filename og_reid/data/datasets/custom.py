"""Custom data sets: images in folders of identities, cameras or splits, or beside a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files.inputs import counted, named
from .csv_list import from_csv, is_list
from .layout import Sides, decide, find_sides
from .numbering import camera_numbers, doubtful_names, listed_numbers, numbers, whole
from .parting import Names, by_people, finish, refuse_shared
from .readings import LAYOUTS, MARKET_NAME, Layout, Parts, Reading, read_as
from .schema import SPLITS, Dataset, DatasetSample
from .tree import Tree, scan

__all__ = ["from_folder"]


def from_folder(
    root: str | Path,
    *,
    train_share: float = 0.5,
    layout: Layout | None = None,
    allow_absolute: bool = False,
) -> Dataset:
    """Images as ``<root>/<identity>/<image>``, or in folders of cameras or splits.

    Images may lie deeper; endings are those that the installed Pillow reads. The layouts:

    - ``people``: ``<identity>/.../<image>``, cameras unknown;
    - ``cameras``: ``<camera>/<identity>/.../<image>``, or ``<camera>/<image>`` with file names that
      recur in several cameras as identities;
    - ``people-cameras``: ``<identity>/<camera>/.../<image>``, or ``<identity>_<camera>/<image>``;
    - ``folders``: each folder with images is an identity, at any depth;
    - ``names``: ``<identity>_c<camera>_<anything>`` gives both, as in Market-1501, where identity
      -1 is junk and 0 a distractor;
    - ``splits``: folders ``query`` and ``gallery`` (or ``bounding_box_test``, ``test``; perhaps
      ``train``), or ``train`` and ``test``, each in one of the layouts above;
    - ``table``: a CSV file beside the images, see `from_csv`.

    Whole numbers from 1 as names stay the identities; other names are numbered from 1 in order
    (``Dataset.identity_names``). A folder -1 is junk. Without splits identities are divided as by
    `from_csv`.

    Args:
        root: Folder of the images.
        train_share: Fraction of training identities, in [0, 1]; unused with splits.
        layout: Layout of the folder; None: detected from names and depths of folders.
        allow_absolute: See `from_csv`, for ``table``.

    Returns:
        The data set; its notes name the layout and the skipped files.

    Raises:
        OSError: the folder cannot be listed.
        ValueError: no image, ``train_share`` is out of range, or the layout is ambiguous: the
            message lists the possible readings with their counts.

    Warns:
        InputWarning: files are probably skipped by mistake, or labelled wrongly.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder: give the one with a folder per identity")
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"layout must be one of {', '.join(LAYOUTS)} or None; got {layout!r}")
    if not 0 <= train_share <= 1:
        raise ValueError(f"train_share must be in [0, 1]; got {train_share}")
    tree = scan(folder)
    table = _table(tree, layout)
    if table is not None:
        return from_csv(
            table, train_share=train_share, allow_absolute=allow_absolute, name="folder"
        )
    doubts, notes = tree.notes()
    paths, loose = _in_folders(tree, layout)
    if not paths:
        found = f"; {'; '.join([*doubts, *notes])}" if doubts or notes else ""
        raise ValueError(f"{folder} must hold images as <identity>/<image>; got none{found}")
    if loose:
        doubts.append(
            f"left out: {counted(len(loose), 'image')} beside the folders, of unknown identity: "
            f"{named(loose)}"
        )
    sides = _sides(folder, paths, layout)
    parted = ""
    if sides is None:
        reading, more = _reading(folder, paths, layout)
        notes += more
        samples, names = _labelled(folder, reading, doubts, notes)
        splits, parted = by_people(samples, train_share)
    else:
        reading, samples, names = _of_sides(folder, sides, paths, doubts, notes)
        splits = _divided(folder, sides, reading, samples, notes)
    return finish(
        "folder", folder, splits, has_cameras=_has_cameras(reading), names=names, parted=parted,
        doubts=doubts, notes=notes,
    )  # fmt: skip


def _table(tree: Tree, layout: str | None) -> Path | None:
    """CSV file beside the images that lists them."""
    if layout not in (None, "table"):
        return None
    files = [tree.root / name for name in tree.tables if is_list(tree.root / name)]
    if len(files) > 1:
        raise ValueError(
            f"{tree.root} holds {len(files)} CSV files with the columns path and pid "
            f"({named([file.name for file in files])}): give one of them to from_csv (--dataset "
            "csv --data FILE on the command line)"
        )
    if not files:
        if layout == "table":
            raise ValueError(
                f"layout table needs a CSV file with the columns path and pid in {tree.root}; it "
                f"has {named(tree.tables) if tree.tables else 'none'}"
            )
        return None
    inside = [path for path in tree.images if "/" in path]
    if layout is None and inside:
        paths = [tuple(path.split("/")) for path in inside]
        by_identity = read_as("people", paths)
        raise ValueError(
            f"{tree.root} can be read in several ways: as table, by {files[0].name}; or as "
            f"{by_identity}. Choose by layout='table', or the layout of the folders (--layout on "
            "the command line)"
        )
    return files[0]


def _in_folders(tree: Tree, layout: str | None) -> tuple[list[Parts], list[str]]:
    """Paths of the images, and names of those that lie beside the folders of the others."""
    paths = [tuple(path.split("/")) for path in tree.images]
    inside = [path for path in paths if len(path) > 1]
    if not inside or layout == "names":
        return paths, []
    return inside, [path[0] for path in paths if len(path) == 1]


def _sides(folder: Path, paths: Sequence[Parts], layout: str | None) -> Sides | None:
    if layout not in (None, "splits"):
        return None
    sides = find_sides(sorted({path[0] for path in paths if len(path) > 1}))
    if sides is None and layout == "splits":
        raise ValueError(
            f"layout splits needs the folders query and gallery, or train and test, with images "
            f"in {folder}; it has {named(sorted({path[0] for path in paths}))}"
        )
    return sides


def _reading(folder: Path, paths: Sequence[Parts], layout: str | None) -> tuple[Reading, list[str]]:
    if layout is None:
        found, notes = decide(paths, str(folder))
        by_name = _cameras_in_names(paths) if found.layout == "people" else None
        if by_name is None:
            return found, notes
        return by_name, [f"read as {by_name}; layout (--layout) changes that"]
    reading = read_as(layout, paths)
    if isinstance(reading, str):
        raise ValueError(f"{folder}: {reading}")
    return reading, []


def _of_sides(
    folder: Path, sides: Sides, paths: Sequence[Parts], doubts: list[str], notes: list[str]
) -> tuple[Reading, list[DatasetSample], Names]:
    """Content of split folders; adds to the doubts and notes."""
    used = [path for path in paths if path[0] in sides.folders]
    others = [path for path in paths if path[0] not in sides.folders]
    if others:
        doubts.append(
            f"left out: {counted(len(others), 'image')} in folders beside "
            f"{', '.join(sides.folders)}: {named(sides.others)}"
        )
    inner = [path[1:] for path in used]
    if all(_named_alike(path) for path in inner):
        reading, more = _reading(folder, inner, "names")
    else:
        reading, more = decide(inner, f"{folder}/{{{','.join(sides.folders)}}}")
    sources = ", ".join(f"{split} from {name}" for name, split in sides.folders.items())
    notes += [f"read as splits: {sources}", *more]
    whole_paths = Reading(reading.layout, tuple(used), reading.labels, reading.hint)
    return (whole_paths, *_labelled(folder, whole_paths, doubts, notes))


def _divided(
    folder: Path,
    sides: Sides,
    reading: Reading,
    samples: Sequence[DatasetSample],
    notes: list[str],
) -> dict[str, list[DatasetSample]]:
    """Splits of the folders."""
    splits: dict[str, list[DatasetSample]] = {split: [] for split in SPLITS}
    unparted = []
    for sample, path in zip(samples, reading.paths, strict=True):
        split = sides.folders[path[0]]
        if split == "test":
            unparted.append(sample)
            continue
        if sample.pid < 1 and split != "gallery":
            raise ValueError(
                f"{sample.path}: identities -1 (junk) and 0 (distractor) belong in the gallery "
                f"only; got {sample.pid} in {split}"
            )
        splits[split].append(sample)
    if unparted:
        parted, _ = by_people(unparted, 0.0)
        splits["query"], splits["gallery"] = parted["query"], parted["gallery"]
        notes.append("queries are the first image of each identity in test")
    refuse_shared(folder, splits)
    return splits


def _named_alike(path: Parts) -> bool:
    """True when a name holds identity and camera, and a folder, if any, the same identity."""
    match = MARKET_NAME.fullmatch(path[-1])
    return match is not None and (len(path) == 1 or whole(path[0]) == int(match["pid"]))


def _cameras_in_names(paths: Sequence[Parts]) -> Reading | None:
    """Folders of identities with images of several cameras, named as in Market-1501."""
    if not all(_named_alike(path) and (whole(path[0]) or 0) > 0 for path in paths):
        return None
    reading = read_as("names", paths)
    assert isinstance(reading, Reading), reading
    several = len(set(reading.labels)) > len({person for person, _ in reading.labels})
    return reading if several else None


def _has_cameras(reading: Reading) -> bool:
    return reading.labels[0][1] is not None


def _labelled(
    folder: Path, reading: Reading, doubts: list[str], notes: list[str]
) -> tuple[list[DatasetSample], Names]:
    """Samples with numbers for their labels; adds to the doubts and notes."""
    names = [identity for identity, _ in reading.labels]
    kept = (-1, 0) if reading.layout == "names" else (-1,)
    pids = numbers(names, f"{folder}:", lowest=1, kept=kept)
    seen = [camera for _, camera in reading.labels if camera is not None]
    cameras = camera_numbers(seen)
    samples = [
        DatasetSample(folder.joinpath(*path), pids[person], cameras[camera] if camera else 0)
        for path, (person, camera) in zip(reading.paths, reading.labels, strict=True)
    ]
    doubts += doubtful_names(names)
    numbered = (listed_numbers(pids, "identities"), listed_numbers(cameras, "cameras"))
    notes += [each for each in numbered if each]
    for pid, meaning in ((-1, "junk, ignored"), (0, "a distractor, never a match")):
        count = names.count(str(pid)) if pid in pids.values() else 0
        if count:
            notes.append(f"{counted(count, 'image')} of identity {pid}: {meaning}")
    return samples, (pids, cameras)
