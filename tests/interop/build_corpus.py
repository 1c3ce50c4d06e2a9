# SPDX-License-Identifier: Apache-2.0
"""Dockerfiles of all kinds with their contexts, and what an engine makes of them: the files that
differ from the base image's, and the configuration.

`python3 tests/interop/build_corpus.py record` builds them all with Debian's dockerd (its classic
builder) and writes build_corpus.json, which test_build_corpus.py compares gantry with."""
import hashlib
import io
import json
import sys
import tarfile
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from harness.places import IMAGE  # noqa: E402

RECORDED = Path(__file__).with_name('build_corpus.json')
CONFIG = ('Cmd', 'Entrypoint', 'Env', 'ExposedPorts', 'Healthcheck', 'Labels', 'OnBuild', 'Shell', 'StopSignal', 'User', 'Volumes',
          'WorkingDir')
# Names that engines put into a container of their own accord.
ENGINES_OWN = ('dev', 'proc', 'sys', '.dockerenv', 'etc/hosts', 'etc/hostname', 'etc/resolv.conf', 'etc/mtab')


def inner_tar(**files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as tar:
        for name, (mode, uid, text) in files.items():
            item = tarfile.TarInfo(name.replace('__', '/'))
            item.mode, item.uid, item.gid, item.size = mode, uid, uid + 1, len(text)
            tar.addfile(item, io.BytesIO(text.encode()))
    return data.getvalue()


def gzipped(data):
    import gzip
    return gzip.compress(data, mtime=0)


# A context's files: text or bytes; ('mode', text); {'link': target}; None is a directory.
TREE = {'a.txt': 'a', 'b.txt': 'b', 'run.sh': (0o755, '#!/bin/sh\necho run\n'), 'secret': (0o600, 's'), 'd/one': '1', 'd/two': (0o640, '2'),
        'd/deep/three': '3', 'd/empty': None, 'link': {'link': 'a.txt'}, 'd/up': {'link': '../a.txt'}, 'name with blank': 'blank'}

# name: (Dockerfile, context, query parameters)
CORPUS = {
    'run': ('FROM @\nRUN echo hi >/hi && chmod 604 /hi', {}, {}),
    'run-json': ('FROM @\nRUN ["sh", "-c", "echo $0 >/x", "word"]', {}, {}),
    'run-continued': ('FROM @\nRUN echo a \\\n  # no part of it\n\n  b \\\n  >/x', {}, {}),
    'run-removes': ('FROM @\nRUN echo 1 >/x && mkdir /y && echo 2 >/y/z\nRUN rm -r /x /y && rm /etc/group', {}, {}),
    'run-as-user': ('FROM @\nUSER nobody\nRUN id -u >/tmp/id; id -g >>/tmp/id', {}, {}),
    'run-as-numbers': ('FROM @\nUSER 1234:56\nRUN id -u >/tmp/id; id -g >>/tmp/id', {}, {}),
    'run-in-workdir': ('FROM @\nWORKDIR /w/x\nRUN pwd >here', {}, {}),
    'run-fifo-and-links': ('FROM @\nRUN mkfifo /p && ln -s /nowhere /l && echo x >/f && ln /f /g && mkdir -m 1777 /t', {}, {}),
    'run-nothing': ('FROM @\nRUN true\nRUN :', {}, {}),
    'run-replaces-directory': ('FROM @\nRUN mkdir /x && touch /x/a\nRUN rm -r /x && echo f >/x', {}, {}),
    'env': ('FROM @\nENV A=1 B="two words" C=th\\ ree\nENV OLD  the rest  of it\nENV D=$A-${B} A=2\nENV E=$A', {}, {}),
    'env-in-run': ('FROM @\nENV A=1\nENV PATH=$PATH:/more\nRUN echo $A $PATH >/x', {}, {}),
    'env-expansions': ('FROM @\nENV S=set E=""\nENV A=${N:-no} B=${S:-no} C=${S:+yes} D=${N:+yes}x F=\\$S G=\'$S\' H="\\"$S\\""', {}, {}),
    'arg': ('FROM @\nARG A=default\nARG B\nARG C=c\nRUN echo $A-$B-$C >/x', {}, {'buildargs': {'B': 'given', 'C': 'other'}}),
    'arg-and-env': ('FROM @\nARG A=arg\nENV A=env\nRUN echo $A >/x', {}, {'buildargs': {'A': 'given'}}),
    'arg-into-env': ('FROM @\nARG A=arg\nENV B=$A\nLABEL l=$A', {}, {'buildargs': {'A': 'given'}}),
    'arg-of-from': ('ARG BASE=@\nARG V=1\nFROM $BASE\nRUN echo "-$V-" >/a\nARG V\nRUN echo "-$V-" >/b', {}, {}),
    'arg-proxy': ('FROM @\nRUN echo "$http_proxy" >/x', {}, {'buildargs': {'http_proxy': 'http://p:1'}}),
    'arg-many': ('FROM @\nARG X="a b"\nARG Y=$X.c\nRUN echo "$Y" >/x', {}, {}),
    'label': ('FROM @\nLABEL a=1 b="two words" "c d"=e\nLABEL old form of it\nLABEL a=2', {}, {}),
    'label-parameter': ('FROM @\nLABEL a=1', {}, {'labels': {'a': '$no \'variable\'', 'b': '2'}}),
    'cmd-shell': ('FROM @\nCMD echo $HOME  x', {}, {}),
    'cmd-json': ('FROM @\nCMD ["a", "b c"]\nCMD ["d"]', {}, {}),
    'entrypoint-drops-cmd': ('FROM @\nENTRYPOINT ["e"]', {}, {}),
    'entrypoint-keeps-cmd': ('FROM @\nCMD ["c"]\nENTRYPOINT e f', {}, {}),
    'shell': ('FROM @\nSHELL ["/bin/sh", "-ec"]\nRUN echo x >/x\nCMD y', {}, {}),
    'expose': ('FROM @\nENV P=90\nEXPOSE 80 53/udp 100-102/tcp $P', {}, {}),
    'volume': ('FROM @\nRUN mkdir -p /v && echo 1 >/v/before\nVOLUME /v /w\nVOLUME ["/x y"]\nRUN echo 2 >/v/lost', {}, {}),
    'user-workdir-signal': ('FROM @\nUSER 5:6\nWORKDIR /a\nWORKDIR b/../c\nSTOPSIGNAL SIGINT', {}, {}),
    'workdir-variable': ('FROM @\nENV D=/v\nWORKDIR $D/x\nWORKDIR y', {}, {}),
    'workdir-is-there': ('FROM @\nWORKDIR /tmp', {}, {}),
    'healthcheck': ('FROM @\nHEALTHCHECK --interval=5s --timeout=1m --retries=2 --start-period=1s CMD wget x', {}, {}),
    'healthcheck-json': ('FROM @\nHEALTHCHECK CMD ["a", "b"]', {}, {}),
    'healthcheck-none': ('FROM @\nHEALTHCHECK NONE', {}, {}),
    'maintainer-onbuild': ('FROM @\nMAINTAINER A B <c@d>\nONBUILD RUN x\nONBUILD COPY a b', {}, {}),
    'copy-file': ('FROM @\nCOPY a.txt /x\nCOPY a.txt /new/dir/\nCOPY run.sh secret /both/', TREE, {}),
    'copy-directory': ('FROM @\nCOPY d /x\nCOPY d/ /tmp', TREE, {}),
    'copy-everything': ('FROM @\nCOPY . /all/', TREE, {}),
    'copy-to-workdir': ('FROM @\nWORKDIR /w\nCOPY a.txt .\nCOPY b.txt sub/\nCOPY d ./e', TREE, {}),
    'copy-wildcard': ('FROM @\nCOPY *.txt /x/\nCOPY d/t?o /y/\nCOPY [ab].txt /z/', TREE, {}),
    'copy-links': ('FROM @\nCOPY link /x\nCOPY d/up /y/\nCOPY l* /z/', TREE, {}),
    'copy-json': ('FROM @\nCOPY ["name with blank", "/n m"]', TREE, {}),
    'copy-chown': ('FROM @\nCOPY --chown=nobody:nogroup a.txt /x\nCOPY --chown=12:34 d /y\nCOPY --chown=7 d /tmp/', TREE, {}),
    'copy-over-file': ('FROM @\nRUN echo old >/x && chmod 600 /x && mkdir /y && echo k >/y/kept && chmod 700 /y\nCOPY a.txt /x\nCOPY d /y', TREE, {}),
    'copy-through-link': ('FROM @\nRUN mkdir /real && ln -s /real /l && ln -s real/f /m\nCOPY a.txt /l/x\nCOPY d /l\nCOPY b.txt /m', TREE, {}),
    'copy-variable': ('FROM @\nENV N=a D=/dst\nCOPY ${N}.txt $D/', TREE, {}),
    'copy-twice': ('FROM @\nCOPY a.txt /x\nCOPY b.txt /x', TREE, {}),
    'copy-as-user': ('FROM @\nUSER nobody\nWORKDIR /w\nCOPY a.txt x', TREE, {}),
    'add-tar': ('FROM @\nADD t.tar /x\nADD z.tar.gz /y/', {'t.tar': inner_tar(f=(0o640, 7, 'f'), d__g=(0o755, 8, 'g')),
                                                            'z.tar.gz': gzipped(inner_tar(h=(0o600, 9, 'h')))}, {}),
    'add-file': ('FROM @\nADD a.txt d /x/', TREE, {}),
    'copy-tar': ('FROM @\nCOPY t.tar /x', {'t.tar': inner_tar(f=(0o640, 7, 'f'))}, {}),
    'stages': ('FROM @ AS one\nRUN mkdir -p /o/p && echo 1 >/o/p/q && chown -R 3:4 /o\nFROM @\nCOPY --from=one /o /x\nCOPY --from=0 /o/p/q /y\n'
               'COPY --from=one --chown=5:6 /o/p /z', {}, {}),
    'stage-of-stage': ('FROM @ AS a\nENV X=1\nRUN echo a >/a\nFROM a AS b\nRUN echo $X >/b\nFROM b', {}, {}),
    'target': ('FROM @ AS a\nRUN echo a >/a\nFROM @\nRUN exit 7', {}, {'target': 'a'}),
    'copy-from-image': (f'FROM @\nCOPY --from={IMAGE} /bin/busybox /x', {}, {}),
    'scratch': ('FROM scratch\nCOPY a.txt /\nCOPY d /d\nCMD ["/x"]', TREE, {}),
    'dockerignore': ('FROM @\nCOPY . /x/', {**TREE, '.dockerignore': 'Dockerfile\n.dockerignore\n'}, {}),
    'other-name': ('FROM @\nRUN echo right >/x', {'sub/My.docker': 'FROM @\nRUN echo other >/x'}, {'dockerfile': 'sub/My.docker'}),
    'escape': ('# escape=`\nFROM @\nRUN echo a `\n  b\\c >/x\nENV A=`$x', {}, {}),
    'lower-case': ('from @ as x\nrun echo 1 >/x\nenv a=b\ncmd ["c"]', {}, {}),
    'real-shape': ('FROM @ AS build\nARG VERSION=1.0\nWORKDIR /src\nCOPY . .\nRUN mkdir -p /out/bin && cp run.sh /out/bin/app && echo $VERSION >/out/version\n'
                   'FROM @\nLABEL org.opencontainers.image.version=1\nRUN echo app:x:1001:1001::/:/bin/sh >/etc/passwd && echo app:x:1001: >/etc/group\nCOPY --from=build --chown=app /out /opt/app\n'
                   'ENV PATH=/opt/app/bin:$PATH\nUSER app\nWORKDIR /opt/app\nEXPOSE 8080\nHEALTHCHECK CMD app\nENTRYPOINT ["app"]\nCMD ["--help"]', TREE, {}),
    # As they are out there: what is fetched by a package manager is a file of the context here.
    'real-go': ('ARG VERSION=1.2\nFROM @ AS build\nARG VERSION\nWORKDIR /src\nCOPY go.mod go.sum ./\nRUN cat go.mod >/modules\nCOPY . .\n'
                'RUN printf \'#!/bin/sh\\necho %s\\n\' "$VERSION" >/out && chmod 755 /out\nFROM @ AS certs\nRUN mkdir -p /etc/ssl && echo cert >/etc/ssl/ca\n'
                'FROM scratch\nARG VERSION\nLABEL org.opencontainers.image.version=$VERSION\nCOPY --from=certs /etc/ssl/ca /etc/ssl/certs/\nCOPY --from=build /out /server\n'
                'COPY --from=build /etc/passwd /etc/\nUSER 65534:65534\nEXPOSE 8080\nENTRYPOINT ["/server"]', {'go.mod': 'module x', 'go.sum': '', 'main.go': 'package main'}, {}),
    'real-node': ('FROM @\nENV NODE_ENV=production\nWORKDIR /usr/src/app\nCOPY package*.json ./\nRUN mkdir node_modules && cp package.json node_modules/.lock\nCOPY . .\n'
                  'RUN chown -R nobody:nogroup .\nUSER nobody\nEXPOSE 3000/tcp\nHEALTHCHECK --interval=30s --timeout=3s --retries=3 CMD wget -qO- localhost:3000 || exit 1\nCMD ["node", "server.js"]',
                  {'package.json': '{}', 'package-lock.json': '{"l": 1}', 'server.js': 'x', 'lib/a.js': 'a', '.dockerignore': 'node_modules\nnpm-debug.log\n*.md', 'README.md': 'r'}, {}),
    'real-python': ('FROM @ AS wheels\nCOPY requirements.txt .\nRUN mkdir /wheels && while read w; do echo $w >/wheels/$w.whl; done <requirements.txt\n'
                    'FROM @\nENV PYTHONUNBUFFERED=1 \\\n    PATH="/venv/bin:$PATH"\nCOPY --from=wheels /wheels /wheels\nRUN set -eux; mkdir -p /venv/bin; cat /wheels/*.whl >/venv/installed; rm -r /wheels\n'
                    'WORKDIR /app\nCOPY app/ app/\nCOPY docker-entrypoint.sh /usr/local/bin/\nENTRYPOINT ["docker-entrypoint.sh"]\nCMD ["serve"]',
                    {'requirements.txt': 'flask\nredis\n', 'app/__init__.py': '', 'app/main.py': 'm', 'docker-entrypoint.sh': (0o755, '#!/bin/sh\nexec "$@"\n')}, {}),
    'real-packages': ('FROM @\nRUN set -eux; \\\n    mkdir -p /var/lib/lists /opt/pkg; \\\n    echo list >/var/lib/lists/a; \\\n    echo pkg >/opt/pkg/tool; \\\n'
                      '    # what is not needed\n    rm -rf /var/lib/lists/*; \\\n    ln -s /opt/pkg/tool /usr/tool', {}, {}),
    'real-web-server': ('FROM @\nLABEL maintainer="someone <a@b.c>"\nRUN mkdir -p /srv/log/web && ln -sf /dev/stdout /srv/log/web/access.log\nCOPY conf/ /etc/web/\nCOPY --chown=65534:65534 html /srv/www\n'
                        'VOLUME ["/var/cache/web"]\nEXPOSE 80 443\nSTOPSIGNAL SIGQUIT\nCMD ["web", "-g", "daemon off;"]',
                        {'conf/web.conf': 'c', 'conf/d/site.conf': 's', 'html/index.html': '<p>', 'html/img/x.bin': b'\x00\xff'}, {}),
    'real-database': ('FROM @\nRUN echo "db:x:999:999::/var/lib/db:/bin/false" >/etc/passwd && echo "db:x:999:" >/etc/group\nENV PGDATA /var/lib/db/data\n'
                      'RUN mkdir -p "$PGDATA" && chown -R db:db /var/lib/db && chmod 1777 "$PGDATA"\nVOLUME /var/lib/db/data\nUSER db\nWORKDIR $PGDATA\nEXPOSE 5432\nSTOPSIGNAL SIGINT', {}, {}),
    'real-java': ('FROM @ AS unpack\nARG JAR=app.tar\nADD ${JAR} /layers/\nFROM @\nWORKDIR /application\nCOPY --from=unpack /layers/lib ./lib\nCOPY --from=unpack /layers/classes ./\n'
                  'ENV JAVA_OPTS="-Xmx1g -Dx=\\"y z\\""\nENTRYPOINT exec java $JAVA_OPTS -cp .:lib Main',
                  {'app.tar': inner_tar(lib__a=(0o644, 0, 'a'), classes__Main=(0o640, 3, 'm'))}, {}),
    'real-static-site': ('FROM @ AS base\nWORKDIR /site\nFROM base AS deps\nCOPY deps .\nFROM base AS build\nCOPY --from=deps /site ./deps\nCOPY src src\nRUN mkdir dist && cat deps/* src/* >dist/all.js\n'
                         'FROM base AS test\nRUN cat deps/a src/z 2>/dev/null || true\nFROM base\nCOPY --from=build /site/dist .\nCMD ["httpd", "-f"]', {'deps/a': '1', 'deps/b': '2', 'src/z': '3'}, {}),
    'real-base-image': ('FROM scratch\nADD root.tar.gz /\nENV LANG=C.UTF-8\nCMD ["/bin/sh"]',
                        {'root.tar.gz': gzipped(inner_tar(bin__sh=(0o755, 0, '#!'), etc__os_release=(0o644, 0, 'ID=x\n'), tmp__keep=(0o600, 1, '')))}, {}),
    'real-tools-by-build-arguments': ('ARG FLAVOUR=small\nFROM @ AS small\nRUN echo small >/flavour\nFROM @ AS large\nRUN echo large >/flavour\nFROM large\nARG HTTP_PROXY\nARG UID=1000\nARG GID=${UID}\n'
                                      'RUN echo "$UID:$GID" >>/flavour\nUSER ${UID}:${GID}', {}, {'buildargs': {'UID': '1234', 'HTTP_PROXY': 'http://p'}}),
    'real-cron': ('FROM @\nCOPY crontab /etc/crontabs/root\nCOPY --chown=0:0 scripts/*.sh /usr/local/bin/\nRUN chmod 0600 /etc/crontabs/root && cd /usr/local/bin && for f in *.sh; do mv "$f" "${f%.sh}"; done\n'
                  'CMD ["crond", "-f", "-l", "2"]', {'crontab': '* * * * * run\n', 'scripts/one.sh': (0o755, '#!1'), 'scripts/two.sh': (0o755, '#!2'), 'scripts/README': 'no'}, {}),
    'real-build-kit': ('FROM @ AS builder\nONBUILD COPY src/ /src/\nONBUILD RUN cat /src/* >/built\nFROM @\nSHELL ["/bin/sh", "-eo", "pipefail", "-c"]\nRUN echo one | cat >/x\n'
                       'LABEL a.b="1" \\\n      a.c="two words" \\\n      a.d=\'$NOT\'\nENV A=1 \\\n    B=$A', {}, {}),
}


def context_of(dockerfile, files):
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode='w') as tar:
        for name, value in {'Dockerfile': dockerfile, **files}.items():
            item = tarfile.TarInfo(name)
            content = b''
            item.mode = 0o644
            if value is None:
                item.type, item.mode = tarfile.DIRTYPE, 0o755
            elif isinstance(value, dict):
                item.type, item.linkname = tarfile.SYMTYPE, value['link']
            else:
                if isinstance(value, tuple):
                    item.mode, value = value
                content = value if isinstance(value, bytes) else value.replace('FROM @', f'FROM {IMAGE}').replace('=@', f'={IMAGE}').replace('from @', f'from {IMAGE}').encode()
                item.size = len(content)
            tar.addfile(item, io.BytesIO(content))
    return data.getvalue()


