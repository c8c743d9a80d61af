"""Sentences of mixed length, the same ones for everybody and in every run."""

import random

_WORDS = (
    "the of and a to in is was he for it with as his on be at by had not are but from or have an "
    "they which one you were her all she there would their we him been has when who will more no "
    "if out so said what up its about into than them can only other new some could time these two "
    "may then do first any my now such like our over man me even most made after also did many "
    "before must through back years where much your way well down should because each just those "
    "people how too little state good very make world still own see men work long get here between "
    "both life being under never day same another know while last might us great old year off come "
    "since against go came right used take three river winter market engine garden letter harbour "
    "physician parliament electricity photograph umbrella extraordinary neighbourhood"
)


def mixed_sentences(count: int = 512, seed: int = 20260101) -> list[str]:
    """Sentences of 3 to 120 words: most are short, a few are long."""
    source = random.Random(seed)  # noqa: S311 - repeatable on purpose
    found = []
    for _ in range(count):
        length = min(120, max(3, round(source.lognormvariate(2.7, 0.8))))
        words = source.choices(_WORDS.split(), k=length)
        found.append(" ".join(words).capitalize() + ".")
    return found
