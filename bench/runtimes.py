# SPDX-License-Identifier: Apache-2.0
"""gantry-runtime beside crun and runc on one bundle: time of `run`, peak memory."""
import contextlib
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WARM_UP = 2
REST_S = 0.06  # back-to-back runs measure the tear-down of the one before


@contextlib.contextmanager
def hugetlb():
    """crun refuses a host of cgroup v1 without this hierarchy."""
    where, made, mounted = Path('/sys/fs/cgroup/hugetlb'), False, False
    if Path('/sys/fs/cgroup/unified').is_dir() and not os.path.ismount(where):
        made = not where.exists()
        where.mkdir(exist_ok=True)
        mounted = subprocess.run(['mount', '-t', 'cgroup', '-o', 'hugetlb', 'cgroup', where]).returncode == 0
    try:
        yield
    finally:
        if mounted:
            subprocess.run(['umount', where])
        if made:
            where.rmdir()


@contextlib.contextmanager
def bundle():
    folder = Path(tempfile.mkdtemp(prefix='gt-bundle-'))
    try:
        for name in ('bin', 'proc', 'sys', 'dev', 'etc'):
            (folder / 'rootfs' / name).mkdir(parents=True)
        shutil.copy('/bin/busybox', folder / 'rootfs/bin/busybox')
        (folder / 'rootfs/bin/echo').symlink_to('busybox')
        subprocess.run(['runc', 'spec'], cwd=folder, check=True)
        config = json.loads((folder / 'config.json').read_text())
        config['process']['terminal'] = False
        config['process'].pop('rlimits', None)
        config['process']['capabilities'].pop('ambient', None)
        config['linux']['resources'] = {'memory': {'limit': 256 << 20}, 'pids': {'limit': 100}}
        yield folder, config
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def once(binary, folder, config, word):
    config['process']['args'] = ['echo', word]
    (folder / 'config.json').write_text(json.dumps(config))
    time.sleep(REST_S)
    begin = time.perf_counter()
    done = subprocess.run([str(binary), 'run', '--bundle', str(folder), f'bench{os.getpid()}-{word}'], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    taken = (time.perf_counter() - begin) * 1000
    if done.returncode or word not in done.stdout.decode().split():
        sys.exit(f'{binary}: {done.stdout.decode()[-300:]}')
    return taken


def contestants(ours):
    return {'gantry': ours, 'crun': shutil.which('crun'), 'runc': shutil.which('runc')}


def times(ours, rounds):
    binaries = contestants(ours)
    names, values = list(binaries), {name: [] for name in binaries}
    with hugetlb(), bundle() as (folder, config):
        for turn in range(rounds + WARM_UP):
            for place in range(len(names)):
                name = names[(turn + place) % len(names)]
                taken = once(binaries[name], folder, config, f'w{turn}')
                if turn >= WARM_UP:
                    values[name].append(taken)
    return {name: statistics.median(v) for name, v in values.items()}


def timed_peak(command):
    """(output, what busybox's time says in kB). It is the parent, because a child of this interpreter
    begins with the interpreter's own peak."""
    done = subprocess.run(['busybox', 'time', '-v', *map(str, command)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f'{command}: {done.stderr[-300:]}')
    return done.stdout, int(re.search(r'Maximum resident set size \(kbytes\): (\d+)', done.stderr).group(1))


def peaks(ours):
    """Peak resident set of one `run` and what it starts. Some versions of busybox take the kernel's
    kilobytes for pages; a process that tells its own peak shows by how much."""
    status, told = timed_peak(['busybox', 'cat', '/proc/self/status'])
    factor = max(1, round(told / int(re.search(r'VmHWM:\s+(\d+)', status).group(1))))
    found = {}
    with hugetlb(), bundle() as (folder, config):
        config['process']['args'] = ['echo', 'peak']
        (folder / 'config.json').write_text(json.dumps(config))
        for name, binary in contestants(ours).items():
            output, peak = timed_peak([binary, 'run', '--bundle', folder, f'bench{os.getpid()}-peak'])
            if output.strip() != 'peak':
                sys.exit(f'{binary}: {output}')
            found[name] = peak // factor
    return found
