"""What decoders print is caught, what others print is not lost."""

import os
import threading

import pytest

from ganlib.datasets.cleaning.overhearing import overheard


def test_what_is_said_is_returned_and_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(3):
        result, said = overheard(lambda: os.write(2, b"libpng error: bad luck\nCorrupt JPEG data: worse\n"))
        assert (result, said) == (48, "libpng error: bad luck\nCorrupt JPEG data: worse")
        assert overheard(lambda: 7) == (7, "")
    assert capfd.readouterr() == ("", "")


def test_what_others_say_comes_after(capfd: pytest.CaptureFixture[str]) -> None:
    _, said = overheard(lambda: os.write(2, b"a log line\nlibpng warning: nothing\nanother\n"))
    assert said == "libpng warning: nothing"
    assert capfd.readouterr().err == "a log line\nanother\n"


def test_errors_leave_the_output_as_it_was(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        os.write(2, b"libpng error: lost\n")
        raise KeyError

    with pytest.raises(KeyError):
        overheard(fail)
    os.write(2, b"heard\n")
    assert capfd.readouterr().err == "heard\n"
    assert overheard(lambda: 1) == (1, "")


def test_threads_take_turns(capfd: pytest.CaptureFixture[str]) -> None:
    said: dict[int, str] = {}

    def speak(number: int) -> None:
        for _ in range(50):
            said[number] = overheard(lambda: os.write(2, f"libpng error: {number}\n".encode()))[1]

    threads = [threading.Thread(target=speak, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == {number: f"libpng error: {number}" for number in range(4)}
    assert capfd.readouterr() == ("", "")
