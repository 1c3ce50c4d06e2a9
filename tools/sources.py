# SPDX-License-Identifier: Apache-2.0
"""The source files and includes of the tree, and a store of verdicts, for the checks in tools/."""
import functools
import hashlib
import json
import os
import re
import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
SRC = TREE / 'src'
BUILD = TREE / 'build' / 'release'
UNITY_INCLUDE = re.compile(r'^#include "(/[^"]+)"', re.M)
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)


def tracked(*patterns):
    """Files known to git or new but not ignored; in a tree without git, everything but build/."""
    if (TREE / '.git').exists():
        out = subprocess.run(['git', '-c', 'safe.directory=*', 'ls-files', '-co', '--exclude-standard', *patterns],
                             cwd=TREE, stdout=subprocess.PIPE, text=True, check=True).stdout
        names = out.splitlines()
    else:
        names = [str(p.relative_to(TREE)) for g in (patterns or ('*',)) for p in TREE.rglob(g.split('/')[-1])
                 if 'build' not in p.relative_to(TREE).parts]
    return sorted({n for n in names if (TREE / n).is_file()})


@functools.lru_cache(maxsize=None)
def includes_of(path):
    return tuple(INCLUDE.findall(path.read_text(errors='replace')))


def resolve(name):
    """A quoted include is from src/, or generated below the build folder."""
    for base in (SRC, BUILD / 'protos', BUILD / 'protos_plain', BUILD / 'generated'):
        if (base / name).is_file():
            return base / name
    return None


def closure_hash(path, salt):
    """Hash of a file and of all that it includes from this tree."""
    seen, queue = set(), [path]
    digest = hashlib.sha256(salt.encode())
    while queue:
        current = queue.pop()
        if current in seen:
            continue
        seen.add(current)
        queue += [r for r in map(resolve, includes_of(current)) if r]
    for current in sorted(seen):
        digest.update(str(current).encode() + b'\0' + current.read_bytes())
    return digest.hexdigest()


def compile_flags():
    """Flags of each source, by its path: no compiler, no output, no file."""
    commands = json.loads((BUILD / 'compile_commands.json').read_text())
    flags = {}
    for entry in commands:
        words = shlex.split(entry['command'])
        kept, skip = [], False
        for word in words[1:]:
            if skip:
                skip = False
            elif word in ('-o', '-MF', '-MT', '-MQ'):
                skip = True
            elif word in ('-c', '-MD') or word.endswith(('g++', 'c++')) or word == entry['file']:
                pass
            elif word.startswith('-fuse-ld'):
                pass
            else:
                kept.append(word)
        unit = Path(entry['file'])
        together = UNITY_INCLUDE.findall(unit.read_text()) if unit.parent.name == 'Unity' else []
        for path in map(Path, together or [unit]):
            flags[path] = kept
    return flags


class Verdicts:
    """Remembers which hashes were found good, below build/, so that only changes are looked at."""

    def __init__(self, name):
        self.folder = TREE / 'build' / 'checked' / name
        self.folder.mkdir(parents=True, exist_ok=True)

    def good(self, key):
        return (self.folder / key).exists()

    def keep(self, key):
        (self.folder / key).touch()


def in_parallel(function, items):
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 2) as pool:
        return list(pool.map(function, items))


def generate_protos():
    """Headers made from protos/ must exist before clang can read what includes them."""
    if (TREE / 'protos').is_dir() and any((TREE / 'protos').rglob('*.proto')):
        listed = subprocess.run(['ninja', '-C', BUILD, '-t', 'targets', 'all'], stdout=subprocess.PIPE, text=True)
        wanted = [line.split(':')[0] for line in listed.stdout.splitlines()
                  if line.split(':')[0].endswith(('.pb.h', '.plain.h', '.pb.cc', '.plain.cc'))]
        wanted = [w for w in wanted if w.startswith('protos')]
        if wanted:
            subprocess.run(['ninja', '-C', BUILD, *wanted], stdout=subprocess.DEVNULL, check=True)
