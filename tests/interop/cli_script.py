#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Types the commands of cli_script.txt into docker's command line and ours, against Debian's dockerd and against
gantryd, and compares how each ends, what it prints and what is there afterwards. What docker does on dockerd is the
measure; for gantry that is linked as `docker`, what docker does on gantryd.
`python3 tests/interop/cli_script.py` runs all and writes docs/docker-compat.md; the tests run a sample."""
import json
import re
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness import places  # noqa: E402
from harness.client import Client, programs  # noqa: E402
from harness.engine import Peer, Stack  # noqa: E402

SCRIPT = Path(__file__).with_suffix('.txt')
REASONS = Path(__file__).with_name('cli_script_reasons.txt')


def sections():
    found = {}
    for line in SCRIPT.read_text().splitlines():
        if line.startswith('['):
            current = found.setdefault(line.strip('[]'), [])
        elif line and not line.startswith('#'):
            current.append(line)
    return found


def reasons():
    """[(pattern over "client on engine: command", why)], the first that fits counts."""
    found = []
    for line in REASONS.read_text().splitlines():
        if line and not line.startswith('#'):
            pattern, _, why = line.partition(' ── ')
            found.append((re.compile(pattern), why))
    return found


REPLACED = [
    (r'\b[0-9a-f]{64}\b', 'ID'), (r'\b[0-9a-f]{12}\b', 'ID'),
    (r'\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?( ?[+-]\d\d:?\d\d| UTC|Z)*', 'TIME'),
    (r'(About an? \w+|Less than a second|\d+ (second|minute|hour|day|week|month)s?)( ago)?', 'AGE'),
    (r'\b\d+(\.\d+)? ?[kMGT]?i?B\b', 'SIZE'), (r'\bpid \d+', 'pid N'), (r'endpoint \S+ \(', 'endpoint NAME ('), (r'SRun', 'Run'), (r'lookup \S+ on \S+: ', 'lookup: '),
    (r'\b(dockerd?|Docker|gantryd?)\b', 'PROGRAM'), (r'Unix socket', 'socket'),
    # docker without buildx says this before each build; the log of its own goroutines.
    (r'DEPRECATED: The legacy builder.*\n.*buildx.*\n.*https?://\S+\n+', ''), (r'time="\S+" level=error msg=.*\n', ''),
    # Advice that docker gives at its own pages.
    (r'\n+(For more help|See|Refer to) .*https?://\S+', ''), (r'\n\nDid you mean .*', ''),
]


def shape(text, folder):
    text = text.replace(folder, 'TMP')
    for pattern, word in REPLACED:
        text = re.sub(pattern, word, text)
    return '\n'.join(line.rstrip() for line in text.strip().split('\n'))


def effects(engine):
    """What there is, as everybody sees it."""
    def ask(path):
        return json.loads(engine.api('GET', path)[1] or b'null') or []
    def given(name):
        return '/RANDOM' if re.fullmatch(r'/[a-z]+_[a-z]+\d?', name) else name
    containers = sorted((given(c['Names'][0]), c['State']) for c in ask('/containers/json?all=1') if c['Names'])
    images = sorted(t for i in ask('/images/json') for t in i['RepoTags'] or [])
    networks = sorted(n['Name'] for n in ask('/networks'))
    volumes = sorted(v['Name'] if len(v['Name']) < 60 else 'ANONYMOUS' for v in (ask('/volumes') or {}).get('Volumes') or [])
    return {'containers': containers, 'images': images, 'networks': networks, 'volumes': volumes}


def clean(engine):
    """Back to the image alone."""
    for container in json.loads(engine.api('GET', '/containers/json?all=1')[1]):
        engine.api('DELETE', f"/containers/{container['Id']}?force=1&v=1")
    for network in json.loads(engine.api('GET', '/networks')[1]):
        if network['Name'] not in ('bridge', 'host', 'none'):
            engine.api('DELETE', f"/networks/{network['Id']}")
    for volume in (json.loads(engine.api('GET', '/volumes')[1]) or {}).get('Volumes') or []:
        engine.api('DELETE', f"/volumes/{volume['Name']}?force=1")
    for image in json.loads(engine.api('GET', '/images/json')[1]):
        tags = image['RepoTags'] or []
        for tag in [t for t in tags if t not in (places.IMAGE, '<none>:<none>')]:
            engine.api('DELETE', f'/images/{tag}?force=1')
        if places.IMAGE not in tags:
            engine.api('DELETE', f"/images/{image['Id']}?force=1")


MUTATES = re.compile(r'^(run|create|start|stop|restart|kill|pause|unpause|rm|rmi|tag|load|import|commit|rename|exec|cp|update|wait|'
                     r'(container|image|network|volume|system|builder) (prune|rm|create|connect|disconnect))')


def play(name, engine, lines):
    """[(line, code, out, err, effects)] of one client on one engine."""
    clean(engine)
    folder = tempfile.mkdtemp(prefix='gt-script-')
    home = Path(folder) / 'home'
    home.mkdir()
    client = Client('gantry' if name == 'linked' else name, engine, home)
    if name == 'linked':
        (home / 'docker').symlink_to(client.command[0])
        client.command[0] = str(home / 'docker')
    played = []
    try:
        for line in lines:
            words = shlex.split(line.replace('IMAGE', places.IMAGE).replace('TMP', folder))
            try:
                done = client(*words, timeout=40)
                code, out, err = done.code, shape(done.out, folder), shape(done.err, folder)
                if re.match('(container )?diff ', line):
                    out = '\n'.join(sorted(out.split('\n')))  # docker's is the directories' order
            except AssertionError as error:
                code, out, err = 'no end', '', str(error)[:80]
            there = effects(engine) if MUTATES.match(line) else None
            played.append((line, code, out, err, there))
    finally:
        clean(engine)
        shutil.rmtree(folder, ignore_errors=True)
    return played


def compare(truth, played):
    """[(line, what, theirs, ours)]"""
    found = []
    for theirs, ours in zip(truth, played, strict=True):
        for what, a, b in zip(('code', 'output', 'errors', 'effects'), theirs[1:], ours[1:], strict=True):
            if a != b:
                found.append((ours[0], what, a, b))
    return found


def combinations():
    docker = 'docker-new' if 'docker-new' in programs() else 'docker'
    return docker, [(docker, 'stack'), ('gantry', 'stack'), ('gantry', 'peer'), ('docker', 'stack'), ('linked', 'stack')]


def campaign(engines, chosen, pairs=None):
    """Differences by section, client and engine."""
    docker, every = combinations()
    found = []
    for name in chosen:
        lines = sections()[name]
        truth = play(docker, engines['peer'], lines)
        played = {}
        for client, engine in pairs or every:
            played[client, engine] = play(client, engines[engine], lines)
            measure = truth
            if client == 'linked':
                measure = played[docker, 'stack']
            elif client == 'docker':
                measure = play('docker', engines['peer'], lines)  # Debian's own words on its own engine
            for difference in compare(measure, played[client, engine]):
                found.append((name, client, engine, *difference))
    return found


def who(client, engine):
    names = {'docker': 'docker 20.10', 'docker-new': 'docker 28', 'linked': 'gantry linked as docker'}
    return f"{names.get(client, client)} on {'gantryd' if engine == 'stack' else 'dockerd'}"


def explain(difference):
    _, client, engine, line, what, *_ = difference
    label = f'{who(client, engine)}: {line} [{what}]'
    for pattern, why in reasons():
        if pattern.search(label):
            return why
    return None


def shown(value):
    if isinstance(value, dict):
        return json.dumps(value)
    text = str(value).replace('|', '\\|').replace('\n', ' ⏎ ')
    return text if len(text) < 160 else text[:157] + '…'


def only_what_differs(what, theirs, ours):
    if what != 'effects' or theirs is None or ours is None:
        return shown(theirs), shown(ours)
    keys = [k for k in theirs if theirs[k] != ours[k]]
    return shown({k: theirs[k] for k in keys}), shown({k: ours[k] for k in keys})


BESIDES = """## What no command of the script asks

