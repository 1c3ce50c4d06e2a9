# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin for the lab (-p report): each test that held is a line "ok …", which the suite counts, each other "not so: …"."""
from pathlib import Path


def pytest_runtest_logreport(report):
    file, _, name = report.nodeid.partition('::')
    if report.when == 'call' and report.passed:
        print(f'\nok {Path(file).stem}: {name}', flush=True)
    elif report.failed:
        print(f'\nnot so: {report.nodeid} ({report.when})', flush=True)
