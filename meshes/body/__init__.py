"""The parametric body: model, files, landmarks."""
