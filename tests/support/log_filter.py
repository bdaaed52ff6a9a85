"""Filter patterns of CloudWatch Logs for JSON lines, by the rules of its User Guide ("terms in JSON log events")."""

import fnmatch
import operator
import re
from collections.abc import Callable

TOKEN = re.compile(r'\s*(?:(\|\||&&|[()])|(\$(?:\.\w+)+)|(!=|>=|<=|=|>|<)|("(?:[^"\\]|\\.)*")|(-?\d+(?:\.\d+)?))')
NUMBERS = {"=": operator.eq, "!=": operator.ne, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le}

Line = dict[str, object]
Test = Callable[[Line], bool]


class Pattern:
    """`{ ($.a = "text*") && ($.b > 1) }`: what a line has to be."""

    def __init__(self, text: str):
        inner = re.fullmatch(r"\s*\{(.*)\}\s*", text, re.DOTALL)
        if not inner:
            raise ValueError(f"no pattern for JSON: {text}")
        self.tokens = self.split(inner[1])
        self.matches: Test = self.any_of()
        if self.tokens:
            raise ValueError(f"what follows is not understood: {self.tokens}")

    @staticmethod
    def split(text: str) -> list[str]:
        tokens, at = [], 0
        text = text.rstrip()
        while at < len(text):
            found = TOKEN.match(text, at)
            if not found:
                raise ValueError(f"not understood: {text[at:]}")
            tokens.append(found[0].strip())
            at = found.end()
        return tokens

    def next(self) -> str:
        if not self.tokens:
            raise ValueError("the pattern breaks off")
        return self.tokens.pop(0)

    def any_of(self) -> Test:
        tests = [self.all_of()]
        while self.tokens[:1] == ["||"]:
            self.next()
            tests.append(self.all_of())
        return lambda line: any(test(line) for test in tests)

    def all_of(self) -> Test:
        tests = [self.one()]
        while self.tokens[:1] == ["&&"]:
            self.next()
            tests.append(self.one())
        return lambda line: all(test(line) for test in tests)

    def one(self) -> Test:
        first = self.next()
        if first == "(":
            inner = self.any_of()
            if self.next() != ")":
                raise ValueError("a bracket is not closed")
            return inner
        if not first.startswith("$."):
            raise ValueError(f"no field: {first}")
        compare, value = self.next(), self.next()
        if value.startswith('"'):
            return text_test(first[2:].split("."), compare, value[1:-1])
        return number_test(first[2:].split("."), compare, float(value))


def field(line: Line, path: list[str]) -> object:
    """The value at a path; None where there is none."""
    value: object = line
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def text_test(path: list[str], compare: str, wanted: str) -> Test:
    if compare not in ("=", "!="):
        raise ValueError(f"texts are not compared by {compare}")

    def test(line: Line) -> bool:
        found = field(line, path)
        return isinstance(found, str) and fnmatch.fnmatchcase(found, re.sub(r"([\[\]?])", "[\\1]", wanted)) == (compare == "=")

    return test


def number_test(path: list[str], compare: str, wanted: float) -> Test:
    def test(line: Line) -> bool:
        found = field(line, path)
        return isinstance(found, int | float) and not isinstance(found, bool) and NUMBERS[compare](found, wanted)

    return test
