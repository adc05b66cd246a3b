"""A worker process of the local executor: gets a function, then items; answers with results.

Messages are bytes with a kind in front: `f` a function and `i` an item come in, `r` a result, `e` an exception and `d`
what it is doing now go out. The worker ends when its parent does.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
from multiprocessing.connection import Connection
from typing import Any

from curate.errors import StoppedError

_pipe: Connection | None = None
_doing = ""


def doing(what: str) -> None:
    """Tell the parent what this process is doing now; nothing happens outside a worker."""
    global _doing
    _doing = what
    if _pipe is not None:
        _pipe.send_bytes(b"d" + what.encode())


def still_doing() -> None:
    """Tell the parent that the same is going on and making progress: its clock (`limits.seconds`) starts again.

    For models that take hours over a batch: they say so after each pass, so that only one that hangs runs out of time.
    """
    if _doing:
        doing(_doing)


def serve(pipe: Connection) -> None:
    """Answer until the parent closes the pipe."""
    function: Any = None
    while True:
        try:
            message = pipe.recv_bytes()
        except (EOFError, ConnectionResetError):
            return
        if message[:1] == b"f":
            function = pickle.loads(message[1:])
            continue
        item = pickle.loads(message[1:])
        try:
            answer = b"r" + pickle.dumps(function(item))
        except Exception as error:  # the parent raises it again
            answer = b"e" + _pickled(error)
        pipe.send_bytes(answer)


def _pickled(error: Exception) -> bytes:
    try:
        data = pickle.dumps(error)
        pickle.loads(data)
    except Exception:  # an exception that does not pickle is told in words
        data = pickle.dumps(StoppedError(f"{type(error).__name__}: {error}"))
    return data


def _watch_parent(parent: int) -> None:
    """End this process when its parent is gone, however it went (FAULTS trap 10)."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def main() -> None:
    """Connect to the parent by the file descriptor in the arguments, load the plugins, serve."""
    global _pipe
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()
    sys.modules["curate.worker"] = sys.modules[__name__]  # run as a script: one module, one pipe
    _pipe = Connection(int(sys.argv[1]))
    from curate.filter import load_plugin

    for plugin in sys.argv[2:]:
        load_plugin(plugin)
    serve(_pipe)


if __name__ == "__main__":
    main()
