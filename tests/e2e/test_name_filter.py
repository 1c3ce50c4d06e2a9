# SPDX-License-Identifier: Apache-2.0
"""--filter name= takes regular expressions, for containers, networks and volumes."""
import pytest

from harness import places

NAMES = ['nf-web-1', 'nf-web-12', 'nf-db', 'nf.dot']


@pytest.fixture(scope='module')
def names(client):
    for kind in ([], ['network'], ['volume']):
        client(*kind, 'rm', *NAMES)  # of the program before
    for name in NAMES:
        client.ok('create', '--name', name, places.IMAGE)
        client.ok('network', 'create', name)
        client.ok('volume', 'create', name)
    yield client
    client('rm', *NAMES)
    client('network', 'rm', *NAMES)
    client('volume', 'rm', *NAMES)


@pytest.mark.parametrize('pattern, found', [
    ('nf-web', ['nf-web-1', 'nf-web-12']),
    ('^nf-web-1$', ['nf-web-1']),
    ('^/nf-web-1$', ['nf-web-1']),
    ('nf-(web-[0-9]{2}|db)$', ['nf-db', 'nf-web-12']),
    (r'^nf-\w+-\d$', ['nf-web-1']),
    ('nf.d', ['nf-db', 'nf.dot']),
    (r'nf\.d', ['nf.dot']),
    ('(?i)NF-DB', ['nf-db']),
    ('nf-(', []),
])
def test_of_containers(names, pattern, found):
    assert sorted(names.ok('ps', '-a', '--filter', f'name={pattern}', '--format', '{{.Names}}').split()) == found


def test_of_networks_and_volumes(names):
    for kind in ('network', 'volume'):
        for pattern, found in (('nf-web-[0-9]+$', ['nf-web-1', 'nf-web-12']), ('^nf-db$', ['nf-db'])):
            assert sorted(names.ok(kind, 'ls', '--filter', f'name={pattern}', '--format', '{{.Name}}').split()) == found, (kind, pattern)
