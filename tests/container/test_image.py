"""The image as it is stored: what is in it, and what is not.

KPID_IMAGE_BUILDS says how many clean builds must give the same bytes (1; deep: 2), beside the one that is tested.
"""

import json
import os
import re
import subprocess
import tarfile
from pathlib import Path

import pytest

from support.container import ARCHITECTURE, BASE_TAG, DATA, UID, Image, commit_seconds, one_shot
from support.paths import MACHINE, REPO, SLOWDOWN, project_version

MEGABYTE = 1_000_000
SIZE_MAX = 25 * MEGABYTE
BUILDS = int(os.environ.get("KPID_IMAGE_BUILDS", "1"))
PROGRAM = "usr/local/bin/kpid"
# The processor as readelf names it, and how its functions begin where jumps or return addresses are checked: endbr64, paciasp.
MACHINES = {"x86_64": ("X86-64", b"\xf3\x0f\x1e\xfa"), "aarch64": ("AArch64", b"\x3f\x23\x03\xd5")}

pytestmark = pytest.mark.timeout(300 * SLOWDOWN)  # QEMU takes minutes to build one


@pytest.fixture(scope="module")
def archive(image, tmp_path_factory) -> Path:
    return image.export(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def members(archive) -> list[tarfile.TarInfo]:
    """Everything in the image, with owners and modes; podman itself adds empty mount points."""
    with tarfile.open(archive) as tar:
        return tar.getmembers()


@pytest.fixture(scope="module")
def root(archive) -> Path:
    """The files of the image, readable here."""
    folder = archive.parent / "root"
    folder.mkdir()
    subprocess.run(["tar", "-C", folder, "-xf", archive, "--no-same-owner", "--mode=u+rwX"], check=True)
    return folder


def readelf(path: Path, *options: str) -> str:
    return subprocess.run(["readelf", "--wide", *options, path], check=True, capture_output=True, text=True).stdout


def test_image_is_small_and_one_layer(image, tell):
    size = image.document["Size"]
    tell(f"image: {size / MEGABYTE:.1f} MB unpacked, {len(image.layers)} layer")
    assert size <= SIZE_MAX
    assert len(image.layers) == 1


def test_image_is_for_the_processor_that_it_names(image, root):
    assert image.document["Architecture"] == ARCHITECTURE
    libraries = [path for path in root.glob("**/*.so*") if path.is_file()]
    assert len(libraries) > 10
    for path in (root / PROGRAM, *libraries):
        assert re.search(rf"Machine:.*{MACHINES[MACHINE][0]}$", readelf(path, "--file-header"), re.MULTILINE), path
    assert one_shot(image, "version").stdout.splitlines()[2].startswith(f"{MACHINE}, CSV by ")


def test_clean_builds_give_the_same_bytes(image):
    for number in range(BUILDS):
        again = Image.build(f"{image.tag}-again{number}", "--no-cache", "--layers=false")
        assert again.layers == image.layers


def test_every_file_is_dated_as_the_commit(members):
    date = int(commit_seconds())
    assert {m.name: m.mtime for m in members if m.mtime != date} == {}


def test_settings_of_the_image(image):
    config = image.config
    assert config["User"] == f"{UID}:{UID}"
    assert config["Entrypoint"] == ["/usr/local/bin/kpid"]
    assert config["Cmd"] == ["serve"]
    assert config["StopSignal"] == "SIGTERM"
    assert list(config["Volumes"]) == [DATA]
    assert set(config["ExposedPorts"]) == {"8080/tcp", "8081/tcp"}
    assert config.get("WorkingDir", "") in ("", "/")
    env = dict(entry.split("=", 1) for entry in config["Env"])
    assert env["KPI_DB"].startswith(DATA)
    assert env["TMPDIR"] == env["SQLITE_TMPDIR"] == DATA
    check = image.document["Healthcheck"]
    assert check["Test"] == ["CMD", "/usr/local/bin/kpid", "healthcheck"]


def test_labels_say_what_it_is(image):
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in image.config["Labels"].items()}
    program = one_shot(image, "version").stdout.splitlines()[0]
    assert labels["title"] == "kpid"
    assert labels["licenses"] == "MIT"
    assert labels["version"] == project_version()
    assert labels["base.name"] == BASE_TAG
    assert re.fullmatch(r"[0-9a-f]{12}\+?", labels["revision"])
    assert program == f"kpid {labels['version']} (commit {labels['revision']})"


