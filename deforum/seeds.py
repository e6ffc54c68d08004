"""Derived seeds: every random number is a function of (seed, frame, purpose)."""

from __future__ import annotations

from hashlib import blake2b


def derive_seed(seed: int, frame: int, purpose: str) -> int:
    """Hash a seed, a frame index and a purpose ("noise", "seed", ...) into an independent seed 0..2**32-1."""
    digest = blake2b(f"{seed}/{frame}/{purpose}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")
