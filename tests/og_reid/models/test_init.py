"""Networks are read, and drawn by a generator, without a look at torch's global random stream."""

import pytest
import torch
from torch import nn

from og_reid.inference.preprocessing import ImagePreprocessing, Preprocessing
from og_reid.inference.pretrained import _cloud_model, _default_model, load_model, save_network
from og_reid.losses import MarginSoftmax
from og_reid.models import DGCNN, OGNet, PointNet2
from og_reid.models.heads import BNNeck, StripeHeads
from og_reid.models.init import SkipInit
from og_reid.train.checkpoint import load_checkpoint, save_checkpoint
from pose.runtime.torchvision_import import import_torchvision

SMALL = {"dims": (4, 8), "k": 3, "num_points": 16, "embedding_dim": 8, "residual": True}

NETWORKS = {
    "og-net": lambda g: OGNet(**SMALL, num_classes=5, generator=g),
    "dgcnn": lambda g: DGCNN(num_classes=5, generator=g),
    "pointnet2": lambda g: PointNet2(num_classes=5, multi_scale=True, generator=g),
    "neck": lambda g: BNNeck(8, 5, generator=g),
    "stripes": lambda g: StripeHeads(8, 5, [[1, 2]], generator=g),
    "stripes with necks": lambda g: StripeHeads(8, 5, [[1, 2]], neck=True, generator=g),
}


@pytest.fixture
def stream():
    """The state of the global stream, which is looked at again at the end."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


def _drawn(network: str) -> dict[str, torch.Tensor]:
    return NETWORKS[network](torch.Generator().manual_seed(1)).state_dict()


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.usefixtures("stream")
def test_a_generator_draws_all_weights(network):
    once = _drawn(network)
    with torch.random.fork_rng([]):
        torch.rand(7)
        again = _drawn(network)
    for name, weight in once.items():
        assert torch.equal(weight, again[name]), name
        if weight.ndim > 1:
            assert weight.std() > 1e-8, name


def test_without_a_generator_the_global_stream_draws():
    with torch.random.fork_rng([]):
        network, other = OGNet(**SMALL), OGNet(**SMALL)
    assert not torch.equal(network.conv[0].weight, other.conv[0].weight)


@pytest.mark.usefixtures("stream")
def test_reading_a_model_draws_nothing(tmp_path):
    network = OGNet(**SMALL, generator=torch.Generator().manual_seed(1))
    network.add_neck()
    save_network(tmp_path / "model.safetensors", network, Preprocessing(16))
    read = load_model(tmp_path / "model.safetensors").model.state_dict()
    assert all(torch.equal(weight, read[name]) for name, weight in network.state_dict().items())
    save_checkpoint(tmp_path / "state.pt", {"origin": {}, "model": network.state_dict()})
    load_checkpoint(tmp_path / "state.pt")
    for made in (_default_model, _cloud_model):
        made.cache_clear()
    load_model()
    load_model("cloud")


@pytest.mark.usefixtures("stream")
def test_reading_a_snapshot_draws_nothing():
    network = OGNet(**SMALL, mode="reference", generator=torch.Generator().manual_seed(1))
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    read = OGNet.from_reference(weights, "ognet-small", **SMALL)
    assert torch.equal(read.conv[0].weight, network.conv[0].weight)


@pytest.mark.parametrize("kind", ["parts", "stripes"])
@pytest.mark.usefixtures("stream")
def test_reading_a_network_of_images_draws_nothing(tmp_path, kind):
    try:
        import_torchvision("the test", "make test")
    except ImportError as error:
        pytest.skip(str(error))
    from og_reid.models import PGFA, StripeNet

    generator = torch.Generator().manual_seed(1)
    make = PGFA if kind == "parts" else StripeNet
    network = make(3, generator=generator)
    save_network(tmp_path / "people.safetensors", network, ImagePreprocessing())
    read = load_model(tmp_path / "people.safetensors").model.state_dict()
    assert all(torch.equal(weight, read[name]) for name, weight in network.state_dict().items())


def test_undrawn_layers_are_zeros_in_this_thread_only():
    with SkipInit():
        layer = nn.Linear(3, 4)
        own = torch.empty(5).normal_(generator=torch.Generator().manual_seed(0))
    assert not layer.weight.any()
    assert layer.weight.requires_grad
    assert own.all()
    assert nn.Linear(3, 4).weight.any()


@pytest.mark.usefixtures("stream")
def test_losses_with_a_generator_draw_from_it():
    pytest.importorskip("pytorch_metric_learning")
    for kind in ("arcface", "cosface", "sphereface", "circle"):
        MarginSoftmax(kind, 8, 5, generator=torch.Generator().manual_seed(0))
