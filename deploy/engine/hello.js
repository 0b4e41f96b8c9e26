'use strict';

// Exits 0 if a MongoDB server answers `hello` on a Unix socket within two seconds.
// usage: hello.js SOCKET

const net = require('node:net');
const wire = require('./wire');

const LIMIT_MS = 2_000;

setTimeout(() => process.exit(1), LIMIT_MS);
const socket = net.connect(process.argv[2]);
socket.on('error', () => process.exit(1));
socket.write(wire.message({ hello: 1, $db: 'admin' }));
wire.messages(socket).next().then(({ value }) => process.exit(value && wire.isOk(wire.parse(value).body) ? 0 : 1), () => process.exit(1));
