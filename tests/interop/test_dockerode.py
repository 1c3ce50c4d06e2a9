# SPDX-License-Identifier: Apache-2.0
"""dockerode, of npm (tools/dev/clients.sh): its uses are clients/dockerode.test.mjs, run by node's test runner."""
import re

import pytest

from harness.other_clients import NODE_MODULES, uses


def test_dockerode(client):
    if client.name != 'docker':
        pytest.skip('dockerode is its own client')
    out = uses(client, ['node', '--test', 'dockerode.test.mjs'], MODULES=str(NODE_MODULES))
    assert int(re.search(r'# pass (\d+)', out).group(1)) >= 1 and re.search(r'# fail 0', out), out
