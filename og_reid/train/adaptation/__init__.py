"""Adaptation without labels: one loop of clustering and training, with settings for each system."""

from __future__ import annotations

from .labels import RoundLabels, label_round
from .loop import ROUNDS_FILE, AdaptResult, RoundLog, adapt, styled_target
from .student import Student, open_student
from .style_task import CameraStyleTask
from .task import AdaptBatch, AdaptTask, LabelledSource, Teacher
from .tracklet_task import TrackletTask

__all__ = [
    "ROUNDS_FILE",
    "AdaptBatch",
    "AdaptResult",
    "AdaptTask",
    "CameraStyleTask",
    "LabelledSource",
    "RoundLabels",
    "RoundLog",
    "Student",
    "Teacher",
    "TrackletTask",
    "adapt",
    "label_round",
    "open_student",
    "styled_target",
]
