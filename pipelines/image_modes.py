"""Pillow's names of images by their number of channels."""

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
