# SPDX-License-Identifier: Apache-2.0
"""How little memory the runtime needs. GANTRY_TEST_RUNTIME=crun proves the second one on crun 1.8.1; runc's process is itself larger
than the limit."""
import subprocess
from pathlib import Path

import pytest

from harness import places
from harness.bundle import PEER, Bundle

PEAK_KB = 1536
SMALL = 512 << 10


@pytest.fixture
def bundle():
    made = Bundle()
    yield made
    made.destroy()


def peak(bundle, *words):
    """The largest resident set of the command and of what it waits for, in kB."""
    bundle.write()
    with open(bundle.folder / 'output', 'w') as output:  # a pipe would be held open by the container
        done = subprocess.run([Path(places.BIN).parent / 'bench/peak', *bundle.command(*words)], cwd=bundle.folder, stdin=subprocess.DEVNULL,
                              stdout=output, stderr=subprocess.STDOUT, timeout=60)
    text = (bundle.folder / 'output').read_text()
    assert done.returncode == 0, text
    return int(text.splitlines()[-1])


@pytest.mark.skipif(bool(PEER), reason='larger')
@pytest.mark.parametrize('filtered', [False, True])
def test_peak_memory(bundle, filtered):
    """It is made of pages of the program's file: cmake/order/gantry-runtime.ld keeps what is executed together."""
    if filtered:
        bundle.linux['seccomp'] = {'defaultAction': 'SCMP_ACT_ERRNO', 'syscalls': [
            {'names': [line.split()[1][len('__NR_'):] for line in Path('/usr/include/x86_64-linux-gnu/asm/unistd_64.h').read_text().splitlines()
                       if line.startswith('#define __NR_')], 'action': 'SCMP_ACT_ALLOW'}]}
    bundle.config['process']['args'] = ['sleep', '100']
    name = bundle.name()
    # Detached, so that the container's own program does not count.
    assert peak(bundle, 'run', '--detach', name) <= PEAK_KB
    assert peak(bundle, 'exec', '--detach', name, 'true') <= PEAK_KB
    name = bundle.name()
    assert peak(bundle, 'create', name) <= PEAK_KB
    assert peak(bundle, 'start', name) <= PEAK_KB
    assert peak(bundle, 'delete', '--force', name) <= PEAK_KB


@pytest.mark.skipif(PEER == 'runc', reason='needs more itself')
def test_small_memory_limit(bundle):
    bundle.linux['resources'] = {'memory': {'limit': SMALL}}
    for i in range(5):
        assert bundle.out('echo', f'turn {i}') == f'turn {i}\n'
    # The limit was there: this one's cgroup, as the host sees it.
    pid = bundle.state(bundle.start())['pid']
    for line in Path(f'/proc/{pid}/cgroup').read_text().splitlines():
        _, controllers, path = line.split(':', 2)
        where = Path('/sys/fs/cgroup') / ('memory' if controllers else '') / path.lstrip('/')
        if controllers in ('memory', ''):
            found = [file.read_text().strip() for file in (where / 'memory.limit_in_bytes', where / 'memory.max') if file.exists()]
            if found:
                assert found == [str(SMALL)]
                return
    pytest.fail('the container is in no cgroup with a limit of memory')


@pytest.mark.skipif(bool(PEER), reason='programs of ours')
@pytest.mark.parametrize('program', ['containerd-shim-gantry-v1', 'gantry-init', 'gantry-proxy', 'gantry-runtime'])
def test_no_openssl(program):
    """It asks the processor for its features at each start, and comes in unseen with a file that is compiled together with others."""
    data = (Path(places.BIN) / program).read_bytes()
    if b'__libc_start_main' not in data:
        pytest.skip('stripped')
    assert b'OPENSSL_cpuid_setup' not in data
