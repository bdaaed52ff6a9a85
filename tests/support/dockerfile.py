"""What the last stage of the Dockerfile says of the image."""

import json
import re
from dataclasses import dataclass

from support.paths import REPO

DOCKERFILE = REPO / "Dockerfile"


@dataclass(frozen=True)
class Image:
    """Settings of an image."""

    env: dict[str, str]
    volumes: list[str]
    entrypoint: list[str]
    command: list[str]
    health_check: list[str]


def read() -> Image:
    """Those of the Dockerfile as it is."""
    text = DOCKERFILE.read_text(encoding="utf-8").replace("\\\n", " ")
    stage = re.split(r"^FROM .*$", text, flags=re.MULTILINE)[-1]

    def arguments(name: str) -> list[str]:
        return re.findall(rf"^{name} (.*)$", stage, re.MULTILINE)

    [health] = arguments("HEALTHCHECK")
    return Image(
        env=dict(pair.split("=", 1) for line in arguments("ENV") for pair in line.split()),
        volumes=[path for line in arguments("VOLUME") for path in line.split()],
        entrypoint=json.loads(arguments("ENTRYPOINT")[-1]),
        command=json.loads(arguments("CMD")[-1]),
        health_check=json.loads(health.split(" CMD ")[1]),
    )


IMAGE = read()
