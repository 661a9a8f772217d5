"""The default pose estimator: BlazePose through mediapipe, offline, on the CPU.

Bazarevsky et al., "BlazePose: On-device Real-time Body Pose tracking", 2020. The weights lie in
the mediapipe 0.10.21 wheel (full model); those of the heavy model are a file of the user, see
`pose.estimators.mediapipe_models`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..keypoints import COCO_17_FEET, Keypoints
from ..runtime.defaults import plain_torch
from .base import Pose, validate_image
from .mediapipe_models import MODELS, find_model, identify_model
from .native_graph import INSTALL, NativeGraph

__all__ = ["MediapipeMaker", "MediapipePose", "visibility_from_raw"]

# BlazePose landmark of each name of COCO_17_FEET, in its order.
_LANDMARKS = (0, 2, 5, 7, 8, 11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32)
_GRAPH = "mediapipe/modules/pose_landmark/pose_landmark_cpu.binarypb"
_HEIGHT = 512  # rows an upright crop is resized to
_LONGEST = 1280  # pixels, limit of the longest side
# Rim around the image, as a part of its height, tried in turn until a person is found. Without a
# rim first: a rim repeats the border pixels, and where the border cuts a person the streaks pass
# for hips and legs (raw visibility 0.95 instead of 0.1 for hips that are outside the image).
_PADDING = (0.0, 0.15, 0.4)


def visibility_from_raw(raw: Tensor) -> Tensor:
    """Visibility of a joint from BlazePose's raw `visibility`.

    The raw value is no occlusion flag. Means over rendered people with known occlusion:
    0.94 for visible joints, 0.76 for self-occluded joints, 0.63 for joints occluded by something
    else or outside. A logistic function with midpoint 0.82 and scale 0.05 separates them:
    0.92, 0.23 and 0.02. It was set by hand from these three means, not fitted to a reliability
    curve: read it as an order, not as a probability.

    Args:
        raw: (...,) in [0, 1].

    Returns:
        (...,) in [0, 1], increasing in `raw`.
    """
    return torch.sigmoid((raw - 0.82) / 0.05)


class MediapipePose:
    """Find one person with mediapipe's BlazePose.

    Keypoints are named `COCO_17_FEET`. `score` is BlazePose's own value for the landmark,
    `visibility` is `visibility_from_raw` of it and 0 outside the image, `xyz` comes from its world
    landmarks. Of several people it takes one without a documented rule: crop the
    person out first.

    The model is loaded at the first call and kept. Each image is processed by itself, so results
    do not depend on earlier images. An object may be pickled (the copy loads its own model) and
    used as a context manager. Threads may share an object: its model runs one image at a time.
    A model that failed is loaded again at the next call. While a model is loaded and first run,
    the lines that the native code writes to the process's stderr are left out, those of other
    threads written when it is done. It cannot run in a process that was forked after its use.

    Args:
        min_confidence: in [0, 1], the detector's threshold.
        model: landmark model: None for the full one of the wheel; else the path of a published
            file, or ``"heavy"`` for its file in `pose.estimators.mediapipe_models.model_folder`.
            The heavy model finds more occluded people, in 1.5 to 2 times the time.

    Raises:
        ValueError: `min_confidence` is out of range, or the model is damaged or another file.
        FileNotFoundError: the model is not there; the message has the command that fetches it.
    """

    def __init__(self, min_confidence: float = 0.3, model: str | Path | None = None) -> None:
        if not 0 <= min_confidence <= 1:
            raise ValueError(f"min_confidence must be in [0, 1]; got {min_confidence}")
        self.min_confidence = min_confidence
        self.model = None if model is None else find_model(model)
        self._name = (MODELS["full"] if self.model is None else identify_model(self.model)).name
        self._graph = NativeGraph(partial(_load, min_confidence, self.model))

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values that determine the results, for `CachedPose`."""
        from importlib.metadata import version

        return {
            "estimator": "mediapipe",
            "mediapipe": version("mediapipe"),
            "model": self._name,
            "min_confidence": self.min_confidence,
            "height": _HEIGHT,
            "padding": list(_PADDING),
        }

    @plain_torch()
    def __call__(self, image: np.ndarray | str | Path) -> Pose:
        """Find a person.

        Args:
            image: (H, W, 3) uint8 RGB, as `read_image` gives it, or the path of an image.

        Returns:
            Keypoints in pixels of `image` and a (H, W) mask; `Keypoints.none` and a zero mask
            when no person is found.

        Raises:
            ValueError: `image` has another shape or type.
            ImportError: mediapipe is missing or too new to carry the weights.
            RuntimeError: mediapipe has run before this process was forked.
        """
        image = validate_image(image)
        height, width = image.shape[:2]
        small = _resize(image)
        inner = (small.shape[0], small.shape[1])
        for padding in _PADDING:
            rim = round(padding * small.shape[0])
            padded = np.pad(small, ((rim, rim), (rim, rim), (0, 0)), mode="edge")
            result = self._graph.run(_found, padded)
            if result.pose_landmarks is not None:
                return _to_pose(result, rim, inner, (height, width))
        return Pose(Keypoints.none(COCO_17_FEET, xyz=True), torch.zeros(height, width))

    def close(self) -> None:
        """Free the native model; the next call loads it again."""
        self._graph.close()

    def __enter__(self) -> MediapipePose:
        """Use as a context manager."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Free the native model."""
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        """State without the native model, which cannot be pickled."""
        return {"min_confidence": self.min_confidence, "model": self.model}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy without a native model."""
        self.__init__(**state)  # type: ignore[misc]


def _found(model: Any, image: np.ndarray) -> Any:
    """Native result, with a copy of the mask: the next run may write to the original."""
    result = model.process(image)
    if result.segmentation_mask is not None:
        result.segmentation_mask = np.array(result.segmentation_mask)
    return result


@dataclass(frozen=True)
class MediapipeMaker:
    """Constructor of `MediapipePose` with a model, equal by value, for worker processes.

    Attributes:
        model: see `MediapipePose`.
    """

    model: str | Path | None = None

    def __call__(self) -> MediapipePose:
        """A new estimator."""
        return MediapipePose(model=self.model)


def _load(min_confidence: float, model: Path | None) -> Any:
    try:
        import mediapipe
    except ImportError as error:
        raise ImportError(f"mediapipe is needed to find people in images; {INSTALL}") from error
    if not hasattr(mediapipe, "solutions"):
        raise ImportError(f"mediapipe {mediapipe.__version__} carries no pose weights; {INSTALL}")
    if model is not None:
        return _load_graph(Path(mediapipe.__file__).parents[1], min_confidence, model)
    return mediapipe.solutions.pose.Pose(
        static_image_mode=True,
        model_complexity=1,
        smooth_landmarks=False,
        enable_segmentation=True,
        smooth_segmentation=False,
        min_detection_confidence=min_confidence,
    )


def _load_graph(root: Path, min_confidence: float, model: Path) -> _Graph:
    """Graph of ``mediapipe.solutions.pose`` with the file of its heaviest model replaced.

    Args:
        root: folder of the package mediapipe.
        min_confidence: the detector's threshold.
        model: file of the landmark model.
    """
    from mediapipe.calculators.core.constant_side_packet_calculator_pb2 import (
        ConstantSidePacketCalculatorOptions,
    )
    from mediapipe.framework import calculator_pb2
    from mediapipe.python._framework_bindings import resource_util, validated_graph_config
    from mediapipe.python.solution_base import SolutionBase

    resource_util.set_resource_dir(str(root))
    whole = validated_graph_config.ValidatedGraphConfig()
    whole.initialize(binary_graph_path=str(root / _GRAPH))
    config = calculator_pb2.CalculatorGraphConfig()
    config.ParseFromString(whole.binary_config)  # with all subgraphs expanded
    paths = [
        packet
        for node in config.node
        if node.options.HasExtension(ConstantSidePacketCalculatorOptions.ext)
        for packet in node.options.Extensions[ConstantSidePacketCalculatorOptions.ext].packet
        if packet.string_value.endswith(f"{MODELS['heavy'].name}.tflite")
    ]
    if len(paths) != 1:
        raise RuntimeError(f"the graph of mediapipe names {len(paths)} heavy models, not one")
    paths[0].string_value = str(model)
    detector = "posedetectioncpu__TensorsToDetectionsCalculator.min_score_thresh"
    return _Graph(
        SolutionBase(
            graph_config=config,
            side_inputs={
                "model_complexity": 2,
                "smooth_landmarks": False,
                "enable_segmentation": True,
                "smooth_segmentation": False,
                "use_prev_landmarks": False,
            },
            calculator_params={detector: min_confidence},
            outputs=["pose_landmarks", "pose_world_landmarks", "segmentation_mask"],
        )
    )


class _Graph:
    """Graph with the methods of ``mediapipe.solutions.pose.Pose`` that are used here."""

    def __init__(self, graph: Any) -> None:
        self._graph = graph

    def process(self, image: np.ndarray) -> Any:
        return self._graph.process({"image": image})

    def close(self) -> None:
        self._graph.close()


def _resize(image: np.ndarray) -> np.ndarray:
    """Upright crops to 512 rows; wide images keep more, as the person is small in them."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Pillow and mediapipe are needed to find keypoints; install them with: "
            "pip install 'og-reid[demo]', or give keypoints"
        ) from error

    height, width = image.shape[:2]
    scale = _HEIGHT / height
    if width > height:
        scale = max(scale, min(1.0, _LONGEST / width))
    scale = min(scale, _LONGEST / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))


