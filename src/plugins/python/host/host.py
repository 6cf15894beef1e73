"""Runs a script of nbdkit's Python plugin for nbdkit-ts: `python3 host.py`, and nothing else.

The server speaks with it on a file descriptor, as docs/coprocess.md says. This file is short, as
Python compiles it at each start, while it remembers the modules that it imports.
"""

import os
import sys

# With PYTHONSAFEPATH, Python leaves it to a program to say where its modules are.
HERE = os.path.dirname(os.path.realpath(__file__))
if HERE not in sys.path[:1]:
    sys.path.insert(0, HERE)

def ask_kernel(fd):
    """Have the kernel kill this process when the server is gone, whatever the script does then.

    The end of the input tells it too, but nobody reads that while a script is in an endless loop.
    The kernel is also asked to take the bytes of a large read at once, as far as it allows that.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes
        libc = ctypes.CDLL(None)
        PR_SET_PDEATHSIG, SIGKILL = 1, 9
        libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
        SOL_SOCKET, SO_SNDBUF = 1, 7
        size = ctypes.c_int(1 << 20)
        libc.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, ctypes.byref(size), ctypes.sizeof(size))
    except (ImportError, OSError, AttributeError):
        pass


def leave_without_server():
    """End where the server was gone before it could be asked for."""
    # A parent that is not the server may be a script that starts Python.
    server = os.environ.get("NBDKIT_TS_PID", "")
    if server.isdigit() and int(server) != os.getppid():
        try:
            os.kill(int(server), 0)
        except ProcessLookupError:
            os._exit(0)
        except PermissionError:
            pass


def leave_signals_to_server():
    """Do nothing for the signals of a terminal: the server gets them too, and ends this process.

    They have handlers, and are not ignored, as programs that the script starts would inherit that.
    """
    import signal
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)


def main():
    """Speak with the server until it closes its end."""
    # Not before it is known where they are.
    import nbdkit
    from nbdkit_calls import Calls
    from nbdkit_serve import serve, serve_with_threads
    from nbdkit_wire import FD, Wire
    try:
        os.set_inheritable(FD, False)
        os.set_blocking(FD, True)
    except OSError:
        sys.exit("host.py: nbdkit-ts runs this, for `nbdkit-ts python SCRIPT`")
    ask_kernel(FD)
    leave_without_server()
    leave_signals_to_server()
    # What a script prints is seen when it prints it, also when stdout is a file.
    if sys.stdout is not None:
        sys.stdout.reconfigure(line_buffering=True)
    wire = nbdkit._host = Wire()
    calls = Calls(wire)
    wire.notice = calls.notice
    serve_with_threads(wire, calls, serve(wire, calls))


main()
