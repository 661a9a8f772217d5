"""Sets of images with keypoints."""
