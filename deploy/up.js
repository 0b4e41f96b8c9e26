'use strict';

// Two things of deploy/up that a shell is bad at. Run by node it is the traffic's two ends:
//
//   node up.js serve                 answers on TCP and UDP port 7000
//   node up.js download ADDRESS      fetches DOWNLOAD bytes over TCP
//   node up.js datagrams ADDRESS     sends DATAGRAMS over UDP, one after the other, and waits for each answer
//
// Run by mongosh it shows what was recorded, on the server that XDP_RECORDER_MONGO names, in the database UP_DATABASE.
// UP_COUNTERS are the interface's own rx packets and bytes, tx packets and bytes, before and after. With UP_FORGET it drops
// that database instead.

const PORT = 7000;
const DOWNLOAD = 8_000_000;
const DATAGRAMS = 1000;

// --- traffic ------------------------------------------------------------------------------------------------

function serve() {
  require('node:net').createServer((socket) => socket.end(Buffer.alloc(DOWNLOAD))).listen(PORT);
  const udp = require('node:dgram').createSocket('udp4');
  udp.on('message', (message, from) => udp.send(message, from.port, from.address));
  udp.bind(PORT);
}

function download(address) {
  let received = 0;
  const socket = require('node:net').connect(PORT, address);
  socket.on('error', () => setTimeout(download, 50, address)); // the server is not up yet
  socket.on('data', (data) => { received += data.length; });
  socket.on('end', () => process.exit(received === DOWNLOAD ? 0 : 1));
}

function datagrams(address) {
  let left = DATAGRAMS;
  const udp = require('node:dgram').createSocket('udp4');
  const next = () => (left-- > 0 ? udp.send(Buffer.alloc(64), PORT, address) : process.exit(0));
  udp.on('message', next);
  setTimeout(() => process.exit(1), 10_000);
  next();
}

// --- tables -------------------------------------------------------------------------------------------------

const grouped = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ',');

/** Columns as wide as their widest cell; numbers to the right. */
function table(head, rows) {
  const texts = [head, ...rows.map((row) => row.map((cell) => (typeof cell === 'number' ? grouped(cell) : String(cell ?? ''))))];
  const width = head.map((_, i) => Math.max(...texts.map((row) => row[i].length)));
  const right = head.map((_, i) => rows.every((row) => typeof row[i] === 'number'));
  for (const row of texts) {
    print('  ' + row.map((cell, i) => (right[i] ? cell.padStart(width[i]) : cell.padEnd(width[i]))).join('  ').trimEnd());
  }
}

function question(text, ...query) {
  print(`\n${text}\n`);
  for (const line of query) print(`  > ${line}`);
  print('');
}

// --- what was recorded --------------------------------------------------------------------------------------

const FLAGS = ['FIN', 'SYN', 'RST', 'PSH', 'ACK', 'URG'];
// A time-series collection gives the fields back in an order of its own.
const FIRST_FIELDS = ['ts', 'ns', 'meta', 'dir', 'local', 'lport', 'remote', 'rport', 'proto', 'len', 'flags', 'seq', 'ack', 'win'];
const PROTOCOLS = { 1: 'ICMP', 6: 'TCP', 17: 'UDP', 58: 'ICMPv6' };
const flagNames = (flags) => FLAGS.filter((_, bit) => flags & (1 << bit)).join(' ');
const time = (packet) => packet.ts.toISOString().slice(11, 23) + String(packet.ns).padStart(6, '0');

/** Names of a family's daily collections, oldest first. */
const days = (db, family) => db.getCollectionNames().filter((name) => name.startsWith(`${family}_`)).sort();
const fromAll = (names, ask) => names.flatMap((name) => ask(name).toArray());

function byProtocol(db) {
  const day = days(db, 'packets').filter((name) => db[name].findOne()).at(-1); // tomorrow's is there already
  question('What was there? Count by protocol, on the day\'s own collection:',
    `db.${day}.aggregate([{$group: {_id: "$proto", packets: {$sum: 1}, bytes: {$sum: "$len"}}}, {$sort: {packets: -1}}])`);
  const rows = db[day].aggregate([{ $group: { _id: '$proto', packets: { $sum: 1 }, bytes: { $sum: '$len' } } }, { $sort: { packets: -1 } }]).toArray();
  table(['protocol', 'packets', 'bytes'], rows.map((r) => [PROTOCOLS[r._id] ?? (r._id ? `protocol ${r._id}` : 'ARP'), r.packets, r.bytes]));
}

