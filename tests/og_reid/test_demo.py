import pytest

from og_reid.demo import DemoSize, run_demo

TINY = DemoSize(
    train_identities=4,
    test_identities=3,
    views=4,
    cameras=2,
    overrides=(
        "budget.steps=3", "data.identities=3", "data.views=2", "data.num_points=96",
        "model.num_points=64", "model.k=4", "optim.norm_batches=1", "device=cpu",
    ),
)  # fmt: skip


def test_the_whole_chain_small(tmp_path):
    """World, lift, training, evaluation, report: everything that the demonstration does."""
    for package in ("mediapipe", "skimage", "matplotlib"):
        pytest.importorskip(package)
    stages = []
    report = run_demo(
        tmp_path,
        size=TINY,
        workers=1,
        progress=lambda stage, done, total, note: stages.append(stage),
    )
    assert list(dict.fromkeys(stages)) == [
        "lifting a photograph", "making a world", "lifting train", "lifting query",
        "lifting gallery", "training", "report",
    ]  # fmt: skip
    page = report.read_text()
    assert page.count("data:image/webp;base64,") == 5
    assert page.count("data:image/png;base64,") == 1
    assert "The queries that went worst." in page
    for text in ("untrained", "trained just now", "shipped weights", "histogram", "occluded"):
        assert text in page
    assert "http://" not in page
    assert "https://" not in page
    assert (tmp_path / "run" / "model.safetensors").is_file()
    world = tmp_path / "world"
    assert len(list((world / "bounding_box_train").iterdir())) == 16
    assert (world / "attributes.csv").is_file()


def test_a_photograph_without_a_person_ends_it_early(tmp_path):
    pytest.importorskip("mediapipe")
    from PIL import Image

    Image.new("RGB", (64, 128)).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match=r"no person was found in .*black\.png"):
        run_demo(tmp_path / "out", tmp_path / "black.png", size=TINY)
