// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Goal: a peer that passed DTLS and then misbehaves costs bounded memory and no trap. Method: a standing
/// association whose tags we know is fed forged packets.
@Suite("Peers that misbehave")
struct AttackTests {
  /// An association that stands, and a forger that knows its tags.
  struct Victim: ~Copyable {
    var pair: SimulatedPair
    var nextTSN: UInt32

    init(_ configuration: SCTPAssociation.Configuration = .init()) {
      pair = SimulatedPair.connected(right: configuration)
      pair.run(seconds: 1)
      nextTSN = UInt32(truncatingIfNeeded: pair.right.association.received.cumulative) &+ 1
    }

    mutating func forge(_ chunks: [UInt8], tag: UInt32? = nil) {
      let header = CommonHeader(
        sourcePort: 5000, destinationPort: 5000, verificationTag: tag ?? pair.right.association.localTag)
      let packet = [UInt8](writing: 12 + chunks.count) { writer in
        header.write(into: &writer)
        writer.write(chunks)
        CommonHeader.seal(&writer, from: 0)
      }
      pair.right.association.receive(packet.rawSpan, at: pair.now)
    }

    /// Takes what the victim says, and throws it away.
    mutating func drain() -> [[UInt8]] {
      pair.right.takeEvents()
      return pair.right.takePackets(at: pair.now)
    }

    /// A DATA chunk with the next TSN, or one so much further.
    mutating func data(
      _ payload: Int, flags: DataChunk.Flags = [], stream: StreamID = 1, messageID: UInt32 = 0,
      fragment: UInt32 = 0, skipping: UInt32 = 0
    ) -> [UInt8] {
      nextTSN &+= skipping
      let isInterleaved = pair.right.association.capabilities.contains(.interleaving)
      let chunk = DataChunk(
        flags: flags, tsn: nextTSN, stream: stream, messageID: messageID, fragment: fragment,
        payloadProtocol: binary, isInterleaved: isInterleaved)
      nextTSN &+= 1
      let bytes = [UInt8](repeating: 1, count: payload)
      return [UInt8](writing: 40 + payload) { chunk.write(bytes.rawSpan, into: &$0) }
    }

    var buffered: Int { pair.right.association.receiveBufferedByteCount }
  }

  static var plain: SCTPAssociation.Configuration {
    var configuration = SCTPAssociation.Configuration()
    configuration.offersInterleaving = false
    return configuration
  }

  static var small: SCTPAssociation.Configuration {
    var configuration = plain
    configuration.receiveWindowByteCountMax = 65_536
    configuration.messageByteCountMax = 32_768
    return configuration
  }

  // MARK: T22

  @Test("T22: a flood of INITs makes no association and queues a few answers at most")
  func initFlood() {
    var random = RandomSource(seed: 1)
    var association = SCTPAssociation(configuration: .init(), random: random.split())
    for count in 0..<5000 {
      let chunk = InitChunk(
        initiateTag: UInt32(count + 1), window: .max, outboundStreamCount: .max, inboundStreamCount: .max,
        initialTSN: 0, capabilities: [])
      let packet = Self.packet(chunk.array(.initiation), tag: 0)
      association.receive(packet.rawSpan, at: .zero)
    }
    let (state, replies) = (association.state, association.replies.count)
    #expect(state == .closed)
    #expect(replies <= SCTPLimits.repliesMax)
    let deadline = association.nextDeadline
    #expect(deadline == nil)
  }

  static func packet(_ chunks: [UInt8], tag: UInt32) -> [UInt8] {
    let header = CommonHeader(sourcePort: 5000, destinationPort: 5000, verificationTag: tag)
    return [UInt8](writing: 12 + chunks.count) { writer in
      header.write(into: &writer)
      writer.write(chunks)
      CommonHeader.seal(&writer, from: 0)
    }
  }

