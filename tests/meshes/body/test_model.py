import hashlib
from dataclasses import replace
from importlib.resources import files

import pytest
import torch

import meshes.body.model
from meshes.body.landmarks import LANDMARKS
from meshes.body.load import load_body
from meshes.body.model import SMPL_JOINTS, SMPL_PARENTS, BodyModel
from meshes.rotation import axis_angle_to_matrix
from pose.runtime.defaults import MadeOnce


def test_embedded_body_matches_the_documentation(body):
    assert (body.num_vertices, body.num_joints, body.num_betas) == (6879, 24, 10)
    assert body.faces.shape == (13717, 3)
    assert body.joint_names == SMPL_JOINTS
    assert body.parents == SMPL_PARENTS
    assert set(body.landmarks) == set(LANDMARKS)
    torch.testing.assert_close(body.skin_weights.sum(1), torch.ones(6879))
    torch.testing.assert_close(body.joint_regressor.sum(1), torch.ones(24), atol=1e-5, rtol=0)
    edges = body.v_template[body.faces] - body.v_template[body.faces.roll(1, 1)]
    assert edges.norm(dim=-1).mean() == pytest.approx(0.0169, abs=3e-4)


def test_embedded_file_is_small_and_unchanged():
    content = files("meshes").joinpath("data/og_body_compact.npz").read_bytes()
    assert len(content) <= 0.6e6
    assert hashlib.sha256(content).hexdigest().startswith("94ba7bc793bf66b2")


def test_left_is_positive_x_and_front_positive_z(body):
    joints = body.rest_joints(torch.zeros(1, 10))[0]
    assert joints[body.joint("left_shoulder"), 0] > 0.1 > -0.1 > joints[body.joint("right_knee"), 0]
    place = {name: body.v_template[index] for name, index in body.landmarks.items()}
    assert place["nose"][2] > place["left_ear"][2]
    assert place["left_toe"][2] > place["left_heel"][2]
    assert place["left_eye"][0] > 0 > place["right_eye"][0]
    assert joints[0].abs().max() < 1e-3


def test_identity_rotations_give_the_rest_pose(body):
    posed = body.pose(torch.eye(3).expand(2, 24, 3, 3), torch.zeros(2, 10))
    torch.testing.assert_close(posed.vertices[1], body.v_template, atol=1e-6, rtol=0)
    torch.testing.assert_close(posed.joints, body.rest_joints(torch.zeros(2, 10)))


def test_root_rotation_is_rigid_and_turns_about_the_pelvis(body, rng):
    betas = torch.randn(1, 10, generator=rng)
    turn = axis_angle_to_matrix(torch.tensor([[0.3, -1.0, 0.5]]))
    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    rotations[:, 0] = turn
    rest, pelvis = body.shaped(betas), body.rest_joints(betas)[:, :1]
    expected = (rest - pelvis) @ turn.transpose(1, 2) + pelvis
    posed = body.pose(rotations, betas, torch.tensor([[1.0, 2.0, 3.0]]))
    torch.testing.assert_close(
        posed.vertices, expected + torch.tensor([1.0, 2.0, 3.0]), atol=1e-5, rtol=0
    )


def test_bent_elbow_moves_the_wrist_on_a_circle_and_nothing_above(body):
    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    elbow, wrist = body.joint("left_elbow"), body.joint("left_wrist")
    rest = body.rest_joints(torch.zeros(1, 10))[0]
    turn = axis_angle_to_matrix(torch.tensor([0.0, -torch.pi / 2, 0.0]))
    rotations[0, elbow] = turn
    posed = body.pose(rotations, torch.zeros(1, 10))
    torch.testing.assert_close(
        posed.joints[0, wrist], rest[elbow] + turn @ (rest[wrist] - rest[elbow])
    )
    untouched = body.skin_weights[:, [elbow, wrist, body.joint("left_hand")]].sum(1) == 0
    torch.testing.assert_close(
        posed.vertices[0, untouched], body.v_template[untouched], atol=1e-6, rtol=0
    )


