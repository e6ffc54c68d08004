"""What the machine has of memory: by the kernel's counts, and by those of a container around the program."""

from __future__ import annotations

from pathlib import Path

import pytest

from deforum.models.machine import free_memory, total_memory

MEMINFO = "MemTotal:       16000000 kB\nMemFree:         1000000 kB\nMemAvailable:    8000000 kB\n"
V2 = "sys/fs/cgroup/memory"
V1 = "sys/fs/cgroup/memory/memory"


@pytest.mark.parametrize(
    ("files", "free"),
    [
        ({}, 0),  # not Linux
        ({"proc/meminfo": "nothing of the kind"}, 0),
        ({"proc/meminfo": MEMINFO}, 8_192_000_000),
        ({"proc/meminfo": MEMINFO, f"{V2}.max": "max\n"}, 8_192_000_000),
        (
            {
                "proc/meminfo": MEMINFO,
                f"{V2}.max": "4000000000\n",
                f"{V2}.current": "3000000000\n",
                f"{V2}.stat": "anon 2500000000\ninactive_file 400000000\n",
            },
            1_400_000_000,
        ),
        (
            {
                "proc/meminfo": MEMINFO,
                f"{V1}.limit_in_bytes": "4000000000\n",
                f"{V1}.usage_in_bytes": "3000000000\n",
                f"{V1}.stat": "cache 1\ntotal_inactive_file 0\n",
            },
            1_000_000_000,
        ),
        # The limit is larger than what the machine has left.
        (
            {
                "proc/meminfo": MEMINFO,
                f"{V2}.max": "64000000000",
                f"{V2}.current": "3000000000",
                f"{V2}.stat": "anon 1",
            },
            8_192_000_000,
        ),
        # More than the limit, as happens when the limit is lowered.
        ({"proc/meminfo": MEMINFO, f"{V2}.max": "1000", f"{V2}.current": "2000", f"{V2}.stat": ""}, 0),
    ],
)
def test_free_memory(files: dict[str, str], free: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert free_memory(tmp_path) == free


def test_a_container_may_have_less_than_the_machine(tmp_path: Path) -> None:
    whole = total_memory(tmp_path)
    assert 0 <= free_memory() <= total_memory() <= whole or not whole
    (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
    (tmp_path / f"{V2}.max").write_text("1000\n")
    assert total_memory(tmp_path) == min(whole, 1000)
