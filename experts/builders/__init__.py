"""Builders of training rows, one file each: `items(material)` and `build(item, writers)`. See `experts/building.py`."""
