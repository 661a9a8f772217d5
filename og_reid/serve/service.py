"""Jobs of the service on a gallery: one writer in a thread of its own, several readers."""

from __future__ import annotations

import base64
import hashlib
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..api import describe
from ..gallery import Added, Gallery, comparable_query, stored_embeddings
from ..gallery.decisions import Per
from ..gallery.query import decide
from ..gallery.stored import label_values
from ..inference.encoder import Encoder
from ..inference.given_images import lift_people
from ..inference.own_surface import OwnSurface
from ..inference.pretrained import DEFAULT_MODEL
from ..viz.thumbnails import encoded_thumbnail
from .decoding import DecodingWorker, UndecodableImageError
from .messages import EnrolOptions, ForgetRequest, SearchOptions
from .records import NAME, THUMBNAIL, match_records, person_record, verdict_record, why_record
from .settings import ServeSettings

__all__ = ["EmptyGalleryError", "GalleryService", "OverloadedError"]

T = TypeVar("T")
_THUMBNAIL = 160  # pixels, height
_CAMERAS = 1000


class EmptyGalleryError(ValueError):
    """A search of a gallery without items."""


class OverloadedError(RuntimeError):
    """More requests wait than the settings admit."""


class GalleryService:
    """A gallery, held by this process as its one writer.

    Args:
        gallery: Folder of the gallery; a new one is made by the first enrolment.
        model: As for `og_reid.Gallery`.
        settings: Limits.

    Raises:
        ValueError: The folder holds other files, or is a gallery of a newer version.
    """

    def __init__(
        self,
        gallery: str | Path,
        model: str | Path | Encoder = DEFAULT_MODEL,
        settings: ServeSettings | None = None,
    ) -> None:
        self.settings = settings or ServeSettings()
        self.gallery = Gallery(gallery, model)
        self.decoder = DecodingWorker(self.settings)
        #: Set when the service stops: jobs of many images end after the present ones.
        self.stopping = threading.Event()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._readers = ThreadPoolExecutor(self.settings.threads, thread_name_prefix="reader")
        self._held = ExitStack()
        self._waiting = 0
        self._lock = threading.Lock()
        self._stats: dict[str, Any] | None = None

    def start(self) -> None:
        """Takes the writer's place, and loads the model.

        Raises:
            ValueError: Another process writes.
            RuntimeError: The process that decodes images does not start.
        """
        # A lock belongs to a thread: it is taken, and all is written, in that of the writer.
        self._writer.submit(self._held.enter_context, self.gallery.writing()).result()
        try:
            _ = self.gallery.model
            self.decoder.start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the running jobs, and gives the writer's place free."""
        self.stopping.set()
        self._readers.shutdown(cancel_futures=True)
        self._writer.submit(self._held.close).result()
        self._writer.shutdown()
        self.decoder.close()

    @property
    def waiting(self) -> int:
        """Number of jobs that run or wait."""
        return self._waiting

    def read(self, job: Callable[[], T]) -> Future[T]:
        """Starts a job that only reads; several run at a time.

        Args:
            job: The job.

        Raises:
            OverloadedError: Too many wait.
        """
        return self._submit(self._readers, job)

    def write(self, job: Callable[[], T]) -> Future[T]:
        """Starts a job that writes, after those before it.

        Args:
            job: The job.

        Raises:
            OverloadedError: Too many wait.
        """

        def run() -> T:
            try:
                return job()
            finally:
                self._stats = None

        return self._submit(self._writer, run)

    def search(self, content: bytes, options: SearchOptions) -> dict[str, Any]:
        """Ranking of an image.

        Args:
            content: The image file.
            options: Options.

        Raises:
            EmptyGalleryError: There are no items.
            UndecodableImageError: The image is refused.
            ValueError: A field is unknown, or a value is of another type.
        """
        gallery = self.gallery
        pixels = self.decoder.decode(content)
        if not len(gallery):
            raise EmptyGalleryError("the gallery has no items yet: enrol images first")
        query = describe(pixels, gallery.model)
        found = gallery.search(
            query, options.k, where=options.where or None, after=options.after,
            before=options.before, cameras=options.cameras, identities=options.identities,
            exclude_same_camera=options.exclude_same_camera, query_cameras=options.camera,
            exhaustive=options.exhaustive, min_shared=options.min_shared,
        )  # fmt: skip
        records = match_records(found)
        if options.why and records:
            stored = stored_embeddings(gallery, [each["id"] for each in records])
            asked = comparable_query(gallery, query)
            for each in records:
                if each["id"] in stored:
                    each |= why_record(gallery.model, asked, stored[each["id"]])
        paths = {each.id: each.path for each in found.items}
        for each in records:
            each["image"] = each["image"] or self._file_image(paths.get(each["id"]))
        verdict, notes = None, []
        if options.false_accept_rate is not None:
            try:
                rate = options.false_accept_rate
                threshold = gallery.threshold(rate, per=options.per)
                verdict = verdict_record(decide(found, threshold)[0])
            except ValueError as error:
                notes.append(self.plain(error))
        return {
            "matches": records, "compared": found.candidates, "items": len(gallery),
            "verdict": verdict, "notes": notes,
        }  # fmt: skip

    def person(self, content: bytes) -> dict[str, Any]:
        """Keypoints of the person in an image, and what is hidden.

        Args:
            content: The image file.

        Raises:
            UndecodableImageError: The image is refused.
        """
        pixels = self.decoder.decode(content)
        model = self.gallery.model
        described = describe(pixels, model) if model.inputs == "image" else None
        return person_record(pixels, model, described)

    def view(self, content: bytes, *, dark: bool) -> str:
        """Page of the person as a point cloud in 3D.

        Args:
            content: The image file.
            dark: On dark.

        Raises:
            NoPersonError: No person was found.
            UndecodableImageError: The image is refused.
            ImportError: mediapipe is missing.
        """
        from meshes.body.load import load_body

        from ..viz.items import as_items
        from ..viz.looks import Look
        from ..viz.viewer import viewer_page

        pixels = self.decoder.decode(content)
        lifts, _ = lift_people(pixels, None, load_body(None), layout="surface", masks=OwnSurface())
        items = as_items(lifts[:1], ["person"])
        return viewer_page(items, Look(dark=dark), title="Point cloud", embedded=True)

    def enrol(
        self,
        images: Sequence[tuple[bytes, str]],
        options: EnrolOptions,
        *,
        several: bool = False,
    ) -> tuple[list[str], Added]:
        """Enrols images, in the writer's thread; returns their ids, and the outcome.

        Args:
            images: Image files and their names.
            options: Labels of all of them.
            several: Images that cannot be enrolled are left out; otherwise they raise.

        Raises:
            ValueError: A label is refused.
        """
        if THUMBNAIL in options.metadata or NAME in options.metadata:
            raise ValueError(f"metadata must not have the keys {THUMBNAIL} and {NAME}")
        failed: list[tuple[str, str]] = []
        arrays, ids, metadata = [], [], []
        for content, name in images:
            try:
                pixels = self.decoder.decode(content)
            except UndecodableImageError as error:
                if not several:
                    raise
                failed.append((name, str(error)))
                continue
            arrays.append(pixels)
            ids.append(options.id or _digest(pixels))
            more: dict[str, Any] = {NAME: name} if name else {}
            if options.thumbnail:
                small = encoded_thumbnail(pixels, _THUMBNAIL)
                more[THUMBNAIL] = base64.b64encode(small).decode("ascii")
            metadata.append({**options.metadata, **more})
        last = {each: row for row, each in enumerate(ids)}  # equal images are one item
        rows = sorted(last.values())
        if not rows:
            return [], Added(failed=tuple(failed))
        names = {ids[row]: metadata[row].get(NAME, ids[row]) for row in rows}
        added = self.gallery.add(
            [arrays[row] for row in rows], [ids[row] for row in rows],
            identities=options.identity, tracklets=options.tracklet, cameras=options.camera,
            times=options.time, metadata=[metadata[row] for row in rows], skip=several,
        )  # fmt: skip
        gone = {each for each, _ in added.failed}
        failed += [(names.get(each, each), reason) for each, reason in added.failed]
        kept = [ids[row] for row in rows if ids[row] not in gone]
        return kept, Added(added.new, added.replaced, added.unchanged, tuple(failed))

    def forget(self, request: ForgetRequest) -> int:
        """Removes items and their bytes, in the writer's thread; returns their number.

        Args:
            request: Conditions.
        """
        if not len(self.gallery):
            return 0
        return self.gallery.forget(
            identity=request.identity, item=request.item, before=request.before
        )

    def threshold(self, rate: float, per: Per) -> float:
        """Smallest score of a match at a false-accept rate.

        Args:
            rate: False-accept rate.
            per: What it counts.

        Raises:
            ValueError: `og_reid.Gallery.build` has not measured, or on too few items.
        """
        if not len(self.gallery):
            raise EmptyGalleryError("the gallery has no items yet: enrol images first")
        return self.gallery.threshold(rate, per=per)

    def stats(self) -> dict[str, Any]:
        """Numbers of the gallery; counted again after a change."""
        known = self._stats
        if known is not None:
            return known
        found: dict[str, Any] = {
            "items": 0, "identities": 0, "cameras": [], "unlabelled": 0, "first": None,
            "last": None, "disk_bytes": 0, "measured": False, "search": "no items yet",
        }  # fmt: skip
        if len(self.gallery):
            stats = self.gallery.stats()
            found |= {
                "items": stats.items, "identities": stats.identities,
                "cameras": label_values(self.gallery, "camera", _CAMERAS),
                "unlabelled": stats.unlabelled, "first": stats.first, "last": stats.last,
                "disk_bytes": stats.disk_bytes, "search": stats.search,
            }  # fmt: skip
            try:
                self.gallery.threshold(0.5, per="comparison")
                found["measured"] = True
            except ValueError:
                found["measured"] = False
        self._stats = found
        return found

    def plain(self, error: Exception) -> str:
        """Message of an error, without the folder of the gallery.

        Args:
            error: The error.
        """
        return str(error).replace(str(self.gallery.path), "the gallery")

    def _file_image(self, path: str | None) -> str | None:
        """Thumbnail of an item that was enrolled from a file below the folder of images."""
        folder = self.settings.images
        if folder is None or path is None:
            return None
        root = folder.resolve()
        file = (root / path).resolve()
        if not file.is_relative_to(root) or not file.is_file():
            return None
        if file.stat().st_size > self.settings.max_image_bytes:
            return None
        try:
            pixels = self.decoder.decode(file.read_bytes())
        except (OSError, UndecodableImageError):
            return None
        small = base64.b64encode(encoded_thumbnail(pixels, _THUMBNAIL)).decode("ascii")
        return f"data:image/webp;base64,{small}"

    def _submit(self, pool: ThreadPoolExecutor, job: Callable[[], T]) -> Future[T]:
        with self._lock:
            if self._waiting >= self.settings.most_waiting:
                raise OverloadedError("too many requests wait")
            self._waiting += 1

        def done(_: Future[T]) -> None:
            with self._lock:
                self._waiting -= 1

        try:
            future = pool.submit(job)
        except RuntimeError as error:  # the pool is closed
            done(Future())
            raise OverloadedError("the service stops") from error
        future.add_done_callback(done)
        return future


def _digest(pixels: np.ndarray) -> str:
    about = f"{pixels.shape}".encode()
    return hashlib.blake2b(about + pixels.tobytes(), digest_size=16).hexdigest()
