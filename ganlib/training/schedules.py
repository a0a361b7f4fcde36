"""Schedules: functions of the images-shown clock."""


def linear(seen_images: int, *, start: float, end: float, over_images: int) -> float:
    """From `start` at 0 to `end` at `over_images`, and `end` from there on."""
    passed = min(seen_images / over_images, 1.0)
    return start + (end - start) * passed
