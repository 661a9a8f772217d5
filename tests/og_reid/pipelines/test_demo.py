import pytest
import torch

from browser import audit
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


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory):
    """Folder of a demonstration of every stage, and the stages that it named."""
    for package in ("mediapipe", "skimage", "matplotlib"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("demo")
    stages = []
    run_demo(
        folder,
        size=TINY,
        workers=1,
        progress=lambda stage, done, total, note: stages.append(stage),
    )
    return folder, stages


def test_a_small_demo_runs_all_stages(small_demo):
    """World, lift, training, evaluation, report: everything that the demonstration does."""
    folder, stages = small_demo
    assert list(dict.fromkeys(stages)) == [
        "lifting an image", "making a world", "lifting images", "training", "report",
    ]  # fmt: skip
    page = (folder / "report.html").read_text()
    text, _, rest = page.partition("<iframe")
    text += rest.partition("</iframe>")[2]
    assert text.count("data:image/webp;base64,") == 6
    assert text.count("<svg") == 1
    assert "Queries with the worst rankings." in text
    for words in (
        "untrained", "trained just now", "shipped weights", "histogram", "occluded",
        "dense local features, the default", "the default unmasked",
    ):  # fmt: skip
        assert words in text
    assert "http://" not in text
    assert "https://" not in text
    assert (folder / "run" / "model.safetensors").is_file()
    world = folder / "world"
    assert len(list((world / "bounding_box_train").iterdir())) == 16
    assert (world / "attributes.csv").is_file()


def test_the_report_is_small_and_shows_people_in_3d(small_demo, browsing):
    """What it shows does not grow with the world: a fixed number of people and rankings."""
    report = small_demo[0] / "report.html"
    assert report.stat().st_size < 4e6  # larger worlds have larger images: under 6 MB in all
    page = browsing.open(report, width=1200, height=900)
    frame = page.locator("iframe")
    frame.scroll_into_view_if_needed()
    inner = page.frames[1]
    inner.wait_for_function("globalThis.viewer !== undefined")
    names = inner.locator(".cell .name").all_inner_texts()
    assert names[0].strip() == "portrait"
    assert 2 <= len(names) <= 4
    assert "ID " in names[1]
    before = inner.evaluate("viewer.screenshot().toDataURL()")
    box = frame.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 200, y)
    page.mouse.up()
    assert inner.evaluate("viewer.screenshot().toDataURL()") != before
    assert audit(page) == []
    assert page.locator("img.paper-only").is_hidden()
    page.emulate_media(media="print")
    assert page.locator("img.paper-only").is_visible()
    assert frame.is_hidden()


def test_the_budget_of_the_demo_is_in_steps():
    budget = load_config("synthetic/og_net_small", DemoSize().overrides).budget
    assert budget.steps == 240
    assert (budget.wall_minutes, budget.cpu_minutes, budget.epochs) == (None, None, None)


def test_training_does_not_depend_on_the_threads_of_the_machine(monkeypatch):
    seen = []

    def stop(*_):
        seen.append(torch.get_num_threads())
        raise InterruptedError

    monkeypatch.setattr(demo, "lift_photo", lambda *_: None)
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

    monkeypatch.setattr(demo, "lift_photo", stop)
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
