"""Every random draw of a training as a function of (seed, purpose, images shown)."""

import hashlib

import torch


def generator_at(seed: int, purpose: str, seen_images: int, device: torch.device) -> torch.Generator:
    """A random generator that depends on nothing that happened before, so that resuming is exact."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{seen_images}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:8], "big") >> 1)
