"""The table of faults and their ends, printed after the last case of a module."""

import pytest


@pytest.fixture(scope="module")
def fault_table(request):
    """A list of lines that is printed when the module is over."""
    lines: list[str] = []
    yield lines
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{request.module.__name__}: {len(lines)} cases (operation, fault, times, hits -> end)")
        print("\n".join(lines))
