"""Who signs: every place where credentials are found, their end in the middle of a run, and that they stay secret."""

import json
import time

import pytest

from support.cli import CONFIG, OK, SOURCE
from support.credential_server import CredentialServer, Plan, keys
from support.datasets import HEADERS
from support.fault_cases import DAY, assert_error, assert_recovers, publish_before
from support.faults import Reset, Rewrite, dynamodb_error, s3_error
from support.metadata_server import MetadataServer
from support.s3_server import ACCESS_KEY, SECRET_KEY, Bucket
from support.tools import free_port

LIST, GET = "ListObjectsV2", "GetObject"
NO_KEYS = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}
ROLE = "arn:aws:iam::123456789012:role/kpid"
EXPIRED = s3_error(400, "ExpiredToken")
SOME_MB = b"{" + b"x" * 1_000_000


def compute(site, **settings):
    """One date from S3, without publishing."""
    return site.kpid("run", "--date", DAY, "--no-publish", **settings)


def assert_refused(site, code: str, *words: str, **settings) -> None:
    """The command ends with the code, a hint and these words, before anything is sent to S3."""
    result = compute(site, **settings)
    assert (result.error_code, bool(result.hint)) == (code, True), result
    assert all(word in result.message for word in words), result
    assert site.s3.seen() == []


def signers(site) -> set[str]:
    """The access keys with which S3 was asked."""
    heads = [request.headers["authorization"] for request in site.s3.seen()]
    return {head.split("Credential=")[1].split("/")[0] for head in heads}


def tokens(site) -> list[str]:
    """The session tokens with which S3 was asked, in their order."""
    return [request.headers.get("x-amz-security-token", "") for request in site.s3.seen()]


@pytest.fixture
def lenient(site, moto, start_proxy):
    """A site whose S3 takes every key and session token: moto. versitygw knows no session tokens."""
    client = moto.client("s3")
    client.create_bucket(Bucket="kpid-lenient")
    site.bucket, site.s3 = Bucket(client, "kpid-lenient"), start_proxy(moto.port)
    return site.upload()


# --- environment -------------------------------------------------------------------------------


def test_no_credentials_at_all(site):
    site.upload()
    assert_refused(site, "credentials_missing", "no AWS credentials", **NO_KEYS)
    run = site.server(**NO_KEYS).run(DAY)
    assert_error(run, "credentials_missing")


@pytest.mark.parametrize("missing", NO_KEYS)
def test_half_a_key_is_named(site, missing):
    assert_refused(site, "credentials_missing", missing, "one is set without", **{missing: ""})


@pytest.mark.parametrize(
    "name", ["AWS_SECRET_ACCESS_KEY", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN"]
)
@pytest.mark.parametrize("value", ["key\n", "key\r\nx-evil: 1"], ids=["end", "header"])
def test_line_break_in_a_key_is_refused(site, name, value):
    assert_refused(site, "credentials_missing", "line break", **{name: value})


def test_wrong_secret_is_refused_by_s3(site):
    run = site.upload().server(AWS_SECRET_ACCESS_KEY="wrong", KPI_PUBLISH="local").run(DAY)
    details = assert_error(run, "s3_access_denied", "s3")
    assert (details["aws_error"], details["http_status"]) == ("SignatureDoesNotMatch", 403)


def assume(moto, role: str) -> dict[str, str]:
    made = moto.client("sts").assume_role(RoleArn=role, RoleSessionName="kpid")["Credentials"]
    return {
        "AWS_ACCESS_KEY_ID": made["AccessKeyId"],
        "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"],
        "AWS_SESSION_TOKEN": made["SessionToken"],
    }


def test_session_token_is_signed_and_accepted(lenient, moto):
    settings = assume(moto, moto.role("kpid", ["s3:*"]))
    moto.check_signatures()
    assert compute(lenient, **settings).code == OK
    assert set(tokens(lenient)) == {settings["AWS_SESSION_TOKEN"]}
    signed = [request.headers["authorization"] for request in lenient.s3.seen()]
    assert all("x-amz-security-token" in head for head in signed)
    settings["AWS_SECRET_ACCESS_KEY"] = "wrong"
    assert compute(lenient, **settings).error_code == "s3_access_denied"


def test_session_token_that_s3_does_not_know(site):
    result = compute(site.upload(), AWS_SESSION_TOKEN="unknown")
    assert result.error_code == "s3_access_denied" and "InvalidToken" in result.message


# --- profiles ----------------------------------------------------------------------------------

