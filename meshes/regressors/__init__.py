"""Bodies of other regressors (HMR, 4D-Humans, SAM 3D Body): readers, conversion to `BodyFit`."""
