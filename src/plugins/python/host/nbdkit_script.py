"""The user's script: how it is run, what it says of itself, and what its exceptions are called."""

import builtins
import os
import sys
from types import ModuleType

import nbdkit
from nbdkit_wire import decode, encode, word

# All that nbdkit-python-plugin(3) calls. A function of another name is the script's own matter.
CALLBACKS = (
    "dump_plugin", "config", "config_complete", "thread_model", "get_ready", "after_fork",
    "cleanup", "preconnect", "list_exports", "default_export", "open", "close",
    "export_description", "get_size", "block_size", "can_write", "can_flush", "is_rotational",
    "can_trim", "can_zero", "can_fast_zero", "can_extents", "can_fua", "can_multi_conn",
    "can_cache", "pread", "pwrite", "flush", "trim", "zero", "extents", "cache",
)
HERE = os.path.dirname(os.path.realpath(__file__))
REQUIRED = ("open", "get_size", "pread")
# With 1, callbacks have no flags. With 2, which is the last one, they have.
LAST_API_VERSION = 2


class Failure(Exception):
    """An error whose text is complete: no callback's name and no type are to be put before it."""

    def __init__(self, text, name="EIO"):
        super().__init__(text)
        self.name = name


def run(file):
    """Run a script as the module `__main__`, as `python3 FILE` would, and return its globals.

    They are a module's of their own, as a script defines `open` and other names that are builtins.
    """
    try:
        with builtins.open(file, "rb") as stream:
            source = stream.read()
    except OSError as error:
        raise Failure("%s: cannot open file: %s" % (file, error.strerror), "EINVAL")
    module = ModuleType("__main__")
    module.__file__ = file
    module.__builtins__ = builtins
    sys.modules["__main__"] = module
    sys.argv[:] = [file]
    # The first one was the directory of the host, whose modules are loaded by now.
    sys.path[0] = os.path.dirname(os.path.realpath(file))
    try:
        exec(compile(source, file, "exec", dont_inherit=True), module.__dict__)
    except BaseException as error:
        log_traceback(error)
        raise Failure("%s: %s" % (place(error, file), describe(error)), "EINVAL") from None
    script = module.__dict__
    for name in REQUIRED:
        if not callable(script.get(name)):
            raise Failure("%s: one of the required callbacks 'open', 'get_size' or 'pread' is not "
                          "defined by this Python script: '%s'" % (file, name), "EINVAL")
    api_version(script, file)
    return script


def api_version(script, file):
    """Return which of the two kinds of callbacks the script has."""
    version = script.get("API_VERSION", 1)
    if not isinstance(version, int) or not 1 <= version <= LAST_API_VERSION:
        raise Failure("%s: API_VERSION requested unknown version: %r.  This plugin supports API "
                      "versions between 1 and %d." % (file, version, LAST_API_VERSION), "EINVAL")
    return int(version)


def about(script, file):
    """Return the answer to `load`: what the plugin says of itself."""
    methods = [name for name in CALLBACKS if callable(script.get(name))]
    name = os.path.basename(file)
    lines = [
        "name=" + word(name[:-3] if name.endswith(".py") else name),
        "api_version=%d" % api_version(script, file),
        "thread_model=serialize_all_requests",
        "max_thread_model=parallel",
        "python_version=%d.%d.%d" % sys.version_info[:3],
        "python_pep_384_abi_version=3",
        "nbdkit_python_maximum_api_version=%d" % LAST_API_VERSION,
    ]
    text = script.get("__doc__")
    if isinstance(text, str) and text.strip():
        lines.append("config_help=" + word(text.strip("\n")))
    lines.extend("has_%s=1" % method for method in methods)
    # The host has to hear of every close, as it drops the script's handle then.
    lines.append("methods=" + ",".join(methods if "close" in methods else methods + ["close"]))
    return encode("\n".join(lines) + "\n")


def place(error, file):
    """Return `FILE:LINE` of an exception: the last line of the script that led to it."""
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        return "%s:%d" % (error.filename, error.lineno)
    found = None
    entry = error.__traceback__
    while entry is not None:
        if entry.tb_frame.f_code.co_filename == file:
            found = entry.tb_lineno
        entry = entry.tb_next
    return file if found is None else "%s:%d" % (file, found)


def text_of_exception(error):
    """Return what an exception says. Its class may say that in any way, also in none."""
    try:
        # str() of a SyntaxError has the place in it, which is known.
        return str(error.msg if isinstance(error, SyntaxError) else error)
    except BaseException:
        return "(its text cannot be had)"


def describe(error):
    """Return `ExceptionType: text`, or the type alone."""
    text = text_of_exception(error)
    kind = type(error).__name__
    return "%s: %s" % (kind, text) if text else kind


def log_traceback(error):
    """Log all of an exception, if the server is verbose."""
    if not nbdkit._host.verbose:
        return
    # This takes 10 ms, and most scripts never fail.
    import traceback
    # The first entries are of this directory, and say nothing about the script.
    entry = error.__traceback__
    while entry.tb_next is not None and os.path.dirname(entry.tb_frame.f_code.co_filename) == HERE:
        entry = entry.tb_next
    try:
        lines = traceback.format_exception(type(error), error, entry)
    except BaseException:
        lines = traceback.format_tb(entry)
    nbdkit.debug("".join(lines).rstrip("\n"))


def load(words, wire):
    """Do what `load` asks: return the script's globals, and the answer."""
    file = decode(words[2])
    wire.verbose = words[3] == b"true"
    wire.stdio_safe = words[5] == b"true"
    script = run(file)
    return script, about(script, file)
