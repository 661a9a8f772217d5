"""Folder of a gallery: settings, model, store of the items, and the lock of its writer."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pose.files.atomic_write import PARTIAL

from ..data.files.folder_lock import LOCK_FILE, locked_folder
from ..inference.encoder import Encoder
from ..inference.model_digest import model_digest
from ..inference.pretrained import DEFAULT_MODEL, as_encoder, encoder_for
from .lancedb_store import LanceStore
from .packing import PackedLayout
from .settings import SETTINGS, GallerySettings, read_settings, write_settings

__all__ = ["GalleryFolder"]

_IN_USE = "is being written to by another process: wait for it, one writes at a time"


class GalleryFolder:
    """Folder of a gallery, with what is read from it once.

    Args:
        path: The folder.
        model: Path or name for `og_reid.load_model`, or its result; "default" is the model that
            the gallery was made with.
        exists: True to refuse a folder that is no gallery yet.

    Raises:
        ValueError: The folder holds other files, is no gallery, or of a newer version.
    """

    def __init__(self, path: str | Path, model: str | Path | Encoder, *, exists: bool) -> None:
        self.path = Path(path)
        self._model = model
        self._loaded: Encoder | None = None
        self._store: LanceStore | None = None
        self._writer = threading.RLock()
        if not self.is_there:
            self._check_empty(exists)
        else:
            self.settings()

    @property
    def is_there(self) -> bool:
        """True if the gallery has been made."""
        return (self.path / SETTINGS).exists()

    def settings(self) -> GallerySettings:
        """Settings as they are on the disk.

        Raises:
            ValueError: There is no gallery, or it is damaged or of a newer version.
        """
        try:
            return read_settings(self.path / SETTINGS)
        except FileNotFoundError:
            raise ValueError(f"{self.path} is no gallery yet: add images first") from None

    def store(self) -> LanceStore:
        """Store of the items.

        Raises:
            ImportError: lancedb is missing.
        """
        if self._store is None:
            try:
                self._store = LanceStore(self.path, self.settings().layout)
            except ImportError as error:
                raise ImportError(
                    "a gallery on disk needs lancedb: pip install 'og-reid[gallery]'"
                ) from error
        return self._store

    def model(self, *, clouds: bool = False) -> Encoder:
        """Model of the gallery, verified.

        Args:
            clouds: True if the first inputs of a new gallery are point clouds.

        Raises:
            ValueError: It is another model than that of the items.
        """
        if self._loaded is None:
            default = isinstance(self._model, str) and self._model == DEFAULT_MODEL
            if not self.is_there:
                self._loaded = encoder_for(self._model, clouds=clouds)
            else:
                settings = self.settings()
                if default and not settings.model:
                    raise ValueError(
                        f"model must be given for {self.path}: it was made with a model without a "
                        "name"
                    )
                found = as_encoder(settings.model if default else self._model)
                digest = model_digest(found)
                if digest != settings.digest:
                    if default:
                        raise ValueError(
                            f"{self.path} was made with other weights of {settings.model} (digest "
                            f"{settings.digest[:12]}, here {digest[:12]}), such as those of "
                            "another version: give their file as model, or add the images to a "
                            "new gallery"
                        )
                    raise ValueError(
                        f"model must be that of {self.path} ({settings.model or 'without a name'}, "
                        f"digest {settings.digest[:12]}); got one of digest {digest[:12]}: "
                        "embeddings of different models cannot be compared, make another gallery"
                    )
                self._loaded = found
        return self._loaded

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Context of the one writer; threads with this object wait for each other.

        Raises:
            ValueError: Another process writes.
            OSError: The folder cannot be written to.
        """
        with self._writer, locked_folder(self.path, _IN_USE):
            yield

    def make(self, layout: PackedLayout, *, clouds: bool) -> GallerySettings:
        """Settings of a new gallery, written; those that are there of an old one.

        Args:
            layout: Sizes of the embeddings.
            clouds: True if the first inputs are point clouds.
        """
        if self.is_there:
            return self.settings()
        self._check_empty(False)
        model = self.model(clouds=clouds)
        name = "" if isinstance(self._model, Encoder) else str(self._model)
        if name == DEFAULT_MODEL and model.inputs == "cloud":
            name = "cloud"
        settings = GallerySettings(name, model_digest(model), layout)
        write_settings(self.path / SETTINGS, settings)
        return settings

    def _check_empty(self, exists: bool) -> None:
        if not self.path.exists():
            if exists:
                raise ValueError(f"{self.path} is no gallery: there is no such folder")
            return
        if not self.path.is_dir():
            raise ValueError(f"{self.path} is no gallery: it is a file")
        others = [
            each.name
            for each in self.path.iterdir()
            if each.name not in (LOCK_FILE, "items") and not PARTIAL.fullmatch(each.name)
        ]
        if others or exists:
            held = f"it holds {others[0]}" if others else "it is empty"
            raise ValueError(f"{self.path} is no gallery: {held}; give a new folder")
