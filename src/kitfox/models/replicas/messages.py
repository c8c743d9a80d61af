"""What the server and a replica say to each other.

A message is a plain tuple: its id, then what is written beside the id. Several that are ready at
the same time travel in one frame; see `frames`. A call is known by its number, which is given
anew each time that it is sent to a replica, in rising order.
"""

import signal
from typing import Any, Final, TypeAlias

__all__ = [
    *(
        "AGAIN",
        "BROKEN",
        "CALL",
        "CANCEL",
        "CREDIT",
        "DUMP_SIGNAL",
        "END",
        "ERROR",
        "FAILED",
        "FEED",
    ),
    *(
        "FEED_END",
        "FIGURES",
        "ITEMS",
        "Message",
        "OPEN",
        "OPENED",
        "READY",
        "RESULT",
        "STOP",
        "STREAM",
    ),
    *("RETURN", "RETURNED", "WANT"),
]

Message: TypeAlias = tuple[Any, ...]

DUMP_SIGNAL: Final = signal.SIGUSR1
"""Has a replica write where its threads are into its output, whatever they do."""

# To a replica.
OPEN: Final = 1
"""settings: a dictionary; the first message of all. Load the model; answer READY or FAILED."""
CALL: Final = 2
"""number, method, arguments, request id, context: run it for one result.

The context is None where the method does not ask for it, else (is it gRPC's, model id, deadline,
metadata as pairs), and the name of the parameter that gets it."""
STREAM: Final = 3
"""As CALL, then the names of the parameters that are streams, the bytes that may be sent without
waiting for more credit, and whether the method is called on the event loop of the replica."""
CANCEL: Final = 4
"""number, failure: nobody waits for the answer any more."""
CREDIT: Final = 5
"""number, bytes: so much of a stream of results has been taken; as much may follow."""
FEED: Final = 6
"""number, requests: each pickled by itself, a tuple with a value for each stream parameter."""
FEED_END: Final = 7
"""number, failure or None: no more requests will come."""
AGAIN: Final = 8
"""frame: the frame of that number could not be read; send its messages one by one."""
STOP: Final = 9
"""Nothing: end, as a program does."""
RETURN: Final = 10
"""number: give a CALL back if it has not begun; another replica is idle. No answer if it has."""

# From a replica.
READY: Final = 20
"""module id, public model info: the model is loaded."""
FAILED: Final = 21
"""failure: it does not load; the replica ends."""
RESULT: Final = 22
"""number, result."""
ERROR: Final = 23
"""number, failure."""
OPENED: Final = 24
"""number: the result is a stream; its items follow, and END or ERROR."""
ITEMS: Final = 25
"""number, results: each pickled by itself, when it was made."""
END: Final = 26
"""number: that was all."""
WANT: Final = 27
"""number, bytes: so much of the stream of requests has been read; as much may follow."""
BROKEN: Final = 28
"""frame: the frame of that number could not be read; send its messages one by one."""
RETURNED: Final = 29
"""number: it has not begun, and will not."""
FIGURES: Final = 30
"""0, calls at a time, seconds of waiting, batches by size, calls in them: what it has done so far;
told at the beginning if it makes batches, and when it has done something new."""