  @Test("T22: forged and late cookies are refused; a cookie that comes again changes nothing")
  func cookies() throws {
    var pair = SimulatedPair(Link(seed: 3))
    var echoes: [[UInt8]] = []
    let box = Box<[[UInt8]]>([])
    pair.filter = { isToRight, packet in
      if isToRight, packet[12] == ChunkType.cookieEcho.rawValue { box.value.append(packet) }
      return true
    }
    pair.left.association.connect(at: pair.now)
    pair.run(seconds: 5) { $0.left.isConnected }
    echoes = box.value
    #expect(echoes.count == 1)
    let tag = pair.right.association.localTag
    for echo in echoes {
      pair.right.association.receive(echo.rawSpan, at: pair.now)
      var forged = echo
      forged[30] ^= 1
      let resealed = Self.packet(Array(forged[12...]), tag: tag)
      pair.right.association.receive(resealed.rawSpan, at: pair.now)
    }
    let drops = pair.right.association.drops[.cookie]
    #expect(drops == 1)
    let (after, state, restarts) = (
      pair.right.association.localTag, pair.right.association.state, pair.right.restartCount
    )
    #expect(after == tag && state == .established && restarts == 0)
    // The same cookie at a fresh association is not ours; at ours, after its time, it is stale.
    var other = SCTPAssociation(configuration: .init(), random: RandomSource(seed: 9))
    let echo = try #require(echoes.first)
    other.receive(echo.rawSpan, at: pair.now)
    let otherState = other.state
    #expect(otherState == .closed)
  }

  @Test("T22: a cookie after its lifetime is answered by an error and makes nothing")
  func staleCookie() {
    var server = SCTPAssociation(configuration: .init(), random: RandomSource(seed: 5))
    let peer = InitChunk(
      initiateTag: 77, window: 100_000, outboundStreamCount: 5, inboundStreamCount: 5, initialTSN: 1,
      capabilities: [])
    let cookie = StateCookie(
      createdAt: .zero, localTag: 11, localInitialTSN: 2, peer: peer, outboundStreamCount: 5,
      inboundStreamCount: 5, capabilities: [], localTieTag: 0, peerTieTag: 0
    ).sealed(with: server.cookieKey)
    let echo = Self.packet(Chunk.array(.cookieEcho, value: cookie), tag: 11)
    server.receive(echo.rawSpan, at: Instant.zero + .seconds(61))
    let (state, replies) = (server.state, server.replies.count)
    #expect(state == .closed && replies == 1)
    server.receive(echo.rawSpan, at: Instant.zero + .seconds(59))
    let established = server.state
    #expect(established == .established)
  }

  @Test("T22: every order of a simultaneous opening converges on one association", arguments: UInt64(1)...100)
  func collisions(seed: UInt64) throws {
    var random = RandomSource(seed: seed)
    var pair = SimulatedPair(
      Link(seed: seed, lossPerMille: 300, duplicationPerMille: 300, jitter: .milliseconds(2000)))
    pair.left.association.connect(at: pair.now)
    pair.drain()
    pair.run(seconds: Int64(random.next() % 4))
    pair.right.association.connect(at: pair.now)
    pair.run(seconds: 20) { $0.left.isConnected && $0.right.isConnected }
    pair.link.lossPerMille = 0
    pair.link.jitter = .zero
    let isDone = pair.run(seconds: 60) { $0.left.isConnected && $0.right.isConnected }
    #expect(isDone, "seed \(seed)")
    pair.run(seconds: 10)
    let (left, right) = (
      (pair.left.association.localTag, pair.left.association.peerTag),
      (pair.right.association.localTag, pair.right.association.peerTag)
    )
    #expect(left.0 == right.1 && left.1 == right.0, "seed \(seed)")
    let restarts = pair.left.restartCount + pair.right.restartCount
    #expect(restarts == 0, "seed \(seed)")
    try pair.left.association.send([1, 2, 3], on: 0, payloadProtocol: binary, at: pair.now)
    try pair.right.association.send([4, 5], on: 0, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 20)
    let arrived = (pair.left.messages.map(\.bytes), pair.right.messages.map(\.bytes))
    #expect(arrived.0 == [[4, 5]] && arrived.1 == [[1, 2, 3]], "seed \(seed)")
  }

  @Test("T22: a peer that lost its state and begins anew is noticed (RFC 9260 §5.2.4 A)")
  func restart() throws {
    var pair = SimulatedPair.connected()
    pair.left = SimulatedPair.Side(SCTPAssociation(configuration: .init(), random: RandomSource(seed: 99)))
    pair.left.association.connect(at: pair.now)
    pair.run(seconds: 5)
    let (isConnected, restarts) = (pair.left.isConnected, pair.right.restartCount)
    #expect(isConnected && restarts == 1)
    try pair.right.association.send([9], on: 1, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 5)
    let arrived = pair.left.messages.map(\.bytes)
    #expect(arrived == [[9]])
  }

