"""What a person sees, on a terminal and in a file."""

import io

import pytest

from vla3d.training import progress as module
from vla3d.training.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar_with_rate_time_left_and_loss() -> None:
    stream = Terminal()
    with Progress(4, 1, enabled=True, stream=stream) as progress:
        progress.show_loss(0.12345)
        progress.message("step 1: error 3")
        for _ in range(3):
            progress.advance()
    shown = stream.getvalue()
    assert "step 1: error 3\n" in shown and "4/4" in shown and "step/s" in shown and "loss 0.1235" in shown and "<" in shown


def test_a_file_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress(102, 2, enabled=True, stream=stream) as progress:
        progress.show_loss(0.5)
        for _ in range(100):
            now[0] += 2.0
            progress.advance()
    lines = stream.getvalue().splitlines()
    assert lines[0] == "train 10/102 steps, 0.5 steps/s, 3:04 left, loss 0.5"
    assert lines[-1] == "train 102/102 steps, 0.5 steps/s, 0:00 left, loss 0.5"
    assert len(lines) == 13  # every eighth step, and the last


@pytest.mark.parametrize("stream", [Terminal(), io.StringIO()])
def test_off_shows_messages_only(stream: io.StringIO) -> None:
    with Progress(2, 0, enabled=False, stream=stream) as progress:
        progress.advance()
        progress.advance()
        progress.message("saved")
    assert stream.getvalue() == "saved\n"
