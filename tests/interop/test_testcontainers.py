# SPDX-License-Identifier: Apache-2.0
"""testcontainers for python, of PyPI (tools/dev/clients.sh): its uses are clients/testcontainers_uses.py."""
import re

import pytest

from harness.other_clients import PYTHON, uses
from harness.places import BIN


def test_testcontainers(client):
    if client.name != 'docker':
        pytest.skip('testcontainers is its own client')
    out = uses(client, [PYTHON, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--tb=short', '-c', '/dev/null', 'testcontainers_uses.py'],
               TESTCONTAINERS_RYUK_DISABLED='true', PROGRAM=str(BIN / 'gantry'))
    assert int(re.search(r'(\d+) passed', out).group(1)) >= 9, out