  @Test(
    "T22: a cookie of an INIT that came twice is dropped once the other one made the association (§5.2.4 C)")
  func oldCookie() throws {
    func packets(_ association: inout SCTPAssociation) -> [[UInt8]] {
      var packets: [[UInt8]] = []
      while true {
        let bytes = [UInt8](writing: 2000) { _ = association.pollTransmit(into: &$0, at: .zero) }
        guard !bytes.isEmpty else { return packets }
        packets.append(bytes)
      }
    }
    var client = SCTPAssociation(configuration: .init(), random: RandomSource(seed: 1))
    var server = SCTPAssociation(configuration: .init(), random: RandomSource(seed: 2))
    client.connect(at: .zero)
    let hello = try #require(packets(&client).first)
    server.receive(hello.rawSpan, at: .zero)
    server.receive(hello.rawSpan, at: .zero)
    let answers = packets(&server)
    try #require(answers.count == 2)
    var twin = SCTPAssociation(configuration: .init(), random: RandomSource(seed: 1))
    twin.connect(at: .zero)
    _ = packets(&twin)
    let (older, newer) = (answers[0], answers[1])
    client.receive(newer.rawSpan, at: .zero)
    twin.receive(older.rawSpan, at: .zero)
    let echo = try #require(packets(&client).first)
    let oldEcho = try #require(packets(&twin).first)
    server.receive(echo.rawSpan, at: .zero)
    let tag = server.localTag
    server.receive(oldEcho.rawSpan, at: .zero)
    let (state, after, drops) = (server.state, server.localTag, server.drops[.cookie])
    #expect(state == .established && after == tag && drops == 1)
  }

  @Test(
    "Unknown chunks are skipped or stop the packet, are reported or not, as their two high bits say (§3.2)")
  func unknownChunks() {
    for (type, isReported, goesOn) in [
      (UInt8(0x3f), false, false), (0x7f, true, false), (0xbf, false, true), (0xff, true, true),
    ] {
      var victim = Victim()
      victim.forge(Chunk.array(ChunkType(rawValue: type)) + Chunk.array(.heartbeat, value: [0, 1, 0, 4]))
      let answers = victim.drain().flatMap { packet in packet.dropFirst(12) }
      #expect(answers.contains(ChunkType.error.rawValue) == isReported, "\(type)")
      let isAnswered = answers.indices.contains {
        answers[$0] == ChunkType.heartbeatAck.rawValue
          && answers[$0...].prefix(4).elementsEqual([5, 0, 0, 8])
      }
      #expect(isAnswered == goesOn, "\(type)")
    }
  }

  @Test("A heartbeat is answered as it came; an answer to none of ours is dropped")
  func heartbeatAnswers() {
    var victim = Victim()
    let value: [UInt8] = [0, 1, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8]
    victim.forge(Chunk.array(.heartbeat, value: value))
    let packets = victim.drain()
    #expect(packets.count == 1)
    #expect(packets.first.map { Array($0.dropFirst(12)) } == [5, 0, 0, 16] + value)
    let before = victim.pair.right.association.drops[.unexpected]
    victim.forge(Chunk.array(.heartbeatAck, value: value))
    let after = victim.pair.right.association.drops[.unexpected]
    #expect(after == before + 1)
  }

  // MARK: T23

  @Test("T23: chunk and parameter lengths that lie are refused", arguments: 0..<8)
  func lengths(length: UInt8) {
    var victim = Victim()
    for type: UInt8 in [0, 1, 2, 3, 4, 6, 7, 9, 10, 64, 130, 192, 194, 255] {
      victim.forge([type, 0, 0, length])
      victim.forge([type, 0, 0, length, 0, 13, 0, length])
      victim.forge([type, 0, 0xff, 0xff, 0, 0, 0, 0])
      victim.forge([130, 0, 0, 8 + length, 0, 13, 0, length, 0, 0, 0, 0, 0, 0, 0, 0])
    }
    _ = victim.drain()
    let buffered = victim.buffered
    #expect(buffered == 0)
  }

