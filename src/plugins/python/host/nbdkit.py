"""The module that scripts import as `nbdkit`: what nbdkit-python-plugin(3) offers to them.

A function that asks about "the current connection" means that of the callback which is running in
this thread. Which one that is, the host writes in `_call` before each callback.
"""

import os as _os

from nbdkit_password import read as _read_password

THREAD_MODEL_SERIALIZE_CONNECTIONS = 0
THREAD_MODEL_SERIALIZE_ALL_REQUESTS = 1
THREAD_MODEL_SERIALIZE_REQUESTS = 2
THREAD_MODEL_PARALLEL = 3

FLAG_MAY_TRIM = 1 << 0
FLAG_FUA = 1 << 1
FLAG_REQ_ONE = 1 << 2
FLAG_FAST_ZERO = 1 << 3

FUA_NONE = 0
FUA_EMULATE = 1
FUA_NATIVE = 2

CACHE_NONE = 0
CACHE_EMULATE = 1
CACHE_NATIVE = 2

EXTENT_HOLE = 1 << 0
EXTENT_ZERO = 1 << 1

_SIZE_UNITS = {"b": 1, "s": 512, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
               "p": 1 << 50, "e": 1 << 60}


class _Call:
    """What runs now: its connection, or None, and what set_error was told. One for each thread."""

    __slots__ = ("conn", "error")

    def __init__(self):
        self.conn = None
        self.error = 0


# The host sets these two: its own state (nbdkit_wire.Wire), and one _Call, or one for each thread.
_host = None
_call = _Call()


def debug(msg):
    """Log a message if the server is verbose."""
    if not isinstance(msg, str):
        raise TypeError("nbdkit.debug: expected string, got %s" % type(msg).__name__)
    if _host.verbose:
        _host.text("debug", msg)


def set_error(err):
    """Tell which errno the client shall see for the exception that will be raised."""
    _call.error = int(err)


def export_name():
    """Return the name of the export that the client asked for. The client may send anything."""
    conn = _call.conn
    if conn is None or conn.export_name is None:
        raise RuntimeError("nbdkit.export_name failed: there is no export in this callback")
    return conn.export_name


def is_tls():
    """Return whether the client's connection is encrypted."""
    return _connection("is_tls").tls


def peer_name():
    """Return the client's (address, port), or the path of its Unix socket, which has none: ''."""
    kind, first, second = _peer("peer_name")
    if kind == "tcp" and first.isdigit():
        return (second, int(first))
    if kind == "unix":
        return ""
    raise RuntimeError("nbdkit.peer_name failed: the client is not on a socket")


def peer_pid():
    """Return the process ID of a client on a Unix socket."""
    return _peer_number("peer_pid", 0)


def peer_uid():
    """Return the user ID of a client on a Unix socket."""
    return _peer_number("peer_uid", 1)


def peer_gid():
    """Return the group ID of a client on a Unix socket."""
    return _peer_number("peer_gid", 2)


def peer_tls_dn():
    """Return the distinguished name of the client's certificate, which is not known here: ''."""
    _connection("peer_tls_dn")
    return ""


def peer_tls_issuer_dn():
    """Return the distinguished name of who signed that certificate, which is not known here: ''."""
    _connection("peer_tls_issuer_dn")
    return ""


def _connection(asking):
    conn = _call.conn
    if conn is None:
        raise RuntimeError("nbdkit.%s failed: there is no connection in this callback" % asking)
    return conn


def _peer(asking):
    """Return PEER of the protocol in three parts: `tcp`, port, address or `unix`, PID, UID:GID."""
    parts = _connection(asking).peer.split(":", 2)
    return (parts + ["", ""])[:3]


def _peer_number(asking, index):
    kind, pid, rest = _peer(asking)
    numbers = (pid + ":" + rest).split(":")
    if kind != "unix" or index >= len(numbers) or not numbers[index].isdigit():
        raise RuntimeError("nbdkit.%s failed: the client is not on a Unix socket" % asking)
    return int(numbers[index])


def shutdown():
    """Ask the server to stop. It stops later: this returns at once."""
    _host.line(b"shutdown\n")


def disconnect(force):
    """Ask the server to drop the client of this callback: now, or when it has got its answers.

    The host calls nothing more for that client, apart from close.
    """
    conn = _call.conn
    if conn is None or conn.number is None:
        debug("nbdkit.disconnect: no client is connected in this callback")
        return
    conn.refused = True
    if force:
        conn.dropped = True
    _host.line(b"disconnect %d %s\n" % (conn.number, b"force" if force else b"soft"))


def nanosleep(sec, nsec):
    """Sleep, but not longer than the client is there and the server runs: ESHUTDOWN if it ends."""
    seconds = int(sec) + int(nsec) / 1e9
    if seconds < 0:
        raise ValueError("nbdkit.nanosleep: the time must not be negative")
    conn = _call.conn
    if _host.sleep(seconds, conn):
        return
    import errno
    set_error(errno.ESHUTDOWN)
    why = "the server stops" if _host.stopping else "the client is gone"
    raise OSError(errno.ESHUTDOWN, "nbdkit.nanosleep: " + why)


def stdio_safe():
    """Return whether a script may use stdin and stdout while it is configured."""
    return _host.stdio_safe


def read_password(value):
    """Return the bytes of a password: itself, or the line that `-`, `-FD` or `+FILE` stands for."""
    return _read_password(value, _host)


def absolute_path(path):
    """Return the path, made absolute, as the server will not stay in this directory."""
    if not path:
        raise ValueError("nbdkit.absolute_path: the path is empty")
    return path if path[0] == "/" else _os.path.join(_os.getcwd(), path)


def parse_size(str):  # noqa: A002 - the name is nbdkit's
    """Return the bytes of a size such as 512, 64k or 1G."""
    if not isinstance(str, type("")):
        raise TypeError("Expected string, got something else")
    digits = str.lstrip(" \t\n")
    if digits[:1] == "+":
        digits = digits[1:]
    unit = 1
    if digits[-1:].lower() in _SIZE_UNITS:
        unit = _SIZE_UNITS[digits[-1].lower()]
        digits = digits[:-1]
    if not (digits.isascii() and digits.isdigit()) or int(digits) * unit >= 1 << 63:
        raise ValueError("Unable to parse string as size: %r" % str)
    return int(digits) * unit


def parse_probability(what, str):  # noqa: A002 - the name is nbdkit's
    """Return the number that 0.1, 1e-1, 10%, 1:10 or 1/10 mean. It may be greater than 1."""
    text = str.strip()
    try:
        if text[-1:] == "%":
            value = float(text[:-1]) / 100
        else:
            first, colon, second = text.replace("/", ":").partition(":")
            value = float(first) / (float(second) if colon else 1.0)
    except (ValueError, ZeroDivisionError):
        value = -1.0
    # Neither infinity is a probability nor "not a number", of which every comparison is false.
    if not 0.0 <= value < float("inf"):
        raise ValueError("%s: unable to parse string as probability: %r" % (what, str))
    return value
