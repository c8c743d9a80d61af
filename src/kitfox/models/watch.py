"""What has changed in the models folder since the last look: one look, however many models."""

import time
from dataclasses import dataclass

from kitfox.errors import KitfoxError
from kitfox.models.store import ModelStore, StoreItem

__all__ = ["Changes", "StoreWatch"]

_DOUBT = 2.0
"""Seconds within which two changes may bear the same time."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What is different from the last look."""

    added: tuple[str, ...] = ()
    """Models that were not there."""
    changed: tuple[str, ...] = ()
    """Models of which another version is current, or whose folder was replaced by another."""
    removed: tuple[str, ...] = ()
    """Models that are no longer there."""

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class StoreWatch:
    """Follows a store. It belongs to one thread at a time.

    Args:
        store: What to look at.
    """

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._seen: dict[str, tuple[StoreItem, str]] = {}
        self._last_change = 0.0

    def look(self, *, settle: bool = True) -> Changes:
        """The differences from the last look; from nothing, at the first.

        Args:
            settle: Whether what is being written just now is left for the next look. It takes a
                look at the files of all that is new, and a short wait if some are recent.
        """
        before, found = self._seen, self._look()
        added = found.keys() - before.keys()
        changed = {name for name in found.keys() & before.keys() if found[name] != before[name]}
        if settle and (new := added | changed):
            unsettled = new - self._store.settled(new)
            added, changed = added - unsettled, changed - unsettled
            for name in unsettled:  # as it was before, so that the next look sees it as new
                if name in before:
                    found[name] = before[name]
                else:
                    del found[name]
        self._seen = found
        return Changes(
            added=tuple(sorted(added)),
            changed=tuple(sorted(changed)),
            removed=tuple(sorted(before.keys() - found.keys())),
        )

    def has_seen(self, name: str) -> bool:
        """Whether a model was there at the last look."""
        return name in self._seen

    def forget(self, name: str) -> None:
        """Has a model told as new by the next look, if it is there: one that did not load, say."""
        self._seen.pop(name, None)

    def _look(self) -> dict[str, tuple[StoreItem, str]]:
        """Each entry with its version, if it is a link: inodes are given anew to other links.

        Links are read again only if anything was prepared in the folder since they were.
        """
        last_change = self._store.last_change()
        again = last_change != self._last_change
        items = self._store.scan()
        # A change that follows at once may bear the same time: then the next look looks again.
        self._last_change = last_change if time.time() - last_change > _DOUBT else -1.0
        found = {}
        for name, item in items.items():
            before = self._seen.get(name)
            if item.is_link and (again or before is None or before[0] != item):
                found[name] = item, self._version(name)
            else:
                found[name] = item, before[1] if before and item.is_link else ""
        return found

    def _version(self, name: str) -> str:
        try:
            return self._store.current_version(name)
        except KitfoxError:  # a link of somebody's own, which leads anywhere
            return ""
