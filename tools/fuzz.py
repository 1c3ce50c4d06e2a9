#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds tests/fuzz/*_fuzz.cc with libFuzzer and AddressSanitizer and runs each on its corpus.

The target's first comment names what it needs: `// fuzz: formats/tar.cc formats/digest.cc` lists
folders or files of src/ that are compiled with it; the folder base always is. Libraries come after
`// link:`. The time given is for all targets together. A crash leaves its input in build/fuzz/NAME/."""
import functools
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from sources import BUILD, SRC, TREE, Verdicts, closure_hash, compile_flags, generate_protos, in_parallel  # noqa: E402

FUZZ = TREE / 'tests' / 'fuzz'
OUT = TREE / 'build' / 'fuzz'
# rapidjson of Debian adds 1 to a null pointer while its stack is empty; that isn't ours to mend.
IGNORED = FUZZ / 'third_party.ignore'
CLANG = ['clang++-19', '-fsanitize=fuzzer-no-link,address,undefined', '-fno-sanitize=vptr', f'-fsanitize-ignorelist={IGNORED}',
         '-fno-sanitize-recover=undefined', '-O1', '-g']
# Without it a report has no names; binutils come with the compiler.
SYMBOLIZED = {'ASAN_SYMBOLIZER_PATH': shutil.which('addr2line') or ''}


def product_sources(words):
    found = []
    for word in words:
        path = SRC / word
        if path.is_dir():
            found += [p for p in sorted(path.glob('*.cc')) if not p.name.endswith('_test.cc') and p.name != 'main.cc']
        elif path.is_file():
            found.append(path)
        else:
            sys.exit(f'fuzz: src/{word} does not exist')
    return found


@functools.lru_cache(maxsize=None)
def implementations(header):
    """What implements a header includes it first, and lies beside it."""
    from sources import includes_of
    if header.name.endswith('.pb.h'):
        return (header.with_suffix('.cc'),)
    name = str(header.relative_to(SRC)) if header.is_relative_to(SRC) else ''
    return tuple(p for p in header.parent.glob('*.cc')
                 if not p.name.endswith(('_test.cc', 'main.cc')) and name in includes_of(p)[:1])


def needs(target):
    """Sources that go with a target: what its `// fuzz:` line says, else base and what
    implements each header that it and its headers include."""
    text = target.read_text()
    told = re.search(r'^// fuzz:\s*(.+)$', text, re.M)
    links = re.search(r'^// link:\s*(.+)$', text, re.M)
    libraries = [f'-l{w}' for w in links.group(1).split()] if links else []
    if told:
        return product_sources(['base', *told.group(1).split()]), libraries
    from sources import includes_of, resolve
    seen, queue = set(), [target, *product_sources(['base'])]
    while queue:
        current = queue.pop()
        if current in seen:
            continue
        seen.add(current)
        for header in filter(None, map(resolve, includes_of(current))):
            if header not in seen:
                queue += [header, *implementations(header)]
    return sorted(p for p in seen if p.suffix == '.cc' and p != target), libraries


def object_for(path, flags):
    words = [w for w in flags.get(path, ['-std=c++20', f'-I{SRC}', f'-I{BUILD}/protos']) if not re.match(r'-O|-D_FORTIFY|-fstack-prot', w)]
    key = closure_hash(path, ' '.join(CLANG + words))
    made = OUT / 'objects' / f'{path.stem}-{key[:24]}.o'
    if not made.exists():
        made.parent.mkdir(parents=True, exist_ok=True)
        # Two targets may need the same object at the same time.
        partial = made.with_suffix(f'.{os.getpid()}-{threading.get_ident()}')
        subprocess.run([*CLANG, *words, '-w', f'-I{SRC}', '-c', str(path), '-o', str(partial)], check=True, cwd=TREE)
        partial.replace(made)
    return made


def build(target, flags):
    name = target.stem.removesuffix('_fuzz')
    sources, libraries = needs(target)
    objects = in_parallel(lambda p: object_for(p, flags), [target, *sources])
    binary = OUT / name / 'fuzz'
    binary.parent.mkdir(parents=True, exist_ok=True)
    newest = max(o.stat().st_mtime for o in objects)
    stamp = binary.parent / 'objects.txt'
    wanted = '\n'.join(map(str, objects))
    if not binary.exists() or not stamp.exists() or stamp.read_text() != wanted or binary.stat().st_mtime < newest:
        subprocess.run([*CLANG[:1], '-fsanitize=fuzzer,address,undefined', '-g', *map(str, objects), '-o', str(binary),
                        '-Wl,--gc-sections', '-lfmt', '-lcrypto', '-lisal', '-lzstd', '-lz', '-lpthread', *libraries],
                       check=True, cwd=TREE)
        stamp.write_text(wanted)
    return name, binary


def run(name, binary, seconds):
    """The corpus of the tree is only read; what is found goes below build/."""
    grown = OUT / name / 'corpus'
    grown.mkdir(exist_ok=True)
    seeds = FUZZ / 'corpus' / name
    inputs = [str(grown)] + ([str(seeds)] if seeds.is_dir() else [])
    dictionary = FUZZ / f'{name}.dict'
    options = [f'-dict={dictionary}'] if dictionary.exists() else []
    done = subprocess.run([str(binary), f'-max_total_time={seconds}', '-timeout=10', '-rss_limit_mb=2048', '-print_final_stats=1',
                           f'-artifact_prefix={OUT / name}/', '-max_len=65536', *options, *inputs],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                          env=dict(os.environ, **SYMBOLIZED))
    if done.returncode == 0:
        runs = re.search(r'number_of_executed_units:\s*(\d+)', done.stdout)
        print(f'fuzz {name}: {runs.group(1) if runs else "?"} inputs in {seconds} s')
        return ''
    summary = re.findall(r'(?:SUMMARY|ERROR|runtime error).*', done.stdout)
    frames = re.findall(r'#\d+ 0x\w+ in (gantry::[\w:<>~]+)', done.stdout)[:3]
    print(done.stdout[-3000:])
    return f'{summary[-1] if summary else done.stdout[-200:]} {frames}'


def main():
    options = dict(a[2:].split('=', 1) for a in sys.argv[1:] if a.startswith('--'))
    chosen = [a for a in sys.argv[1:] if not a.startswith('--')]
    targets = [t for t in sorted(FUZZ.glob('*_fuzz.cc')) if not chosen or t.stem.removesuffix('_fuzz') in chosen]
    if shutil.which('clang++-19') is None:
        sys.exit('fuzz: clang++-19 is missing')
    generate_protos()
    flags, results = compile_flags(), {}
    each = max(1, int(options.get('seconds', '45')) * (os.cpu_count() or 2) // max(1, len(targets)))

    def one(target):
        try:
            name, binary = build(target, flags)
        except subprocess.CalledProcessError as error:
            results[target.stem] = f'does not build: {error.cmd[-3:]}'
            return
        results[name] = run(name, binary, each)

    in_parallel(one, targets)
    for name, fault in results.items():
        if fault:
            print(f'fuzz {name}: FAILED: {fault}')
    if 'json' in options:
        Path(options['json']).write_text(json.dumps(results))
    sys.exit(any(results.values()))


if __name__ == '__main__':
    main()
