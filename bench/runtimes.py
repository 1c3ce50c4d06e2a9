# SPDX-License-Identifier: Apache-2.0
"""gantry-runtime beside crun and runc on one bundle: time of each verb, peak memory. `run` also beside bench/floor, a bare
program that does the kernel work which the same config.json asks for."""
import contextlib
import ctypes
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
RELEASE = TREE / 'build/release'
WARM_UP = 2
REST_S = 0.06  # back-to-back runs measure the tear-down of the one before
VERBS = ('create', 'start', 'exec', 'delete')
PR_SET_CHILD_SUBREAPER = 36


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
        # With the rules for devices that are there: everything is forbidden but the standard ones.
        config['linux']['resources'].update(memory={'limit': 256 << 20}, pids={'limit': 100})
        yield folder, config
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def default_profile():
    """The engine's seccomp profile for containers without further capabilities."""
    printed = subprocess.run([RELEASE / 'bin/gantry_seccomp_profiles'], stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(re.search(r'kDefaultProfile = R"json\((.*?)\)json"', printed, re.S).group(1))['linux']['seccomp']


def timed(command, errors, stdout=subprocess.DEVNULL):
    """(milliseconds, output). What goes to standard error goes to the file `errors`: a pipe would be held open by the
    container."""
    with open(errors, 'w+') as stderr:
        begin = time.perf_counter()
        done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        taken = (time.perf_counter() - begin) * 1000
        if done.returncode:
            sys.exit(f'{command}: {Path(errors).read_text()[-300:]}')
    return taken, (done.stdout or b'').decode()


def contestants(ours):
    return {'gantry': ours, 'crun': shutil.which('crun'), 'runc': shutil.which('runc')}


def rotated(names, rounds, one):
    """Medians by name and part of what `one(name, turn)` returns; the order of the contestants turns with each round."""
    names, values = list(names), {}
    for turn in range(rounds + WARM_UP):
        for place in range(len(names)):
            name = names[(turn + place) % len(names)]
            for part, taken in one(name, turn).items():
                if turn >= WARM_UP:
                    values.setdefault(part, {}).setdefault(name, []).append(taken)
    return {part: {name: statistics.median(v) for name, v in of.items()} for part, of in values.items()}


def run_times(ours, rounds, filtered, rest_s):
    """Medians of `run`; of the floor too on a host of cgroup v1, for which it is written."""
    binaries = contestants(ours)
    floor = RELEASE / 'bench/floor'
    if Path('/sys/fs/cgroup/unified').is_dir():
        binaries['floor'] = floor
    with hugetlb(), bundle() as (folder, config):
        if filtered:
            config['linux']['seccomp'] = default_profile()

        def one(name, turn):
            word = f'w{turn}'
            config['process']['args'] = ['echo', word]
            (folder / 'config.json').write_text(json.dumps(config))
            command = [binaries[name], 'run', '--bundle', folder, f'bench{os.getpid()}-{word}']
            if name == 'floor':
                command = [floor, folder / 'rootfs', '1', 'filter' if filtered else 'no-filter', '/bin/echo', word]
            time.sleep(rest_s)
            taken, output = timed(command, folder / 'errors', stdout=subprocess.PIPE)
            if word not in output.split():
                sys.exit(f'{name}: {output[-300:]}')
            return {'run': taken}
        return rotated(binaries, rounds, one)['run']


def verb_times(ours, rounds, filtered):
    """Medians by verb, over whole lives of containers that sleep."""
    binaries = contestants(ours)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with hugetlb(), bundle() as (folder, config):
        config['process']['args'] = ['sleep', '1000']
        (folder / 'rootfs/bin/sleep').symlink_to('busybox')
        if filtered:
            config['linux']['seccomp'] = default_profile()
        (folder / 'config.json').write_text(json.dumps(config))

        def one(name, turn):
            word = f'w{turn}'
            ident, pid_file, errors = f'bench{os.getpid()}-{word}', folder / 'pid', folder / 'errors'
            call = [binaries[name], '--root', folder / f'state-{name}']
            taken = {}
            time.sleep(REST_S)
            taken['create'], _ = timed([*call, 'create', '--bundle', folder, '--pid-file', pid_file, ident], errors)
            pid = int(pid_file.read_text())
            taken['start'], _ = timed([*call, 'start', ident], errors)
            taken['exec'], output = timed([*call, 'exec', ident, 'echo', word], errors, stdout=subprocess.PIPE)
            if output.split() != [word]:
                sys.exit(f'{name} exec: {output[-300:]}')
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # it is our child since its runtime has ended
            taken['delete'], _ = timed([*call, 'delete', ident], errors)
            if subprocess.run([*call, 'state', ident], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
                sys.exit(f'{name}: {ident} is still there')
            return taken
        return rotated(binaries, rounds, one)


def peaks(ours):
    """Peak resident set of `run` and of `create`, and what they start: a program that is small itself."""
    measure, found = RELEASE / 'bench/peak', {'run': {}, 'create': {}}
    with hugetlb(), bundle() as (folder, config):
        shutil.copy(measure, folder / 'rootfs/bin/peak')
        config['process']['args'] = ['peak']
        (folder / 'config.json').write_text(json.dumps(config))
        for name, binary in contestants(ours).items():
            ident, errors = f'bench{os.getpid()}-peak', folder / 'errors'
            call = [binary, '--root', folder / f'state-{name}']
            _, output = timed([measure, *call, 'run', '--bundle', folder, ident], errors, stdout=subprocess.PIPE)
            word, found['run'][name] = output.split()
            if word != 'peak':
                sys.exit(f'{binary}: {output}')
            # To a file: a pipe would be held open by the container.
            with open(folder / 'output', 'w') as output:
                timed([measure, *call, 'create', '--bundle', folder, ident], errors, stdout=output)
            found['create'][name] = (folder / 'output').read_text()
            timed([*call, 'delete', '--force', ident], errors)
    return {verb: {name: int(kb) for name, kb in of.items()} for verb, of in found.items()}
