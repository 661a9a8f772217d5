from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from og_reid.data.clouds import market3d_obj as reference_obj
from og_reid.data.clouds.market3d import RawCloud, subsample, subsample_to
from og_reid.data.clouds.market3d_obj import read_obj
from og_reid.data.clouds.market3d_tree import load_market3d
from og_reid.data.sample import Sample

THREE = b"""v 0.123456 -1.500000 2.000001 0.000000 0.501961 1.000000
v -0.000001 0.000000 -0.000000 1.000000 1.000000 1.000000
v 9.999999 -9.999999 0.100000 0.003922 0.996078 0.250000
f 1 2 3
"""


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def text_of(table: np.ndarray) -> bytes:
    return b"".join(b"v %f %f %f %f %f %f\n" % tuple(row) for row in table.tolist())


def random_table(count: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return np.hstack([draw.uniform(-1.5, 1.5, (count, 3)), draw.integers(0, 256, (count, 3)) / 255])


def test_a_file_is_read_to_the_last_bit_and_in_its_order(tmp_path: Path) -> None:
    cloud = read_obj(write(tmp_path / "a.obj", THREE), expected=3)
    words = [line.split()[1:] for line in THREE.decode().splitlines()[:3]]
    expected = np.array([[np.float32(word) for word in row] for row in words])
    assert cloud.points.dtype == cloud.colors.dtype == torch.float32
    np.testing.assert_array_equal(cloud.points.numpy(), expected[:, :3])
    np.testing.assert_array_equal(cloud.colors.numpy(), expected[:, 3:])
    assert len(cloud) == 3
    assert np.signbit(cloud.points[1, 2].numpy())


micrometres = st.integers(-9_999_999, 9_999_999)
levels = st.integers(0, 1_000_000)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(*[micrometres] * 3, *[levels] * 3), min_size=1, max_size=20))
def test_both_parsers_give_the_nearest_float(rows: list[tuple[int, ...]]) -> None:
    words = [[f"{'-' * (n < 0)}{abs(n) / 1e6:.6f}" for n in row] for row in rows]
    text = "".join(f"v {' '.join(row)}\n" for row in words).encode()
    expected = np.array([[float(word) for word in row] for row in words])
    fixed = reference_obj._parse_fixed(text)
    assert fixed is not None
    np.testing.assert_array_equal(fixed, expected)
    np.testing.assert_array_equal(reference_obj._parse_any(text), expected)


@pytest.mark.parametrize(
    "change",
    [
        (b"0.123456", b"12.123456"), (b"0.123456", b"0.12345"), (b"0.123456", b"0.1234567"),
        (b"0.123456", b"0.12e456"), (b"0.123456", b"0.12:456"), (b"0.123456", b"+.123456"),
        (b"0.123456", b"0.123456 "), (b"0.123456", b"\t0.123456"), (b"0.123456", b":.123456"),
        (b"0.123456", b"/.123456"), (b"v 9", b"w 9"), (b"v 9", b"vx9"), (b"v 9", b"v\n9"),
        (b" 1.000000\nv 9", b"\nv 1.000000 9"),
    ],
)  # fmt: skip
def test_the_fast_parser_refuses_other_formats(change: tuple[bytes, bytes]) -> None:
    text = THREE[: THREE.index(b"f")]
    assert reference_obj._parse_fixed(text) is not None
    assert change[0] in text
    assert reference_obj._parse_fixed(text.replace(*change, 1)) is None


def test_the_published_format_uses_the_fast_parser(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference_obj, "_parse_any", lambda text: pytest.fail("slow"))
    path = write(tmp_path / "a.obj", text_of(random_table(8192)) + b"f 1 2 3\n")
    assert len(read_obj(path)) == 8192


def test_other_notations_are_read_too(tmp_path: Path) -> None:
    data = b"v 1e-3 12.5 -7 0 1 .5\r\nv\t1 2  3 0.25 0.5 1e0 \r\nf 1/1 2//2 1/2/3\r\n\r\n"
    cloud = read_obj(write(tmp_path / "a.obj", data), expected=None)
    assert cloud.points.tolist() == [[np.float32(1e-3), 12.5, -7], [1, 2, 3]]
    assert cloud.colors.tolist() == [[0, 1, 0.5], [0.25, 0.5, 1]]