function handshake(db) {
  question('How did the download begin? Its first packets, through the view of all days:',
    'db.packets.find({lport: 7000, proto: 6}).sort({ts: 1, ns: 1}).limit(6)');
  const rows = db.packets.find({ lport: PORT, proto: 6 }).sort({ ts: 1, ns: 1 }).limit(6).toArray();
  table(['time (UTC)', 'local', '', 'remote', 'flags', 'length', 'segments'],
    rows.map((p) => [time(p), `${p.local}:${p.lport}`, p.dir === 'in' ? '<-' : '->', `${p.remote}:${p.rport}`, flagNames(p.flags), p.len, p.segs ?? 1]));
}

function wholePacket(db) {
  question('What is known of a packet? One of them, as it is stored:', 'db.packets.findOne({proto: 6, flags: 2})');
  const { _id, ...packet } = db.packets.findOne({ proto: 6, flags: 2 });
  const shown = (value) => (value instanceof Date ? value.toISOString() : typeof value === 'object' ? JSON.stringify(value) : value);
  const names = [...new Set([...FIRST_FIELDS, ...Object.keys(packet)])].filter((name) => name in packet);
  const words = names.map((name) => `${name}: ${shown(packet[name])}`);
  let line = '';
  for (const word of words) {
    if (line.length + word.length > 100) {
      print(`  ${line}`);
      line = '';
    }
    line += (line ? ', ' : '') + word;
  }
  print(`  ${line}`);
}

const sum = (counts, unit) => counts.reduce((total, count) => total + Number(count[unit]), 0);
const parts = (value) => ('packets' in value ? [value] : Object.values(value));
const TERMS = ['stored', 'summarised', 'filtered', 'blocked', 'lost'];

function perSecond(rows) {
  question('How busy was it? Packets in each second, from the balance that is kept beside them:',
    'db.balance_YYYYMMDD.find({}, {ts: 1, side: 1, seen: 1})');
  const seconds = new Map();
  for (const row of rows.filter((r) => !r.silent)) {
    const key = row.ts.toISOString().slice(11, 19);
    seconds.set(key, (seconds.get(key) ?? 0) + Number(row.seen.packets));
  }
  const most = Math.max(...seconds.values());
  for (const [second, packets] of [...seconds].sort()) {
    print(`  ${second} ${grouped(packets).padStart(8)}  ${'#'.repeat(Math.ceil((packets / most) * 60))}`);
  }
}

/** True when all closes. */
function closed(db, rows, counters) {
  print('\nDoes it add up? Everything that reached the interface, by what became of it, and what the interface itself counted:\n');
  const packets = fromAll(days(db, 'packets'), (name) => db[name].aggregate([
    { $group: { _id: { $ifNull: ['$side', { $cond: [{ $eq: ['$dir', 'in'] }, 'rx', 'tx'] }] }, packets: { $sum: 1 }, bytes: { $sum: '$len' } } }]));
  const lines = [];
  let good = true;
  for (const side of ['rx', 'tx']) {
    const mine = rows.filter((row) => row.side === side);
    for (const unit of ['packets', 'bytes']) {
      const seen = sum(mine.map((row) => row.seen), unit);
      const terms = TERMS.map((term) => sum(mine.flatMap((row) => parts(row[term])), unit));
      const documents = sum(packets.filter((p) => p._id === side), unit);
      const at = (side === 'rx' ? 0 : 2) + (unit === 'packets' ? 0 : 1);
      const counted = counters[4 + at] - counters[at];
      const right = seen === terms.reduce((a, b) => a + b, 0) && terms[0] === documents && counted === seen;
      good &&= right;
      lines.push([side === 'rx' ? 'came in' : 'went out', unit, seen, '=', ...terms, documents, counted, right ? 'closes' : 'DOES NOT CLOSE']);
    }
  }
  table(['', '', 'seen', '', ...TERMS, 'documents', 'interface', ''], lines);
  const open = rows.filter((row) => ['packets', 'bytes'].some((unit) =>
    Number(row.seen[unit]) !== TERMS.reduce((total, term) => total + sum(parts(row[term]), unit), 0)));
  const seconds = rows.reduce((total, row) => total + Number(row.secs), 0);
  print(`\n  ${open.length ? `${open.length} of ` : 'Each of '}${seconds} seconds (both ways) ${open.length ? 'do not close.' : 'closes by itself too.'}`);
  return good && !open.length;
}

function look() {
  const db = connect(process.env.XDP_RECORDER_MONGO).getSiblingDB(process.env.UP_DATABASE);
  print('\nWhat the database holds, asked in its own shell:');
  if (process.env.UP_FORGET) return db.dropDatabase().ok;
  const rows = fromAll(days(db, 'balance'), (name) => db[name].find());
  byProtocol(db);
  handshake(db);
  wholePacket(db);
  perSecond(rows);
  return closed(db, rows, process.env.UP_COUNTERS.split(' ').map(Number));
}

if (typeof connect === 'function') quit(look() ? 0 : 1);
else ({ serve, download, datagrams })[process.argv[2]](process.argv[3]);
