// The two halves of a stream: a Sender at its origin, a Receiver at its target. See docs/wire.md, "Streams" to "Once".
// Methods on_KIND take what the other half says.

import { INITIAL_CREDIT, KIB, MIB, chunkChecksum, fromHeaders } from './wire.js';

const [CHUNK_BYTES, WINDOW_BYTES, GAP_CHUNKS] = [64 * KIB, 1 * MIB, 1024];

/** A stream that goes out. `read(offset, most)` returns bytes of it, and none at its end. */
export class Sender {
  constructor(cell, place, open, read) {
    Object.assign(this, { cell, place, open, read, losses: 0, granted: 0, life: open.target_incarnation });
    this.isWhole = open.kind !== 'STREAM_KIND_STREAM'; // when it is delivered
    this.outcome = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
  }

  /** What must not arrive twice begins with the question which life of its target gets it, unless that is known. */
  start() {
    if (this.isWhole && !this.life) this.ask();
    else this.begin(0);
  }

  /** Goes on at `offset`, with no more credit than this life of the target has given before. */
  begin(offset) {
    const initial = offset + this.cell.initialCredit;
    const credit = Math.max(this.granted, Math.min(initial, Math.max(this.ceiling ?? initial, offset)));
    Object.assign(this, { isAsking: false, offset, sequence: 0, end: undefined, credit, ceiling: credit });
  }

  /** The next chunk, or null if none may go now. `room`: how many more bytes may go on the lane. */
  next(room) {
    const { place, sequence, offset, credit } = this;
    const isSpent = sequence > 0 && offset >= credit; // the first chunk may always go, if need be empty
    if (this.isAsking || this.end !== undefined || isSpent || room <= 0) return null;
    // Once there was a Credit, a chunk may reach beyond the credit if it begins below it.
    const payload = this.read(offset, Math.min(CHUNK_BYTES, room, this.granted ? Infinity : credit - offset));
    Object.assign(this, { sequence: sequence + 1, offset: offset + payload.length });
    const last = this.read(this.offset, 1).length === 0;
    if (last) Object.assign(this, { end: this.offset, total: this.offset, mayBeThere: true });
    const open = sequence === 0 ? { ...this.open, settled_below: this.cell.lowestUnsettled() } : undefined;
    const chunk = { ...place, open, sequence, offset, last, payload };
    return { ...chunk, checksum: chunkChecksum(chunk) };
  }

  on_credit({ stream, offset }) {
    if (stream.attempt !== this.place.stream.attempt) return;
    this.granted = Math.max(this.granted, Number(offset));
    if (!this.isAsking) this.credit = this.ceiling = Math.max(this.credit, this.granted);
  }

  on_ack({ stream, target_incarnation, consumed, complete }) {
    if (complete && Number(consumed) === this.total) return this.settle();
    if (complete || stream.attempt !== this.place.stream.attempt) return;
    Object.assign(this, { isKnown: true, losses: 0, life: this.life ?? target_incarnation });
    if (target_incarnation !== this.life) this.on_lost({ stream });
  }

  on_lost({ stream, reason, reporter }) {
    if (this.isLost || stream.attempt !== this.place.stream.attempt) return;
    const { target } = stream;
    if (reason === 'LOST_REASON_NO_ROUTE') return this.giveUp('UNREACHABLE', `${reporter} knows no way to ${target}`);
    if (reason === 'LOST_REASON_OTHER_LIFE') this.mayBeThere = this.mightBeThere;
    clearTimeout(this.timer);
    const waitMs = this.losses === 0 ? 0 : Math.min(5000, 100 * 2 ** this.losses) * (0.5 + Math.random() / 2);
    Object.assign(this, { isLost: true, isAsking: true, losses: this.losses + 1 });
    this.timer = setTimeout(() => this.ask(), waitMs);
  }

  /** Begins a new attempt with the question where to go on, which is asked again every 5 s. */
  ask() {
    const { stream } = this.place;
    this.place.stream = { ...stream, attempt: stream.attempt + 1 };
    Object.assign(this, { isLost: false, isAsking: true, granted: 0, mightBeThere: this.mayBeThere });
    const question = () => this.cell.post('resume_query', { stream: this.place.stream });
    this.timer = setInterval(question, 5000);
    question();
  }

