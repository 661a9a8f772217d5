"""Readers of models, checkpoints, stores, settings and logs with sound files, for fuzzers."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from og_reid.config.load import load_config
from og_reid.data.clouds.market3d import RawCloud
from og_reid.data.clouds.shard import CloudLabel, QuantizedCloud, Shard, write_shard
from og_reid.data.clouds.store import MANIFEST, CloudStore, ShardInfo
from og_reid.gallery.packing import PackedLayout
from og_reid.gallery.settings import (
    Baseline,
    GallerySettings,
    Impostors,
    SearchPlan,
    read_settings,
    write_settings,
)
from og_reid.inference.fused_encoder import FUSED_KIND, read_fused_record
from og_reid.inference.fusion import FusionConfig
from og_reid.inference.fusion_file import FUSION_FILE, read_fusion_record
from og_reid.inference.preprocessing import ImagePreprocessing, Preprocessing
from og_reid.inference.pretrained import load_model, save_network
from og_reid.inference.words import load_words, save_words
from og_reid.models import OGNet
from og_reid.models.words import WordModel
from og_reid.retrieval.calibration import Calibration
from og_reid.train.checkpoint import load_checkpoint, read_provenance, save_checkpoint
from og_reid.train.run_log import CSVLogger, StepLog, read_log

_OPTIONS = b"k: 3\nfeature_dims: [4, 8]\ninit_points: 8\nuse_dense: true\nid_skip: 0\ngem: true\n"
_SETTINGS = (
    b"seed: 3\nworld: {train_identities: 4, views: 2}\n",
    b"data: &d {num_points: 300, sampling: shuffle}\noptim:\n  lr: 1e-3\n  milestones: []\n",
    b"model: {init_from: null, ball_samples: [8, 16, 32], stripes: [[1, 2]]}\n"
    b"budget: {epochs: 3}\n",
)


def _network() -> OGNet:
    generator = torch.Generator().manual_seed(0)
    sizes = {"k": 3, "num_points": 8, "embedding_dim": 6, "num_classes": 2}
    return OGNet((4, 8), ball_counts=(2, 3, 4), generator=generator, **sizes)


def _written(write: Callable[[Path], object], ending: str) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        write(path)
        return path.read_bytes()


def _models() -> list[bytes]:
    origin = {"people": [1, 2], "validation": {"mAP": 0.5, "rank1": 0.25}, "step": 3, "seed": 0}
    made = _written(
        lambda path: save_network(path, _network(), Preprocessing(12), {"seed": 3}, origin),
        ".safetensors",
    )
    length = int.from_bytes(made[:8], "little")
    metadata = json.loads(made[8 : 8 + length])["__metadata__"]
    del metadata["sha256"]  # the digest reveals any change: test the other checks
    weights = {
        name: each for name, each in _network().state_dict().items() if "proj_output" not in name
    }
    return [made, save(weights, metadata)]


def _people_models() -> list[bytes]:
    """Models of images without their 90 MB of weights."""
    files = []
    for network in ({"num_classes": 2, "parts": 1}, {"kind": "stripes", "num_classes": 2}):
        metadata = {
            "format": "og_reid.model of photographs",
            "version": "1.0.0",
            "architecture": json.dumps(network),
            "preprocessing": json.dumps(asdict(ImagePreprocessing())),
        }
        files.append(save({}, metadata))
    return files


def _read_people(path: Path) -> object:
    """Reads the description of an image network; missing weights are no fault."""
    try:
        return load_model(path)
    except ValueError as error:
        if "weights do not fit" not in str(error):
            raise
        return str(error)


def _fused_models() -> list[bytes]:
    """Headers of files of fused models, without their weights."""
    models = {
        name: {"format": kind, "preprocessing": asdict(seen), "training": {"seed": 3},
               "version": "1.0.0", "origin": {"people": [1, 2]}}
        for name, kind, seen in (
            ("first", "og_reid.model of photographs", ImagePreprocessing()),
            ("second", "og_reid.model", Preprocessing(12)),
        )
    }  # fmt: skip
    fusion = {"second": 0.3, "parts": 0.6, "mAP": 0.5, "people": [7]}
    metadata = {
        "format": FUSED_KIND.format,
        "version": "1.0.0",
        "preprocessing": json.dumps({**models, "fusion": fusion, "dataset": None}),
        "training": json.dumps({"val_identities": 2}),
        "origin": json.dumps({"people": [7]}),
    }
    return [save({}, metadata)]


def _torch(content: object, *, old: bool = False) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not old)
    return buffer.getvalue()


def _states() -> list[bytes]:
    state = {
        "origin": {"config": {"seed": 0}, "people": [1]},
        "step": 3,
        "model": {"w": torch.arange(6.0)},
        "best": None,
    }
    return [_written(lambda path: save_checkpoint(path, state), ".pt"), _torch(state)]


def _snapshots() -> list[bytes]:
    state = _network().to_reference(prefix=True, logit_scale=True)
    return [_torch(state), _torch(state, old=True), _torch({"state_dict": state, "epoch": 3})]


def _read_options(path: Path) -> object:
    """Reads the options beside a snapshot; ``path`` is the options file."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "opts.yaml").write_bytes(path.read_bytes())
        snapshot = Path(folder) / "model_last.pth"
        snapshot.write_bytes(_snapshot())
        return _naming(path, folder, lambda: OGNet.from_reference(snapshot))


@cache
def _snapshot() -> bytes:
    return _snapshots()[0]


