"""Randomness as an argument: every random number follows from (seed, frame, purpose)."""

from __future__ import annotations

from hashlib import blake2b


def derive_seed(seed: int, frame: int, purpose: str) -> int:
    """Mix a seed, a frame index and a purpose ("noise", "seed", ...) into a seed 0..2**32-1 of its own."""
    digest = blake2b(f"{seed}/{frame}/{purpose}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
