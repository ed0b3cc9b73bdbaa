"""Ctrl-C and termination, turned into a wish that the loop reads between two steps."""

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Self


class StopRequest:
    """While active, the first SIGINT or SIGTERM is only noted, so that an update is never torn; a second SIGINT acts at once.

    Outside the main thread, where signals cannot be handled, it does nothing.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def raise_if_received(self) -> None:
        """What the signal would have done: KeyboardInterrupt, or exit code 143 for SIGTERM."""
        if self.received is signal.SIGINT:
            raise KeyboardInterrupt
        if self.received is signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        # print() could find its own buffer half written by the code that was interrupted.
        os.write(2, b"\nStopping: saving after this step (Ctrl-C again stops at once, without saving).\n")
