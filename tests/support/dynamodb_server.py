"""DynamoDB Local: checks conditions, transactions, tokens and limits; and the three tables of the program in it."""

import itertools
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from boto3.dynamodb.types import TypeDeserializer
from botocore.exceptions import ClientError

from support.s3_server import boto_client
from support.tools import ToolServer, tools_folder

Item = dict[str, object]

KEYS = {
    "category": [("category", "HASH"), ("order_date", "RANGE")],
    "order": [("order_date", "HASH")],
    "control": [("pk", "HASH")],
}


def plain(item: dict) -> Item:
    """An item of the wire as Python values."""
    read = TypeDeserializer().deserialize
    return {name: read(value) for name, value in item.items()}


@dataclass(frozen=True)
class KpiTables:
    """The tables that one test publishes to."""

    client: object
    category: str
    order: str
    control: str

    @property
    def settings(self) -> dict[str, str]:
        return {
            "KPI_CATEGORY_TABLE": self.category,
            "KPI_ORDER_TABLE": self.order,
            "KPI_CONTROL_TABLE": self.control,
        }

    def name(self, kind: str) -> str:
        return getattr(self, kind)

    def create(self, *kinds: str) -> "KpiTables":
        """Tables made by boto3 with the keys of the old job."""
        for kind in kinds or KEYS:
            create_table(self.client, self.name(kind), KEYS[kind])
        return self

    def drop(self, *kinds: str) -> None:
        for kind in kinds or KEYS:
            self.client.delete_table(TableName=self.name(kind))

    def items(self, kind: str) -> list[Item]:
        """Every item of a table, read consistently, sorted by key."""
        names = [name for name, _ in KEYS[kind]]
        pages = self.client.get_paginator("scan").paginate(
            TableName=self.name(kind), ConsistentRead=True
        )
        found = [plain(item) for page in pages for item in page["Items"]]
        return sorted(found, key=lambda item: [item[name] for name in names])

    def day(self, kind: str, date: str) -> list[Item]:
        return [item for item in self.items(kind) if item["order_date"] == date]

    def categories(self, date: str) -> list[str]:
        return [item["category"] for item in self.day("category", date)]

    def control_row(self, date: str) -> Item | None:
        """The control row of a date, or None."""
        reply = self.client.get_item(
            TableName=self.control,
            Key={"pk": {"S": f"date#{date}"}},
            ConsistentRead=True,
        )
        return plain(reply["Item"]) if "Item" in reply else None

    def put(self, kind: str, item: dict[str, object]) -> None:
        """One item of strings and numbers, as a job of another author would write it."""
        self.client.put_item(
            TableName=self.name(kind),
            Item={name: wire(value) for name, value in item.items()},
        )

    def snapshot(self) -> dict[str, list[Item]]:
        """Everything in the tables that exist."""
        found = {}
        for kind in KEYS:
            try:
                found[kind] = self.items(kind)
            except ClientError as error:
                if error.response["Error"]["Code"] != "ResourceNotFoundException":
                    raise
        return found


def wire(value: object) -> dict:
    """A value in the form of the protocol."""
    if isinstance(value, int | float | Decimal):
        return {"N": str(value)}
    return {"S": value}


def create_table(client, name: str, keys: list[tuple[str, str]], kind: str = "S"):
    """A table with keys of one type, billed on demand."""
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": key, "KeyType": role} for key, role in keys],
        AttributeDefinitions=[
            {"AttributeName": key, "AttributeType": kind} for key, _ in keys
        ],
    )


class DynamoDbServer(ToolServer):
    """One server for the whole test run; each test has tables of its own."""

    name = "dynamodb-local"
    _numbers = itertools.count(1)

    def __init__(self, folder: Path, *options: str):
        super().__init__(folder)
        self.options = options
        self.client = None

    def command(self) -> list[str]:
        tools = tools_folder() / "dynamodb"
        return [
            "java",
            "-Xmx512m",
            "-XX:+UseSerialGC",
            f"-Djava.library.path={tools / 'lib'}",
            "-cp",
            f"{tools / 'classes'}:{tools / 'lib'}/*",
            "LoopbackDynamoDb",
            "-inMemory",
            "-sharedDb",
            "-disableTelemetry",
            "-port",
            str(self.port),
            *self.options,
        ]

    def start(self) -> "DynamoDbServer":
        super().start()
        self.client = boto_client("dynamodb", self.url)
        return self

    def tables(self) -> KpiTables:
        """Names of tables that nobody else uses; none of them exists yet."""
        n = next(self._numbers)
        return KpiTables(
            self.client, f"category_{n}", f"order_{n}", f"control_{n}"
        )
