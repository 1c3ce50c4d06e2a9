// SPDX-License-Identifier: Apache-2.0
//
// Uses of dockerode as its users have them, by node's own test runner; test_dockerode.py runs this file with DOCKER_HOST.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { PassThrough } from 'node:stream';
import { once } from 'node:events';
import { after, test } from 'node:test';
import { gzipSync } from 'node:zlib';

const Docker = createRequire(process.env.MODULES + '/')('dockerode');
const docker = new Docker({ socketPath: process.env.DOCKER_HOST.replace('unix://', '') });
const IMAGE = 'gantry/busybox:latest';
const made = [];

async function start(options) {
  const container = await docker.createContainer({ Image: IMAGE, Cmd: ['sleep', '1000'], ...options });
  made.push(container);
  await container.start();
  return container;
}

async function text(stream) {
  const pieces = [];
  for await (const piece of stream) pieces.push(piece);
  return Buffer.concat(pieces);
}

// Both streams of a multiplexed one.
async function parted(stream) {
  const out = new PassThrough(), err = new PassThrough();
  docker.modem.demuxStream(stream, out, err);
  stream.on('end', () => { out.end(); err.end(); });
  return (await Promise.all([text(out), text(err)])).map(String);
}

// A tar archive of one file.
function archive(name, body) {
  const head = Buffer.alloc(512);
  head.write(name);
  head.write('0000644\0', 100);
  head.write('0000000\0', 108);
  head.write('0000000\0', 116);
  head.write(body.length.toString(8).padStart(11, '0') + '\0', 124);
  head.write('00000000000\0', 136);
  // The sum counts its own field as blanks; the type is a file's.
  head.write('        0', 148);
  const sum = head.reduce((a, b) => a + b, 0);
  head.write(sum.toString(8).padStart(6, '0') + '\0 ', 148);
  const padded = Buffer.alloc(Math.ceil(body.length / 512) * 512);
  padded.write(body);
  return Buffer.concat([head, padded, Buffer.alloc(1024)]);
}

after(async () => {
  for (const container of made) await container.remove({ force: true }).catch(() => {});
});

test('ping, version, info', async () => {
  assert.equal(String(await docker.ping()), 'OK');
  assert.equal((await docker.version()).Os, 'linux');
  assert.equal((await docker.info()).OSType, 'linux');
});

test('run with streams', async () => {
  const out = new PassThrough(), err = new PassThrough();
  const both = Promise.all([text(out), text(err)]);
  const [result, container] = await docker.run(IMAGE, ['sh', '-c', 'echo o; echo e >&2; exit 4'], [out, err], { Tty: false });
  assert.equal(result.StatusCode, 4);
  // run() ends both with the stream.
  assert.deepEqual((await both).map(String), ['o\n', 'e\n']);
  await container.remove();
});

test('run with a terminal', async () => {
  // dockerode waits only after the start: one that is over and removed by then would be a 404, also on docker.
  const out = new PassThrough();
  const all = text(out);
  const [result, container] = await docker.run(IMAGE, ['sh', '-c', 'test -t 1 && echo terminal; sleep 0.5'], out, { Tty: true, HostConfig: { AutoRemove: true } });
  assert.equal(result.StatusCode, 0);
  out.end();
  assert.equal(String(await all), 'terminal\r\n');
  assert.ok(container.id);
});

test('attach with standard input', async () => {
  const container = await docker.createContainer({ Image: IMAGE, Cmd: ['cat'], OpenStdin: true, StdinOnce: true, AttachStdin: true });
  made.push(container);
  const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true });
  const both = parted(stream);
  await container.start();
  stream.write('typed\n');
  stream.end();
  assert.deepEqual(await both, ['typed\n', '']);
  assert.equal((await container.wait()).StatusCode, 0);
});

test('exec', async () => {
  const container = await start({});
  const exec = await container.exec({ Cmd: ['sh', '-c', 'echo o; echo e >&2; exit 3'], AttachStdout: true, AttachStderr: true });
  assert.deepEqual(await parted(await exec.start({ hijack: true })), ['o\n', 'e\n']);
  assert.equal((await exec.inspect()).ExitCode, 3);
  const cat = await container.exec({ Cmd: ['cat'], AttachStdin: true, AttachStdout: true });
  const stream = await cat.start({ hijack: true, stdin: true });
  const both = parted(stream);
  stream.end('word');
  assert.deepEqual(await both, ['word', '']);
});

test('logs', async () => {
  const container = await start({ Cmd: ['sh', '-c', 'for i in 1 2 3; do echo $i; sleep 0.1; done; echo e >&2'] });
  assert.deepEqual(await parted(await container.logs({ follow: true, stdout: true, stderr: true })), ['1\n2\n3\n', 'e\n']);
  const tail = await container.logs({ stdout: true, tail: 2 });
  assert.equal(String(tail.subarray(8)), '3\n');
});

test('life: inspect, pause, rename, restart, stop, kill, wait, top, stats', async () => {
  const container = await start({ Cmd: ['sh', '-c', 'trap "exit 5" TERM; echo trapped; while :; do sleep 0.1; done'], name: `node-${process.pid}` });
  assert.equal((await container.inspect()).State.Status, 'running');
  await container.pause();
  assert.ok((await container.inspect()).State.Paused);
  await container.unpause();
  await container.rename({ name: `node-${process.pid}-new` });
  assert.equal((await docker.getContainer(`node-${process.pid}-new`).inspect()).Id, container.id);
  assert.match((await container.top()).Processes.flat().join(' '), /sh -c trap/);
  const sample = await container.stats({ stream: false });
  assert.ok(sample.id === container.id && sample.cpu_stats.cpu_usage.total_usage >= sample.precpu_stats.cpu_usage.total_usage);
  const stream = await container.stats({ stream: true });
  const [first] = await once(stream, 'data');
  assert.equal(JSON.parse(first).id, container.id);
  stream.destroy();
  await container.restart({ t: 5 });
  // Before the shell has set its trap the first process of a container takes no signal.
  while (String(await container.logs({ stdout: true })).split('trapped').length < 3);
  const waiting = container.wait();
  await container.stop({ t: 10 });
  assert.equal((await waiting).StatusCode, 5);
  await assert.rejects(container.stop(), (error) => error.statusCode === 304);
  await container.start();
  await container.kill({ signal: 'KILL' });
  assert.equal((await container.inspect()).State.ExitCode, 137);
  await container.update({ Memory: 64 << 20, MemorySwap: 64 << 20 });
});

test('errors', async () => {
  await assert.rejects(docker.getContainer('nosuch').inspect(), (error) => error.statusCode === 404 && /No such container: nosuch/.test(error.message));
  await assert.rejects(docker.createContainer({ Image: 'no/such' }), (error) => error.statusCode === 404);
  const container = await start({});
  await assert.rejects(container.remove(), (error) => error.statusCode === 409);
});

test('archives', async () => {
  const container = await start({});
  await container.putArchive(archive('f.txt', 'abc'), { path: '/tmp' });
  await container.putArchive(gzipSync(archive('g.txt', 'zip')), { path: '/tmp' });
  assert.match(String(await text(await container.getArchive({ path: '/tmp/f.txt' }))), /abc/);
  assert.match(String(await text(await container.getArchive({ path: '/tmp/g.txt' }))), /zip/);
  assert.ok((await container.changes()).some((change) => change.Path === '/tmp/f.txt'));
  assert.ok((await text(await container.export())).length > 100000);
  const stat = await container.infoArchive({ path: '/tmp/f.txt' });
  stat.destroy();
  assert.equal(JSON.parse(Buffer.from(stat.headers['x-docker-container-path-stat'], 'base64')).size, 3);
});

test('images', async () => {
  const image = docker.getImage(IMAGE);
  assert.ok((await image.inspect()).RepoTags.includes(IMAGE));
  assert.ok((await image.history()).length >= 1);
  await image.tag({ repo: 'node/name', tag: 'v' });
  const saved = await text(await docker.getImage('node/name:v').get());
  await docker.getImage('node/name:v').remove();
  assert.ok(saved.length > 100000);
  const container = await start({});
  const commit = await container.commit({ repo: 'node/commit', tag: 'x' });
  assert.ok((await docker.listImages()).some((each) => each.Id === commit.Id));
  await docker.getImage('node/commit:x').remove();
});

test('networks and volumes', async () => {
  const network = await docker.createNetwork({ Name: `node-${process.pid}`, Driver: 'bridge' });
  const volume = await docker.createVolume({ Name: `node-${process.pid}`, Labels: { a: 'b' } });
  try {
    const container = await start({ HostConfig: { Binds: [`${volume.name}:/v`] } });
    await network.connect({ Container: container.id, EndpointConfig: { Aliases: ['other'] } });
    assert.ok(Object.keys((await network.inspect()).Containers).includes(container.id));
    await network.disconnect({ Container: container.id });
    await assert.rejects(volume.remove(), (error) => error.statusCode === 409);
    await container.remove({ force: true });
    assert.equal((await docker.listVolumes({ filters: { label: ['a=b'] } })).Volumes.length, 1);
  } finally {
    await network.remove();
    await volume.remove();
  }
  assert.equal((await docker.pruneVolumes()).SpaceReclaimed, 0);
});

test('events and lists', async () => {
  const stream = await docker.getEvents({ filters: { type: ['container'] } });
  const container = await start({ Cmd: ['true'], Labels: { node: String(process.pid) } });
  const seen = [];
  let rest = '';
  for await (const piece of stream) {
    const lines = (rest + piece).split('\n');
    rest = lines.pop();
    for (const event of lines.filter(Boolean).map(JSON.parse)) {
      if (event.Actor.ID === container.id) seen.push(event.Action);
    }
    if (seen.includes('die')) break;
  }
  stream.destroy();
  assert.deepEqual(seen, ['create', 'start', 'die']);
  const found = await docker.listContainers({ all: true, filters: { label: [`node=${process.pid}`] } });
  assert.deepEqual(found.map((each) => each.Id), [container.id]);
});