CREDENTIALS = f"""
[default]
aws_access_key_id = AKIADEFAULT
aws_secret_access_key = nothing
[nightly]
aws_access_key_id = {ACCESS_KEY}
aws_secret_access_key = {SECRET_KEY}
[visitor]
aws_access_key_id = {ACCESS_KEY}
aws_secret_access_key = {SECRET_KEY}
aws_session_token = token-of-the-visitor
"""
CONFIGURATION = f"""
[profile settled]
region = us-east-1
aws_access_key_id = {ACCESS_KEY}
aws_secret_access_key = {SECRET_KEY}
[profile assumed]
role_arn = {ROLE}
source_profile = default
"""


@pytest.fixture
def profiles(site, tmp_path):
    """A site without keys in the environment, and with the two files of the AWS tools."""
    (tmp_path / "credentials").write_text(CREDENTIALS)
    (tmp_path / "config").write_text(CONFIGURATION)
    site.extra.update(
        NO_KEYS,
        AWS_SHARED_CREDENTIALS_FILE=str(tmp_path / "credentials"),
        AWS_CONFIG_FILE=str(tmp_path / "config"),
    )
    return site.upload()


@pytest.mark.parametrize("profile", ["nightly", "settled"])
def test_profile_of_either_file_signs(profiles, profile):
    assert compute(profiles, AWS_PROFILE=profile).code == OK
    assert signers(profiles) == {ACCESS_KEY}


def test_profile_may_give_the_region(profiles):
    assert compute(profiles, AWS_PROFILE="settled", AWS_REGION="").code == OK


def test_session_token_of_a_profile_is_sent(lenient, profiles):
    assert compute(profiles, AWS_PROFILE="visitor").code == OK
    assert set(tokens(profiles)) == {"token-of-the-visitor"}


def test_default_profile_signs_without_a_name(profiles):
    assert compute(profiles).code == SOURCE, "the server knows no such key"
    assert signers(profiles) == {"AKIADEFAULT"}


def test_keys_of_the_environment_go_before_a_profile(profiles):
    given = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    assert compute(profiles, AWS_PROFILE="assumed", **given).code == OK


def test_profile_that_does_not_exist_stops_the_start(profiles):
    result = compute(profiles, AWS_PROFILE="weekly")
    assert (result.code, "AWS_PROFILE=weekly" in result.message) == (CONFIG, True), result


UNSUPPORTED = {
    "role_arn": f"role_arn = {ROLE}\nsource_profile = base",
    "credential_process": "credential_process = /bin/false",
    "sso_session": "sso_session = staff",
    "sso_start_url": "sso_start_url = https://example.com/start",
}
FILES = ("config", "credentials")
KEYS = f"aws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {SECRET_KEY}\n"


@pytest.mark.parametrize("setting", UNSUPPORTED)
@pytest.mark.parametrize("name", ["default", "night"])
@pytest.mark.parametrize("keys_in", ["", "config", "credentials"])
def test_profile_of_an_unsupported_kind_is_named(
    profiles, endpoint, tmp_path, setting, name, keys_in
):
    """Also when it holds keys, and when another place would have some: they are somebody else's."""
    section = name if name == "default" else f"profile {name}"
    in_config, in_credentials = (KEYS if keys_in == file else "" for file in FILES)
    (tmp_path / "config").write_text(f"[{section}]\n{UNSUPPORTED[setting]}\n{in_config}")
    (tmp_path / "credentials").write_text(f"[{name}]\n{in_credentials}")
    chosen = {} if name == "default" else {"AWS_PROFILE": name}
    place = endpoint.settings | chosen
    assert_refused(profiles, "credentials_missing", setting, f"profile {name}", **place)
    assert endpoint.asked == []


# --- web identity ------------------------------------------------------------------------------


@pytest.fixture
def identity(lenient, moto, start_proxy, tmp_path):
    """A site whose keys come from STS, by a token in a file; and the proxy before STS."""
    sts = start_proxy(moto.port)
    (tmp_path / "token").write_text("header.web-identity.signature\n")
    lenient.extra.update(
        NO_KEYS,
        KPI_PUBLISH="local",
        AWS_ENDPOINT_URL_STS=sts.url,
        AWS_WEB_IDENTITY_TOKEN_FILE=str(tmp_path / "token"),
        AWS_ROLE_ARN=moto.role("kpid", ["s3:*"]),
        AWS_ROLE_SESSION_NAME="kpid-night",
    )
    return lenient, sts


def sts_error(status: int, code: str):
    """A refusal of STS."""
    fault = s3_error(status, code)
    body = fault.body.replace(b"<Error>", b"<ErrorResponse><Error>", 1)
    body = body.replace(b"</Error>", b"</Error></ErrorResponse>", 1)
    return type(fault)(status, body, fault.headers, code)


