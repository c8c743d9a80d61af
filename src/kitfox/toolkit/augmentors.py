"""The base of what makes variants of training data for `DataStream.augment`.

class Typo(AugmentorBase):
    def _augment(self, text):
        place = self.random.randrange(len(text))
        return text[:place] + text[place + 1 :]

stream.augment(Typo(random_seed=1), 2)
"""

import abc
import random
from typing import Any

__all__ = ["AugmentorBase"]


class AugmentorBase(abc.ABC):
    """Makes a variant of an element; derive from it and write `_augment`.

    Args:
        random_seed: Where its chance begins, at the start and at each `reset`.
        produces_none: Whether None is a variant; if not, it means that the element stays as it is.
    """

    def __init__(self, random_seed: int = 0, produces_none: bool = False) -> None:
        self._random_seed = random_seed
        self._produces_none = produces_none
        self.random = random.Random(random_seed)  # noqa: S311 # no secret

    def augment(self, obj: Any) -> Any:
        """A variant of an element."""
        variant = self._augment(obj)
        return obj if variant is None and not self._produces_none else variant

    def reset(self) -> None:
        """Goes back to the start, so that the same variants come again."""
        self.random.seed(self._random_seed)

    @abc.abstractmethod
    def _augment(self, obj: Any) -> Any:
        """Makes the variant."""
