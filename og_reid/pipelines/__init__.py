"""Whole jobs as typed functions: train, evaluate, fuse, embed, lift, estimate poses, demo."""
