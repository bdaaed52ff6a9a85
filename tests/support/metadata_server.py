"""amazon-ec2-metadata-mock: the instance metadata service, version 2 only."""

import json
from pathlib import Path

from support.tools import ToolServer, tools_folder


class MetadataServer(ToolServer):
    """A metadata service that hands out `credentials` (AccessKeyId, SecretAccessKey, Token, Expiration)."""

    name = "metadata"

    def __init__(self, folder: Path, credentials: dict[str, str]):
        super().__init__(folder)
        self.credentials = credentials

    def command(self) -> list[str]:
        config = self.folder / "config.json"
        config.write_text(json.dumps(self.config()), encoding="utf-8")
        return [
            str(tools_folder() / "bin" / "ec2-metadata-mock"),
            "-n",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-I",
            "-c",
            str(config),
        ]

    def environment(self) -> dict[str, str]:
        return {"HOME": str(self.folder)}

    def config(self) -> dict:
        role = "/latest/meta-data/iam/security-credentials/kpid-role"
        return {
            "metadata": {
                "paths": {"iam-security-credentials": role},
                "values": {
                    "iam-security-credentials-role": "kpid-role",
                    "iam-security-credentials": self.credentials,
                },
            }
        }
