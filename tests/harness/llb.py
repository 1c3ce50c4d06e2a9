# SPDX-License-Identifier: Apache-2.0
"""Definitions of LLB, operation by operation, as BuildKit's clients write them: each is named by the digest of its bytes, and the
last one names the result. Written from protos/moby/buildkit/ops.proto; what is made can be spoiled."""
import hashlib

from harness.grpc_api import message

SECRET, SSH, CACHE, TMPFS = 1, 2, 3, 4


def digest_of(data):
    return 'sha256:' + hashlib.sha256(data).hexdigest()


class Definition:
    """An output is a pair of an operation's digest and a number; None is nothing at all."""

    def __init__(self):
        self.ops = []

    def add(self, inputs=(), **op):
        data = message('pb.Op', inputs=[{'digest': digest, 'index': output} for digest, output in inputs], **op).SerializeToString()
        if data not in self.ops:
            self.ops.append(data)
        return digest_of(data), 0

    def source(self, identifier, **attributes):
        return self.add(source={'identifier': identifier, 'attrs': {k.replace('__', '.'): v for k, v in attributes.items()}})

    def image(self, name):
        return self.source(f'docker-image://docker.io/{name}')

    def run(self, root, *words, mounts=(), read_only=False, output=0, meta=None, **exec_op):
        """`mounts`: dicts of a mount's fields whose input is an output or None."""
        inputs, made = [], []
        for mount in [{'input': root, 'dest': '/', 'output': output, 'readonly': read_only}, *mounts]:
            mount = {'input': None, 'output': -1, **mount}
            edge = mount['input']
            if edge is not None and edge not in inputs:
                inputs.append(edge)
            made.append({**mount, 'input': -1 if edge is None else inputs.index(edge)})
        return self.add(inputs, exec={'meta': {'args': list(words), 'cwd': '/', **(meta or {})}, 'mounts': made, **exec_op})

    def files(self, base, *actions):
        """`actions`: (kind, fields) one after the other; of a copy `source` is the output that it copies from."""
        inputs, made = [base] if base is not None else [], []
        for _, fields in actions:
            source = fields.get('source')
            if source is not None and source not in inputs:
                inputs.append(source)
        for number, (kind, fields) in enumerate(actions):
            fields, last = dict(fields), number + 1 == len(actions)
            source = fields.pop('source', None)
            before = (0 if base is not None else -1) if number == 0 else len(inputs) + number - 1
            made.append({'input': before, 'secondaryInput': -1 if source is None else inputs.index(source), 'output': 0 if last else -1,
                         kind: {'timestamp': -1, **fields} if kind != 'rm' else fields})
        return self.add(inputs, file={'actions': made})

    def copy(self, base, source, src, dest, **fields):
        return self.files(base, ('copy', {'source': source, 'src': src, 'dest': dest, 'mode': -1, 'createDestPath': True, **fields}))

    def merge(self, *parts):
        return self.add(parts, merge={'inputs': [{'input': i} for i in range(len(parts))]})

    def diff(self, lower, upper):
        inputs = [edge for edge in (lower, upper) if edge is not None]
        return self.add(inputs, diff={'lower': {'input': -1 if lower is None else 0}, 'upper': {'input': -1 if upper is None else len(inputs) - 1}})

    def done(self, result):
        """As a message's fields."""
        head = message('pb.Op', inputs=[{'digest': result[0], 'index': result[1]}]).SerializeToString()
        return {'def': [*self.ops, head]}
