"""Point clouds and keypoints of a data set's images, for `og_reid.inference.encoder.Encoder`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .data import DataSpec
from .keypoints import find_keypoints
from .progress import StageProgress
from .samples import lift_samples

if TYPE_CHECKING:
    from pose import Keypoints

    from ..data import CloudSet, Sample

__all__ = ["DataSource"]


@dataclass(frozen=True)
class DataSource:
    """Point clouds and keypoints of the images of a data set.

    Attributes:
        data: Data set; source of the keypoints.
        progress: Called with (stage, items done, items in all).
    """

    data: DataSpec
    progress: StageProgress | None = None

    @property
    def threads(self) -> int:
        """Number of threads that read images."""
        return self.data.workers

    def clouds(self, samples: Sequence[Sample], *, canonical: bool) -> CloudSet:
        """Images lifted to point clouds; in the resting pose if ``canonical``."""
        return lift_samples(samples, "lifting images", self.data, canonical, self.progress)

    def keypoints(
        self, samples: Sequence[Sample], *, required: bool
    ) -> Callable[[Sample], Keypoints | None]:
        """Keypoints by sample.

        Raises:
            ValueError: They are required, without a source.
        """
        return find_keypoints(samples, self.data, required=required, progress=self.progress)