* Containers outlive the daemon, as with dockerd's `live-restore`: `docs/daemon-config.md`, "Signals".
* `DELETE /images/{name}` reads no `noprune`: images have no parents, so one goes by itself. `POST /build/prune` reads no `all`: every
  step of the cache that is listed may go. Checkpoints are refused (501), whatever their directory. Which documented parameters have
  nothing to say is a table in `tests/e2e/test_api_routes.py`.

## What moby's own suite says

`integration-cli` of moby (August 2026), with docker 28's client and the classic builder, each suite with a gantryd of its own; swarm, the daemon's suite and
managed plugins left out. What fails, beside tests that need the internet, a user or an image that is not there, or docker's own paths:

| suite | what fails, and why |
|---|---|
| API | a repository that has `dockerfile` in small letters alone; an attach with `logs=1` begins with the unfinished line too; no state of docker's containerd below `/var/run/docker` |
| Build | `EXPOSE` and `LABEL` written another way are other steps; `LABEL` makes no container that `--rm=false` could keep; removing an image leaves its steps in the cache; `VOLUME` over a file is no error |
| Images, Import, Netmode, Network, Rmi | other words of the same refusal (moby's of this summer); `network disconnect -f` of a container that is gone; `--link-local-ip` is not checked on the default network |
| Network | ports keep their host ports when another network becomes the way out; two daemons with one default bridge in one network namespace |
| Registry | other words of a registry's refusals; no `UpstreamClient` in the agent's name; a name with a digest stays until it is removed itself |
| Run | a create that fails leaves no volume; no `splunk` driver |
| Info, Volume plugins, registries with `htpasswd` | the runtime is not called `runc`; drivers that moby makes itself and docker's own registry program, which were not there |

## What the suites of docker's clients say

docker-py, docker-java (its integration tests), dockerode, bollard, the end-to-end suites of docker/cli 29 and of compose 5 with buildx (summer of 2026), the latter two
with docker's client and with gantry linked as `docker`; images of busybox in place of Docker Hub's; swarm and managed plugins left out. What fails, beside tests that need the internet:

| suite | what fails, and why |
|---|---|
| docker-py | the runtime is not called `runc` |
| docker/cli, docker's client | nothing |
| docker/cli, gantry | help and version are in our own words; the default context is gantry's socket; `inspect` begins its errors with a capital letter and a second `-H` ends with 1, as in docker 28; `HTTP_PROXY` does not concern `tcp://`; a plugin takes the place of the command line, so it gets signals itself, and is not asked who it is first |
| compose, either | the three tests that create containers of an image for arm64, which was not there; nothing else |
| docker-java, dockerode, bollard | `GET /images/get` without names is refused (docker sends an archive of nothing) |
"""


def page(found, counts):
    out = ['# Where gantry differs from docker', '',
           'Made by `python3 tests/interop/cli_script.py`; do not edit. It types the commands of `tests/interop/cli_script.txt` into docker\'s',
           'command line and ours, against Debian\'s dockerd (20.10) and against gantryd, and compares exit code, shape of the output and what',
           'is there afterwards. IDs, times, sizes and the program\'s name count as equal. gantry linked as `docker` is compared with docker 28,',
           'both on gantryd.', '',
           f'{counts["lines"]} commands, {counts["plays"]} plays of them. They differ in:', '']
    explained, open_ones = {}, {}
    for difference in found:
        why = explain(difference)
        _, client, engine, line, what, theirs, ours = difference
        if why:
            explained.setdefault(why, {}).setdefault(line, set()).add(what)
        else:
            open_ones.setdefault((line, what, *only_what_differs(what, theirs, ours)), []).append(who(client, engine))
    out += ['## Meant', '', '| why | where |', '|---|---|']
    for why, lines in sorted(explained.items()):
        where = [f'`{line}`'.replace('|', '\\|') for line in sorted(lines)]
        out.append(f"| {why} | {', '.join(where[:6])}{f' and {len(where) - 6} more' if len(where) > 6 else ''} |")
    out += ['', *BESIDES.splitlines(), '', '## Not meant: to be done', '']
    if not open_ones:
        return '\n'.join([*out, 'Nothing.', ''])
    out += ['| command | who | what | docker on dockerd | here |', '|---|---|---|---|---|']
    for (line, what, theirs, ours), whose in open_ones.items():
        out.append(f"| `{line}` | {', '.join(whose)} | {what} | {theirs} | {ours} |".replace(f'`{line}`', f'`{line}`'.replace('|', '\\|')))
    return '\n'.join(out) + '\n'


def main(chosen):
    engines = {'peer': Peer(5), 'stack': Stack(5)}
    try:
        for engine in engines.values():
            engine.start()
        # The very same image: both import it.
        for engine in engines.values():
            engine.load_image()
        found = campaign(engines, chosen or list(sections()))
    finally:
        for engine in engines.values():
            engine.destroy()
    counts = {'lines': sum(map(len, sections().values())), 'plays': sum(map(len, sections().values())) * 5}
    text = page(found, counts)
    if chosen:
        print(text)
    else:
        (places.TREE / 'docs/docker-compat.md').write_text(text)
    print(f'{len(found)} differences, {sum(1 for d in found if not explain(d))} of them not explained', file=sys.stderr)


if __name__ == '__main__':
    main(sys.argv[1:])
