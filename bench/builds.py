# SPDX-License-Identifier: Apache-2.0
"""Builds beside Debian's classic builder, each engine by its own command line, the order rotated: 12 steps cold and cached,
the corpus of tests/interop several at a time; and a context of 20,000 files and 500 MB, whose second build sends only what
has changed. The image of each build is asked for by its name: it is there."""
import concurrent.futures
import re
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / 'tests/interop'))
from build_corpus import CORPUS, build, context_of  # noqa: E402
from harness.places import IMAGE

STEPS = f"""FROM {IMAGE}
ENV A=1
COPY one /one
RUN cat /one >/r1
COPY two /two
RUN cat /two >/r2
WORKDIR /w
COPY three /w/three
RUN cat three >r3
RUN mkdir d && for i in 1 2 3 4 5 6 7 8 9; do echo $i >d/$i; done
RUN rm d/1 && ls d >list
CMD ["cat", "/w/list"]
"""
FILES, FILE_BYTES = 20_000, 25_000


def folder_of(files):
    folder = Path(tempfile.mkdtemp(prefix='gt-bench-'))
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def timed(client, name, folder, *flags):
    environment = {'DOCKER_BUILDKIT': '0'} if client.name == 'docker' else {}
    start = time.perf_counter()
    client.ok('build', '-q', '-t', name, *flags, str(folder), timeout=600, environment=environment)
    took = time.perf_counter() - start
    client.ok('image', 'inspect', name)
    return took * 1000


def twelve_steps(clients, rounds):
    """Milliseconds, cold (--no-cache) and cached, by the engine's name."""
    folder = folder_of({'Dockerfile': STEPS, 'one': 'a', 'two': 'b', 'three': 'c'})
    cold, cached = {name: [] for name in clients}, {name: [] for name in clients}
    names = list(clients)
    for number in range(rounds + 1):
        for name in names[number % len(names):] + names[:number % len(names)]:
            times = timed(clients[name], 'bench/steps', folder, '--no-cache'), timed(clients[name], 'bench/steps', folder)
            if number:
                cold[name].append(times[0])
                cached[name].append(times[1])
    shutil.rmtree(folder)
    return [{name: statistics.median(values) for name, values in one.items()} for one in (cold, cached)]


def corpus(engines, at_once=4):
    """Seconds for the corpus of tests/interop over POST /build, `at_once` builds at a time, without a cache."""
    contexts = [(context_of(text, files), query) for text, files, query in CORPUS.values()]
    found = {}
    for name, engine in engines.items():
        def one(number):
            context, query = contexts[number]
            said = build(engine, context, t=f'bench/corpus{number}', nocache='1', **query)
            assert not any('error' in line for line in said), said[-1]
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            start = time.perf_counter()
            list(pool.map(one, range(len(contexts))))
            found[name] = time.perf_counter() - start
    return found


def context(client):
    """Megabytes and seconds of the first build, of one with nothing changed, and of one after 10 files have changed."""
    block = bytes(range(250)) * (FILE_BYTES // 250)
    folder = folder_of({'Dockerfile': f'FROM {IMAGE}\nCOPY . /c\n'})
    for i in range(FILES):
        (folder / f'd{i // 200}').mkdir(exist_ok=True)
        (folder / f'd{i // 200}/f{i}').write_bytes(str(i).encode() + block)
    rows = []
    for change in (range(0), range(0), range(10)):
        for i in change:
            (folder / f'd{i}/f{i * 200}').write_bytes(b'changed')
        start = time.perf_counter()
        done = client('build', '-t', 'bench/context', str(folder), timeout=600, environment={'BUILDKIT_PROGRESS': 'plain'})
        took = time.perf_counter() - start
        assert done.code == 0, done.err
        # The .dockerignore comes before it under the same name.
        number, unit = re.findall(r'^#\d+ transferring context: (?:([\d.]+)([kMG]?B) )?.*done$', done.err, re.M)[-1]
        scale = {'': 0, 'B': 1e-6, 'kB': 1e-3, 'MB': 1, 'GB': 1000}[unit]
        rows.append((float(number or 0) * scale, took))
    shutil.rmtree(folder)
    return rows
