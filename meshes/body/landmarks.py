"""Named points on a body's surface, found by geometry so that no topology is assumed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["LANDMARKS", "find_landmarks"]

#: Names of the surface landmarks, in the order of their vertices.
LANDMARKS: tuple[str, ...] = (
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_heel",
    "right_heel",
    "left_toe",
    "right_toe",
)

# An adult's face, metres: the tip of the nose lies this far below the top of the head, eyes and
# ears this far from the tip (sideways, up, forward).
_NOSE_BELOW_TOP = (0.115, 0.175)
_EYE = (0.035, 0.034, -0.028)
_EAR_ABOVE_NOSE = 0.015


def find_landmarks(
    template: Tensor, skin_weights: Tensor, joint_names: Sequence[str]
) -> dict[str, int]:
    """Nose, eyes, ears, heels and toes of a T-posed adult.

    Args:
        template: (V, 3) metres, x to the body's left, y up, z to the front.
        skin_weights: (V, J).
        joint_names: J names, among them head, ankles and feet.

    Returns:
        Vertex index by name, in the order of ``LANDMARKS``.
    """
    part = skin_weights.argmax(1)

    def vertices(*names: str) -> Tensor:
        chosen = torch.tensor([joint_names.index(name) for name in names])
        return torch.isin(part, chosen).nonzero()[:, 0]

    def nearest(target: Tensor, among: Tensor) -> int:
        return int(among[(template[among] - target).norm(dim=1).argmin()])

    head = vertices("head")
    below = template[head, 1].max() - template[head, 1]
    middle = (below > _NOSE_BELOW_TOP[0]) & (below < _NOSE_BELOW_TOP[1])
    middle &= template[head, 0].abs() < 0.02
    found = {"nose": int(head[middle][template[head[middle], 2].argmax()])}
    nose = template[found["nose"]]
    level = head[(template[head, 1] - nose[1] - _EAR_ABOVE_NOSE).abs() < 0.012]
    for side, sign in (("left", 1.0), ("right", -1.0)):
        eye = torch.tensor([sign * _EYE[0] - nose[0], _EYE[1], _EYE[2]])
        found[f"{side}_eye"] = nearest(nose + eye, head)
        found[f"{side}_ear"] = int(level[(sign * template[level, 0]).argmax()])
        foot = vertices(f"{side}_ankle", f"{side}_foot")
        forward, up = template[foot, 2], template[foot, 1]
        found[f"{side}_heel"] = int(foot[(-forward - 0.5 * up).argmax()])  # low: not the shin
        found[f"{side}_toe"] = int(foot[forward.argmax()])
    return {name: found[name] for name in LANDMARKS}
