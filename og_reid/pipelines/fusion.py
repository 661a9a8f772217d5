"""Fusion of two models: weights chosen on held-out identities, and the folder with both."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..config.load import load_config
from ..evaluation import Labels
from ..inference.encoder import Encoder
from ..inference.fused_encoder import FusedEncoder
from ..inference.fusion import Fusion, FusionConfig, fit_fusion_weights, fit_score_weight
from ..inference.fusion_file import check_disjoint_identities, save_fusion
from ..inference.pretrained import load_model, model_file
from .data import DataSpec, as_data
from .fields import as_path, as_tuple
from .input_files import check_exists
from .progress import StageProgress, stage_progress
from .sample_source import DataSource
from .samples import hold_out_identities
from .training import check_data, check_run_inputs

__all__ = ["FuseSpec", "describe_fusion", "fuse"]


@dataclass(frozen=True)
class FuseSpec:
    """Fusion of two models.

    Attributes:
        config: Settings, a YAML file of them, or the name of one in the package.
        first: Run, or model file, with parts and a global feature, such as PGFA, or with local
            features, such as DenseReID.
        second: Run, or model file, with a global feature alone, such as OG-Net; beside local
            features any without these, such as PGFA or the file of a fusion.
        out: Folder of the fusion.
        data: Data set that both were trained on; without a path ``config`` must give both weights.
        settings: Settings ``KEY=VALUE`` that replace those of ``config``, where that is a file.

    Raises:
        ValueError: ``settings`` beside a ``config`` that is no file.
    """

    config: str | Path | FusionConfig
    first: Path
    second: Path
    out: Path
    data: DataSpec = field(default_factory=DataSpec)
    settings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks the values, and makes paths of strings."""
        for name in ("first", "second", "out"):
            as_path(self, name)
        as_data(self)
        as_tuple(self, "settings")
        if self.settings and isinstance(self.config, FusionConfig):
            raise ValueError("settings replace those of a file; give config with them replaced")

    def load_config(self) -> FusionConfig:
        """All settings.

        Raises:
            ValueError: The file is missing, or a setting is unknown or wrong.
        """
        if isinstance(self.config, FusionConfig):
            return self.config
        return load_config(self.config, self.settings, FusionConfig)


def fuse(spec: FuseSpec, progress: StageProgress | None = None) -> Fusion:
    """Chooses the fusion weights of two models and writes a folder for `load_model`.

    Args:
        spec: Models, data and settings.
        progress: Called with (stage, items done, items in all).

    Returns:
        The weights, with the identities of the choice.

    Raises:
        ValueError: The models cannot be fused, data are missing, or a model was trained on
            identities that the weights are to be chosen on.
        OSError: A file cannot be read or written.
    """
    for path in (spec.first, spec.second):
        check_exists(path, "give the folder of a run, or a model")
    check_run_inputs(spec.config, spec.data, spec.settings)
    config = spec.load_config()
    if spec.data.path is not None:
        check_data(spec.data.path)
    first, second = load_model(spec.first), load_model(spec.second)
    local = getattr(first, "has_local", False)
    if local and config.part_weight is not None:
        raise ValueError(
            f"part_weight must be null for {spec.first}, a model of local features; got "
            f"{config.part_weight}"
        )
    _check_features(spec.first, first, parts=True)
    _check_features(spec.second, second, parts=False, any_parts=local)
    part_weight = 1.0 if local else config.part_weight
    if config.cloud_weight is not None and part_weight is not None:
        fusion = Fusion(config.cloud_weight, part_weight)
    else:
        fusion = _choose(config, FusedEncoder(first, second, Fusion(0, 1)), spec, progress)
    files = model_file(spec.first), model_file(spec.second)
    save_fusion(spec.out, *files, fusion, config, spec.data.dataset)
    return fusion


def describe_fusion(spec: FuseSpec, fusion: Fusion) -> str:
    """Weights of a fusion, their metric, and the folder of the model, in words."""
    text = f"fraction of {spec.second} {fusion.second:.2f}, weight of each part {fusion.parts:.2f}"
    if fusion.mAP is not None:
        text += f"; chosen on {len(fusion.people)} identities (mAP {100 * fusion.mAP:.1f} %)"
    return f"{text}\nmodel: {spec.out}"


def _check_features(path: Path, model: Encoder, *, parts: bool, any_parts: bool = False) -> None:
    local = getattr(model, "has_local", False)
    if (parts and local) or (any_parts and not local):
        return
    if model.has_parts == parts and model.has_global and not local:
        return
    kind = {"cloud": "clouds", "image": "images"}.get(model.inputs, "images and clouds")
    raise ValueError(
        f"{path} is a model of {kind}, and cannot be used here: the first must be a model with "
        "parts and a global feature, such as PGFA, the second without parts, such as OG-Net; or "
        "the first of local features, such as DenseReID, the second any other"
    )


def _trained_on(model: Encoder) -> dict[str, Any]:
    """Provenance of a model; of a fused one with the identities that both were trained on."""
    if not isinstance(model, FusedEncoder):
        return dict(model.provenance)
    parts = [_trained_on(model.first), _trained_on(model.second)]
    if any("people" not in each for each in parts):
        return {}
    return {"people": sorted({pid for each in parts for pid in each["people"]})}


def _choose(
    config: FusionConfig, both: FusedEncoder, spec: FuseSpec, progress: StageProgress | None
) -> Fusion:
    """Weights of the largest mAP on identities that neither model was trained on."""
    if spec.data.path is None:
        raise ValueError(
            "--data must be given to choose weights on its training identities; without it, give "
            "both weights: cloud_weight=0.5 part_weight=1"
        )
    images = spec.data.list_images(progress)
    held = hold_out_identities(images.train, config.val_identities)
    samples = [[images.train[i] for i in rows] for rows in (held.query, held.gallery)]
    people = frozenset(sample.pid for sample in samples[1])
    searched = people & {sample.pid for sample in images.query}
    if searched:
        raise ValueError(
            f"{len(searched)} of the held-out identities are among the queries of "
            f"{spec.data.path}, such as {sorted(searched)[:5]}: weights must not be chosen on test "
            "identities"
        )
    check_disjoint_identities(
        people,
        {str(spec.first): _trained_on(both.first), str(spec.second): _trained_on(both.second)},
    )
    shown = stage_progress(progress, "embedding")
    query, gallery = (
        both.embed_both(items, progress=shown)
        for items in both.prepare(samples, DataSource(spec.data, progress))
    )
    if both.has_local:
        return fit_score_weight(
            both.first.compare(query.first, gallery.first),
            both.second.compare(query.second, gallery.second),
            Labels.of(query, gallery),
            ap=config.ap_method,
        )
    tried = {
        name: (weight,)
        for name, weight in (("second", config.cloud_weight), ("parts", config.part_weight))
        if weight is not None
    }
    return fit_fusion_weights(query, gallery, ap=config.ap_method, **tried)
