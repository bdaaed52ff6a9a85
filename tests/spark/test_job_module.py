"""What the Spark job does by itself, without Spark."""

from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import pytest

from support.spark import kpi_job


@pytest.fixture
def zones(monkeypatch):
    monkeypatch.setattr(kpi_job, "ZONES", {})
    monkeypatch.setattr(kpi_job, "ZONES_MAX", 3)
    return kpi_job.ZONES


def test_wrong_zone_names_do_not_crowd_out_real_ones(zones):
    for name in ("No/Such", "Nor/This", "Nor/That", "Nor/Those"):
        assert kpi_job.load_zone(name) is None
    assert len(zones) == 3
    assert kpi_job.load_zone("Europe/Berlin").key == "Europe/Berlin"
    assert kpi_job.load_zone("Asia/Tokyo").key == "Asia/Tokyo"


# ---- what was pinned ----

PINNED = {"name": "orders/a.csv", "uri": "s3://b/a.csv", "size": 7, "etag": '"e1"', "modified_ms": 1700000000000}
FILE = {**PINNED, "uri": "file:///a.csv", "etag": None, "modified_ms": 1700000000123}


@pytest.mark.parametrize(
    ("pinned", "state", "is_same"),
    [
        (PINNED, (7, 1700000000000, "e1"), True),
        (PINNED, (8, 1700000000000, "e1"), False),
        (PINNED, (7, 1700000000000, "e2"), False),
        (PINNED, (7, 1700000009000, "e1"), True),  # the same bytes, written again
        (PINNED, (7, 1700000000999, None), True),  # a file system that knows no ETags, and parts of seconds
        (PINNED, (7, 1700000001000, None), False),
        (PINNED, (7, 0, None), True),  # nor times
        ({**PINNED, "modified_ms": None}, (7, 1700000001000, None), True),
        (FILE, (7, 1700000000123, None), True),
        (FILE, (7, 1700000000124, None), False),
    ],
)
def test_object_is_the_one_that_was_listed(pinned, state, is_same):
    spec = SimpleNamespace(all_objects=lambda: [pinned])
    storage = SimpleNamespace(states=lambda uris: dict.fromkeys(uris, state))
    try:
        kpi_job.check_pinned(storage, spec)
        seen = True
    except kpi_job.Refusal as why:
        assert why.object == "orders/a.csv"
        seen = False
    assert seen == is_same


# ---- the process that started it ----


@pytest.fixture
def parents(monkeypatch):
    """The parents that the job has, one after the other; an exit is an exception."""
    told = []
    monkeypatch.setenv("PYSPARK_GATEWAY_PORT", "1")
    monkeypatch.setattr(kpi_job.ctypes, "CDLL", lambda _: SimpleNamespace(prctl=lambda *_: 0))
    monkeypatch.setattr(kpi_job.os, "getppid", lambda: told.pop(0) if len(told) > 1 else told[0])
    monkeypatch.setattr(kpi_job.os, "_exit", lambda code: pytest.fail(f"exit {code}", pytrace=False))
    return told


def test_java_may_be_the_first_process_of_a_container(parents):
    parents[:] = [1]
    kpi_job.die_with_parent()


def test_job_whose_parent_dies_before_it_is_watched_ends(parents):
    parents[:] = [7, 1]
    with pytest.raises(pytest.fail.Exception, match=f"exit {kpi_job.EXIT_ORPHAN}"):
        kpi_job.die_with_parent()


# ---- progress ----


class Written:
    """A storage that keeps what is written."""

    def __init__(self):
        self.texts, self.looked = [], 0

    def write(self, _, data):
        self.texts.append(kpi_job.json.loads(data))


class Stage:
    """What Spark tells of an active stage."""

    def __init__(self, completed, active, tasks):
        self.stageId, self.numCompletedTasks, self.numActiveTasks, self.numTasks = 1, completed, active, tasks


@pytest.fixture
def context():
    made = MagicMock()
    made.statusTracker.return_value.getActiveStageIds.return_value = []
    made.applicationId = "app-1"
    made.accumulator.side_effect = lambda start: SimpleNamespace(value=start)
    return made


@pytest.fixture
def progress(context):
    spec = SimpleNamespace(folder="f", of_attempt=dict, all_objects=lambda: [{"size": 1}])
    return kpi_job.Progress(SimpleNamespace(sparkContext=context), Written(), spec)


def test_driver_that_looks_through_the_input_makes_progress(progress):
    storage = progress.storage
    for looked, beats in ((0, [0]), (5, [0, 1]), (5, [0, 1]), (9, [0, 1, 2])):
        storage.looked = looked
        progress.tell()
        assert [text["beats"] for text in storage.texts] == beats


@pytest.mark.parametrize(
    ("stages", "waits"),
    [
        ([], False),  # the driver itself is at work
        ([Stage(0, 0, 2)], True),
        ([Stage(1, 0, 2)], True),  # the only executor is lost
        ([Stage(0, 0, 2), Stage(0, 0, 1)], True),
        ([Stage(0, 0, 2), Stage(0, 1, 1)], False),  # there are executors, and it is not their turn
        ([Stage(2, 0, 2)], False),  # is about to end
        ([None], False),  # has ended meanwhile
    ],
)
def test_job_whose_tasks_have_nowhere_to_run_waits(stages, waits, context, progress):
    context.statusTracker.return_value.getActiveStageIds.return_value = range(len(stages))
    context.statusTracker.return_value.getStageInfo.side_effect = lambda number: stages[number]
    progress.tell()
    assert [text["waiting"] for text in progress.storage.texts] == [waits]


def test_driver_that_waits_goes_on_saying_so(context, progress):
    context.statusTracker.return_value.getActiveStageIds.return_value = [1]
    context.statusTracker.return_value.getStageInfo.return_value = Stage(0, 0, 2)
    for _ in range(3):
        progress.tell()
    assert [(text["waiting"], text["beats"]) for text in progress.storage.texts] == [(True, 1), (True, 2), (True, 3)]


def test_exception_of_java_says_what_java_says():
    class FromJava(Exception):
        java_exception = "java.nio.file.AccessDeniedException: s3://w/spec.json: Forbidden\n\tat x"

    storage = Written()
    attempt = SimpleNamespace(folder="f", of_attempt=dict, license="f/spec.json")
    with patch.object(kpi_job, "write_last", lambda _storage, _attempt, _name, document: storage.texts.append(document)):
        kpi_job.refuse_spec(storage, attempt, FromJava("An error occurred while calling o58.exists.\n: java..."))
    assert storage.texts[0]["message"].endswith("AccessDeniedException: s3://w/spec.json: Forbidden")


def test_storage_counts_the_objects_that_it_looks_at():
    storage = kpi_job.Storage(MagicMock())
    assert storage.states(["file:///a", "file:///b"]) == {}
    assert storage.looked == 2