  @Test("T23: no prefix and no damage of any packet of a session traps", arguments: UInt64(1)...6)
  func damagedPackets(seed: UInt64) throws {
    let box = Box<[[UInt8]]>([])
    var pair = SimulatedPair(Link(seed: seed, lossPerMille: 100))
    pair.filter = { _, packet in
      if box.value.count < 60 { box.value.append(packet) }
      return true
    }
    pair.connectBoth()
    for index in 0..<6 {
      try pair.left.association.send(
        TestMessage.bytes(index, length: 700), on: 1, payloadProtocol: binary,
        options: DeliveryOptions(retransmissionsMax: 0), at: pair.now)
    }
    pair.left.association.resetStreams([1])
    pair.run(seconds: 40)
    pair.left.association.shutdown(at: pair.now)
    pair.run(seconds: 20)
    var random = RandomSource(seed: seed)
    for packet in box.value {
      var victim = Victim()
      let tag = victim.pair.right.association.localTag
      let chunks = Array(packet[12...])
      for length in stride(from: 0, to: chunks.count, by: chunks.count > 200 ? 41 : 3) {
        victim.forge(Array(chunks.prefix(length)), tag: chunks[0] == 1 ? 0 : tag)
      }
      for _ in 0..<20 {
        var damaged = chunks
        for _ in 0..<2 {
          damaged[Int(random.next() % UInt64(damaged.count))] = UInt8(truncatingIfNeeded: random.next())
        }
        victim.forge(damaged, tag: damaged[0] == 1 ? 0 : tag)
      }
      _ = victim.drain()
      let buffered = victim.buffered
      #expect(buffered <= ReceiveWindow.initialByteCount, "seed \(seed)")
    }
  }

  // MARK: T24

  @Test("T24: a message that never ends is cut off at the longest that we take")
  func endlessMessage() {
    var victim = Victim(Self.plain)
    victim.forge(victim.data(1000, flags: .beginning))
    for _ in 0..<400 { victim.forge(victim.data(1000)) }
    _ = victim.drain()
    let closure = victim.pair.right.closure
    #expect(closure == .aborted(.outOfResource))
  }

  @Test("T24: pieces that never make a message fill the window and no more, then end the association")
  func endlessPieces() {
    var victim = Victim(Self.small)
    var most = 0
    for _ in 0..<5000 {
      victim.forge(victim.data(1, flags: .beginning))
      most = max(most, victim.buffered)
      if victim.pair.right.association.state == .closed { break }
    }
    _ = victim.drain()
    #expect(most <= 65_536 * 11 / 10, "\(most)")
    let closure = victim.pair.right.closure
    #expect(closure == .aborted(.outOfResource))
  }

  @Test("T24: pieces with holes between them are stored up to the limits of window and ranges")
  func gaps() {
    var victim = Victim(Self.plain)
    for _ in 0..<9000 { victim.forge(victim.data(1, flags: .beginning, skipping: 1)) }
    _ = victim.drain()
    let (buffered, drops) = (victim.buffered, victim.pair.right.association.drops[.tooManyGaps])
    #expect(buffered <= ReceiveWindow.initialByteCount)
    #expect(drops > 4000)
    let state = victim.pair.right.association.state
    #expect(state == .established)
  }

  @Test("T24: messages far ahead of their order wait within the window only")
  func farAhead() {
    var victim = Victim(Self.small)
    var most = 0
    for number in 0..<3000 {
      victim.forge(victim.data(50, flags: [.beginning, .end], messageID: UInt32(number % 30_000) + 1))
      most = max(most, victim.buffered)
    }
    _ = victim.drain()
    #expect(most <= 65_536 * 11 / 10, "\(most)")
    let closure = victim.pair.right.closure
    #expect(closure == .aborted(.outOfResource))
  }

  @Test("T24: DATA and I-DATA without payload end the association", arguments: [true, false])
  func emptyData(isInterleaved: Bool) {
    var victim = Victim(isInterleaved ? .init() : Self.plain)
    victim.forge(victim.data(0, flags: [.beginning, .end]))
    _ = victim.drain()
    let closure = victim.pair.right.closure
    #expect(closure == .aborted(.noUserData))
  }

  @Test("T24: FORWARD-TSNs with leaps, and resets that wait for ever, hold one request at most")
  func leapsAndResets() {
    var victim = Victim(Self.plain)
    for count in 0..<2000 {
      let first = victim.pair.right.association.resets.expectedSequence
      let streams = (0..<200).map { StreamID(rawValue: UInt16($0)) }
      let reset = Reconfiguration.outgoingReset(
        sequence: first, answering: 0, lastTSN: victim.nextTSN &+ 1_000_000, streams: streams)
      victim.forge(Chunk.array(.reconfiguration, value: reset.array()))
      let leap = ForwardTSN(
        cumulativeTSN: victim.nextTSN &+ 0x4000_0000,
        skipped: [.init(stream: 1, isUnordered: false, messageID: UInt32(count))],
        isInterleaved: false)
      victim.forge(leap.array())
      let step = ForwardTSN(
        cumulativeTSN: victim.nextTSN, skipped: [.init(stream: 60_000, isUnordered: false, messageID: 7)],
        isInterleaved: false)
      victim.nextTSN &+= 1
      victim.forge(step.array())
    }
    let control = victim.pair.right.association.controlChunks.count
    #expect(control <= SCTPLimits.controlChunksMax)
    let buffered = victim.buffered
    #expect(buffered == 0)
    let deferred = victim.pair.right.association.resets.deferred?.streams.count
    #expect(deferred == 200)
    let resets = victim.pair.right.incomingResets.count
    #expect(resets == 0)
  }

