"""Builds meshes/data/og_body_atlas.npz: the UV atlas of the embedded body.

    python tools/build_atlas.py --out meshes/data/og_body_atlas.npz

Each face belongs to one of 20 charts: head, torso, arms and legs have a front and a back, hands a
palm and a back, feet an upper and a sole. A chart is flattened without flipped faces at low
distortion (tools/atlas_flatten.py) and placed by hand: charts of the middle on the axis u = 0.5,
those of the body's left in the half u > 0.5, those of its right mirrored. Faces that close no
disk (where three faces share an edge, at lips and finger tips) or that come to lie over others are
laid out one by one.

Needs numpy, scipy and the package. The same versions of numpy and scipy give the same file; others
move places by less than a step of the quantisation or two.

Fields (F faces of the body, N places):

    uv       uint16 (N, 2)   unit 1/65535: u to the right, v down, of a square image
    vertex   uint16 (N,)     vertex of the body at each place
    corners  uint16 (F, 3)   place of each corner of each face
    chart    uint8 (F,)      chart of each face
    charts   JSON            names of the charts
    faces    text            SHA-256 of the body's faces (int64, little-endian)
    license  text
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from atlas_flatten import flatten
from meshes.body.load import load_body
from meshes.body.model import BodyModel
from meshes.rasterizer import rasterize

__all__ = ["CHARTS", "assign_charts", "build", "main"]

_LIMBS = {"arm": ("shoulder", "elbow"), "hand": ("wrist", "hand"), "leg": ("hip", "knee"),
          "foot": ("ankle", "foot")}  # fmt: skip
_MIDDLE = {"head": ("neck", "head"),
           "torso": ("pelvis", "spine1", "spine2", "spine3", "left_collar",
                     "right_collar")}  # fmt: skip
_HALVES = {"head": ("front", "back"), "torso": ("front", "back"), "arm": ("front", "back"),
           "leg": ("front", "back"), "hand": ("back", "palm"),
           "foot": ("upper", "sole")}  # fmt: skip
#: Names of the charts.
CHARTS = tuple(
    f"{part}_{half}" for part in _MIDDLE for half in _HALVES[part]
) + tuple(
    f"{side}_{part}_{half}"
    for side in ("left", "right") for part in _LIMBS for half in _HALVES[part]
)  # fmt: skip
_HALF_NAMES = tuple(name.removeprefix("left_") for name in CHARTS if name.startswith("left_"))
_SMOOTHING = 6
_GUTTER = 3.2 / 256  # least distance of two charts, of the image's side
# Charts of the body's left from the axis outwards, in rows from the top; those in brackets are
# stacked. Charts of the middle are stacked on the axis.
_ROWS = (
    (("leg_front",), ("leg_back",)),
    (("arm_front",), ("arm_back",), ("foot_upper", "foot_sole")),
    (("hand_back",), ("hand_palm",), ("single",)),
)
_SINGLES = (3, 0.035)  # single faces a row, and their distance in metres
Chart = tuple[str, np.ndarray, np.ndarray]
LICENSE = "CC0-1.0, as the body that it belongs to"


def _part_of_faces(body: BodyModel) -> np.ndarray:
    """(F,) name of the part with the largest sum of skinning weights."""
    weights = body.skin_weights.numpy()
    groups = {name: joints for name, joints in _MIDDLE.items()}
    for side in ("left", "right"):
        groups |= {f"{side}_{n}": tuple(f"{side}_{j}" for j in js) for n, js in _LIMBS.items()}
    sums = np.stack([weights[:, [body.joint(j) for j in js]].sum(1) for js in groups.values()], 1)
    return np.array(list(groups))[sums[body.faces.numpy()].sum(1).argmax(1)]


def _middle_of(values: np.ndarray, along: np.ndarray) -> np.ndarray:
    """Middle of the range of ``values`` at each position along an axis, by linear interpolation."""
    edges = np.linspace(along.min(), along.max(), 13)
    places, middles = [], []
    for low, high in pairwise(edges):
        inside = (along >= low) & (along <= high)
        if inside.any():
            places.append(along[inside].mean())
            middles.append((values[inside].min() + values[inside].max()) / 2)
    return np.interp(along, places, middles)


def assign_charts(body: BodyModel) -> np.ndarray:
    """(F,) index into ``CHARTS`` of each face; each chart is connected."""
    faces = body.faces.numpy()
    corners = body.v_template.numpy()[faces]
    center = corners.mean(1)
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    parts = _part_of_faces(body)
    label = np.zeros(len(faces), np.int64)
    for part in np.unique(parts):
        mine = parts == part
        kind = part.split("_")[-1]
        x, y, z = center[mine].T
        if kind == "foot":
            first = normal[mine, 1] > -0.5
        elif kind == "hand":
            first = normal[mine, 1] > 0  # a height field, seen along y
        elif kind == "arm":
            first = z > _middle_of(z, x)
        elif kind == "head":
            first = z > np.interp(y, [0.52, 0.66, 0.76], [0.01, 0.03, 0.045])
        else:
            first = z > _middle_of(z, y)
        names = [CHARTS.index(f"{part}_{half}") for half in _HALVES[kind]]
        label[mine] = np.where(first, *names)
    beside = _beside(faces)
    hand = np.char.find(parts, "hand") >= 0
    for _ in range(_SMOOTHING):
        label = np.where(hand, label, _majority(label, beside))
    return _connected(label, beside)


def _beside(faces: np.ndarray) -> np.ndarray:
    """(P, 2) pairs of faces with a common edge, both ways."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), 1)
    owner = np.tile(np.arange(len(faces)), 3)
    order = np.lexsort(edges.T)
    same = (edges[order][1:] == edges[order][:-1]).all(1)
    pairs = np.stack([owner[order][:-1][same], owner[order][1:][same]], 1)
    return np.concatenate([pairs, pairs[:, ::-1]])


