"""A game of a generator and a critic."""
