"""Specification of a data set on disk: plain values, which `reader` interprets.

A regular expression for names is matched against the whole path below a folder, with ``/`` between
its parts. Its groups give a name's meaning: ``pid`` (after a group ``pair`` where there is one: the
digits of both), ``camid`` and ``tracklet``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..sample import Sample, Splits

__all__ = [
    "SPLITS",
    "AnyOf",
    "Clouds",
    "Counts",
    "Dataset",
    "DatasetSample",
    "DatasetSpec",
    "Folder",
    "LabelFile",
    "ListFile",
    "MatlabProtocol",
    "PoseTrack",
    "Source",
    "TrackletFile",
]

#: Names of the splits of a data set.
SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True)
class DatasetSample(Sample):
    """An image of a data set, with its tracklet.

    Attributes:
        tracklet: Name common to the images of a tracklet; empty in sets of single images.
        source_camid: The camera of the name, from 0 or 1 as there, where the protocol replaces it
            in ``camid``; otherwise None.
    """

    tracklet: str = ""
    source_camid: int | None = None


@dataclass(frozen=True)
class Dataset(Splits):
    """A data set: its splits, name, folder and labels.

    Tuples of `Sample` (of `DatasetSample` for published sets), in an order that does not depend on
    the file system. Custom loaders return `Splits`, from which `load_dataset` makes one.

    Attributes:
        name: Name of the specification that it was read by.
        root: The folder (or file) that was read.
        has_cameras: False where cameras are unknown. Queries are then of camera 0 and gallery
            images of camera 1, so that no rule about cameras leaves anything out.
        differences: Differences from the published images, one clause each; empty when the data
            set was verified.
        notes: Further remarks on how the images were read, one sentence each.
        identity_names: From the name of each identity to its number (``pid``), where names are no
            numbers.
        camera_names: From the name of each camera to its number (``camid``), likewise.
    """

    name: str
    root: Path
    has_cameras: bool = True
    differences: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    identity_names: Mapping[str, int] = field(default_factory=dict, hash=False)
    camera_names: Mapping[str, int] = field(default_factory=dict, hash=False)

    def split(self, name: str) -> tuple[Sample, ...]:
        """Samples of ``train``, ``query`` or ``gallery``.

        Raises:
            KeyError: ``name`` is none of them.
        """
        splits = {"train": self.train, "query": self.query, "gallery": self.gallery}
        return splits[name]


@dataclass(frozen=True)
class Folder:
    """All images of a folder.

    Attributes:
        path: Below the root.
        name: Regular expression of an image's path below the folder.
        depth: Levels of folders between ``path`` and the images.
        camid: Replaces the camera of the name.
        offset: Added to every identity.
    """

    path: str
    name: str
    depth: int = 0
    camid: int | None = None
    offset: int = 0

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.path,)


@dataclass(frozen=True)
class ListFile:
    """Images listed in a text file, one ``<path> <pid>`` a line.

    Attributes:
        path: The file, below the root.
        folder: What its paths are relative to, below the root.
        name: Regular expression of the paths.
        offset: Added to every identity of the file.
    """

    path: str
    folder: str
    name: str
    offset: int = 0

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.path, self.folder)


@dataclass(frozen=True)
class TrackletFile:
    """Tracklets of MARS: rows of first image, last image (from 1), identity, camera.

    Attributes:
        folder: Of the images.
        names: Text file of their names.
        tracks: ``.mat`` file and, after a colon, the variable in it.
        query: The same for the numbers (from 1) of the query tracklets; empty: all rows are meant.
        queries: Whether the queries are meant, or the others.
    """

    folder: str
    names: str
    tracks: str
    query: str = ""
    queries: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        files = (each.split(":")[0] for each in (self.tracks, self.query) if each)
        return (self.folder, self.names, *files)


@dataclass(frozen=True)
class MatlabProtocol:
    """Images chosen by the new protocol of CUHK03 (Zhong et al., CVPR 2017).

    Attributes:
        folder: Of the extracted images.
        path: The ``.mat`` file with ``filelist``, ``labels``, ``camId`` and the indices (from 1).
        index: Name of the variable of this split.
    """

    folder: str
    path: str
    index: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.folder, self.path)


@dataclass(frozen=True)
class LabelFile:
    """Images labelled by ``<Item imageName= vehicleID= cameraID=/>`` in an XML file.

    Attributes:
        path: The file; without identities in it the split stays empty.
        folder: Of the images.
    """

    path: str
    folder: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.path, self.folder)


@dataclass(frozen=True)
class PoseTrack:
    """Crops of Occluded-PoseTrack-ReID (Somers et al., ECCV 2024), chosen by a sampling file.

    Attributes:
        part: Of PoseTrack21, ``train`` or ``val``.
        split: Value of ``split`` in the sampling file.
        camid: Of all images; the real one is the video.
        offset: Added to every identity.
    """

    part: str
    split: str
    camid: int
    offset: int

    @property
    def sampling(self) -> str:
        """Split of each detection."""
        return f"occluded_posetrack_reid/{self.part}_dataset_sampling.json"

    @property
    def annotations(self) -> str:
        """The folder of PoseTrack21's own files, one for each video."""
        return f"posetrack_data/{self.part}"

    @property
    def crops(self) -> str:
        """The folder of the images that the authors' code has cut out."""
        return f"occluded_posetrack_reid/images/{self.part}"

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.sampling, self.annotations, self.crops)