def test_web_identity_is_exchanged_once_and_unsigned(identity):
    site, sts = identity
    assert compute(site).code == OK
    (request,) = sts.seen()
    assert request.operation == "AssumeRoleWithWebIdentity"
    assert "authorization" not in request.headers
    for part in (b"WebIdentityToken=header.web-identity.signature&", b"RoleSessionName=kpid-night"):
        assert part in request.body + b"&"
    assert all(signer.startswith("ASIA") for signer in signers(site))
    assert all(tokens(site))


def test_keys_of_a_web_identity_pass_the_check_of_signatures(identity, moto):
    site, sts = identity

    def check_from_now_on(answer):
        moto.check_signatures()
        return answer

    sts.spoil(Rewrite(check_from_now_on))
    assert compute(site).code == OK
    assert len(site.s3.seen()) > 3


@pytest.mark.parametrize(
    "fault, code",
    [
        (sts_error(400, "ExpiredTokenException"), "credentials_expired"),
        (sts_error(403, "AccessDenied"), "credentials_missing"),
        (s3_error(500, "InternalFailure"), "credentials_missing"),
        (Reset(), "credentials_missing"),
    ],
    ids=str,
)
def test_exchange_that_is_refused_is_named(identity, fault, code):
    site, sts = identity
    sts.spoil(fault)
    details = assert_error(site.server().run(DAY), code)
    assert details["aws_operation"] == "AssumeRoleWithWebIdentity"
    sts.heal()
    rule = sts.spoil(Reset(), times=1)
    assert compute(site).code == OK and rule.hits == 1


def test_role_of_a_profile_with_a_token_file_is_taken(identity, moto, tmp_path):
    site, sts = identity
    role, token = (site.extra.pop(f"AWS_{name}") for name in ("ROLE_ARN", "WEB_IDENTITY_TOKEN_FILE"))
    text = f"[default]\nrole_arn = {role}\nweb_identity_token_file = {token}\n{KEYS}"
    (tmp_path / "config").write_text(text)
    assert compute(site, AWS_CONFIG_FILE=str(tmp_path / "config")).code == OK
    assert len(sts.seen()) == 1


def test_token_file_that_is_missing_is_named(identity, tmp_path):
    site, _ = identity
    (tmp_path / "token").unlink()
    assert_refused(site, "credentials_missing", str(tmp_path / "token"))


# --- containers --------------------------------------------------------------------------------


@pytest.fixture
def endpoint():
    """A credential endpoint."""
    server = CredentialServer()
    yield server
    server.stop()


@pytest.fixture
def container(lenient, endpoint):
    """A site whose keys come from the endpoint of its container."""
    lenient.extra.update(endpoint.settings)
    return lenient


def test_container_endpoint_is_asked_once(container, endpoint):
    assert compute(container).code == OK
    assert len(endpoint.asked) == 1 and "authorization" not in endpoint.asked[0]
    assert set(tokens(container)) == {"session-token-1"}


def test_token_of_the_container_is_sent(container, endpoint):
    assert compute(container, AWS_CONTAINER_AUTHORIZATION_TOKEN="let me in").code == OK
    assert endpoint.asked[0]["authorization"] == "let me in"


def test_token_file_of_the_container_is_read_each_time(container, endpoint, tmp_path):
    path = tmp_path / "token"
    path.write_text("first")
    server = container.server(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(path), KPI_PUBLISH="local")
    assert server.run(DAY)["state"] == "succeeded"
    path.write_text("second\n")
    container.s3.spoil(EXPIRED, LIST, times=1)
    assert server.run(DAY)["state"] == "succeeded"
    assert [asked["authorization"] for asked in endpoint.asked] == ["first", "second"]


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb"], ids=["crlf", "lf"])
@pytest.mark.parametrize("place", ["TOKEN", "TOKEN_FILE"])
def test_line_break_in_the_token_is_refused(container, endpoint, tmp_path, token, place):
    (tmp_path / "token").write_text(token)
    value = token if place == "TOKEN" else str(tmp_path / "token")
    setting = {f"AWS_CONTAINER_AUTHORIZATION_{place}": value}
    assert_refused(container, "credentials_missing", "line break", **setting)
    assert endpoint.asked == []


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/keys",
        "http://example.com/keys",
        "http://169.254.170.2.example.com/keys",
        "http://127.0.0.1@10.0.0.1/keys",
        "http://127.0.0.1.nip.io/keys",
        "http://[fd00::1]/keys",
        "ftp://127.0.0.1/keys",
        "file:///etc/passwd",
    ],
)
def test_address_that_is_not_documented_is_refused(container, endpoint, url):
    setting = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}
    assert_refused(container, "credentials_missing", "FULL_URI", **setting)
    assert endpoint.asked == []


