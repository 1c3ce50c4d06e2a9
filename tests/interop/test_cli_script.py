# SPDX-License-Identifier: Apache-2.0
"""Our command line beside docker's on dockerd: a sample of the sections of cli_script.txt, with GANTRY_SOAK all.
What gantryd makes of the same commands is the page that cli_script.py writes."""
import cli_script
import pytest

from harness import places

SAMPLE = ['swarm', 'volumes', 'ports']


@pytest.mark.parametrize('section', list(cli_script.sections()) if places.SOAK else SAMPLE)
def test_same_as_docker(peer, section):
    if 'docker-new' not in cli_script.programs():
        pytest.skip('docker 28, whose wording ours follows, is not on this machine')
    found = cli_script.campaign({'peer': peer}, [section], [('gantry', 'peer')])
    assert [d[1:] for d in found if not cli_script.explain(d)] == []


def test_there_are_many():
    assert sum(map(len, cli_script.sections().values())) >= 550
