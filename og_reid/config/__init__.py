"""Typed settings of a training run, their checks, and the YAML files that hold them."""
