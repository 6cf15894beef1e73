"""What is done for each call: the script's callback is called, and its result made an answer.

Here are the calls before there is a client, and those with which one comes and goes. Those for a
client are in nbdkit_export, where the results of a method are explained, too.
"""

import errno
import sys

import nbdkit
import nbdkit_script
from nbdkit_export import CACHE, FUA, MISSING, ExportCalls, line_of, text_of
from nbdkit_script import Failure, describe, log_traceback, place, text_of_exception
from nbdkit_wire import decode, encode, one_line, word

THREAD_MODELS = ("serialize_connections", "serialize_all_requests", "serialize_requests",
                 "parallel")
# Some numbers have two names: these are the ones that nbdkit-ts knows.
ERROR_NAMES = dict(errno.errorcode)
ERROR_NAMES.update({errno.EOPNOTSUPP: "EOPNOTSUPP", errno.EAGAIN: "EAGAIN"})


# The calls of a client that has no handle yet.
CONNECTING = (b"preconnect", b"list_exports", b"default_export", b"open")


class Connection:
    """A client, and the object that the script's `open` returned for it."""

    __slots__ = ("number", "object", "export_name", "tls", "peer", "dropped", "refused", "busy",
                 "waiting")

    def __init__(self):
        self.number = None
        self.object = None
        self.export_name = None
        self.tls = False
        self.peer = ""
        # The client is gone: a sleep ends.
        self.dropped = False
        # The script has dropped the client: it is asked nothing more for it, apart from close.
        self.refused = False
        # Of the thread model serialize_requests.
        self.busy = False
        self.waiting = None


