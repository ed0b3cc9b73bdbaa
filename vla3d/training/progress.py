"""Progress for people: a bar on a terminal, a line now and then in a log file."""

import sys
import time
from types import TracebackType
from typing import Self, TextIO

from tqdm import tqdm

_LINE_EVERY_S = 15.0


class Progress:
    """Steps done, rate, time left and the latest loss.

    Args:
        total: steps in all.
        start: steps done before.
        enabled: off shows nothing but messages.
        frozen: first steps in which a part of the model stays as it is; the bar says so until they are done.
        stream: where to; standard error by default.
    """

    def __init__(self, total: int, start: int, *, enabled: bool, frozen: int = 0, stream: TextIO | None = None) -> None:
        self._total, self._first, self._step, self._frozen = total, start, start, frozen
        self._stream = stream if stream is not None else sys.stderr
        self._enabled = enabled
        self._terminal = self._stream.isatty()
        self._bar = tqdm(
            total=total,
            initial=start,
            desc=self._title(),
            unit="step",
            file=self._stream,
            disable=not (enabled and self._terminal),
            dynamic_ncols=True,
        )
        self._began = self._printed = time.monotonic()
        self._loss = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._bar.close()

    def advance(self) -> None:
        """One step is done."""
        self._step += 1
        self._bar.update()
        if self._step == self._frozen:
            self._bar.set_description(self._title(), refresh=False)
        if self._enabled and not self._terminal:
            now = time.monotonic()
            if now - self._printed > _LINE_EVERY_S or self._step == self._total:
                self._printed = now
                self._line(now)

    def show_loss(self, loss: float) -> None:
        """The loss to show from now on."""
        self._loss = f"{loss:.4g}"
        self._bar.set_postfix_str(f"loss {self._loss}", refresh=False)

    def message(self, text: str) -> None:
        """A line of its own."""
        if self._terminal and self._enabled:
            self._bar.write(text, file=self._stream)
        else:
            print(text, file=self._stream, flush=True)

    def _title(self) -> str:
        return f"train (part frozen until {self._frozen})" if self._step < self._frozen else "train"

    def _line(self, now: float) -> None:
        rate = (self._step - self._first) / max(now - self._began, 1e-9)
        left = int((self._total - self._step) / rate)
        loss = f", loss {self._loss}" if self._loss else ""
        print(
            f"{self._title()} {self._step}/{self._total} steps, {rate:.1f} steps/s, {left // 60}:{left % 60:02d} left{loss}",
            file=self._stream,
            flush=True,
        )
