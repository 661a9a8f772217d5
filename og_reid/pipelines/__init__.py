"""Whole jobs as functions: train, evaluate, fuse, embed, lift, demo."""
