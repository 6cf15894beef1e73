"""The calls for a client: what the export is like, and its data.

A method here gets the words of its call, and the bytes of a pwrite. It returns None for `ok`,
False for `false`, MISSING for `missing`, and bytes for `ok LENGTH`.
"""

import errno

import nbdkit
from nbdkit_script import Failure
from nbdkit_wire import encode

MISSING = object()
FUA = CACHE = (b"none", b"emulate", b"native")
FLAG_BITS = {b"may_trim": nbdkit.FLAG_MAY_TRIM, b"fua": nbdkit.FLAG_FUA,
             b"req_one": nbdkit.FLAG_REQ_ONE, b"fast": nbdkit.FLAG_FAST_ZERO}
# What a `zero` sets that cannot zero better than pwrite.
NOT_SUPPORTED = (errno.EOPNOTSUPP, errno.ENOTSUP)


class ExportCalls:
    """The methods that have a handle. Calls, which is the rest of it, has the attributes."""

    def connection(self, words):
        """Return the client of a call, which is the current one from now on."""
        conn = self.handles.get(words[2])
        if conn is None:
            raise Failure("%s: there is no handle %s" % (words[1].decode(), words[2].decode()))
        if conn.refused:
            raise Failure("", "ESHUTDOWN")
        nbdkit._call.conn = conn
        return conn

    def flags_of(self, words, index):
        """Return the bits of FLAGS. Without flags, a server may leave out the word."""
        word = words[index] if index < len(words) else b""
        bits = self.flags.get(word)
        if bits is None:
            bits = 0
            for name in word.split(b","):
                bits |= FLAG_BITS.get(name, 0)
            # There are few different ones.
            self.flags[word] = bits
        return bits

    # What an export is like

    def export_description(self, words, _body):
        """Return the description of the export."""
        callback = self.script.get("export_description")
        if callback is None:
            return MISSING
        text = callback(self.connection(words).object)
        return encode(text_of("export_description", text))

    def get_size(self, words, _body):
        """Return the size of the export."""
        size = self.script["get_size"](self.connection(words).object)
        if not isinstance(size, int) or size < 0:
            raise Failure("get_size method did not return a size: %r" % (size,))
        return b"%d" % size

    def block_size(self, words, _body):
        """Return the three sizes."""
        callback = self.script.get("block_size")
        if callback is None:
            return MISSING
        sizes = callback(self.connection(words).object)
        if not (isinstance(sizes, (tuple, list)) and len(sizes) == 3
                and all(isinstance(size, int) and 0 <= size < 1 << 32 for size in sizes)):
            raise Failure("block_size method did not return a triple of sizes: %r"
                          % (sizes,))
        return b"%d %d %d" % tuple(sizes)

    def yes_or_no(self, name):
        """Return the method of a callback whose result is true or false."""
        def method(words, _body):
            callback = self.script.get(name)
            if callback is None:
                return MISSING
            return None if callback(self.connection(words).object) else False
        return method

    def one_of(self, name, texts):
        """Return the method of a callback whose result is one of three constants."""
        def method(words, _body):
            callback = self.script.get(name)
            if callback is None:
                return MISSING
            value = callback(self.connection(words).object)
            if not isinstance(value, int) or not 0 <= value < len(texts):
                raise Failure("%s method did not return one of nbdkit.%s_*: %r"
                              % (name, name[4:].upper(), value))
            return texts[value]
        return method

    # Data

    def pread(self, words, _body):
        """Return what the script reads: threads have no place that is sent as it is."""
        handle = self.connection(words).object
        count = int(words[3])
        if self.api_version == 1:
            return exactly(self.script["pread"](handle, count, int(words[4])), count)
        body = bytearray(count)
        self.script["pread"](handle, memoryview(body), int(words[4]), 0)
        return body

    def pwrite(self, words, body):
        """Let the script write."""
        callback = self.script.get("pwrite")
        if callback is None:
            return MISSING
        handle = self.connection(words).object
        if self.api_version == 1:
            callback(handle, body, int(words[4]))
        else:
            callback(handle, body, int(words[4]), self.flags_of(words, 5))

    def flush(self, words, _body):
        """Let the script flush."""
        callback = self.script.get("flush")
        if callback is None:
            return MISSING
        handle = self.connection(words).object
        if self.api_version == 1:
            callback(handle)
        else:
            callback(handle, 0)

    def trim(self, words, _body):
        """Let the script trim."""
        return self.range("trim", words, self.flags_of(words, 5))

    def cache(self, words, _body):
        """Let the script read ahead."""
        return self.range("cache", words, 0)

    def range(self, name, words, flags):
        """Call what has a range and no bytes."""
        callback = self.script.get(name)
        if callback is None:
            return MISSING
        handle = self.connection(words).object
        # A cache came after the first API version, and has flags in each, as in nbdkit.
        if self.api_version == 1 and name != "cache":
            callback(handle, int(words[3]), int(words[4]))
        else:
            callback(handle, int(words[3]), int(words[4]), flags)

    def zero(self, words, _body):
        """Zero a range, or say that the server has to write zeroes.

        set_error alone says so, as in nbdkit, whether the script raises an exception or not.
        """
        callback = self.script.get("zero")
        if callback is None:
            return MISSING
        handle = self.connection(words).object
        flags = self.flags_of(words, 5)
        if self.api_version == 1:
            flags = bool(flags & nbdkit.FLAG_MAY_TRIM)
        try:
            callback(handle, int(words[3]), int(words[4]), flags)
        except BaseException:
            if nbdkit._call.error not in NOT_SUPPORTED:
                raise
        if nbdkit._call.error in NOT_SUPPORTED:
            nbdkit.debug("zero requested falling back to pwrite")
            raise Failure("")

    def extents(self, words, _body):
        """Return the lines of extents. The script gets flags in each API version, as in nbdkit."""
        callback = self.script.get("extents")
        if callback is None:
            return MISSING
        handle = self.connection(words).object
        lines = []
        flags = self.flags_of(words, 5)
        for extent in callback(handle, int(words[3]), int(words[4]), flags):
            if not (isinstance(extent, (tuple, list)) and len(extent) == 3
                    and all(isinstance(number, int) and number >= 0 for number in extent)):
                raise Failure("extents method did not return an iterable of 3-tuples: %r"
                              % (extent,))
            lines.append(b"%d %d %d\n" % tuple(extent))
        if not lines:
            raise Failure("extents method cannot return an empty list")
        return b"".join(lines)


def text_of(name, text):
    """Check that a callback returned a string."""
    if not isinstance(text, str):
        raise Failure("%s method did not return a string: %r" % (name, text))
    return text


def line_of(name, text):
    """Check that a name or a description is one line, as an answer has a line for each."""
    if "\n" in text:
        raise Failure("%s method returned a text of several lines: %r" % (name, text))
    return text


def exactly(data, count):
    """Return so many bytes of what a pread of the first API version returned, as nbdkit does."""
    try:
        view = memoryview(data).cast("B")
    except TypeError:
        raise Failure("value returned from pread does not support the buffer protocol: %s"
                      % type(data).__name__) from None
    if len(view) < count:
        raise Failure("buffer returned from pread is too small: %d bytes, and %d were asked for"
                      % (len(view), count))
    return view[:count]
