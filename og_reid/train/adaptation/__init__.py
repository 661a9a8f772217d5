"""Adaptation without labels: one loop of clustering and training, with settings for each system."""

from __future__ import annotations

from .labels import RoundLabels, label_round
from .loop import ROUNDS_FILE, AdaptResult, RoundLog, adapt, styled_target
from .student import Student, open_student
from .task import AdaptTask, LabelledSource, Teacher

__all__ = [
    "ROUNDS_FILE",
    "AdaptResult",
    "AdaptTask",
    "LabelledSource",
    "RoundLabels",
    "RoundLog",
    "Student",
    "Teacher",
    "adapt",
    "label_round",
    "open_student",
    "styled_target",
]
