"""World for training that looks like footage of streets and halls; its groups can be turned off."""

from .groups import CITY_GROUPS, city_settings

__all__ = ["CITY_GROUPS", "city_settings"]
