"""A sign of life from silent work."""

import re
import time

from pipelines.stages.heartbeat import Heartbeat


def test_silence_is_broken_and_talk_is_not_interrupted() -> None:
    lines: list[str] = []
    with Heartbeat(lines.append, "features", every_s=0.1) as heartbeat:
        time.sleep(0.35)
        silent = list(lines)
        for _ in range(20):
            heartbeat.note("figures")
            time.sleep(0.01)
        assert lines == silent
        time.sleep(0.25)
    assert 1 <= len(silent) <= 3
    assert all(re.fullmatch(r"features: \d+ s so far", line) for line in silent)
    assert len(lines) > len(silent)
    assert lines[-1].startswith("figures: ")
    ended = list(lines)
    time.sleep(0.2)
    assert lines == ended
