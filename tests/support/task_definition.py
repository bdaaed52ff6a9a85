"""What ECS would refuse in a task definition of CloudFormation: by botocore's model of the API, and by the rules beside it."""

from typing import Any

import botocore.session
from botocore.model import Shape
from botocore.validate import ParamValidator

MEMORY_PER_CPU = {256: (512, 2048, 512), 512: (1024, 4096, 1024), 1024: (2048, 8192, 1024), 2048: (4096, 16384, 1024),
                  4096: (8192, 30720, 1024), 8192: (16384, 61440, 4096), 16384: (32768, 122880, 8192)}  # fmt: skip
HEALTH_LIMITS = {"interval": (5, 300), "timeout": (2, 120), "retries": (1, 10), "startPeriod": (0, 300)}
STOP_TIMEOUT_MAX = 120
DISK_GIB = (21, 200)


def input_shape(service: str, operation: str) -> Shape:
    return botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape


def as_request(value: Any, shape: Shape, findings: list[str]) -> Any:
    """Properties of a template as the API takes them: its spelling of names, and its types where CloudFormation converts."""
    if shape.type_name == "structure" and isinstance(value, dict):
        spelled = {name.lower(): name for name in shape.members}
        found = {spelled.get(name.lower(), name): item for name, item in value.items()}
        return {
            name: as_request(item, shape.members[name], findings) if name in shape.members else item
            for name, item in found.items()
        }
    if shape.type_name == "list" and isinstance(value, list):
        return [as_request(item, shape.member, findings) for item in value]
    if shape.type_name == "string" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if shape.type_name == "string" and shape.enum and value not in shape.enum:
        findings.append(f"{shape.name} is {value}, not one of {shape.enum}")
    return value


def findings_of(properties: dict[str, Any]) -> list[str]:
    """All that is wrong with the properties of an AWS::ECS::TaskDefinition for Fargate; empty: nothing."""
    found: list[str] = []
    shape = input_shape("ecs", "RegisterTaskDefinition")
    task = as_request(properties, shape, found)
    found += [line for line in ParamValidator().validate(task, shape).generate_report().splitlines() if line]
    if not found:
        found += task_findings(task)
        for container in task["containerDefinitions"]:
            found += container_findings(container, {volume["name"] for volume in task.get("volumes", [])})
    return found


def task_findings(task: dict[str, Any]) -> list[str]:
    found = []
    low, high, step = MEMORY_PER_CPU.get(int(task["cpu"]), (0, 0, 1))
    memory = int(task["memory"])
    if not low <= memory <= high or memory % step:
        found.append(f"Fargate has no {task['cpu']} CPU units with {memory} MiB")
    of_containers = sum(container.get("memory", 0) for container in task["containerDefinitions"])
    if of_containers > memory:
        found.append(f"containers of {of_containers} MiB in a task of {memory}")
    if task.get("networkMode") != "awsvpc":
        found.append("Fargate needs awsvpc")
    disk = task.get("ephemeralStorage", {}).get("sizeInGiB", DISK_GIB[0])
    if not DISK_GIB[0] <= int(disk) <= DISK_GIB[1]:
        found.append(f"a disk of {disk} GiB")
    return found


def container_findings(container: dict[str, Any], volumes: set[str]) -> list[str]:
    found = [f"no volume {m['sourceVolume']}" for m in container.get("mountPoints", []) if m["sourceVolume"] not in volumes]
    if container.get("stopTimeout", 0) > STOP_TIMEOUT_MAX:
        found.append(f"a stopTimeout of {container['stopTimeout']}")
    check = container["healthCheck"]
    if len(check["command"]) < 2 or check["command"][0] != "CMD":
        found.append("a health check that needs a shell, which the image has not, or that is none")  # CMD-SHELL
    for name, (low, high) in HEALTH_LIMITS.items():
        if not low <= check[name] <= high:
            found.append(f"a health check with {name} {check[name]}")
    return found
