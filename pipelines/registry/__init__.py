"""Generators as versions: the gate, the champion and its history, and the code inside a model."""
