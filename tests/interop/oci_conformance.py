#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the OCI runtime-tools validation suite against several runtimes and writes docs/oci-conformance.md.

    GANTRY_RUNTIME_TOOLS=FOLDER tests/interop/oci_conformance.py [--only PROGRAM,…] [--write] [NAME=]RUNTIME…

FOLDER is a checkout of opencontainers/runtime-tools whose validation programs are built into FOLDER/bin and whose
`runtimetest` is in FOLDER. The suite is no part of this tree and nothing here needs it. Each program runs in its own
process and with its own state directory, under a time-out; what it leaves behind is removed. Everything happens in a
private mount namespace in which every hierarchy of cgroup v1 is mounted, hugetlb too, since crun wants it."""
import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent.parent
PAGE = TREE / 'docs/oci-conformance.md'
SECONDS = 60
TRIES = 3
SUITE_SPEC = '1.3.0'
LINE = re.compile(r'^(ok|not ok) (\d+)(?: - )?(.*)$')
PRIVATE = 'GANTRY_CONFORMANCE_PRIVATE'

# Why gantry-runtime does not pass a program; one without an entry fails the run.
NO_KMEM = 'the kernel has no limit of its own memory any more (`memory.kmem.limit_in_bytes` takes no value); the other points pass.'
NO_LEAF = '`blkio.leaf_weight` went from the kernel with CFQ (5.0), and a limit that cannot be set is an error.'
POINTERS = 'the program compares the addresses of two numbers instead of the numbers.'
REASONS = {
    'delete_resources': POINTERS,
    'hooks': 'the program compares with a text that its own hooks do not write, and prints an error whatever it finds.',
    'linux_cgroups_blkio': NO_LEAF,
    'linux_cgroups_memory': NO_KMEM,
    'linux_cgroups_pids': POINTERS,
    'linux_cgroups_relative_blkio': NO_LEAF,
    'linux_cgroups_relative_memory': NO_KMEM,
    'linux_cgroups_relative_pids': POINTERS,
    'linux_process_apparmor_profile': 'this host has no AppArmor, and a profile that cannot be had is an error.',
    'misc_props': 'the program runs `/runtimetest`, which it has not put into its bundle.',
    'pidfile': 'the program kills a container whose process (`true`) has ended; runtime.md ("Kill") wants an error then.',
    'poststart_fail': 'the program wants a failing hook to be ignored; since 1.3.0 runtime.md (lifecycle, step 9) wants an error '
                      'and the container stopped.',
    'prestart': 'the program wants these hooks to be called by `start`; config.md ("Prestart") wants it of `create`.',
    'process_capabilities': 'it asks for all capabilities, and this host\'s root lacks CAP_SYS_RESOURCE; the runtime warns and goes '
                            'on (config.md, "capabilities"), the points of that one capability fail.',
    'process_capabilities_fail': 'the program wants an error for an unknown capability; config.md ("capabilities") wants a warning.',
    'process_rlimits': 'the suite\'s `runtimetest` is a Go program: its runtime raises the soft limit of files before the point is taken.',
    'start': 'the program wants `start` to succeed without a `process`; runtime.md ("Start") wants an error.',
}


class Outcome:
    """What one program said about one runtime. It passes if it ends well and no point is not ok; the programs about
    hooks count no points: they print the error that they find."""

    def __init__(self, text, code, timed_out):
        self.ok, self.failed, self.skipped, self.text = 0, [], 0, text
        self.code, self.timed_out = code, timed_out
        self.complaint = re.search(r'^    "error": "(.+)"', text, re.M)
        for line in text.splitlines():
            found = LINE.match(line)
            if not found:
                continue
            if '# SKIP' in found[3].upper():
                self.skipped += 1
            elif found[1] == 'ok':
                self.ok += 1
            else:
                self.failed.append(found[3] or f'point {found[2]}')

    @property
    def passed(self):
        silent = self.ok + self.skipped == 0
        return self.code == 0 and not self.timed_out and not self.failed and not (silent and self.complaint)

    def words(self):
        extra = [f'{self.skipped} skipped'] if self.skipped else []
        extra += ['time-out'] if self.timed_out else [f'exit {self.code}'] if self.code else []
        return f'{self.ok}/{len(self.failed)}' + (f' ({", ".join(extra)})' if extra else '')


def wrapper(runtime, state, folder):
    """The suite calls a program without options; this one adds the state directory. A runtime that calls itself older
    than the suite's specification (crun 1.8 refuses it) is given its own version instead."""
    file = folder / 'runtime'
    claimed = spec_version(runtime)
    # The suite kills as soon as the state is "running", when a shell in the container has not set its traps yet.
    pause = '[ "$1" != kill ] || sleep 0.2\n'
    lower = (f'for word; do [ -f "$word/config.json" ] && sed -i \'s/"ociVersion": *"{SUITE_SPEC}"/"ociVersion": "{claimed}"/\' '
             f'"$word/config.json"; done\n' if claimed < SUITE_SPEC else '')
    file.write_text(f'#!/bin/sh\n{lower}{pause}exec {runtime} --root {state} "$@"\n')
    file.chmod(0o755)
    return file