def _votes(label: np.ndarray, beside: np.ndarray) -> np.ndarray:
    votes = np.zeros((len(label), len(CHARTS)))
    np.add.at(votes, (beside[:, 0], label[beside[:, 1]]), 1.0)
    return votes


def _majority(label: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """Each face takes the chart of two of its three neighbours; its own at a tie."""
    votes = _votes(label, beside)
    votes[np.arange(len(label)), label] += 0.5
    return votes.argmax(1)


def _connected(label: np.ndarray, beside: np.ndarray) -> np.ndarray:
    """Faces apart from the largest piece of their chart join the chart around them."""
    for _ in range(20):
        stray = np.zeros(len(label), bool)
        for chart in range(len(CHARTS)):
            mine = np.nonzero(label == chart)[0]
            piece = _pieces(mine, beside, len(label))
            stray[mine[piece != np.bincount(piece).argmax()]] = True
        if not stray.any():
            break
        votes = _votes(label, beside)
        votes[np.arange(len(label)), label] = 0
        label = np.where(stray & (votes.sum(1) > 0), votes.argmax(1), label)
    return label


def _pieces(members: np.ndarray, beside: np.ndarray, count: int) -> np.ndarray:
    """(M,) number of the connected piece of each of some faces."""
    position = np.full(count, -1)
    position[members] = np.arange(len(members))
    links = position[beside]
    links = links[(links >= 0).all(1)]
    graph = coo_matrix((np.ones(len(links)), links.T), (len(members), len(members)))
    return connected_components(graph, directed=False)[1]


def _flat_charts(body: BodyModel, label: np.ndarray) -> list[Chart]:
    """(name, faces (M,), corners (M, 3, 2) in metres, y up) of every chart; single faces last."""
    vertices, faces = body.v_template.numpy().astype(np.float64), body.faces.numpy()
    charts, single = [], []
    for number, name in enumerate(CHARTS):
        mine = np.nonzero(label == number)[0]
        used, local = np.unique(faces[mine], return_inverse=True)
        local, places = local.reshape(-1, 3), vertices[used]
        start = None
        if "hand" in name:
            sign = 1 if name.endswith("back") else -1
            start = places[:, [0, 2]] * np.array([1.0, -sign])
        flat, broken = flatten(places, local, start)
        flat = _upright(name, flat, places)
        broken |= _overlapping(flat[local], broken)
        charts.append((name, mine[~broken], flat[local[~broken]]))
        single += mine[broken].tolist()
    for face in single:
        a, b, c = vertices[faces[face]]
        along = np.linalg.norm(b - a)
        x = (c - a) @ (b - a) / along
        y = np.sqrt(max((c - a) @ (c - a) - x * x, 1e-8))
        charts.append(("single", np.array([face]), np.array([[[0, 0], [along, 0], [x, y]]])))
    return charts


def _overlapping(corners: np.ndarray, left_out: np.ndarray) -> np.ndarray:
    """(M,) bool: faces (M, 3, 2) to leave out so that no two lie over each other.

    A free border may fold onto the chart: found at the centres of squares of 0.4 mm.
    """
    out = left_out.copy()
    places = (corners - corners.reshape(-1, 2).min(0)) / 4e-4
    width, height = (int(length) + 2 for length in places.reshape(-1, 2).max(0))
    index = torch.arange(3 * len(places)).reshape(-1, 3)
    order = torch.arange(len(places)).float()
    while True:
        kept = torch.from_numpy(np.nonzero(~out)[0])
        nearest = []
        for depth in (order, -order):
            points = torch.from_numpy(places).float()
            points = torch.cat([points, depth[:, None, None].expand(-1, 3, 1)], 2)
            nearest.append(rasterize(points.reshape(1, -1, 3), index[kept], height, width))
        first, second = nearest
        inside = torch.minimum(first.barycentric.amin(-1), second.barycentric.amin(-1)) > 1e-3
        twice = (first.face != second.face) & inside
        if not bool(twice.any()):
            return out & ~left_out
        out[kept[torch.unique(first.face[twice])].numpy()] = True


def _upright(name: str, flat: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Chart turned so that y goes up the body, to the shoulder on arms, to the heel on feet."""
    up = places[:, 1]
    if "arm" in name or "hand" in name:
        up = -np.abs(places[:, 0])
    elif "foot" in name:
        up = -places[:, 2]
    system = np.concatenate([flat, np.ones((len(flat), 1))], 1)
    x, y, _ = np.linalg.lstsq(system, up, rcond=None)[0]
    length = np.hypot(x, y)
    turned = flat @ np.array([[y, x], [-x, y]]) / length
    if name in CHARTS[:4]:
        axis = np.abs(places[:, 0]) < 0.015
        turned = turned - np.array([turned[axis, 0].mean(), 0])
    return turned


def _mirrored(right: Chart, left: Chart, rest: np.ndarray) -> Chart:
    """Chart of the body's right, turned and shifted onto the mirror image of the left one.

    ``rest`` is (F, 3, 3), the corners of all faces in the rest pose.
    """
    from scipy.spatial import cKDTree

    name, faces, flat = right
    there = rest[faces].reshape(-1, 3) * np.array([-1.0, 1, 1])
    nearest = cKDTree(rest[left[1]].reshape(-1, 3)).query(there)[1]
    target = left[2].reshape(-1, 2)[nearest] * np.array([-1.0, 1])
    source = flat.reshape(-1, 2)
    middle, goal = source.mean(0), target.mean(0)
    u, _, v = np.linalg.svd((source - middle).T @ (target - goal))
    turn = u @ np.diag([1, np.linalg.det(u @ v)]) @ v
    return name, faces, ((source - middle) @ turn + goal).reshape(flat.shape)


def _arranged(charts: list[Chart], rest: np.ndarray) -> tuple[list[Chart], np.ndarray]:
    """Charts at their places: x from the axis, y down from the top, metres; and (width, height)."""
    by_name = {name: (name, faces, flat * np.array([1, -1])) for name, faces, flat in charts}
    middle = [by_name[name] for name in CHARTS[:4]]
    inner = max(np.abs(flat[..., 0]).max() for _, _, flat in middle)
    pairs = {}
    for name in _HALF_NAMES:
        left = by_name[f"left_{name}"]
        left = (left[0], left[1], left[2] - left[2].reshape(-1, 2).min(0))
        pairs[name] = (left, _mirrored(by_name[f"right_{name}"], left, rest))
    pairs["single"] = _singles([chart for chart in charts if chart[0] == "single"], rest)
    boxes = {name: _box(pair) for name, pair in pairs.items()}
    gap = np.array([0.02, 0.03])
    for _ in range(20):  # the gutter is a fraction of a size that it adds to
        placed, size = _at_gap(middle, inner, pairs, boxes, gap)
        gap = _GUTTER * size
    return placed, size


def _at_gap(
    middle: list[Chart],
    inner: float,
    pairs: dict[str, tuple[Chart, Chart]],
    boxes: dict[str, np.ndarray],
    gap: np.ndarray,
) -> tuple[list[Chart], np.ndarray]:
    """Places with a given gutter (2,) in metres."""
    placed, y = [], gap[1]
    for name, faces, flat in middle:
        low, high = flat[..., 1].min(), flat[..., 1].max()
        placed.append((name, faces, flat + np.array([0, y - low])))
        y += high - low + gap[1]
    height, width, top = y, 0.0, gap[1]
    for row in _ROWS:
        x, lowest = inner + gap[0], top
        for column in row:
            y, wide = top, 0.0
            for name in column:
                low, high = boxes[name]
                shift = np.array([x, y]) - low
                left, right = pairs[name]
                placed.append((left[0], left[1], left[2] + shift))
                placed.append((right[0], right[1], right[2] + shift * np.array([-1, 1])))
                y, wide = y + high[1] - low[1] + gap[1], max(wide, high[0] - low[0])
            x, lowest = x + wide + gap[0], max(lowest, y)
        width, top = max(width, 2 * x), lowest
    return placed, np.array([width, max(height, top)])


def _box(pair: tuple[Chart, Chart]) -> np.ndarray:
    """(2, 2) lowest and highest x, y of a left chart and of its mirrored right one."""
    flip = np.array([-1.0, 1])
    points = np.concatenate([pair[0][2].reshape(-1, 2), pair[1][2].reshape(-1, 2) * flip])
    return np.stack([points.min(0), points.max(0)])


def _singles(charts: list[Chart], rest: np.ndarray) -> tuple[Chart, Chart]:
    """Single faces of the body's left and of its right, in rows."""
    sides = []
    for sign in (1.0, -1.0):
        mine = [chart for chart in charts if (sign * rest[chart[1][0], :, 0].mean()) > 0]
        places = []
        for number, (_, _, flat) in enumerate(mine):
            cell = np.array([number % _SINGLES[0], number // _SINGLES[0]]) * _SINGLES[1]
            corner = flat[0] * np.array([1, -1]) - (flat[0] * np.array([1, -1])).min(0) + cell
            # Mirrored as a place, not as a face: it keeps its orientation.
            places.append(corner if sign > 0 else corner - np.array([2 * cell[0] + 0.02, 0]))
        faces = np.array([chart[1][0] for chart in mine], np.int64)
        sides.append(("single", faces, np.array(places).reshape(-1, 3, 2)))
    return sides[0], sides[1]


def build() -> dict[str, np.ndarray]:
    """Fields of the file (see the module's docstring)."""
    body = load_body()
    faces = body.faces.numpy()
    label = assign_charts(body)
    rest = body.v_template.numpy().astype(np.float64)[faces]
    placed, size = _arranged(_flat_charts(body, label), rest)
    corners = np.full((len(faces), 3, 2), np.nan)
    piece = np.full(len(faces), -1)
    for number, (name, members, flat) in enumerate(placed):
        corners[members] = flat / size + np.array([0.5, 0.0])
        # Single faces share no places.
        piece[members] = len(placed) + members if name == "single" else number
    if not np.isfinite(corners).all() or corners.min() < 0 or corners.max() > 1:
        raise AssertionError("every face lies in the image")
    quantised = np.round(corners * np.iinfo(np.uint16).max).astype(np.int64).reshape(-1, 2)
    keys = np.concatenate([np.repeat(piece, 3)[:, None], faces.reshape(-1, 1), quantised], axis=1)
    unique, inverse = np.unique(keys, axis=0, return_inverse=True)
    return {
        "uv": unique[:, 2:].astype(np.uint16),
        "vertex": unique[:, 1].astype(np.uint16),
        "corners": inverse.reshape(-1, 3).astype(np.uint16),
        "chart": label.astype(np.uint8),
        "charts": np.array(json.dumps(CHARTS)),
        "faces": np.array(hashlib.sha256(faces.astype("<i8").tobytes()).hexdigest()),
        "license": np.array(LICENSE),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Build the UV atlas of the embedded body.")
    parser.add_argument("--out", type=Path, default=Path("og_body_atlas.npz"), help="file (.npz)")
    options = parser.parse_args(arguments)
    if options.out.suffix != ".npz":
        parser.error(f"--out must end in .npz; got {options.out}")
    np.savez_compressed(options.out, **build())
    content = options.out.read_bytes()
    print(
        f"{options.out}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}",
        file=sys.stderr,
    )


if __name__ == "__main__":
    main()
