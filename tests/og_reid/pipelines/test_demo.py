import pytest
import torch

from og_reid.config.load import load_config
from og_reid.data import Splits
from og_reid.pipelines import demo, demo_forecast
from og_reid.pipelines.demo import DemoSize, run_demo

TINY = DemoSize(
    train_identities=4,
    test_identities=3,
    views=4,
    cameras=2,
    overrides=(
        "budget.steps=3", "data.num_ids=3", "data.num_instances=2", "data.num_points=96",
        "model.num_points=64", "model.k=4", "optim.bn_update_batches=1", "device=cpu",
    ),
)  # fmt: skip


def test_a_small_demo_runs_all_stages(tmp_path):
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
        "lifting an image", "making a world", "lifting images", "training", "report",
    ]  # fmt: skip
    page = report.read_text()
    assert page.count("data:image/webp;base64,") == 5
    assert page.count("<svg") == 1
    assert "Queries with the worst rankings." in page
    for text in (
        "untrained", "trained just now", "shipped weights", "histogram", "occluded",
        "dense local features, the default", "the default unmasked",
    ):  # fmt: skip
        assert text in page
    assert "http://" not in page
    assert "https://" not in page
    assert (tmp_path / "run" / "model.safetensors").is_file()
    world = tmp_path / "world"
    assert len(list((world / "bounding_box_train").iterdir())) == 16
    assert (world / "attributes.csv").is_file()


def test_the_budget_of_the_demo_is_in_steps():
    budget = load_config("synthetic/og_net_small", DemoSize().overrides).budget
    assert budget.steps == 240
    assert (budget.wall_minutes, budget.cpu_minutes, budget.epochs) == (None, None, None)


def test_training_does_not_depend_on_the_threads_of_the_machine(monkeypatch):
    seen = []

    def stop(*_):
        seen.append(torch.get_num_threads())
        raise InterruptedError

    monkeypatch.setattr(demo, "photo_section", lambda *_: None)
    monkeypatch.setattr(demo, "_world", lambda *_: (Splits((), (), ()), {}))
    monkeypatch.setattr(demo, "_lift", lambda *_: {"query": None, "gallery": None})
    monkeypatch.setattr(demo, "_train", stop)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            with pytest.raises(InterruptedError):
                run_demo("unused")
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
    assert seen == [1, 1]


def test_a_forecast_of_the_duration_is_printed_first(monkeypatch):
    notes = []

    def stop(_, tell):
        tell("lifting an image", 0, 1, "")
        tell("making a world", 0, 960, "")
        tell("training", 0.5, 1.0, "loss 1.00")
        raise InterruptedError

    monkeypatch.setattr(demo, "photo_section", stop)
    monkeypatch.setattr(demo_forecast, "time_per_image", lambda: 0.036)
    with pytest.raises(InterruptedError):
        run_demo("unused", workers=1, progress=lambda stage, done, total, note: notes.append(note))
    assert notes[:2] == ["about 4 minutes in all", "about 4 minutes left"]
    assert notes[2].startswith("loss 1.00, about ")


def test_an_image_without_a_person_ends_the_demo_early(tmp_path):
    pytest.importorskip("mediapipe")
    from PIL import Image

    Image.new("RGB", (64, 128)).save(tmp_path / "black.png")
    with pytest.raises(ValueError, match=r"no person was found in .*black\.png"):
        run_demo(tmp_path / "out", tmp_path / "black.png", size=TINY)


def test_the_forecast_excludes_results_of_an_earlier_run(tmp_path, monkeypatch):
    monkeypatch.setattr(demo_forecast, "time_per_image", lambda: 0.036)
    notes = []

    def start() -> str:
        tell = demo_forecast.with_forecast(
            lambda stage, done, total, note: notes.append(note), DemoSize(), 240, 1, tmp_path
        )
        tell("lifting an image", 0, 1, "")
        return notes[-1]

    assert start() == "about 4 minutes in all"
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").touch()
    assert start() == "about 2 minutes in all"
