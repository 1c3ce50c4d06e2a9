# SPDX-License-Identifier: Apache-2.0
"""A gRPC client of containerd's API, made at run time from protos/: no generated modules, since "grpc" is a package of
both. Methods go by "Service/Method", messages are dicts or built by `message`."""
import functools
import subprocess
import tempfile

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

from harness import places

PROTOS = places.TREE / 'protos'
PREFIX = 'containerd.services.'


@functools.lru_cache(None)
def loaded():
    """The pool of our messages, and the names of our files."""
    files = sorted(str(p.relative_to(PROTOS)) for p in PROTOS.rglob('*.proto'))
    with tempfile.NamedTemporaryFile(prefix='gt-protos-') as out:
        subprocess.run(['protoc', f'-I{PROTOS}', '--include_imports', f'--descriptor_set_out={out.name}', *files], check=True)
        bundle = descriptor_pb2.FileDescriptorSet.FromString(out.read())
    made = descriptor_pool.DescriptorPool()
    for file in bundle.file:
        made.Add(file)
    return made, [file.name for file in bundle.file]


def pool():
    return loaded()[0]


@functools.lru_cache(None)
def message_class(name):
    return message_factory.MessageFactory(pool()).GetPrototype(pool().FindMessageTypeByName(name))


def message(full_name, **fields):
    """Fields are values, dicts, or lists of them."""
    made = message_class(full_name)()
    for name, value in fields.items():
        fill(made, name, value)
    return made


def fill(target, name, value):
    field = target.DESCRIPTOR.fields_by_name[name]
    if field.message_type and field.message_type.GetOptions().map_entry:
        for key, item in value.items():
            if field.message_type.fields_by_name['value'].message_type:
                getattr(target, name)[key].CopyFrom(item)
            else:
                getattr(target, name)[key] = item
    elif field.label == field.LABEL_REPEATED:
        for item in value:
            if isinstance(item, dict):
                getattr(target, name).add()
                for key, inner in item.items():
                    fill(getattr(target, name)[-1], key, inner)
            else:
                getattr(target, name).append(item)
    elif isinstance(value, dict):
        getattr(target, name).SetInParent()
        for key, inner in value.items():
            fill(getattr(target, name), key, inner)
    elif field.message_type:
        getattr(target, name).CopyFrom(value)
    else:
        setattr(target, name, value)


@functools.lru_cache(None)
def services():
    """Service name without its package → descriptor, of all that a daemon serves over gRPC."""
    found = {}
    for name in loaded()[1]:
        for service in pool().FindFileByName(name).services_by_name.values():
            whole = service.full_name
            if (whole.startswith(PREFIX) and '.ttrpc.' not in whole) or whole == 'grpc.health.v1.Health':
                assert service.name not in found or whole.startswith('containerd.services.events.v1')
                found[service.name] = service
    return found


def rpcs():
    return [f'{name}/{method.name}' for name, service in services().items() for method in service.methods]


class Api:
    def __init__(self, socket, namespace='api'):
        self.socket, self.namespace = socket, namespace
        limit = 16 << 20
        self.channel = grpc.insecure_channel(f'unix:{socket}', options=[
            ('grpc.max_receive_message_length', limit), ('grpc.max_send_message_length', limit),
            # A call is made once: who is cut off asks what happened.
            ('grpc.enable_retries', 0),
            # A new client connects at once, also where another one was refused a moment ago.
            ('grpc.use_local_subchannel_pool', 1)])

    def close(self):
        self.channel.close()

    def stub(self, rpc):
        name, method = rpc.split('/')
        found = services()[name].methods_by_name[method]
        # The Python descriptor does not say what streams; the file's own does.
        proto = descriptor_pb2.FileDescriptorProto()
        found.containing_service.file.CopyToProto(proto)
        entry = [m for s in proto.service if s.name == name for m in s.method if m.name == method][0]
        path = f'/{found.containing_service.full_name}/{method}'
        make = {(False, False): self.channel.unary_unary, (False, True): self.channel.unary_stream,
                (True, True): self.channel.stream_stream}[(entry.client_streaming, entry.server_streaming)]
        answer = message_class(found.output_type.full_name)
        return make(path, request_serializer=lambda m: m.SerializeToString(), response_deserializer=answer.FromString), found, entry

    def metadata(self, metadata=None, space=None):
        space = self.namespace if space is None else space
        return ([('containerd-namespace', space)] if space else []) + list(metadata or ())

    def __call__(self, rpc, request=None, *, metadata=None, space=None, timeout=30, **fields):
        """One answer, or the list of those of a stream. A list as request goes to a stream of requests."""
        stub, found, entry = self.stub(rpc)
        kind = found.input_type.full_name
        if entry.client_streaming:
            requests = iter([message(kind, **f) if isinstance(f, dict) else f for f in request])
            return list(stub(requests, metadata=self.metadata(metadata, space), timeout=timeout))
        built = request if request is not None else message(kind, **fields)
        answer = stub(built, metadata=self.metadata(metadata, space), timeout=timeout)
        return list(answer) if entry.server_streaming else answer

    def open(self, rpc, request=None, *, metadata=None, space=None, timeout=60, **fields):
        """A stream that is read by the caller."""
        stub, found, entry = self.stub(rpc)
        built = request if entry.client_streaming else message(found.input_type.full_name, **fields)
        return stub(built, metadata=self.metadata(metadata, space), timeout=timeout)

    def code(self, rpc, request=None, **options):
        try:
            self(rpc, request, **options)
        except grpc.RpcError as error:
            return error.code().name
        return 'OK'

    def reflected(self):
        """The names of all services by server reflection; its messages are two fields, read by hand."""
        path = '/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo'
        stub = self.channel.stream_stream(path, request_serializer=bytes, response_deserializer=bytes)
        answer = next(stub(iter([b'\x3a\x01*']), timeout=10))
        names = []
        for whole, services_list in fields_of(answer):
            if whole == 6:
                names += [text.decode() for number, item in fields_of(services_list) if number == 1
                          for inner, text in fields_of(item) if inner == 1]
        return sorted(names)


def fields_of(data):
    """(number, bytes) of each length-delimited field."""
    at = 0
    while at < len(data):
        key, at = varint(data, at)
        if key & 7 == 2:
            size, at = varint(data, at)
            yield key >> 3, data[at:at + size]
            at += size
        else:
            assert key & 7 == 0
            _, at = varint(data, at)


def varint(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift, at = shift + 7, at + 1
        if data[at - 1] < 128:
            return value, at


def any_of(name, built):
    return message('google.protobuf.Any', type_url=name, value=built if isinstance(built, bytes) else built.SerializeToString())


def packed(built):
    return any_of(built.DESCRIPTOR.full_name, built)


def as_dict(built):
    return json_format.MessageToDict(built, preserving_proto_field_name=True, descriptor_pool=pool())
