'use strict';

// MongoDB's wire protocol, as much of it as a server needs that hands whole messages on: framing, the name of a
// command, and the few small documents that serve.js writes itself. Pure but for messages(), which reads a stream.
// A message is a header (length, request id, answered id, opcode; int32 little-endian each) and then, by opcode,
//   OP_MSG   flags int32, sections: 0 and a document (the command) | 1, int32 size, a name, documents
//   OP_QUERY flags int32, collection name, int32, int32, a document: how drivers before 2021 greet a server

const crypto = require('node:crypto');

const HEADER_BYTES = 16;
const MAX_MESSAGE_BYTES = 48_000_000;
const OP_REPLY = 1;
const OP_QUERY = 2004;
const OP_MSG = 2013;
const MORE_TO_COME = 1 << 1; // the client wants no reply
const EXHAUST_ALLOWED = 1 << 16; // the client would take more than one: it gets one, and asks again

/** What was read cannot be of this protocol: the connection has no future. */
class ProtocolError extends Error {}

function checkHeader(header) {
  const length = header.readInt32LE(0);
  const opcode = header.readInt32LE(12);
  if (opcode !== OP_MSG && opcode !== OP_QUERY) throw new ProtocolError(`opcode ${opcode}, expected ${OP_MSG} or ${OP_QUERY}`);
  if (length <= HEADER_BYTES) throw new ProtocolError(`message of ${length} bytes, expected more than ${HEADER_BYTES}`);
  return length;
}

/**
 * The messages of a stream, each in one Buffer that is allocated when its length is known: every byte is copied
 * once, however many pieces it comes in. Of one that is too long only the header is kept (parse() says so), but
 * all of it is read first, since a client reads its answer only after it has sent everything.
 */
async function* messages(stream) {
  const header = Buffer.alloc(HEADER_BYTES);
  let target = header; // what is being filled, up to `filled`
  let filled = 0;
  let skip = 0; // bytes left of a message that is too long
  for await (const chunk of stream) {
    for (let at = 0; at < chunk.length;) {
      const skipped = Math.min(skip, chunk.length - at);
      const copied = skip ? 0 : chunk.copy(target, filled, at);
      at += skipped + copied;
      filled += copied;
      skip -= skipped;
      if (target === header && filled === HEADER_BYTES && !skipped) {
        const length = checkHeader(header);
        if (length <= MAX_MESSAGE_BYTES) {
          target = Buffer.allocUnsafeSlow(length);
          header.copy(target);
          continue;
        }
        skip = length - HEADER_BYTES;
      }
      if (filled === target.length && !skip) {
        yield target === header ? Buffer.from(header) : target;
        target = header;
        filled = 0;
      }
    }
  }
}

/** The end of the NUL-terminated string at `at`. */
function stringEnd(buffer, at) {
  const end = buffer.indexOf(0, at);
  if (end < 0) throw new ProtocolError('a name without an end');
  return end;
}

/** The document at `at`, inside of its message. */
function documentAt(message, at) {
  const length = at + 4 <= message.length ? message.readInt32LE(at) : 0;
  if (length < 5 || at + length > message.length) throw new ProtocolError(`a document of ${length} bytes does not fit its message`);
  return message.subarray(at, at + length);
}

/** The command's document; the sections of an OP_MSG may stand in any order. */
function bodyOf(message, opcode) {
  if (opcode === OP_QUERY) return documentAt(message, stringEnd(message, HEADER_BYTES + 4) + 9);
  for (let at = HEADER_BYTES + 4; at + 5 <= message.length;) {
    if (message[at] === 0) return documentAt(message, at + 1);
    const size = message.readInt32LE(at + 1);
    if (message[at] !== 1 || size < 4) throw new ProtocolError(`section of kind ${message[at]} and ${size} bytes`);
    at += 1 + size;
  }
  throw new ProtocolError('OP_MSG without a command');
}