@pytest.mark.parametrize(
    "plan, code",
    [
        (Plan(b"<html>hello</html>"), "credentials_missing"),
        (Plan(SOME_MB), "credentials_missing"),
        (Plan({"AccessKeyId": "A"}), "credentials_missing"),
        (Plan(keys(Expiration="tomorrow")), "credentials_missing"),
        (Plan(keys(Token="a\r\nx-evil: 1")), "credentials_missing"),
        (Plan(b"denied", 403), "credentials_missing"),
        (Plan(b"down", 500), "credentials_missing"),
        (Plan(keys(minutes=-1)), "credentials_expired"),
    ],
    ids=["html", "large", "half", "date", "header", "403", "500", "expired"],
)
def test_answer_of_the_endpoint_that_is_no_use(container, endpoint, plan, code):
    endpoint.answer(plan)
    server = container.server()
    run = server.run(DAY)
    assert_error(run, code)
    assert container.s3.seen() == [] and container.dynamodb.seen() == []
    endpoint.answer(Plan())
    assert server.get("/healthz").status == 200
    assert server.run(DAY)["state"] == "succeeded"


@pytest.mark.parametrize("plan", [Plan(b"down", 500), Plan(delay=5.5)], ids=["500", "slow"])
def test_endpoint_that_stumbles_once_is_asked_again(container, endpoint, plan):
    endpoint.answer(plan, Plan())
    assert compute(container).code == OK
    assert len(endpoint.asked) == 2


def test_endpoint_that_is_not_there(container):
    address = f"http://localhost:{free_port()}/keys"
    setting = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": address}
    assert_refused(container, "credentials_missing", "does not answer", **setting)


def test_cancel_does_not_wait_for_a_slow_endpoint(container, endpoint):
    endpoint.answer(Plan(delay=4))
    server = container.server(KPI_PUBLISH="local")
    run = server.start_run(DAY)
    while not endpoint.asked:
        time.sleep(0.01)
    asked = time.monotonic()
    server.post(f"/runs/{run['id']}/cancel")
    assert server.finish(run["id"])["state"] == "cancelled"
    assert time.monotonic() - asked < 2


# --- instances ---------------------------------------------------------------------------------


@pytest.fixture
def instance(lenient, tmp_path):
    """A site whose keys come from the metadata of its instance."""
    server = MetadataServer(tmp_path / "imds", keys(token="token-of-the-instance")).start()
    lenient.extra.update(
        NO_KEYS,
        AWS_EC2_METADATA_DISABLED="false",
        AWS_EC2_METADATA_SERVICE_ENDPOINT=server.url,
    )
    yield lenient
    server.stop()


def test_instance_metadata_is_asked_by_version_2(instance):
    """The mock refuses whoever has no session token."""
    result = compute(instance)
    assert result.code == OK, result
    assert signers(instance) == {ACCESS_KEY}
    assert set(tokens(instance)) == {"token-of-the-instance"}


def test_instance_metadata_may_be_switched_off(instance):
    setting = {"AWS_EC2_METADATA_DISABLED": "true"}
    assert_refused(instance, "credentials_missing", "no AWS credentials", **setting)


# --- expiry and rotation -----------------------------------------------------------------------


@pytest.mark.parametrize("operation", [LIST, GET])
def test_token_that_expires_once_is_replaced(container, endpoint, operation):
    endpoint.answer(Plan(keys(token="old")), Plan(keys(token="new")))
    container.s3.spoil(EXPIRED, operation, times=1)
    assert compute(container).code == OK
    assert len(endpoint.asked) == 2
    assert tokens(container)[0] == "old" and tokens(container)[-1] == "new"


@pytest.mark.parametrize(
    "service, operation, fault",
    [
        ("s3", LIST, EXPIRED),
        ("s3", GET, EXPIRED),
        ("dynamodb", "GetItem", dynamodb_error(400, "ExpiredTokenException")),
        ("dynamodb", "TransactWriteItems", dynamodb_error(400, "ExpiredTokenException")),
    ],
)
@pytest.mark.parametrize("times, end", [(1, "succeeded"), (None, "credentials_expired")])
def test_token_that_is_refused(container, service, operation, fault, times, end):
    before = publish_before(container)
    getattr(container, service).spoil(fault, operation, **({"times": times} if times else {}))
    server = container.server()
    run = server.run(DAY)
    if end == "succeeded":
        assert run["state"] == end, run["error"]
    else:
        details = assert_error(run, end, service)
        assert details["aws_operation"] == operation
        assert container.tables.snapshot() == before
    assert_recovers(container, server)


