"""How far long work has come."""

from ganlib.counting import counted


def test_short_work_is_silent_and_long_work_tells_every_ten_seconds() -> None:
    clock = [0.0]
    told: list[tuple[float, str]] = []
    batches = [[0] * 50 for _ in range(20)]
    for _ in counted(batches, 1000, "features", lambda text: told.append((clock[0], text)), clock=lambda: clock[0]):
        clock[0] += 2
    assert told == [
        (6.0, "features: 150 of 1000 images, 25 images/s, 34 s left"),
        (16.0, "features: 400 of 1000 images, 25 images/s, 24 s left"),
        (26.0, "features: 650 of 1000 images, 25 images/s, 14 s left"),
        (36.0, "features: 900 of 1000 images, 25 images/s, 4 s left"),
    ]
    told.clear()
    assert list(counted(batches, 1000, "features", lambda text: told.append((0, text)))) == batches
    assert told == []
