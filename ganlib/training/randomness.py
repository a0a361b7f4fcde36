"""Every random draw of a training as a function of (seed, purpose, images shown)."""

import hashlib

import torch


def seed_at(seed: int, purpose: str, seen_images: int) -> int:
    """A seed that depends on nothing that happened before, so that resuming is exact."""
    digest = hashlib.sha256(f"{seed}/{purpose}/{seen_images}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator_at(seed: int, purpose: str, seen_images: int, device: torch.device) -> torch.Generator:
    """A random generator with the seed of this moment."""
    return torch.Generator(device).manual_seed(seed_at(seed, purpose, seen_images))
