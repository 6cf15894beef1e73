"""Waiting for the server, without sleeping where its next call is about to come.

To wake a process that sleeps takes longer than most callbacks. Where calls come one by one, as each
waits for the answer to the one before, it is better to look for the next one for some microseconds.
Where that turns out to be in vain, no time is wasted: it is tried less and less, and not at all.
"""

import os
from select import select
from time import perf_counter

# How long it is looked at most, in seconds.
LOOK = 120e-6
# How many calls must have come one by one before.
ALONE_MIN = 16
WORTH_MAX = 8


def has_processors():
    """Return whether the server can run while this process does not sleep."""
    try:
        return len(os.sched_getaffinity(0)) > 1
    except (AttributeError, OSError):
        return (os.cpu_count() or 1) > 1


class Patience:
    """Whether to sleep until the next call, as far as the last ones tell."""

    def __init__(self, fd):
        self.fd = [fd]
        self.alone = 0 if has_processors() else -1
        # Above zero: it has been worth while, of late.
        self.worth = 0

    def saw(self, data):
        """Note what was read: whether it was one call alone."""
        if self.alone >= 0:
            one = data.count(b" pread ") + data.count(b" pwrite ") <= 1
            self.alone = self.alone + 1 if one else 0

    def wait(self, read):
        """Return what `read` returns, called when there is something to read."""
        if self.alone < ALONE_MIN:
            return read()
        fd = self.fd
        start = perf_counter()
        if self.worth > 0:
            until = start + LOOK
            while not select(fd, (), (), 0)[0]:
                if perf_counter() > until:
                    self.worth -= 2
                    return read()
            self.worth = min(self.worth + 1, WORTH_MAX)
            return read()
        data = read()
        if perf_counter() - start < LOOK:
            self.worth += 2
        return data
