"""Embeddings of files of point clouds and images, written as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .fields import as_path, as_tuple, check_workers
from .input_files import Bulk, check_model, check_output, is_there, list_files
from .keypoints import default_cache
from .progress import StageProgress, stage_progress

if TYPE_CHECKING:
    from torch import Tensor

    from ..data.clouds.engines import Engine
    from ..data.files.inputs import Input
    from ..inference.encoder import Encoder
    from ..models.embedding import Embedding

__all__ = ["EmbedSpec", "Embedded", "embed_inputs", "not_embedded"]


@dataclass(frozen=True)
class EmbedSpec:
    """Files to embed, the model, and the file of the embeddings.

    Attributes:
        inputs: Point clouds, images, and folders (their images; their point clouds if they have no
            images); at least one.
        out: File with the arrays ``features`` (n, D) and ``names`` (n); for models with parts,
            such as PGFA and fused ones, also ``parts`` (n, P, C) and ``visibility`` (n, P), and no
            ``features`` where there is no global feature; for models of local features also the
            tensors of `og_reid.models.LocalFeatures` in half precision: ``local_features``
            (n, L, C), ``local_weights`` (n, L, P), ``local_visibility`` (n, P) and
            ``local_positions`` (n, L).
        model: Path for `og_reid.load_model`, or its result.
        skip: Leave out files that are missing.
        cache: Folder of lifted point clouds; None for `og_reid.pipelines.keypoints.default_cache`.
        workers: Number of processes: of the lift, or of the engine.
        engine: ``process`` or ``ray``: whole files are embedded by workers, and an interrupted run
            resumes; see `og_reid.pipelines.embed_shards`. None: in this process.
        html: Page to write: a map of the embeddings, see `og_reid.viz.embedding_map`.

    Raises:
        ValueError: A value is out of its range.
    """

    inputs: tuple[Path, ...]
    out: Path = Path("features.npz")
    model: str | Path | Encoder = "default"
    skip: bool = False
    cache: Path | None = None
    workers: int = 1
    engine: Engine | None = None
    html: Path | None = None

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        as_tuple(self, "inputs", Path)
        as_path(self, "out")
        as_path(self, "cache")
        as_path(self, "html")
        if self.out.suffix.lower() not in ("", ".npz"):
            raise ValueError(f"out must end in .npz, the format of embeddings; got {self.out.name}")
        if not self.inputs:
            raise ValueError("inputs must be given: at least one")
        check_workers(self.workers)
        if self.engine not in (None, "process", "ray"):
            raise ValueError(f"engine must be process or ray; got {self.engine!r}")


@dataclass(frozen=True, eq=False)
class Embedded(Bulk):
    """Outcome of `embed_inputs`.

    Attributes:
        features: (n, D) float32 in the order of the files, of unit norm for models without parts;
            (n, 0) without a global feature.
        names: Paths of the n files.
        embedding: Embeddings with features of parts; None if all files failed.
        similarity: Similarity of two files; None for other numbers of files.
    """

    features: Tensor
    names: tuple[str, ...]
    embedding: Embedding | None = None
    similarity: float | None = None

    def __str__(self) -> str:
        """Lines on the file and on the similarity of two inputs; empty if all failed."""
        lines = []
        if self.embedding is not None:
            lines.append(f"{self.out}: {len(self.embedding)} embeddings of {self.contents}\n")
        if self.similarity is not None:
            lines.append(f"similarity: {self.similarity:.3f} (1 = the same)\n")
        return "".join(lines)

    @property
    def contents(self) -> str:
        """Dimensions of an embedding, in words."""
        dims, parts, channels = (0, 0, 0) if self.embedding is None else self.embedding.layout
        whole = [f"{dims} numbers"] if dims else []
        whole += [f"{parts} parts of {channels} numbers"] if parts else []
        if self.embedding is not None and self.embedding.local is not None:
            cells, channels, _ = self.embedding.local.layout
            whole.append(f"{cells} local features of {channels} numbers")
        return " and ".join(whole)


def embed_inputs(spec: EmbedSpec, progress: StageProgress | None = None) -> Embedded:
    """Embeds files and writes the embeddings.

    Args:
        spec: Files, model, output.
        progress: Called with ("embedding", files done, files in all).

    Raises:
        ValueError: Files are missing or cannot be embedded, or the model cannot be read.
    """
    from ..data.files.image_files import image_endings
    from ..data.files.inputs import CLOUD_ENDINGS, portable_name

    check_model(spec.model)
    there = [is_there(path) for path in spec.inputs]
    if not (any(there) if spec.skip else all(there)):  # before packages are imported
        list_files(spec.inputs, image_endings, CLOUD_ENDINGS, skip=spec.skip)

    import numpy as np

    from pose.files.atomic_write import atomic_write

    from ..inference.pretrained import as_encoder, encoder_for
    from .embed_files import embed_files, holds_embeddings
    from .embed_shards import embed_shards, remove_shards
    from .embedding_map import require_map, write_embedding_map

    # The model first: its errors are found before minutes of lifting.
    check_output(spec.out)
    if spec.html is not None:
        check_output(spec.html)
        require_map()
    as_encoder(spec.model)
    inputs, missing = list_files(
        spec.inputs, image_endings, CLOUD_ENDINGS, skip=spec.skip, check=not_embedded
    )
    own = [each for each in inputs if each.listed and holds_embeddings(each.path)]
    if own and not (inputs := [each for each in inputs if each not in own]):
        raise ValueError(f"{own[0].path} holds embeddings (of og-reid embed), no point cloud")
    if any(_same(each.path, spec.out) for each in inputs):
        raise ValueError(f"--out {spec.out} is one of the inputs: give another name")
    paths = [each.path for each in inputs]
    clouds = any(path.suffix.lower() in CLOUD_ENDINGS for path in paths)
    stored = encoder_for(spec.model, clouds=clouds)
    cache, show = spec.cache or default_cache(), stage_progress(progress, "embedding")
    if spec.engine is None:
        done = embed_files(paths, stored, workers=spec.workers, cache=cache, progress=show)
    else:
        done = embed_shards(
            paths, spec.model, spec.out, engine=spec.engine, workers=spec.workers,
            cache=cache, progress=show,
        )  # fmt: skip
    found = done.embedding
    if found is not None:
        tensors = {
            "features": found.features, "parts": found.parts, "visibility": found.visibility
        }  # fmt: skip
        arrays = {name: each.numpy() for name, each in tensors.items() if each is not None}
        if found.local is not None:
            kinds = ("features", "weights", "visibility", "positions")
            local = zip(kinds, found.local.tensors, strict=True)
            arrays |= {f"local_{name}": each.half().numpy() for name, each in local}
        with atomic_write(spec.out) as partial, partial.open("wb") as file:
            names = np.array([portable_name(name) for name in done.names])
            np.savez(file, **arrays, names=names)
        remove_shards(spec.out)
        if spec.html is not None:
            write_embedding_map(spec.html, done.names, done.features)
    two = found is not None and len(found) == 2
    return Embedded(
        out=spec.out,
        made=len(done.features),
        total=len(inputs) + len(missing),
        failures=(*missing, *done.failures),
        warnings=done.warnings,
        report=spec.out.with_suffix(".failures.csv"),
        features=done.features,
        names=done.names,
        embedding=found,
        similarity=float(stored.compare(found[:1], found[1:])) if found and two else None,
    )


def not_embedded(each: Input) -> str | None:
    """Reason why a file can be neither lifted nor embedded, or None."""
    from ..data.files.image_files import image_endings
    from ..data.files.inputs import CLOUD_ENDINGS
    from .embed_files import holds_embeddings

    if each.path.suffix.lower() not in image_endings() | CLOUD_ENDINGS:
        return (
            f"is neither a cloud ({', '.join(sorted(CLOUD_ENDINGS))}) nor an image "
            f"({', '.join(sorted(image_endings()))}): convert it"
        )
    if not each.listed and holds_embeddings(each.path):
        return "holds embeddings (of og-reid embed), no point cloud: give their images or clouds"
    return None


def _same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)
