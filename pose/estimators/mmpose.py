"""Pose estimation by mmpose's top-down networks: RTMPose, HRNet, SimpleBaseline, ViTPose, ..."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..keypoints import Keypoints
from ..person_selection import Target
from ..runtime.defaults import plain_torch
from .base import Pose, choose, validate_image
from .mmpose_model import Network, load_network

__all__ = ["MMPose"]

_Detector = Callable[[np.ndarray], Any]


class MMPose:
    """Find people with a network of mmpose 1.x.

    Such a network takes a box around each person. A crop cut out for re-identification is one; for
    other images, and to find the others in a crop as well, give a detector.

    Keypoints have the network's layout (`COCO_17`, of Halpe and COCO-WholeBody body and feet);
    scores are clamped to [0, 1], visibility equals score. Results do not depend on what else is in
    a batch, but for rounding. An object may be pickled; the copy loads the network again.

    Args:
        config: a configuration file of mmpose, or the name of one that comes with mmpose, such as
            ``rtmpose-s_8xb256-420e_coco-256x192`` or
            ``td-hm_hrnet-w32_8xb64-210e_coco-256x192``. Python files among them are run: give none
            that you do not trust.
        checkpoint: its weights, ``.pth`` or ``.safetensors``, read without running code; None
            downloads the published ones of a name.
        detect: person detector; from an image (H, W, 3) uint8 RGB to boxes (P, 4) x0, y0, x1, y1 in
            pixels, an array or a tensor; None: the image is one box.
        target: selection among several people, see `select_person`.
        threshold: joints with a score above it count as found, for `target`.
        batch_size: boxes per forward pass; affects speed and memory only.
        device: torch device.

    Raises:
        ImportError: mmpose is missing; the message names the command that installs it.
        ValueError: configuration or weights are missing, damaged or do not fit.
    """

    def __init__(
        self,
        config: str | Path,
        checkpoint: str | Path | None = None,
        *,
        detect: _Detector | None = None,
        target: Target = "most_joints",
        threshold: float = 0.2,
        batch_size: int = 32,
        device: str = "cpu",
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1; got {batch_size}")
        self.config, self.checkpoint, self.detect = config, checkpoint, detect
        self.target, self.threshold = target, threshold
        self.batch_size, self.device = batch_size, device
        self._network: Network = load_network(config, checkpoint, device)

    @property
    def settings(self) -> dict[str, Any]:
        """Plain values that determine the results, for `CachedPose`."""
        if self.detect is not None and not hasattr(self.detect, "settings"):
            raise ValueError(
                "detect must have an attribute `settings`, a dict that distinguishes it from "
                "another, for its results to be cached"
            )
        return {
            "estimator": "mmpose",
            **self._network.settings,
            "detect": None if self.detect is None else dict(self.detect.settings),
            "target": self.target,
            "threshold": self.threshold,
        }

    def __call__(self, image: np.ndarray | str | Path) -> Pose:
        """Find the people in an image.

        Args:
            image: (H, W, 3) uint8 RGB, or the path of an image.

        Raises:
            ValueError: the image has another shape or type, or the detector gives no boxes.
        """
        return self.batch([image])[0]

    @plain_torch()
    def batch(self, images: Sequence[np.ndarray | str | Path]) -> list[Pose]:
        """Find the people in several images, in forward passes of `batch_size` boxes."""
        pixels = [validate_image(image) for image in images]
        boxes = [self._boxes(image) for image in pixels]
        jobs = [(i, box) for i, each in enumerate(boxes) for box in each]
        found: list[list[np.ndarray]] = [[] for _ in pixels]
        for start in range(0, len(jobs), self.batch_size):
            some = jobs[start : start + self.batch_size]
            results = self._forward([(pixels[i], box) for i, box in some])
            for (i, _), person in zip(some, results, strict=True):
                found[i].append(person)
        names = self._network.names
        poses = []
        for image, persons in zip(pixels, found, strict=True):
            rows = np.stack(persons) if persons else np.zeros((0, len(names), 3))
            triples = torch.from_numpy(rows)
            people = Keypoints(
                triples[..., :2].float(), triples[..., 2].float().clamp(0, 1), names=names
            )
            poses.append(choose(people, self.target, image.shape[:2], self.threshold))
        return poses

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled as arguments, without the network."""
        options = ("detect", "target", "threshold", "batch_size", "device")
        settings = {name: getattr(self, name) for name in options}
        return _make, (self.config, self.checkpoint, settings)

    def _boxes(self, image: np.ndarray) -> np.ndarray:
        """(P, 4) float32 boxes x0, y0, x1, y1, pixels."""
        height, width = image.shape[:2]
        if self.detect is None:
            return np.array([[0, 0, width, height]], dtype=np.float32)
        found = self.detect(image)
        found = found.detach().cpu().numpy() if isinstance(found, Tensor) else np.asarray(found)
        found = found.astype(np.float32).reshape(-1, 4) if not found.size else found
        fine = found.ndim == 2 and found.shape[1] == 4 and np.isfinite(found).all()
        if not fine or not (found[:, 2:] > found[:, :2]).all():
            raise ValueError(
                "detect must give boxes (P, 4) x0, y0, x1, y1 with x0 < x1 and y0 < y1; got "
                f"{found.shape} {found[:2].tolist() if found.ndim == 2 else ''}"
            )
        boxes: np.ndarray = found.astype(np.float32)
        return boxes

    def _forward(self, jobs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        """(K, 3) x, y and score of the person in each box."""
        from mmengine.dataset import pseudo_collate

        network = self._network
        one = np.ones(1, dtype=np.float32)
        batch = pseudo_collate(
            [
                # A network of mmpose takes the channels as OpenCV has them.
                network.pipeline(
                    {
                        "img": np.ascontiguousarray(image[..., ::-1]),
                        "bbox": box[None],
                        "bbox_score": one,
                        **network.meta,
                    }
                )
                for image, box in jobs
            ]
        )
        with torch.no_grad():
            results = network.module.test_step(batch)  # type: ignore[operator]
        count = len(network.names)
        people = []
        for result in results:
            kept = result.pred_instances
            scores = np.asarray(kept.keypoint_scores)[0, :count, None]
            people.append(np.concatenate([np.asarray(kept.keypoints)[0, :count, :2], scores], 1))
        return people


def _make(config: Any, checkpoint: Any, settings: dict[str, Any]) -> MMPose:
    return MMPose(config, checkpoint, **settings)
