"""The lines and bytes of docs/coprocess.md: how they are read from the server, and sent to it.

The file descriptor is used with os.readv and os.writev, as `import socket` alone takes longer than
all the rest of the start.
"""

import os
from _thread import allocate_lock, get_ident

# The server's end is not meant for programs that a script starts.
FD = int(os.environ.pop("NBDKIT_TS_FD", "-1"))
# One read takes many requests, but bytes of a large pwrite are better read where they shall stay.
READ_SIZE = 65536
# Answers are sent together, when there is nothing left to do or when there are so many bytes.
GATHER_SIZE = 262144
# The largest message: what the NBD protocol allows a text to be, and far below a line's 64 KiB.
MESSAGE_SIZE = 4000
# A script that does not fill its place must not give away what else was there.
ZEROES_SIZE = 4 * GATHER_SIZE
ZEROES = memoryview(bytes(ZEROES_SIZE))
# What would end a line. The server makes visible what else cannot be printed.
SPACES = bytes.maketrans(b"\n\r", b"  ")


def one_line(text):
    """Return a text of a script as bytes that may stand in one line of the protocol."""
    return encode(text).translate(SPACES).rstrip()[:MESSAGE_SIZE]


def word(text):
    """Return a text as one word of a line."""
    return "".join(
        "%%%02X" % ord(char) if char <= " " or char in "%\x7f" else char for char in text)


def encode(text):
    """Return UTF-8, where bytes that were none when they came are themselves again."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace")


def decode(word):
    """Return the text of a word, in which `%20` and the like stand for what a word cannot have."""
    if b"%" in word:
        first, *parts = word.split(b"%")
        word = first + b"".join(bytes.fromhex(part[:2].decode()) + part[2:] for part in parts)
    return word.decode("utf-8", "surrogateescape")


def leave():
    """End the process as the server has closed its end, or is gone: nobody would read an answer.

    The script's atexit functions run, as they would in nbdkit. What else runs, is not waited for:
    a thread may never end.
    """
    import atexit
    import sys
    try:
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(0)


class Wire:
    """The connection with the server, and what it has told of itself.

    Answers are gathered in `out`: those in `out[begin:end]` are complete and not yet sent. A read
    of the script fills the place behind `end`, so its bytes are never copied.
    """

    def __init__(self):
        self.verbose = False
        self.stdio_safe = False
        self.stopping = False
        # Functions that others set: what is done with a notice, and how nbdkit.nanosleep sleeps.
        self.notice = self.sleep = None
        self.main = get_ident()
        # A thread of the script may log something while an answer is on the way.
        self.lock = allocate_lock()
        self.unread = []
        self.rest = (b"", 0)
        self.body = bytearray()
        self.new_out(2 * GATHER_SIZE)

    def new_out(self, size):
        """Begin a new place for answers: larger, or because a script has kept a part of it."""
        self.out = memoryview(bytearray(size))
        self.begin = self.end = 0

    # Reading

    def read(self):
        """Return the next bytes of the server: those that were read during a sleep, or new ones."""
        if self.unread:
            data = b"".join(self.unread)
            self.unread = []
            return data
        return read_some()

    def unread_or(self, patience):
        """Do the same, and wait with patience for new ones."""
        if self.unread:
            return self.read()
        data = patience.wait(read_some)
        patience.saw(data)
        return data

    def read_body(self, start, count):
        """Return COUNT bytes of a pwrite, of which `start` has come already."""
        body = self.body
        if len(body) != count:
            body = self.body = bytearray(count)
        view = memoryview(body)
        view[:len(start)] = start
        have = len(start)
        while have < count and self.unread:
            more = self.read()
            if len(more) > count - have:
                self.unread = [more[count - have:]]
                more = more[:count - have]
            view[have:have + len(more)] = more
            have += len(more)
        while have < count:
            have += read_into(view[have:])
        return view.toreadonly()

    def body_done(self):
        """See whether the bytes of read_body are free again, or were kept by the script.

        A bytearray cannot change its length while anyone has a view of it.
        """
        try:
            self.body.append(0)
            self.body.pop()
        except BufferError:
            self.body = bytearray()

    # Sending

    def send_gathered(self):
        """Send the answers that are complete."""
        self.send_complete()
        self.begin = self.end = 0

    def send_complete(self):
        """Send the answers that are complete, and leave alone what is written behind them."""
        if self.end > self.begin:
            with self.lock:
                write_all(self.out[self.begin:self.end])
            self.begin = self.end

    def gather(self, head, body=None):
        """Add an answer to those that will be sent together."""
        size = len(head) if body is None else len(head) + len(body)
        if size > GATHER_SIZE:
            self.send_gathered()
            with self.lock:
                write_two(head, body)
            return
        start = self.room(len(head), size - len(head))
        self.out[start - len(head):start] = head
        if body is not None:
            self.out[start:start + len(body)] = body
        self.end = start - len(head) + size
        if self.end - self.begin > GATHER_SIZE:
            self.send_gathered()

    def room(self, head, body):
        """Return where a body can begin with its head before it, at `end`."""
        if self.end + head + body > len(self.out):
            self.send_gathered()
            if head + body > len(self.out):
                self.new_out(head + body)
        return self.end + head

    def zeroed(self, start, count):
        """Return the place of a body, where every byte is zero."""
        body = self.out[start:start + count]
        body[:] = ZEROES[:count] if count <= ZEROES_SIZE else bytes(count)
        return body

    def send(self, head, body=None):
        """Send an answer at once: threads do not wait for each other's."""
        with self.lock:
            if body is None:
                write_all(memoryview(head))
            else:
                write_two(head, body)

    def line(self, line):
        """Send a line that is no answer, before the answer of the call that is running."""
        if get_ident() == self.main:
            self.send_complete()
        with self.lock:
            write_all(memoryview(line))

    def text(self, kind, text):
        """Send a message, `log` or `debug`: a line for each line of it, which may be indented."""
        for part in text.split("\n"):
            self.line(b"%s %s\n" % (kind.encode(), one_line(part)))


def read_some():
    """Read what there is. The process ends where the server's input does."""
    try:
        data = os.read(FD, READ_SIZE)
    except ConnectionError:
        data = b""
    return data or leave()


def read_into(view):
    """Read into a place, and return how many bytes it were."""
    try:
        return os.readv(FD, (view,)) or leave()
    except ConnectionError:
        return leave()


def write_all(view):
    """Write all of the bytes."""
    try:
        written = os.write(FD, view)
        while written < len(view):
            view = view[written:]
            written = os.write(FD, view)
    except ConnectionError:
        leave()


def write_two(head, body):
    """Write a head and the bytes behind it, without a copy of them."""
    try:
        written = os.writev(FD, (head, body))
    except ConnectionError:
        leave()
    if written < len(head):
        write_all(memoryview(head)[written:])
        written = len(head)
    if written < len(head) + len(body):
        write_all(memoryview(body)[written - len(head):])
