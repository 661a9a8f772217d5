"""Reader of data sets by their specifications, with verification of the published counts."""

from __future__ import annotations

import functools
import hashlib
import re
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from pose.deprecation import deprecated_keywords

from ..files.inputs import counted
from ..sample import Sample
from .schema import SPLITS, Counts, Dataset, DatasetSample, DatasetSpec, Folder, Source
from .sources import is_there, list_source, walk

__all__ = ["differences", "find_folder", "find_root", "read_dataset", "refuse_junk"]


@deprecated_keywords
def read_dataset(
    spec: DatasetSpec,
    root: str | Path,
    *,
    verify: bool = True,
    notice: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """Data set by its specification; images are listed, not opened or copied.

    Args:
        spec: Specification of the data set.
        root: Its folder or the parent folder.
        verify: Refuse a data set with other numbers of images, identities or tracklets than the
            published ones, or with overlapping training and test identities. Otherwise the
            result lists the differences.
        notice: Called with the licence or state of the data set; None: a warning at the first
            reading.
        progress: Called with (sources read, sources in all); a source is a folder or list.

    Returns:
        The splits, in an order that does not depend on the file system.

    Raises:
        ValueError: a file or folder is missing or does not parse, or counts differ (see
            ``verify``); the message names the mend.
    """
    folder = find_root(spec, Path(root), to_search=not verify)
    if spec.notice:
        (notice or _warn_once)(f"{spec.title}: {spec.notice}")
    listed: dict[str, list[Sample]] = {split: [] for split in SPLITS}
    sources = [(split, each) for split in SPLITS for each in spec.sources[split]]
    for done, (split, source) in enumerate(sources, 1):
        if verify or split != "train" or _holds_images(source, folder):
            listed[split] += list_source(source, folder)
        if progress is not None:
            progress(done, len(sources))
    splits = {split: tuple(samples) for split, samples in listed.items()}
    refuse_junk(folder, splits)
    found, notes = _mixed_up(splits), _notes(spec, splits)
    counted = differences(spec, splits)
    if spec.counts_from == "papers":
        notes += [f"{each}: a number of the paper, not verified by counting" for each in counted]
    else:
        found = counted + found
    if found and verify:
        raise ValueError(
            f"{spec.title} in {folder}: {'; '.join(found)}. Pass verify=False (--no-verify "
            "on the command line) to use it as it is."
        )
    return Dataset(
        splits["train"],
        splits["query"],
        splits["gallery"],
        name=spec.name,
        root=folder,
        has_cameras=spec.has_cameras,
        differences=tuple(found),
        notes=tuple(notes),
    )


def _holds_images(source: Source, folder: Path) -> bool:
    if isinstance(source, Folder):
        return is_there(source, folder) and bool(walk(folder / source.path, source.depth))
    return is_there(source, folder)


@functools.cache
def _warn_once(text: str) -> None:
    warnings.warn(text, stacklevel=4)


def find_root(spec: DatasetSpec, root: Path, *, to_search: bool = False) -> Path:
    """Folder with all sources of a specification: ``root`` or a folder in it.

    Args:
        spec: Specification of the data set.
        root: Its folder or the parent folder.
        to_search: Accept a folder without training images when there is none with them.

    Raises:
        ValueError: there is no such folder, or several.
    """
    sources = [source for each in spec.sources.values() for source in each]
    if not sources:
        raise ValueError(f"{spec.title}: {spec.when_missing}")
    if not root.is_dir():
        raise ValueError(
            f"{root} is not a folder: give the folder of {spec.title}. If you have none: "
            f"{spec.when_missing}"
        )
    candidates = [root, *sorted(child for child in root.iterdir() if child.is_dir())]
    complete = [path for path in candidates if all(is_there(each, path) for each in sources)]
    tested = [*spec.query, *spec.gallery]
    if not complete and to_search and spec.query and spec.gallery:
        complete = [path for path in candidates if all(is_there(each, path) for each in tested)]
    if not complete:
        needed = dict.fromkeys(path for source in sources for path in source.needs)
        missing = [path for path in needed if not (root / path).exists()]
        raise ValueError(
            f"{root} holds no {' and no '.join(missing)}, which {spec.title} has. If yours "
            f"is not complete: {spec.when_missing}{_alone(spec, root, tested)}"
        )
    if complete[0] == root or len(complete) == 1:
        return complete[0]
    usual = {_plain(path.split("/")[-1]) for path in spec.folders}
    named = [path for path in complete if _plain(path.name) in usual]
    if len(named) != 1:
        raise ValueError(
            f"{root} holds {len(complete)} data sets of this layout "
            f"({', '.join(path.name for path in complete)}): give one of them"
        )
    return named[0]


def _alone(spec: DatasetSpec, root: Path, tested: Sequence[Source]) -> str:
    if not tested or not all(is_there(each, root) for each in tested):
        return ""
    return "; to search its gallery, pass verify=False (--no-verify on the command line)"


def find_folder(spec: DatasetSpec, root: Path) -> Path | None:
    """``root`` or a folder in it with a usual name of the data set; None without one."""
    for wanted in spec.folders:
        names = [_plain(part) for part in wanted.split("/")]
        if [_plain(part) for part in root.resolve().parts[-len(names) :]] == names:
            return root
        folders = [root]
        for part in wanted.split("/"):
            folders = [
                child
                for folder in folders
                for child in sorted(folder.iterdir())
                if child.is_dir() and _plain(child.name) == _plain(part)
            ]
        if folders:
            return folders[0]
    return None


def differences(spec: DatasetSpec, splits: dict[str, tuple[Sample, ...]]) -> list[str]:
    """Differences between the images found and those expected, one clause each."""
    found = []
    for split, expected in spec.counts.items():
        where = ", ".join(path for each in spec.sources[split] for path in each.needs)
        found += [
            f"{split} ({where}) has {text}"
            for text in _count_differences(spec, split, expected, splits[split])
        ]
    pids = {each.pid for samples in splits.values() for each in samples if each.pid > 0}
    if spec.identities is not None and len(pids) != spec.identities and not found:
        found.append(_difference(len(pids), spec.identities, "identity", "identities") + " in all")
    return found


def _count_differences(
    spec: DatasetSpec, split: str, expected: Counts, samples: Sequence[Sample]
) -> list[str]:
    found = []
    if expected.images is not None and len(samples) != expected.images:
        hint = _hint(spec, split, len(samples))
        found.append(_difference(len(samples), expected.images, "image") + hint)
    tracklets = {each.tracklet for each in samples if isinstance(each, DatasetSample)}
    if expected.tracklets is not None and len(tracklets) != expected.tracklets:
        found.append(_difference(len(tracklets), expected.tracklets, "tracklet"))
    identities = len({each.pid for each in samples if each.pid > 0})
    if expected.identities is not None and identities != expected.identities:
        found.append(_difference(identities, expected.identities, "identity", "identities"))
    if found:
        return found
    if expected.cameras is not None:
        cameras = Counter(each.camid for each in samples if each.pid >= 0)
        found += [
            f"{_difference(cameras[camid], count, 'image')} of camera {camid}"
            for camid, count in expected.cameras.items()
            if cameras[camid] != count
        ]
    names = "\n".join(sorted(each.name for each in samples))
    digest = hashlib.sha256(names.encode()).hexdigest()
    if not found and not digest.startswith(expected.names_sha256):
        found.append("the right number of images, but other names than the published list")
    return found


def _difference(found: int, expected: int, one: str, many: str = "") -> str:
    return f"{counted(found, one, many)}, expected {expected:,} ({found - expected:+,})"


def _hint(spec: DatasetSpec, split: str, count: int) -> str:
    for other, expected in spec.counts.items():
        if other != split and expected.images == count:
            return f" - as many as {other} should have: are the folders mixed up?"
    variant = spec.variants.get(count)
    return f" - this looks like {variant}" if variant else ""


def refuse_junk(folder: Path, splits: dict[str, tuple[Sample, ...]]) -> None:
    """Refuses junk and distractors outside the gallery."""
    for split in ("train", "query"):
        wrong = [each.name for each in splits[split] if each.pid < 1]
        if wrong:
            raise ValueError(
                f"{folder}: identities -1 (junk) and 0 (distractor) belong in the gallery only; "
                f"{len(wrong):,} are in {split}, first: {wrong[:3]}"
            )


def _mixed_up(splits: dict[str, tuple[Sample, ...]]) -> list[str]:
    """Signs that splits do not belong together."""
    train, query, gallery = (
        {each.pid for each in splits[split] if each.pid > 0} for split in SPLITS
    )
    found = []
    shared = sorted(train & (query | gallery))
    if shared:
        found.append(
            f"{counted(len(shared), 'identity', 'identities')} in both the training and the test "
            f"images (first: {shared[:3]}): are the folders mixed up?"
        )
    if query and gallery and not query & gallery:
        found.append("none of the identities in query is in the gallery: are the folders mixed up?")
    return found


def _notes(spec: DatasetSpec, splits: dict[str, tuple[Sample, ...]]) -> list[str]:
    notes = []
    if spec.counts_from == "nowhere":
        variant = spec.variants.get(len(splits["train"]))
        notes.append(
            "no published counts are known: none were verified"
            + (f"; train looks like {variant}" if variant else "")
        )
    if not (splits["query"] and splits["gallery"]) and (spec.query or spec.gallery):
        notes.append("there are no test images with known identities")
    both = {each.name for each in splits["query"]} & {each.name for each in splits["gallery"]}
    if both and spec.has_cameras:
        notes.append(
            f"{counted(len(both), 'query image')} also in the gallery: excluded only by the rule "
            "about the same camera"
        )
    cameras: dict[int, set[int]] = {}
    for each in splits["gallery"]:
        cameras.setdefault(each.pid, set()).add(each.camid)
    alone = {
        (each.tracklet if isinstance(each, DatasetSample) else "") or each.name
        for each in splits["query"]
        if not cameras.get(each.pid, set()) - {each.camid}
    }
    if alone:
        notes.append(
            f"{counted(len(alone), 'query', 'queries')} without a match of another camera in the "
            "gallery"
        )
    return notes


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9+]", "", name.lower())
