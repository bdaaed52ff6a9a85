"""versitygw: an S3 server that verifies every signature, over a folder; and buckets made in it."""

import itertools
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from botocore.config import Config

from support.tools import ToolServer, tools_folder

ACCESS_KEY = "AKIAKPIDTEST00000000"
SECRET_KEY = "kpid/test+secret=0123456789"
REGION = "us-east-1"

ONE_TRY = Config(
    signature_version="v4",
    retries={"mode": "standard", "total_max_attempts": 1},
    s3={"addressing_style": "path"},
    max_pool_connections=16,
)


def boto_client(
    service: str,
    url: str,
    access_key: str = ACCESS_KEY,
    secret_key: str = SECRET_KEY,
    session_token: str | None = None,
):
    """A boto3 client of a local server."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=session_token,
        config=ONE_TRY,
    )


class Bucket:
    """A bucket of a server, and what the tests do with it."""

    def __init__(self, client, name: str):
        self.client, self.name = client, name

    def url(self, prefix: str = "Data") -> str:
        """The KPI_SOURCE that names a prefix of the bucket."""
        return f"s3://{self.name}/{prefix}" if prefix else f"s3://{self.name}"

    def put(self, key: str, data: bytes | str) -> None:
        body = data.encode() if isinstance(data, str) else data
        self.client.put_object(Bucket=self.name, Key=key, Body=body)

    def put_all(self, objects: Mapping[str, bytes | str]) -> None:
        """Many objects, several at a time."""
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: self.put(*item), objects.items()))

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def delete(self, *keys: str) -> None:
        for key in keys:
            self.client.delete_object(Bucket=self.name, Key=key)

    def keys(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def upload(self, folder: Path, prefix: str = "Data") -> "Bucket":
        """Every file below `folder`, as keys below `prefix`."""
        start = f"{prefix}/" if prefix else ""
        self.put_all({start + name: path.read_bytes() for name, path in files_of(folder)})
        return self


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name relative to `folder`, path) of every file below it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield path.relative_to(folder).as_posix(), path


class S3Server(ToolServer):
    """One server for the whole test run; each test makes a bucket of its own."""

    name = "versitygw"
    _numbers = itertools.count(1)

    def __init__(self, folder: Path):
        super().__init__(folder)
        self.data = folder / "objects"
        self.client = None

    def command(self) -> list[str]:
        return [
            str(tools_folder() / "bin" / "versitygw"),
            "--quiet",
            "--keep-alive",
            "--port",
            f"127.0.0.1:{self.port}",
            "--region",
            REGION,
            "posix",
            str(self.data),
        ]

    def environment(self) -> dict[str, str]:
        return {"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}

    def start(self) -> "S3Server":
        self.data.mkdir(parents=True, exist_ok=True)
        super().start()
        self.client = boto_client("s3", self.url)
        return self

    def bucket(self, name: str | None = None) -> Bucket:
        """A new, empty bucket."""
        name = name or f"kpid-{next(self._numbers)}"
        self.client.create_bucket(Bucket=name)
        return Bucket(self.client, name)
