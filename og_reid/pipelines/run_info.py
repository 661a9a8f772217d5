"""Settings, provenance and progress of a run, a model or a checkpoint, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files.printable import printable
from .input_files import check_exists

if TYPE_CHECKING:
    from ..inference.fusion import Fusion
    from ..train import StepLog

__all__ = ["describe_run"]


def describe_run(path: str | Path) -> str:
    """Settings, versions, source and seed of a run, and its last metrics, as lines.

    Args:
        path: Folder of a run, or a model or checkpoint in it.

    Raises:
        ValueError: The path is missing, or no run.
    """
    folder = Path(path)
    check_exists(folder, "give the folder of a run, or a file of one")

    from ..inference.fused_encoder import read_fused_record
    from ..inference.fusion import Fusion
    from ..inference.fusion_file import FUSION_FILE, read_fusion_record

    if (folder / FUSION_FILE).is_file():
        record = read_fusion_record(folder)
        people = frozenset(record["people"])
        fusion = Fusion(record["second"], record["parts"], record["mAP"], people)
        return "\n".join(_fusion(folder, fusion, record["origin"]))
    if folder.suffix == ".safetensors" and folder.is_file():
        fused = read_fused_record(folder)
        if fused is not None:
            return "\n".join(_fusion(folder, *fused))
    return "\n".join(_run(folder))


def _run(folder: Path) -> list[str]:
    from ..train import BEST_FILE, LOG_FILE, MODEL_FILE, STATE_FILE, read_log
    from ..train.checkpoint import read_provenance

    files = [folder / name for name in (MODEL_FILE, STATE_FILE, BEST_FILE)]
    files = [each for each in files if each.is_file()] if folder.is_dir() else [folder]
    if not files:
        raise ValueError(f"{folder} holds no {MODEL_FILE} and no {STATE_FILE}: it is not a run yet")
    try:
        about = read_provenance(files[0])
    except ValueError as error:
        if folder.is_dir() or folder.suffix == ".safetensors":
            raise
        raise ValueError(
            f"{folder} is no run of og-reid train, nor a model or checkpoint of one: give the "
            "folder that --out named"
        ) from error
    step, seed = (printable(about.get(name, "unknown")) for name in ("step", "seed"))
    lines = [f"{files[0]}: after step {step}, seed {seed}"]
    others = {each: read_provenance(each) for each in files[1:]}
    for file, other in others.items():
        lines.append(f"{file}: after step {printable(other.get('step', 'unknown'))}")
    lines += _source(about)
    records = read_log(folder / LOG_FILE) if folder.is_dir() else ()
    lines += _metrics(records, about.get("validation"), others.get(folder / BEST_FILE, {}))
    return [*lines, _yaml(about.get("config", {}))]


def _metrics(
    records: Sequence[StepLog], final: Mapping[str, Any] | None, best: Mapping[str, Any]
) -> list[str]:
    """Metrics of the last step, and of the last, the final and the best validation."""
    lines = []
    if records:
        last = records[-1]
        lines.append(
            f"last step: {last.step} ({100 * last.fraction:.0f} % of the budget), loss "
            f"{last.loss:.4f}, accuracy {last.accuracy:.3f}, {last.wall_seconds / 60:.1f} minutes"
        )
    validated = [
        (f"step {each.step}", each.mAP, each.rank1)
        for each in records
        if each.mAP is not None and each.rank1 is not None
    ]
    shown = [("last validation", validated[-1])] if validated else []
    metrics = list(validated)
    if final is not None:
        metrics.append(("the finished model", final["mAP"], final["rank1"]))
        shown.append(("final validation", metrics[-1]))
    if "validation" in best:  # perhaps of the final network of a run that was then resumed
        chosen = best["validation"]
        metrics.append((f"step {best['step']}", chosen["mAP"], chosen["rank1"]))
    if validated:
        shown.append(("best", max(metrics, key=lambda each: each[1])))
    for title, (when, precision, first) in shown:
        lines.append(f"{title}: {when}, mAP {precision:.4f}, rank-1 {first:.4f}")
    return lines


def _fusion(path: Path, fusion: Fusion, about: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{path}: fraction of the second model {fusion.second:.2f}, weight of each part "
        f"{fusion.parts:.2f}"
    ]
    if fusion.mAP is not None:
        lines.append(f"chosen on {len(fusion.people)} identities: mAP {fusion.mAP:.4f}")
    return [*lines, *_source(about), _yaml(about["config"])]


def _source(about: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in about.get("versions", {}).items())
    lines = [f"versions: {printable(versions)}"]
    source = about.get("source")
    if source is not None:
        changed = ", with changes" if source["changed"] else ""
        lines.append(f"source: {printable(source['commit'])}{changed}")
    return lines


def _yaml(config: object) -> str:
    import yaml

    return yaml.safe_dump(config, sort_keys=False, default_flow_style=None).rstrip("\n")
