// The two halves of a stream: a Sender at its origin, a Receiver at its target. See docs/wire.md, "Streams" to "Once".
// Methods on_KIND take what the other half says.

import { INITIAL_CREDIT, KIB, MIB, chunkChecksum, fromHeaders } from './wire.js';

const [CHUNK_BYTES, WINDOW_BYTES] = [64 * KIB, 1 * MIB];

/** A stream that goes out. `read(offset, most)` returns bytes of it, and none at its end. */
export class Sender {
  constructor(cell, place, open, read) {
    Object.assign(this, { cell, place, open, read, credit: cell.initialCredit, hasCredit: false });
    Object.assign(this, { offset: 0, sequence: 0, received: 0 });
    this.outcome = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
  }

  /** The next chunk, or null if none may go now. `room`: how many more bytes may be unconfirmed. */
  next(room) {
    const { place, sequence, offset, credit } = this;
    const isSpent = sequence > 0 && offset >= credit; // the first chunk may always go, if need be empty
    if (this.end !== undefined || isSpent || room <= 0) return null;
    // Once there was a Credit, a chunk may reach beyond the credit if it begins below it.
    const payload = this.read(offset, Math.min(CHUNK_BYTES, room, this.hasCredit ? Infinity : credit - offset));
    Object.assign(this, { sequence: sequence + 1, offset: offset + payload.length });
    const last = this.read(this.offset, 1).length === 0;
    if (last) this.end = this.offset;
    const chunk = { ...place, open: sequence === 0 ? this.open : undefined, sequence, offset, last, payload };
    return { ...chunk, checksum: chunkChecksum(chunk) };
  }

  on_credit({ offset }) {
    Object.assign(this, { credit: Math.max(this.credit, Number(offset)), hasCredit: true });
  }

  on_ack({ received, consumed, complete }) {
    this.received = Math.max(this.received, Number(received));
    if (complete && Number(consumed) === this.end) this.settle();
  }

  on_lost({ reason }) {
    this.giveUp('RESUME', `a chunk was lost (${reason}), and this cell does not send again`);
  }

  on_reset({ code, sentence }) {
    this.settle(new Error(`${code}: ${sentence}`));
  }

  giveUp(code, sentence) {
    this.cell.post('reset', { stream: this.place.stream, code: `ERROR_CODE_${code}`, fault: 'FAULT_ORIGIN', sentence });
    this.settle(new Error(sentence));
  }

  settle(error) {
    this.cell.senders.delete(this.place.stream.stream_id);
    return error ? this.reject(error) : this.resolve(this.end);
  }
}

/** A stream that comes in. It is remembered, for its last word, until its origin says that its id is settled. */
export class Receiver {
  constructor(cell, stream) {
    Object.assign(this, { cell, stream, received: 0, consumed: 0, credit: INITIAL_CREDIT, corrupt: 0 });
    Object.assign(this, { pieces: [], work: Promise.resolve() });
  }

  begin({ stream, open, channel, topic, offset }) {
    const isForAnother = open && !['0', this.cell.incarnation].includes(open.target_incarnation);
    if (isForAnother) return this.cell.post('lost', { stream, reason: 'LOST_REASON_OTHER_LIFE' });
    if (!open || offset !== '0') return this.cell.post('lost', { stream, reason: 'LOST_REASON_UNKNOWN_HERE' });
    this.callback = this.cell.callbacks.get(`${open.kind} ${channel}/${topic}`);
    if (!this.callback) this.giveUp('NO_CALLBACK', `${this.cell.fqcn} has no callback for ${channel}/${topic}`);
    Object.assign(this, { headers: fromHeaders(open.headers), size: open.size && Number(open.size) });
    this.isBlob = open.kind === 'STREAM_KIND_BLOB';
  }

  /** Goes over to an attempt if it is a higher one. Credit starts anew in it. */
  enter(stream, offset) {
    if (stream.attempt > this.stream.attempt) Object.assign(this, { stream, credit: offset + INITIAL_CREDIT });
  }

  on_chunk(chunk) {
    const { stream, open, last, payload } = chunk;
    const [offset, end] = [Number(chunk.offset), Number(chunk.offset) + payload.length];
    if (!this.callback) this.begin(chunk);
    if (!this.callback || stream.attempt < this.stream.attempt) return;
    this.enter(stream, offset);
    if (open?.awaits_offset) return this.on_resume_query({ stream });
    const isCorrupt = chunkChecksum(chunk) !== chunk.checksum;
    if (isCorrupt && ++this.corrupt < 3) return this.cell.post('lost', { stream, reason: 'LOST_REASON_CORRUPT' });
    if (isCorrupt) return this.giveUp('INTEGRITY', 'three chunks came with a wrong checksum');
    if (offset >= this.credit + 4 * MIB) return this.giveUp('PROTOCOL', 'the credit was ignored');
    if (end > this.size || (last && end < this.size)) return this.giveUp('INTEGRITY', 'the declared size is wrong');
    // On one lane a gap is what a corrupt chunk has left; the next attempt will fill it.
    if (offset > this.received || this.isWhole) return;
    const rest = payload.subarray(this.received - offset);
    Object.assign(this, { received: this.received + rest.length, isWhole: last });
    this.work = this.work.then(() => this.consume(rest, last)).catch(({ message }) => this.giveUp('REJECTED', message));
    this.speak();
  }

  on_resume_query({ stream, probe = false }) {
    if (stream.attempt < this.stream.attempt) return;
    if (!probe) this.enter(stream, this.received);
    this.cell.post('resume_reply', { stream, unknown: !this.callback, offset: this.received, probe });
    if (this.callback) this.speak();
  }

  /** May come before the first chunk, which must then not be delivered. */
  on_reset(reset) {
    this.pieces = [];
    this.lastWord ??= (stream) => this.cell.post('reset', { ...reset, stream, from_target: true });
  }

  /** Hands over a piece, or at its end a blob, and says so when it was taken: a slow callback slows the origin down. */
  async consume(piece, last) {
    if (this.lastWord) return;
    if (this.isBlob) this.pieces.push(piece);
    if (!this.isBlob || last) await this.callback(this.isBlob ? Buffer.concat(this.pieces) : piece, this, last);
    this.consumed += piece.length;
    if (last) this.finish('ack', { received: this.received, consumed: this.consumed, complete: true });
    else this.speak();
  }

  /** Says what has come and how far the origin may go, which is worth a frame when it is a quarter of the window. */
  speak() {
    const { stream, received, consumed } = this;
    if (this.lastWord) return;
    if (consumed + WINDOW_BYTES - this.credit >= WINDOW_BYTES / 4) {
      this.credit = consumed + WINDOW_BYTES;
      this.cell.post('credit', { stream, offset: this.credit });
    }
    this.cell.post('ack', { stream, received, consumed });
  }

  giveUp(code, sentence) {
    this.finish('reset', { from_target: true, code: `ERROR_CODE_${code}`, fault: 'FAULT_TARGET', sentence });
  }

  finish(kind, fields) {
    if (this.lastWord) return;
    this.pieces = [];
    this.lastWord = (stream) => this.cell.post(kind, { ...fields, stream });
    this.lastWord(this.stream);
  }
}