def test_skinning_equals_the_smplx_package(body, rng):
    smplx = pytest.importorskip("smplx")
    arrays = {
        "v_template": body.v_template,
        "shapedirs": body.shapedirs,
        "posedirs": torch.zeros(body.num_vertices, 3, 207),
        "J_regressor": body.joint_regressor,
        "weights": body.skin_weights,
        "f": body.faces,
        "kintree_table": torch.tensor([[2**32 - 1, *SMPL_PARENTS[1:]], list(range(24))]),
    }
    theirs = smplx.SMPL(
        "",
        data_struct=smplx.utils.Struct(**{name: each.numpy() for name, each in arrays.items()}),
        vertex_ids=dict.fromkeys(smplx.vertex_ids.vertex_ids["smplh"], 0),
        batch_size=4,
    )
    betas = torch.randn(4, 10, generator=rng)
    vectors = torch.randn(4, 24, 3, generator=rng) * 0.5
    transl = torch.randn(4, 3, generator=rng)
    expected = theirs(
        betas=betas, body_pose=vectors[:, 1:].flatten(1), global_orient=vectors[:, 0], transl=transl
    )
    ours = body.pose(axis_angle_to_matrix(vectors), betas, transl)
    assert (ours.vertices - expected.vertices).abs().max() < 1e-5
    assert (ours.joints - expected.joints[:, :24]).abs().max() < 1e-5


def test_skinning_is_differentiable(rng):
    parents = (-1, 0, 1)
    small = BodyModel(
        v_template=torch.randn(6, 3, generator=rng, dtype=torch.float64),
        shapedirs=torch.randn(6, 3, 2, generator=rng, dtype=torch.float64),
        joint_regressor=torch.softmax(torch.randn(3, 6, generator=rng, dtype=torch.float64), 1),
        skin_weights=torch.softmax(torch.randn(6, 3, generator=rng, dtype=torch.float64), 1),
        faces=torch.tensor([[0, 1, 2], [3, 4, 5]]),
        parents=parents,
        joint_names=("a", "b", "c"),
        posedirs=torch.randn(6, 3, 18, generator=rng, dtype=torch.float64),
    )
    vectors = torch.randn(2, 3, 3, generator=rng, dtype=torch.float64, requires_grad=True)
    betas = torch.randn(2, 2, generator=rng, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda v, b: small.pose(axis_angle_to_matrix(v), b).vertices, (vectors, betas)
    )


@pytest.mark.parametrize(
    ("rotations", "betas", "message"),
    [
        (torch.zeros(1, 24, 3), torch.zeros(1, 10), "axis_angle_to_matrix"),
        (torch.eye(3).expand(1, 23, 3, 3), torch.zeros(1, 10), "rotations must be"),
        (torch.eye(3).expand(1, 24, 3, 3), torch.zeros(1, 11), "betas must be"),
        (torch.eye(3).expand(1, 24, 3, 3), torch.zeros(10), "betas must be"),
    ],
)
def test_wrong_shapes_are_refused(body, rotations, betas, message):
    with pytest.raises(ValueError, match=message):
        body.pose(rotations, betas)


def test_parts_that_do_not_fit_are_refused(body):
    with pytest.raises(ValueError, match="skin_weights must be"):
        BodyModel(
            body.v_template, body.shapedirs, body.joint_regressor, body.skin_weights.T, body.faces
        )
    with pytest.raises(ValueError, match="faces must hold vertex indices"):
        BodyModel(
            body.v_template,
            body.shapedirs,
            body.joint_regressor,
            body.skin_weights,
            body.faces + 10_000,
        )


def test_embedded_body_is_loaded_once():
    assert load_body() is load_body()


def test_a_body_needs_pose_correctives_of_its_own_size(body):
    with pytest.raises(ValueError, match=r"posedirs must be \(6879, 3, 207\)"):
        replace(body, posedirs=torch.zeros(1, 3, 207))


def test_a_body_needs_faces(body):
    with pytest.raises(ValueError, match="faces must hold at least one triangle"):
        replace(body, faces=torch.zeros(0, 3, dtype=torch.int64))


@pytest.mark.parametrize("mode", [torch.inference_mode, lambda: torch.device("meta")])
def test_the_embedded_body_does_not_depend_on_the_mode_of_its_first_use(mode, monkeypatch):
    monkeypatch.setattr(
        meshes.body.load, "_embedded_body", MadeOnce(meshes.body.load._embedded_body._make)
    )
    with mode():
        found = load_body()
    assert not found.v_template.is_inference()
    assert found.v_template.device.type == "cpu"
