"""Seeds of what is drawn besides the images."""

import numpy as np


def seed_for(use: str, seed: int) -> int:
    """A 32-bit seed for one use, so that the uses of one `seed` draw independently of each other."""
    return int(np.random.SeedSequence([seed, *use.encode()]).generate_state(1)[0])
