"""Keypoints to a body and a camera."""
