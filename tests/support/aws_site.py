"""What one test works on: a bucket, three tables, a proxy before each server, and the program set up for them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from support.cli import Result, kpid
from support.datasets import BASE
from support.dynamodb_server import KpiTables
from support.fault_proxy import FaultProxy
from support.s3_server import ACCESS_KEY, REGION, SECRET_KEY, Bucket
from support.server import Server


def static_credentials(
    access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY
) -> dict[str, str]:
    return {"AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}


def no_credentials(folder: Path) -> dict[str, str]:
    """Settings under which nothing is found that the test did not give."""
    return {
        "AWS_CONFIG_FILE": str(folder / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@dataclass
class Site:
    """All the program needs to read from S3 and to publish to DynamoDB."""

    bucket: Bucket
    tables: KpiTables
    s3: FaultProxy
    dynamodb: FaultProxy
    start_server: Callable[..., Server]
    folder: Path
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """The environment of the program; `extra` has the last word."""
        return {
            "KPI_SOURCE": self.bucket.url(),
            "KPI_PUBLISH": "dynamodb",
            **self.tables.settings,
            "AWS_REGION": REGION,
            "AWS_ENDPOINT_URL_S3": self.s3.url,
            "AWS_ENDPOINT_URL_DYNAMODB": self.dynamodb.url,
            **no_credentials(self.folder),
            **static_credentials(),
            **self.extra,
        }

    def upload(self, folder: Path = BASE) -> "Site":
        self.bucket.upload(folder)
        return self

    def server(self, **settings: object) -> Server:
        """`kpid serve`, running."""
        merged = {**self.settings, **settings}
        return self.start_server(merged.pop("KPI_SOURCE"), **merged)

    def kpid(self, *args: object, timeout: float = 60, **settings: object) -> Result:
        """One command of the program."""
        env = {
            "KPI_DB": str(self.folder / "cli.db"),
            **self.settings,
            **{name: str(value) for name, value in settings.items()},
        }
        return kpid(*args, env=env, timeout=timeout)
