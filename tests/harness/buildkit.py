# SPDX-License-Identifier: Apache-2.0
"""A client of BuildKit's API as buildx is one: gRPC on a connection that POST /grpc has upgraded, and a session (POST
/session) that serves the client's directories. Written from protos/; what it sends can be spoiled."""
import hashlib
import os
import socket
import stat
import tempfile
import threading
import uuid
from concurrent import futures
from pathlib import Path

import grpc

from harness.grpc_api import message, message_class

STAT, REQ, DATA, FIN, ERR = range(5)
GO_DIRECTORY, GO_SYMLINK, GO_FIFO = 1 << 31, 1 << 27, 1 << 25
GO_TYPE = GO_DIRECTORY | GO_SYMLINK | GO_FIFO | 1 << 26 | 1 << 24 | 1 << 21 | 1 << 19
Packet = 'fsutil.types.Packet'


def packet(kind, **fields):
    return message(Packet, type=kind, **fields)


def entry(path, mode=0o644, **fields):
    return packet(STAT, stat={'path': path, 'mode': mode, **fields})


def upgraded(engine_socket, path, headers=()):
    """A connection on which HTTP/2 can begin."""
    s = socket.socket(socket.AF_UNIX)
    s.connect(engine_socket)
    lines = [f'POST {path} HTTP/1.1', 'Host: x', 'Connection: Upgrade', 'Upgrade: h2c', *(f'{k}: {v}' for k, v in headers)]
    s.sendall(('\r\n'.join(lines) + '\r\n\r\n').encode())
    head = b''
    while not head.endswith(b'\r\n\r\n'):
        piece = s.recv(1)
        assert piece, head
        head += piece
    assert head.startswith(b'HTTP/1.1 101 '), head
    return s


def joined(a, b):
    """Two sockets, one's bytes to the other, both ways."""
    def copy(source, target):
        try:
            while data := source.recv(1 << 16):
                target.sendall(data)
        except OSError:
            pass
        for s in (source, target):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
    for pair in ((a, b), (b, a)):
        threading.Thread(target=copy, args=pair, daemon=True).start()


def walk(root, below=''):
    """Entries in the order of fsutil's walk."""
    for name in sorted(os.listdir(root / below)):
        path = f'{below}/{name}' if below else name
        status = os.lstat(root / path)
        fields = {'modTime': status.st_mtime_ns, 'uid': status.st_uid, 'gid': status.st_gid}
        mode = status.st_mode & 0o777
        if stat.S_ISDIR(status.st_mode):
            yield entry(path, mode | GO_DIRECTORY, **fields)
            yield from walk(root, path)
        elif stat.S_ISLNK(status.st_mode):
            yield entry(path, mode | GO_SYMLINK, linkname=os.readlink(root / path), **fields)
        else:
            yield entry(path, mode, size=status.st_size, **fields)


def send_directory(root, requests, wanted=lambda path: True):
    """FileSync.DiffCopy of a client: packets for `requests`."""
    entries = [e for e in walk(Path(root)) if wanted(e.stat.path)]
    yield from entries
    yield packet(STAT)
    for request in requests:
        if request.type == FIN:
            yield packet(FIN)
            return
        assert request.type == REQ, request
        data = (Path(root) / entries[request.ID].stat.path).read_bytes()
        for at in range(0, len(data), 1 << 15):
            yield packet(DATA, ID=request.ID, data=data[at:at + (1 << 15)])
        yield packet(DATA, ID=request.ID)


