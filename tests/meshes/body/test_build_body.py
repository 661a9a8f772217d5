"""The steps of tools/build_body.py on small inputs with known answers."""

import json
from pathlib import Path

import numpy as np
import pytest

from meshes.body.load import _from_compact
from meshes.body.model import SMPL_JOINTS, SMPL_PARENTS

EMBEDDED = Path(__file__).resolve().parents[3] / "meshes" / "data" / "og_body_compact.npz"


def a_pose():
    """SMPL's joints as a stick figure: arms hang at 45 degrees, bent elbows, legs apart."""
    half = {
        "hip": (0.1, -0.1, 0.0), "knee": (0.15, -0.5, 0.03), "ankle": (0.2, -0.9, 0.0),
        "foot": (0.22, -0.95, 0.12), "collar": (0.05, 0.4, 0.0), "shoulder": (0.2, 0.4, 0.0),
        "elbow": (0.4, 0.2, 0.0), "wrist": (0.6, 0.05, 0.1), "hand": (0.65, 0.0, 0.15),
    }  # fmt: skip
    middle = {
        "pelvis": (0.0, 0.0, 0.0), "spine1": (0.0, 0.1, 0.0), "spine2": (0.0, 0.2, 0.0),
        "spine3": (0.0, 0.3, 0.0), "neck": (0.0, 0.5, 0.0), "head": (0.0, 0.6, 0.05),
    }  # fmt: skip
    places = dict(middle)
    for name, (x, y, z) in half.items():
        places[f"left_{name}"], places[f"right_{name}"] = (x, y, z), (-x, y, z)
    return np.array([places[name] for name in SMPL_JOINTS])


def bone(joints, start, end):
    return joints[SMPL_JOINTS.index(end)] - joints[SMPL_JOINTS.index(start)]


def test_weights_of_a_mixture_sum_to_one(tools, draw):
    factors = tools.body_assets.target_factors()
    names = np.array(list(factors))
    assert len(names) == 192
    universal = np.char.startswith(names, "universal-")
    sized = np.char.startswith(names, "height/") | np.char.startswith(names, "proportions/")
    for _ in range(20):
        person = tools.body_shape.draw_person(draw)
        weights = tools.body_shape.target_weights(person, list(factors.values()))
        assert (weights >= 0).all()
        assert weights[universal].sum() == pytest.approx(1)
        assert weights[~universal & ~sized].sum() == pytest.approx(1)


def test_extreme_person_is_one_target_of_each_kind(tools):
    factors = tools.body_assets.target_factors()
    person = tools.body_shape.Person(1, 0, 0.5, 1, 0, 1, (0, 1, 0))
    weights = tools.body_shape.target_weights(person, list(factors.values()))
    used = {name: weight for name, weight in zip(factors, weights, strict=True) if weight}
    stem = "male-young-averagemuscle-maxweight"
    assert used == {
        "asian-male-young": 1,
        f"universal-{stem}": 1,
        f"height/{stem}-minheight": 1,
        f"proportions/{stem}-idealproportions": 1,
    }


def test_bodies_are_base_plus_weighted_targets(tools, draw):
    base, targets = draw.normal(size=(5, 3)), draw.normal(size=(2, 5, 3)).astype(np.float32)
    bodies = tools.body_shape.shape_bodies(base, targets, np.array([[0, 0], [0.5, 2]]))
    np.testing.assert_allclose(bodies[0], base, atol=1e-6)
    np.testing.assert_allclose(bodies[1], base + 0.5 * targets[0] + 2 * targets[1], atol=1e-6)


