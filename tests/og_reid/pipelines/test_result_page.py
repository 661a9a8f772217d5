"""Page of evaluations: the numbers of its tables, its curves, and runs that lack some."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from browser import Browsing, audit
from og_reid.cli.__main__ import main
from og_reid.data.datasets.market import Attributes
from og_reid.evaluation.results import ResultRow, save_results
from og_reid.pipelines.evaluation import score_distances
from og_reid.pipelines.result_page import verify_searches, write_result_page
from og_reid.retrieval.labels import Labels
from og_reid.train.run_log import CSVLogger, StepLog

pytest.importorskip("matplotlib")


class Images:
    """Labelled images without pixels."""

    def __init__(self, pids: torch.Tensor, camera: int) -> None:
        self.pids, self.camids = pids, torch.full_like(pids, camera)
        self.names = tuple(f"{i}_{camera}.png" for i in range(len(pids)))

    def __len__(self) -> int:
        return len(self.pids)


IDENTITIES = torch.arange(12).repeat_interleave(2)
QUERY, GALLERY = Images(IDENTITIES, 1), Images(IDENTITIES, 2)
KNOWN = {
    name: Attributes("query", "wall" if i % 2 == 0 else "none", 0.5, 0.0)
    for i, name in enumerate(QUERY.names)
}


def search(noise: float) -> torch.Tensor:
    """Distances of images of 12 identities on a line."""
    rng = np.random.default_rng(1)
    place = [IDENTITIES.numpy() + noise * rng.normal(size=24) for _ in range(2)]
    return torch.from_numpy(abs(place[0][:, None] - place[1])).float()


def scored(noise: float, method: str = "net") -> tuple[ResultRow, ...]:
    return score_distances({method: search(noise)}, QUERY, GALLERY, attributes=KNOWN)


def run(folder: Path, noise: float, *, log: bool = True) -> Path:
    """Folder of a run with a model, a log and an evaluation."""
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    save_results(scored(noise, folder.name), folder / "evaluation.json")
    if log:
        logger = CSVLogger(folder / "log.csv", 0)
        for step in range(1, 5):
            valid = {"mAP": 0.1 * step, "rank1": 0.2 * step} if step % 2 == 0 else {}
            logger.write(StepLog(step, step / 4, 1 / step, 0.5, 0.1, 1.0, 1.0, **valid))
    return folder


def test_a_page_compares_two_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], browsing: Browsing
) -> None:
    first, second = run(tmp_path / "plain", 0.9), run(tmp_path / "better & <b>", 0.3)
    page = tmp_path / "pages" / "both.html"
    assert main(["compare", str(first), str(second), "--html", str(page)]) == 0
    assert f"page: {page}" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "<title>plain and better &amp; &lt;b&gt;</title>" in text
    assert "<b>" not in text
    for row in (*scored(0.9), *scored(0.3)):
        assert f'<td class="number">{100 * row.metrics.mAP:.1f}</td>' in text
    for title in ("CMC", "slices (queries)", "changes by query", "loss", "mAP", "rank-1"):
        assert f">{title}</text>" in text, title
    for missing in ("ROC", "DET"):  # files of evaluations hold no distances
        assert f">{missing}</text>" not in text
    for name in ("occluded (12)", "unoccluded (12)", "all (24)"):
        assert f">{name}</text>" in text
    change = 100 * (scored(0.3)[0].metrics.mAP - scored(0.9)[0].metrics.mAP)
    assert f">{change:+.1f}</td>" in text
    ids = re.findall(r'\bid="([^"]*)"', text)
    assert len(set(ids)) == len(ids)
    for width in (360, 3840):
        shown = browsing.open(page, width=width, dark=width == 360)
        root = "document.documentElement"
        assert shown.evaluate(f"{root}.scrollWidth <= {root}.clientWidth")
    assert audit(shown) == []


def test_one_evaluation_without_a_log_has_its_page(tmp_path: Path) -> None:
    first = run(tmp_path / "plain", 0.9, log=False)
    page = tmp_path / "page.html"
    assert main(["compare", str(first), "--html", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "Training" not in text
    assert "Second run" not in text
    with pytest.raises(ValueError, match="at least one row"):
        write_result_page(page, {"none": ()})
    assert main(["compare", str(first), "--html", str(tmp_path)]) == 1


def test_runs_of_one_name_stay_apart(tmp_path: Path) -> None:
    runs = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        runs.append(run(tmp_path / name / "run", 0.5, log=False))
    page = tmp_path / "page.html"
    for pair in (runs, [runs[0], runs[0]]):
        assert main(["compare", *map(str, pair), "--html", str(page)]) == 0
        text = page.read_text(encoding="utf-8")
        assert len(set(re.findall(r"<tr><td>(.*?)</td><td>run</td>", text))) == 2


def test_distances_have_roc_det_and_histograms(tmp_path: Path) -> None:
    searches = {"net": search(0.6), "features": (torch.eye(24), torch.eye(24))}
    labels = Labels.of(QUERY, GALLERY)
    rates = verify_searches(searches, labels)
    assert rates["net"].num_genuine == rates["features"].num_genuine == 48
    page = tmp_path / "page.html"
    write_result_page(page, {"net": scored(0.6)}, rates=rates)
    text = page.read_text(encoding="utf-8")
    for title in ("ROC", "DET", "distances: net", "distances: features"):
        assert f">{title}</text>" in text