def take_directory(root, requests):
    """FileSend.DiffCopy of a client with a folder: makes what comes there; a callable is asked instead."""
    if callable(root):
        yield from root(requests)
        return
    root, entries, coming = Path(root), [], {}
    for one in requests:
        if one.type == STAT and one.HasField('stat'):
            entries.append(one.stat)
        elif one.type == STAT:
            for number, entry_ in enumerate(entries):
                path = root / entry_.path
                if entry_.mode & GO_DIRECTORY:
                    path.mkdir()
                elif entry_.mode & GO_SYMLINK:
                    path.symlink_to(entry_.linkname)
                elif entry_.mode & GO_FIFO:
                    os.mkfifo(path)
                elif not entry_.mode & GO_TYPE and not entry_.linkname:
                    coming[number] = open(path, 'wb')
                    yield packet(REQ, ID=number)
            if not coming:
                yield packet(FIN)
        elif one.type == DATA and one.data:
            coming[one.ID].write(one.data)
        elif one.type == DATA:
            coming.pop(one.ID).close()
            if not coming:
                yield packet(FIN)
        else:
            assert one.type == FIN, one
    for entry_ in entries:
        path = root / entry_.path
        if not entry_.mode & GO_TYPE and entry_.linkname:
            os.link(root / entry_.linkname, path)
        elif not entry_.mode & GO_TYPE:
            assert path.stat().st_size == entry_.size
        if not entry_.mode & (GO_TYPE & ~GO_DIRECTORY):
            os.chmod(path, entry_.mode & 0o777)
            os.utime(path, ns=(entry_.modTime, entry_.modTime))
            os.chown(path, entry_.uid, entry_.gid)