def build(engine, context, **query):
    """POST /build; the stream's objects."""
    for key in ('buildargs', 'labels'):
        if key in query:
            query[key] = json.dumps(query[key])
    query.setdefault('rm', '1')
    status, body, _ = engine.api('POST', '/build?' + urllib.parse.urlencode(query), body=context,
                                 headers={'Content-Type': 'application/x-tar'}, timeout=120)
    assert status == 200, (status, body)
    return [json.loads(line) for line in body.decode().splitlines() if line]


def files_of(engine, image):
    """name: what it is, of a container of the image that never ran."""
    status, body, _ = engine.api('POST', '/containers/create', body=json.dumps({'Image': image, 'Cmd': ['x'], 'NetworkDisabled': True}))
    assert status == 201, body
    ident = json.loads(body)['Id']
    try:
        status, body, _ = engine.api('GET', f'/containers/{ident}/export', timeout=60)
        assert status == 200, body[:200]
    finally:
        engine.api('DELETE', f'/containers/{ident}?v=1')
    found = {}
    with tarfile.open(fileobj=io.BytesIO(body)) as tar:
        for item in tar:
            name = item.name.strip('/').removeprefix('./')
            if name in ENGINES_OWN or name.split('/')[0] in ENGINES_OWN or not name:
                continue
            text = hashlib.sha256(tar.extractfile(item).read()).hexdigest()[:16] if item.isfile() else ''
            link = item.linkname if item.issym() else ''
            kind = 'file' if item.isfile() or item.islnk() else 'link' if item.issym() else 'directory' if item.isdir() else 'other'
            if item.islnk():
                text = found[item.linkname.strip('/')].split()[4]
            mode = '' if item.issym() else f'{item.mode & 0o7777:o}'
            found[name] = f'{kind} {mode or "-"} {item.uid} {item.gid} {text or "-"} {link}'.strip()
    return found


