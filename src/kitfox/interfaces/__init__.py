"""Ready-made data objects and tasks, with the message names that caikit's clients know.

`common` and `runtime` are what every server speaks. `nlp`, `vision` and `ts` are domains: nothing
imports them by itself, a library that wants one writes `from kitfox.interfaces.nlp import tasks`.
"""
