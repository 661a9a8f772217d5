"""Mistakes of users are found before the work, and their messages name the mend."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
import torch

from og_reid import Metrics, embed, evaluate, lift
from og_reid.cli import main
from og_reid.config.load import from_dict, load_config
from og_reid.data.datasets import dataset_spec
from og_reid.evaluation import compare_paired
from og_reid.evaluation.paired import compare_runs, format_differences, unpaired
from og_reid.evaluation.results import ResultRow
from og_reid.inference.preprocessing import ImagePreprocessing
from og_reid.inference.pretrained import save_network
from og_reid.models import PGFA
from og_reid.pipelines.data import check_answers
from og_reid.pipelines.input_files import check_output
from og_reid.pipelines.keypoints import naming_unreadable
from pose import COCO_17_FEET, CocoKeypoints, Keypoints, Pose, read_coco
from pose.files.atomic_write import atomic_write


def figures(rng: torch.Generator, people: int) -> Metrics:
    pids = torch.arange(20) % people
    return evaluate(
        distance=torch.rand(20, 40, generator=rng),
        query_pids=pids,
        gallery_pids=torch.cat([pids, pids + people * (torch.arange(20) % 2)]),
    )


@pytest.mark.parametrize("people", [1, 5])
def test_few_people_prove_nothing(rng: torch.Generator, people: int) -> None:
    rows = [[ResultRow("a", "all", figures(rng, people))] for _ in range(2)]
    change = compare_paired(rows[0][0].metrics, rows[1][0].metrics)
    assert all(math.isnan(each) for each in (change.low, change.high, change.p_value))
    assert math.isfinite(change.mean)
    assert "too few identities" in format_differences(compare_runs(*rows))
    six = compare_paired(figures(rng, 6), figures(rng, 6))
    assert 0 < six.p_value <= 1
    assert len(repr(rows[0][0].metrics)) < 80


def test_methods_that_have_nothing_to_do_with_each_other_are_no_pair(rng: torch.Generator) -> None:
    def run(*names: str) -> list[ResultRow]:
        return [ResultRow(name, "all", figures(rng, 10)) for name in names]

    def pairs(first: list[ResultRow], second: list[ResultRow]) -> list[tuple[str, str]]:
        return [(row.first.method, row.second.method) for row in compare_runs(first, second)]

    one, two = run("histogram", "a", "a + histogram"), run("b", "b unmasked", "b global")
    assert pairs(one, two) == [("a", "b")]
    assert unpaired(one, two, compare_runs(one, two)) == (
        ("histogram, all", "a + histogram, all"), ("b unmasked, all", "b global, all"),
    )  # fmt: skip
    assert pairs(one, run("b", "b + histogram", "histogram")) == [
        ("histogram", "histogram"), ("a", "b"), ("a + histogram", "b + histogram"),
    ]  # fmt: skip
    assert pairs(run("a", "b"), run("b", "c", "d")) == [("b", "b")]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"optim": {"lr": math.inf}}, "optim.lr"),
        ({"optim": {"weight_decay": -1}}, "optim.weight_decay"),
        ({"optim": {"weight_decay": math.inf}}, "optim.weight_decay"),
        ({"optim": {"final_lr_ratio": 7}}, "optim.final_lr_ratio"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**70}, "seed"),
        ({"model": {"embedding_dim": 0}}, "model.embedding_dim"),
        ({"model": {"k": 0}}, "model.k"),
        ({"model": {"arch": "foo"}}, "model.arch"),
        ({"model": {"ball_samples": [0, 2, 2]}}, "model.ball_samples"),
        ({"loss": {"temperature": 0}}, "loss.temperature"),
    ],
)
def test_settings_out_of_range_are_named(settings: dict[str, object], name: str) -> None:
    with pytest.raises(ValueError, match=f"^{name.replace('.', '[.]')} must be"):
        from_dict(settings)


def test_the_nearest_name_is_told() -> None:
    with pytest.raises(ValueError, match=r"optim\.steps: did you mean budget\.steps\?"):
        load_config("synthetic/default", ["optim.steps=2"])
    with pytest.raises(ValueError, match=r"did you mean synthetic/default\?"):
        load_config("synthetic/defualt")
    with pytest.raises(ValueError, match=r"got 'market1501': did you mean market-1501\?"):
        dataset_spec("market1501")


def test_what_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    check_output(tmp_path / "new" / "deep.json")
    check_output(tmp_path / "file")
    check_output(tmp_path, folder=True)
    with pytest.raises(ValueError, match=r"--out must be a file; .* is a folder"):
        check_output(tmp_path)
    with pytest.raises(ValueError, match=r"--out must be a folder; .* is a file"):
        check_output(tmp_path / "file", folder=True)
    with pytest.raises(ValueError, match=r"--out must lie in a folder; .*file is a file"):
        check_output(tmp_path / "file" / "below.json")


def test_files_have_the_mode_of_other_files(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "x") as partial:
            os.close(os.open(partial, os.O_CREAT | os.O_WRONLY, 0o600))
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o640


def test_all_unreadable_photographs_are_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{n}.png" for n in range(2)]
    for path in paths:
        path.write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"2 of 2 images cannot be read: .*0.png, .*1.png"):
        with naming_unreadable(paths):
            raise ValueError("the first")


def test_a_single_identity_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    check_answers([(3, 1)], [(3, 2), (3, 2), (-1, 2)], "market")
    assert "a single identity" in caplog.text
    caplog.clear()
    check_answers([(3, 1)], [(3, 2), (4, 2)], "market")
    assert caplog.text == ""


def test_clouds_in_millimetres_and_bare_arrays_are_refused(rng: torch.Generator) -> None:
    cloud = torch.rand(600, 6, generator=rng)
    cloud[:, :3] *= 1700
    with pytest.raises(ValueError, match=r"pointcloud must be in metres, .* millimetres by 1000"):
        embed(cloud)
    image = torch.zeros(64, 32, 3, dtype=torch.uint8).numpy()
    with pytest.raises(TypeError, match=r"keypoints must be pose\.Keypoints, .* got ndarray"):
        lift(image, torch.zeros(17, 3).numpy())


def test_keypoints_of_double_precision_are_lifted() -> None:
    image = torch.zeros(64, 32, 3, dtype=torch.uint8).numpy()
    points = torch.stack([torch.linspace(10, 20, 17), torch.linspace(4, 60, 17)], 1).double()
    assert len(lift(image, Keypoints(points, torch.ones(17).double())))


def test_coco_files_of_more_keypoints_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def estimated(paths: list[Path], *_: object) -> list[Pose]:
        names = COCO_17_FEET
        return [Pose(Keypoints(torch.rand(21, 2), torch.ones(21), names=names)) for _ in paths]

    monkeypatch.setattr("og_reid.pipelines.poses.estimate_all", estimated)
    monkeypatch.setattr("og_reid.pipelines.poses.build_estimator", lambda _: None)
    (tmp_path / "a.jpg").touch()
    out = tmp_path / "poses.json"
    command = ["pose", str(tmp_path / "a.jpg"), "--format", "coco", "--out", str(out)]
    assert main(command) == 0
    people: CocoKeypoints = read_coco(out)
    assert people.images == ("a.jpg",)
    assert people.keypoints.score.shape == (1, 17)


def test_a_guided_network_is_not_scored_without_joints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "pgfa.safetensors"
    save_network(model, PGFA(2, 3, global_branch="pose"), ImagePreprocessing())
    assert main(["evaluate", "--data", "x", "--model", str(model)]) == 1
    assert "--keypoints or --estimator must be given" in capsys.readouterr().err


def test_wrong_arguments_and_files_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.csv").touch()
    notes = str(tmp_path / "notes.csv")
    for command, message in (
        (["embed", notes], "neither a cloud (.npz, .obj, .ply) nor an image"),
        (["info", notes], "is no run of og-reid train"),
        (["evaluate", "--data", "x", "--model", str(tmp_path)], "holds no model.safetensors"),
        (
            ["evaluate", "--data", "x", "--model", "cloud", "--keypoints", "k"],
            "--keypoints is for networks of images",
        ),
        (["evaluate", "--data", "x", "--keypoints", "k"], "k is not there"),
    ):
        assert main(command) == 1
        assert message in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "c", "--out", "x", "optim.lr=1", "seed"])
    assert capsys.readouterr().err.endswith("unrecognized arguments: seed\n")
    with pytest.raises(SystemExit):
        main(["train", "--out", "x"])
    assert "required: CONFIG\n" in capsys.readouterr().err