class Session:
    """Serves `directories`, names to paths or to functions of the requests that yield packets; `secrets`, names to bytes;
    `agents`, names to functions of a connection's messages that yield the answers. What comes of exporters is in `files`, by number
    with what is told of it, and in the folders of `trees`, by number. `stores`, names to blobs by digest, which are written to, too.
    `uploads`, paths to bytes. `spell` makes of a method's name what the engine is told."""

    def __init__(self, engine_socket, directories, secrets=None, logins=None, agents=None, trees=None, takes_files=True, stores=None, uploads=None, spell=str):
        self.id, self.directories, self.asked = uuid.uuid4().hex, directories, []
        self.secrets, self.logins, self.agents = secrets or {}, logins or {}, agents or {}
        self.files, self.trees, self.stores, self.uploads = {}, trees or {}, stores or {}, uploads or {}
        self.server = grpc.server(futures.ThreadPoolExecutor(16))
        self.server.add_generic_rpc_handlers([self])
        self.folder = tempfile.TemporaryDirectory(prefix='gt-bk-')
        path = f'{self.folder.name}/s'
        assert self.server.add_insecure_port(f'unix:{path}')
        self.server.start()
        inner = socket.socket(socket.AF_UNIX)
        inner.connect(path)
        methods = ['/moby.filesync.v1.FileSync/DiffCopy', '/moby.filesync.v1.Auth/Credentials', '/moby.buildkit.secrets.v1.Secrets/GetSecret',
                   '/moby.sshforward.v1.SSH/CheckAgent', '/moby.sshforward.v1.SSH/ForwardAgent']
        methods += ['/moby.filesync.v1.FileSend/DiffCopy'] if takes_files else []
        methods += [f'/containerd.services.content.v1.Content/{m}' for m in ('Read', 'Write')] if stores is not None else []
        methods += ['/moby.upload.v1.Upload/Pull'] if uploads is not None else []
        self.outer = upgraded(engine_socket, '/session', [('X-Docker-Expose-Session-Uuid', self.id),
                                                          *(('X-Docker-Expose-Session-Grpc-Method', spell(m)) for m in methods)])
        joined(self.outer, inner)

    def close(self):
        self.outer.close()
        self.server.stop(None)
        self.folder.cleanup()

    def service(self, call):
        """Of grpc.GenericRpcHandler."""
        if call.method == '/containerd.services.content.v1.Content/Read':
            return grpc.unary_stream_rpc_method_handler(self.read_blob, response_serializer=lambda m: m.SerializeToString(),
                                                        request_deserializer=message_class('containerd.services.content.v1.ReadContentRequest').FromString)
        if call.method == '/containerd.services.content.v1.Content/Write':
            return grpc.stream_stream_rpc_method_handler(self.write_blob, response_serializer=lambda m: m.SerializeToString(),
                                                         request_deserializer=message_class('containerd.services.content.v1.WriteContentRequest').FromString)
        kinds = {'DiffCopy': (Packet, self.diff_copy), 'Credentials': ('moby.filesync.v1.CredentialsRequest', self.login),
                 'GetSecret': ('moby.buildkit.secrets.v1.GetSecretRequest', self.secret),
                 'CheckAgent': ('moby.sshforward.v1.CheckAgentRequest', self.check_agent),
                 'ForwardAgent': ('moby.sshforward.v1.BytesMessage', self.forward_agent),
                 'Pull': ('moby.upload.v1.BytesMessage', self.pull)}
        name = call.method.rsplit('/', 1)[1]
        if call.method == '/moby.filesync.v1.FileSend/DiffCopy':
            return self.take(dict(call.invocation_metadata))
        if name not in kinds:
            return None
        kind, work = kinds[name]
        streams = name in ('DiffCopy', 'ForwardAgent', 'Pull')
        make = grpc.stream_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        return make(work, request_deserializer=message_class(kind).FromString, response_serializer=lambda m: m.SerializeToString())

    def diff_copy(self, requests, context):
        metadata = {}
        for key, value in context.invocation_metadata():
            metadata.setdefault(key, []).append(value)
        self.asked.append(metadata)
        directory = self.directories[metadata['dir-name'][0]]
        if callable(directory):
            return directory(requests)
        only, without = metadata.get('followpaths'), metadata.get('exclude-patterns', [])
        return send_directory(directory, requests, lambda path: (not only or path in only) and path.split('/')[0] not in without)

    def take(self, metadata):
        number = int(metadata['buildkit-attachable-exporter-id'])
        if number in self.trees:
            return grpc.stream_stream_rpc_method_handler(lambda requests, context: take_directory(self.trees[number], requests),
                                                         request_deserializer=message_class(Packet).FromString,
                                                         response_serializer=lambda m: m.SerializeToString())

        def take_file(requests, context):
            data = b''.join(request.data for request in requests)
            self.files[number] = (data, {k[12:]: v for k, v in metadata.items() if k.startswith('exporter-md-')})
            yield from ()
        return grpc.stream_stream_rpc_method_handler(take_file, request_deserializer=message_class('moby.filesync.v1.BytesMessage').FromString,
                                                     response_serializer=lambda m: m.SerializeToString())

    def read_blob(self, request, context):
        store = self.stores.get(dict(context.invocation_metadata())['buildkit-attachable-store-id'], {})
        if request.digest not in store:
            context.abort(grpc.StatusCode.NOT_FOUND, f'content {request.digest}: not found')
        data = store[request.digest]
        for at in range(0, len(data), 1 << 16):
            yield message('containerd.services.content.v1.ReadContentResponse', offset=at, data=data[at:at + (1 << 16)])

    def write_blob(self, requests, context):
        store, data = self.stores[dict(context.invocation_metadata())['buildkit-attachable-store-id']], b''
        for one in requests:
            assert one.offset == len(data), one
            data += one.data
            if one.action == 2:
                assert one.expected == 'sha256:' + hashlib.sha256(data).hexdigest() and one.total == len(data)
                store[one.expected] = data
            yield message('containerd.services.content.v1.WriteContentResponse', action=one.action, offset=len(data), total=one.total)

    def pull(self, requests, context):
        """Each of the uploads, paths to bytes, is given once."""
        path = dict(context.invocation_metadata())['urlpath']
        if path not in self.uploads:
            context.abort(grpc.StatusCode.UNKNOWN, f'no http response from session for {path}')
        data = self.uploads.pop(path)
        for at in range(0, len(data), 1 << 16):
            yield message('moby.upload.v1.BytesMessage', data=data[at:at + (1 << 16)])

    def login(self, request, context):
        name, secret = self.logins.get(request.Host, ('', ''))
        return message('moby.filesync.v1.CredentialsResponse', Username=name, Secret=secret)

    def secret(self, request, context):
        if request.ID not in self.secrets:
            context.abort(grpc.StatusCode.NOT_FOUND, f'secret {request.ID}: not found')
        return message('moby.buildkit.secrets.v1.GetSecretResponse', data=self.secrets[request.ID])

    def check_agent(self, request, context):
        if request.ID not in self.agents:
            context.abort(grpc.StatusCode.UNKNOWN, f'unset ssh forward key {request.ID}')
        return message('moby.sshforward.v1.CheckAgentResponse')

    def forward_agent(self, requests, context):
        name = dict(context.invocation_metadata())['buildkit.ssh.id']
        for answer in self.agents[name](requests):
            yield message('moby.sshforward.v1.BytesMessage', data=answer)


