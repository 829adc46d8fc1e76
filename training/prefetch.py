"""Making batches in a background thread, ahead of who needs them."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Made = TypeVar("Made")
_POLL_SECONDS = 0.1


class Prefetch(Generic[Made]):
    """Iterates ``make()`` in a thread that is at most ``ahead`` items ahead; errors are raised here.

    ``None`` is passed over: whoever makes nothing for long yields it, so that ``close`` need not wait.
    The thread ends with the iteration: when it is exhausted, when ``make`` fails, or on ``close``.
    """

    def __init__(self, make: Callable[[], Iterator[Made | None]], ahead: int) -> None:
        self._make = make
        self._ready: queue.Queue[Made | BaseException | None] = queue.Queue(max(1, ahead))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="batches", daemon=True)
        self._thread.start()
        self.wait_seconds = 0.0

    def __iter__(self) -> Iterator[Made]:
        """The items; the time that each took to come counts as waiting."""
        while True:
            began = time.perf_counter()
            item = self._ready.get()
            self.wait_seconds += time.perf_counter() - began
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def close(self) -> None:
        """End the thread and wait for it."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        items = self._make()
        try:
            for item in items:
                if self._stop.is_set() or (item is not None and not self._put(item)):
                    return
            self._put(None)
        except BaseException as error:  # whatever it is, the consumer must hear of it
            self._put(error)
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

    def _put(self, item: Made | BaseException | None) -> bool:
        while not self._stop.is_set():
            try:
                self._ready.put(item, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return True
        return False
