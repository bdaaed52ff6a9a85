"""Checks of application/problem+json answers (RFC 9457)."""

from support.server import Reply

MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}


def problem_name(reply: Reply) -> str:
    """The name of the problem, after a check of everything a problem document must have."""
    assert reply.media_type == "application/problem+json", reply
    document = reply.json
    assert set(document) >= MEMBERS, document
    assert document["status"] == reply.status
    name = document["type"].rsplit("/", 1)[1]
    assert document["type"].endswith(f"/problems/{name}")
    assert document["code"].replace("_", "-") == name
    assert not any(word in reply.text for word in ("SELECT", "sqlite", "INSERT")), reply
    return name


def assert_problem(reply: Reply, status: int, *names: str) -> dict:
    """The answer is one of the named problems with that status."""
    assert (reply.status, problem_name(reply) in names) == (status, True), reply
    return reply.json