class Calls(ExportCalls):
    """The methods, by their names, and the clients, by their handles."""

    def __init__(self, wire):
        self.wire = wire
        self.script = {}
        self.file = ""
        self.api_version = 1
        self.thread_model = None
        self.handles = {}
        self.last_handle = 0
        # Clients that have no handle yet, by the tags of their calls.
        self.connecting = {}
        self.flags = {b"": 0}
        self.methods = {name.encode(): getattr(self, name) for name in (
            "load", "dump_plugin", "config", "thread_model", "preconnect", "list_exports",
            "default_export", "open", "close", "get_size", "block_size", "export_description",
            "pread", "pwrite", "flush", "trim", "zero", "cache", "extents")}
        self.methods[b"thread_model"] = self.ask_thread_model
        for name in ("config_complete", "get_ready", "after_fork", "cleanup"):
            self.methods[name.encode()] = self.plain(name)
        for name in nbdkit_script.CALLBACKS:
            if name.startswith(("can_", "is_")):
                self.methods[name.encode()] = self.yes_or_no(name)
        self.methods[b"can_fua"] = self.one_of("can_fua", FUA)
        self.methods[b"can_cache"] = self.one_of("can_cache", CACHE)

    def answer(self, words, body=None):
        """Return the answer to a call, in two parts: its line, and bytes behind it or None."""
        tag = words[0]
        method = self.methods.get(words[1])
        nbdkit._call.error = 0
        try:
            result = MISSING if method is None else method(words, body)
        except BaseException as error:
            return self.failure(tag, words[1], error), None
        finally:
            self.connecting.pop(tag, None)
        if result is None:
            return tag + b" ok\n", None
        if result is False:
            return tag + b" false\n", None
        if result is MISSING:
            return tag + b" missing\n", None
        return b"%b ok %d\n" % (tag, len(result)), result

    def failure(self, tag, method, error):
        """Return the answer to a call that failed. Of errno values, only set_error's counts."""
        name = ERROR_NAMES.get(nbdkit._call.error, "EIO")
        if isinstance(error, Failure):
            name = error.name if name == "EIO" else name
            text = str(error)
        else:
            log_traceback(error)
            if nbdkit._call.error == 0:
                return self.raised(tag, error)
            # The script has said what the client is to be told.
            text = describe(error)
        return b"%b error %b %b\n" % (tag, name.encode(), one_line(text)) if text else (
            b"%b error %b\n" % (tag, name.encode()))

    def raised(self, tag, error):
        """Return the answer to a call that ended with an exception which the script did not mean."""
        return b"%b raised %b %b %b\n" % (
            tag, encode(word(type(error).__name__)), encode(word(place(error, self.file))),
            one_line(text_of_exception(error)))

    def arrives(self, words):
        """Note a call, which may be given up before it is begun."""
        if words[1] in CONNECTING:
            self.connecting[words[0]] = Connection()

    def connect(self, words, peer, tls=b"false", export_name=None):
        """Return the client of such a call, which is the current one from now on."""
        conn = nbdkit._call.conn = self.connecting.setdefault(words[0], Connection())
        conn.peer = decode(peer)
        conn.tls = tls == b"true"
        conn.export_name = export_name
        return conn

    def notice(self, words):
        """Take note of a line that is no call: somebody is gone, or the server stops."""
        if words[1] == b"stopping":
            self.wire.stopping = True
        elif words[1] == b"dropped" and words[2] in self.handles:
            self.handles[words[2]].dropped = True
        elif words[1] == b"abandoned" and words[2] in self.connecting:
            self.connecting[words[2]].dropped = True

    # Before clients

    def load(self, words, _body):
        """Run the script, and return what it says of itself."""
        self.file = decode(words[2])
        self.script, answer = nbdkit_script.load(words, self.wire)
        self.api_version = nbdkit_script.api_version(self.script, words[2])
        return answer

    def plain(self, name):
        """Return the method of a callback that has neither arguments nor a result."""
        def method(_words, _body):
            callback = self.script.get(name)
            if callback is None:
                return MISSING
            nbdkit._call.conn = None
            callback()
        return method

    def dump_plugin(self, _words, _body):
        """Return what the script prints, also what its children print: all goes to a file."""
        callback = self.script.get("dump_plugin")
        if callback is None:
            return MISSING
        import os
        import tempfile
        sys.stdout.flush()
        real = os.dup(1)
        with tempfile.TemporaryFile() as printed:
            os.dup2(printed.fileno(), 1)
            try:
                callback()
                sys.stdout.flush()
            finally:
                os.dup2(real, 1)
                os.close(real)
            printed.seek(0)
            return printed.read()

    def config(self, words, _body):
        """Give the script a setting."""
        callback = self.script.get("config")
        if callback is None:
            return MISSING
        callback(decode(words[2]), decode(words[3]))

    def ask_thread_model(self, _words, _body):
        """Ask the script for its thread model, and remember it for who serves the calls."""
        callback = self.script.get("thread_model")
        if callback is None:
            return MISSING
        model = callback()
        if not isinstance(model, int) or not 0 <= model < len(THREAD_MODELS):
            raise Failure("thread_model: %r is none of nbdkit.THREAD_MODEL_*" % (model,), "EINVAL")
        self.thread_model = int(model)
        return THREAD_MODELS[model].encode()

    # Clients come and go

    def preconnect(self, words, _body):
        """Ask whether a client may connect at all."""
        callback = self.script.get("preconnect")
        if callback is None:
            return MISSING
        self.connect(words, words[3])
        callback(words[2] == b"true")

    def list_exports(self, words, _body):
        """Return the names of exports and their descriptions, a line for each."""
        callback = self.script.get("list_exports")
        if callback is None:
            return MISSING
        conn = self.connect(words, words[4], words[3])
        lines = ["INTERLEAVED"]
        for export in callback(words[2] == b"true", conn.tls):
            pair = (export, "") if isinstance(export, str) else export
            if not (isinstance(pair, tuple) and len(pair) == 2
                    and all(isinstance(text, str) for text in pair)):
                raise Failure("list_exports method did not return an iterable of strings and "
                              "string 2-tuples: %r" % (export,))
            lines.extend(line_of("list_exports", text) for text in pair)
        return encode("\n".join(lines) + "\n")

    def default_export(self, words, _body):
        """Return the name of the export that is meant when a client gives none."""
        callback = self.script.get("default_export")
        if callback is None:
            return MISSING
        conn = self.connect(words, words[4], words[3])
        name = callback(words[2] == b"true", conn.tls)
        return encode(line_of("default_export", text_of("default_export", name)))

    def open(self, words, _body):
        """Return a new handle: a number that stands for what the script's `open` returned."""
        conn = self.connect(words, words[5], words[4], decode(words[3]))
        conn.object = self.script["open"](words[2] == b"true")
        self.last_handle += 1
        conn.number = self.last_handle
        handle = b"%d" % conn.number
        self.handles[handle] = conn
        return handle

    def close(self, words, _body):
        """Forget a handle, also if the script's `close` fails or there is none."""
        conn = self.handles.pop(words[2], None)
        callback = self.script.get("close")
        if conn is None or callback is None:
            return
        # nbdkit.disconnect has nothing to drop from here on.
        conn.number = None
        nbdkit._call.conn = conn
        try:
            callback(conn.object)
        finally:
            # Threads may remember the connection as their last one, but not the script's object.
            conn.object = None
            nbdkit._call.conn = None
