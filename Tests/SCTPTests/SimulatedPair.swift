// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import SCTP
import SansIO

/// What a link does to packets, and the seed that decides it.
struct Link: Sendable {
  var seed: UInt64 = 1
  var lossPerMille = 0
  var duplicationPerMille = 0
  var corruptionPerMille = 0
  var delay = TimeDelta.milliseconds(20)
  /// Up to this much more for each packet: so packets overtake one another.
  var jitter = TimeDelta.zero
  /// What the way to the right side carries; `nil` for any amount.
  var bytesPerSecond: Int64?
  /// How long packets wait for that way at most, before the queue drops them.
  var queue = TimeDelta.milliseconds(40)
}

/// Two associations and a link between them, in virtual time.
struct SimulatedPair: ~Copyable {
  struct Flight {
    var arrival: Instant
    var isToRight: Bool
    var bytes: [UInt8]
  }

  /// One side's association and what it told.
  struct Side: ~Copyable {
    var association: SCTPAssociation
    var messages: [SCTPAssociation.Message] = []
    var isConnected = false
    var closure: SCTPAssociation.Closure?
    var incomingResets: [[StreamID]] = []
    var outgoingResets: [(streams: [StreamID], isPerformed: Bool)] = []
    var restartCount = 0
    var lowCount = 0
    /// While set, events stay where they are, as if the application did not read.
    var isReadingPaused = false

    init(_ association: consuming SCTPAssociation) { self.association = association }

    mutating func takeEvents() {
      guard !isReadingPaused else { return }
      while let event = association.pollEvent() {
        switch event {
        case .connected: isConnected = true
        case .message(let message):
          messages.append(message)
          association.consumed(byteCount: message.bytes.count + SCTPLimits.entryByteCount)
        case .closed(let reason): closure = reason
        case .incomingStreamsReset(let streams): incomingResets.append(streams)
        case .outgoingStreamsReset(let streams, let done): outgoingResets.append((streams, done))
        case .restarted: restartCount += 1
        case .bufferedAmountLow: lowCount += 1
        }
      }
    }

    mutating func takePackets(at now: Instant) -> [[UInt8]] {
      var packets: [[UInt8]] = []
      while true {
        var batch: PacketBatch?
        let bytes = [UInt8](writing: 65_536) { batch = association.pollTransmit(into: &$0, at: now) }
        guard let batch else { return packets }
        var start = 0
        while start < bytes.count {
          let end = min(start + batch.packetByteCount, bytes.count)
          packets.append(Array(bytes[start..<end]))
          start = end
        }
      }
    }
  }

  var now = Instant.zero
  var left: Side
  var right: Side
  var link: Link
  /// Sees each packet before the link; false drops it.
  var filter: (_ isToRight: Bool, _ packet: [UInt8]) -> Bool = { _, _ in true }
  private var random: RandomSource
  private var flights: [Flight] = []
  var packetCount = 0
  /// Until when the way to the right side is busy.
  private var busyUntil = Instant.zero

  init(
    _ link: Link = Link(), left: SCTPAssociation.Configuration = .init(),
    right: SCTPAssociation.Configuration = .init()
  ) {
    self.link = link
    random = RandomSource(seed: link.seed)
    self.left = Side(SCTPAssociation(configuration: left, random: random.split()))
    self.right = Side(SCTPAssociation(configuration: right, random: random.split()))
  }

  mutating func connectBoth() {
    left.association.connect(at: now)
    right.association.connect(at: now)
    drain()
  }

  /// Takes events and packets of both sides until they are quiet.
  mutating func drain() {
    left.takeEvents()
    right.takeEvents()
    for packet in left.takePackets(at: now) { launch(packet, isToRight: true) }
    for packet in right.takePackets(at: now) { launch(packet, isToRight: false) }
    left.takeEvents()
    right.takeEvents()
  }

  private mutating func chance(_ perMille: Int) -> Bool { Int(random.next() % 1000) < perMille }