  on_resume_reply({ stream, target_incarnation: life, unknown, offset }) {
    if (!this.isAsking || this.isLost || stream.attempt !== this.place.stream.attempt) return;
    if (unknown && this.isWhole && this.mayBeThere && (this.isKnown || life !== this.life)) {
      return this.giveUp('OUTCOME_UNKNOWN', `${stream.target} was restarted, and may have had all of it before`);
    }
    if (unknown && !this.isWhole && this.isKnown) {
      return this.giveUp('RESUME', `${stream.target} was restarted in the middle of the stream`);
    }
    clearTimeout(this.timer);
    if (unknown) Object.assign(this, { isKnown: false, mayBeThere: false, ceiling: undefined });
    this.life = this.open.target_incarnation = life;
    this.begin(Number(offset));
  }

  on_reset({ code, sentence }) {
    this.settle(new Error(`${code}: ${sentence}`));
  }

  giveUp(code, sentence) {
    this.cell.post('reset', { stream: this.place.stream, code: `ERROR_CODE_${code}`, fault: 'FAULT_ORIGIN', sentence });
    this.settle(new Error(sentence));
  }

  settle(error) {
    clearTimeout(this.timer);
    this.cell.senders.delete(this.place.stream.stream_id);
    return error ? this.reject(error) : this.resolve(this.total);
  }
}

/** A stream that comes in. It is remembered, for its last word, until its origin says that its id is settled. */
export class Receiver {
  constructor(cell, stream) {
    Object.assign(this, { cell, stream, received: 0, consumed: 0, limit: INITIAL_CREDIT, corrupt: 0 });
    Object.assign(this, { pieces: [], beyondGap: new Map(), work: Promise.resolve() });
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

  /** Goes over to an attempt if it is a higher one, in which a Credit is to be said anew. */
  enter(stream) {
    if (stream.attempt <= this.stream.attempt) return;
    Object.assign(this, { stream, hasCredited: false });
    this.beyondGap.clear();
  }

  on_chunk(chunk) {
    const { stream, open, last, payload } = chunk;
    const [offset, end] = [Number(chunk.offset), Number(chunk.offset) + payload.length];
    if (stream.attempt < this.stream.attempt) return;
    if (!this.callback) this.begin(chunk);
    if (!this.callback) return;
    this.enter(stream);
    if (open?.awaits_offset) return this.on_resume_query({ stream });
    const isCorrupt = chunkChecksum(chunk) !== chunk.checksum;
    if (isCorrupt && ++this.corrupt < 3) return this.cell.post('lost', { stream, reason: 'LOST_REASON_CORRUPT' });
    if (isCorrupt) return this.giveUp('INTEGRITY', 'three chunks came with a wrong checksum');
    if (offset >= this.limit + 4 * MIB) return this.giveUp('PROTOCOL', 'the credit was ignored');
    if (end > this.size || (last && end < this.size)) return this.giveUp('INTEGRITY', 'the declared size is wrong');
    if (offset <= this.received) return this.take(offset, payload, last);
    // It has come by another way than the ones before it, which follow; or one of those was corrupt.
    if (this.beyondGap.size < GAP_CHUNKS) return this.beyondGap.set(offset, chunk);
    this.cell.post('lost', { stream, reason: 'LOST_REASON_LANE_LOST' });
  }

  /** Takes what is new in a chunk that leaves no gap, and then the chunks that waited for it. */
  take(offset, payload, last) {
    const rest = payload.subarray(this.received - offset);
    if (rest.length > 0 || (last && !this.isWhole)) {
      Object.assign(this, { received: this.received + rest.length, isWhole: last });
      const refuse = ({ message }) => this.giveUp('REJECTED', message);
      this.work = this.work.then(() => this.consume(rest, last)).catch(refuse);
    }
    const next = this.beyondGap.get(this.received);
    if (!next) return this.speak();
    this.beyondGap.delete(this.received);
    this.take(this.received, next.payload, next.last);
  }

  on_resume_query({ stream, probe = false }) {
    if (stream.attempt < this.stream.attempt) return;
    if (!probe) this.enter(stream);
    this.isAsked = !probe; // so that what an earlier attempt has left on the way is known for that
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

  // Says what has come and how far the origin may go: when that is a quarter of the window more, and once in each
  // attempt, since the origin may have begun it with less credit than this side can know.
  speak() {
    const { stream, received, consumed } = this;
    if (this.lastWord) return;
    const limit = consumed + WINDOW_BYTES;
    if (!this.isWhole && (limit - this.limit >= WINDOW_BYTES / 4 || !this.hasCredited)) {
      Object.assign(this, { limit: Math.max(limit, this.limit), hasCredited: true });
      this.cell.post('credit', { stream, offset: this.limit });
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
