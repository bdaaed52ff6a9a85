"""The servers that the other tests stand on do what those rely on."""

import http.client
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from support.fault_proxy import FaultProxy
from support.faults import (
    BadCrc,
    Flip,
    LostReply,
    Reset,
    Stall,
    Truncate,
    Unprocessed,
    dynamodb_error,
    s3_error,
)
from support.metadata_server import MetadataServer
from support.s3_server import boto_client

TRANSACTION_TOKEN = "0123456789abcdef"


def error_code(call, **arguments) -> str:
    """The code with which a boto3 call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"]


def listening_addresses(pid: int) -> set[str]:
    """The addresses on which a process listens, from ss."""
    lines = subprocess.run(
        ["ss", "-Hltnp"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return {line.split()[3].rsplit(":", 1)[0] for line in lines if f"pid={pid}," in line}


@pytest.mark.parametrize("name", ["s3_server", "dynamodb_server", "moto_server"])
def test_servers_listen_on_loopback_only(name, request):
    server = request.getfixturevalue(name)
    assert listening_addresses(server.process.pid) <= {"127.0.0.1", "[::ffff:127.0.0.1]"}


def test_s3_server_refuses_a_wrong_signature(s3_server):
    bucket = s3_server.bucket()
    stranger = boto_client("s3", s3_server.url, secret_key="another/secret")
    code = error_code(stranger.list_objects_v2, Bucket=bucket.name)
    assert code == "SignatureDoesNotMatch"


def test_s3_server_lists_in_pages_and_keeps_awkward_keys(s3_server):
    bucket = s3_server.bucket()
    keys = sorted(f"a+b &%=~'()é/{n}.csv" for n in range(5))
    bucket.put_all(dict.fromkeys(keys, b"x"))
    page = s3_server.client.list_objects_v2(Bucket=bucket.name, MaxKeys=2)
    assert page["IsTruncated"] and page["KeyCount"] == 2
    assert bucket.keys() == keys


def test_s3_server_checks_the_etag_of_a_range(s3_server):
    bucket = s3_server.bucket()
    bucket.put("k", b"old")
    etag = s3_server.client.head_object(Bucket=bucket.name, Key="k")["ETag"]
    bucket.put("k", b"new")
    code = error_code(
        s3_server.client.get_object,
        Bucket=bucket.name,
        Key="k",
        Range="bytes=0-1",
        IfMatch=etag,
    )
    assert code == "PreconditionFailed"


def put_once(table: str, value: str) -> dict:
    item = {"pk": {"S": "a"}, "v": {"S": value}}
    return {
        "TransactItems": [{"Put": {"TableName": table, "Item": item}}],
        "ClientRequestToken": TRANSACTION_TOKEN,
    }


def test_dynamodb_server_refuses_a_reused_token_with_another_body(dynamodb_server):
    tables = dynamodb_server.tables().create("control")
    write = dynamodb_server.client.transact_write_items
    write(**put_once(tables.control, "1"))
    write(**put_once(tables.control, "1"))
    code = error_code(write, **put_once(tables.control, "2"))
    assert code == "IdempotentParameterMismatchException"


def test_dynamodb_server_refuses_39_digits(dynamodb_server):
    tables = dynamodb_server.tables().create("control")
    item = {"pk": {"S": "a"}, "n": {"N": "1" * 39}}
    code = error_code(
        dynamodb_server.client.put_item, TableName=tables.control, Item=item
    )
    assert code == "ValidationException"


def test_moto_refuses_strangers_and_forbidden_actions_once_told_to(moto):
    key = moto.user("reader", ["s3:ListAllMyBuckets"])
    moto.check_signatures()
    assert moto.client("s3", *key).list_buckets()["Buckets"] == []
    stranger = moto.client("s3", key[0], "wrong")
    assert error_code(stranger.list_buckets) == "SignatureDoesNotMatch"
    code = error_code(moto.client("s3", *key).create_bucket, Bucket="b-b-b")
    assert code == "AccessDenied"


def test_metadata_server_needs_a_session_token(tmp_path):
    server = MetadataServer(tmp_path, {"AccessKeyId": "AKID", "Token": "T"}).start()
    path = f"{server.url}/latest/meta-data/iam/security-credentials/"
    try:
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(path, timeout=5)
        assert caught.value.code == 401
        token = ask("PUT", f"{server.url}/latest/api/token", "-ttl-seconds", "60")
        role = ask("GET", path, "", token)
        assert '"AccessKeyId": "AKID"' in ask("GET", path + role, "", token)
    finally:
        server.stop()


def ask(method: str, url: str, header: str, value: str) -> str:
    """A request to the metadata service with one of its token headers."""
    request = urllib.request.Request(url, method=method)
    request.add_header(f"X-aws-ec2-metadata-token{header}", value)
    with urllib.request.urlopen(request, timeout=5) as reply:
        return reply.read().decode()


def test_aws_cli_is_there():
    program = Path(sys.executable).parent / "aws"
    done = subprocess.run([program, "--version"], capture_output=True, check=True)
    assert done.stdout.startswith(b"aws-cli/")


class ObjectProxy:
    """A proxy before a bucket with one object; signatures pass through it."""

    def __init__(self, bucket, proxy: FaultProxy):
        self.bucket, self.proxy = bucket, proxy
        self.client = boto_client("s3", proxy.url)

    def read(self) -> bytes:
        return self.client.get_object(Bucket=self.bucket.name, Key="k.csv")[
            "Body"
        ].read()

    def read_without_checks(self) -> bytes:
        """By an address with the signature in the query, and a client that checks nothing."""
        target = self.client.generate_presigned_url(
            "get_object", {"Bucket": self.bucket.name, "Key": "k.csv"}
        )
        with urllib.request.urlopen(target, timeout=10) as reply:
            return reply.read()


@pytest.fixture
def object_proxy(s3_server, start_proxy):
    bucket = s3_server.bucket()
    bucket.put("k.csv", b"0123456789")
    return ObjectProxy(bucket, start_proxy(s3_server.port))


def test_proxy_passes_and_records(object_proxy):
    assert object_proxy.read() == b"0123456789"
    (request,) = object_proxy.proxy.seen()
    assert (request.operation, request.status) == ("GetObject", 200)
    assert request.path.endswith("/k.csv") and "authorization" in request.headers


@pytest.mark.parametrize(
    "fault",
    [Reset(), Reset(0), Reset(4), Truncate(4), s3_error(503, "SlowDown")],
    ids=str,
)
def test_proxy_spoils_an_answer(object_proxy, fault):
    object_proxy.proxy.spoil(fault, "GetObject", times=1)
    with pytest.raises(Exception, match=r"(?i)clos|reset|SlowDown|incomplete|read"):
        object_proxy.read()
    assert object_proxy.read() == b"0123456789"


@pytest.mark.parametrize(
    "fault, body",
    [
        (Truncate(4, "short"), b"0123"),
        (Truncate(4, "none"), b"0123"),
        (Stall(0.2, 4), b"0123456789"),
        (Flip(0), b"1123456789"),
    ],
    ids=str,
)
def test_proxy_changes_what_arrives(object_proxy, fault, body):
    object_proxy.proxy.spoil(fault)
    assert object_proxy.read_without_checks() == body


def batch(table: str, count: int) -> dict:
    puts = [{"PutRequest": {"Item": {"pk": {"S": str(n)}}}} for n in range(count)]
    return {"RequestItems": {table: puts}}


@pytest.fixture
def table_proxy(dynamodb_server, start_proxy):
    """A proxy before a table, a boto3 client of the proxy, and the tables."""
    tables = dynamodb_server.tables().create("control")
    proxy = start_proxy(dynamodb_server.port)
    return proxy, boto_client("dynamodb", proxy.url), tables


def test_proxy_hands_items_back_as_unprocessed(table_proxy):
    proxy, client, tables = table_proxy
    proxy.spoil(Unprocessed(10), "BatchWriteItem")
    reply = client.batch_write_item(**batch(tables.control, 25))
    assert len(reply["UnprocessedItems"][tables.control]) == 10
    assert len(tables.client.scan(TableName=tables.control)["Items"]) == 15


def test_proxy_loses_the_reply_of_a_write_that_was_done(table_proxy):
    proxy, client, tables = table_proxy
    proxy.spoil(LostReply(), times=1)
    with pytest.raises(Exception, match="(?i)clos|reset"):
        client.batch_write_item(**batch(tables.control, 3))
    assert len(tables.client.scan(TableName=tables.control)["Items"]) == 3


def test_proxy_sends_a_wrong_checksum(table_proxy):
    proxy, _, tables = table_proxy
    rule = proxy.spoil(BadCrc())
    body = b'{"TableName":"%s"}' % tables.control.encode()
    headers = {
        "X-Amz-Target": "DynamoDB_20120810.DescribeTable",
        "Content-Type": "application/x-amz-json-1.0",
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/"
        "aws4_request, SignedHeaders=host, Signature=0",
        "X-Amz-Date": "20260101T000000Z",
    }
    connection = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=10)
    connection.request("POST", "/", body, headers)
    reply = connection.getresponse()
    assert int(reply.headers["x-amz-crc32"]) != zlib.crc32(reply.read())
    assert rule.hits == 1 and proxy.operations() == {"DescribeTable"}
    connection.close()


def test_proxy_answers_with_errors_of_dynamodb(table_proxy):
    proxy, client, tables = table_proxy
    code = "ProvisionedThroughputExceededException"
    proxy.spoil(dynamodb_error(400, code), "PutItem")
    item = {"pk": {"S": "a"}}
    assert error_code(client.put_item, TableName=tables.control, Item=item) == code
    assert isinstance(proxy, FaultProxy) and proxy.seen()[0].status == 400
