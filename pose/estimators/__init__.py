"""Pose estimators: MediaPipe, mmpose, precomputed files, a cache."""