@dataclass(frozen=True)
class Clouds:
    """A split of a tree as `load_market3d` reads it."""

    path: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.path,)


@dataclass(frozen=True)
class AnyOf:
    """The first of several sources that is there."""

    options: tuple[Folder | ListFile | MatlabProtocol | Clouds, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths of the first one, for messages."""
        return self.options[0].needs


#: Source of the images of a split.
Source = Folder | ListFile | TrackletFile | MatlabProtocol | LabelFile | PoseTrack | Clouds | AnyOf


@dataclass(frozen=True)
class Counts:
    """Expected counts of a split; None is not verified.

    Attributes:
        images: Number of images.
        identities: Number of identities, junk (-1) and distractors (0) not counted.
        tracklets: Number of tracklets.
        cameras: Images of each camera, by its number, junk (-1) not counted.
        names_sha256: How the SHA-256 of the sorted file names, joined by newlines, begins.
    """

    images: int | None = None
    identities: int | None = None
    tracklets: int | None = None
    cameras: Mapping[int, int] | None = None
    names_sha256: str = ""


@dataclass(frozen=True)
class DatasetSpec:
    """A data set.

    Attributes:
        name: As given to `load_dataset` and to ``--dataset``.
        title: Its name in the literature, and the protocol where there are several.
        folders: Usual names of its folder; several levels with ``/``.
        train: Where the images of each split are; empty for sets without it.
        query: As for ``train``.
        gallery: As for ``train``.
        counts: What must be in each split.
        counts_from: Where those numbers come from: counted in the ``split files`` of the authors,
            stated in ``reference loaders``, from ``papers`` alone (a difference is then noted and
            is no error), or ``nowhere``.
        identities: Number of identities in all splits together.
        variants: What a split with this many images looks like.
        notice: Licence or state of the data set, shown on its first use.
        when_missing: What to do without it.
        kind: Of the files.
        has_cameras: True when names hold cameras.
    """

    name: str
    title: str
    folders: tuple[str, ...]
    train: tuple[Source, ...] = ()
    query: tuple[Source, ...] = ()
    gallery: tuple[Source, ...] = ()
    counts: Mapping[str, Counts] = field(default_factory=dict)
    counts_from: Literal["split files", "reference loaders", "papers", "nowhere"] = "nowhere"
    identities: int | None = None
    variants: Mapping[int, str] = field(default_factory=dict)
    notice: str = ""
    when_missing: str = "ask its authors for it"
    kind: Literal["images", "tracklets", "clouds"] = "images"
    has_cameras: bool = True

    @property
    def sources(self) -> dict[str, tuple[Source, ...]]:
        """Source of the images of each split."""
        return {"train": self.train, "query": self.query, "gallery": self.gallery}
