"""The Debian package: what is in it, that it can be installed where nothing is, and how its unit is hardened."""

import re
import subprocess
from pathlib import Path

import pytest

from support.container import BASE_TAG, base_image, commit_seconds, run
from support.paths import REPO, kpid_binary, project_version

UNIT = REPO / "deploy" / "kpid.service"
EXPOSURE_MAX = 1.5  # of 10, as systemd-analyze counts it; "OK" is below 5


def pack(folder: Path) -> Path:
    """The package of the build that the program under test is of."""
    build = kpid_binary().parent
    subprocess.run(
        ["cpack", "--config", build / "CPackConfig.cmake", "-G", "DEB", "-B", folder],
        check=True,
        capture_output=True,
        env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": commit_seconds()},
    )
    (package,) = folder.glob("*.deb")
    return package


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return pack(tmp_path_factory.mktemp("package"))


def dpkg_deb(*args: object) -> str:
    return subprocess.run(["dpkg-deb", *args], check=True, capture_output=True, text=True).stdout


def test_package_says_what_it_is_and_needs(package):
    fields = dict(line.split(": ", 1) for line in dpkg_deb("--field", package).splitlines() if re.match(r"[\w-]+: ", line))
    version = project_version()
    assert (fields["Package"], fields["Version"]) == ("kpid", version)
    assert package.name == f"kpid_{version}_{fields['Architecture']}.deb"
    needed = {name.split(" ")[0] for name in fields["Depends"].split(", ")}
    assert {"ca-certificates", "tzdata", "libc6", "libcurl4", "libmicrohttpd12", "libsqlite3-0", "libssl3"} <= needed
    assert not [name for name in needed if name.endswith("-dev")]


def test_package_has_program_unit_settings_and_documents(package):
    listing = [line.split(None, 5) for line in dpkg_deb("--contents", package).splitlines()]
    modes = {name: mode for mode, _, _, _, _, name in listing if not name.endswith("/")}
    assert {owner for _, owner, *_ in listing} == {"root/root"}
    assert {name for name, mode in modes.items() if "x" in mode} == {"./usr/bin/kpid"}
    assert {
        "./etc/kpid/kpid.env",
        "./usr/lib/systemd/system/kpid.service",
        "./usr/share/doc/kpid/README.md",
        "./usr/share/doc/kpid/copyright",
        "./usr/share/doc/kpid/examples/cron.sh",
    } <= set(modes)
    assert not [name for name in modes if name.startswith("./usr/local/")]
    assert dpkg_deb("--info", package, "conffiles").splitlines() == ["/etc/kpid/kpid.env"]


def test_the_same_sources_give_the_same_package(package, tmp_path):
    assert pack(tmp_path / "again").read_bytes() == package.read_bytes()


@pytest.mark.timeout(300)
def test_package_can_be_installed_where_nothing_is(package):
    script = """
      set -e
      apt-get update -qq
      apt-get install -y -qq --no-install-recommends /package/*.deb >/dev/null 2>&1
      kpid version
      cd /tmp
      kpid sample --out in --orders 100 --days 1 --from 2025-03-01
      KPI_SOURCE=file:///tmp/in kpid run --date 2025-03-01 --format csv
      mkdir -p /run/systemd/system
      printf '#!/bin/sh\\necho systemctl "$@" >>/tmp/told\\n' >/usr/bin/systemctl
      chmod 755 /usr/bin/systemctl
      dpkg -i /package/*.deb >/dev/null 2>&1
      dpkg --purge kpid >/dev/null 2>&1
      cat /tmp/told
      ls /usr/bin/kpid /etc/kpid 2>&1 || true
    """
    base_image()
    mount = f"{package.parent}:/package:ro"
    said = run("podman", "run", "--rm", "--network", "host", "-v", mount, BASE_TAG, "sh", "-c", script, timeout=280).stdout
    assert re.match(r"kpid \d+\.\d+\.\d+ \(commit ", said)
    assert "2025-03-01" in said
    assert re.findall("^systemctl (.*)$", said, re.MULTILINE) == [
        "daemon-reload",
        "try-restart kpid.service",
        "disable --now kpid.service",
    ]
    assert said.count("No such file or directory") == 2, "nothing is left of it"


def test_unit_is_valid_and_hardened(tmp_path):
    unit = tmp_path / "kpid.service"
    unit.write_text(UNIT.read_text(encoding="utf-8").replace("ExecStart=kpid", f"ExecStart={kpid_binary()}"), encoding="utf-8")
    found = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True, check=False)
    assert [line for line in found.stderr.splitlines() if "kpid.service" in line] == []
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", unit]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    unit.write_text(unit.read_text(encoding="utf-8").replace("PrivateUsers=yes\n", ""), encoding="utf-8")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_unit_does_not_start_again_what_no_start_mends():
    text = UNIT.read_text(encoding="utf-8")
    (codes,) = re.findall(r"^RestartPreventExitStatus=(.+)$", text, re.MULTILINE)
    assert codes.split() == ["64", "73", "78"], "usage, database in use, configuration"
    assert "EnvironmentFile=/etc/kpid/kpid.env" in text
