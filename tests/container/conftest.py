"""The image of this checkout, and containers of it."""

import os

import pytest

from support.aws_site import Site
from support.container import ARCHITECTURE, UID, ContainerServer, Image
from support.tools import free_port

TAG = f"localhost/kpid-tests/kpid-{ARCHITECTURE}"


@pytest.fixture(scope="session")
def image() -> Image:
    return Image.build(f"{TAG}:checkout")


@pytest.fixture
def volume(tmp_path):
    """A function that makes a folder which the program may write to, as the volume of a task is."""

    def make(name: str = "volume"):
        folder = tmp_path / name
        folder.mkdir()
        folder.chmod(0o750)
        os.chown(folder, UID, UID)
        return folder

    return make


@pytest.fixture
def start_container(image, volume, tmp_path):
    """A function that starts a container of its own, on `data` or on a new volume; all are gone at the end."""
    started: list[ContainerServer] = []

    def start(source=None, **settings) -> ContainerServer:
        data = settings.pop("data", None) or volume(f"volume{len(started)}")
        settings = {"KPI_HEALTH_LISTEN": f"127.0.0.1:{free_port()}", **settings}
        tmp_path.chmod(0o755)
        server = ContainerServer(image, data, source, **settings)
        started.append(server)
        return server.start()

    yield start
    for server in started:
        server.kill()


@pytest.fixture
def container_site(site, start_container):
    """A bucket and tables, and containers that are set up for them."""
    return Site(site.bucket, site.tables, site.s3, site.dynamodb, start_container, site.folder)
