"""moto: STS, IAM, S3 and DynamoDB that check signatures, session tokens and policies (a lax oracle for the rest)."""

import sys
import urllib.request
from pathlib import Path

from support.s3_server import boto_client
from support.tools import ToolServer


class MotoServer(ToolServer):
    """A server whose state and checks a test can reset."""

    name = "moto"

    def command(self) -> list[str]:
        program = Path(sys.executable).parent / "moto_server"
        return [str(program), "-H", "127.0.0.1", "-p", str(self.port)]

    def post(self, path: str, body: str = "") -> None:
        request = urllib.request.Request(
            self.url + path,
            data=body.encode(),
            headers={"Content-Type": "text/plain"},
            method="POST",
        )
        with urllib.request.urlopen(request, timeout=10) as reply:
            assert reply.status == 200, path

    def reset(self) -> None:
        """Forgets everything and checks nothing."""
        self.post("/moto-api/reset-auth", "1000000000")
        self.post("/moto-api/reset")

    def check_signatures(self) -> None:
        """From now on every call needs a valid signature and a policy that allows it."""
        self.post("/moto-api/reset-auth", "0")

    def client(self, service: str, *credentials: str):
        return boto_client(service, self.url, *credentials)

    def user(self, name: str, actions: list[str]) -> tuple[str, str]:
        """The access key of a new user who may do `actions`."""
        iam = self.client("iam")
        iam.create_user(UserName=name)
        iam.put_user_policy(
            UserName=name, PolicyName="kpid", PolicyDocument=policy(actions)
        )
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return key["AccessKeyId"], key["SecretAccessKey"]

    def role(self, name: str, actions: list[str]) -> str:
        """The ARN of a new role that may do `actions`."""
        iam = self.client("iam")
        made = iam.create_role(
            RoleName=name, AssumeRolePolicyDocument=policy(["sts:AssumeRole"])
        )
        iam.put_role_policy(
            RoleName=name, PolicyName="kpid", PolicyDocument=policy(actions)
        )
        return made["Role"]["Arn"]


def policy(actions: list[str]) -> str:
    words = ", ".join(f'"{action}"' for action in actions)
    return (
        '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", '
        f'"Action": [{words}], "Resource": "*"}}]}}'
    )
