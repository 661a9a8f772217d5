"""Score the default model on Occluded-DukeMTMC, with and without re-ranking.

    python examples/occluded_duke.py Occluded_Duke results

Build the data set first: og-reid prepare occluded-duke. Writes results/evaluation.json, and
results/page.html with CMC, ROC, DET and histograms of distances.
"""

import sys
from pathlib import Path

from og_reid.evaluation.results import format_table, save_results
from og_reid.pipelines import DataSpec, EvaluateSpec, evaluate


def main(root: str, out: str, verify: bool = True) -> None:
    """Metrics by the protocol of the data set, and their page."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    data = DataSpec(Path(root), dataset="occluded-duke", verify=verify)
    rows = evaluate(EvaluateSpec(data, rerank="original", html=folder / "page.html"))
    save_results(rows, folder / "evaluation.json")
    print(format_table(rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
