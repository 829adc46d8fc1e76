"""The generator's events as a source, for configurations of tests."""

from typing import Final

SOURCE: Final = """
[source]
path = "unset"
format = "csv"
ts_unit = "iso"
[source.columns]
event_id = "event_id"
user_id = "user_id"
item_id = "item_id"
category_id = "category_id"
event_type = "event_type"
ts = "ts"
[source.event_types]
pv = "browse"
cart = "intent"
fav = "intent"
buy = "purchase"
"""
