#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints the OpenAPI description of the Engine API as gantryd has it, made from the source itself:

  paths and methods   the route table, src/engine/api/routes.cc
  query parameters    what each route's handler asks its call for
  messages            the structs of src/engine/config.h and the names that config.cc gives their members

So it says what the code does, no more. tests/faults/test_api_schema.py makes requests of it."""
import json
import re
import sys
from pathlib import Path

TREE = Path(__file__).resolve().parent.parent
ENGINE = TREE / 'src/engine'

PLAIN = {'std::string': {'type': 'string'}, 'bool': {'type': 'boolean'}, 'int64_t': {'type': 'integer', 'format': 'int64'},
         'uint64_t': {'type': 'integer', 'format': 'int64', 'minimum': 0}, 'uint32_t': {'type': 'integer', 'format': 'int32', 'minimum': 0},
         'int32_t': {'type': 'integer', 'format': 'int32'}, 'double': {'type': 'number'},
         'NameSet': {'type': 'object', 'additionalProperties': {'type': 'object'}},
         'CommandLine': {'oneOf': [{'type': 'string'}, {'type': 'array', 'items': {'type': 'string'}}]},
         'Json': {}, 'formats::Json': {}}


def schema_of(kind):
    kind = kind.strip()
    if kind in PLAIN:
        return dict(PLAIN[kind])
    for wrapper in ('std::vector<', 'std::optional<'):
        if kind.startswith(wrapper):
            inner = schema_of(kind[len(wrapper):-1])
            return {'type': 'array', 'items': inner} if 'vector' in wrapper else inner
    match = re.fullmatch(r'std::array<(.*), (\d+)>', kind)
    if match:
        return {'type': 'array', 'items': schema_of(match.group(1)), 'maxItems': int(match.group(2))}
    match = re.fullmatch(r'std::map<std::string, (.*)>', kind)
    if match:
        return {'type': 'object', 'additionalProperties': schema_of(match.group(1))}
    if not re.fullmatch(r'\w+', kind):
        raise ValueError(f'no schema for the type {kind}')
    return {'$ref': f'#/components/schemas/{kind}'}


def messages():
    """The structs that config.cc reads, with the API's names."""
    members = {}
    for name, body in re.findall(r'^struct (\w+) \{\n(.*?)^\};', (ENGINE / 'config.h').read_text(), re.M | re.S):
        members[name] = dict((m, t) for t, m in re.findall(r'^  ([\w:<>, ]+?) (\w+)(?: = [^;]+|\{[^;]*\})?;', body, re.M))
    visits = {}
    text = (ENGINE / 'config.cc').read_text()
    for name, body in re.findall(r'void Visit\(V& v, auto& c\)\s+requires [^;{]*?, (\w+)>\s*\{\n(.*?)^\}', text, re.M | re.S):
        properties = {}
        for key, member in re.findall(r'v(?:\.\w+)?\("(\w+)", c\.(\w+)', body):
            kind = members.get(name, {}).get(member)
            if kind:
                properties[key] = schema_of(kind)
        visits[name] = {'type': 'object', 'properties': properties}
    # Resources are part of HostConfig, and what an update may change.
    shared = re.search(r'void VisitResources\(V& v, T& c\) \{\n(.*?)^\}', text, re.M | re.S).group(1)
    resources = {key: schema_of(members['HostConfig'][member]) for key, member in re.findall(r'v(?:\.\w+)?\("(\w+)", c\.(\w+)', shared)}
    visits['HostConfig']['properties'].update(resources)
    visits['UpdateRequest'] = {'type': 'object', 'properties': {**resources, 'RestartPolicy': {'$ref': '#/components/schemas/RestartPolicy'}}}
    create = {key: value for key, value in visits['ContainerConfig']['properties'].items()}
    create['HostConfig'] = {'$ref': '#/components/schemas/HostConfig'}
    create['NetworkingConfig'] = {'type': 'object', 'properties': {'EndpointsConfig': {
        'type': 'object', 'additionalProperties': {'$ref': '#/components/schemas/EndpointConfig'}}}}
    visits['CreateRequest'] = {'type': 'object', 'properties': create}
    visits['ErrorResponse'] = {'type': 'object', 'properties': {'message': {'type': 'string'}}, 'required': ['message']}
    return visits


