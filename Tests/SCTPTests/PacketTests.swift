// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Goal: what we write is what the RFCs draw, and no prefix or damage of it does worse than being refused.
@Suite("SCTP packets, RFC 9260 §3")
struct PacketTests {
  @Test("CRC32c gives the published sums (RFC 3720 B.4)")
  func checksumVectors() {
    let ascending = (0..<32).map { UInt8($0) }
    let vectors: [([UInt8], UInt32)] = [
      ([UInt8](repeating: 0, count: 32), 0x8a91_36aa), ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43),
      (ascending, 0x46dd_794e), (ascending.reversed(), 0x113f_db5c),
      (Array("123456789".utf8), 0xe306_9283), ([], 0),
    ]
    for (bytes, sum) in vectors {
      let computed = Checksum.of(bytes.rawSpan)
      #expect(computed == sum)
    }
  }

  @Test("A packet's sum reads its own field as zero, whatever stands there", arguments: 12..<40)
  func checksumOfPacket(length: Int) {
    var random = RandomSource(seed: UInt64(length))
    var packet = random.bytes(length)
    let sum = Checksum.ofPacket(packet.rawSpan)
    for index in 8..<12 { packet[index] = 0 }
    let plain = Checksum.of(packet.rawSpan)
    #expect(sum == plain)
  }

  /// An INIT as RFC 9260 §3.3.2 draws it, with two supported extensions and a parameter that nobody knows.
  static let initValue: [UInt8] = [
    0x01, 0x02, 0x03, 0x04, 0x00, 0x10, 0x00, 0x00, 0x04, 0x00, 0x02, 0x00, 0xff, 0xff, 0xff, 0xff,
    0xc0, 0x00, 0x00, 0x04, 0x80, 0x08, 0x00, 0x06, 0x82, 0xc0, 0x00, 0x00,
    0x80, 0x01, 0x00, 0x08, 0x00, 0x00, 0x00, 0x01, 0xff, 0x77, 0x00, 0x05, 0xaa, 0x00, 0x00, 0x00,
  ]

  @Test("An INIT is read field by field")
  func initFields() throws {
    let bytes = Self.initValue
    var reader = ByteReader(bytes.rawSpan)
    let chunk = try InitChunk(parsing: &reader)
    #expect(chunk.initiateTag == 0x0102_0304)
    #expect(chunk.window == 1 << 20)
    #expect(chunk.outboundStreamCount == 1024)
    #expect(chunk.inboundStreamCount == 512)
    #expect(chunk.initialTSN == 0xffff_ffff)
    #expect(chunk.capabilities == [.partialReliability, .reconfiguration, .zeroChecksum])
    #expect(chunk.unrecognized == [0xff, 0x77, 0x00, 0x05, 0xaa, 0, 0, 0])
  }

  @Test("No prefix of an INIT is taken for more than it is", arguments: 0..<44)
  func initPrefix(length: Int) {
    let bytes = Array(Self.initValue.prefix(length))
    var reader = ByteReader(bytes.rawSpan)
    let chunk = try? InitChunk(parsing: &reader)
    if length < 16 { #expect(chunk == nil) }
    if length < 36 { #expect(chunk?.capabilities.contains(.zeroChecksum) != true) }
  }

  @Test("A parameter shorter than its header makes an INIT malformed; streams and window decide on its use")
  func badInits() throws {
    var bytes = Self.initValue
    bytes[19] = 3
    #expect(throws: ParseError.self) {
      var reader = ByteReader(bytes.rawSpan)
      _ = try InitChunk(parsing: &reader)
    }
    for (zeroed, isUsable) in [(0..<4, true), (8..<10, false), (10..<12, false), (4..<6, false)] {
      var bytes = Self.initValue
      for index in zeroed { bytes[index] = 0 }
      var reader = ByteReader(bytes.rawSpan)
      let chunk = try InitChunk(parsing: &reader)
      #expect(chunk.isUsable == isUsable, "\(zeroed)")
    }
  }

  @Test("INIT ACK, RE-CONFIG, FORWARD-TSN and cookies survive writing and reading")
  func roundTrips() throws {
    var chunk = InitChunk(
      initiateTag: 7, window: 8, outboundStreamCount: 9, inboundStreamCount: 10, initialTSN: 11,
      capabilities: [.partialReliability, .interleaving, .reconfiguration, .zeroChecksum])
    chunk.cookie = [1, 2, 3]
    let written = chunk.array(.initiationAck)
    #expect(written.count % 4 == 0)
    var reader = ByteReader(written.rawSpan)
    let outer = try Chunk(parsing: &reader)
    var inner = ByteReader(outer.value)
    let read = try InitChunk(parsing: &inner)
    #expect(read == chunk)

    let items: [Reconfiguration] = [
      .outgoingReset(sequence: 1, answering: 2, lastTSN: 3, streams: [4, 5, 6]),
      .incomingReset(sequence: 1, streams: [9]), .associationReset(sequence: 5),
      .addStreams(sequence: 1, count: 3, isOutgoing: true), .response(sequence: 8, outcome: .inProgress),
    ]
    for item in items {
      let bytes = item.array()
      var reader = ByteReader(bytes.rawSpan)
      let parameter = try Parameter(parsing: &reader)
      let again = try Reconfiguration(parameter)
      #expect(again == item)
      #expect(bytes.count % 4 == 0)
    }

    for isInterleaved in [true, false] {
      let forward = ForwardTSN(
        cumulativeTSN: 77,
        skipped: [.init(stream: 3, isUnordered: isInterleaved, messageID: 500)],
        isInterleaved: isInterleaved)
      let bytes = forward.array()
      var reader = ByteReader(bytes.rawSpan)
      let outer = try Chunk(parsing: &reader)
      var inner = ByteReader(outer.value)
      let again = try ForwardTSN(parsing: &inner, isInterleaved: isInterleaved)
      #expect(again == forward)
    }
  }

  @Test("A cookie opens with its key, and not after any change")
  func cookies() throws {
    let key = Secret([UInt8](repeating: 3, count: 32))
    let peer = InitChunk(
      initiateTag: 7, window: 8, outboundStreamCount: 9, inboundStreamCount: 10, initialTSN: 11,
      capabilities: [])
    let cookie = StateCookie(
      createdAt: Instant(nanoseconds: 5), localTag: 1, localInitialTSN: 2, peer: peer,
      outboundStreamCount: 3, inboundStreamCount: 4, capabilities: [.interleaving], localTieTag: 5,
      peerTieTag: 6)
    let sealed = cookie.sealed(with: key)
    let opened = try StateCookie(opening: sealed.rawSpan, with: key)
    #expect(opened == cookie)
    for index in sealed.indices {
      var changed = sealed
      changed[index] ^= 1
      let reopened = try? StateCookie(opening: changed.rawSpan, with: key)
      #expect(reopened == nil)
      let prefix = Array(sealed.prefix(index))
      let shortened = try? StateCookie(opening: prefix.rawSpan, with: key)
      #expect(shortened == nil)
    }
    let other = try? StateCookie(opening: sealed.rawSpan, with: Secret([UInt8](repeating: 4, count: 32)))
    #expect(other == nil)
  }

  @Test("Received TSNs become a SACK's cumulative TSN and gap blocks, across the wrap of 32 bits")
  func receivedTSNs() {
    var received = ReceivedTSNs(initial: 0xffff_fffe)
    for wire: UInt32 in [0xffff_fffe, 0, 2, 3, 5] {
      let tsn = received.extend(wire)
      let novelty = received.novelty(of: tsn)
      #expect(novelty == .new)
      received.insert(tsn)
    }
    let again = received.novelty(of: received.extend(3))
    #expect(again == .duplicate)
    received.noteDuplicate(received.extend(3))
    let sack = [UInt8](writing: 100) { received.writeSack(window: 9, capacity: 100, into: &$0) }
    #expect(
      sack == [
        3, 0, 0, 32, 0xff, 0xff, 0xff, 0xfe, 0, 0, 0, 9, 0, 3, 0, 1,
        0, 2, 0, 2, 0, 4, 0, 5, 0, 7, 0, 7, 0, 0, 0, 3,
      ])
    received.insert(received.extend(0xffff_ffff))
    let cumulative = UInt32(truncatingIfNeeded: received.cumulative)
    #expect(cumulative == 0)
    received.advance(to: received.extend(4))
    #expect(!received.hasGaps)
    #expect(UInt32(truncatingIfNeeded: received.cumulative) == 5)
  }

  @Test("Fragments make their message in any order", arguments: UInt64(1)...50)
  func reassembly(seed: UInt64) {
    var random = RandomSource(seed: seed)
    let isInterleaved = seed % 2 == 0
    let bytes = TestMessage.bytes(Int(seed), length: 500)
    var queue = ReassemblyQueue(messageByteCountMax: 1000)
    var order = Array(0..<10)
    order.shuffle(using: &random)
    var result: [UInt8]?
    for (step, number) in order.enumerated() {
      var flags: DataChunk.Flags = []
      if number == 0 { flags.insert(.beginning) }
      if number == 9 { flags.insert(.end) }
      let chunk = DataChunk(
        flags: flags, tsn: UInt32(number), stream: 1, messageID: 4, fragment: UInt32(number),
        payloadProtocol: binary, isInterleaved: isInterleaved)
      let piece = Array(bytes[(number * 50)..<(number * 50 + 50)])
      if case .complete(let message) = queue.insert(chunk, tsn: Int64(number), payload: piece.rawSpan) {
        result = message.bytes
        #expect(step == 9, "seed \(seed)")
      }
    }
    #expect(result == bytes, "seed \(seed)")
    #expect(queue.byteCount == 0, "seed \(seed)")
    #expect(queue.runCount == 0, "seed \(seed)")
  }

  @Test("The retransmission timeout follows RFC 6298")
  func timeouts() {
    var timeout = RetransmissionTimeout(initial: .milliseconds(500))
    #expect(timeout.timeout == .milliseconds(500))
    timeout.measured(.milliseconds(200))
    #expect(timeout.smoothed == .milliseconds(200))
    #expect(timeout.timeout == .milliseconds(600))
    timeout.backOff()
    #expect(timeout.timeout == .milliseconds(1200))
    for _ in 0..<100 { timeout.measured(.milliseconds(40)) }
    #expect(timeout.timeout == RetransmissionTimeout.shortest)
    for _ in 0..<20 { timeout.backOff() }
    #expect(timeout.timeout == RetransmissionTimeout.longestBackOff)
    #expect(timeout.measuredTimeout == RetransmissionTimeout.shortest)
    timeout.measured(.seconds(8))
    timeout.backOff()
    #expect(timeout.timeout > RetransmissionTimeout.longestBackOff, "never below what was measured")
  }

  @Test("Weighted streams share by their weights")
  func weightedFair() {
    var queue = SendQueue(policy: .weightedFair)
    queue.isInterleaved = true
    queue.setPriority(1024, of: 1)
    queue.setPriority(256, of: 2)
    for stream: StreamID in [1, 2] {
      queue.append(
        OutboundMessage(
          stream: stream, payloadProtocol: binary, bytes: [UInt8](repeating: 0, count: 100_000),
          options: DeliveryOptions(), at: .zero))
    }
    var sent: [StreamID: Int] = [:]
    for _ in 0..<50 {
      guard let fragment = queue.nextFragment(room: 1000, at: .zero) else { break }
      sent[fragment.stream, default: 0] += fragment.byteCount
    }
    #expect(sent[1] == 40_000)
    #expect(sent[2] == 10_000)
  }

  @Test("First come, first served keeps the order of arrival over streams; priority does not")
  func otherPolicies() {
    for (policy, expected) in [
      (SchedulingPolicy.firstComeFirstServed, [2, 1, 2, 1]), (.strictPriority, [1, 1, 2, 2]),
      (.roundRobin, [2, 1, 2, 1]),
    ] as [(SchedulingPolicy, [UInt16])] {
      var queue = SendQueue(policy: policy)
      queue.setPriority(1024, of: 1)
      for stream: StreamID in [2, 1, 2, 1] {
        queue.append(
          OutboundMessage(
            stream: stream, payloadProtocol: binary, bytes: [1], options: DeliveryOptions(), at: .zero))
      }
      var order: [UInt16] = []
      while let fragment = queue.nextFragment(room: 1000, at: .zero) {
        order.append(fragment.stream.rawValue)
      }
      #expect(order == expected, "\(policy)")
    }
  }
}