def test_keys_that_rotate_under_many_requests_are_fetched_once(container, endpoint):
    """From the third object on the old token is refused, to all requests that are under way."""
    rows = {n: f"{HEADERS['orders']}\n{n},1,c,{DAY}\n" for n in range(1000, 1020)}
    container.bucket.put_all({f"Data/orders/{n}.csv": row for n, row in rows.items()})
    endpoint.answer(Plan(keys(token="old")), Plan(keys(token="new"), delay=0.2))
    old = {"headers": {"x-amz-security-token": "old"}}
    rule = container.s3.spoil(EXPIRED, GET, skip=2, **old)
    assert compute(container).code == OK
    assert rule.hits > 1 and len(endpoint.asked) == 2
    assert set(tokens(container)) == {"old", "new"}


def test_keys_near_their_end_are_renewed_in_advance(container, endpoint):
    endpoint.answer(Plan(keys(minutes=14, token="old")), Plan(keys(token="new")))
    assert compute(container).code == OK
    assert len(endpoint.asked) == 2 and tokens(container)[-1] == "new"


@pytest.mark.parametrize("minutes", [8, 14])
def test_keys_that_cannot_be_prolonged_are_not_asked_for_by_every_call(
    container, endpoint, minutes
):
    rows = {n: f"{HEADERS['orders']}\n{n},1,c,{DAY}\n" for n in range(1000, 1020)}
    container.bucket.put_all({f"Data/orders/{n}.csv": row for n, row in rows.items()})
    endpoint.answer(Plan(keys(minutes=minutes)))
    assert compute(container).code == OK
    assert len(container.s3.seen()) > 20 and len(endpoint.asked) == 2


@pytest.mark.parametrize("minutes", [8, 14])
def test_endpoint_that_is_away_matters_only_when_the_keys_end(container, endpoint, minutes):
    endpoint.answer(Plan(keys(minutes=minutes)), Plan(b"down", 500))
    server = container.server()
    assert server.run(DAY)["state"] == "succeeded"
    assert server.run(DAY)["state"] == "succeeded"
    warned = [log for log in server.logs if log.get("event") == "aws.credentials_not_refreshed"]
    assert len(warned) == 1


# --- secrecy -----------------------------------------------------------------------------------

SECRETS = {
    "secret": "a-secret/key+of=the-test",
    "token": "a-session-token-of-the-test",
    "endpoint": "an-endpoint-token-of-the-test",
}


def everything_said(server, run_id: str) -> str:
    """All that the server has written and answers."""
    pages = [f"/runs/{run_id}", "/runs", "/metrics", "/version", "/readyz", f"/runs/{run_id}/logs"]
    said = [reply.text for reply in map(server.get, pages)]
    server.terminate()
    return "\n".join([*said, json.dumps(server.logs), *server.errors])


@pytest.mark.parametrize(
    "fault",
    [None, s3_error(403, "AccessDenied"), EXPIRED, Reset()],
    ids=["wrong", "denied", "expired", "reset"],
)
def test_secrets_are_never_told(site, endpoint, fault):
    given = keys(token=SECRETS["token"], SecretAccessKey=SECRETS["secret"])
    endpoint.answer(Plan(given))
    site.extra.update(endpoint.settings, AWS_CONTAINER_AUTHORIZATION_TOKEN=SECRETS["endpoint"])
    if fault:
        site.upload().s3.spoil(fault)
    server = site.server(KPI_LOG_LEVEL="debug", KPI_PUBLISH="local")
    run = server.run(DAY)
    assert run["state"] == "failed" and tokens(site)[0] == SECRETS["token"]
    said = everything_said(server, run["id"])
    assert run["id"] in said and "server.listening" in said
    assert not [name for name, secret in SECRETS.items() if secret in said]


def test_secrets_of_an_unusable_answer_are_not_told(site, endpoint):
    endpoint.answer(Plan(keys(Expiration="never", SecretAccessKey=SECRETS["secret"])))
    site.extra.update(endpoint.settings)
    server = site.server(KPI_LOG_LEVEL="debug")
    said = everything_said(server, server.run(DAY)["id"])
    assert "credentials_missing" in said and SECRETS["secret"] not in said
