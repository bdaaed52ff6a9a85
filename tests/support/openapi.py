"""Reads the service's own description and holds answers against it."""

import re

import jsonschema
import yaml

from support.server import Reply, Server

METHODS = ("get", "post", "put", "patch", "delete")


class Description:
    """The parsed openapi.yaml."""

    def __init__(self, server: Server):
        self.document = yaml.safe_load(server.get("/openapi.yaml").text)

    @property
    def routes(self) -> set[tuple[str, str]]:
        """(method, path) of every operation, parameters as {}."""
        return {
            (method.upper(), re.sub(r"\{[^}]*\}", "{}", path))
            for path, item in self.document["paths"].items()
            for method in item
            if method in METHODS
        }

    def resolve(self, node: dict) -> dict:
        while "$ref" in node:
            target = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def response(self, method: str, path: str, status: int) -> dict:
        """The described answer; `path` as written in the description."""
        responses = self.document["paths"][path][method.lower()]["responses"]
        known = {str(key): value for key, value in responses.items()}
        assert str(status) in known or "default" in known, (
            f"{method} {path} does not describe {status}"
        )
        return self.resolve(known.get(str(status), known.get("default")))

    def check(self, method: str, path: str, reply: Reply) -> None:
        """The status, the media type and, for JSON, the body are as described."""
        described = self.response(method, path, reply.status)
        content = described.get("content", {})
        assert reply.media_type in content or not reply.body, (
            f"{reply.media_type} not in {list(content)}"
        )
        if reply.media_type.endswith("json"):
            schema = {
                **content[reply.media_type]["schema"],
                "components": self.document["components"],
            }
            jsonschema.Draft202012Validator(schema).validate(reply.json)