def _naming(path: Path, folder: str, read: Callable[[], object]) -> object:
    """Result of ``read``; an error that names a file of ``folder`` names ``path`` instead."""
    try:
        return read()
    except (ValueError, OSError) as error:
        named = path if folder in str(error) else "no file"
        raise ValueError(f"{named}: {error}") from error


@cache
def _shards() -> tuple[tuple[bytes, ...], str]:
    """Two shards, and the manifest of their store."""
    files, infos = [], []
    for number in range(2):
        generator = torch.Generator().manual_seed(number)
        points, colors = torch.rand(2, 5, 3, generator=generator).unbind()
        row = (
            CloudLabel(f"{number}.jpg", "train", number, 1),
            QuantizedCloud.pack(RawCloud(points, colors)),
        )
        fingerprint = f"f{number}"
        data = _written(
            lambda path, row=row, name=fingerprint: write_shard(path, [row], fingerprint=name),
            ".arrow",
        )
        files.append(data)
        infos.append(asdict(ShardInfo(f"clouds-{number:06}.arrow", 1, len(data), fingerprint)))
    content = {"format": "og_reid.cloud_store", "version": 1, "frame": "", "shards": infos}
    return tuple(files), json.dumps(content, indent=1)


def _read_store(path: Path) -> object:
    """Reads a store with sound shards; ``path`` is its manifest."""
    with tempfile.TemporaryDirectory() as folder:
        for number, data in enumerate(_shards()[0]):
            (Path(folder) / f"clouds-{number:06}.arrow").write_bytes(data)
        (Path(folder) / MANIFEST).write_bytes(path.read_bytes())
        return _naming(path, folder, lambda: CloudStore(folder)[0])


def _read_shard(path: Path) -> object:
    shard = Shard(path)
    shard.verify()
    clouds = [shard[row] for row in range(len(shard))]
    assert all(bool(each.points.isfinite().all()) for each in clouds)
    return clouds


def _logs() -> list[bytes]:
    def write(path: Path) -> None:
        log = CSVLogger(path)
        log.write(StepLog(1, 0.5, 1.25, 0.5, 0.1, 1.0, 2.0))
        log.write(StepLog(2, 1.0, 0.25, 0.75, 0.0, 2.0, 4.0, 0.5, 0.25))
        log.close()

    return [_written(write, ".csv")]


def _read_log(path: Path) -> object:
    """Reads a log, then opens it to resume after the first step."""
    found = read_log(path)
    CSVLogger(path, after=1).close()
    assert all(isinstance(each, StepLog) for each in (*found, *read_log(path)))
    return found


def _fusions() -> list[bytes]:
    record: dict[str, Any] = {
        "format": "og_reid.fusion 1", "second": 0.5, "parts": 1.0, "mAP": 0.25, "people": [3, 4],
        "dataset": None, "sha256": {"first.safetensors": "a", "second.safetensors": "b"},
        "origin": {"config": asdict(FusionConfig()), "source": None, "versions": {}},
    }  # fmt: skip
    return [json.dumps(record).encode()]


def _galleries() -> list[bytes]:
    settings = GallerySettings(
        "default", "0" * 32, PackedLayout(4, 0, 0, 2, 16, 3), 0.001,
        SearchPlan(40, 0.996, 10, 64, 1000), Baseline((0.1, 0.2), 0.5, 0.1),
        Impostors((0.5, 0.25), (0.5,), 100), Calibration(-10.0, 30.0),
    )  # fmt: skip
    return [_written(lambda path: write_settings(path, settings), ".json")]


def _read_fusion(path: Path) -> object:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / FUSION_FILE).write_bytes(path.read_bytes())
        return _naming(path, folder, lambda: read_fusion_record(folder))


#: By name: the ending of the file, its reader, and sound files.
def _word_models() -> list[bytes]:
    sizes = {"channels": 2, "parts": 2, "embedding_dim": 2, "part_dim": 2, "hidden": 2}
    model = WordModel(("red", "coat"), sizes, 2, generator=torch.Generator().manual_seed(0))
    return [_written(lambda path: save_words(model, path, {}), ".safetensors")]


TARGETS: dict[str, tuple[str, Callable[[Path], object], list[bytes]]] = {
    "model": (".safetensors", load_model, _models()),
    "people_model": (".safetensors", _read_people, _people_models()),
    "fused": (".safetensors", read_fused_record, _fused_models()),
    "origin": (
        ".safetensors",
        read_provenance,
        _models(),
    ),
    "state": (".pt", lambda path: (load_checkpoint(path), read_provenance(path)), _states()),
    "snapshot": (
        ".pth",
        lambda path: OGNet.from_reference(path, k=3, num_points=8, ball_counts=(2, 3, 4)),
        _snapshots(),
    ),
    "words": (".safetensors", load_words, _word_models()),
    "options": (".yaml", _read_options, [_OPTIONS]),
    "config": (".yaml", load_config, list(_SETTINGS)),
    "fusion-config": (
        ".yaml",
        lambda path: load_config(path, (), FusionConfig),
        [b"cloud_weight: 0.5\npart_weight: null\nval_identities: 3\n"],
    ),
    "shard": (".arrow", _read_shard, list(_shards()[0])),
    "store": (".json", _read_store, [_shards()[1].encode()]),
    "fusion": (".json", _read_fusion, _fusions()),
    "log": (".csv", _read_log, _logs()),
    "gallery": (".json", read_settings, _galleries()),
}
