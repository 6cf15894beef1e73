"""Which call is done when: one after another here, or several at a time by threads."""

import nbdkit
import nbdkit_sleep
from nbdkit_wait import Patience
from nbdkit_wire import FD, GATHER_SIZE

# As many as nbdkit has for a client, and no more of them than calls that wait.
THREADS = 16


def serve(wire, calls):
    """Answer calls, one after another, until the script turns out to want threads.

    This is what a request costs, so it is written for speed: a pread goes straight into the place
    from which its answer is sent, and all else through Calls.answer.
    """
    wire.sleep = lambda seconds, conn: nbdkit_sleep.sleep(wire, seconds, conn)
    call = nbdkit._call
    handles = calls.handles
    answer = calls.answer
    patience = Patience(FD)
    data = b""
    position = 0
    while True:
        line_end = data.find(b"\n", position)
        if line_end < 0:
            wire.send_gathered()
            data = data[position:] + wire.unread_or(patience)
            position = 0
            continue
        words = data[position:line_end].split(b" ")
        position = line_end + 1
        method = words[1]
        if method == b"pread" and calls.api_version == 2:
            conn = handles.get(words[2])
            if conn is not None and not conn.refused:
                wire.rest = (data, position)
                head = b"%b ok %b\n" % (words[0], words[3])
                count = int(words[3])
                start = wire.room(len(head), count)
                call.conn = conn
                call.error = 0
                body = wire.zeroed(start, count)
                try:
                    calls.script["pread"](conn.object, body, int(words[4]), 0)
                except BaseException as error:
                    wire.gather(calls.failure(words[0], method, error))
                else:
                    wire.out[start - len(head):start] = head
                    wire.end = start + count
                    if wire.end - wire.begin > GATHER_SIZE:
                        wire.send_gathered()
                try:
                    # What the script keeps of it is worthless, as it is in nbdkit.
                    body.release()
                except BufferError:
                    wire.send_gathered()
                    wire.new_out(len(wire.out))
                continue
        elif method == b"pwrite":
            count = int(words[3])
            rest = len(data) - position
            if count <= rest:
                body = memoryview(data)[position:position + count]
                position += count
                wire.rest = (data, position)
                wire.gather(*answer(words, body))
                del body
            else:
                wire.send_gathered()
                body = wire.read_body(memoryview(data)[position:], count)
                data = b""
                position = 0
                wire.rest = (data, position)
                wire.gather(*answer(words, body))
                del body
                wire.body_done()
            continue
        elif words[0] == b"-":
            calls.notice(words)
            continue
        wire.rest = (data, position)
        wire.gather(*answer(words))
        if method == b"thread_model" and calls.thread_model is not None and calls.thread_model > 1:
            wire.send_gathered()
            return data[position:]


def serve_with_threads(wire, calls, data):
    """Answer calls with threads. This one reads, and ends the process."""
    # Scripts of one thread do not pay for these.
    import queue
    import threading
    from collections import deque

    class Call(threading.local):
        conn = None
        error = 0

    nbdkit._call = Call()
    todo = queue.SimpleQueue()
    changed = threading.Condition()
    one_by_one = calls.thread_model == nbdkit.THREAD_MODEL_SERIALIZE_REQUESTS
    # How many calls there are that no thread is free for, and how many threads.
    open_calls = threads = 0

    def sleep(seconds, conn):
        def over():
            return wire.stopping or (conn is not None and conn.dropped)
        with changed:
            return not changed.wait_for(over, seconds)

    def work():
        nonlocal open_calls
        while True:
            conn, words, body = todo.get()
            while words is not None:
                wire.send(*calls.answer(words, body))
                words = body = None
                with changed:
                    if conn is not None and conn.waiting:
                        words, body = conn.waiting.popleft()
                    else:
                        open_calls -= 1
                        if conn is not None:
                            conn.busy = False
            conn = None

    wire.sleep = sleep
    position = 0
    while True:
        line_end = data.find(b"\n", position)
        if line_end < 0:
            data = data[position:] + wire.read()
            position = 0
            continue
        words = data[position:line_end].split(b" ")
        position = line_end + 1
        calls.arrives(words)
        if words[0] == b"-":
            with changed:
                calls.notice(words)
                changed.notify_all()
            continue
        body = None
        if words[1] == b"pwrite":
            count = int(words[3])
            start = memoryview(data)[position:position + count]
            position += len(start)
            if len(start) < count:
                body = wire.read_body(start, count)
                # The next one has a place of its own, as this one is not done by then.
                wire.body = bytearray()
            else:
                body = start
        conn = calls.handles.get(words[2]) if one_by_one and len(words) > 2 else None
        with changed:
            if conn is not None and conn.busy:
                if conn.waiting is None:
                    conn.waiting = deque()
                conn.waiting.append((words, body))
                continue
            if conn is not None:
                conn.busy = True
            open_calls += 1
            if open_calls > threads and threads < THREADS:
                threads += 1
                threading.Thread(target=work, daemon=True).start()
        todo.put((conn, words, body))