def made(engine, name, base):
    """What the engine makes of one of the corpus: files beside those of `base`, and configuration."""
    dockerfile, files, query = CORPUS[name]
    tag = f'corpus/{name}:x'
    messages = build(engine, context_of(dockerfile, files), t=tag, **query)
    errors = [m for m in messages if 'error' in m]
    assert not errors, (name, errors)
    found = files_of(engine, tag)
    config = json.loads(engine.api('GET', f'/images/{tag}/json')[1])['Config']
    engine.api('DELETE', f'/images/{tag}')
    # Of one that begins with nothing all of the base is gone, whichever that is.
    begins_anew = dockerfile.rpartition('FROM ')[2].startswith('scratch')
    return {'files': {n: v for n, v in sorted(found.items()) if base.get(n) != v},
            'gone': [] if begins_anew else sorted(set(base) - set(found)),
            'config': {key: config[key] for key in CONFIG if config.get(key)}}


def main():
    from harness.engine import Peer
    engine = Peer()
    try:
        engine.start()
        engine.load_image()
        base = files_of(engine, IMAGE)
        RECORDED.write_text(json.dumps({name: made(engine, name, base) for name in CORPUS}, indent=1, sort_keys=True) + '\n')
    finally:
        engine.destroy()


if __name__ == '__main__':
    if sys.argv[1:] != ['record']:
        sys.exit(__doc__)
    main()
