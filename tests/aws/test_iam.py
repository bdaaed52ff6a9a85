"""deploy/iam-policy.json: all that is called is allowed, and nothing is allowed that is not called."""

import json
import threading

import pytest

from support.cli import OK
from support.datasets import BASE_DATES, write_source
from support.dynamodb_server import KpiTables
from support.fault_proxy import Request
from support.faults import Hold
from support.paths import REPO
from support.published import actions
from support.s3_server import REGION

DAY = BASE_DATES[0]
POLICIES = json.loads((REPO / "deploy" / "iam-policy.json").read_text(encoding="utf-8"))
TRANSACTION_ACTIONS = {
    "Put": "dynamodb:PutItem",
    "Update": "dynamodb:UpdateItem",
    "Delete": "dynamodb:DeleteItem",
    "ConditionCheck": "dynamodb:ConditionCheckItem",
}
S3_ACTIONS = {"ListObjectsV2": "s3:ListBucket", "GetObject": "s3:GetObject"}


def allowed(*names: str) -> set[tuple[str, str]]:
    """(action, resource) of every statement of these policies."""
    pairs = set()
    for name in names:
        for statement in POLICIES[name]["Statement"]:
            assert statement["Effect"] == "Allow"
            pairs |= {
                (action, resource.split("/", 1)[1] if ":dynamodb:" in resource else resource)
                for action in as_list(statement["Action"])
                for resource in as_list(statement["Resource"])
            }
    return pairs


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def dynamodb_pairs(request: Request) -> set[tuple[str, str]]:
    """What a request needs, by the rules of DynamoDB: a transaction needs what is in it."""
    body = json.loads(request.body)
    if request.operation == "TransactWriteItems":
        return {
            (TRANSACTION_ACTIONS[kind], action[kind]["TableName"])
            for action in actions(request)
            for kind in action
        }
    if request.operation == "BatchWriteItem":
        return {("dynamodb:BatchWriteItem", table) for table in body["RequestItems"]}
    return {(f"dynamodb:{request.operation}", body["TableName"])}


def called(site) -> set[tuple[str, str]]:
    """(action, resource) of everything that was asked of both servers, with the names of the policies."""
    names = {
        site.tables.category: "category_kpis_table",
        site.tables.order: "order_kpis_table",
        site.tables.control: "kpi_control",
    }
    pairs = {
        (action, names[table])
        for request in site.dynamodb.seen()
        for action, table in dynamodb_pairs(request)
    }
    for request in site.s3.seen():
        action = S3_ACTIONS[request.operation]
        prefix = request.query.get("prefix", request.path.split("/", 2)[2])
        assert prefix.startswith("Data/"), request
        key = "/Data/*" if action == "s3:GetObject" else ""
        pairs.add((action, f"arn:aws:s3:::YOUR-BUCKET{key}"))
    return pairs


def publish_in_every_way(site) -> None:
    """A small day, the same again, one without rows, and changed ones, also by several transactions."""
    server = site.upload().server()
    for date in (DAY, DAY, "2023-03-01"):
        assert server.run(date, force=date != DAY)["state"] == "succeeded"
    for count in (1, 150, 120):
        site.bucket.delete(*site.bucket.keys())
        folder = write_source(
            site.folder / str(count),
            [f"{n},1,c,{DAY}" for n in range(2)],
            [f"{n},{n % 2},{n},1,c,{DAY}" for n in range(count)],
            [f"{n},category {n},x" for n in range(count)],
        )
        site.upload(folder)
        assert server.run(DAY, force=True)["state"] == "succeeded"


def test_atomic_mode_needs_just_its_policy(site):
    publish_in_every_way(site)
    assert called(site) == allowed("atomic")


def test_plain_mode_needs_just_its_policy(site):
    site.extra["KPI_PUBLISH_MODE"] = "plain"
    publish_in_every_way(site)
    assert called(site) == allowed("plain")


def test_intents_need_just_their_policy(site):
    site.extra |= {"KPI_INTENTS": "dynamodb", "KPI_PUBLISH": "local"}
    gate = threading.Event()
    site.upload().s3.spoil(Hold(gate), "GetObject")
    server = site.server().await_ready()
    run = server.start_run(DAY)
    gate.set()
    assert server.finish(run["id"])["state"] == "succeeded"
    site.dynamodb.wait_for("DeleteItem")
    reading = {pair for pair in allowed("plain") if pair[0].startswith("s3:")}
    assert called(site) == allowed("intents") | reading


def test_creating_tables_needs_just_its_policy(site):
    site.tables.drop()
    assert site.kpid("tables", "create").code == OK
    assert site.kpid("tables", "check").code == OK
    assert called(site) == allowed("tables")


def run_as(moto, start_server, granted: list[str], **settings: str) -> tuple[dict, list[dict]]:
    """A run in plain mode by a user with these permissions, and the category items that are there then."""
    names = ("category_kpis_table", "order_kpis_table", "kpi_control")
    KpiTables(moto.client("dynamodb"), *names).create("category", "order")
    reader = moto.user("reader", ["dynamodb:Scan"])
    key, secret = moto.user("kpid", granted)
    moto.check_signatures()
    server = start_server(
        KPI_PUBLISH="dynamodb",
        KPI_PUBLISH_MODE="plain",
        AWS_REGION=REGION,
        AWS_ENDPOINT_URL_DYNAMODB=moto.url,
        AWS_ACCESS_KEY_ID=key,
        AWS_SECRET_ACCESS_KEY=secret,
        **settings,
    )
    run = server.run(DAY)
    return run, KpiTables(moto.client("dynamodb", *reader), *names).items("category")


def test_permissions_of_the_replaced_job_are_enough_for_plain_mode(moto, start_server):
    granted = ["dynamodb:PutItem", "dynamodb:BatchWriteItem"]
    run, items = run_as(moto, start_server, granted)
    assert run["state"] == "succeeded", run["error"]
    assert [item["category"] for item in items] == ["Electronics", "Home"]


@pytest.mark.parametrize("granted", [["dynamodb:GetItem"], ["s3:GetObject"]])
def test_who_may_not_write_is_told_which_permissions_are_missing(moto, start_server, granted):
    run, items = run_as(moto, start_server, granted)
    assert run["error"]["code"] == "dynamodb_access_denied", run
    assert "iam-policy.json" in run["error"]["hint"]
    assert items == []