def test_smallest_rotation_is_the_analytic_one(tools):
    quarter = tools.body_shape.rotation_between(np.array([3.0, 0, 0]), np.array([0, 0.5, 0]))
    np.testing.assert_allclose(quarter, [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-12)
    same = tools.body_shape.rotation_between(np.array([1.0, 2, 3]), np.array([2.0, 4, 6]))
    np.testing.assert_allclose(same, np.eye(3), atol=1e-12)
    with pytest.raises(ValueError, match="opposite"):
        tools.body_shape.rotation_between(np.array([1.0, 2, 3]), np.array([-1.0, -2, -3]))


def test_smallest_rotation_is_a_rotation_and_keeps_the_axis(tools, draw):
    for start, end in draw.normal(size=(20, 2, 3)):
        turn = tools.body_shape.rotation_between(start, end)
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
        assert np.linalg.det(turn) == pytest.approx(1)
        np.testing.assert_allclose(
            turn @ start / np.linalg.norm(start), end / np.linalg.norm(end), atol=1e-9
        )
        axis = np.cross(start, end)
        np.testing.assert_allclose(turn @ axis, axis, atol=1e-9)


def test_a_pose_becomes_a_t_pose(tools):
    joints = a_pose()
    joints_moved = joints + np.array([0.3, 1.0, -0.2])
    rotations = tools.body_shape.t_pose_rotations(joints_moved)
    # One vertex on each joint, held by it: it must land on the joint.
    vertices, placed = tools.body_shape.repose(
        joints_moved[None], joints_moved[None], rotations, np.eye(24)
    )
    np.testing.assert_allclose(vertices, placed, atol=1e-6)
    moved = placed[0]
    np.testing.assert_allclose(moved[0], 0, atol=1e-7)
    for side, mirror in (("left", 1), ("right", -1)):
        for start, end in (("shoulder", "elbow"), ("elbow", "wrist"), ("wrist", "hand")):
            segment = bone(moved, f"{side}_{start}", f"{side}_{end}")
            length = np.linalg.norm(bone(joints, f"{side}_{start}", f"{side}_{end}"))
            np.testing.assert_allclose(segment, [mirror * length, 0, 0], atol=1e-6)
        thigh = bone(moved, f"{side}_hip", f"{side}_knee")
        np.testing.assert_allclose(thigh / -thigh[1], [mirror * 0.06, -1, -0.01], atol=1e-5)
        foot = bone(moved, f"{side}_ankle", f"{side}_foot")
        np.testing.assert_allclose(foot, bone(joints, f"{side}_ankle", f"{side}_foot"), atol=1e-6)
    still = [name for name in SMPL_JOINTS if "_" not in name]
    for name in still:
        index = SMPL_JOINTS.index(name)
        np.testing.assert_allclose(moved[index], joints[index], atol=1e-6)


def test_skin_turns_with_its_joint_and_blends_linearly(tools):
    joints = a_pose()
    rotations = tools.body_shape.t_pose_rotations(joints)
    elbow, wrist = SMPL_JOINTS.index("left_elbow"), SMPL_JOINTS.index("left_wrist")
    point = joints[elbow] + [0.02, 0.01, 0.03]
    weights = np.zeros((3, 24))
    weights[0, elbow] = weights[1, wrist] = 1
    weights[2, [elbow, wrist]] = 0.25, 0.75
    vertices, moved = tools.body_shape.repose(
        np.stack([point] * 3)[None], joints[None], rotations, weights
    )
    expected = moved[0, elbow] + rotations[elbow] @ (point - joints[elbow])
    np.testing.assert_allclose(vertices[0, 0], expected, atol=1e-6)
    blend = 0.25 * vertices[0, 0] + 0.75 * vertices[0, 1]
    np.testing.assert_allclose(vertices[0, 2], blend, atol=1e-6)


def test_principal_components_find_the_directions_of_a_known_mixture(tools):
    # Two orthogonal displacements; the taller one is given upside down.
    tall, wide = np.zeros((4, 3)), np.zeros((4, 3))
    tall[:2, 1] = -1, -0.5
    wide[2:, 0] = 1, -1
    signs = np.array([(a, b) for a in (-1, 1) for b in (-1, 1)])
    bodies = 5 + 0.3 * signs[:, :1, None] * tall + 0.1 * signs[:, 1:, None] * wide
    basis, explained = tools.body_shape.principal_components(bodies, 2)
    deviation = np.sqrt(4 / 3)  # of four values +-1, with n - 1
    np.testing.assert_allclose(basis[..., 0], -0.3 * deviation * tall, atol=1e-9)
    np.testing.assert_allclose(np.abs(basis[..., 1]), 0.1 * deviation * np.abs(wide), atol=1e-9)
    first = 0.09 * 1.25 / (0.09 * 1.25 + 0.01 * 2)
    np.testing.assert_allclose(explained, [first, 1], atol=1e-9)


def test_regressor_finds_the_vertices_a_joint_is_made_of(tools, draw):
    pytest.importorskip("scipy")
    candidates = draw.normal(size=(30, 6, 3))
    truth = np.array([0, 0.25, 0, 0.75, 0, 0])
    weights = tools.body_shape.regress_joint(candidates, np.einsum("n,bnc->bc", truth, candidates))
    np.testing.assert_allclose(weights, truth, atol=1e-9)


def test_regressor_rows_are_local_and_sum_to_one(tools, draw):
    pytest.importorskip("scipy")
    joints = a_pose() + draw.normal(size=(12, 24, 3)) * 0.01
    # Around each joint eight corners of a cube, so that their mean is the joint; one vertex afar.
    corners = 0.03 * np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    cubes = (joints[:, :, None] + corners).reshape(12, -1, 3)
    bodies = np.concatenate([cubes, np.full((12, 1, 3), 9.0)], axis=1)
    regressor = tools.body_shape.joint_regressor(bodies, joints, 10, draw)
    assert regressor.shape == (24, 193)
    assert (regressor >= 0).all()
    assert not regressor[:, -1].any()
    np.testing.assert_allclose(regressor.sum(axis=1), 1)
    np.testing.assert_allclose(np.einsum("jv,bvc->bjc", regressor, bodies), joints, atol=5e-3)


def test_transfer_is_exact_for_linear_functions(tools, draw):
    vertices = draw.normal(size=(5, 3))
    mapping = tools.body_surface.SurfaceMap(
        np.array([[0, 1, 2], [4, 2, 3]]), np.array([[0.2, 0.3, 0.5], [1, 0, 0]])
    )
    points = mapping.transfer(vertices)
    np.testing.assert_allclose(points[1], vertices[4])
    turn = draw.normal(size=(3, 2))
    stacked = np.stack([vertices @ turn, 1 + vertices @ turn])
    np.testing.assert_allclose(mapping.transfer(stacked)[1], 1 + points @ turn)


def test_normals_point_to_the_side_that_sees_counter_clockwise(tools):
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [0, 3, 0]])
    normals = tools.body_surface.face_normals(vertices, np.array([[0, 1, 2], [1, 0, 2], [0, 0, 1]]))
    np.testing.assert_allclose(normals, [[0, 0, 1], [0, 0, -1], [0, 0, 0]], atol=1e-9)


