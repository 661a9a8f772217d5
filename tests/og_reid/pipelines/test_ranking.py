"""Files ranked for files: names, evidence, failures, and the command."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import og_reid
from encoder_kinds import encoders
from og_reid.cli import main
from og_reid.inference import DenseEncoder
from og_reid.pipelines import RankSpec, rank_files
from og_reid.pipelines.embedding import EmbedSpec, embed_inputs

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def dense() -> DenseEncoder:
    found = encoders()["dense"]
    assert isinstance(found, DenseEncoder)
    return found


def person(pid: int, seed: int) -> np.ndarray:
    """A (64, 32) image with stripes of random colours, and noise."""
    rng = np.random.default_rng(pid)
    image = np.repeat(rng.integers(0, 256, (8, 1, 3)), 8, axis=0).repeat(32, axis=1)
    noise = np.random.default_rng(100 * seed + pid).integers(-9, 10, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Two queries, and two images of each of four identities."""
    query, gallery = tmp_path / "query", tmp_path / "gallery"
    for folder in (query, gallery):
        folder.mkdir()
    for pid in range(4):
        for seed in (1, 2):
            Image.fromarray(person(pid, seed)).save(gallery / f"{pid}_{seed}.png")
    for pid in range(2):
        Image.fromarray(person(pid, 0)).save(query / f"{pid}.png")
    return query, gallery


def test_files_are_ranked_with_their_names(folders: tuple[Path, Path], dense: DenseEncoder) -> None:
    done = rank_files(RankSpec(*folders, model=dense, k=2, min_shared=0.0))
    assert done.result is not None
    assert (done.queries, done.items, done.failures) == (2, 8, ())
    assert done.result.query_names == tuple(str(folders[0] / f"{pid}.png") for pid in range(2))
    for pid in range(2):
        assert done.result.gallery_names is not None
        names = {done.result.gallery_names[item] for item in done.result.indices[pid].tolist()}
        assert names == {str(folders[1] / f"{pid}_{seed}.png") for seed in (1, 2)}


@pytest.mark.parametrize("ending", [".json", ".csv"])
def test_the_table_holds_every_ranked_item(
    folders: tuple[Path, Path], dense: DenseEncoder, tmp_path: Path, ending: str
) -> None:
    out = tmp_path / f"ranking{ending}"
    spec = RankSpec(*folders, out=out, model=dense, k=3, mirror=True, center_gallery=True)
    done = rank_files(spec)
    assert done.result is not None
    if ending == ".json":
        content = json.loads(out.read_text())
        rows = content["ranking"]
        assert content["methods"] == list(done.result.methods)
        assert "mirrored images" in content["methods"]
    else:
        rows = list(csv.DictReader(out.open()))
    assert len(rows) == 6
    assert [int(row["rank"]) for row in rows] == [1, 2, 3, 1, 2, 3]
    for row, score in zip(rows, done.result.scores.flatten().tolist(), strict=True):
        assert float(row["score"]) == pytest.approx(score, abs=1e-5)
        assert 0 <= float(row["shared"]) <= 1
        assert row["probability"] in (None, "")


def test_a_query_is_not_ranked_for_itself(folders: tuple[Path, Path], dense: DenseEncoder) -> None:
    done = rank_files(RankSpec(folders[1], folders[1], model=dense, k=8))
    assert done.result is not None
    for row in range(8):
        assert row not in done.result.indices[row].tolist()
        assert int(done.result.indices[row, 7]) == -1
    assert (done.result.indices[:, 0] == torch.tensor([1, 0, 3, 2, 5, 4, 7, 6])).all()


def test_damaged_files_are_named_and_the_others_ranked(
    folders: tuple[Path, Path], dense: DenseEncoder
) -> None:
    (folders[1] / "0_1.png").write_bytes(b"no image")
    done = rank_files(RankSpec(*folders, model=dense, k=1, skip=True))
    assert done.result is not None
    assert done.items == 7
    assert [each.path.name for each in done.failures] == ["0_1.png"]
    for path in folders[0].iterdir():
        path.write_bytes(b"no image")
    done = rank_files(RankSpec(*folders, model=dense, k=1, skip=True))
    assert done.result is None
    assert done.made == 0


def test_embeddings_with_local_features_are_written(
    folders: tuple[Path, Path], dense: DenseEncoder, tmp_path: Path
) -> None:
    done = embed_inputs(EmbedSpec(folders[0], tmp_path / "f.npz", dense))
    with np.load(tmp_path / "f.npz") as stored:
        arrays = dict(stored)
    expected = og_reid.describe(sorted(folders[0].iterdir()), dense)
    assert expected.local is not None
    assert expected.features is not None
    np.testing.assert_allclose(arrays["features"], expected.features, atol=1e-5)
    names = ("features", "weights", "visibility", "positions")
    for name, tensor in zip(names, expected.local.tensors, strict=True):
        assert arrays[f"local_{name}"].dtype == np.float16
        np.testing.assert_allclose(arrays[f"local_{name}"], tensor, atol=1e-3)
    assert "local features of" in done.contents
    assert done.similarity == pytest.approx(
        float(og_reid.similarity(expected[:1], expected[1:], dense)), abs=1e-5
    )


def test_the_command_prints_and_writes(
    folders: tuple[Path, Path], dense: DenseEncoder, tmp_path: Path, capsys: Capture
) -> None:
    model = tmp_path / "model.safetensors"
    dense.save(model)
    out = tmp_path / "r.json"
    command = ["rank", str(folders[0] / "0.png"), str(folders[1]), "--model", str(model)]
    assert main([*command, "--k", "2", "--center-neighbors", "1", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert f"query {folders[0] / '0.png'}" in printed
    assert "0_1.png" in printed
    assert "methods: neighbour centring (k = 1)" in printed
    assert len(json.loads(out.read_text())["ranking"]) == 2


@pytest.mark.parametrize(("arguments", "message"), [
    (["none.png", "."], "none.png is not there"),
    ([".", ".", "--out", "r.txt"], "--out must end in .json or .csv"),
    ([".", ".", "--k", "0"], "--k must be at least 1"),
    ([".", ".", "--candidates", "0"], "--candidates must be at least 1"),
    ([".", ".", "--min-shared", "2"], r"--min-shared must be in [0, 1]"),
    ([".", ".", "--center-neighbors", "-1"], "--center-neighbors must be at least 0"),
    ([".", ".", "--model", "nothing"], "--model must be"),
])  # fmt: skip
def test_wrong_options_are_refused_before_the_work(
    arguments: list[str], message: str, tmp_path: Path, capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(["rank", *arguments]) == 1
    assert message in capsys.readouterr().err


def test_methods_of_local_features_are_refused_for_other_models(
    folders: tuple[Path, Path],
) -> None:
    stripes = encoders()["stripes"]
    with pytest.raises(ValueError, match="models of local features"):
        rank_files(RankSpec(*folders, model=stripes, mirror=True))
    with pytest.raises(ValueError, match="without local features"):
        rank_files(RankSpec(*folders, model=stripes, rerank=True))
    done = rank_files(RankSpec(*folders, model=stripes, k=2))
    assert done.result is not None
    assert done.result.shared is None
