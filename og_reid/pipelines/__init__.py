"""Complete jobs as typed functions: train, evaluate, embed, rank, follow, lift, estimate poses.

Each takes a frozen, self-checking specification and an optional progress callback
(stage, done, total); notes are logged by the logger ``og_reid``. Names are imported on
first use.

Messages name a value by its flag: ``--pose-config`` is the field ``pose_config``. Five names
differ: ``--data`` is `DataSpec.path`, ``--slice-by`` ``by``, ``--flip-tta`` ``mirror``, ``--tta``
``test_view``, and ``--features`` ``descriptor``.

    >>> from og_reid.pipelines import DataSpec
    >>> DataSpec("market", workers=0)
    Traceback (most recent call last):
        ...
    ValueError: workers must be at least 1; got 0
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adaptation import AdaptedRun, AdaptSpec, adapt
    from .cache import CacheSpec, manage_cache
    from .calibration import CalibrateSpec, calibrate
    from .comparison import CompareSpec, compare
    from .data import DataSpec
    from .datasets import PrepareSpec, check_dataset, describe_datasets, prepare_occluded_duke
    from .demo import DemoSize, run_demo
    from .doctor import format_checks, raise_findings, run_checks
    from .embedding import EmbedSpec, embed_inputs
    from .evaluation import EvaluateSpec, evaluate
    from .explanation import ExplainSpec, explain_files
    from .exporting import ExportSpec, export_model
    from .following import FollowSpec, follow_videos
    from .fusion import FuseSpec, describe_fusion, fuse
    from .gallery import GallerySpec, manage_gallery
    from .generation import generate
    from .generation_spec import GeneratedFolder, GenerateSpec
    from .input_files import report_failures
    from .keypoints import KeypointSpec
    from .lifting import LiftSpec, lift_file, lift_folder
    from .packing import PackSpec, pack_clouds
    from .poses import PoseSpec, estimate_poses
    from .ranking import RankSpec, rank_files
    from .run_info import describe_run
    from .run_results import load_run_results
    from .training import TrainSpec, train
    from .viewing import ViewSpec, view_files
    from .words import SearchSpec, WordSearch, WordsReport, WordsSpec, search_words, train_words
    from .world import WorldReport, WorldSpec, make_world

__all__ = [
    "AdaptSpec",
    "AdaptedRun",
    "CacheSpec",
    "CalibrateSpec",
    "CompareSpec",
    "DataSpec",
    "DemoSize",
    "EmbedSpec",
    "EvaluateSpec",
    "ExplainSpec",
    "ExportSpec",
    "FollowSpec",
    "FuseSpec",
    "GallerySpec",
    "GenerateSpec",
    "GeneratedFolder",
    "KeypointSpec",
    "LiftSpec",
    "PackSpec",
    "PoseSpec",
    "PrepareSpec",
    "RankSpec",
    "SearchSpec",
    "TrainSpec",
    "ViewSpec",
    "WordSearch",
    "WordsReport",
    "WordsSpec",
    "WorldReport",
    "WorldSpec",
    "adapt",
    "calibrate",
    "check_dataset",
    "compare",
    "describe_datasets",
    "describe_fusion",
    "describe_run",
    "embed_inputs",
    "estimate_poses",
    "evaluate",
    "explain_files",
    "export_model",
    "follow_videos",
    "format_checks",
    "fuse",
    "generate",
    "lift_file",
    "lift_folder",
    "load_run_results",
    "make_world",
    "manage_cache",
    "manage_gallery",
    "pack_clouds",
    "prepare_occluded_duke",
    "raise_findings",
    "rank_files",
    "report_failures",
    "run_checks",
    "run_demo",
    "search_words",
    "train",
    "train_words",
    "view_files",
]

_HOME = {
    "AdaptSpec": "adaptation",
    "AdaptedRun": "adaptation",
    "CacheSpec": "cache",
    "CalibrateSpec": "calibration",
    "CompareSpec": "comparison",
    "DataSpec": "data",
    "DemoSize": "demo",
    "EmbedSpec": "embedding",
    "EvaluateSpec": "evaluation",
    "ExplainSpec": "explanation",
    "ExportSpec": "exporting",
    "FollowSpec": "following",
    "FuseSpec": "fusion",
    "GallerySpec": "gallery",
    "GenerateSpec": "generation_spec",
    "GeneratedFolder": "generation_spec",
    "KeypointSpec": "keypoints",
    "LiftSpec": "lifting",
    "PackSpec": "packing",
    "PoseSpec": "poses",
    "PrepareSpec": "datasets",
    "RankSpec": "ranking",
    "SearchSpec": "words",
    "TrainSpec": "training",
    "ViewSpec": "viewing",
    "WordSearch": "words",
    "WordsReport": "words",
    "WordsSpec": "words",
    "WorldReport": "world",
    "WorldSpec": "world",
    "adapt": "adaptation",
    "calibrate": "calibration",
    "check_dataset": "datasets",
    "compare": "comparison",
    "describe_datasets": "datasets",
    "describe_fusion": "fusion",
    "describe_run": "run_info",
    "embed_inputs": "embedding",
    "estimate_poses": "poses",
    "evaluate": "evaluation",
    "explain_files": "explanation",
    "export_model": "exporting",
    "follow_videos": "following",
    "format_checks": "doctor",
    "fuse": "fusion",
    "generate": "generation",
    "lift_file": "lifting",
    "lift_folder": "lifting",
    "load_run_results": "run_results",
    "make_world": "world",
    "manage_cache": "cache",
    "manage_gallery": "gallery",
    "pack_clouds": "packing",
    "prepare_occluded_duke": "datasets",
    "raise_findings": "doctor",
    "rank_files": "ranking",
    "report_failures": "input_files",
    "run_checks": "doctor",
    "run_demo": "demo",
    "search_words": "words",
    "train": "training",
    "train_words": "words",
    "view_files": "viewing",
}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