def functions():
    """Every function of engine/api by name, with its text."""
    found = {}
    for path in sorted((ENGINE / 'api').glob('*.cc')):
        if path.name.endswith('_test.cc'):
            continue
        for name, body in re.findall(r'^(?:[\w:<>,*& ]+?) (\w+)\([^;{]*?\)[^;{]*\{\n(.*?)^\}', path.read_text(), re.M | re.S):
            found.setdefault(name, '')
            found[name] += body
    return found


def text_of(handler, bodies, depth=3):
    """A handler's text with that of the functions of this folder that it hands its call to."""
    body = bodies.get(handler, '')
    if depth > 0:
        for called in set(re.findall(r'\b(\w+)\(\*?call\b', body)) - {handler}:
            body += text_of(called, bodies, depth - 1)
    return body


QUERIES = ((r'GetBool\("([\w-]+)"[,)]', {'type': 'boolean'}), (r'(?:Int|Size)Parameter\(call, "([\w-]+)"', {'type': 'integer'}),
           (r'PlatformParameters\(call, "([\w-]+)"', {'type': 'array', 'items': {'type': 'string'}}),
           (r'JsonParameter\(call, "([\w-]+)"', {'type': 'string', 'description': 'JSON'}),
           (r'TimeParameter\(call, "([\w-]+)"', {'type': 'string', 'format': 'date-time'}),
           (r'GetAll\("([\w-]+)"\)', {'type': 'array', 'items': {'type': 'string'}}), (r'\bGet\("([a-z][\w-]*)"\)', {'type': 'string'}))


def query_parameters(body):
    found = {}
    for pattern, schema in QUERIES:
        for name in re.findall(pattern, body):
            found.setdefault(name, schema)
    known = sorted(set(re.findall(r'"([\w!-]+)"', ' '.join(re.findall(r'CheckKeys\(\{(.*?)\}\)', body, re.S)))))
    if 'filters' in found:
        found['filters'] = {'type': 'string', 'description': 'JSON: {"KEY": {"VALUE": true}} or {"KEY": ["VALUE"]}', 'x-filters': known}
    return [{'name': name, 'in': 'query', 'schema': schema} for name, schema in sorted(found.items())]


BODIES = {'CreateContainer': 'CreateRequest', 'UpdateContainer': 'UpdateRequest'}


def operation(method, pattern, handler, bodies):
    body = text_of(handler, bodies)
    names = iter(('name', 'other'))
    path = re.sub(r'\{\*?\}', lambda m: '{' + next(names) + '}', pattern)
    parameters = [{'name': n, 'in': 'path', 'required': True, 'schema': {'type': 'string'}} for n in re.findall(r'\{(\w+)\}', path)]
    out = {'operationId': f'{handler}{method.title() if handler in ("Ping",) else ""}', 'parameters': parameters + query_parameters(body),
           'responses': {'default': {'description': 'an error', 'content': {'application/json': {'schema': {
               '$ref': '#/components/schemas/ErrorResponse'}}}}}}
    if 'ReadJsonBody' in body:
        message = BODIES.get(handler)
        schema = {'$ref': f'#/components/schemas/{message}'} if message else {'type': 'object'}
        out['requestBody'] = {'content': {'application/json': {'schema': schema}}}
    elif 'exchange.body()' in body:
        out['requestBody'] = {'content': {'application/x-tar': {'schema': {'type': 'string', 'format': 'binary'}}}}
    return path, out


def description():
    bodies = functions()
    api = (ENGINE / 'api/api.h').read_text()
    oldest, newest = (re.search(rf'{n} = (\d+);', api).group(1) for n in ('kMinMinor', 'kMaxMinor'))
    paths = {}
    routes = (ENGINE / 'api/routes.cc').read_text()
    for method, pattern, handler in re.findall(r'\{"([A-Z]+)", "([^"]+)", (\w+)', routes):
        path, described = operation(method, pattern, handler, bodies)
        paths.setdefault(path, {})[method.lower()] = described
    return {'openapi': '3.0.3',
            'info': {'title': 'Engine API of gantry', 'version': f'1.{newest}', 'description': f'Versions 1.{oldest} to 1.{newest}.'},
            'servers': [{'url': f'/v1.{newest}'}, {'url': '/'}], 'paths': paths, 'components': {'schemas': messages()}}


if __name__ == '__main__':
    json.dump(description(), sys.stdout, indent=1)
    print()
