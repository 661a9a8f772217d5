import pickle
import sys
import types

import numpy as np
import pytest
import torch

from meshes import load_body
from meshes.body.model import SMPL_PARENTS


def _arrays(body) -> dict[str, np.ndarray]:
    return {
        "v_template": body.v_template.numpy(),
        "shapedirs": body.shapedirs.numpy(),
        "posedirs": np.zeros((body.num_vertices, 3, 207), np.float32),
        "J_regressor": body.joint_regressor.numpy(),
        "weights": body.skin_weights.numpy(),
        "f": body.faces.numpy().astype(np.uint32),
        "kintree_table": np.array([[2**32 - 1, *SMPL_PARENTS[1:]], list(range(24))]),
    }


def _same_body(loaded, body) -> None:
    torch.testing.assert_close(loaded.v_template, body.v_template)
    assert torch.equal(loaded.faces, body.faces)
    betas = torch.ones(1, 10)
    rotations = torch.eye(3).expand(1, 24, 3, 3)
    torch.testing.assert_close(
        loaded.pose(rotations, betas).vertices, body.pose(rotations, betas).vertices
    )


def test_an_npz_file_gives_the_model(body, tmp_path):
    np.savez(tmp_path / "body.npz", **_arrays(body))
    loaded = load_body(tmp_path / "body.npz")
    _same_body(loaded, body)
    for name, index in body.landmarks.items():
        distance = (loaded.v_template[loaded.landmarks[name]] - body.v_template[index]).norm()
        assert distance < 0.06, name


def test_pickle_file_with_sparse_and_autodiff_arrays(body, tmp_path):
    sparse = pytest.importorskip("scipy.sparse")
    arrays = _arrays(body)
    # The original files hold arrays of a package that cannot be installed any more.
    module = types.ModuleType("chumpy.ch")
    module.Ch = type("Ch", (), {"__module__": "chumpy.ch"})
    sys.modules["chumpy"], sys.modules["chumpy.ch"] = types.ModuleType("chumpy"), module
    try:
        wrapped = module.Ch()
        wrapped.x = arrays["shapedirs"]
        content = {
            **arrays,
            "shapedirs": wrapped,
            "J_regressor": sparse.csc_matrix(arrays["J_regressor"]),
        }
        (tmp_path / "body.pkl").write_bytes(pickle.dumps(content, protocol=2))
    finally:
        del sys.modules["chumpy"], sys.modules["chumpy.ch"]
    _same_body(load_body(tmp_path / "body.pkl"), body)


class _Attack:
    def __reduce__(self):
        return eval, ("__import__('pathlib').Path('owned').touch()",)


def test_pickle_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "body.pkl").write_bytes(pickle.dumps({"v_template": _Attack()}))
    with pytest.raises(ValueError, match=r"refused: the file wants to run builtins\.eval"):
        load_body(tmp_path / "body.pkl")
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["body.pkl", "body.npz"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"\x80\x04K\x01."])
def test_damaged_files_are_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=name):
        load_body(tmp_path / name)


def test_missing_arrays_and_endings(body, tmp_path):
    arrays = _arrays(body)
    del arrays["weights"]
    np.savez(tmp_path / "body.npz", **arrays)
    with pytest.raises(ValueError, match="weights"):
        load_body(tmp_path / "body.npz")
    (tmp_path / "body.fbx").write_bytes(b"")
    with pytest.raises(ValueError, match=r"\.npz or \.pkl"):
        load_body(tmp_path / "body.fbx")
    with pytest.raises(FileNotFoundError):
        load_body(tmp_path / "none.npz")


def test_wrong_number_of_joints_is_refused(body, tmp_path):
    arrays = _arrays(body)
    arrays["weights"] = arrays["weights"][:, :20]
    np.savez(tmp_path / "body.npz", **arrays)
    with pytest.raises(ValueError, match="SMPL's joints"):
        load_body(tmp_path / "body.npz")