  @Test("T24: heartbeats and unknown chunks without end queue a few answers at most")
  func heartbeatFlood() {
    var victim = Victim()
    for _ in 0..<3000 {
      victim.forge(Chunk.array(.heartbeat, value: [UInt8](repeating: 1, count: 500)))
      victim.forge(Chunk.array(ChunkType(rawValue: 0xfe), value: [1, 2, 3]))
    }
    let control = victim.pair.right.association.controlChunks.count
    #expect(control <= SCTPLimits.controlChunksMax)
  }

  @Test("T25: a stream beyond those agreed on is refused with an error, and its data acknowledged")
  func hugeStream() {
    var victim = Victim(Self.plain)
    victim.forge(victim.data(10, flags: [.beginning, .end], stream: 65_535))
    let packets = victim.drain()
    let holdsError = packets.contains { packet in packet.count > 12 && packet[12...].contains(9) }
    #expect(holdsError)
    let (messages, cumulative) = (
      victim.pair.right.messages.count, victim.pair.right.association.received.cumulative
    )
    #expect(messages == 0)
    #expect(UInt32(truncatingIfNeeded: cumulative) == victim.nextTSN &- 1)
  }

  // MARK: T27

  @Test("T27: a SACK of what was never sent is ignored")
  func forgedAcknowledgements() throws {
    var victim = Victim()
    let window = victim.pair.right.association.congestion.window
    try victim.pair.right.association.send(
      [UInt8](repeating: 1, count: 5000), on: 1, payloadProtocol: binary, at: victim.pair.now)
    _ = victim.drain()
    let inFlight = victim.pair.right.association.retransmissions.inFlightByteCount
    let base = UInt32(truncatingIfNeeded: victim.pair.right.association.retransmissions.cumulative)
    func sack(_ tsn: UInt32, _ blocks: [UInt16] = []) -> [UInt8] {
      Chunk.array(
        .sack,
        value: [UInt8](writing: 12 + 2 * blocks.count) { writer in
          writer.write(tsn)
          writer.write(UInt32.max)
          writer.write(UInt16(blocks.count / 2))
          writer.write(0 as UInt16)
          for block in blocks { writer.write(block) }
        })
    }
    victim.forge(sack(base &+ 100))
    victim.forge(sack(base, [1, 65_535]))
    victim.forge(sack(base, [3, 2]))
    victim.forge(sack(base, [2, 3, 3, 4]))
    let drops = victim.pair.right.association.drops[.forgedAcknowledgement]
    #expect(drops == 4)
    let after = victim.pair.right.association.retransmissions.inFlightByteCount
    #expect(after == inFlight)
    for _ in 0..<100_000 { victim.forge(sack(base)) }
    let grown = victim.pair.right.association.congestion.window
    #expect(grown == window, "acknowledging nothing does not open the window")
  }

  @Test(
    "T27: acknowledgements ahead of the data's arrival cannot open the window beyond its end",
    arguments: [SCTPAssociation.Configuration.CongestionAlgorithm.newReno, .cubic, .modelBased])
  func optimisticAcknowledgements(algorithm: SCTPAssociation.Configuration.CongestionAlgorithm) {
    var controller = CongestionController(algorithm, packetByteCount: 1160)
    var packet: Int64 = 0
    for step in 0..<10_000 {
      let now = Instant.zero + .milliseconds(Int64(step))
      packet += 1
      controller.sent(packet, inFlightByteCount: 0, at: now)
      let window = controller.window
      controller.acknowledged(
        Acknowledgement(
          byteCount: window, previousInFlightByteCount: window, roundTripTime: .milliseconds(1),
          isCumulative: true, newestPacket: packet, time: now + .milliseconds(1)))
    }
    let window = controller.window
    #expect(window <= SCTPLimits.congestionWindowMax)
    #expect(window > SCTPLimits.congestionWindowMax / 2, "the forged path is a good one")
  }
}

/// A value that a closure may change.
final class Box<Value> {
  var value: Value
  init(_ value: Value) { self.value = value }
}
