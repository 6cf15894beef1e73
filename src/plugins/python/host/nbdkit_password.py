"""nbdkit.read_password of scripts: where a password comes from (nbdkit_read_password(3))."""

import os
import sys
from select import select

# How often it is looked whether the server stops while a password is typed, in seconds.
LOOK = 0.05


def read(value, host):
    """Return the bytes of a password. Raises ValueError where it cannot be read."""
    if value == "-":
        return read_terminal(host)
    if value[:1] == "+":
        try:
            with open(value[1:], "rb") as stream:
                return first_line(stream)
        except OSError as error:
            raise ValueError("nbdkit.read_password: %s: %s" % (value[1:], error.strerror)) from None
    if value[:1] != "-":
        return value.encode("utf-8", "surrogateescape")
    if not value[1:].isdigit() or int(value[1:]) <= 2:
        raise ValueError("nbdkit.read_password: %r names no file descriptor above 2" % value)
    fd = int(value[1:])
    try:
        with os.fdopen(fd, "rb") as stream:
            return first_line(stream)
    except (OSError, OverflowError):
        raise ValueError(
            "nbdkit.read_password: file descriptor %d was not inherited: the process that starts "
            "the server must leave it open for it" % fd) from None


def first_line(stream):
    """Return the first line without its end."""
    line = stream.readline()
    return line[:-1] if line[-1:] == b"\n" else line


def read_terminal(host):
    """Return what is typed, without showing it."""
    if not host.stdio_safe or not os.isatty(0):
        raise ValueError("nbdkit.read_password: standard input is no terminal, and so no password "
                         "can be typed")
    import termios
    shown = termios.tcgetattr(0)
    hidden = shown[:]
    hidden[3] &= ~termios.ECHO
    show_again = guard(termios, shown)
    sys.stderr.write("password: ")
    sys.stderr.flush()
    termios.tcsetattr(0, termios.TCSAFLUSH, hidden)
    try:
        while not select([0], [], [], LOOK)[0]:
            if not host.sleep(0.001, None):
                raise ValueError("nbdkit.read_password: the server stops")
        line = os.read(0, 65536)
    finally:
        show_again()
        sys.stderr.write("\n")
    return line[:-1] if line[-1:] == b"\n" else line


def guard(termios, shown):
    """Start a process that outlives this one, and then shows again what is typed.

    This process may be killed with its server. The function that is returned ends the wait.
    """
    ours, theirs = os.pipe()
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            # Whoever kills the group of this process does not mean the terminal.
            os.setsid()
            for end in (ready, told, theirs):
                os.close(end)
            os.read(ours, 1)
            termios.tcsetattr(0, termios.TCSADRAIN, shown)
        finally:
            os._exit(0)
    os.close(ours)
    os.close(told)
    # Until then it would be killed with the group.
    os.read(ready, 1)
    os.close(ready)

    def show_again():
        os.close(theirs)
        os.waitpid(pid, 0)
    return show_again
