"""Which machine a figure is from, and tables for docs/performance.md."""

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path


def described() -> str:
    """Date, system, processor, load: figures without them say nothing."""
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.exists():
        model = next(
            (line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if "model name" in line), model
        )
    return (
        f"{time.strftime('%Y-%m-%d')}, {platform.system()} {platform.release()}, {model}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, load average {os.getloadavg()[0]:.1f}"
    )


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown; every column but the first holds numbers."""
    lines = [f"| {' | '.join(head)} |", f"| --- |{' ---: |' * (len(head) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
