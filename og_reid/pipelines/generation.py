"""Generation of images of a data set's people: re-rendered, redressed, occluded or restyled."""

from __future__ import annotations

from .generation_spec import GeneratedFolder, GenerateSpec
from .input_files import check_output
from .keypoints import pose_model
from .progress import StageProgress, stage_progress

__all__ = ["generate"]


def generate(spec: GenerateSpec, progress: StageProgress | None = None) -> GeneratedFolder:
    """Generates images of people, with truth, labels and provenance; resumable.

    The same data, settings and seed give the same bytes, with any number of workers.

    Args:
        spec: Data, operations and folder.
        progress: Called with (stage, done, total): "lifting images", "generating", "sheets".

    Raises:
        ValueError: The data set is invalid, has no image of the splits, or too few people or
            cameras for an operation.
        FileExistsError: The folder holds something else.
        OSError: A file cannot be read or written.
    """
    check_output(spec.out, folder=True)
    estimator = spec.estimator
    model = pose_model(spec.pose_model)
    if estimator is None and model is not None:
        from pose.estimators.mediapipe import MediapipeMaker
        from pose.estimators.mediapipe_models import find_model

        estimator = MediapipeMaker(find_model(model))

    from .generation_run import generate_images

    return generate_images(
        spec, estimator,
        lambda stage: stage_progress(progress, stage),
    )  # fmt: skip
