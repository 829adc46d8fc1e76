"""``rollback``: the champion before the present one serves again."""

from typing import Any

from training.command import say
from training.errors import ConfigError
from training.registry.promote import OVER, ROLLED_BACK
from training.registry.tracking import Tracking
from training.registry.versions import CHAMPION, PREVIOUS, aliases, all_versions, find, set_tags


def rollback(tracking: Tracking, name: str) -> dict[str, Any]:
    """Give ``champion`` back to ``previous``, and ``previous`` to the one before that.

    The version that steps down is tagged, so that no later ``promote`` brings it back by itself.
    Raises ConfigError where there is no champion or nothing to go back to.
    """
    client, held = tracking.client, aliases(tracking.client, name)
    champion, previous = held.get(CHAMPION), held.get(PREVIOUS)
    if champion is None or previous is None:
        what = "no champion" if champion is None else f"no champion before version {champion}"
        raise ConfigError(f"{name} has {what} to go back to; promote a version first")
    back = find(client, name, previous)
    set_tags(client, find(client, name, champion), {ROLLED_BACK: str(previous)})
    client.set_registered_model_alias(name, CHAMPION, str(previous))
    earlier = back.tags.get(OVER, "")
    numbers = {str(version.version) for version in all_versions(client, name)}
    if earlier in numbers:
        client.set_registered_model_alias(name, PREVIOUS, earlier)
    else:
        client.delete_registered_model_alias(name, PREVIOUS)
    say(f"{name}: champion is version {previous} again, no longer {champion}")
    return {
        "name": name,
        "champion": previous,
        "rolled_back": champion,
        "previous": int(earlier) if earlier in numbers else None,
    }
