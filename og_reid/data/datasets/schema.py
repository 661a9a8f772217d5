"""Specification of a data set on disk: plain values, interpreted by `reader`.

A regular expression for names is matched against the whole path below a folder, with ``/`` between
its parts. Its groups are ``pid`` (with the digits of a group ``pair`` before it), ``camid`` and
``tracklet``.
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
    "VehicleList",
    "WildList",
]

#: Names of the splits of a data set.
SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True)
class DatasetSample(Sample):
    """An image of a data set, with its tracklet.

    Attributes:
        tracklet: Name common to the images of a tracklet; empty in sets of single images.
        source_camid: Camera of the name, where the protocol replaces it in ``camid``; otherwise
            None.
    """

    tracklet: str = ""
    source_camid: int | None = None


@dataclass(frozen=True)
class Dataset(Splits):
    """Data set: splits, name, folder and labels.

    Splits are tuples of `Sample` (of `DatasetSample` for published sets), in an order that does not
    depend on the file system. `load_dataset` converts the `Splits` of custom loaders.

    Attributes:
        name: Name of the specification.
        root: Folder (or file) of the data set.
        has_cameras: False when cameras are unknown. Queries then have camera 0 and gallery images
            camera 1, so that camera rules exclude nothing.
        differences: Differences from the published images, one clause each; empty when the data
            set was verified.
        notes: Notes on the reading of the images, one sentence each.
        identity_names: Number (``pid``) by name of identity, for names that are no numbers.
        camera_names: Number (``camid``) by name of camera, likewise.
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
        path: Folder below the root.
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
        path: List file below the root.
        folder: Base folder of its paths, below the root.
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
        folder: Folder of the images.
        names: Text file of their names.
        tracks: ``.mat`` file and, after a colon, the variable in it.
        query: The same for the numbers (from 1) of the query tracklets; empty selects all rows.
        queries: True selects the queries, False the others.
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
    """Images of the new protocol of CUHK03 (Zhong et al., CVPR 2017).

    Attributes:
        folder: Folder of the extracted images.
        path: ``.mat`` file with ``filelist``, ``labels``, ``camId`` and the indices (from 1).
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
        path: XML file; without identities in it the split stays empty.
        folder: Folder of the images.
    """

    path: str
    folder: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.path, self.folder)


@dataclass(frozen=True)
class VehicleList:
    """Images of VehicleID (Liu et al., CVPR 2016), in lines ``<image> <vehicle>``.

    Attributes:
        path: List file below the root.
        folder: Folder of the images ``<image of 7 digits>.jpg``.
        side: ``all`` images; ``gallery``: a random image of each vehicle, from a fixed seed;
            ``query``: the others.
    """

    path: str
    folder: str
    side: Literal["all", "query", "gallery"]

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.path, self.folder)


@dataclass(frozen=True)
class WildList:
    """Images of VERI-Wild (Lou et al., CVPR 2019), in lines ``<vehicle>/<image>``.

    Attributes:
        path: List file below the root.
        folder: Folder of the folders of vehicles.
        info: Table with the camera of each image.
    """

    path: str
    folder: str = "images"
    info: str = "train_test_split/vehicle_info.txt"

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.path, self.folder, self.info)


@dataclass(frozen=True)
class PoseTrack:
    """Crops of Occluded-PoseTrack-ReID (Somers et al., ECCV 2024), selected by a sampling file.

    Attributes:
        part: Part of PoseTrack21, ``train`` or ``val``.
        split: Value of ``split`` in the sampling file.
        camid: Camera of all images; the real one is the video.
        offset: Added to every identity.
    """

    part: str
    split: str
    camid: int
    offset: int

    @property
    def sampling(self) -> str:
        """Path of the sampling file, with the split of each detection."""
        return f"occluded_posetrack_reid/{self.part}_dataset_sampling.json"

    @property
    def annotations(self) -> str:
        """Folder of PoseTrack21's annotation files, one per video."""
        return f"posetrack_data/{self.part}"

    @property
    def crops(self) -> str:
        """Folder of the crops made by the authors' code."""
        return f"occluded_posetrack_reid/images/{self.part}"

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.sampling, self.annotations, self.crops)


@dataclass(frozen=True)
class Clouds:
    """Split of a tree of clouds, see `load_market3d`."""

    path: str

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths below the root that must be there."""
        return (self.path,)


@dataclass(frozen=True)
class AnyOf:
    """First existing one of several sources."""

    options: tuple[Folder | ListFile | MatlabProtocol | Clouds, ...]

    @property
    def needs(self) -> tuple[str, ...]:
        """Paths of the first one, for messages."""
        return self.options[0].needs


#: Source of the images of a split.
Source = (
    Folder
    | ListFile
    | TrackletFile
    | MatlabProtocol
    | LabelFile
    | VehicleList
    | WildList
    | PoseTrack
    | Clouds
    | AnyOf
)


@dataclass(frozen=True)
class Counts:
    """Expected counts of a split; None is not verified.

    Attributes:
        images: Number of images.
        identities: Number of identities, junk (-1) and distractors (0) not counted.
        tracklets: Number of tracklets.
        cameras: Images of each camera, by its number, junk (-1) not counted.
        names_sha256: Prefix of the SHA-256 of the sorted file names, joined by newlines.
    """

    images: int | None = None
    identities: int | None = None
    tracklets: int | None = None
    cameras: Mapping[int, int] | None = None
    names_sha256: str = ""


@dataclass(frozen=True)
class DatasetSpec:
    """Specification of a data set.

    Attributes:
        name: Name for `load_dataset` and ``--dataset``.
        title: Name in the literature, with the protocol where there are several.
        folders: Usual names of its folder; several levels with ``/``.
        train: Sources of the training images; empty for sets without them.
        query: Sources of the queries.
        gallery: Sources of the gallery.
        counts: Expected counts of each split.
        counts_from: Source of the counts: ``split files`` of the authors, ``reference loaders``,
            ``papers`` (a difference is then a note, no error), or ``nowhere``.
        identities: Number of identities in all splits together.
        variants: Description of known variants, by number of images of a split.
        notice: Licence or state of the data set, shown on its first use.
        when_missing: Advice on obtaining the data set.
        kind: Kind of the files.
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
