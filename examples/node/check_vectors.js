// Checks wire.js against golden vectors, and prints which do not hold: node check_vectors.js [FOLDER]
import assert from 'node:assert/strict';
import crypto from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chunkChecksum, crc32c, decodeBatch, encodeBatch } from './wire.js';

const FOLDER = process.argv[2] ?? fileURLToPath(new URL('../../protos/vectors', import.meta.url));
const load = (name) => JSON.parse(fs.readFileSync(path.join(FOLDER, `${name}.json`), 'utf8'));
const bytesOf = (parts) => Buffer.concat(parts.flatMap(({ hex, times }) => Array(times).fill(Buffer.from(hex, 'hex'))));
const isIntact = ({ chunk }) => !chunk || chunkChecksum(chunk) === chunk.checksum;

function checkRead({ hex, frames, canonical }) {
  const read = decodeBatch(Buffer.from(hex, 'hex'));
  assert.deepEqual(read, decodeBatch(encodeBatch(frames)));
  if (canonical) assert.equal(encodeBatch(frames).toString('hex'), hex);
  return read;
}

function checkRefused({ field, parts }) {
  const refusal = field === '' ? /./ : new RegExp(`^refused: ${field}$`);
  assert.throws(() => decodeBatch(bytesOf(parts)), { message: refusal });
}

function checkChecksum({ chunk, covered, checksum }) {
  assert.equal(crc32c(Buffer.from(covered, 'hex')), checksum);
  if (!chunk) return;
  const { stream_id, attempt, payload, ...place } = chunk;
  const whole = { stream: { stream_id, attempt }, ...place, payload: Buffer.from(payload, 'hex') };
  assert.equal(chunkChecksum(whole), checksum);
}

// HKDF-Expand (RFC 5869, section 2.3) to 32 bytes: one block.
const expand = (key, info) => hmac(key, Buffer.concat([info, Buffer.from([1])]));
const hmac = (key, data) => crypto.createHmac('sha256', key).update(data).digest();

function checkSealing({ secret, expanded, bytes, ...vector }) {
  if (!secret) return;
  const unhex = (hex) => Buffer.from(hex, 'hex');
  const key = expanded.map(unhex).reduce(expand, unhex(secret));
  if (vector.code) assert.equal(hmac(key, unhex(bytes)).subarray(0, 16).toString('hex'), vector.code);
  if (vector.hidden) assert.equal(`hmac-sha256:${hmac(key, unhex(bytes)).toString('hex')}`, vector.hidden);
  if (!vector.tag) return;
  const cipher = crypto.createDecipheriv('aes-256-gcm', key, unhex(vector.nonce));
  cipher.setAAD(unhex(bytes)).setAuthTag(unhex(vector.tag));
  assert.equal(Buffer.concat([cipher.update(unhex(vector.sealed)), cipher.final()]).toString('hex'), vector.payload);
}

const CHECKS = {
  frames: (vector) => assert(checkRead(vector).every(isIntact)),
  edge_cases: (vector) => assert(checkRead(vector).every(isIntact)),
  corrupt: (vector) => assert(!checkRead(vector).some(isIntact)),
  refused: checkRefused,
  checksums: checkChecksum,
  sealing: checkSealing,
};

for (const [name, check] of Object.entries(CHECKS)) {
  const vectors = load(name);
  for (const vector of vectors) {
    try {
      check(vector);
    } catch (error) {
      console.error(`${name}.json, ${vector.name}: ${error.message}`);
      process.exitCode = 1;
    }
  }
  console.log(`${name}.json: ${vectors.length} checked`);
}
