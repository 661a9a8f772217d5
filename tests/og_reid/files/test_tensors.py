"""Models and training states whose bytes are not those that were written."""

from __future__ import annotations

import errno
import json
import random
import resource
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from og_reid.files.tensors import read_tensors, read_torch, write_tensors, write_torch
from og_reid.inference.preprocessing import Preprocessing
from og_reid.inference.pretrained import load_model, save_network
from og_reid.models import OGNet
from og_reid.train.checkpoint import load_checkpoint, read_provenance, save_checkpoint

STATE = {"origin": {"config": {}}, "step": 3, "model": {"w": torch.arange(40.0)}, "best": None}


@pytest.fixture
def model(tmp_path: Path, rng: torch.Generator) -> Path:
    network = OGNet(
        (4, 8), k=3, num_points=8, embedding_dim=6, ball_counts=(2, 3, 4), generator=rng
    )
    save_network(tmp_path / "m.safetensors", network, Preprocessing(12), {"seed": 3})
    return tmp_path / "m.safetensors"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "s.pt", STATE)
    return tmp_path / "s.pt"


@pytest.mark.parametrize(("name", "read"), [("model", load_model), ("state", load_checkpoint)])
def test_every_flipped_bit_is_refused(
    request: pytest.FixtureRequest, name: str, read: Callable[[Path], object]
) -> None:
    path: Path = request.getfixturevalue(name)
    data = path.read_bytes()
    places = random.Random(0).sample(range(8 * len(data)), 100)
    # The ends, where the digest of a state and the length of a header are, are looked at whole.
    for place in {*places, *range(0, 64, 3), *range(8 * len(data) - 800, 8 * len(data), 7)}:
        changed = bytearray(data)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        with pytest.raises(ValueError, match=path.name):
            read(path)
    path.write_bytes(data)
    read(path)


def test_a_damaged_file_is_named(model: Path, state: Path) -> None:
    data = bytearray(model.read_bytes())
    data[-3] ^= 1
    model.write_bytes(data)
    with pytest.raises(ValueError, match=r"m\.safetensors is damaged: .*digest in its header"):
        load_model(model)
    data = bytearray(state.read_bytes())
    place = data.index(STATE["model"]["w"].numpy().tobytes())  # type: ignore[index]
    data[place + 3] ^= 1
    state.write_bytes(data)
    with pytest.raises(ValueError, match=r"s\.pt is damaged.*digest"):
        load_checkpoint(state)


