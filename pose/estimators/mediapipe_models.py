"""Files of BlazePose's landmark models, identified by their content.

The mediapipe wheel carries the full model. The heavy one, of the same authors and licence
(Apache-2.0), is a file of the npm package ``@mediapipe/pose``: ``npm pack @mediapipe/pose``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..files.user_folder import user_folder

__all__ = ["FETCH", "MODELS", "ModelFile", "find_model", "identify_model", "model_folder"]

#: Command that brings the heavy model into the present folder.
FETCH = (
    "npm pack @mediapipe/pose && tar xzf mediapipe-pose-*.tgz --strip-components=1 "
    "package/pose_landmark_heavy.tflite"
)


@dataclass(frozen=True)
class ModelFile:
    """Published file of a landmark model.

    Attributes:
        name: Name without ending.
        bytes: Size.
        sha256: SHA-256 of the content, hexadecimal.
    """

    name: str
    bytes: int
    sha256: str


#: Landmark models by short name; graph and outputs are the same.
MODELS = {
    "full": ModelFile(
        "pose_landmark_full",
        6_440_512,
        "e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
    "heavy": ModelFile(
        "pose_landmark_heavy",
        27_709_200,
        "59e42d71bcd44cbdbabc419f0ff76686595fd265419566bd4009ef703ea8e1fe",
    ),
}


def model_folder() -> Path:
    """Folder of models by short name: ``og-reid`` in $XDG_DATA_HOME, or in ``~/.local/share``.

    Raises:
        ValueError: There is no home folder.
    """
    folder = user_folder("XDG_DATA_HOME", ".local/share")
    if folder is None:
        raise ValueError(
            "model must be a path, or the variable XDG_DATA_HOME be set: this user has no home "
            "folder"
        )
    return folder


def find_model(model: str | Path) -> Path:
    """Absolute path of the file of a model, with its content verified.

    Args:
        model: Short name of a model in `model_folder`, such as ``heavy``, or a path.

    Raises:
        FileNotFoundError: The file is not there.
        ValueError: It is another file than the published ones.
        OSError: It cannot be read.
    """
    known = MODELS.get(str(model))
    path = Path(model) if known is None else model_folder() / f"{known.name}.tflite"
    path = path.absolute()
    if not path.is_file():
        raise FileNotFoundError(
            f"model must be the file of a pose model, or 'heavy' with its file in "
            f"{path.parent if known else 'the folder of models'}; there is no {path}: get it by "
            f"{FETCH}"
        )
    identify_model(path)
    return path


def identify_model(path: Path) -> ModelFile:
    """Model in a file, by its content.

    Raises:
        ValueError: The file is damaged, or another one.
        OSError: It cannot be read.
    """
    size = path.stat().st_size
    same = [each for each in MODELS.values() if each.bytes == size]
    if same:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        for each in same:
            if each.sha256 == digest:
                return each
    sizes = ", ".join(f"{each.name} {each.bytes:,} bytes" for each in MODELS.values())
    found = f"{size:,} bytes and another digest" if same else f"{size:,} bytes"
    raise ValueError(
        f"{path} must be a published model of BlazePose ({sizes}); it has {found}: get it again "
        f"by {FETCH}"
    )