def spec_version(runtime):
    text = subprocess.run([runtime, '--version'], capture_output=True, text=True, check=True).stdout
    return re.search(r'^spec: ([0-9.]+)', text, re.M)[1]


def remove_containers(runtime, state):
    for container in sorted(state.iterdir()) if state.exists() else []:
        subprocess.run([runtime, '--root', str(state), 'delete', '--force', container.name],
                       stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)


def best_of(tries, suite, program, runtime):
    outcome = run_program(suite, program, runtime)
    while not outcome.passed and not outcome.timed_out and tries > 1:
        tries -= 1
        outcome = max(outcome, run_program(suite, program, runtime), key=lambda o: (o.passed, o.ok - len(o.failed)))
    return outcome


def run_program(suite, program, runtime):
    folder = Path(tempfile.mkdtemp(prefix='gt-conform-'))
    folder.chmod(0o755)  # a user namespace's root goes through it
    state, places = folder / 'state', folder / 'tmp'
    places.mkdir()
    environment = dict(os.environ, RUNTIME=str(wrapper(runtime, state, folder)), TMPDIR=str(places))
    output = folder / 'output'
    timed_out = False
    with open(output, 'w') as file:
        process = subprocess.Popen([suite / 'bin' / program], cwd=suite, env=environment, stdin=subprocess.DEVNULL,
                                   stdout=file, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            code = process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            timed_out = True
            os.killpg(process.pid, 9)
            code = process.wait()
    remove_containers(runtime, state)
    outcome = Outcome(output.read_text(errors='replace'), code, timed_out)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


def version(runtime):
    text = subprocess.run([runtime, '--version'], capture_output=True, text=True, check=True).stdout
    return text.splitlines()[0]


def table(programs, names, results):
    lines = ['| program | ' + ' | '.join(names) + ' |', '|---' * (len(names) + 1) + '|']
    for program in programs:
        cells = [('**' + results[name][program].words() + '**' if not results[name][program].passed else
                  results[name][program].words()) for name in names]
        lines.append(f'| {program} | ' + ' | '.join(cells) + ' |')
    passed = [str(sum(results[name][p].passed for p in programs)) for name in names]
    points = [f'{sum(results[name][p].ok for p in programs)}/{sum(len(results[name][p].failed) for p in programs)}'
              for name in names]
    return lines + ['| programs passed | ' + ' | '.join(passed) + ' |', '| all points | ' + ' | '.join(points) + ' |']


def page(programs, runtimes, results, commit):
    names = list(runtimes)
    text = f'''# The OCI validation suite, program by program

Made by `tests/interop/oci_conformance.py` with the `validation` programs of opencontainers/runtime-tools at {commit};
not edited by hand. A cell is points ok / points not ok; bold: the program does not pass. Programs about hooks count no points.
One that fails is run up to {TRIES} times and its best outcome counts, since some race against the container. Host: kernel
{os.uname().release.split("-")[0]}, cgroup v1 with every hierarchy mounted, root without CAP_SYS_RESOURCE, no AppArmor, no SELinux.

'''
    text += ''.join(f'* `{name}`: {version(runtime)}\n' for name, runtime in runtimes.items())
    text += '\n' + '\n'.join(table(programs, names, results)) + '\n'
    ours = results[names[0]]
    text += f'\n## What {names[0]} does not pass\n\n'
    for program in programs:
        if not ours[program].passed:
            text += f'* `{program}`: {REASONS.get(program, "unexplained.")}\n'
    return text


def private():
    """Again in a mount namespace of our own."""
    if os.environ.get(PRIVATE):
        return
    os.environ[PRIVATE] = '1'
    os.execvp('unshare', ['unshare', '-m', '--propagation', 'private', sys.executable, *sys.argv])


@contextlib.contextmanager
def all_hierarchies():
    """Those of cgroup v1 that are not mounted; their directories are everybody's, so they go again."""
    made = []
    if not Path('/sys/fs/cgroup/cgroup.controllers').exists():
        made = mount_hierarchies()
    try:
        yield
    finally:
        for place in made:
            subprocess.run(['umount', place], check=False, capture_output=True)
            if not os.path.ismount(place):
                shutil.rmtree(place, ignore_errors=True)  # runtimes write there in spite of a failed mount


def mount_hierarchies():
    made = []
    mounts = [line.split() for line in Path('/proc/mounts').read_text().splitlines()]
    there = {option for fields in mounts if fields[2] == 'cgroup' for option in fields[3].split(',')}
    for line in Path('/proc/cgroups').read_text().splitlines()[1:]:
        name = line.split()[0]
        if name not in there:
            place = Path('/sys/fs/cgroup') / name
            if not place.exists():
                place.mkdir()
                made.append(place)
            subprocess.run(['mount', '-t', 'cgroup', '-o', name, 'cgroup', place], check=False, capture_output=True)
    return made


def main():
    options = argparse.ArgumentParser(usage=__doc__)
    options.add_argument('--only', default='')
    options.add_argument('--write', action='store_true', help='write the page')
    options.add_argument('--verbose', action='store_true', help='print what failed')
    options.add_argument('runtimes', nargs='+')
    given = options.parse_args()
    folder = os.environ.get('GANTRY_RUNTIME_TOOLS')
    if not folder:
        sys.exit('oci_conformance: GANTRY_RUNTIME_TOOLS is not set: it names a built checkout of runtime-tools')
    private()
    with all_hierarchies():
        compare(Path(folder).resolve(), given)


def compare(suite, given):
    programs = given.only.split(',') if given.only else sorted(p.name for p in (suite / 'bin').iterdir())
    runtimes = {}
    for word in given.runtimes:
        name, _, path = word.rpartition('=')
        path = shutil.which(path) or sys.exit(f'oci_conformance: no program {path!r}')
        runtimes[name or Path(path).name] = str(Path(path).resolve())
    results = {name: {} for name in runtimes}
    for program in programs:
        for name, runtime in runtimes.items():
            outcome = results[name][program] = best_of(TRIES, suite, program, runtime)
            print(f'{program:38} {name:16} {"pass" if outcome.passed else "FAIL"} {outcome.words()}', flush=True)
            if given.verbose and not outcome.passed:
                print(outcome.text, flush=True)
    print('\n'.join(table(programs, list(runtimes), results)[-2:]))
    if given.write:
        commit = subprocess.run(['git', 'describe', '--always', '--tags'], cwd=suite, capture_output=True, text=True, check=True)
        PAGE.write_text(page(programs, runtimes, results, commit.stdout.strip()))
    ours = next(iter(results.values()))
    left = [p for p in programs if not ours[p].passed and p not in REASONS]
    if left:
        sys.exit('oci_conformance: failing without a reason: ' + ' '.join(left))


if __name__ == '__main__':
    main()
