"""Images and keypoints given to `og_reid.embed`: conversion, estimation, lifting."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from meshes import BodyModel, LiftQuality, PointCloud, lift_image, load_body
from meshes.lift import Layout, Lift
from meshes.lift_people import (
    check_pixels,
    chosen_person,
    count_people,
    estimated_people,
    given_people,
    warn_of_doubts,
)
from pose import (
    Keypoints,
    MediapipePose,
    NoPersonError,
    Pose,
    PoseEstimator,
    read_image,
    to_openpose18,
)
from pose.person_selection import Target
from pose.runtime.defaults import MadeOnce

from ..data.clouds.attempts import MaskSource
from ..data.files.inputs import CLOUD_ENDINGS
from ..data.images.image_set import ImageSet
from ..data.sample import Sample

__all__ = [
    "ArraySet",
    "GivenKeypoints",
    "as_images",
    "default_estimator",
    "estimate_keypoints",
    "estimate_mask",
    "holds_clouds",
    "is_cloud",
    "keypoints_of_each",
    "lift_arrays",
    "lift_people",
    "masks_of_each",
]

# Packages whose point clouds `og_reid.embed` takes.
_CLOUD_PACKAGES = ("open3d", "trimesh", "torch_geometric")
_COLUMNS = 9  # of a table of points: positions, colours, normals
#: Keypoints of one image, or a sequence with those of each image; None: unknown.
GivenKeypoints = Keypoints | Pose | Sequence[Keypoints | Pose | None] | None


@MadeOnce
def default_estimator() -> MediapipePose:
    """Mediapipe's pose estimator, made once and shared."""
    return MediapipePose()


class ArraySet(ImageSet):
    """Images in memory, numbered by identity.

    Args:
        images: (H, W, 3) uint8 RGB each.
        keypoints: Keypoints of each image; None: all visible.
        **options: Arguments of `ImageSet`.
    """

    def __init__(
        self, images: Sequence[np.ndarray], keypoints: Sequence[Keypoints | None], **options: Any
    ) -> None:
        samples = [Sample(Path(f"image[{index}]"), index, 0) for index in range(len(images))]
        super().__init__(samples, lambda sample: keypoints[sample.pid], **options)
        self._images = images

    def read(self, sample: Sample) -> np.ndarray:
        """(H, W, 3) uint8 RGB of a sample."""
        return self._images[sample.pid]


def as_images(value: Any) -> tuple[list[np.ndarray], bool]:
    """Images of any type accepted by `pose.read_image`: one, a sequence, or (B, H, W, 3).

    Returns:
        (H, W, 3) uint8 RGB of each, and True for a single one.

    Raises:
        ValueError: A value is unreadable, of another type, or a point cloud.
    """
    many = isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 4
    values = list(value) if many else [value]
    if not values:
        raise ValueError("image must be at least one; got an empty sequence")
    if any(map(is_cloud, values)):
        raise ValueError(
            "the model takes images; got a point cloud: give the image that it was lifted from, or "
            "a model of clouds"
        )
    return [read_image(each) for each in values], not many


def is_cloud(value: Any) -> bool:
    """True for point clouds: by type, file ending, or shape (N, 6), (B, N, 6).

    Also for tables of few columns of floating-point numbers, which no image has: they are refused
    as clouds.
    """
    if isinstance(value, str | Path):
        return Path(value).suffix.lower() in CLOUD_ENDINGS
    shape = tuple(getattr(value, "shape", ()))
    if isinstance(value, PointCloud) or type(value).__module__.startswith(_CLOUD_PACKAGES):
        return True
    table = (
        len(shape) == 2 and shape[-1] <= _COLUMNS and "float" in str(getattr(value, "dtype", ""))
    )
    return table or (len(shape) in (2, 3) and shape[-1] == 6)


def holds_clouds(inputs: Any) -> bool:
    """True for inputs of `og_reid.embed` with a point cloud among them."""
    return any(map(is_cloud, inputs)) if isinstance(inputs, list | tuple) else is_cloud(inputs)


def keypoints_of_each(given: Any, count: int, single: bool) -> list[Keypoints | None]:
    """Keypoints of each image, in the joints of OpenPose.

    Args:
        given: `Keypoints` or `Pose` of a single image; a sequence of those and None for several;
            None: unknown.
        count: Number of images.
        single: True for a single image.

    Raises:
        ValueError: Numbers of keypoints and images differ.
        TypeError: ``given`` is of another type.
    """
    values = [given] if single else [None] * count if given is None else list(given)
    if len(values) != count:
        raise ValueError(f"keypoints must be given for each of {count} images; got {len(values)}")
    return [None if each is None else _openpose(each) for each in values]


