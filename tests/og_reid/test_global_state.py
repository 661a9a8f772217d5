"""Results do not depend on the caller's torch state, and calls leave the process as it was."""

import ast
from pathlib import Path

import pytest
import torch

from interpreter import run_python

pytest.importorskip("mediapipe")
pytest.importorskip("skimage")

ROOT = Path(__file__).resolve().parents[2]

HEAD = f"""
import sys, tempfile
sys.path.insert(0, {str(ROOT / "tests/shared")!r})
from pathlib import Path
import torch
torch.set_num_threads(1)
from caller_states import STATES, process_state
"""

RESULTS = """
from public_calls import calls

found = {}
def look():
    for name, call in calls(Path(tempfile.mkdtemp(dir=sys.argv[2]))).items():
        result = call()
        found[name] = [result] if isinstance(result, torch.Tensor) else list(result)

if sys.argv[1] == "plain":
    look()
else:
    with STATES[sys.argv[1]]():
        look()
torch.save({name: [each.detach().clone() for each in of] for name, of in found.items()},
           Path(sys.argv[2], "found.pt"))
"""


def _results(state: str, folder: Path) -> dict[str, list[torch.Tensor]]:
    folder.mkdir(exist_ok=True)
    done = run_python(HEAD + RESULTS, state, str(folder), seconds=180, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    return torch.load(folder / "found.pt")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return _results("plain", tmp_path_factory.mktemp("plain"))


@pytest.mark.parametrize("state", ["float64", "inference", "bf16", "fp16", "set meta"])
def test_first_calls_in_a_state_of_the_caller_are_the_plain_ones(state, plain, tmp_path):
    found = _results(state, tmp_path)
    assert found.keys() == plain.keys()
    for name, results in found.items():
        for got, expected in zip(results, plain[name], strict=True):
            assert (got.dtype, got.device) == (expected.dtype, expected.device), name
            if got.dtype == torch.uint8:  # an image
                assert (got.int() - expected.int()).abs().max() <= 1, name
            else:
                torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5, msg=name)


LATER = """
import og_reid
from meshes import fit_body, load_body
from og_reid import ops
import public_calls as shared

with STATES[sys.argv[1]]():
    first = og_reid.embed(shared.TABLE)
    og_reid.lift(shared.IMAGE, shared.STANDING)
    ops.knn(shared.POINTS, 4)
model = og_reid.load_model("cloud").model
assert all(not each.is_inference() and each.dtype == torch.float32 and each.is_cpu
           for each in model.parameters())
assert torch.allclose(og_reid.embed(shared.TABLE), first, atol=1e-5)
body = load_body()
betas = torch.zeros(1, 10, requires_grad=True)
eye = torch.eye(3).expand(1, 24, 3, 3)
body.pose(eye, betas).vertices.square().sum().backward()
assert betas.grad.isfinite().all() and betas.grad.any()
model.train()
points = torch.rand(4, model.num_points, 3)
loss = model(points, torch.rand(points.shape) - 0.5).square().sum()
loss.backward()
assert all(each.grad is not None for each in model.conv.parameters())
weights = ops.gather_neighbors(points.requires_grad_(), ops.knn(points, 4)).sum()
weights.backward()
print("trained")
"""


@pytest.mark.parametrize("state", ["float64", "inference", "set meta"])
def test_after_first_calls_in_a_state_of_the_caller_one_can_train(state):
    done = run_python(HEAD + LATER, state, seconds=120, OMP_NUM_THREADS="1")
    assert (done.returncode, done.stdout) == (0, "trained\n"), done.stderr


TRAINING = """
from random_clouds import cloud
from og_reid.config.load import from_dict
from og_reid.data import CloudSet
from og_reid.train import train

clouds = CloudSet.from_clouds((cloud(n), n // 4, n % 4, f"{n}.jpg") for n in range(32))
config = from_dict({
    "data": {"num_points": 48, "num_ids": 4, "num_instances": 2},
    "model": {"num_points": 48, "k": 4, "ball_samples": [2, 2, 4], "embedding_dim": 8},
    "budget": {"steps": 2}, "device": "cpu",
})

def losses():
    return [each.loss for each in train(config, clouds, out_dir=tempfile.mkdtemp()).history]

plain = losses()
for name in ("float64", "inference", "no_grad", "bf16", "fp16", "meta", "set meta"):
    with STATES[name]():
        assert losses() == plain, name
print("equal")
"""


def test_a_run_of_training_is_the_same_in_every_state():
    done = run_python(HEAD + TRAINING, seconds=180, OMP_NUM_THREADS="1")
    assert (done.returncode, done.stdout) == (0, "equal\n"), done.stderr


LEFT = """
import random
import scipy.sparse, scipy.special, trimesh  # the first import of them brings filters of their own
from public_calls import calls

random.seed(1)
before = process_state()
for name, call in calls(Path(tempfile.mkdtemp(dir=sys.argv[1]))).items():
    call()
    now = process_state()
    moved = {key: (before[key], now[key]) for key in before if now[key] != before[key]}
    assert not moved, (name, moved)
print("as found")
"""


def test_no_call_moves_the_state_of_the_process(tmp_path):
    done = run_python(HEAD + LEFT, str(tmp_path), seconds=180, OMP_NUM_THREADS="1")
    assert (done.returncode, done.stdout) == (0, "as found\n"), done.stderr


def test_a_run_of_training_moves_no_state_of_the_process(tmp_path):
    program = TRAINING[: TRAINING.index("plain =")] + (
        # An optimiser of torch imports it, and the first import brings filters of its own.
        "import torch._dynamo\n"
        "before = process_state(); losses(); now = process_state()\n"
        "moved = [key for key in before if now[key] != before[key]]\n"
        "print(moved)\n"
    )
    done = run_python(HEAD + program, seconds=180, OMP_NUM_THREADS="1")
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_tensors_of_modules_name_their_dtype_and_device():
    """They are made at import, in whatever state the importing process is then."""
    unnamed = []
    for path in (p for room in ("pose", "meshes", "og_reid") for p in (ROOT / room).rglob("*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                continue
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and ast.unparse(call.func) in _FACTORIES:
                    named = {keyword.arg for keyword in call.keywords}
                    if not {"dtype", "device"} <= named:
                        unnamed.append(f"{path.relative_to(ROOT)}:{call.lineno}")
    assert not unnamed


_FACTORIES = {
    f"torch.{name}"
    for name in ("arange", "empty", "eye", "full", "linspace", "ones", "tensor", "zeros")
}