/** A message as { message, id, legacy, moreToCome, command, body }, or with `error` if it was too long. */
function parse(message) {
  const id = message.readInt32LE(4);
  const legacy = message.readInt32LE(12) === OP_QUERY;
  if (message.length === HEADER_BYTES) {
    return { id, legacy, error: `message of ${message.readInt32LE(0)} bytes, at most ${MAX_MESSAGE_BYTES} are accepted` };
  }
  const body = bodyOf(message, legacy ? OP_QUERY : OP_MSG);
  const command = body.length > 5 ? body.toString('latin1', 5, stringEnd(body, 5)) : '';
  let moreToCome = false;
  if (!legacy) {
    const flags = message.readUInt32LE(HEADER_BYTES);
    moreToCome = (flags & MORE_TO_COME) !== 0;
    message.writeUInt32LE((flags & ~EXHAUST_ALLOWED) >>> 0, HEADER_BYTES); // the engine knows no exhaust
  }
  return { message, id, legacy, moreToCome, command, body };
}

let replies = 0;

/** The bytes that answer a request with a document. */
function reply(request, body) {
  const prefix = Buffer.alloc(HEADER_BYTES + (request.legacy ? 20 : 5));
  replies = (replies + 1) & 0x7fffffff;
  prefix.writeInt32LE(prefix.length + body.length, 0);
  prefix.writeInt32LE(replies, 4);
  prefix.writeInt32LE(request.id, 8);
  prefix.writeInt32LE(request.legacy ? OP_REPLY : OP_MSG, 12);
  if (request.legacy) prefix.writeInt32LE(1, 32); // one document; flags, cursor and start are 0
  return Buffer.concat([prefix, body]);
}

/** A BSON element: its type, its name, its value's bytes. */
const element = (type, name, value) => Buffer.concat([Buffer.from([type]), Buffer.from(`${name}\0`), value]);

function number(bytes, write, value) {
  const buffer = Buffer.alloc(bytes);
  buffer[write](value);
  return buffer;
}

const int32 = (value) => number(4, 'writeInt32LE', value);

function wrap(elements) {
  const content = Buffer.concat(elements);
  return Buffer.concat([int32(content.length + 5), content, Buffer.alloc(1)]);
}

/** A BSON document of strings (UTF-8) and doubles. */
function document(fields) {
  return wrap(Object.entries(fields).map(([name, value]) => {
    if (typeof value === 'number') return element(0x01, name, number(8, 'writeDoubleLE', value));
    const text = Buffer.from(`${value}\0`);
    return element(0x02, name, Buffer.concat([int32(text.length), text]));
  }));
}

const error = (code, codeName, errmsg) => document({ ok: 0, errmsg, code, codeName });

/** An OP_MSG with a command of ours. */
const message = (fields) => reply({ id: 0, legacy: false }, document(fields));

/** The document with one more element at its end. */
const append = (doc, extra) => wrap([doc.subarray(4, doc.length - 1), extra]);

/** 12 random bytes: an ObjectId, unique to this process. */
const objectId = () => crypto.randomBytes(12);

const topologyVersion = (processId) =>
  element(0x03, 'topologyVersion', wrap([element(0x07, 'processId', processId), element(0x12, 'counter', Buffer.alloc(8))]));

// The next three look a name up by its bytes. That is enough for hello, whose documents are small, flat and, where
// it matters, written by the engine; a client that hides such a name in a string fools only itself.

/** Where the value, of so many bytes, of an element of that type begins, or -1. */
function find(doc, type, name, bytes) {
  const key = element(type, name, Buffer.alloc(0));
  const at = doc.indexOf(key);
  return at < 0 || at + key.length + bytes > doc.length ? -1 : at + key.length;
}

/** The number of that name, of any numeric type, or 0. */
function findNumber(doc, name) {
  for (const [type, bytes, read] of [[0x10, 4, 'readInt32LE'], [0x12, 8, 'readBigInt64LE'], [0x01, 8, 'readDoubleLE']]) {
    const at = find(doc, type, name, bytes);
    if (at >= 0) return Number(doc[read](at));
  }
  return 0;
}

function setInt32(doc, name, value) {
  const at = find(doc, 0x10, name, 4);
  if (at >= 0) doc.writeInt32LE(value, at);
}

const isOk = (doc) => findNumber(doc, 'ok') === 1;

module.exports = {
  ProtocolError, append, document, error, findNumber, isOk, message, messages, objectId, parse, reply, setInt32, topologyVersion,
};
