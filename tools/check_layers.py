#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""src/layers.txt against every #include: a folder includes itself and what its line names."""
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from sources import SRC, includes_of, tracked  # noqa: E402

GENERATED = {'.pb.h': 'protos', '.plain.h': 'protos_plain'}


def read_layers():
    layers = {}
    for number, line in enumerate((SRC / 'layers.txt').read_text().splitlines(), 1):
        line = line.split('#')[0].strip()
        if not line:
            continue
        folder, colon, allowed = line.partition(':')
        if not colon:
            sys.exit(f'src/layers.txt:{number}: not "folder : folders"')
        folder = folder.strip()
        if folder in layers:
            sys.exit(f'src/layers.txt:{number}: {folder} is there twice')
        for name in allowed.split():
            if name not in layers and name not in GENERATED.values():
                sys.exit(f'src/layers.txt:{number}: {folder} may include {name}, which is not on a line above it')
        layers[folder] = set(allowed.split())
    return layers


def folder_of(name, layers):
    """The longest listed folder that holds the file."""
    parts = Path(name).parent
    while str(parts) != '.':
        if str(parts) in layers:
            return str(parts)
        parts = parts.parent
    return None


def main():
    layers, wrong, looked = read_layers(), [], 0
    for name in tracked('src/*.h', 'src/*.cc'):
        inside = name.removeprefix('src/')
        folder = str(Path(inside).parent)
        if folder not in layers:
            wrong.append(f'{name}: its folder is not in src/layers.txt')
            continue
        for include in includes_of(SRC / inside):
            looked += 1
            target = next((g for end, g in GENERATED.items() if include.endswith(end)), None)
            if target is None:
                if not (SRC / include).is_file():
                    wrong.append(f'{name}: "{include}" is no file below src/')
                    continue
                target = folder_of(include, layers)
            if target != folder and target not in layers[folder]:
                wrong.append(f'{name}: {folder} may not include "{include}"')
    print('\n'.join(wrong + [f'{looked} includes, {len(layers)} folders, {len(wrong)} wrong']))
    sys.exit(bool(wrong))


if __name__ == '__main__':
    main()
