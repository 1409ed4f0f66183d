// The wire: batches and what a reader refuses, the checksum of chunks, headers. See docs/wire.md.
'use strict';

const path = require('node:path');
const protoLoader = require('@grpc/proto-loader');

const PROTO = path.join(__dirname, '../../protos/streamcell/v1/cell.proto');
// 64-bit numbers are strings here: a JavaScript number holds 53 bits, and an incarnation has 61.
const OPTIONS = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
const { Exchange } = protoLoader.loadSync(PROTO, OPTIONS)['streamcell.v1.CellService'];

const KIB = 1024;
const MIB = 1024 * KIB;
const MESSAGE_BYTES = 6 * MIB;
const INITIAL_CREDIT = 256 * KIB;
const HOPS = { hops_left: 16 };

const isName = (text) => text.length <= 255 && /^[\w~-]+(\.[\w~-]+)*$/.test(text);
const isNameOrEmpty = (text) => text === '' || isName(text);
const isShort = (text) => Buffer.byteLength(text) <= 255;
const isLabel = (text) => text !== '' && isShort(text);
// Keys are in the order of their code points, as are their bytes in UTF-8; JavaScript's own order is another.
const compareKeys = (key, other) => Buffer.compare(Buffer.from(key), Buffer.from(other));
const headerBytes = ({ key, value }) =>
  16 + Buffer.byteLength(key) + Buffer.byteLength(value?.text ?? value?.raw ?? '');

// What a field must be, by its name, which means the same in every frame.
const RULES = {
  stream: (ref) => ref !== null,
  origin: isName, target: isName, fqcn: isName, asker: isName, responder: isName,
  reporter: isNameOrEmpty, subject: isNameOrEmpty, via: isNameOrEmpty,
  path: (names) => names.every(isName),
  channel: isLabel, topic: isLabel, resume_id: isShort, digest: isShort, prefix_digest: isShort,
  source_stamp: (bytes) => bytes.length <= 256,
  payload: (bytes) => bytes.length <= 4 * MIB,
  link_id: (bytes) => bytes.length === 0 || bytes.length === 16,
  lanes_held: (numbers) => numbers.length <= 64,
  capabilities: (names) => names.length <= 64 && names.every(isShort),
  idle_timeout_s: (seconds) => seconds >= 0 && seconds < Infinity,
  settled: (runs) => runs.length <= 16 && runs.every(({ first, last }) => BigInt(first) <= BigInt(last)),
  headers: (list) => list.every(({ key }, n) => n === 0 || compareKeys(list[n - 1].key, key) < 0) &&
    list.reduce((sum, header) => sum + headerBytes(header), 0) <= MIB,
};

function check(message) {
  for (const [field, value] of Object.entries(message)) {
    if (RULES[field] && !RULES[field](value)) throw new Error(`refused: ${field}`);
    if (field === 'code' && typeof value === 'number') message.code = 'ERROR_CODE_INTERNAL'; // of a later version
    for (const part of [value].flat()) {
      if (part !== null && typeof part === 'object' && !Buffer.isBuffer(part)) check(part);
    }
  }
}

/** The frames of a batch, without those of unknown kinds; throws if it breaks a rule. */
function decodeBatch(bytes) {
  const { frames } = Exchange.responseDeserialize(bytes);
  if (bytes.length > MESSAGE_BYTES || frames.length > 4096) throw new Error('refused: frames');
  frames.forEach(check);
  return frames.filter((frame) => frame.kind);
}

const encodeBatch = (frames) => Exchange.requestSerialize({ frames });

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0x82f63b78 : value >>> 1;
  return value;
});

/** The CRC32C of `bytes`, continued from `value`, that of the bytes before them. */
function crc32c(bytes, value = 0) {
  value = ~value;
  for (let n = 0; n < bytes.length; n++) value = TABLE[(value ^ bytes[n]) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}

/** The checksum that a chunk must have: over its payload and then its place, in little endian. */
function chunkChecksum({ stream, sequence, offset, last, payload }) {
  const place = Buffer.alloc(29);
  place.writeBigUInt64LE(BigInt(stream.stream_id), 0);
  place.writeUInt32LE(stream.attempt, 8);
  place.writeBigUInt64LE(BigInt(sequence), 12);
  place.writeBigUInt64LE(BigInt(offset), 20);
  place.writeUInt8(last ? 1 : 0, 28);
  return crc32c(place, crc32c(payload));
}

const KINDS = { string: 'text', bigint: 'integer', number: 'real', boolean: 'flag', object: 'raw' };

/** Headers from an object; whole numbers become integers. */
const toHeaders = (object) => Object.keys(object).sort(compareKeys).map((key) => {
  const kind = Number.isSafeInteger(object[key]) ? 'integer' : KINDS[typeof object[key]];
  return { key, value: { [kind]: kind === 'integer' ? String(object[key]) : object[key] } };
});

/** An object from headers; integers beyond 53 bits become BigInts, and headers without a value are left out. */
const fromHeaders = (headers) => Object.fromEntries(headers.filter(({ value }) => value?.kind).map(({ key, value }) => {
  const { kind, integer } = value;
  return [key, kind !== 'integer' ? value[kind] : Number.isSafeInteger(+integer) ? +integer : BigInt(integer)];
}));

module.exports = {
  HOPS, INITIAL_CREDIT, KIB, MESSAGE_BYTES,
  chunkChecksum, crc32c, decodeBatch, encodeBatch, fromHeaders, toHeaders,
};
