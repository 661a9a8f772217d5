"""Files of keypoints: COCO, npz, and those of other estimators."""
