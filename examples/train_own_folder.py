"""Train OG-Net on a folder of images, and draw the page of its evaluation.

    python examples/train_own_folder.py FOLDER runs/own budget.steps=2000

FOLDER is in the layout of Market-1501, or any other that og-reid understands: one folder for each
identity, or a CSV file with the columns path, pid, camid.
"""

import sys
from pathlib import Path

from og_reid.evaluation.results import save_results
from og_reid.pipelines import (
    CompareSpec,
    DataSpec,
    EvaluateSpec,
    TrainSpec,
    compare,
    evaluate,
    train,
)


def main(folder: str, out: str, *settings: str) -> None:
    """A run with its model, its evaluation, and a page with curves of both."""
    data, run = DataSpec(Path(folder)), Path(out)
    train(TrainSpec("synthetic/og_net_small", run, data, settings))
    save_results(evaluate(EvaluateSpec(data, run, name=run.name)), run / "evaluation.json")
    print(compare(CompareSpec(run, html=run / "page.html")))


if __name__ == "__main__":
    main(*sys.argv[1:])
