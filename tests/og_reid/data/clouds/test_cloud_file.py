"""Files of cloud sets: every damage is found, crafted ones are refused within bounds."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from og_reid.data import CloudSet
from random_clouds import cloud

OLD = {"format": "og_reid.cloud_set", "version": "2"}


def small() -> CloudSet:
    return CloudSet.from_clouds(((cloud(i), i, 1, f"{i}.jpg") for i in range(2)), max_points=20)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    small().save(tmp_path / "set.safetensors")
    return tmp_path / "set.safetensors"


def test_a_flipped_bit_is_found_wherever_it_is(path: Path) -> None:
    sound = path.read_bytes()
    for place in range(len(sound)):
        damaged = bytearray(sound)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"set\.safetensors"):
            CloudSet.load(path)


def test_a_cut_file_is_refused_at_every_length(path: Path) -> None:
    sound = path.read_bytes()
    for length in range(0, len(sound), 7):
        path.write_bytes(sound[:length])
        with pytest.raises(ValueError, match=r"set\.safetensors"):
            CloudSet.load(path)


def test_files_without_a_digest_are_read(path: Path) -> None:
    tensors = load_file(path)
    save_file(tensors, path, {**OLD, "names": '["0.jpg", "1.jpg"]'})
    assert torch.equal(CloudSet.load(path).points, small().points)


def test_files_of_the_first_digest_are_read_and_checked(path: Path) -> None:
    """It described the tensors otherwise; the literal is of such a file."""
    tensors = {
        "points": torch.arange(6).reshape(2, 3).half() / 8,
        "colors": torch.tensor([[0, 128, 255], [1, 2, 3]], dtype=torch.uint8),
        "visible": torch.tensor([True, False]),
        "part": torch.tensor([3, -1], dtype=torch.int8),
        "ptr": torch.tensor([0, 2]),
        "pids": torch.tensor([7]),
        "camids": torch.tensor([1]),
    }
    first = "bfaeea95d81270646ae015367030780e9dd7bdce19d06d205b88fb7875951a57"
    metadata = {**OLD, "names": '["a.jpg"]', "sha256": first}
    save_file(tensors, path, metadata)
    assert torch.equal(CloudSet.load(path).points, tensors["points"])
    tensors["pids"] += 1
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match="is damaged"):
        CloudSet.load(path)


def test_a_file_with_a_damaged_digest_is_refused(path: Path) -> None:
    save_file(load_file(path), path, {**OLD, "names": '["0.jpg", "1.jpg"]', "sha255": "0"})
    with pytest.raises(ValueError, match="is damaged"):
        CloudSet.load(path)


@pytest.mark.parametrize(
    "names", ["", "{", "7", "null", '["a"]', "[1, 2]", '{"a": 1, "b": 2}', "[" * 100_000, "NaN"]
)
def test_crafted_names_are_refused(path: Path, names: str) -> None:
    save_file(load_file(path), path, {**OLD, "names": names})
    with pytest.raises(ValueError, match=r"set\.safetensors"):
        CloudSet.load(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"more": torch.zeros(1)},
        {"ptr": torch.tensor(40)},
        {"ptr": torch.zeros(0, dtype=torch.int64)},
        {"ptr": torch.tensor([0, 2**62, 40])},
        {"ptr": torch.tensor([0, -(2**63), 40])},
        {"points": torch.zeros(40, 3)},
        {"points": torch.full((40, 3), torch.inf, dtype=torch.float16)},
        {"pids": torch.zeros(2, 1, dtype=torch.int64)},
    ],
)
def test_crafted_tensors_are_refused(path: Path, changes: dict[str, torch.Tensor]) -> None:
    save_file({**load_file(path), **changes}, path, {**OLD, "names": '["0.jpg", "1.jpg"]'})
    with pytest.raises(ValueError, match=r"set\.safetensors"):
        CloudSet.load(path)


def test_flags_of_other_bytes_are_refused(path: Path) -> None:
    tensors = load_file(path)
    tensors["visible"].view(torch.uint8)[0] = 2
    save_file(tensors, path, {**OLD, "names": '["0.jpg", "1.jpg"]'})
    with pytest.raises(ValueError, match="visible must hold the bytes 0 and 1"):
        CloudSet.load(path)


def test_a_header_of_terabytes_allocates_nothing(path: Path) -> None:
    about = {"dtype": "F16", "shape": [2**40, 3], "data_offsets": [0, 6 * 2**40]}
    header = json.dumps({"__metadata__": {**OLD, "names": "[]"}, "points": about}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ValueError, match=r"set\.safetensors"):
        CloudSet.load(path)
    path.write_bytes(struct.pack("<Q", 2**50) + b"{}")
    with pytest.raises(ValueError, match=r"set\.safetensors"):
        CloudSet.load(path)


def test_an_empty_set_is_kept(tmp_path: Path) -> None:
    small().select([]).save(tmp_path / "none.safetensors")
    assert len(CloudSet.load(tmp_path / "none.safetensors")) == 0


def test_a_disk_error_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from safetensors import SafetensorError

    def full(*_: object, **__: object) -> None:
        raise SafetensorError("Error while serializing: I/O error: No space left (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match=r"set\.safetensors"):
        small().save(tmp_path / "set.safetensors")
    assert list(tmp_path.iterdir()) == []