def cube(half):
    """Corners and outward triangles of a cube around the origin."""
    corners = half * np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    triangles = [(a, *pair) for a, b, c, d in quads for pair in ((b, c), (c, d))]
    return corners, np.array(triangles)


def test_faces_inside_a_closed_surface_are_not_exterior(tools, draw):
    pytest.importorskip("open3d")
    (outer, triangles), (inner, _) = cube(1.0), cube(0.5)
    centres = outer[triangles].mean(axis=1)
    assert ((tools.body_surface.face_normals(outer, triangles) * centres).sum(axis=1) > 0).all()
    both = np.concatenate([triangles, triangles + 8])
    vertices = np.concatenate([outer, inner])
    outside = tools.body_surface.exterior_faces(vertices, both, draw)
    assert outside.tolist() == [True] * 12 + [False] * 12


def test_points_map_to_the_nearest_place_of_the_surface(tools, draw):
    pytest.importorskip("open3d")
    vertices, triangles = cube(1.0)
    points = np.column_stack([draw.uniform(-0.9, 0.9, (20, 2)), np.full(20, 1.3)])
    mapping = tools.body_surface.map_to_surface(points, vertices, triangles)
    np.testing.assert_allclose(mapping.transfer(vertices), points * [1, 1, 1 / 1.3], atol=1e-6)
    np.testing.assert_allclose(mapping.barycentric.sum(axis=1), 1, atol=1e-6)


