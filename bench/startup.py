"""How long ``up`` takes until a person can ping the first guest, and what the services cost in memory.

    .venv/bin/python -m bench.startup [--rounds 3]

Cold: nothing is there but the system packages and the environment; the run folder and the cache of guest images are
removed before each round. Warm: ``down --keep-data``, then ``up``. Times are seconds from the start of the command,
launcher included, to the end of the step; memory is each service's share (PSS) with its children, after warm ``up``,
and what else runs for the cloud: supervisor, preloaded processes, the simulated host's engine and its daemons, guests.
Uses a cloud of its own name. Root.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import time
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
IMAGES = Path("/var/cache/beastack/guestimage")
NAME = "bench"
GOALS = {"cold": 45.0, "warm": 25.0}
MEMORY_GOAL = 2e9
GUEST = "guest (QEMU)"
# a word of the command line -> what the table calls it
KINDS = (
    ("supervisor.main", "supervisor and preloaded processes"),
    ("beastack-guest", "guest supervisor"),
    ("privsep-helper", "privileged helpers"),
    ("beastack.sim", "simulated host"),
    ("beastack-sim", "simulated host"),
    ("qemu-system", GUEST),
)


def beastack(*arguments: str, check: bool = True) -> str:
    done = subprocess.run(
        [str(ROOT / "beastack"), *arguments, "--name", NAME], capture_output=True, text=True, timeout=600, check=False
    )
    if check and done.returncode:
        raise SystemExit(f"beastack {' '.join(arguments)} failed:\n{done.stderr[-3000:]}")
    return done.stdout


def round_of_up() -> dict[str, float]:
    """One ``up``: end of every step, and of the whole command."""
    began = time.monotonic()
    outcome = json.loads(beastack("up", "--json"))
    whole = time.monotonic() - began
    ends = {name: start + took for name, start, took in outcome["timings"]}
    # the command's own start, before the graph's clock
    before = whole - max(ends.values())
    return {name: end + before for name, end in ends.items()} | {"the command": whole}


def measure(rounds: int) -> dict[str, Any]:
    """Cold and warm rounds, and the memory after the last."""
    found: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
    beastack("down", check=False)
    for _ in range(rounds):
        shutil.rmtree(IMAGES, ignore_errors=True)
        found["cold"].append(round_of_up())
        beastack("down", "--keep-data")
        found["warm"].append(round_of_up())
        status = json.loads(beastack("status", "--json"))
        memory = {s["name"]: s["memory"] for s in status["services"]} | others(status)
        beastack("down")
    return {"rounds": found, "memory": memory}


def others(status: dict[str, Any]) -> dict[str, int]:
    """PSS of the cloud's processes that are no service's: by what they are."""
    run_dir = status["run_dir"]
    hosts = {Path(f"/proc/{json.loads(f.read_text())['pid']}/ns/pid").readlink() for f in engines(run_dir)}
    counted = {p.pid for s in status["services"] for p in family(s["pid"])}
    found: dict[str, int] = {}
    for process in psutil.process_iter():
        try:
            marked = process.environ().get("BEASTACK_CLOUD") == run_dir
            inside = Path(f"/proc/{process.pid}/ns/pid").readlink() in hosts
            if process.pid in counted or not (marked or inside):
                continue
            words = process.cmdline()
            size = process.memory_full_info().pss
        except (psutil.Error, OSError):
            continue
        kind = next((text for part, text in KINDS if any(part in w for w in words[:4])), Path(words[0]).name)
        found[kind] = found.get(kind, 0) + size
    return found


def engines(run_dir: str) -> list[Path]:
    return sorted(Path(run_dir).glob("hosts/*/engine.json"))


def family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def median(rows: list[dict[str, float]], step: str) -> float:
    return statistics.median(row[step] for row in rows)


def tables(result: dict[str, Any]) -> str:
    """Markdown for docs/performance.md."""
    cold, warm = result["rounds"]["cold"], result["rounds"]["warm"]
    lines = ["| step ends after, s | cold | warm |", "| --- | ---: | ---: |"]
    for step in sorted(cold[0], key=lambda s: median(cold, s)):
        lines.append(f"| {step} | {median(cold, step):.1f} | {median(warm, step):.1f} |")
    lines += ["", "| | measured | all rounds | goal |", "| --- | ---: | --- | ---: |"]
    for kind, rows in (("cold", cold), ("warm", warm)):
        for step in ("server ACTIVE", "ping"):
            each = " ".join(f"{row[step]:.1f}" for row in rows)
            goal = f"{GOALS[kind]:.0f} s" if step == "ping" else ""
            lines.append(f"| {kind}, `up` to {step} | {median(rows, step):.1f} s | {each} | {goal} |")
    total = sum(size for name, size in result["memory"].items() if name != GUEST)
    lines.append(f"| memory of all but the guest (PSS) | {total / 1e9:.2f} GB | | {MEMORY_GOAL / 1e9:.0f} GB |")
    lines += ["", "| process | PSS, MB |", "| --- | ---: |"]
    for name, size in sorted(result["memory"].items(), key=lambda item: -item[1]):
        lines.append(f"| {name} | {size / 1e6:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the raw figures there")
    given = parser.parse_args()
    result = measure(given.rounds)
    if given.json:
        given.json.write_text(json.dumps(result, indent=2))
    load = os.getloadavg()[0]
    print(f"{time.strftime('%Y-%m-%d')}, {platform.system()}, {os.cpu_count()} cores, load average {load:.1f}\n")
    print(tables(result))


if __name__ == "__main__":
    main()
