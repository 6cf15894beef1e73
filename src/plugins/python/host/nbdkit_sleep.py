"""nbdkit.nanosleep of scripts without threads: who sleeps, also reads what the server sends."""

from _thread import get_ident
from select import select
from time import monotonic, sleep as sleep_only

from nbdkit_wire import FD, read_some


def sleep(wire, seconds, conn):
    """Sleep, and return whether it was to the end: the client is there, and the server runs.

    Nobody else would see that the server says otherwise, as there is no other thread. The calls
    that come are kept for later. A thread of the script's own just sleeps.
    """
    if get_ident() != wire.main:
        sleep_only(seconds)
        return not wire.stopping
    # The clients who wait for these do not sleep.
    wire.send_complete()
    until = monotonic() + seconds
    data, position = wire.rest
    seen = b"".join([data[position:]] + wire.unread)
    skip = 0
    while True:
        skip, seen = look(wire, skip, seen)
        if wire.stopping or (conn is not None and conn.dropped):
            return False
        left = until - monotonic()
        if left <= 0:
            return True
        if select([FD], [], [], left)[0]:
            more = read_some()
            wire.unread.append(more)
            seen += more


def look(wire, skip, seen):
    """Take the server's notices from what will be read again later.

    `skip` bytes belong to a pwrite. Returns how many of them are still to come, and the piece of a
    line at the end.
    """
    while True:
        if skip >= len(seen):
            return skip - len(seen), b""
        line_end = seen.find(b"\n", skip)
        if line_end < 0:
            return 0, seen[skip:]
        words = seen[skip:line_end].split(b" ")
        seen = seen[line_end + 1:]
        skip = int(words[3]) if words[1] == b"pwrite" else 0
        if words[0] == b"-":
            wire.notice(words)
