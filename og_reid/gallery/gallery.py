"""Gallery: items on disk, enrolled once, searched, filtered, merged and forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from pose.runtime.defaults import plain_torch

from ..inference.encoder import Encoder
from ..inference.pretrained import DEFAULT_MODEL
from ..models.embedding import Embedding
from ..retrieval.progress import Progress
from .changes import build_plan, check_items, forget_items, merge_identities, split_items
from .decisions import Decision, Drift, Per, threshold_at
from .enrolment import Labelling
from .exchange import export_items, import_items
from .filters import conditions
from .folder import GalleryFolder
from .lance_snapshot import SnapshotReplacedError
from .means import GroupMeans, group_means
from .measures import Measured
from .outside import ItemEngine, Stored, copy_items
from .packing import EMBEDDED, unpack
from .query import SearchEngine, SearchOptions, decide, drift_of, run_search
from .result import Added, GalleryResult, GalleryStats
from .stats import gallery_stats
from .store import StoreSnapshot
from .writing import add_items

__all__ = ["Gallery"]

T = TypeVar("T")
_TRIES = 20


class Gallery:
    """Items with embeddings in a folder, searched in two stages; of any number.

    Global embeddings select candidates in a scan of all items, late interaction ranks them. The
    number of candidates is measured by `build`; before, each query is compared with all items.
    One process writes at a time; any number read, and see each change as a whole.

    Args:
        path: Folder; it is made by the first `add`.
        model: Path or name for `og_reid.load_model`, or its result. "default" is the model that
            the gallery was made with; for a new one the default of the first inputs' kind.

    Raises:
        ValueError: The folder holds other files, or is a gallery of a newer version.
    """

    def __init__(self, path: str | Path, model: str | Path | Encoder = DEFAULT_MODEL) -> None:
        self._folder = GalleryFolder(path, model, exists=False)

    @classmethod
    def open(cls, path: str | Path, model: str | Path | Encoder = DEFAULT_MODEL) -> Gallery:
        """Gallery that exists.

        Args:
            path: Its folder.
            model: As for `Gallery`.

        Raises:
            ValueError: The folder is no gallery.
        """
        GalleryFolder(path, model, exists=True)
        return cls(path, model)

    @property
    def path(self) -> Path:
        """The folder."""
        return self._folder.path

    @property
    def model(self) -> Encoder:
        """Model of the embeddings."""
        return self._folder.model()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Context of one writer for several changes: other threads wait, processes are refused.

        Raises:
            ValueError: Another process writes.
        """
        with self._folder.writing():
            yield

    def __len__(self) -> int:
        """Number of items."""
        return self._read(len) if self._folder.is_there else 0

    def __repr__(self) -> str:
        return f"Gallery({str(self.path)!r}, {len(self):,} items)"

    @plain_torch()
    def add(
        self,
        inputs: Any,
        ids: Any = None,
        *,
        identities: Any = None,
        tracklets: Any = None,
        cameras: Any = None,
        times: Any = None,
        paths: Any = None,
        metadata: Any = None,
        skip: bool = False,
        progress: Progress | None = None,
    ) -> Added:
        """Enrols items; those of known ids are replaced, or kept if nothing has changed.

        Inputs are written batch by batch: after an interruption the same call continues, and does
        not embed again what is there.

        Args:
            inputs: One or many images or point clouds, as for `og_reid.describe`; a folder of
                them; an `Embedding` of `og_reid.describe` by the same model; or a
                `og_reid.data.LiftedStore`.
            ids: Unique ids, text or whole numbers. None: paths, names in the store, or digests of
                the content.
            identities: Identities, text or whole numbers: one for all, one for each (None:
                unknown), or a function of the path; likewise below.
            tracklets: Tracklets.
            cameras: Cameras.
            times: Seconds since 1970, datetimes (without a zone: UTC) or their ISO texts.
            paths: Paths to be shown; None: those of the inputs.
            metadata: Further plain values by name: one mapping for all, or one for each.
            skip: Leave out inputs that cannot be embedded; by default they raise, and what comes
                before them is kept.
            progress: Called with (inputs done, inputs in all).

        Raises:
            ValueError: An input cannot be embedded, a label is of another type, an id is given
                twice, the model is another one, or another process writes.
            OSError: The disk is full, or the like: the gallery stays as it was.
        """
        named = Labelling(ids, identities, tracklets, cameras, times, paths, metadata)
        return add_items(self._folder, inputs, named, skip=skip, progress=progress)

    @plain_torch()
    def search(
        self,
        query: Any,
        k: int = 10,
        *,
        where: Mapping[str, Any] | None = None,
        after: Any = None,
        before: Any = None,
        cameras: Any = None,
        identities: Any = None,
        exclude_same_camera: bool = False,
        query_cameras: Any = None,
        exhaustive: bool = False,
        min_shared: float = 0.0,
        engine: SearchEngine = "local",
        workers: int = 2,
        progress: Progress | None = None,
    ) -> GalleryResult:
        """Nearest items of each query.

        Args:
            query: Q images or point clouds, as for `og_reid.describe`, or its `Embedding`.
            k: Largest number of items per query.
            where: Conditions on fields that all hold, see `og_reid.gallery.conditions`: a value,
                several values, or a range, as in ``{"camera": ["north", "east"], "metadata.age":
                {"min": 18}}``.
            after: Earliest time, as for `add`.
            before: Time that all are earlier than.
            cameras: One camera or several.
            identities: One identity or several.
            exclude_same_camera: Leave out items of the query's camera.
            query_cameras: Camera of each query, or of all.
            exhaustive: Compare each query with all items.
            min_shared: Smallest shared evidence, fraction of the image in [0, 1]: items with less
                rank after all others, without a probability.
            engine: ``local``: this process. ``ray``: workers of Ray (extra ``ray``), which read
                the folder at the same path, on the cluster that ``RAY_ADDRESS`` names, else on
                this machine; the ranking is the same. `QdrantItems` or `PostgresItems`: it
                selects the candidates among its copies of `copy_to`.
            workers: Number of workers of Ray.
            progress: Called with (items compared, items in all), or parts on Ray.

        Returns:
            The ranking, with scores, shared evidence, calibrated probabilities, and the items.

        Raises:
            ValueError: A field is unknown, a value is of another type, or the model is another one.
            OSError: The gallery cannot be read, here or by the workers.
            ImportError: Ray is missing.
            RuntimeError: Workers were killed repeatedly.
        """
        chosen = conditions(
            where, after=after, before=before, cameras=cameras, identities=identities
        )
        options = SearchOptions(
            k, chosen, exclude_same_camera, query_cameras, exhaustive, min_shared, engine, workers
        )
        return self._read(lambda at: run_search(self._folder, at, query, options, progress))

    @plain_torch()
    def identify(
        self,
        query: Any,
        false_accept_rate: float = 0.01,
        *,
        per: Per = "search",
        **filters: Any,
    ) -> tuple[Decision, ...]:
        """Answer to each query: a match, none in the gallery, or not enough seen.

        Args:
            query: As for `search`.
            false_accept_rate: Fraction of searches (or comparisons) of identities that are not in
                the gallery and yet have a match, in (0, 1).
            per: ``search``: of the whole gallery; ``comparison``: of two images.
            filters: Conditions as for `search`.

        Raises:
            ValueError: The enrolled items do not support the rate, see `threshold`; or as for
                `search`.
        """
        threshold = self.threshold(false_accept_rate, per=per)
        found = self.search(query, **filters)
        return decide(found, threshold)

    def threshold(self, false_accept_rate: float = 0.01, *, per: Per = "search") -> float:
        """Smallest score of a match at a false-accept rate, from the enrolled identities.

        Args:
            false_accept_rate: False accepts per search or comparison, in (0, 1).
            per: ``search``: a search counts if any item of another identity has the score;
                ``comparison``: each pair of images of two identities counts.

        Raises:
            ValueError: `build` has not measured, or on too few items for the rate.
        """
        impostors = self._folder.settings().impostors
        if impostors is None:
            raise ValueError(
                f"{self.path} has no measured scores: call build() with items of at least 2 "
                "identities"
            )
        return threshold_at(impostors, false_accept_rate, per)

    @plain_torch()
    def drift(self, query: Any) -> Drift:
        """Change of queries against the items, such as other cameras or another light.

        Args:
            query: At least 8 images, or their `Embedding`.

        Raises:
            ValueError: There are fewer, or `build` has not measured.
        """
        return drift_of(self._folder, query)

    @plain_torch()
    def build(
        self,
        queries: Any = None,
        *,
        recall: float = 0.995,
        k: int = 10,
        seed: int = 0,
        progress: Callable[[str], Progress | None] | None = None,
    ) -> Measured:
        """Measures the number of candidates, thresholds, calibration and baseline; stores them.

        Recall is that of the first k items against the exhaustive search, on items as queries
        (without themselves and items of their camera and tracklet), or on given queries.

        Args:
            queries: Images or an `Embedding` to measure the recall on; None: items.
            recall: Smallest recall, in (0, 1].
            k: Number of items of a query that count.
            seed: Seed of the choice of items.
            progress: Function from the name of a stage to its progress.

        Raises:
            ValueError: The gallery is empty, or another process writes.
        """
        return build_plan(self._folder, queries, recall=recall, k=k, seed=seed, progress=progress)

    def forget(self, *, identity: Any = None, item: Any = None, before: Any = None) -> int:
        """Removes items and all their bytes from the files; returns the number of items.

        Args:
            identity: An identity or several.
            item: An id or several.
            before: Time that all are earlier than; with the others, all conditions hold.

        Raises:
            ValueError: No condition is given, or another process writes.
            OSError: The disk is full, or the like: nothing has changed.
        """
        return forget_items(self._folder, identity=identity, item=item, before=before)

    def merge(self, identities: Sequence[Any], into: Any = None) -> int:
        """Gives all items of some identities one identity; returns the number of items changed.

        Args:
            identities: Identities, at least one.
            into: Identity that they become; None: the first.

        Raises:
            ValueError: There is none, or another process writes.
        """
        return merge_identities(self._folder, identities, into)

    def split(self, items: Any, identity: Any) -> int:
        """Gives some items another identity; returns the number of items changed.

        Args:
            items: An id or several.
            identity: Their identity; None: unknown.

        Raises:
            ValueError: An item is not there, or another process writes.
        """
        self._read(lambda at: check_items(at, items))
        return split_items(self._folder, items, identity)

    def means(self, by: str = "identity") -> GroupMeans:
        """Mean global embedding of each identity or tracklet, over the items as they are now.

        Args:
            by: ``identity`` or ``tracklet``.

        Raises:
            ValueError: ``by`` is another field, or there are no global embeddings.
        """
        return self._read(lambda at: group_means(at, self._folder.settings().layout, by))

    def embeddings(self) -> Iterator[tuple[list[str], Embedding]]:
        """Ids and embeddings of all items, block by block; local features are int8."""
        layout = self._folder.settings().layout
        blocks = self._read(lambda at: list(at.scan(["id", *EMBEDDED], rows=4096)))
        for block in blocks:
            yield list(block["id"]), unpack(block, layout)

    def stats(self) -> GalleryStats:
        """Numbers of the gallery.

        Raises:
            ValueError: There is no gallery yet.
        """
        return self._read(lambda at: gallery_stats(self.path, self._folder.settings(), at))

    def compact(self) -> None:
        """Joins small pieces; `build` does it, too.

        Raises:
            ValueError: Another process writes.
        """
        with self._folder.writing():
            self._folder.store().compact()

    def export(self, path: str | Path) -> int:
        """Writes all items to a Parquet file; returns their number.

        Args:
            path: File to write.

        Raises:
            OSError: It cannot be written.
        """
        return self._read(lambda at: export_items(path, at, self._folder.settings()))

    def copy_to(self, engine: ItemEngine) -> int:
        """Copies all items to an engine, for ``search(engine=...)``; returns their number.

        Copies do not follow later changes: copy again, and remove forgotten items there.

        Args:
            engine: `QdrantItems` or `PostgresItems`; items of known ids are replaced.

        Raises:
            ValueError: The engine holds items of another model.
        """
        settings = self._folder.settings()
        layout = settings.layout
        sizes = {"features": layout.features, "packed": layout.packed_bytes}
        names = [name for name, size in sizes.items() if size]
        form = Stored(layout, settings.digest)
        return self._read(lambda at: copy_items(at, engine, form, names))

    def import_(self, path: str | Path) -> Added:
        """Adds the items of a Parquet file of `export`; those of known ids are replaced.

        Args:
            path: The file.

        Raises:
            ValueError: It is damaged, or of another model; what comes before the damage is kept.
        """
        return import_items(path, self._folder)

    def _read(self, job: Callable[[StoreSnapshot], T]) -> T:
        """Result of a job on a snapshot; again, where a writer has replaced it."""
        for _ in range(_TRIES):
            try:
                return job(self._folder.store().snapshot())
            except SnapshotReplacedError:
                continue
        raise OSError(f"{self.path} cannot be read: it changes all the time")