def _openpose(given: Keypoints | Pose) -> Keypoints:
    if not isinstance(given, Keypoints | Pose):
        raise TypeError(f"keypoints must be Keypoints or a Pose; got {type(given).__name__}")
    people = given.people if isinstance(given, Pose) else given
    return to_openpose18(people if people.shape else Keypoints.stack([people]))


def masks_of_each(given: Any, count: int, single: bool) -> list[Any]:
    """Masks of each image, None where unknown; not checked.

    Args:
        given: Mask of a single image; a sequence of masks and None for several; None: unknown.
        count: Number of images.
        single: True for a single image.

    Raises:
        ValueError: Numbers of masks and images differ.
    """
    values = [given] if single else [None] * count if given is None else list(given)
    if len(values) != count:
        raise ValueError(f"masks must be given for each of {count} images; got {len(values)}")
    return values


def estimate_mask(image: np.ndarray) -> Tensor:
    """(H, W) mask of the person in an image by mediapipe; zero without a person.

    Raises:
        ImportError: mediapipe is missing.
    """
    try:
        mask = default_estimator()(image).mask
    except ImportError as error:
        raise ImportError(
            "masks must be given: the model needs them, and mediapipe, which would estimate "
            f"them, is missing ({error})"
        ) from error
    assert mask is not None
    return mask


def estimate_keypoints(image: np.ndarray) -> Keypoints:
    """Keypoints of the people in an image by mediapipe, the most prominent first.

    Raises:
        ImportError: mediapipe is missing.
    """
    return to_openpose18(_estimate(image).people)


def _estimate(image: np.ndarray | str | Path) -> Pose:
    try:
        return default_estimator()(image)
    except ImportError as error:
        raise ImportError(
            "keypoints must be given: the model needs them, and mediapipe, which would estimate "
            f"them, is missing ({error})"
        ) from error


def lift_people(
    image: np.ndarray,
    keypoints: Keypoints | Pose | None,
    body: BodyModel,
    *,
    layout: Layout,
    all: bool = False,
    people: int | Target | None = None,
    estimator: PoseEstimator | None = None,
    masks: MaskSource | Tensor | None = None,
) -> tuple[list[Lift], list[LiftQuality]]:
    """The people of an image that are asked for, lifted, with the quality of each lift.

    Args:
        image: (H, W, 3) uint8 RGB.
        keypoints: See `og_reid.lift`.
        body: Model of the body.
        layout: See `og_reid.lift`.
        all: Likewise.
        people: Likewise.
        estimator: For keypoints where none are given; None for `default_estimator`.
        masks: Source of masks of people's own visible surface, or the (H, W) mask of the only
            person; None for the estimator's mask.

    Raises:
        NoPersonError: No person was found.
        ValueError: Keypoints cannot be pixels of the image, or there is no such person.
        ImportError: Keypoints are to be estimated and mediapipe is missing.
    """
    asked = all or people is not None
    if keypoints is None:
        poses, seen = estimated_people(image, estimator or default_estimator(), several=asked)
    else:
        poses = given_people(keypoints, image, several=asked)
        seen = len(poses)
    if not poses:
        raise NoPersonError(
            "no person was found in the image: crop it to one person, standing and at least "
            "60 pixels tall, or give keypoints"
        )
    chosen = poses if all else [poses[chosen_person(poses, people, image)]]
    check_pixels(chosen, image)
    own: Sequence[Tensor | None] = [None] * len(chosen)
    if isinstance(masks, Tensor):
        own = [masks]
    elif masks is not None:
        own = masks([image] * len(chosen), chosen, alone=not asked)
    lifts = [
        lift_image(image, pose, body, layout=layout, mask=mask)
        for pose, mask in zip(chosen, own, strict=True)
    ]
    return lifts, [count_people(each.quality, seen, chosen[0], unasked=not asked) for each in lifts]


def lift_arrays(
    images: Sequence[np.ndarray],
    keypoints: Sequence[Keypoints | Pose | None],
    *,
    layout: Layout,
    canonical: bool,
    masks: MaskSource | None = None,
) -> list[PointCloud]:
    """Images lifted to point clouds: the first person of each, as by `og_reid.lift`.

    Args:
        images: (H, W, 3) uint8 RGB each.
        keypoints: Of each; None estimates them.
        layout: See `og_reid.lift`.
        canonical: Body in the resting pose.
        masks: Source of masks of people's own visible surface; None for the estimator's masks.

    Raises:
        NoPersonError: No person was found in an image.
        ImportError: Keypoints are to be estimated and mediapipe is missing.
    """
    body, clouds, qualities = load_body(None), [], []
    for image, given in zip(images, keypoints, strict=True):
        (lifted,), found = lift_people(
            image, given, body, layout=layout, estimator=_estimate, masks=masks
        )
        qualities += found
        clouds.append(lifted.canonical() if canonical else lifted.cloud)
    warn_of_doubts(qualities)
    return clouds
