"""Signals that come at a bad moment."""

import io
import os
import signal
import sys

import pytest

from training.fit.signals import CutShortError, listening


class _Interrupted(io.RawIOBase):
    """A file in whose first write a signal comes."""

    def __init__(self) -> None:
        self.told = b""

    def writable(self) -> bool:
        return True

    def write(self, data: bytes) -> int:  # type: ignore[override]
        if not self.told:
            os.kill(os.getpid(), signal.SIGTERM)
        self.told += bytes(data)
        return len(data)


def test_a_signal_in_the_middle_of_a_printed_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    file = _Interrupted()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BufferedWriter(file)))
    with listening() as stop:
        print("a step", file=sys.stderr, flush=True)
        assert stop.signal_number == signal.SIGTERM
        with pytest.raises(CutShortError):
            list(stop.watch([1]))
    assert file.told == b"a step\n"
    assert capfd.readouterr().err == "\nSIGTERM: saving after this step; once more ends at once\n"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
