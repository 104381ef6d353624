"""Ctrl-C and SIGTERM end a resumable block wherever they arrive, and never as another error."""

import signal
import subprocess
import sys
import time

import pytest

from itembed_tf.errors import Terminated, UserError
from itembed_tf.interruption import resumable

SENT = {signal.SIGTERM: Terminated, signal.SIGINT: KeyboardInterrupt}


class SignalsInFinaliser:
    """Receives a signal while Python frees it, as the tensors of TensorFlow are freed."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        signal.raise_signal(self.number)


@pytest.mark.parametrize("number", SENT)
def test_a_signal_in_a_finaliser_is_not_lost(number, capsys):
    hook = sys.unraisablehook
    with pytest.raises(SENT[number]) as ended, resumable("itembed train X"):
        SignalsInFinaliser(number)
        time.sleep(20)
    assert type(ended.value) is SENT[number] and ended.value.args == ("continue with: itembed train X",)
    assert capsys.readouterr().err == "" and sys.unraisablehook is hook


def test_a_signal_that_c_code_turns_into_another_error_is_still_one():
    """As the import of an extension module makes an ImportError of it."""
    with pytest.raises(Terminated) as ended, resumable("itembed train X"):
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            raise ImportError("numpy failed to import") from None
    assert ended.value.args == ("continue with: itembed train X",)


def test_an_error_of_the_user_after_a_signal_is_that_error():
    with pytest.raises(UserError, match="the disk is full"), resumable("itembed train X"):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise UserError("the disk is full") from None


def test_an_error_without_a_signal_is_that_error():
    with pytest.raises(ImportError), resumable("itembed train X"):
        raise ImportError("numpy failed to import")


def test_a_handler_of_the_process_is_kept():
    received = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: received.append(number))
    try:
        with resumable("itembed train X"):
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert received == [signal.SIGTERM]


def test_sigterm_after_the_block_ends_the_process_as_before():
    code = (
        "import signal\nfrom itembed_tf.interruption import resumable\n"
        "with resumable('x'): pass\nsignal.raise_signal(signal.SIGTERM)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGTERM
