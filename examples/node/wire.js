// The wire: batches and what a reader refuses, the checksum of chunks, headers. See docs/wire.md.
import { fileURLToPath } from 'node:url';
import protoLoader from '@grpc/proto-loader';
import CRC32C from 'crc-32/crc32c.js';

const PROTO = fileURLToPath(new URL('../../protos/streamcell/v1/cell.proto', import.meta.url));
// 64-bit numbers are strings here: a JavaScript number holds 53 bits, and an incarnation has 61.
const OPTIONS = { keepCase: true, longs: String, enums: String, defaults: true, oneofs: true };
const { Exchange } = protoLoader.loadSync(PROTO, OPTIONS)['streamcell.v1.CellService'];

export const KIB = 1024;
export const MIB = 1024 * KIB;
export const INITIAL_CREDIT = 256 * KIB;

// Keys are in the order of their code points, as are their bytes in UTF-8; JavaScript's own order is another.
const compareKeys = (key, other) => Buffer.compare(Buffer.from(key), Buffer.from(other));
const sizeOf = (value) => (typeof value === 'string' ? Buffer.byteLength(value) : value?.length ?? 0);
const isName = (text) => text.length <= 255 && /^[\w~-]+(\.[\w~-]+)*$/.test(text);
const isNameOrEmpty = (text) => text === '' || isName(text);
const isGiven = (value) => value !== null && value !== '';

// What a field must be, by its name, which means the same in every frame; and how large: bytes, or items of a list.
const RULES = {
  origin: isName, target: isName, fqcn: isName, asker: isName, responder: isName,
  reporter: isNameOrEmpty, subject: isNameOrEmpty, via: isNameOrEmpty,
  stream: isGiven, channel: isGiven, topic: isGiven,
  path: (names) => names.every(isName),
  capabilities: (names) => names.every((name) => sizeOf(name) <= 255),
  link_id: (bytes) => [0, 16].includes(bytes.length),
  idle_timeout_s: (seconds) => seconds >= 0 && seconds < Infinity,
  traceparent: (text) => /^[!-~]*$/.test(text),
  settled: (runs) => runs.every(({ first, last }) => BigInt(first) <= BigInt(last)),
  headers: (list) => list.every(({ key }, n) => n === 0 || compareKeys(list[n - 1].key, key) < 0) &&
    list.reduce((sum, { key, value }) => sum + 16 + sizeOf(key) + sizeOf(value?.text ?? value?.raw), 0) <= MIB,
};
const LIMITS = {
  frames: 4096, payload: 4 * MIB, channel: 255, topic: 255, resume_id: 255, digest: 255, prefix_digest: 255,
  source_stamp: 256, traceparent: 256, settled: 16, lanes_held: 64, lanes_replaced: 64, capabilities: 64,
};

function check(message) {
  for (const [field, value] of Object.entries(message)) {
    if (RULES[field]?.(value) === false || sizeOf(value) > LIMITS[field]) throw new Error(`refused: ${field}`);
    if (field === 'code' && typeof value === 'number') message.code = 'ERROR_CODE_INTERNAL'; // of a later version
    for (const part of [value].flat()) if (part?.constructor === Object) check(part);
  }
}

/** The frames of a batch, without those of unknown kinds; throws if it breaks a rule. */
export function decodeBatch(bytes) {
  const batch = Exchange.responseDeserialize(bytes);
  check(batch);
  return batch.frames.filter(({ kind }) => kind);
}

export const encodeBatch = (frames) => Exchange.requestSerialize({ frames });

/** The CRC32C of `bytes`, continued from `value`, that of the bytes before them. */
export const crc32c = (bytes, value = 0) => CRC32C.buf(bytes, value) >>> 0;

/** The checksum that a chunk must have: CRC32C over its payload and then its place, in little endian. */
export function chunkChecksum({ stream, sequence, offset, last, payload }) {
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
export const toHeaders = (object) => Object.keys(object).sort(compareKeys).map((key) => {
  const kind = Number.isSafeInteger(object[key]) ? 'integer' : KINDS[typeof object[key]];
  return { key, value: { [kind]: kind === 'integer' ? String(object[key]) : object[key] } };
});

/** An object from headers; integers beyond 53 bits become BigInts, and headers without a value are left out. */
export function fromHeaders(headers) {
  const fromInteger = (text) => (Number.isSafeInteger(Number(text)) ? Number(text) : BigInt(text));
  const read = ({ kind, ...value }) => (kind === 'integer' ? fromInteger(value.integer) : value[kind]);
  return Object.fromEntries(headers.filter(({ value }) => value?.kind).map(({ key, value }) => [key, read(value)]));
}
