"""A link that can be dropped: a port that hands on to another one, until it is cut."""

import contextlib
import socket
import struct
import threading

_RESET = struct.pack("ii", 1, 0)  # no farewell: the peer hears that the link broke


class Proxy:
    """Listens on `port` of the loopback, and hands bytes on to `target`."""

    def __init__(self, target):
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._links = set()
        self._left = None  # bytes that still pass; None: all
        threading.Thread(target=self._take, daemon=True).start()

    def cut(self, n_bytes=0):
        """Drop all links once so many bytes more have passed, and take no new ones until `mend`."""
        with self._lock:
            self._left = n_bytes
        if n_bytes == 0:
            self._drop()

    def mend(self):
        self._drop()  # also those over which nothing passed meanwhile
        with self._lock:
            self._left = None

    def close(self):
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._drop()

    def _drop(self):
        with self._lock:
            links, self._links = self._links, set()
        for link in links:
            _reset(link)

    def _take(self):
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:
                return
            if self._left == 0:
                _reset(ours)
                continue
            try:
                theirs = socket.create_connection(("127.0.0.1", self.target), 5.0)
            except OSError:
                _reset(ours)
                continue
            theirs.settimeout(None)
            with self._lock:
                self._links |= {ours, theirs}
            threading.Thread(target=self._pair, args=(ours, theirs), daemon=True).start()

    def _pair(self, ours, theirs):
        back = threading.Thread(target=self._hand_on, args=(theirs, ours), daemon=True)
        back.start()
        self._hand_on(ours, theirs)
        back.join()
        with self._lock:
            self._links -= {ours, theirs}
        ours.close()
        theirs.close()

    def _hand_on(self, a, b):
        try:
            while data := a.recv(65536):
                with self._lock:
                    if self._left is not None:
                        data = data[: self._left]
                        self._left -= len(data)
                    over = self._left == 0
                if data:
                    b.sendall(data)
                if over:
                    self._drop()
                    return
            b.shutdown(socket.SHUT_WR)
        except OSError:
            _reset(a)
            _reset(b)


def _reset(link):
    with contextlib.suppress(OSError):
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with contextlib.suppress(OSError):
        link.shutdown(socket.SHUT_RD)  # wakes who reads; the close below resets
    link.close()
