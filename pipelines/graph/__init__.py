"""The DVC graph as data, and its stages as supervised child processes, one driver at a time."""
