"""The container image of this checkout, built by scripts/image, and containers of it, run as ECS would: no daemon is needed.

KPID_MACHINE says for which processor; QEMU runs what is for another one than this machine's.
"""

import fcntl
import itertools
import json
import os
import subprocess
from pathlib import Path

from support.datasets import BASE
from support.paths import MACHINE, REPO, SLOWDOWN, TESTS
from support.server import Server
from support.tools import cache_folder, ready

ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[MACHINE]  # as Debian and images name it
BASE_TAG = f"localhost/kpid-tests/debian-{ARCHITECTURE}:bookworm-slim"
PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DATA = "/var/lib/kpid"  # the volume
UID = 10001
AS_ROOT = [] if os.geteuid() == 0 else ["sudo", "-n", "-E"]
# Neither namespaces nor a registry; unlike podman and docker, buildah keeps layers only if told so.
BUILD_HERE = ["--isolation", "chroot", "--pull-never", "--network", "host", "--layers"]
names = itertools.count()


def run(*command: object, timeout: float = 60, **options) -> subprocess.CompletedProcess:
    """One command of podman, buildah or a script that uses them, as root: of what runs here none needs to be."""
    return subprocess.run(
        [*AS_ROOT, *map(str, command)],
        env=environment(),
        timeout=timeout,
        **{"check": True, "text": True, "capture_output": True, **options},
    )


def environment() -> dict[str, str]:
    """What the tools need to be set: runc, since others fail where cgroups are of version 1, and limits that root has everywhere."""
    return {**os.environ, "CONTAINERS_CONF": str(TESTS / "container" / "containers.conf"), "CONTAINER_BUILDER": "buildah"}


def commit_seconds() -> str:
    """The date that what is built of this checkout has, in seconds since 1970."""
    shown = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=REPO, check=True, capture_output=True, text=True)
    return shown.stdout.strip()


def base_image() -> str:
    """Debian 12 as install_containers of scripts/setup made it from packages; the name that a Dockerfile can start from."""
    archive = ready(f"debian-bookworm-{ARCHITECTURE}", f"install_containers {ARCHITECTURE}") / "root.tar"
    if run("podman", "image", "exists", BASE_TAG, check=False).returncode != 0:
        run("podman", "import", "-q", "--arch", ARCHITECTURE, "--change", f"ENV {PATH}", archive, BASE_TAG)
    return BASE_TAG


class Image:
    """An image that is there."""

    def __init__(self, tag: str):
        self.tag = tag
        self.document = json.loads(run("podman", "image", "inspect", tag).stdout)[0]

    @classmethod
    def build(cls, tag: str, *arguments: str) -> "Image":
        """Layers of the build stage are kept on this machine: what has changed is built anew, by one test run at a time."""
        with (cache_folder() / f"image-{ARCHITECTURE}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run(
                *(REPO / "scripts" / "image", tag, *BUILD_HERE, "--platform", f"linux/{ARCHITECTURE}", "--build-arg", f"BASE={base_image()}", *arguments),
                timeout=900 * SLOWDOWN,
            )
        return cls(tag)

    @property
    def config(self) -> dict:
        return self.document["Config"]

    @property
    def layers(self) -> list[str]:
        return self.document["RootFS"]["Layers"]

    def export(self, folder: Path) -> Path:
        """All of its files as a tar archive in the folder."""
        archive = folder / "image.tar"
        container = run("podman", "create", self.tag).stdout.strip()
        try:
            run("podman", "export", "-o", archive, container)
        finally:
            run("podman", "rm", container)
        return archive


def flags(memory: str) -> list[str]:
    """How a task of the stack runs, and stricter: nothing but the volume can be written."""
    return [
        *("--network", "host", "--health-interval", "disable", "--read-only", "--read-only-tmpfs=false"),
        *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--pids-limit", "64"),
        *("--memory", memory, "--memory-swap", memory),
    ]


def command(image: Image, args: list[str], name: str, mounts: list[str], env: dict[str, str], memory: str) -> list[str]:
    settings = [part for key, value in env.items() for part in ("-e", f"{key}={value}")]
    volumes = [part for mount in mounts for part in ("-v", mount)]
    return ["podman", "run", "--rm", "--name", name, *flags(memory), *volumes, *settings, image.tag, *args]


def one_shot(image: Image, *args: str, mounts: list[str] = (), memory: str = "256m", **env: str) -> subprocess.CompletedProcess:
    """One command of the program in a container of its own."""
    env = {"KPI_HEALTH_LISTEN": "", **env}
    return run(*command(image, list(args), f"kpid-{os.getpid()}-{next(names)}", list(mounts), env, memory), check=False)


class ContainerServer(Server):
    """`kpid serve` in a container; `data` is what is mounted as its volume, a folder or the name of a volume."""

    def __init__(self, image: Image, data: Path | str, source: Path | str | None = None, memory: str = "256m", **settings: str):
        source = source or BASE
        super().__init__(Path(DATA) / "kpid.db", source, **settings)
        self.image = image
        self.memory = memory
        self.mounts = [f"{data}:{DATA}"]
        if isinstance(source, Path):
            self.mounts.append(f"{source}:{source}:ro")
        self.name = ""

    def command(self) -> list[str]:
        self.name = f"kpid-{os.getpid()}-{next(names)}"
        return [*AS_ROOT, *command(self.image, ["serve"], self.name, self.mounts, self.settings, self.memory)]

    def environment(self) -> dict[str, str]:
        return environment()

    def state(self) -> dict:
        return json.loads(run("podman", "inspect", self.name).stdout)[0]["State"]

    def stop(self, seconds: int = 120) -> int:
        """As ECS stops a task: SIGTERM, and SIGKILL after so many seconds. The exit code."""
        run("podman", "stop", "-t", seconds, self.name, timeout=seconds + 30)
        return self.process.wait(10)

    def kill(self) -> None:
        run("podman", "kill", "-s", "KILL", self.name, check=False)
        super().kill()
        run("podman", "rm", "-f", "-i", self.name, check=False)
