"""A disk in memory. What is written may be a word to the server: soft, force, refuse or shutdown."""

import errno

import nbdkit

API_VERSION = 2
disk = bytearray(1024 * 1024)


def open(readonly):
    return None


def get_size(h):
    return len(disk)


def pread(h, buf, offset, flags):
    buf[:] = disk[offset : offset + len(buf)]


def flush(h, flags):
    pass


def pwrite(h, buf, offset, flags):
    said = bytes(buf[:8])
    if said.startswith(b"shutdown"):
        nbdkit.shutdown()
    elif said.startswith(b"force"):
        nbdkit.disconnect(True)
    elif said.startswith(b"soft"):
        nbdkit.disconnect(False)
    elif said.startswith(b"refuse"):
        nbdkit.disconnect(False)
        nbdkit.set_error(errno.ESHUTDOWN)
        raise Exception("the disk takes no more")
    else:
        disk[offset : offset + len(buf)] = buf
