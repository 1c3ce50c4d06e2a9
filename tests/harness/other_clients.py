# SPDX-License-Identifier: Apache-2.0
"""Suites that are written for other people's client libraries, in their own language: tests/interop/clients."""
import os
import subprocess

from .places import TREE

FOLDER = TREE / 'tests/interop/clients'
# tools/dev/clients.sh
PYTHON = TREE / 'build/clients/python/bin/python'
NODE_MODULES = TREE / 'build/clients/node/node_modules'


def uses(client, command, **environment):
    """Runs a suite of another client's in the engine's network namespace."""
    process = subprocess.run(['nsenter', f'--net={client.engine.names.netns}', *map(str, command)], cwd=FOLDER, stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300,
                             env={'PATH': os.environ['PATH'], 'HOME': client.environment['HOME'], 'PYTHONDONTWRITEBYTECODE': '1',
                                  'DOCKER_HOST': client.engine.host, **environment})
    assert process.returncode == 0, process.stdout[-6000:]
    return process.stdout
