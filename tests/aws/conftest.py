"""The table of faults and their ends, printed after the last case of a module."""

import pytest


@pytest.fixture(scope="module")
def fault_table(request, tell):
    """A list of lines that is printed when the module is over."""
    lines: list[str] = []
    yield lines
    title = f"{request.module.__name__}: {len(lines)} cases (operation, fault, times, hits -> end)"
    tell("\n".join([title, *lines]))
