"""What has changed in the models folder since the last look: one look, however many models."""

from dataclasses import dataclass

from kitfox.models.store import ModelStore

__all__ = ["Changes", "StoreWatch"]


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
    """Follows a store.

    Args:
        store: What to look at.
    """

    def __init__(self, store: ModelStore) -> None:
        self._store = store
        self._seen: dict[str, int] = {}

    def look(self, *, settle: bool = True) -> Changes:
        """The differences from the last look; from nothing, at the first.

        Args:
            settle: Whether what is being written just now is left for the next look. It takes a
                look at the files of all that is new, and a short wait if some are recent.
        """
        found = dict(self._store.scan())
        added = found.keys() - self._seen.keys()
        changed = {
            name for name in found.keys() & self._seen.keys() if found[name] != self._seen[name]
        }
        removed = self._seen.keys() - found.keys()
        if settle and (new := added | changed):
            unsettled = new - self._store.settled(new)
            added, changed = added - unsettled, changed - unsettled
            for name in unsettled:  # as it was before: new, or another
                if name in self._seen:
                    found[name] = self._seen[name]
                else:
                    del found[name]
        self._seen = found
        return Changes(
            added=tuple(sorted(added)),
            changed=tuple(sorted(changed)),
            removed=tuple(sorted(removed)),
        )

    def forget(self, name: str) -> None:
        """Has a model told as new by the next look, if it is there: one that did not load, say."""
        self._seen.pop(name, None)
