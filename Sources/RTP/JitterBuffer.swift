// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Brings a received stream into order and hands out its frames.
///
/// Packets in order pass straight to the depacketizer without being kept. Packets behind a gap wait for the
/// missing ones (reordered or sent again), for a bounded time, in a table bounded by packets and bytes; then the
/// gap is given up and the depacketizer drops the frames that it tears. Sequence numbers are extended to 64
/// bits, so that nothing here wraps. Frames are handed out as soon as they are whole: pacing is the player's.
public struct JitterBuffer: Sendable {
  /// What the payloads are.
  public enum Payload: Hashable, Sendable {
    /// RFC 6184.
    case h264
    /// RFC 7587: each packet is a frame.
    case opus
  }

  /// The bounds of a jitter buffer.
  public struct Configuration: Hashable, Sendable {
    /// How long a gap is waited for at most. Longer than a retransmission takes on most ways.
    public var gapWaitMax = TimeDelta.milliseconds(500)
    /// How long a gap is waited for while the round-trip time is unknown.
    public var gapWaitInitial = TimeDelta.milliseconds(200)
    /// How long a gap is waited for at least, for packets that merely overtake each other.
    public var gapWaitMin = TimeDelta.milliseconds(50)
    /// Sequence numbers that the waiting packets may span, a power of two: over a second of 10 Mbit/s video.
    public var packetCountMax = 1024
    /// Payload bytes that may wait.
    public var byteCountMax = 2_000_000

    /// The default bounds.
    public init() {}
  }

  /// Why packets were dropped.
  public enum DropCause: Int, CaseIterable, Sendable {
    /// It waits already.
    case duplicate
    /// Its place was delivered or given up.
    case late
    /// Its payload contradicts itself.
    case malformedPayload
  }

  private struct Slot: Sendable {
    var sequence: Int64
    var timestamp: UInt32
    var marker: Bool
    var payload: [UInt8]
    var arrivedAt: Instant
  }

  private enum Depacketizer: Sendable {
    case h264(H264Depacketizer)
    case opus(OpusDepacketizer)
  }

  /// The bounds.
  public let configuration: Configuration
  /// What was dropped, by cause.
  public private(set) var drops = DropCounters<DropCause>()
  /// Packets that never came in time.
  public private(set) var lostPacketCount: UInt64 = 0
  /// How long a gap is waited for now.
  public private(set) var gapWait: TimeDelta

  private var depacketizer: Depacketizer
  /// A ring by sequence number, allocated when a packet has to wait for the first time.
  private var slots: [Slot?] = []
  private var waitingCount = 0
  private var waitingByteCount = 0
  /// The sequence number to be delivered next, `nil` before the first packet.
  private var next: Int64?
  /// Since when the gap at `next` is waited for.
  private var gapSince: Instant?

  /// Frames that may wait to be picked up; the oldest is dropped beyond it.
  private static let readyCountMax = 512
  private var ready = BoundedQueue<MediaFrame>(capacity: readyCountMax)

  /// Makes an empty buffer.
  public init(payload: Payload, configuration: Configuration = Configuration()) {
    let count = configuration.packetCountMax
    precondition(count > 0 && count & (count - 1) == 0, "a power of two")
    self.configuration = configuration
    gapWait = min(configuration.gapWaitInitial, configuration.gapWaitMax)
    switch payload {
    case .h264: depacketizer = .h264(H264Depacketizer())
    case .opus: depacketizer = .opus(OpusDepacketizer())
    }
  }

  /// Whether frames are withheld until a key frame comes: the peer should be asked for one.
  public var needsKeyFrame: Bool {
    if case .h264(let depacketizer) = depacketizer { depacketizer.needsKeyFrame } else { false }
  }

  /// What the H.264 depacketizer dropped, by cause; nothing for audio.
  public var frameDrops: DropCounters<H264Depacketizer.DropCause> {
    if case .h264(let depacketizer) = depacketizer { depacketizer.drops } else { DropCounters() }
  }

  /// When a gap is given up; `nil` where nothing waits.
  public var nextDeadline: Instant? { gapSince.map { $0 + gapWait } }

  /// Adapts the wait to the connection: enough for two retransmissions to be asked for and to arrive.
  public mutating func setRoundTripTime(_ time: TimeDelta) {
    let wait = time * 3 + .milliseconds(30)
    gapWait = min(max(wait, configuration.gapWaitMin), configuration.gapWaitMax)
  }

