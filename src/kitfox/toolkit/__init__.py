"""What libraries written for caikit use beside its core: settings, checks, logging, look-ups.

`kitfox.caikit` gives these caikit's names; new libraries need none of them.
"""
