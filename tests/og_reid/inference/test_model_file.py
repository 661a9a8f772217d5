from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import load_model, save_network
from og_reid.models import OGNet
from og_reid.train.checkpoint import load_checkpoint, save_checkpoint


@pytest.fixture
def model(rng: torch.Generator) -> OGNet:
    sizes = {"dims": (4, 8), "k": 3, "num_points": 8, "embedding_dim": 6}
    model = OGNet(**sizes, num_classes=5, ball_counts=(2, 3, 4), generator=rng)
    model.bn_embs[0].running_mean.uniform_(generator=rng)
    return model


def stored(path: Path) -> tuple[dict, dict]:
    with safe_open(path, framework="pt") as file:
        return load_file(path), file.metadata()


def test_a_model_is_read_back(tmp_path: Path, model: OGNet, rng: torch.Generator) -> None:
    path = tmp_path / "runs" / "model.safetensors"
    save_network(path, model, Preprocessing(12, min_points=5), {"seed": 3})
    loaded = load_model(path)
    assert loaded.preprocessing == Preprocessing(12, min_points=5)
    assert loaded.training == {"seed": 3}
    assert not loaded.model.training
    assert loaded.model.proj_output is None
    points, colors = torch.randn(2, 12, 3, generator=rng), torch.rand(2, 12, 3, generator=rng)
    expected = model.eval()(points, colors - 0.5)
    assert torch.equal(loaded.model(points, colors - 0.5), expected)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["ognet-small", "ognet-deep"])
def test_every_argument_is_kept(tmp_path: Path, name: str) -> None:
    model = OGNet.preset(name, mode="reference", num_points=256)
    save_network(tmp_path / "m.safetensors", model, Preprocessing(512))
    loaded = load_model(tmp_path / "m.safetensors").model
    for attribute in ("dims", "k", "num_conv", "residual", "num_points", "mode", "ball_counts"):
        assert getattr(loaded, attribute) == getattr(model, attribute)
    for key, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], value)


def test_nan_weights_are_not_written(tmp_path: Path, model: OGNet) -> None:
    model.embs[0].weight.data[0, 0] = torch.nan
    with pytest.raises(ValueError, match=r"NaN or infinite weights: embs\.0\.weight"):
        save_network(tmp_path / "m.safetensors", model, Preprocessing(12))
    assert not list(tmp_path.iterdir())


def test_pickles_are_refused_unread(tmp_path: Path, model: OGNet) -> None:
    class Bomb:
        def __reduce__(self) -> tuple:
            return (pytest.fail, ("the pickle was run",))

    torch.save({"weights": Bomb()}, tmp_path / "zip.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Bomb(), protocol=2))
    for name in ("zip.pt", "bare.pt"):
        with pytest.raises(ValueError, match="is a pickle, which may run code"):
            load_model(tmp_path / name)
        with pytest.raises(ValueError, match="is damaged or no training state"):
            load_checkpoint(tmp_path / name)


def test_missing_and_damaged_files_are_refused(tmp_path: Path, model: OGNet) -> None:
    path = tmp_path / "m.safetensors"
    with pytest.raises(ValueError, match="is not a file"):
        load_model(path)
    save_network(path, model, Preprocessing(12))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match="is damaged"):
        load_model(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is damaged"):
        load_model(path)


def test_other_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="no og_reid model"):
        load_model(path)
    save_file({"a": torch.zeros(2)}, path, {"format": "og_reid.model", "version": "9"})
    with pytest.raises(ValueError, match="written by version 9, which this version"):
        load_model(path)


def test_weights_of_another_network_are_named(tmp_path: Path, model: OGNet) -> None:
    path = tmp_path / "m.safetensors"
    save_network(path, model, Preprocessing(12))
    weights, metadata = stored(path)
    weights["extra"] = weights.pop("embs.0.weight")
    weights["conv.0.weight"] = weights["conv.0.weight"][:2].clone()
    save_file(weights, path, metadata)
    message = (
        r"1 missing \(embs\.0\.weight\); 1 unexpected \(extra\); "
        r"1 of another shape \(conv\.0\.weight \(2, 6, 1, 1\) instead of \(4, 6, 1, 1\)\)"
    )
    with pytest.raises(ValueError, match=message):
        load_model(path)


def test_a_checkpoint_is_read_back(tmp_path: Path) -> None:
    state = {
        "origin": {},
        "step": 3,
        "model": {"w": torch.arange(3)},
        "history": [{"loss": 0.5, "mAP": None}],
    }
    save_checkpoint(tmp_path / "s.pt", state)
    loaded = load_checkpoint(tmp_path / "s.pt")
    assert torch.equal(loaded["model"].pop("w"), state["model"].pop("w"))
    assert loaded == state


def test_bad_checkpoints_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "s.pt"
    with pytest.raises(ValueError, match="no training state to resume from"):
        load_checkpoint(path)
    save_checkpoint(path, {"w": torch.zeros(1000)})
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(ValueError, match="is damaged"):
        load_checkpoint(path)
    torch.save([1, 2], path)
    with pytest.raises(ValueError, match="no training state of this package"):
        load_checkpoint(path)


def test_a_length_that_looks_like_a_pickle_is_read(tmp_path: Path, model: OGNet) -> None:
    """A safetensors file starts with the length of its header, whose first byte may be 0x80."""
    seen = set()
    for size in range(0, 256, 8):
        path = tmp_path / f"{size}.safetensors"
        save_network(path, model, Preprocessing(12), {"pad": "x" * size})
        seen.add(path.read_bytes()[0])
        assert load_model(path).training["pad"] == "x" * size
    assert 0x80 in seen