def test_open3d_reads_the_same(tmp_path: Path) -> None:
    """Recent versions drop points without a face and are off by one bit here and there."""
    open3d = pytest.importorskip("open3d")
    text = text_of(random_table(999))
    faces = b"".join(b"f %d %d %d\n" % (i, i + 1, i + 2) for i in range(1, 999, 3))
    mesh = open3d.io.read_triangle_mesh(str(write(tmp_path / "mesh.obj", text + faces)))
    cloud = read_obj(write(tmp_path / "cloud.obj", text + b"f 1 2 3\n"), expected=999)
    points = np.asarray(mesh.vertices).astype(np.float32)
    np.testing.assert_array_max_ulp(cloud.points.numpy(), points, maxulp=1)
    colors = np.asarray(mesh.vertex_colors).astype(np.float32)
    np.testing.assert_array_equal(cloud.colors.numpy(), colors)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must start with lines 'v x y z r g b'; got none"),
        (b"f 1 2 3\n", "must start with lines"),
        (b"# og_reid point cloud; x y z\nv", "in another frame: read it with meshes.read_point"),
        (THREE[:100], "must end in a face line 'f ...'; got none: the file is cut short"),
        (THREE[: THREE.index(b"f")], "must end in a face line"),
        (THREE[:-5], "whole face line; got 'f 1': cut short"),
        (THREE + b"f 1 3 2\n", "one face line, the last; got 2 lines from there: a mesh is"),
        (THREE + THREE, "got 5 lines from there"),
        (b"v 1.0 2.0 3.0\nf 1 1 1\n", "got 'v 1.0 2.0 3.0': the file has no colours"),
        (THREE.replace(b" 0.250000", b""), "line 3 must be 'v x y z r g b'; got 'v 9.999999"),
        (THREE.replace(b"v 9", b"vn 9"), "line 3 must be"),
        (THREE.replace(b"v 9", b"\nv 9"), "line 3 must be 'v x y z r g b'; got ''"),
        (THREE.replace(b"9.999999", b"9.99x999"), "line 3 must be"),
        (b"v 1 2 3 1 1 1 v\n1 2 3 1 1 1\nf 1 1 1", "line 1 must be"),
        (THREE.replace(b"-1.500000", b"nan"), "got NaN or infinity in line 1"),
        (THREE.replace(b"9.999999", b"1e39", 1), "got NaN or infinity in line 3"),
        (THREE.replace(b"0.996078", b"1.003922"), "colours must be in [0, 1]; got 0..1.00392: div"),
        (THREE.replace(b"0.996078", b"-0.00392"), "colours must be in [0, 1]; got -0.00392..1"),
        (THREE.replace(b"0.996078", b"2000.0"), "colours must be in [0, 1]; got 0..2000"),
        (THREE, "must hold 8192 points; got 3: give expected=None to take any"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_and_named(tmp_path: Path, data: bytes, message: str) -> None:
    path = write(tmp_path / "bad.obj", data)
    with pytest.raises(ValueError, match=re.escape(f"{path}: ")) as error:
        read_obj(path)
    assert message in str(error.value)


def test_every_cut_of_a_file_is_noticed(tmp_path: Path) -> None:
    for end in range(len(THREE) - 2):  # without the last digit and newline it still counts as whole
        with pytest.raises(ValueError, match=r"a\.obj: "):
            read_obj(write(tmp_path / "a.obj", THREE[:end]), expected=None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"gone\.obj"):
        read_obj(tmp_path / "gone.obj")


def cloud_of(count: int, blank: list[int], seed: int = 0) -> RawCloud:
    generator = torch.Generator().manual_seed(seed)
    colors = torch.rand(count, 3, generator=generator) * 0.9
    colors[blank] = 1.0
    return RawCloud(torch.randn(count, 3, generator=generator), colors)


def test_frames_are_converted_and_shapes_checked() -> None:
    cloud = cloud_of(10, [])
    turned = cloud.to_pointcloud()
    torch.testing.assert_close(turned.points, cloud.points * torch.tensor([1.0, -1.0, -1.0]))
    assert torch.equal(turned.colors, cloud.colors)
    centered = cloud.centered()
    torch.testing.assert_close(centered.points.mean(0), torch.zeros(3))
    torch.testing.assert_close(centered.points.diff(dim=0), cloud.points.diff(dim=0))
    with pytest.raises(ValueError, match=r"\(N, 3\) both; got \(4, 3\) and \(5, 3\)"):
        RawCloud(torch.zeros(4, 3), torch.zeros(5, 3))


def naive_slim(
    table: np.ndarray, share: float, train: bool, generator: torch.Generator
) -> np.ndarray:
    """The authors' rule, word for word; only the source of randomness is ours."""
    if share == 1:
        return table
    table = table.copy()
    wanted = round(len(table) * share)
    blank, colored = [], []
    for index, row in enumerate(table):
        is_blank = abs(row[3:].mean() - 1) <= 1e-5
        (blank if is_blank else colored).append(index)
        if is_blank:
            table[index, 3:] = 0.5
    if wanted <= len(colored):
        if train and float(torch.rand((), generator=generator)) < 0.5:
            if wanted == len(colored):  # the difference that is written down
                chosen = colored
            else:
                order = torch.randperm(len(colored) - 1, generator=generator).tolist()
                chosen = [colored[position] for position in order[:wanted]]
        else:
            places = np.linspace(0, len(colored) - 1, num=wanted, dtype=int)
            chosen = [colored[position] for position in places]
    else:
        places = np.linspace(0, len(blank) - 1, num=wanted - len(colored), dtype=int)
        chosen = colored + [blank[position] for position in places]
    return table[sorted(chosen)]


@settings(deadline=None, max_examples=60)
@given(
    st.integers(2, 60).flatmap(
        lambda count: st.tuples(st.just(count), st.lists(st.integers(0, count - 1), max_size=count))
    ),
    st.floats(0.3, 1.0),
    st.booleans(),
    st.integers(0, 9),
)
def test_subsampling_equals_the_authors_rule(
    shape: tuple[int, list[int]], share: float, train: bool, seed: int
) -> None:
    cloud = cloud_of(*shape)
    table = torch.cat([cloud.points, cloud.colors], 1).numpy()
    expected = naive_slim(table, share, train, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed) if train else None
    found = subsample(cloud, share, generator=generator)
    np.testing.assert_array_equal(torch.cat([found.points, found.colors], 1).numpy(), expected)
    assert len(found) == round(shape[0] * share)


def test_half_of_a_published_cloud_is_every_other_point() -> None:
    cloud = cloud_of(8192, [])
    half = subsample(cloud, 0.5)
    every_other = np.linspace(0, 8191, 4096).astype(int)
    assert every_other[:3].tolist() == [0, 2, 4]
    assert every_other[-1] == 8191
    assert torch.equal(half.points, cloud.points[every_other])


def test_training_draws_both_kinds_and_never_the_last() -> None:
    cloud = cloud_of(40, [])
    generator = torch.Generator().manual_seed(0)
    kept = [subsample(cloud, 0.5, generator=generator).points for _ in range(200)]
    even = [torch.equal(each, subsample(cloud, 0.5).points) for each in kept]
    assert 60 < sum(even) < 140
    drawn = [each for each, is_even in zip(kept, even, strict=True) if not is_even]
    seen = {float(x) for each in drawn for x in each[:, 0]}
    assert seen == {float(x) for x in cloud.points[:-1, 0]}


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, float("nan")])
def test_bad_fractions_are_refused(share: float) -> None:
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\]"):
        subsample(cloud_of(10, []), share)


