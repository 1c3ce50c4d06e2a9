# SPDX-License-Identifier: Apache-2.0
"""docker's SDK for python in Debian's version and PyPI's (tools/dev/clients.sh): its uses are clients/docker_sdk_uses.py."""
import re

import pytest

from harness import places
from harness.other_clients import PYTHON, uses


@pytest.mark.parametrize('python', ['/usr/bin/python3', *([PYTHON] if places.SOAK else [])], ids=lambda path: 'debian' if path == '/usr/bin/python3' else 'pypi')
def test_docker_sdk(client, python):
    if client.name != 'docker':
        pytest.skip('the SDK is its own client')
    out = uses(client, [python, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--tb=short', '-c', '/dev/null', 'docker_sdk_uses.py'])
    assert int(re.search(r'(\d+) passed', out).group(1)) >= 18, out
