"""Preprocessing of a model: input sizes, point order, keypoint mode, test-time views, costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from pose.visibility import Mode

from ..files.renamed_settings import renamed_fields
from ..retrieval.calibration import Calibration
from ..retrieval.late_interaction import Interaction

__all__ = [
    "DensePreprocessing",
    "ImagePreprocessing",
    "PointOrder",
    "Preprocessing",
    "TestView",
    "name_views",
]

#: Additional view of a cloud at test time: none, or scaled by 1.1 (the OG-Net authors').
TestView = Literal["none", "scale-1.1"]
#: Selection and order of points, see `og_reid.data.clouds.source.CloudDataset`.
PointOrder = Literal["fps", "reference"]


@renamed_fields("preprocessing.")
@dataclass(frozen=True)
class Preprocessing:
    """Preprocessing of point clouds; belongs to the weights.

    Attributes:
        num_points: Points per cloud.
        min_points: Fewest visible body points for the background to be removed, at least 0.
        point_order: Selection and order of points: ``fps`` = farthest-point order; ``reference`` =
            that of the OG-Net authors' loader.
        canonical: Body in the resting pose (`meshes.lift.Lift.canonical`).
    """

    num_points: int
    min_points: int = 32
    point_order: PointOrder = "fps"
    canonical: bool = False

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if self.num_points < 1 or self.min_points < 0:
            raise ValueError(
                "num_points must be at least 1 and min_points at least 0; "
                f"got {self.num_points} and {self.min_points}"
            )
        if self.point_order not in ("fps", "reference"):
            raise ValueError(f"point_order must be 'fps' or 'reference'; got {self.point_order!r}")


@dataclass(frozen=True)
class ImagePreprocessing:
    """Preprocessing of images; belongs to the weights.

    Attributes:
        height: Pixels of the network's input, a multiple of 16.
        width: Likewise.
        mode: Convention of heat maps and visible stripes, see `pose.visibility`.
    """

    height: int = 384
    width: int = 128
    mode: Mode = "corrected"

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if any(side < 16 or side % 16 for side in (self.height, self.width)):
            raise ValueError(
                f"height and width must be multiples of 16; got {self.height} and {self.width}"
            )
        if self.mode not in get_args(Mode):
            raise ValueError(f"mode must be one of {', '.join(get_args(Mode))}; got {self.mode!r}")


@dataclass(frozen=True)
class DensePreprocessing:
    """Input size of a dense network, and the costs of its similarity; belongs to the weights.

    Attributes:
        height: Pixels of the network's input, a multiple of 16.
        width: Likewise.
        mirror: Average with the embedding of the mirrored image.
        penalty: Cost of a position difference of 1, see `og_reid.ops.late_interaction`.
        background: Cost of a best cell without own surface, likewise.
        symmetric: Gallery cells have best query cells, too, likewise.
        calibration: Calibration of the similarity, for probabilities; None: not calibrated.
    """

    height: int = 256
    width: int = 128
    mirror: bool = False
    penalty: float = 1.0
    background: float = 0.5
    symmetric: bool = True
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        """Checks the ranges."""
        if any(side < 16 or side % 16 for side in (self.height, self.width)):
            raise ValueError(
                f"height and width must be multiples of 16; got {self.height} and {self.width}"
            )
        self.interaction  # noqa: B018 - checks

    @property
    def interaction(self) -> Interaction:
        """Costs of late interaction."""
        return Interaction(self.penalty, self.background, self.symmetric)


def name_views(mirror: bool, test_view: TestView) -> str:
    """Name of the test-time views, to report with results: ``none``, ``mirror``, ``scale-1.1``."""
    views = [test_view] if test_view != "none" else []
    return " + ".join([*views, "mirror"] if mirror else views) or "none"