def test_no_points_or_too_many_are_refused() -> None:
    for act in (
        lambda: subsample(cloud_of(10, []), 0.01),
        lambda: subsample_to(cloud_of(10, []), 0),
    ):
        with pytest.raises(ValueError, match=r"keep must be in \[1, 10\], .*; got 0"):
            act()
    with pytest.raises(ValueError, match="got 11"):
        subsample_to(cloud_of(10, []), 11)


@pytest.fixture
def tree(tmp_path: Path) -> Callable[..., Path]:
    def make(*paths: str) -> Path:
        root = tmp_path / "3DMarket+bg"
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).touch()
        return root

    return make


def test_a_tree_is_listed(tree: Callable[..., Path]) -> None:
    root = tree(
        "gallery/-1/-1_c3s2_000009_04.jpg.obj",
        "gallery/0000/0000_c1s6_000001_01.jpg.obj",
        "train/0002/0002_c6s1_000451_03.jpg.obj",
        "train/0002/0002_c1s1_000451_03.jpg.obj",
        "train/0002/notes.txt",
        "train/0011/0011_c2_f0046182.jpg.obj",
        "query/0000/0000_003_14_0303morning_0008_0.jpg.obj",
    )
    splits = load_market3d(root)
    assert list(splits) == ["train", "gallery", "query"]
    train = root / "train"
    assert splits["train"] == (
        Sample(train / "0002/0002_c1s1_000451_03.jpg.obj", 2, 1),
        Sample(train / "0002/0002_c6s1_000451_03.jpg.obj", 2, 6),
        Sample(train / "0011/0011_c2_f0046182.jpg.obj", 11, 2),
    )
    assert [(each.pid, each.camid) for each in splits["gallery"]] == [(-1, 3), (0, 1)]
    assert [(each.pid, each.camid) for each in splits["query"]] == [(0, 14)]
    assert load_market3d(root.parent) == splits
    assert list(load_market3d(root, ["query", "train"])) == ["train", "query"]


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("train/0002/person.obj", "person.obj must be called <pid>_c<camera>....obj"),
        ("train/0003/0002_c1s1_000451_03.jpg.obj", "folder has identity 3, the name 2"),
        ("train/-1/-1_c1s1_000451_03.jpg.obj", "identity -1 (junk) belongs in the gallery"),
        ("query/0002/0002_c1s1_000451_03.jpg", "query must hold clouds as <identity>/"),
        ("bounding_box_train/0002_c1s1_000451_03.jpg", "must hold at least one of the folders"),
    ],
)  # fmt: skip
def test_bad_trees_are_refused(tree: Callable[..., Path], path: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        load_market3d(tree(path))


def test_bad_splits_and_roots_are_refused(tree: Callable[..., Path], tmp_path: Path) -> None:
    root = tree("train/0002/0002_c1s1_000451_03.jpg.obj")
    with pytest.raises(ValueError, match=r"holds no query, val; it holds train"):
        load_market3d(root, ["query", "val"])
    with pytest.raises(ValueError, match=r"splits must be some of train, .*; got \['test'\]"):
        load_market3d(root, ["test"])
    with pytest.raises(ValueError, match="splits must be some of"):
        load_market3d(root, [])
    with pytest.raises(ValueError, match="is not a folder"):
        load_market3d(root / "nowhere")
    (tmp_path / "3DDuke+bg" / "train").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"2 data sets .3DDuke\+bg, 3DMarket\+bg.: give one"):
        load_market3d(tmp_path)
