// SPDX-License-Identifier: Apache-2.0

import FuzzInput
import SCTP
import SansIO

/// Two associations, while the fuzzer decides what the network does to their packets, which chunks a peer with the
/// right tag makes up, and what both applications ask for.
///
/// Whatever happens, no more is stored than the receive window and a tenth of it, and sending comes to an end.
@_cdecl("LLVMFuzzerTestOneInput")
public func fuzz(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
  var input = FuzzInput(start, count)
  var world = World(options: input.byte())
  var steps = 0
  while !input.isAtEnd, steps < 400 {
    world.step(&input)
    steps += 1
  }
  return 0
}

/// One association, its application's habits, and the packets on their way to it.
private struct Side: ~Copyable {
  var association: SCTPAssociation
  var inbox: [[UInt8]] = []
  /// The tag that packets to this side carry, once one was seen.
  var tag: [UInt8] = [0, 0, 0, 0]
  /// The TSN with which this side begins, once its INIT or INIT ACK was seen.
  var initialTSN: UInt32 = 0
  var isReadingPaused = false

  init(_ configuration: SCTPAssociation.Configuration, seed: UInt64) {
    association = SCTPAssociation(configuration: configuration, random: RandomSource(seed: seed))
  }

  /// Takes events, then writes packets to the other side's inbox, which holds a few dozen.
  ///
  /// An INIT or INIT ACK among them tells where this side's TSNs begin.
  mutating func drain(into inbox: inout [[UInt8]], at now: Instant) {
    while !isReadingPaused, let event = association.pollEvent() {
      if case .message(let message) = event { association.consumed(byteCount: message.bytes.count + 96) }
    }
    var batchCount = 0
    var batch: PacketBatch?
    repeat {
      let bytes = [UInt8](writing: 16 * 1160) { batch = association.pollTransmit(into: &$0, at: now) }
      guard let batch else { break }
      precondition(!bytes.isEmpty && batch.packetCount > 0, "a batch of nothing")
      batchCount += 1
      precondition(batchCount < 10_000, "sending does not end")
      for start in stride(from: 0, to: bytes.count, by: batch.packetByteCount) where inbox.count < 64 {
        let packet = Array(bytes[start..<min(start + batch.packetByteCount, bytes.count)])
        if packet.count >= 32, packet[12] == 1 || packet[12] == 2 {
          initialTSN = packet[28..<32].reduce(0) { $0 << 8 | UInt32($1) }
        }
        inbox.append(packet)
      }
    } while batch != nil
  }

  func check(_ windowMax: Int) {
    let held = association.receiveBufferedByteCount
    precondition(held >= 0 && held <= windowMax + windowMax / 10, "\(held) bytes stored")
    precondition(association.bufferedAmount >= 0, "less than nothing waits")
  }
}

private struct World: ~Copyable {
  var left: Side
  var right: Side
  var now = Instant.zero
  let windowMax: Int

  init(options: UInt8) {
    var configuration = SCTPAssociation.Configuration()
    configuration.offersInterleaving = options & 1 == 0
    windowMax = options & 2 == 0 ? 32_768 : 1 << 20
    configuration.receiveWindowByteCountMax = windowMax
    configuration.messageByteCountMax = 16_384
    configuration.sendBufferByteCountMax = 1 << 20
    configuration.streamCount = options & 4 == 0 ? 4 : 1024
    configuration.schedulingPolicy = options & 8 == 0 ? .weightedFair : .strictPriority
    if options & 16 != 0 { configuration.congestionAlgorithm = .modelBased }
    left = Side(configuration, seed: 1)
    right = Side(configuration, seed: 2)
    left.association.connect(at: now)
    if options & 32 == 0 { right.association.connect(at: now) }
    collect()
    // Most scripts should not have to discover the handshake.
    if options & 64 == 0 { for _ in 0..<6 { deliverAll() } }
  }

  mutating func step(_ input: inout FuzzInput) {
    switch input.choice(of: 16) {
    case 0, 1: deliver(&input) { _, packet in packet }
    case 2, 3: deliver(&input) { input, packet in SCTPWire.sealed(input.spoil(packet)) }
    case 4: deliver(&input) { input, packet in input.spoil(packet) }
    case 5, 6, 7: forge(&input)
    case 8: now += .milliseconds(Int64(input.short()))
    case 9, 10: send(&input)
    case 11: reset(&input)
    case 12: pause(&input)
    case 13: finish(&input)
    default: deliverAll()
    }
    left.association.handleTimeout(at: now)
    right.association.handleTimeout(at: now)
    collect()
    left.check(windowMax)
    right.check(windowMax)
  }

