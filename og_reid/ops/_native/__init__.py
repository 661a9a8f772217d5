"""Calls of the C and CUDA libraries, one file per operator."""
