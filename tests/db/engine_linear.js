'use strict';

// A message that comes in many pieces is copied once, not once for each piece: the bytes of all buffers that are made while it is read
// are counted, so nothing here depends on time. The control reads by concatenation, and is found.
//
// usage: node engine_linear.js WIRE.JS

const { messages } = require(require('node:path').resolve(process.argv[2]));

const PIECE = 4096;
const BYTES = 8 << 20;
const makers = ['alloc', 'allocUnsafe', 'allocUnsafeSlow', 'concat'];

async function* pieces(message) {
  for (let at = 0; at < message.length; at += PIECE) yield message.subarray(at, at + PIECE);
}

async function* concatenated(stream) {
  let all = Buffer.alloc(0);
  for await (const chunk of stream) all = Buffer.concat([all, chunk]);
  yield all;
}

/** Bytes of the buffers that `reader` makes for one message, as a multiple of its length. */
async function made(reader) {
  const message = Buffer.alloc(BYTES, 0x5a);
  [BYTES, 7, 0, 2013].forEach((value, i) => message.writeInt32LE(value, 4 * i));
  let bytes = 0;
  const kept = makers.map((name) => Buffer[name]);
  makers.forEach((name, i) => {
    Buffer[name] = (...words) => {
      const buffer = kept[i].apply(Buffer, words);
      bytes += buffer.length;
      return buffer;
    };
  });
  let whole = false;
  try {
    for await (const read of reader(pieces(message))) whole = read.equals(message);
  } finally {
    makers.forEach((name, i) => { Buffer[name] = kept[i]; });
  }
  if (!whole) throw new Error('the message was not read as it is');
  return bytes / BYTES;
}

(async () => {
  const ours = await made(messages);
  const control = await made(concatenated);
  if (!(ours < 1.5)) throw new Error(`a message in pieces was copied ${ours} times`);
  if (!(control > 100)) throw new Error(`concatenation was counted as ${control} times only`);
})().catch((error) => {
  console.error(error.message);
  process.exitCode = 1;
});