  private mutating func launch(_ packet: [UInt8], isToRight: Bool) {
    packetCount += 1
    guard filter(isToRight, packet), !chance(link.lossPerMille) else { return }
    var queueing = TimeDelta.zero
    if isToRight, let rate = link.bytesPerSecond {
      busyUntil = max(busyUntil, now)
      guard busyUntil - now <= link.queue else { return }
      busyUntil += .transmission(of: packet.count, bytesPerSecond: rate)
      queueing = busyUntil - now
    }
    let copies = chance(link.duplicationPerMille) ? 2 : 1
    for _ in 0..<copies {
      var bytes = packet
      if chance(link.corruptionPerMille) {
        bytes[Int(random.next() % UInt64(bytes.count))] ^= UInt8(truncatingIfNeeded: random.next() | 1)
      }
      let extra =
        link.jitter == .zero ? 0 : Int64(random.next() % UInt64(link.jitter.nanoseconds))
      let flight = Flight(
        arrival: now + link.delay + queueing + TimeDelta(nanoseconds: extra), isToRight: isToRight,
        bytes: bytes)
      let place = flights.lastIndex { $0.arrival <= flight.arrival }.map { $0 + 1 } ?? 0
      flights.insert(flight, at: place)
    }
  }

  var nextInstant: Instant? {
    let timers = Instant.earliest(left.association.nextDeadline, right.association.nextDeadline)
    return Instant.earliest(timers, flights.first?.arrival)
  }

  /// Moves to what happens next. False when nothing ever will, or not before `limit`.
  mutating func step(before limit: Instant) -> Bool {
    guard let next = nextInstant, next <= limit else { return false }
    now = max(now, next)
    var delivered = 0
    while let flight = flights.first, flight.arrival <= now {
      flights.removeFirst()
      delivered += 1
      if flight.isToRight {
        right.association.receive(flight.bytes.rawSpan, at: now)
      } else {
        left.association.receive(flight.bytes.rawSpan, at: now)
      }
    }
    left.association.handleTimeout(at: now)
    right.association.handleTimeout(at: now)
    drain()
    return true
  }

  /// Runs for some virtual time, or until the condition holds. Returns whether it does.
  @discardableResult
  mutating func run(
    seconds: Int64, until isDone: (borrowing SimulatedPair) -> Bool = { _ in false }
  ) -> Bool {
    let limit = now + .seconds(seconds)
    drain()
    while !isDone(self) {
      guard step(before: limit) else {
        now = limit
        return isDone(self)
      }
    }
    return true
  }

  /// Two sides that are connected already.
  static func connected(
    _ link: Link = Link(), left: SCTPAssociation.Configuration = .init(),
    right: SCTPAssociation.Configuration = .init()
  ) -> SimulatedPair {
    var pair = SimulatedPair(link, left: left, right: right)
    pair.connectBoth()
    pair.run(seconds: 60) { $0.left.isConnected && $0.right.isConnected }
    return pair
  }
}

/// Messages that tell by themselves which they are and whether they are whole.
enum TestMessage {
  static func bytes(_ index: Int, length: Int) -> [UInt8] {
    var random = RandomSource(seed: UInt64(index) &* 7919 &+ UInt64(length))
    var bytes = random.bytes(max(length, 4))
    for position in 0..<4 { bytes[position] = UInt8(truncatingIfNeeded: index >> (24 - 8 * position)) }
    return bytes
  }

  static func index(of bytes: [UInt8]) -> Int { bytes.prefix(4).reduce(0) { $0 << 8 | Int($1) } }

  static func isWhole(_ bytes: [UInt8]) -> Bool {
    Self.bytes(index(of: bytes), length: bytes.count) == bytes
  }
}

/// How many seeds a long run takes.
enum Seeds {
  static let count = UInt64(ProcessInfo.processInfo.environment["SCTP_SEEDS"] ?? "") ?? 0
  /// Where it begins, so that several processes can share one run.
  static let first = UInt64(ProcessInfo.processInfo.environment["SCTP_FIRST_SEED"] ?? "") ?? 101
}

/// A payload protocol for tests.
let binary = PayloadProtocol(rawValue: 53)
