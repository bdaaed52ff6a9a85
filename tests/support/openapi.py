"""Reads the service's own description and holds answers against it."""

import re
from collections.abc import Iterator

import jsonschema
import yaml

from support.server import Reply, Server

METHODS = ("get", "post", "put", "patch", "delete")


def walk(node: object, path: str) -> Iterator[tuple[str, dict]]:
    """Every mapping below a node, with the way to it."""
    if isinstance(node, dict):
        yield path, node
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, child in items:
        if isinstance(child, dict | list):
            yield from walk(child, f"{path}/{key}")


def types_of(node: dict) -> list[str]:
    kind = node.get("type", [])
    return [kind] if isinstance(kind, str) else kind if isinstance(kind, list) else []


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

    def vague_objects(self) -> list[str]:
        """Where an object is described without saying everything that may stand in it."""
        return [
            path
            for path, node in walk(self.document["components"], "")
            if "object" in types_of(node)
            and node.get("additionalProperties", True) is True
            and "allOf" not in path
        ]

    def accepts(self, schema: str, document: object) -> bool:
        """Whether a document is one of that component schema."""
        whole = {
            "$ref": f"#/components/schemas/{schema}",
            "components": self.document["components"],
        }
        return jsonschema.Draft202012Validator(whole).is_valid(document)

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
