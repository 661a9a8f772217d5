"""Every writer of a run names the file that a full disk did not take."""

from __future__ import annotations

import errno
import resource
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from full_disk import full_disk
from og_reid.data import CloudSet
from og_reid.data.clouds.market3d import RawCloud
from og_reid.data.clouds.shard import CloudLabel, QuantizedCloud, write_shard
from og_reid.data.clouds.store import MANIFEST, ShardInfo, write_manifest
from og_reid.inference.fusion import Fusion, FusionConfig
from og_reid.inference.fusion_file import save_fusion
from og_reid.train import StepLog, fit
from og_reid.train.checkpoint import rotate_checkpoints, save_checkpoint
from og_reid.train.run_log import CSVLogger, tensorboard_writer
from random_clouds import cloud
from regression import Regression, config

RECORD = StepLog(1, 0.5, 1.25, 0.5, 0.1, 1.0, 2.0)


def fusion(path: Path) -> None:
    source = path.parent / "model"
    if not source.exists():
        source.write_bytes(b"0" * 4000)
    save_fusion(path.parent, source, source, Fusion(0.5, 1.0), FusionConfig())


def clouds(path: Path) -> None:
    CloudSet.from_clouds((cloud(i), i, 1, f"{i}.jpg") for i in range(4)).save(path)


def shard(path: Path) -> None:
    pytest.importorskip("pyarrow")
    raw = RawCloud(cloud(0).points, cloud(0).colors)
    packed = QuantizedCloud.pack(raw)
    write_shard(path, [(CloudLabel(f"{i}.jpg", "train", i, 1), packed) for i in range(9)])


def manifest(path: Path) -> None:
    write_manifest(path.parent, [ShardInfo(f"{i}.arrow", 1, 1, "0" * 64) for i in range(40)])


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("first.safetensors", fusion),
        (
            "checkpoint.pt",
            lambda path: save_checkpoint(path, {"origin": {}, "w": torch.zeros(9999)}),
        ),
        ("set.safetensors", clouds),
        ("shard.arrow", shard),
        (MANIFEST, manifest),
    ],
)
def test_whole_files_are_named(tmp_path: Path, name: str, write: Callable[[Path], object]) -> None:
    path = tmp_path / name
    (tmp_path / "model").write_bytes(b"0" * 4000)
    with pytest.raises(OSError, match=r"\S") as caught, full_disk(1000):
        write(path)
    assert name in str(caught.value)
    assert caught.value.errno is not None
    assert [each.name for each in tmp_path.iterdir()] == ["model"]
    write(path)


def test_the_log_is_named(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    log = CSVLogger(path)
    with full_disk(path.stat().st_size), pytest.raises(OSError, match=r"log\.csv") as caught:
        log.write(RECORD)
    assert caught.value.errno == errno.EFBIG
    log.close()
    with full_disk(10), pytest.raises(OSError, match=r"log\.csv"):
        CSVLogger(path)


def test_a_run_ends_with_the_name_of_its_log(tmp_path: Path) -> None:
    def fill(record: StepLog) -> None:
        if record.step == 2:
            size = (tmp_path / "log.csv").stat().st_size
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    with full_disk(1 << 20), pytest.raises(OSError, match=r"log\.csv"):
        fit(config(budget={"steps": 4}), Regression(), out_dir=tmp_path, progress=fill)
    assert fit(
        config(budget={"steps": 4}), Regression(), out_dir=tmp_path, resume=True
    ).history[-1].step == 4  # fmt: skip


def test_event_files_are_named_and_closing_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writer:
        def __init__(self, folder: str, purge_step: int) -> None:
            pass

        def add_scalar(self, *_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        close = add_scalar

    module = types.ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    folder = tmp_path / "tensorboard"
    with pytest.raises(OSError, match="No space left") as caught:
        tensorboard_writer(folder, 0).close()
    assert caught.value.filename == str(folder)
    settings = config(budget={"steps": 2}, tensorboard=True)
    with pytest.raises(OSError, match="No space left") as caught:
        fit(settings, Regression(), out_dir=tmp_path)
    assert caught.value.filename == str(folder)


def test_a_checkpoint_that_cannot_be_kept_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On file systems without hard links the one before is copied."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def full(source: Path, target: Path) -> None:
        target.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"before")
    monkeypatch.setattr(Path, "hardlink_to", refuse)
    monkeypatch.setattr(shutil, "copyfile", full)
    with (
        pytest.raises(OSError, match=r"No space.*checkpoint\.pt is kept"),
        rotate_checkpoints(path, 2),
    ):
        pytest.fail("nothing is written over a checkpoint that could not be kept")
    assert [each.name for each in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_failed_batch_is_told_on_a_full_disk(tmp_path: Path) -> None:
    task = Regression()
    with torch.no_grad():
        task.model[1].weight.fill_(float("nan"))
    fit_it = config(budget={"steps": 2})
    with pytest.raises(RuntimeError, match="the loss became nan"):
        with full_disk(200):
            fit(fit_it, task, out_dir=tmp_path)
