"""`kpid tables create`: what it makes, what it mends when it is run again, and that it tells the truth."""

import json

import pytest

from support.cli import OK, PUBLISH
from support.dynamodb_server import KpiTables
from support.faults import dynamodb_error

ON = "point-in-time recovery on"
KINDS = ("category", "order", "control")


@pytest.fixture
def bare(site, moto, start_proxy):
    """A site without tables, whose DynamoDB knows point-in-time recovery: moto."""
    names = map(site.tables.name, KINDS)
    site.tables, site.dynamodb = (
        KpiTables(moto.client("dynamodb"), *names),
        start_proxy(moto.port),
    )
    return site


def recovering(site) -> list[str]:
    """The kinds of the tables that exist and have recovery switched on."""
    client, there = site.tables.client, []
    for kind in KINDS:
        if site.tables.name(kind) not in client.list_tables()["TableNames"]:
            continue
        reply = client.describe_continuous_backups(TableName=site.tables.name(kind))
        backups = reply["ContinuousBackupsDescription"]["PointInTimeRecoveryDescription"]
        if backups["PointInTimeRecoveryStatus"] == "ENABLED":
            there.append(kind)
    return there


def line(result, site, kind: str) -> str:
    """What was told about a table."""
    (found,) = (text for text in result.out.splitlines() if text.startswith(site.tables.name(kind)))
    return found


def test_recovery_that_is_not_available_at_once_is_tried_again(bare):
    unavailable = dynamodb_error(400, "ContinuousBackupsUnavailableException")
    rule = bare.dynamodb.spoil(unavailable, "UpdateContinuousBackups", times=2)
    result = bare.kpid("tables", "create")
    assert (result.code, rule.hits) == (OK, 2), result
    assert recovering(bare) == list(KINDS)
    assert all("created" in line(result, bare, kind) for kind in KINDS)
    assert all(ON in line(result, bare, kind) for kind in KINDS)


def test_recovery_is_switched_on_for_tables_that_exist_without_it(bare):
    bare.tables.create(*KINDS)
    assert recovering(bare) == []
    result = bare.kpid("tables", "create")
    assert result.code == OK and recovering(bare) == list(KINDS)
    told = [line(result, bare, kind) for kind in KINDS]
    assert all("exists" in text and ON in text and "created" not in text for text in told)


@pytest.mark.parametrize("troubled", KINDS)
@pytest.mark.parametrize("operation", ["CreateTable", "UpdateContinuousBackups"])
def test_trouble_of_one_table_leaves_the_others_whole(bare, operation, troubled):
    bare.dynamodb.spoil(
        dynamodb_error(400, "AccessDeniedException"),
        operation,
        skip=KINDS.index(troubled),
        times=1,
    )
    result = bare.kpid("tables", "create")
    assert (result.code, result.error_code) == (PUBLISH, "dynamodb_access_denied"), result
    assert bare.tables.name(troubled) in result.message
    others = [kind for kind in KINDS if kind != troubled]
    assert recovering(bare) == others
    assert all("created" in line(result, bare, kind) for kind in others)
    told = line(result, bare, troubled)
    assert "AccessDenied" in told and ON not in told
    assert ("created" in told) == (operation != "CreateTable")
    again = bare.kpid("tables", "create")
    assert again.code == OK and recovering(bare) == list(KINDS)


def test_endpoint_that_knows_no_recovery_is_told(site):
    site.tables.drop()
    for word in ("created", "exists"):
        result = site.kpid("tables", "create")
        assert result.code == OK
        told = [line(result, site, kind) for kind in KINDS]
        assert all(word in text and "no point-in-time recovery" in text for text in told)
    asked = [json.loads(r.body) for r in site.dynamodb.seen("UpdateContinuousBackups")]
    assert {body["TableName"] for body in asked} == set(map(site.tables.name, KINDS))
