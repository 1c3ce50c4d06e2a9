# SPDX-License-Identifier: Apache-2.0
"""A network and IPAM plugin of docker's plugin protocol, a process of its own in an engine's network namespace.

    plugin.py SOCKET FOLDER        (started by NetworkPlugin)

Networks are bridges, endpoints pairs of veths whose other end is the container's. FOLDER/log has a line for each request;
FOLDER/faults is a JSON object, method → what to do instead of answering: 'hang', 'die', 'garbage', 'error', or 'late:N': N seconds
after the work; FOLDER/networks and FOLDER/addresses, what it knows, outlive it. With FOLDER/tls, which has ca.pem, tls.pem and tls.key, it listens at
127.0.0.1:18399 too, with TLS, for clients with a certificate of that authority."""
import http.server
import json
import os
import socketserver
import ssl
import subprocess
import sys
import threading
import time
from ipaddress import ip_address, ip_network
from pathlib import Path


TLS_PORT = 18399


class NetworkPlugin:
    def __init__(self, engine, name, folder, directory='/run/docker/plugins'):
        self.engine, self.name, self.folder = engine, name, Path(folder)
        self.socket = Path(directory) / f'{name}.sock'
        self.process = None

    def start(self):
        self.folder.mkdir(exist_ok=True)
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(['nsenter', f'--net={self.engine.names.netns}', sys.executable, __file__, self.socket, self.folder],
                                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
        with self.process.stdout as out:
            assert out.readline() == b'ready\n'
        return self

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.socket.unlink(missing_ok=True)

    def fault(self, **methods):
        """fault(Join='hang'): of NetworkDriver and IpamDriver alike; without any all is well."""
        new = self.folder / 'faults.new'
        new.write_text(json.dumps(methods))
        new.rename(self.folder / 'faults')  # requests read it at any moment

    def requests(self, *methods):
        """(method, body) of each so far, all or those of these names."""
        lines = (self.folder / 'log').read_text().splitlines() if (self.folder / 'log').exists() else []
        found = [json.loads(line) for line in lines]
        return [(m, b) for m, b in found if not methods or m in methods]

    def known(self, what):
        path = self.folder / what
        return json.loads(path.read_text()) if path.exists() else {}

    def links(self):
        """What it made in the host's namespace."""
        return [line.split()[1].rstrip(':').split('@')[0] for line in self.engine.inside('ip', '-o', 'link').stdout.splitlines() if ': tp' in line]


def run(*words):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise RuntimeError(f'{" ".join(words)}: {done.stdout.strip()}')


class Driver:
    def __init__(self, folder):
        self.folder = folder
        self.networks = self.load('networks')      # id → gateway
        self.addresses = self.load('addresses')    # pool → addresses

    def load(self, name):
        path = self.folder / name
        return json.loads(path.read_text()) if path.exists() else {}

    def save(self):
        for name in ('networks', 'addresses'):
            path = self.folder / f'{name}.new'
            path.write_text(json.dumps(getattr(self, name)))
            path.rename(self.folder / name)

    def Plugin_Activate(self, _):
        return {'Implements': ['NetworkDriver', 'IpamDriver']}

    def NetworkDriver_GetCapabilities(self, _):
        return {'Scope': 'local', 'ConnectivityScope': 'local'}

    def NetworkDriver_CreateNetwork(self, told):
        bridge = f"tpb{told['NetworkID'][:8]}"
        run('ip', 'link', 'add', bridge, 'type', 'bridge')
        for data in (told['IPv4Data'] or []) + (told['IPv6Data'] or []):
            if data.get('Gateway'):
                run('ip', 'addr', 'add', data['Gateway'], 'dev', bridge)
        run('ip', 'link', 'set', bridge, 'up')
        first = told['IPv4Data'][0] if told['IPv4Data'] else {}
        self.networks[told['NetworkID']] = {'gateway': first.get('Gateway', '').split('/')[0], 'endpoints': [],
                                            'options': told['Options'].get('com.docker.network.generic') or {}}
        return {}

    def NetworkDriver_DeleteNetwork(self, told):
        self.networks.pop(told['NetworkID'])
        run('ip', 'link', 'del', f"tpb{told['NetworkID'][:8]}")
        return {}

    def NetworkDriver_CreateEndpoint(self, told):
        self.networks[told['NetworkID']]['endpoints'].append(told['EndpointID'])
        given = {}
        if not told['Interface'].get('MacAddress'):
            given['MacAddress'] = '02:5e:' + ':'.join(told['EndpointID'][i:i + 2] for i in (0, 2, 4, 6))
        if not told['Interface'].get('Address'):
            given['Address'] = '10.89.0.77/24'
        return {'Interface': given}

    def NetworkDriver_DeleteEndpoint(self, told):
        endpoint = told['EndpointID']
        known = self.networks[told['NetworkID']]['endpoints']
        if endpoint not in known:
            return {'Err': 'endpoint not found'}
        known.remove(endpoint)
        subprocess.run(['ip', 'link', 'del', f'tph{endpoint[:8]}'], stderr=subprocess.DEVNULL)
        return {}

    def NetworkDriver_EndpointOperInfo(self, told):
        return {'Value': {'tasted': 'yes'}}

    def NetworkDriver_Join(self, told):
        network, endpoint = self.networks[told['NetworkID']], told['EndpointID']
        end, inside = f'tph{endpoint[:8]}', f'tpc{endpoint[:8]}'
        run('ip', 'link', 'add', end, 'type', 'veth', 'peer', 'name', inside)
        run('ip', 'link', 'set', end, 'master', f"tpb{told['NetworkID'][:8]}", 'up')
        answer = {'InterfaceName': {'SrcName': inside, 'DstPrefix': 'tp'}, 'StaticRoutes': [
            {'Destination': '198.51.100.0/24', 'RouteType': 0, 'NextHop': network['gateway']} if network['gateway'] else
            {'Destination': '198.51.100.0/24', 'RouteType': 1}]}
        if 'closed' in network['options']:
            answer['DisableGatewayService'] = True
        elif 'gateway' in network['options']:
            answer['Gateway'] = network['gateway']
        return answer

    def NetworkDriver_Leave(self, told):
        return {}

    def NetworkDriver_ProgramExternalConnectivity(self, told):
        return {}

    def NetworkDriver_RevokeExternalConnectivity(self, told):
        return {}

    def IpamDriver_GetCapabilities(self, _):
        return {'RequiresMACAddress': False, 'RequiresRequestReplay': (Path(self.folder) / 'forgetful').exists()}

    def IpamDriver_GetDefaultAddressSpaces(self, _):
        return {'LocalDefaultAddressSpace': 'tp-local', 'GlobalDefaultAddressSpace': 'tp-global'}

    def IpamDriver_RequestPool(self, told):
        pool = told['Pool'] or ('fd89::/64' if told['V6'] else '10.89.0.0/24')
        identity = f"{told['AddressSpace']}/{pool}"
        if identity in self.addresses:
            return {'Err': f'pool {pool} is taken'}
        self.addresses[identity] = []
        return {'PoolID': identity, 'Pool': pool, 'Data': {}}

    def IpamDriver_ReleasePool(self, told):
        if self.addresses.pop(told['PoolID'], None) is None:
            return {'Err': 'no such pool'}
        return {}

    def IpamDriver_RequestAddress(self, told):
        taken = self.addresses[told['PoolID']]
        network = ip_network(told['PoolID'].split('/', 1)[1])
        gateway = (told['Options'] or {}).get('RequestAddressType') == 'com.docker.network.gateway'
        # From the end, as no engine does by itself.
        wanted = ip_address(told['Address']) if told['Address'] else next(
            a for a in ([network[1]] if gateway else (network[-2 - i] for i in range(network.num_addresses))) if str(a) not in taken)
        if str(wanted) in taken:
            return {'Err': f'address {wanted} is taken'}
        taken.append(str(wanted))
        return {'Address': f'{wanted}/{network.prefixlen}', 'Data': {}}

    def IpamDriver_ReleaseAddress(self, told):
        self.addresses[told['PoolID']].remove(told['Address'])
        return {}


def serve(path, folder):
    driver = Driver(folder)
    one_at_a_time = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told = json.loads(self.rfile.read(int(self.headers.get('Content-Length') or 0)) or b'{}')
            method = self.path[1:]
            with open(folder / 'log', 'a') as log:
                log.write(json.dumps([method, told]) + '\n')
            faults = json.loads((folder / 'faults').read_text()) if (folder / 'faults').exists() else {}
            fault = faults.get(method.split('.')[1], '')
            if fault == 'hang':
                time.sleep(1000)
            if fault == 'die':
                os._exit(1)
            answer, status = None, 200
            if fault == 'null':
                return self.answer(200, b'null')
            if fault == 'garbage':
                return self.answer(200, b'<html>not what was asked for')
            if fault == 'error':
                answer = {'Err': f'{method} is told to fail'}
            elif fault == 'status':
                answer, status = {'Err': f'{method} is told to fail'}, 500
            elif fault == 'absent':
                return self.answer(404, b'404 page not found\n')
            else:
                with one_at_a_time:
                    try:
                        answer = getattr(driver, method.replace('.', '_'))(told)
                    except AttributeError:
                        return self.answer(404, b'404 page not found\n')
                    except Exception as error:
                        answer = {'Err': f'{type(error).__name__}: {error}'}
                    driver.save()
                if fault.startswith('late:'):
                    time.sleep(float(fault[5:]))
            self.answer(status, json.dumps(answer).encode())

        def answer(self, status, body):
            self.send_response(status)
            self.send_header('Content-Type', 'application/vnd.docker.plugins.v1.2+json')
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def address_string(self):
            return 'engine'

        def log_message(self, *_):
            pass

    class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
        daemon_threads = True
    class TlsServer(socketserver.ThreadingMixIn, socketserver.TCPServer):
        daemon_threads = True
        allow_reuse_address = True
    certificates = folder / 'tls'
    if certificates.exists():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / 'tls.pem', certificates / 'tls.key')
        context.load_verify_locations(certificates / 'ca.pem')
        context.verify_mode = ssl.CERT_REQUIRED
        secure = TlsServer(('127.0.0.1', TLS_PORT), Handler)
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        threading.Thread(target=secure.serve_forever, daemon=True).start()
    with Server(str(path), Handler) as server:
        print('ready', flush=True)
        server.serve_forever()


if __name__ == '__main__':
    serve(Path(sys.argv[1]), Path(sys.argv[2]))