def test_nothing_else_can_be_run(members):
    """No shell, no package manager: one program, and what it is linked to."""
    run = {m.name for m in members if m.isfile() and m.mode & 0o111}
    libraries = {name for name in run if re.match(r"(usr/)?lib(64)?/.*\.so(\.\d+)*$", name)}
    assert run - libraries == {PROGRAM}
    assert [m.name for m in members if m.mode & 0o6000] == []
    assert [m.name for m in members if m.isdev()] == []


def test_only_the_volume_is_its_own(members):
    assert {m.name: (m.uid, m.gid, oct(m.mode & 0o7777)) for m in members if (m.uid, m.gid) != (0, 0)} == {
        DATA.strip("/"): (UID, UID, "0o750")
    }
    assert [m.name for m in members if m.mode & 0o002 and not m.issym()] == ["tmp"]


def test_program_is_hardened(root):
    headers = readelf(root / PROGRAM, "--file-header", "--program-headers", "--dynamic")
    assert re.search(r"Type:\s+DYN", headers), "position-independent"
    assert re.search(r"GNU_STACK.*\sRW\s", headers), "no code on the stack"
    assert "GNU_RELRO" in headers
    assert re.search(r"FLAGS_1.*NOW", headers), "addresses are bound at the start and then read-only"
    assert not re.search(r"R(UN)?PATH", headers)
    symbols = readelf(root / PROGRAM, "--dyn-syms")
    assert "__stack_chk_fail" in symbols
    assert re.search(r"__\w+_chk\b", symbols.replace("__stack_chk_fail", "")), "_FORTIFY_SOURCE"
    sections = readelf(root / PROGRAM, "--sections")
    assert ".symtab" not in sections and ".debug" not in sections, "stripped"
    assert ".note.gnu.build-id" in sections
    assert (root / PROGRAM).read_bytes().count(MACHINES[MACHINE][1]) > 1000, "-fcf-protection, -mbranch-protection"


def test_every_library_is_of_a_package_that_scanners_see(root):
    packages = {path.name: path.read_text(encoding="utf-8") for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert {"libc6", "libcurl4", "libmicrohttpd12", "libsqlite3-0", "tzdata", "ca-certificates"} <= set(packages)
    for name, status in packages.items():
        assert f"Package: {name}\n" in status and "\nVersion: " in status
        assert (root / "usr/share/doc" / name / "copyright").stat().st_size > 0
    assert (root / "usr/share/doc/kpid/copyright").read_text(encoding="utf-8") == (REPO / "LICENSE").read_text(encoding="utf-8")
    bom = json.loads((root / "usr/share/sbom/kpid.cdx.json").read_text(encoding="utf-8"))
    assert bom["metadata"]["component"]["version"] == project_version()
    listed = {component["name"]: component["version"] for component in bom["components"]}
    assert listed == {name: re.search(r"^Version: (.+)$", status, re.MULTILINE)[1] for name, status in packages.items()}


def test_bill_of_materials_is_cyclonedx(root):
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    validator = JsonStrictValidator(SchemaVersion.V1_5)
    text = (root / "usr/share/sbom/kpid.cdx.json").read_text(encoding="utf-8")
    assert validator.validate_str(text) is None
    assert validator.validate_str(text.replace('"application"', '"no such type"')) is not None


def test_zones_and_certificates_are_there(image, root):
    for zone in ("Europe/Berlin", "America/New_York", "UTC"):
        assert one_shot(image, "check-config", KPI_TIMEZONE=zone).returncode == 0
    assert one_shot(image, "check-config", KPI_TIMEZONE="Europe/Nowhere").returncode == 78
    certificates = (root / "etc/ssl/certs/ca-certificates.crt").read_text(encoding="ascii")
    assert certificates.count("BEGIN CERTIFICATE") > 100