  /// Takes a packet. An empty payload (padding) only takes its place in the sequence.
  ///
  /// - Parameters:
  ///   - sequence: the extended sequence number.
  ///   - timestamp: as on the wire.
  ///   - marker: as on the wire.
  ///   - payload: without header and padding.
  public mutating func insert(
    sequence: Int64, timestamp: UInt32, marker: Bool, payload: RawSpan, at now: Instant
  ) {
    let expected = next ?? sequence
    if sequence == expected {
      deliver(payload, sequence: sequence, timestamp: timestamp, marker: marker, at: now)
      next = sequence + 1
      deliverWaiting()
    } else if sequence < expected {
      drops[.late] += 1
    } else {
      store(
        Slot(
          sequence: sequence, timestamp: timestamp, marker: marker, payload: [UInt8](copying: payload),
          arrivedAt: now))
    }
  }

  /// Gives gaps up that were waited for long enough.
  public mutating func handleTimeout(at now: Instant) {
    while let deadline = nextDeadline, deadline <= now { skipGap() }
  }

  /// The next frame in order.
  public mutating func pollFrame() -> MediaFrame? { ready.popFirst() }

  private func index(of sequence: Int64) -> Int {
    Int(truncatingIfNeeded: sequence) & (configuration.packetCountMax - 1)
  }

  private mutating func store(_ slot: Slot) {
    let capacity = Int64(configuration.packetCountMax)
    if slots.isEmpty { slots = Array(repeating: nil, count: configuration.packetCountMax) }
    while let expected = next, slot.sequence - expected >= capacity {
      if waitingCount == 0 { advance(to: slot.sequence - capacity + 1) } else { skipGap() }
    }
    if slots[index(of: slot.sequence)] != nil {
      drops[.duplicate] += 1
      return
    }
    if slot.sequence < next ?? 0 {
      drops[.late] += 1
      return
    }
    slots[index(of: slot.sequence)] = slot
    waitingCount += 1
    waitingByteCount += slot.payload.count
    if gapSince == nil { gapSince = slot.arrivedAt }
    deliverWaiting()
    while waitingByteCount > configuration.byteCountMax { skipGap() }
  }

  private mutating func advance(to sequence: Int64) {
    guard let expected = next, sequence > expected else { return }
    lostPacketCount += UInt64(sequence - expected)
    next = sequence
  }

  /// Goes on at the first packet that waits. Scans at most the table once.
  private mutating func skipGap() {
    guard waitingCount > 0, var sequence = next else {
      gapSince = nil
      return
    }
    while slots[index(of: sequence)] == nil { sequence += 1 }
    advance(to: sequence)
    deliverWaiting()
  }

  /// Delivers what waits without a gap before it, then looks for the next gap.
  private mutating func deliverWaiting() {
    guard waitingCount > 0, var sequence = next else {
      gapSince = nil
      return
    }
    let first = sequence
    while let slot = slots[index(of: sequence)].take() {
      waitingCount -= 1
      waitingByteCount -= slot.payload.count
      deliver(
        slot.payload.rawSpan, sequence: slot.sequence, timestamp: slot.timestamp, marker: slot.marker,
        at: slot.arrivedAt)
      sequence += 1
    }
    next = sequence
    guard waitingCount > 0 else {
      gapSince = nil
      return
    }
    if sequence != first { gapSince = firstWaitingArrival(from: sequence) }
  }

  private func firstWaitingArrival(from start: Int64) -> Instant? {
    for offset in 0..<Int64(slots.count) {
      if let slot = slots[index(of: start + offset)] { return slot.arrivedAt }
    }
    return nil
  }

  private mutating func deliver(
    _ payload: RawSpan, sequence: Int64, timestamp: UInt32, marker: Bool, at now: Instant
  ) {
    switch depacketizer {
    case .h264(var video):
      // Taken out while it works, so that its frame is not copied.
      depacketizer = .opus(OpusDepacketizer())
      do throws(ParseError) {
        try video.push(payload: payload, marker: marker, timestamp: timestamp, sequence: sequence, at: now)
      } catch {
        drops[.malformedPayload] += 1
      }
      while let frame = video.pollFrame() { append(frame) }
      depacketizer = .h264(video)
    case .opus(var audio):
      if let frame = audio.push(payload: payload, timestamp: timestamp, sequence: sequence, at: now) {
        append(frame)
      }
      depacketizer = .opus(audio)
    }
  }

  private mutating func append(_ frame: MediaFrame) {
    if ready.isFull { _ = ready.popFirst() }
    _ = ready.append(frame)
  }
}
