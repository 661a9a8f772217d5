"""Tables and plot of the occlusion benchmark."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from heldout import HeldOutSet, evaluate_groups, mask_quality

from og_reid.evaluation import bootstrap_interval

__all__ = ["Cell", "mask_lines", "plot", "row_cells", "tables"]

_REPEATS = 1000
_KINDS = ("bin", "pram", "scaffold", "ladder", "stall", "bollards", "trolley", "wheelchair",
          "clothes rack", "machine", "barrier", "balloons", "branches", "planter", "person",
          "cut")  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """Means of one row in one group of queries, in [0, 1], with 95 % intervals over identities."""

    queries: int
    rank1: float
    rank1_interval: tuple[float, float]
    mean_ap: float
    mean_ap_interval: tuple[float, float]


def row_cells(similarity: Tensor, images: HeldOutSet, queries: Tensor) -> dict[str, Cell]:
    """Cells of one row by group of queries."""
    cells = {}
    for group, (metrics, rows) in evaluate_groups(-similarity, images, queries).items():
        identity = images.identity[queries[rows]]
        first, precision = (metrics.first_match == 1).double(), metrics.average_precision
        intervals = [bootstrap_interval(values, identity, repeats=_REPEATS)
                     for values in (first, precision)]  # fmt: skip
        cells[group] = Cell(len(rows), float(first.mean()), intervals[0],
                            float(precision.mean()), intervals[1])  # fmt: skip
    return cells


def summary(rows: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    """Table of mAP by hidden fraction, one line a row."""
    groups = list(next(iter(rows.values())))
    lines = ["", f"{'mAP, %':34}" + "".join(f"{group:>16}" for group in groups)]
    for name, cells in rows.items():
        figures = "".join(f"{100 * cells[group].mean_ap:16.1f}" for group in groups)
        lines.append(f"{name:34}{figures}")
    return lines


def tables(rows: Mapping[str, Mapping[str, Cell]]) -> list[str]:
    """One table per group of queries: rows by name, rank-1 and mAP in %."""
    lines: list[str] = []
    groups = list(next(iter(rows.values())))
    for group in groups:
        count = next(iter(rows.values()))[group].queries
        title = f"{group} hidden" if group.endswith("%") else group
        lines += ["", f"{title}, {count} queries", f"{'':34}{'rank-1':>22}{'mAP':>22}"]
        for name, cells in rows.items():
            cell = cells[group]
            lines.append(
                f"{name:34}{_figure(cell.rank1, cell.rank1_interval):>22}"
                f"{_figure(cell.mean_ap, cell.mean_ap_interval):>22}"
            )
    return lines


def _figure(value: float, interval: tuple[float, float]) -> str:
    low, high = interval
    return f"{100 * value:.1f} [{100 * low:.1f}, {100 * high:.1f}]"


def mask_lines(own: Tensor, images: HeldOutSet) -> list[str]:
    """Quality of own-surface probabilities (N, h, w), overall and by kind of occlusion."""
    names = ("auc", "auc inside", "ece", "recall", "precision", "other weight")
    lines = ["", f"{'own-surface map':24}" + "".join(f"{name:>14}" for name in names)]
    kinds = torch.tensor([_KINDS.index(k) if k in _KINDS else -1 for k in images.occluder])
    groups = {"all": torch.arange(len(own)), "clear": (kinds < 0).nonzero()[:, 0],
              "occluded": (kinds >= 0).nonzero()[:, 0]}  # fmt: skip
    for number, kind in enumerate(_KINDS):
        groups[f"  {kind}"] = (kinds == number).nonzero()[:, 0]
    groups |= _wardrobe(images)
    for name, rows in groups.items():
        if not len(rows):
            continue
        found = mask_quality(own[rows], images, rows)
        lines.append(f"{name:24}" + "".join(f"{found[each]:14.3f}" for each in names))
    return lines


def _wardrobe(images: HeldOutSet) -> dict[str, Tensor]:
    """Rows of people in long coats, skirts, ponchos, dark clothes, and with bags."""
    from meshes.world.heldout.wardrobe import draw_held_out_identity

    people = [draw_held_out_identity(number) for number in range(int(images.identity.max()) + 1)]
    tests = {
        "coats": [p.jacket is not None and p.jacket.kind == "coat" for p in people],
        "skirts and dresses": [p.bottom.kind in ("skirt", "dress") for p in people],
        "ponchos": [p.cape is not None for p in people],
        "bags": [p.bag != "none" for p in people],
        "dark clothes": [_dark(p) for p in people],
    }
    return {
        name: torch.tensor(flags)[images.identity].nonzero()[:, 0] for name, flags in tests.items()
    }


def _dark(person: object) -> bool:
    garment = person.cape or person.jacket or person.top  # type: ignore[attr-defined]
    both = (garment.fabric.colors[0], person.bottom.fabric.colors[0])  # type: ignore[attr-defined]
    return all(sum(color) / 3 < 0.22 for color in both)


def plot(rows: Mapping[str, Mapping[str, Cell]], path: Path) -> None:
    """Curves of mAP and rank-1 against the hidden fraction, with 95 % bands."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.6), sharey=True)
    levels = [g for g in next(iter(rows.values())) if g.endswith("%")]
    x = [int(level.split()[0]) for level in levels]
    for name, cells in rows.items():
        for axis, metric in zip(axes, ("mean_ap", "rank1"), strict=True):
            middle = [100 * getattr(cells[level], metric) for level in levels]
            low, high = (
                [100 * getattr(cells[level], f"{metric}_interval")[side] for level in levels]
                for side in (0, 1)
            )
            (line,) = axis.plot(x, middle, marker="o", label=name)
            axis.fill_between(x, low, high, color=line.get_color(), alpha=0.12)
    for axis, title in zip(axes, ("mAP, %", "rank-1, %"), strict=True):
        axis.set(xlabel="hidden fraction of the person, %", title=title, ylim=(0, 100), xticks=x)
        axis.grid(alpha=0.3)
    axes[1].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