  private mutating func collect() {
    left.drain(into: &right.inbox, at: now)
    right.drain(into: &left.inbox, at: now)
    if let first = left.inbox.first { left.tag = Array(first[4..<8]) }
    if let first = right.inbox.first { right.tag = Array(first[4..<8]) }
  }

  private mutating func deliverAll() {
    now += .milliseconds(5)
    for packet in left.inbox { left.association.receive(packet.rawSpan, at: now) }
    for packet in right.inbox { right.association.receive(packet.rawSpan, at: now) }
    (left.inbox, right.inbox) = ([], [])
    collect()
  }

  /// Hands over, loses, repeats or holds back one packet, changed or not.
  private mutating func deliver(_ input: inout FuzzInput, _ change: (inout FuzzInput, [UInt8]) -> [UInt8]) {
    let fate = input.byte()
    let isToLeft = fate & 1 == 0
    let count = isToLeft ? left.inbox.count : right.inbox.count
    guard count > 0 else { return }
    let index = Int(fate >> 4) % count
    let packet = isToLeft ? left.inbox[index] : right.inbox[index]
    if fate & 2 == 0 { isToLeft ? _ = left.inbox.remove(at: index) : (_ = right.inbox.remove(at: index)) }
    guard fate & 4 == 0 else { return }
    receive(change(&input, packet), isAtLeft: isToLeft)
  }

  private mutating func receive(_ packet: [UInt8], isAtLeft: Bool) {
    if isAtLeft {
      left.association.receive(packet.rawSpan, at: now)
    } else {
      right.association.receive(packet.rawSpan, at: now)
    }
  }

  /// A packet with the right ports, tag and checksum, and chunks of the fuzzer's.
  private mutating func forge(_ input: inout FuzzInput) {
    let isAtLeft = input.byte() & 1 == 0
    var packet: [UInt8] = [0x13, 0x88, 0x13, 0x88] + (isAtLeft ? left.tag : right.tag) + [0, 0, 0, 0]
    let (own, peer) = isAtLeft ? (left.initialTSN, right.initialTSN) : (right.initialTSN, left.initialTSN)
    for _ in 0...input.choice(of: 3) { packet += SCTPWire.chunk(&input, own: own, peer: peer) }
    receive(SCTPWire.sealed(packet), isAtLeft: isAtLeft)
  }

  private mutating func send(_ input: inout FuzzInput) {
    let kind = input.byte()
    let options = DeliveryOptions(
      isUnordered: kind & 1 != 0, retransmissionsMax: kind & 2 != 0 ? UInt16(kind >> 6) : nil,
      lifetime: kind & 4 != 0 ? .milliseconds(Int64(kind >> 3) * 10) : nil)
    let message = [UInt8](repeating: kind, count: Int(input.short()) % 20_000)
    let stream = StreamID(rawValue: UInt16(input.byte() % 6))
    let binary = PayloadProtocol(rawValue: 53)
    if kind & 8 == 0 {
      try? left.association.send(message, on: stream, payloadProtocol: binary, options: options, at: now)
    } else {
      try? right.association.send(message, on: stream, payloadProtocol: binary, options: options, at: now)
    }
  }

  private mutating func reset(_ input: inout FuzzInput) {
    let streams = [StreamID(rawValue: UInt16(input.byte() % 6))]
    if input.byte() & 1 == 0 {
      left.association.resetStreams(streams)
    } else {
      right.association.resetStreams(streams)
    }
  }

  private mutating func pause(_ input: inout FuzzInput) {
    if input.byte() & 1 == 0 { left.isReadingPaused.toggle() } else { right.isReadingPaused.toggle() }
  }

  private mutating func finish(_ input: inout FuzzInput) {
    switch input.byte() {
    case 0: left.association.shutdown(at: now)
    case 1: right.association.shutdown(at: now)
    case 2: left.association.abort()
    default: break
    }
  }
}