def test_named_vertices_of_the_embedded_file_are_found_again(tools, body):
    with np.load(EMBEDDED, allow_pickle=False) as archive:
        theirs = json.loads(str(archive["ids"]))
    vertices, weights = body.v_template.double().numpy(), body.skin_weights.double().numpy()
    eyes = (vertices[theirs["leye"]], vertices[theirs["reye"]])
    assert tools.body_surface.named_vertices(vertices, weights, eyes) == theirs


def small_body(tools, draw, vertices=40):
    weights = np.zeros((vertices, 24))
    for row in weights:
        row[draw.choice(24, 4, replace=False)] = draw.dirichlet(np.ones(4))
    return tools.build_body.Body(
        template=draw.normal(size=(vertices, 3)),
        basis=draw.normal(size=(vertices, 3, 10)) * 0.01,
        regressor=draw.dirichlet(np.ones(vertices), size=24),
        weights=weights,
        faces=draw.integers(0, vertices, (20, 3)),
        named={"nose": 7},
    )


def test_quantised_fields_are_within_half_a_unit(tools, draw):
    body = small_body(tools, draw)
    fields = tools.build_body.quantise(body)
    assert np.abs(fields["v_template"] * 1e-5 - body.template).max() <= 0.5001e-5
    assert np.abs(fields["shape_q"]).max() == 32767
    scale = fields["shape_scale"]
    assert np.abs(fields["shape_q"] * scale - body.basis).max() <= 0.5001 * scale
    weights = np.zeros((40, 24))
    np.put_along_axis(weights, fields["w_idx"].astype(int), fields["w_q"] / 65535, axis=1)
    assert np.abs(weights - body.weights).max() <= 0.5001 / 65535
    assert json.loads(str(fields["ids"])) == {"nose": 7}


def test_written_body_is_read_back(tools, body, draw, tmp_path):
    changed = tools.build_body.Body(
        template=1.01 * body.v_template.double().numpy(),
        basis=body.shapedirs.double().numpy() * draw.uniform(0.5, 1, (1, 1, 10)),
        regressor=body.joint_regressor.double().numpy(),
        weights=body.skin_weights.double().numpy(),
        faces=body.faces.numpy()[::-1],
        named={},
    )
    np.savez_compressed(tmp_path / "body.npz", **tools.build_body.quantise(changed))
    with np.load(tmp_path / "body.npz", allow_pickle=False) as archive:
        read = _from_compact(dict(archive))
    np.testing.assert_allclose(read.v_template, changed.template, rtol=0, atol=5.2e-6)
    np.testing.assert_allclose(read.shapedirs, changed.basis, rtol=0, atol=1e-5)
    np.testing.assert_allclose(read.skin_weights, changed.weights, rtol=0, atol=2 / 65535)
    np.testing.assert_allclose(read.joint_regressor, changed.regressor, rtol=0, atol=1e-7)
    np.testing.assert_array_equal(read.faces, changed.faces)
    assert read.parents == SMPL_PARENTS
    assert read.joint_names == SMPL_JOINTS


def test_quantised_fields_are_those_of_the_embedded_file(tools, draw):
    fields = tools.build_body.quantise(small_body(tools, draw))
    with np.load(EMBEDDED, allow_pickle=False) as embedded:
        assert list(fields) == embedded.files
        for name, value in fields.items():
            text = name in ("ids", "joint_names", "license")
            assert text or np.asarray(value).dtype == embedded[name].dtype, name
            assert np.ndim(value) == embedded[name].ndim, name
        for name in ("joint_names", "license", "kintree"):
            np.testing.assert_array_equal(fields[name], embedded[name])


def test_only_the_four_largest_weights_are_kept(tools, draw):
    body = small_body(tools, draw)
    body.weights[0] = 0
    body.weights[0, [3, 5, 8, 13, 21]] = 0.4, 0.3, 0.2, 0.06, 0.04
    fields = tools.build_body.quantise(body)
    assert fields["w_idx"][0].tolist() == [3, 5, 8, 13]
    np.testing.assert_allclose(fields["w_q"][0] / 65535, np.array([40, 30, 20, 6]) / 96, atol=1e-5)


def test_command_line_refuses_another_ending(tools, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tools.build_body.main([str(tmp_path), "--out", "body.npy"])
    assert "--out must end in .npz; got body.npy" in capsys.readouterr().err
