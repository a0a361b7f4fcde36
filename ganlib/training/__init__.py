"""The training loop and its exact state."""
