"""compose.yaml: its services run one after the other as it says, against the servers of the tests instead of their images."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from support.container import DATA, UID, one_shot
from support.dynamodb_server import KpiTables
from support.paths import REPO, TESTS, clean_env
from support.s3_server import boto_client
from support.tools import tools_folder

COMPOSE = yaml.safe_load((REPO / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
TABLES = ("category_kpis_table", "order_kpis_table", "kpi_control")
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "kpid"}


def test_docker_can_read_it(tmp_path):
    """By the parser that Docker Compose has, which knows every key and what it may hold."""
    parser = tools_folder() / "bin" / "cmd"
    read = subprocess.run([parser, "--format", "json", REPO / "compose.yaml"], capture_output=True, text=True, check=True)
    assert set(json.loads(read.stdout)["services"]) == set(SERVICES)
    spoilt = tmp_path / "compose.yaml"
    spoilt.write_text((REPO / "compose.yaml").read_text(encoding="utf-8").replace("read_only: true", "read_onlly: true"), encoding="utf-8")
    refused = subprocess.run([parser, spoilt], capture_output=True, text=True)
    assert refused.returncode != 0 and "read_onlly" in refused.stderr


def test_services_and_volumes_that_are_named_exist():
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", [])) <= set(SERVICES) - {name}
        assert {mount.split(":")[0] for mount in service.get("volumes", [])} <= set(COMPOSE["volumes"])


def test_other_images_are_those_that_the_tests_run():
    go = (TESTS / "tools" / "go.mod").read_text(encoding="utf-8")
    assert SERVICES["s3"]["image"].endswith(":" + re.search(r"versity/versitygw (\S+)", go)[1])
    pom = (TESTS / "tools" / "dynamodb" / "pom.xml").read_text(encoding="utf-8")
    assert SERVICES["dynamodb"]["image"].endswith(":" + re.search(r"<artifactId>DynamoDBLocal</artifactId>\s*<version>(\S+)<", pom)[1])


def test_our_services_have_what_the_image_offers(image):
    assert set(OURS) == {"sample", "tables", "kpid"}
    for service in OURS.values():
        assert service["build"] == "." and service["read_only"] and service["cap_drop"] == ["ALL"]
        assert {mount.split(":")[1] for mount in service.get("volumes", [])} <= set(image.config["Volumes"])
    ports = {port.split(":")[-1] + "/tcp" for port in SERVICES["kpid"]["ports"]}
    assert ports <= set(image.config["ExposedPorts"])
    assert all(port.startswith("127.0.0.1:") for port in SERVICES["kpid"]["ports"]), "it has no keys"


def test_services_run_in_their_order(image, s3_server, dynamodb_server, start_container, tmp_path):
    keys = s3_server.environment()

    def settings(name: str) -> dict[str, str]:
        """The environment of a service; hosts and keys are those of the servers that run here."""
        return {
            **SERVICES[name]["environment"],
            "AWS_ENDPOINT_URL_S3": s3_server.url,
            "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_server.url,
            "AWS_ACCESS_KEY_ID": keys["ROOT_ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": keys["ROOT_SECRET_KEY"],
        }

    volume = tmp_path / "volume"
    volume.mkdir()
    volume.chmod(0o755)
    os.chown(volume, UID, UID)
    (upload,) = SERVICES["upload"]["command"]
    tables = KpiTables(boto_client("dynamodb", dynamodb_server.url), *TABLES)
    try:
        for _ in range(2):  # compose starts them again with every `up`
            made = one_shot(image, *SERVICES["sample"]["command"], mounts=[f"{volume}:{DATA}"])
            assert made.returncode == 0, made.stderr
            script = ["/bin/sh", "-c", upload.replace("/input/", f"{volume}/")]
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            subprocess.run(script, check=True, timeout=60, env=clean_env(**settings("upload"), PATH=path))
            created = one_shot(image, *SERVICES["tables"]["command"], **settings("tables"))
            assert created.returncode == 0, created.stderr
        service = settings("kpid")
        kpid = start_container(service.pop("KPI_SOURCE"), memory=SERVICES["kpid"]["mem_limit"], **service).await_ready()
        done = kpid.run("2025-03-15")
        assert done["state"] == "succeeded", done["error"]
        (row,) = tables.day("order", "2025-03-15")
        assert row["total_orders"] > 0
    finally:
        tables.drop()