def test_files_without_a_digest_are_read(model: Path, tmp_path: Path) -> None:
    with safe_open(model, framework="pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "sha256"}
    save_file(load_file(model), tmp_path / "old.safetensors", metadata)
    assert load_model(tmp_path / "old.safetensors").training == {"seed": 3}
    torch.save(STATE, tmp_path / "old.pt")
    assert load_checkpoint(tmp_path / "old.pt")["step"] == 3
    load_model("default")


def test_content_for_other_programs_is_unchanged(model: Path, state: Path) -> None:
    assert torch.equal(torch.load(state, weights_only=True)["model"]["w"], torch.arange(40.0))
    assert "embs.0.weight" in load_file(model)


def test_verifying_a_digest_takes_little_time(tmp_path: Path) -> None:
    """Processor time of 40 MB, beside that of writing and reading them."""
    tensors = {"w": torch.randn(10_000_000)}
    begin = time.process_time()
    write_tensors(tmp_path / "a.safetensors", tensors, {})
    read_tensors(tmp_path / "a.safetensors")
    write_torch(tmp_path / "a.pt", tensors)
    read_torch(tmp_path / "a.pt")
    assert time.process_time() - begin < 2.0


def edit(path: Path, **changes: object) -> None:
    """Changes the description of a network, without a digest, as a crafted file would."""
    with safe_open(path, framework="pt") as file:
        metadata = {key: value for key, value in file.metadata().items() if key != "sha256"}
    for name, value in changes.items():
        if name in metadata:
            metadata[name] = value if isinstance(value, str) else json.dumps(value)
        else:
            part = "preprocessing" if name in ("min_points", "point_order") else "architecture"
            described = json.loads(metadata[part])
            described[name] = value
            metadata[part] = json.dumps(described)
    save_file(load_file(path), path, metadata)


@pytest.fixture
def little_memory() -> object:
    """Less than two gigabytes more than now."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (2 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(
    "changes",
    [
        {"embedding_dim": 10**8},
        {"embedding_dim": 60000},
        {"embedding_dim": -5},
        {"embedding_dim": 6.0},
        {"embedding_dim": None},
        {"embedding_dim": "6"},
        {"k": 10**9, "num_points": 10**10},
        {"k": True},
        {"k": 1e400},
        {"dims": [2] * 10**5},
        {"dims": []},
        {"dims": {}},
        {"dims": [[4], 8]},
        {"dims": [10**4] * 60},
        {"num_conv": 10**7},
        {"num_points": 10**30},
        {"ball_counts": [1, 2]},
        {"ball_counts": [10**9] * 3},
        {"mode": [1]},
        {"kind": {}},
        {"residual": "no"},
        {"min_points": 10**400},
        {"min_points": "32"},
        {"point_order": []},
        {"architecture": "[" * 100_000},
        {"architecture": "[1]"},
        {"preprocessing": '{"num_points": 1e30}'},
        {"preprocessing": "3"},
        {"training": "[" * 100_000},
        {"training": "3"},
        {"origin": '{"people": "all"}'},
        {"origin": '{"people": [[]]}'},
        {"origin": '{"validation": {"mAP": null}}'},
        {"version": "9" * 1000, "architecture": "{"},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_descriptions_of_no_network_are_refused_at_once(
    model: Path, changes: dict[str, object]
) -> None:
    edit(model, **changes)
    begin = time.process_time()
    with pytest.raises(ValueError, match=r"m\.safetensors") as caught:
        load_model(model)
    assert time.process_time() - begin < 5
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize(
    "origin",
    [
        '{"people": 3}',
        "[]",
        "{",
        '{"validation": []}',
        '{"source": 1}',
        '{"validation": {"mAP": 1, "x": 2}}',
    ],
)
def test_the_provenance_in_a_header_is_checked(model: Path, origin: str) -> None:
    edit(model, origin=origin)
    with pytest.raises(ValueError, match=r"m\.safetensors: must be a model of this package"):
        read_provenance(model)


def test_compressed_members_of_a_state_are_refused(tmp_path: Path) -> None:
    """A gigabyte of zeros in a megabyte."""
    import zipfile

    torch.save(STATE, tmp_path / "a.pt")
    with (
        zipfile.ZipFile(tmp_path / "a.pt") as source,
        zipfile.ZipFile(tmp_path / "b.pt", "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for each in source.infolist():
            target.writestr(each.filename, source.read(each))
    with pytest.raises(ValueError, match=r"b\.pt is damaged.*compressed"):
        load_checkpoint(tmp_path / "b.pt")


@pytest.mark.usefixtures("little_memory")
def test_files_with_false_sizes_are_refused(tmp_path: Path) -> None:
    """Both formats, and what torch wrote before it used zip files."""
    header = (
        b'{"w": {"dtype": "F32", "shape": [1000000000000], "data_offsets": [0, 4000000000000]}}'
    )
    (tmp_path / "a.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + b"1234")
    with pytest.raises(ValueError, match=r"a\.safetensors is no safetensors|a\.safetensors: is no"):
        read_tensors(tmp_path / "a.safetensors")
    repeated = torch.zeros(1).expand(10**10)
    for name, old in (("b.pt", False), ("c.pth", True)):
        torch.save({"w": repeated}, tmp_path / name, _use_new_zipfile_serialization=not old)
        assert (tmp_path / name).stat().st_size < 4096
        with pytest.raises(ValueError, match=rf"{name}.* is larger than the file"):
            read_torch(tmp_path / name)


@pytest.mark.usefixtures("little_memory")
def test_nested_repeated_lists_are_read_in_short_time(tmp_path: Path) -> None:
    value: list[object] = [torch.zeros(1)]
    for _ in range(40):
        value = [value, value]
    torch.save({"w": value}, tmp_path / "a.pt")
    start = time.process_time()
    read_torch(tmp_path / "a.pt")
    assert time.process_time() - start < 5


def full(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def refusing_files(limit: int, work: Callable[[], object]) -> OSError:
    """The error of ``work`` where no file may grow beyond a limit, as on a full disk."""
    import signal

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        work()
    except OSError as error:
        return error
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    pytest.fail("nothing was refused")


def test_a_full_disk_names_the_model(tmp_path: Path, rng: torch.Generator) -> None:
    network = OGNet((4, 8), k=3, num_points=8, generator=rng)
    path = tmp_path / "m.safetensors"
    error = refusing_files(100, lambda: save_network(path, network, Preprocessing(12)))
    assert str(path) in str(error)
    assert error.errno == errno.EFBIG
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_names_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "s.pt"
    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"s\.pt could not be written.*No space left") as caught:
        save_checkpoint(path, STATE)
    assert caught.value.filename == str(path)
    assert caught.value.errno == errno.ENOSPC
