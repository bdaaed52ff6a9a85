"""Does with a CloudFormation template what EventBridge would do once it is deployed, by the rules of its User Guide."""

import json
import re
from urllib.parse import urlsplit

from support.server import Reply, Server

OWN_HEADERS = {
    "User-Agent": "Amazon/EventBridge/ApiDestinations",
    "Range": "bytes=0-1048575",
    "Content-Type": "application/json; charset=utf-8",
    "Accept-Encoding": "gzip,deflate",
}
SCHEDULED_TIME = "<aws.scheduler.scheduled-time>"


class Stack:
    """The resources that a template makes with some parameters; an attribute of one is `arn:NAME.ATTRIBUTE`."""

    def __init__(self, template: dict, **parameters: str):
        defaults = {name: given.get("Default") for name, given in template["Parameters"].items()}
        self.values = {**defaults, **parameters}
        self.conditions = template["Conditions"]
        made = {
            name: resource
            for name, resource in template["Resources"].items()
            if "Condition" not in resource or self.holds(self.conditions[resource["Condition"]])
        }
        self.resources = {name: self.resolve(resource["Properties"]) for name, resource in made.items()}

    def holds(self, condition: dict) -> bool:
        """Whether a condition is true."""
        [(function, argument)] = condition.items()
        if function == "Fn::Not":
            return not self.holds(argument[0])
        if function == "Condition":
            return self.holds(self.conditions[argument])
        assert function == "Fn::Equals", function
        first, second = (self.resolve(value) for value in argument)
        return first == second

    def resolve(self, value):
        """A value of the template without functions."""
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        if value == {"Ref": "AWS::NoValue"}:
            return None
        if not isinstance(value, dict):
            return value
        [*names] = value
        if names == ["Ref"]:
            return self.values.get(value["Ref"], f"ref:{value['Ref']}")
        if names == ["Fn::If"]:
            condition, first, second = value["Fn::If"]
            return self.resolve(first if self.holds(self.conditions[condition]) else second)
        if names == ["Fn::GetAtt"]:
            return "arn:" + ".".join(value["Fn::GetAtt"])
        if names == ["Fn::Sub"]:
            return re.sub(r"\$\{([^}]+)\}", lambda found: self.named(found[1]), value["Fn::Sub"])
        found = {name: self.resolve(item) for name, item in value.items()}
        return {name: item for name, item in found.items() if item is not None}

    def named(self, name: str) -> str:
        return f"arn:{name}" if "." in name else self.values[name]

    def by_arn(self, arn: str) -> dict:
        """The resource whose ARN another one names."""
        return self.resources[arn.removeprefix("arn:").removesuffix(".Arn")]


def matches(pattern: dict, event: dict) -> bool:
    """Whether an event has what a pattern of texts asks for."""
    return all(
        name in event and (matches(asked, event[name]) if isinstance(asked, dict) else event[name] in asked)
        for name, asked in pattern.items()
    )


def transform(transformer: dict, event: dict) -> str:
    """What an input transformer makes of an event: a JSON value in the place of a name, its text where that is in quotes."""
    found = {name: event[path.removeprefix("$.")] for name, path in transformer["InputPathsMap"].items()}
    text, is_quoted = "", False
    for part in re.split(r'((?<!\\)"|<[A-Za-z0-9_-]+>)', transformer["InputTemplate"]):
        is_quoted ^= part == '"'
        if part.startswith("<") and part[1:-1] in found:
            value = found[part[1:-1]]
            text += value if is_quoted and isinstance(value, str) else json.dumps(value)
        else:
            text += part
    return text


def deliver(stack: Stack, rule: str, event: dict, server: Server) -> Reply:
    """Sends an event to the API destination of a rule, which `server` stands for."""
    [target] = stack.resources[rule]["Targets"]
    destination = stack.by_arn(target["Arn"])
    connection = stack.by_arn(destination["ConnectionArn"])
    assert connection["AuthorizationType"] == "API_KEY"
    key = connection["AuthParameters"]["ApiKeyAuthParameters"]
    return server.request(
        destination["HttpMethod"],
        urlsplit(destination["InvocationEndpoint"]).path,
        transform(target["InputTransformer"], event),
        {**OWN_HEADERS, key["ApiKeyName"]: key["ApiKeyValue"]},
    )


def scheduler_input(stack: Stack, schedule: str, time: str) -> dict:
    """What EventBridge Scheduler passes to the target of a schedule."""
    return json.loads(stack.resources[schedule]["Target"]["Input"].replace(SCHEDULED_TIME, time))