def _to_pose(result: Any, rim: int, inner: tuple[int, int], outer: tuple[int, int]) -> Pose:
    """Native result on the padded image -> Pose on the image (`inner`, `outer`: rows, columns)."""
    padded = torch.tensor([inner[1] + 2 * rim, inner[0] + 2 * rim])
    scale = torch.tensor([outer[1] / inner[1], outer[0] / inner[0]])
    marks = [result.pose_landmarks.landmark[i] for i in _LANDMARKS]
    world = [result.pose_world_landmarks.landmark[i] for i in _LANDMARKS]
    xy = (torch.tensor([[m.x, m.y] for m in marks]) * padded - rim) * scale
    score = torch.tensor([m.visibility for m in marks]).clamp(0, 1)
    inside = ((xy >= 0) & (xy <= torch.tensor([outer[1], outer[0]]))).all(-1)
    # BlazePose's world has y down and z away from the camera.
    xyz = torch.tensor([[w.x, -w.y, -w.z] for w in world])
    visibility = visibility_from_raw(score) * inside
    keypoints = Keypoints(xy, score, visibility, COCO_17_FEET, xyz)
    return Pose(keypoints, _to_mask(result.segmentation_mask, rim, outer))


def _to_mask(mask: np.ndarray | None, rim: int, outer: tuple[int, int]) -> Tensor | None:
    if mask is None:
        return None
    from PIL import Image

    inner = mask[rim : mask.shape[0] - rim, rim : mask.shape[1] - rim]
    resized = Image.fromarray(np.ascontiguousarray(inner, dtype=np.float32)).resize(
        (outer[1], outer[0]), Image.Resampling.BILINEAR
    )
    return torch.from_numpy(np.array(resized)).clamp_(0, 1)
