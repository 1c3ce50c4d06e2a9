#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the suites of ./dev test (or, with --soak, the whole campaigns) and adds up one last line:
"N passed, N failed, N skipped". Exit code 1 when something failed or a suite did not finish."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
RELEASE = TREE / 'build' / 'release'
RESULTS = TREE / 'build' / 'results'
SUITES = ['unit', 'check', 'fuzz', 'e2e', 'interop', 'faults']
SOAK_SUITES = [*SUITES, 'lab']
# Seconds after which a suite is ended and counted as failed; soak gets more.
LIMITS = {'unit': 180, 'check': 1500, 'fuzz': 420, 'e2e': 1200, 'interop': 900, 'faults': 600, 'lab': 1200}


class Tally:
    def __init__(self, passed=0, failed=0, skipped=0, faults=()):
        self.passed, self.failed, self.skipped, self.faults = passed, failed, skipped, list(faults)

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.faults += other.faults

    def __str__(self):
        return f'{self.passed} passed, {self.failed} failed, {self.skipped} skipped'


def bounded(command, seconds, **options):
    """Runs a command in a process group of its own, which is ended when the time is over."""
    process = subprocess.Popen(command, cwd=TREE, stdin=subprocess.DEVNULL, start_new_session=True, **options)
    try:
        out, _ = process.communicate(timeout=seconds)
        return process.returncode, out or ''
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            out, _ = process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
        return None, out or ''