class BuildKit:
    """Control and LLBBridge of an engine."""

    def __init__(self, engine_socket):
        self.socket = engine_socket
        self.folder = tempfile.TemporaryDirectory(prefix='gt-bk-')
        path = f'{self.folder.name}/c'
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()
        self.channel = grpc.insecure_channel(f'unix:{path}', options=[('grpc.enable_retries', 0), ('grpc.use_local_subchannel_pool', 1)])

    def accept(self):
        while True:
            try:
                inner, _ = self.listener.accept()
            except OSError:
                return
            joined(inner, upgraded(self.socket, '/grpc'))

    def close(self):
        self.channel.close()
        self.listener.close()
        self.folder.cleanup()

    def start(self, service, method, request, answer, build=None, streams=False):
        make = self.channel.unary_stream if streams else self.channel.unary_unary
        call = make(f'/{service}/{method}', request_serializer=lambda m: m.SerializeToString(),
                    response_deserializer=message_class(f'{service.rsplit(".", 1)[0]}.{answer}').FromString)
        metadata = [('buildkit-controlapi-buildid', build)] if build else []
        return call(request, metadata=metadata, timeout=120) if streams else call.future(request, metadata=metadata, timeout=120)

    def control(self, method, answer=None, streams=False, kind=None, **fields):
        request = message(f'moby.buildkit.v1.{kind or method + "Request"}', **fields)
        return self.start('moby.buildkit.v1.Control', method, request, answer or method + 'Response', streams=streams)

    def bridge(self, method, build, answer=None, kind=None, **fields):
        request = message(f'moby.buildkit.v1.frontend.{kind or method}Request', **fields)
        return self.start('moby.buildkit.v1.frontend.LLBBridge', method, request, answer or method + 'Response', build)

    def build(self, session, options=None, names=(), frontend='dockerfile.v0', exporters=None, entitlements=(), caches=None, attributes=None):
        """As `buildx build` does: Solve and Status beside the front end's. Control's answer and all updates. `caches`: CacheOptions;
        `attributes`: Solve's own."""
        ref = uuid.uuid4().hex
        if exporters is None:
            exporters = [{'Type': 'moby', 'Attrs': {'name': ','.join(names)}}]
        solve = self.control('Solve', Ref=ref, Session=session.id, Exporters=exporters, Entitlements=list(entitlements), Cache=caches or {},
                             FrontendAttrs=attributes or {})
        updates = self.control('Status', streams=True, Ref=ref)
        assert {c.ID for c in self.bridge('Ping', ref, 'PongResponse').result().FrontendAPICaps} >= {'solve.base', 'return'}
        try:
            result = self.bridge('Solve', ref, Frontend=frontend, FrontendOpt=options or {}, allowResultReturn=True).result().result
            self.bridge('Return', ref, result=result).result()
        except grpc.RpcError as error:
            told = dict(error.trailing_metadata()).get('grpc-status-details-bin', b'')
            details = [{'type_url': d.type_url, 'value': d.value} for d in message_class('google.rpc.Status').FromString(told).details]
            self.bridge('Return', ref, error={'code': error.code().value[0], 'message': error.details(), 'details': details}).result()
        return solve, list(updates)

    def commands(self, context, text, name=None, options=None, entitlements=(), directories=None, **session_arguments):
        """Builds a Dockerfile's text in the folder `context` and gives what its commands wrote; the image is called `name` when one
        is given. `directories`: more of the session's."""
        (context / 'Dockerfile').write_text(text)
        session = Session(self.socket, {'context': context, 'dockerfile': context, **(directories or {})}, **session_arguments)
        try:
            solve, updates = self.build(session, options, [name] if name else [], exporters=None if name else [], entitlements=entitlements)
            solve.result()
        finally:
            session.close()
        return ''.join(log.msg.decode() for u in updates for log in u.logs)
