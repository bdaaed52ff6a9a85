"""The container image beside those of others: megabytes, time from start to the first 200, and memory when idle.

All are built on the same base from packages and run by podman as a task would run. The time is that from the start of the process
in the container, so that the runtime, which is the same for all, is left out; memory is that of all of its processes.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from support.container import AS_ROOT, BUILD_HERE, DATA, UID, Image, base_image, environment, flags, run
from support.paths import REPO
from support.tools import cache_folder

PORT = 18095
START_SECONDS = 120
WHEELS = ("pyspark==3.5.9", "boto3==1.44.8")
PEERS = {
    "nginx": "nginx, answers from memory",
    "fastapi": "FastAPI, pandas, boto3",
    "pyspark": "PySpark 3.5, JVM (replaced)",
}


def wheels() -> Path:
    """What PyPI has for these images, fetched by the pip of this machine, which knows how to reach it."""
    folder = cache_folder() / "bench-wheels"
    if not (folder / "ready").exists():
        subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "-w", folder, *WHEELS], check=True)
        (folder / "ready").touch()
    return folder


def build_peer(name: str) -> Image:
    tag = f"localhost/kpid-bench/{name}"
    folder = REPO / "bench" / "images"
    words = ["bud", "--layers", "--format", "docker", *BUILD_HERE, "--volume", f"{wheels()}:/wheels:ro"]
    run("buildah", *words, "--build-arg", f"BASE={base_image()}", "-f", folder / f"{name}.Dockerfile", "-t", tag, folder, timeout=1800)
    return Image(tag)


def answers() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/healthz", timeout=1) as reply:
            return reply.status == 200
    except (OSError, urllib.error.URLError):
        return False


def processes(first: int) -> list[int]:
    """A process and all that it has started."""
    found = [first]
    for pid in found:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):
            for task in Path(f"/proc/{pid}/task").iterdir():
                found += map(int, (task / "children").read_text().split())
    return found


def resident(pids: list[int]) -> int:
    """Bytes, what several share counted once."""
    total = 0
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, FileNotFoundError):  # it may have ended
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1]) * 1024
    return total


def started_at(pid: int) -> float:
    """When a process began, in seconds of the monotonic clock, to 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return int(fields[19]) / os.sysconf("SC_CLK_TCK")


def measure(image: Image, options: list[str]) -> tuple[float, int]:
    """Seconds from the start of the process to the first 200, and bytes two seconds later."""
    name = f"kpid-bench-{os.getpid()}"
    command = [*AS_ROOT, "podman", "run", "--rm", "--name", name, *options, image.tag]
    client = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + START_SECONDS
        while not answers():
            if time.monotonic() > until or client.poll() is not None:
                raise SystemExit(f"{image.tag} does not answer")
            time.sleep(0.001)
        ready = time.clock_gettime(time.CLOCK_BOOTTIME)
        pid = int(run("podman", "inspect", "-f", "{{.State.Pid}}", name).stdout)
        seconds = ready - started_at(pid)
        time.sleep(2)
        return seconds, resident(processes(pid))
    finally:
        run("podman", "rm", "-f", "-t", "2", "-i", name, check=False)
        client.wait(30)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run("chown", UID, folder)
        settings = {"KPI_LISTEN": f"127.0.0.1:{PORT}", "KPI_HEALTH_LISTEN": "", "KPI_SOURCE": "file:///tmp"}
        own = [part for name, value in settings.items() for part in ("-e", f"{name}={value}")]
        strict = [*flags("256m"), *own, "-v", f"{folder}:{DATA}"]
        loose = ["--network", "host", "--memory", "2g"]  # others write where they like
        contenders = [("**kpid**", Image.build("localhost/kpid-bench/kpid"), strict)]
        contenders += [(PEERS[name], build_peer(name), loose) for name in options.peers]
        print(f"medians of {options.rounds}\n\n| image | MB unpacked | start to first 200, ms | idle, MB |\n|---|---|---|---|")
        for title, image, words in contenders:
            runs = [measure(image, words) for _ in range(options.rounds)]
            seconds = statistics.median(seconds for seconds, _ in runs)
            idle = statistics.median(memory for _, memory in runs)
            print(f"| {title} | {image.document['Size'] / 1e6:.1f} | {seconds * 1000:.0f} | {idle / 1e6:.1f} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