def unit(seconds, soak):
    programs = sorted((RELEASE / 'tests').glob('*_test'))
    total = Tally()
    if not programs:
        return Tally(failed=1, faults=['unit: no test program was built'])

    def one(program):
        report = RESULTS / f'{program.name}.json'
        report.unlink(missing_ok=True)
        code, out = bounded([program, f'--gtest_output=json:{report}', '--gtest_brief=1'], seconds,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
        if not report.exists():
            return Tally(failed=1, faults=[f'{program.name}: ended with {code} and no report: {out[-500:]}'])
        tally = Tally()
        for case in json.loads(report.read_text())['testsuites']:
            for test in case['testsuite']:
                name = f"{program.name} {case['name']}.{test['name']}"
                if test.get('failures'):
                    tally.failed += 1
                    tally.faults.append(f"{name}: {test['failures'][0]['failure'][:600]}")
                elif test.get('result') == 'SKIPPED':
                    tally.skipped += 1
                elif test.get('status') == 'RUN':
                    tally.passed += 1
        if code != 0 and not tally.failed:
            tally.add(Tally(failed=1, faults=[f'{program.name}: ended with {code}: {out[-500:]}']))
        return tally

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        for tally in pool.map(one, programs):
            total.add(tally)
    return total


def check(seconds, soak):
    report = RESULTS / 'check.json'
    report.unlink(missing_ok=True)
    bounded([sys.executable, 'tools/check.py', f'--json={report}'], seconds)
    if not report.exists():
        return Tally(failed=1, faults=['check: did not finish'])
    results = json.loads(report.read_text())
    bad = [f'check {name}' for name, good in results.items() if not good]
    return Tally(passed=len(results) - len(bad), failed=len(bad), faults=bad)


def fuzz(seconds, soak):
    report = RESULTS / 'fuzz.json'
    report.unlink(missing_ok=True)
    bounded([sys.executable, 'tools/fuzz.py', f'--json={report}', f'--seconds={3600 if soak else 45}'],
            seconds + (3600 if soak else 0))
    if not report.exists():
        return Tally(failed=1, faults=['fuzz: did not finish'])
    results = json.loads(report.read_text())
    bad = [f'fuzz {name}: {fault}' for name, fault in results.items() if fault]
    return Tally(passed=len(results) - len(bad), failed=len(bad), faults=bad)


def pytest_suite(folder):
    def suite(seconds, soak):
        if not list((TREE / 'tests' / folder).glob('test_*.py')):
            return Tally()
        report = RESULTS / f'{folder}.xml'
        report.unlink(missing_ok=True)
        environment = dict(os.environ, GANTRY_SOAK='1' if soak else '', PYTHONDONTWRITEBYTECODE='1')
        code, _ = bounded(['/usr/bin/python3', '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--tb=short',
                           f'--junitxml={report}', f'tests/{folder}'], seconds * (12 if soak else 1), env=environment)
        tally = Tally()
        if report.exists():
            for case in ElementTree.parse(report).iter('testcase'):
                kinds = {child.tag for child in case}
                if kinds & {'failure', 'error'}:
                    tally.failed += 1
                    tally.faults.append(f"{folder} {case.get('name')}")
                elif 'skipped' in kinds:
                    tally.skipped += 1
                else:
                    tally.passed += 1
        if code is None:
            tally.add(Tally(failed=1, faults=[f'{folder}: not finished in time']))
        elif code not in (0, 5) and not tally.failed:
            tally.add(Tally(failed=1, faults=[f'{folder}: pytest ended with {code}']))
        return tally
    return suite


def lab(seconds, soak):
    """The stack, the runtime and the shim in a machine with pure cgroup v2, systemd, AppArmor and an older kernel. Its boot alone takes too long for ./dev test."""
    if not shutil.which('qemu-system-x86_64') or not shutil.which('mmdebstrap'):
        return Tally(skipped=1)
    # All in one machine; each runs also when one before it has failed. Of the shim's tests those that have to do with cgroups.
    command = ('sh tests/lab/smoke.sh; first=$?; export PYTHONPATH=tests/lab; suite="python3 -m pytest -q -p no:cacheprovider -p report --tb=short -rs"; '
               '$suite tests/lab/runtime; second=$?; $suite tests/interop/test_shim_peers.py -k "memory or statistics or update or cgroup or killed or a_group"; '
               'third=$?; $suite tests/e2e/test_layer_quotas.py tests/e2e/test_sctp_ports.py tests/e2e/test_volumes.py; '
               'fourth=$?; exit $((first + second + third + fourth))')
    code, out = bounded([sys.executable, 'tests/lab/run', f'--seconds={seconds}', command], seconds + 600,
                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace')
    held = len(re.findall(r'^ok ', out, re.MULTILINE))
    if code == 0 and held:
        return Tally(passed=held)
    faults = re.findall(r'^not so: .*', out, re.MULTILINE) or [out[-500:]]
    return Tally(passed=held, failed=len(faults), faults=[f'lab: {fault}' for fault in faults])


RUNNERS = {'unit': unit, 'check': check, 'fuzz': fuzz, 'lab': lab,
           **{name: pytest_suite(name) for name in ('e2e', 'interop', 'faults')}}


def write_soak(lines):
    out = ['# The last soak', '',
           'Written by `./dev soak`: every campaign at full size. `./dev test` runs the same with small samples.', '',
           '| suite | result | minutes |', '|---|---|--:|', *lines, '']
    notes = sorted(RESULTS.glob('soak-*.txt'))
    out += [f'* {note.read_text().strip()}' for note in notes]
    revision = subprocess.run(['git', '-c', 'safe.directory=*', 'describe', '--always', '--dirty'], cwd=TREE, stdout=subprocess.PIPE,
                              text=True).stdout.strip()
    out += ['', f'Revision {revision}, {time.strftime("%Y-%m-%d", time.gmtime())}.', '']
    (TREE / 'docs' / 'soak.md').write_text('\n'.join(out))


def main():
    soak = '--soak' in sys.argv
    wanted = [a for a in sys.argv[1:] if not a.startswith('--')] or (SOAK_SUITES if soak else SUITES)
    unknown = [w for w in wanted if w not in SOAK_SUITES]
    if unknown:
        sys.exit(f'test: no such suite {unknown}; there are {SOAK_SUITES}')
    RESULTS.mkdir(parents=True, exist_ok=True)
    for note in RESULTS.glob('soak-*.txt'):
        note.unlink()
    total, rows = Tally(), []
    for name in [s for s in SOAK_SUITES if s in wanted]:
        begin = time.monotonic()
        tally = RUNNERS[name](LIMITS[name], soak)
        minutes = (time.monotonic() - begin) / 60
        print(f'== {name}: {tally} ({minutes * 60:.0f} s)', flush=True)
        rows.append(f'| {name} | {tally} | {minutes:.1f} |')
        total.add(tally)
    for fault in total.faults:
        print('FAILED', re.sub(r'\s*\n\s*', ' | ', fault)[:1000])
    if soak:
        write_soak(rows)
    print(total)
    sys.exit(bool(total.failed))


if __name__ == '__main__':
    main()
