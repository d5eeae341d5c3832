// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Goal: associations end, and messages are given up, as RFC 9260 §9 and RFC 3758 say. Method: single
/// associations fed by hand, and pairs in virtual time.
@Suite("Shutdown and partial reliability")
struct EndTests {
  @Test("One SHUTDOWN and one SACK answer a batch of packets, and acknowledge all of them (§9.2)")
  func shutdownPerBatch() throws {
    var host = try HandshakeTests.standing()
    host.association.shutdown(at: host.now)
    let first = host.packets().flatMap(HandshakeTests.types)
    #expect(first == [7])
    for tsn: UInt32 in 5..<25 {
      let chunk = DataChunk(
        flags: [.beginning, .end], tsn: tsn, stream: 1, messageID: tsn - 5, payloadProtocol: binary,
        isInterleaved: false)
      let payload: [UInt8] = [1]
      let bytes = [UInt8](writing: 40) { chunk.write(payload.rawSpan, into: &$0) }
      host.take(AttackTests.packet(bytes, tag: host.association.localTag))
    }
    let packets = host.packets()
    let types = packets.flatMap(HandshakeTests.types)
    #expect(types.filter { $0 == 7 }.count == 1 && types.filter { $0 == 3 }.count == 1, "\(types)")
    let last = try #require(packets.last)
    #expect(last.contains(24))
    let events = host.events().filter { $0 == "message" }.count
    #expect(events == 20, "data of a peer that has not heard of the shutdown still counts")
  }

  @Test("SHUTDOWN, SHUTDOWN ACK and SHUTDOWN COMPLETE in states where they do not belong change nothing")
  func unexpected() throws {
    for type: ChunkType in [.shutdownAck, .shutdownComplete] {
      var host = try HandshakeTests.standing()
      host.take(AttackTests.packet(Chunk.array(type), tag: host.association.localTag))
      let (state, packets) = (host.association.state, host.packets())
      #expect(state == .established && packets.isEmpty)
    }
    var opening = HandshakeTests.Host(seed: 1)
    opening.association.connect(at: opening.now)
    _ = opening.packets()
    let shutdown = Chunk.array(.shutdown, value: [0, 0, 0, 0])
    opening.take(AttackTests.packet(shutdown, tag: opening.association.localTag))
    let (state, packets) = (opening.association.state, opening.packets())
    #expect(state == .cookieWait && packets.isEmpty)
  }

  @Test("Duplicates without end are told in one SACK, a few by number, and held nowhere")
  func duplicates() {
    var victim = AttackTests.Victim(AttackTests.plain)
    let chunk = victim.data(100, flags: [.beginning, .end])
    for _ in 0..<20_000 { victim.forge(chunk) }
    let packets = victim.drain()
    let (messages, held) = (victim.pair.right.messages.count, victim.buffered)
    #expect(packets.count == 1 && messages == 1 && held == 0)
    #expect(packets.first.map(\.count) == 12 + SackChunk.byteCountMin + 4 * SCTPLimits.duplicatesMax)
  }

  @Test(
    "A shutdown lasts as long as a slow link needs, whether one side asked for it or both",
    arguments: [true, false])
  func slowShutdown(isByBoth: Bool) throws {
    var pair = SimulatedPair.connected(Link(seed: 1, bytesPerSecond: 10_000, queue: .seconds(2)))
    for index in 0..<40 {
      try pair.left.association.send(
        TestMessage.bytes(index, length: 100_000), on: 1, payloadProtocol: binary, at: pair.now)
    }
    pair.left.association.shutdown(at: pair.now)
    if isByBoth { pair.right.association.shutdown(at: pair.now) }
    pair.run(seconds: 500) { $0.left.closure != nil && $0.right.closure != nil }
    let (left, right, count) = (pair.left.closure, pair.right.closure, pair.right.messages.count)
    #expect(left == .shutdown && right == .shutdown && count == 40)
  }

  // MARK: Partial reliability

  @Test("To a peer without FORWARD-TSN every message is reliable")
  func peerWithoutForwardTSN() throws {
    var host = HandshakeTests.Host(seed: 1)
    var initiation = HandshakeTests.peerInit()
    initiation.capabilities = []
    host.take(AttackTests.packet(initiation.array(.initiation), tag: 0))
    host.take(try HandshakeTests.echo(try #require(host.packets().first)))
    _ = host.packets()
    try host.association.send(
      [1, 2, 3], on: 1, payloadProtocol: binary,
      options: DeliveryOptions(retransmissionsMax: 0, lifetime: .milliseconds(100)), at: host.now)
    var types = host.packets().flatMap(HandshakeTests.types)
    for _ in 0..<5 {
      host.wait(.seconds(3))
      types += host.packets().flatMap(HandshakeTests.types)
    }
    #expect(types.filter { $0 == 0 }.count >= 5 && !types.contains(192), "\(types)")
  }

  @Test("What is left of a message is not sent once its lifetime is over", arguments: [true, false])
  func lifetimeOfPart(isInterleaved: Bool) throws {
    var configuration = SCTPAssociation.Configuration()
    configuration.offersInterleaving = isInterleaved
    var pair = SimulatedPair.connected(
      Link(seed: 1, bytesPerSecond: 100_000, queue: .seconds(10)), left: configuration)
    try pair.left.association.send(
      TestMessage.bytes(0, length: 200_000), on: 1, payloadProtocol: binary,
      options: DeliveryOptions(lifetime: .milliseconds(400)), at: pair.now)
    try pair.left.association.send(
      TestMessage.bytes(1, length: 500), on: 1, payloadProtocol: binary, at: pair.now)
    let start = pair.now
    let isDone = pair.run(seconds: 30) { $0.right.messages.count == 1 }
    let arrived = pair.right.messages.map { TestMessage.index(of: $0.bytes) }
    #expect(isDone && arrived == [1])
    #expect(pair.now - start < .milliseconds(1500), "the whole message would take 2 s")
    pair.run(seconds: 10)
    let (held, inFlight) = (
      pair.right.association.receiveBufferedByteCount, pair.left.association.currentStatistics.bytesInFlight
    )
    #expect(held == 0 && inFlight == 0)
  }

  @Test("A peer that cannot reset streams: channels close at once, and their streams serve no others")
  func withoutResets() throws {
    var pair = ChannelPair()
    pair.connect()
    pair.run(seconds: 1)
    pair.client.channels.association.capabilities.remove(.reconfiguration)
    var streams: [StreamID?] = []
    for index in 0..<3 {
      let id = try pair.client.channels.open(DataChannelParameters(label: "\(index)"), at: pair.now)
      streams.append(pair.client.channels.stream(of: id))
      pair.client.channels.close(id)
      let state = pair.client.channels.state(of: id)
      #expect(state == .closed)
      pair.run(seconds: 1)
    }
    #expect(streams == [0, 2, 4])
  }
}
