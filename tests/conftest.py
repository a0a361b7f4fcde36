"""Property tests draw the same examples every time, and none is judged by the clock."""

from hypothesis import settings

settings.register_profile("ganlib", deadline=None, derandomize=True)
settings.load_profile("ganlib")
