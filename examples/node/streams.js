// The two halves of a stream: a Sender at its origin, a Receiver at its target. See docs/wire.md, "Streams" to "Once".
'use strict';

const { HOPS, INITIAL_CREDIT, KIB, chunkChecksum, fromHeaders } = require('./wire');

const CHUNK_BYTES = 64 * KIB;
const WINDOW_BYTES = 1024 * KIB;
const OVERSHOOT_BYTES = 4096 * KIB;

/** A stream that goes out. `read(offset, most)` returns bytes of it, and none at its end. */
class Sender {
  constructor(cell, stream, place, open, read) {
    Object.assign(this, { cell, stream, place, open, read, credit: cell.initialCredit });
    Object.assign(this, { offset: 0, sequence: 0, received: 0 });
    this.isBulk = open.size === undefined || open.size > 64 * KIB;
    this.outcome = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
  }

  /** The next chunk, or null if none may go now. `room`: how many more bytes of bulk may be unconfirmed. */
  next(room) {
    const isSpent = this.sequence > 0 && this.offset >= this.credit; // the first chunk may always go, if need be empty
    if (this.end !== undefined || isSpent || (this.isBulk && room <= 0)) return null;
    // Once there was a Credit, a chunk may reach beyond the credit if it begins below it.
    let most = this.isBulk ? Math.min(CHUNK_BYTES, room) : CHUNK_BYTES;
    if (!this.hasCredit) most = Math.min(most, this.credit - this.offset);
    const { stream, sequence, offset } = this;
    const payload = this.read(offset, most);
    const last = this.read(offset + payload.length, 1).length === 0;
    const chunk = { stream, ...this.place, sequence, offset, last, payload, ...HOPS };
    if (sequence === 0) chunk.open = this.open;
    Object.assign(this, { sequence: sequence + 1, offset: offset + payload.length });
    if (last) this.end = this.offset;
    return { ...chunk, checksum: chunkChecksum(chunk) };
  }

  giveUp(code, sentence) {
    const reset = { stream: this.stream, code: `ERROR_CODE_${code}`, fault: 'FAULT_ORIGIN', sentence, ...HOPS };
    this.cell.post({ reset });
    this.cell.settle(this, new Error(sentence));
  }
}

/** A stream that comes in. It is remembered, for its last word, until its origin says that its id is settled. */
class Receiver {
  constructor(cell, { stream, open }, callback) {
    Object.assign(this, { cell, stream, callback, headers: fromHeaders(open.headers), pieces: [] });
    Object.assign(this, { isBlob: open.kind === 'STREAM_KIND_BLOB', size: open.size && Number(open.size) });
    Object.assign(this, { received: 0, consumed: 0, credit: INITIAL_CREDIT, corrupt: 0, work: Promise.resolve() });
  }

  /** Goes over to a higher attempt, in which credit starts anew. */
  enter(stream, offset) {
    Object.assign(this, { stream, credit: offset + INITIAL_CREDIT });
  }

  take(chunk) {
    const [offset, end] = [Number(chunk.offset), Number(chunk.offset) + chunk.payload.length];
    if (chunk.stream.attempt < this.stream.attempt) return;
    if (chunk.stream.attempt > this.stream.attempt) this.enter(chunk.stream, offset);
    if (chunkChecksum(chunk) !== chunk.checksum) return this.refuse();
    if (offset >= this.credit + OVERSHOOT_BYTES) return this.giveUp('PROTOCOL', 'the credit was ignored');
    const isWrongSize = end > this.size || (chunk.last && end < this.size);
    if (isWrongSize) return this.giveUp('INTEGRITY', 'the declared size is wrong');
    // On one lane a gap is what a corrupt chunk has left; the next attempt will fill it.
    if (offset > this.received || this.isWhole) return;
    const fresh = chunk.payload.subarray(this.received - offset);
    Object.assign(this, { received: this.received + fresh.length, isWhole: chunk.last });
    this.work = this.work.then(() => this.consume(fresh, chunk.last));
    this.work = this.work.catch((error) => this.giveUp('REJECTED', error.message));
    this.speak();
  }

  refuse() {
    this.corrupt += 1;
    if (this.corrupt < 3) this.cell.postLost(this.stream, 'LOST_REASON_CORRUPT');
    else this.giveUp('INTEGRITY', 'three chunks came with a wrong checksum');
  }

  /** Hands over a piece, or at its end a blob, and says so when it was taken: a slow callback slows the origin down. */
  async consume(piece, last) {
    if (this.lastWord) return;
    if (this.isBlob) this.pieces.push(piece);
    else await this.callback(piece, this, last);
    if (this.isBlob && last) await this.callback(Buffer.concat(this.pieces), this);
    this.consumed += piece.length;
    if (last) this.finish((stream) => this.ack(stream, true));
    else this.speak();
  }

  ack(stream, complete) {
    const { received, consumed, cell } = this;
    return { ack: { stream, target_incarnation: cell.incarnation, received, consumed, complete, ...HOPS } };
  }

  /** Says what has come and how far the origin may go, which is worth a frame when it is a quarter of the window. */
  speak() {
    if (this.lastWord) return;
    if (this.consumed + WINDOW_BYTES - this.credit >= WINDOW_BYTES / 4) {
      this.credit = this.consumed + WINDOW_BYTES;
      this.cell.post({ credit: { stream: this.stream, offset: this.credit } });
    }
    this.cell.post(this.ack(this.stream, false));
  }

  giveUp(code, sentence) {
    const reset = { from_target: true, code: `ERROR_CODE_${code}`, fault: 'FAULT_TARGET', sentence, ...HOPS };
    this.finish((stream) => ({ reset: { stream, ...reset } }));
  }

  finish(lastWord) {
    if (this.lastWord) return;
    Object.assign(this, { lastWord, pieces: [] });
    this.cell.post(lastWord(this.stream));
  }
}

module.exports = { Receiver, Sender };
