"""Errors of settings and labels, raised before anything is lifted or made."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from og_reid.cli import main
from og_reid.train.run_folder import STATE_FILE

SMALL = (
    "data.num_points=32", "data.num_ids=3", "data.num_instances=2", "model.num_points=32",
    "model.k=2",
    "model.ball_samples=[2, 2, 2]", "budget.steps=1", "device=cpu", "optim.swa_fraction=0",
)  # fmt: skip


def photographs(root: Path, people: int, images: int = 2) -> Path:
    """A folder as of Market-1501, of pixels without a meaning."""
    for split in ("bounding_box_train", "query", "bounding_box_test"):
        (root / split).mkdir(parents=True)
    for pid in range(1, people + 1):
        for camera in range(1, images + 1):
            name = f"{pid:04}_c{camera}s1_000000_00.jpg"
            Image.new("RGB", (8, 16)).save(root / "bounding_box_train" / name)
    for split, camera in (("query", 1), ("bounding_box_test", 2)):
        Image.new("RGB", (8, 16)).save(root / split / f"0900_c{camera}s1_000000_00.jpg")
    return root


@pytest.fixture
def nothing_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        pytest.fail("photographs were lifted, estimated or made")

    monkeypatch.setattr("og_reid.data.clouds.lift_dataset.lift_dataset", refuse)
    monkeypatch.setattr("og_reid.pipelines.training_task.image_set", refuse)
    monkeypatch.setattr("meshes.world.write_world", refuse)


@pytest.mark.usefixtures("nothing_is_made")
@pytest.mark.parametrize("preset", ["ognet-small", "stripes"])
@pytest.mark.parametrize(
    ("people", "settings", "message"),
    [
        (2, [], "a batch needs 3 identities, the data has 2"),
        (1, [], "at least 2 identities; got 1"),
        (1, ["data.sampling=shuffle", "data.batch_size=2"], "at least 2 identities"),
        (3, ["data.sampling=shuffle", "data.batch_size=7"], "a batch needs 7 images"),
        (3, ["data.sampling=balance", "data.batch_size=7"], "a batch needs 7 images"),
        (3, ["data.sampling=stratified", "data.batch_size=7"], "a batch needs 7 images"),
        (3, ["data.sampling=class", "data.batch_size=4"], "a batch needs 4 images"),
        (3, ["data.val_identities=2"], "identities to hold out must be from 1 to 1"),
        (4, ["data.val_identities=2"], "a batch needs 3 identities, the data has 2"),
        (3, ["optim.precision=fp16"], "optim.precision=fp16 needs device=cuda"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_identities_that_do_not_fill_a_batch_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    preset: str,
    people: int,
    settings: list[str],
    message: str,
) -> None:
    data, out = str(photographs(tmp_path / "data", people)), tmp_path / "run"
    command = ["train", "synthetic/default", *SMALL, f"model.arch={preset}", *settings]
    assert main([*command, "--data", data, "--out", str(out)]) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.usefixtures("nothing_is_made")
def test_too_small_a_world_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "synthetic/default", *SMALL, "data.num_ids=9"]
    world = ["world.train_identities=8", "world.views=2"]
    assert main([*command, *world, "--out", str(tmp_path / "run")]) == 1
    assert "a batch needs 9 identities, the data has 8" in capsys.readouterr().err


@pytest.mark.usefixtures("nothing_is_made")
def test_clouds_of_another_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = str(photographs(tmp_path / "data", 3))
    command = ["train", "synthetic/default", *SMALL, "data.point_order=reference", "--data", data]
    assert main([*command, "--out", str(tmp_path / "run")]) == 1
    assert "data.point_order=reference is for stored clouds" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["optim.lr=0.5"], "optim.lr: 0.002 -> 0.5"),
        (["seed=4"], "seed: 0 -> 4"),
        (["data.num_points=64"], "data.num_points: 32 -> 64"),
    ],
)
def test_a_run_of_other_settings_is_not_gone_on_with(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    changed: list[str],
    message: str,
) -> None:
    from og_reid.data import CloudSet
    from random_clouds import cloud

    def lift(samples: list[object], **_: object) -> CloudSet:
        rows = ((cloud(i), each.pid, each.camid, each.name) for i, each in enumerate(samples))  # type: ignore[attr-defined]
        return CloudSet.from_clouds(rows)

    monkeypatch.setattr("og_reid.data.clouds.lift_dataset.lift_dataset", lift)
    data, out = str(photographs(tmp_path / "data", 3)), tmp_path / "run"
    command = ["train", "synthetic/default", *SMALL, "--data", data, "--out", str(out)]
    assert main(command) == 0
    monkeypatch.setattr(
        "og_reid.data.clouds.lift_dataset.lift_dataset", lambda *_, **__: pytest.fail("lifted")
    )
    assert main([*command, *changed, "--resume"]) == 1
    assert message in capsys.readouterr().err
    (out / STATE_FILE).write_bytes(b"broken")
    assert main([*command, "--resume"]) == 1
    assert "checkpoint.pt is damaged" in capsys.readouterr().err
