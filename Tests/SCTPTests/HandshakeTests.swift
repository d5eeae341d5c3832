// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Goal: the rules of RFC 9260 §5 for each packet of the handshake, and of §8 for packets that do not belong.
/// Method: single associations that are fed one packet after the other, by hand.
@Suite("The handshake, RFC 9260 §5 and §8")
struct HandshakeTests {
  /// One association and the time.
  struct Host: ~Copyable {
    var association: SCTPAssociation
    var now = Instant.zero

    init(seed: UInt64, _ configuration: SCTPAssociation.Configuration = .init()) {
      association = SCTPAssociation(configuration: configuration, random: RandomSource(seed: seed))
    }

    mutating func take(_ packet: [UInt8]) { association.receive(packet.rawSpan, at: now) }

    mutating func packets() -> [[UInt8]] {
      var packets: [[UInt8]] = []
      while true {
        let now = now
        let bytes = [UInt8](writing: 1500) { _ = association.pollTransmit(into: &$0, at: now) }
        guard !bytes.isEmpty else { return packets }
        packets.append(bytes)
      }
    }

    mutating func wait(_ delta: TimeDelta) {
      let end = now + delta
      while let next = association.nextDeadline, next <= end {
        now = max(now, next)
        association.handleTimeout(at: now)
      }
      now = end
    }

    mutating func events() -> [String] {
      var names: [String] = []
      while let event = association.pollEvent() {
        names.append(String(describing: event).split(separator: "(").first.map(String.init) ?? "")
      }
      return names
    }
  }

  static func types(of packet: [UInt8]) -> [UInt8] {
    var types: [UInt8] = []
    let bytes = packet.rawSpan
    var reader = ByteReader(bytes)
    guard (try? CommonHeader(parsing: &reader)) != nil else { return [] }
    while let chunk = try? Chunk(parsing: &reader) { types.append(chunk.type.rawValue) }
    return types
  }

  static func tag(of packet: [UInt8]) -> UInt32 { packet[4..<8].reduce(0) { $0 << 8 | UInt32($1) } }

  static func peerInit(tag: UInt32 = 77, tsn: UInt32 = 5) -> InitChunk {
    InitChunk(
      initiateTag: tag, window: 100_000, outboundStreamCount: 16, inboundStreamCount: 16, initialTSN: tsn,
      capabilities: [.partialReliability, .reconfiguration])
  }

  /// A host that stands with a peer whose tag is 77, by the peer's handshake.
  static func standing(seed: UInt64 = 1) throws -> Host {
    var host = Host(seed: seed)
    host.take(AttackTests.packet(peerInit().array(.initiation), tag: 0))
    host.take(try echo(try #require(host.packets().first)))
    _ = host.packets()
    _ = host.events()
    return host
  }

  static func initAck(in packet: [UInt8]) throws -> InitChunk {
    let bytes = Array(packet[16...])
    var reader = ByteReader(bytes.rawSpan)
    return try InitChunk(parsing: &reader)
  }

  /// The COOKIE ECHO that answers an INIT ACK.
  static func echo(_ packet: [UInt8]) throws -> [UInt8] {
    let chunk = try initAck(in: packet)
    return AttackTests.packet(Chunk.array(.cookieEcho, value: chunk.cookie), tag: chunk.initiateTag)
  }

  // MARK: INIT and INIT ACK

  @Test("An INIT without streams or with a tiny window is answered by an ABORT; one with tag 0 by nothing")
  func unusableInit() {
    for (change, expected) in [
      ({ $0.outboundStreamCount = 0 }, [6]), ({ $0.inboundStreamCount = 0 }, [6]),
      ({ $0.window = 1499 }, [6]),
      ({ $0.initiateTag = 0 }, []), ({ _ in }, [2]),
    ] as [((inout InitChunk) -> Void, [UInt8])] {
      var host = Host(seed: 1)
      var chunk = Self.peerInit()
      change(&chunk)
      host.take(AttackTests.packet(chunk.array(.initiation), tag: 0))
      let packets = host.packets()
      #expect(packets.flatMap(Self.types) == expected)
      #expect(packets.allSatisfy { Self.tag(of: $0) == 77 })
      let state = host.association.state
      #expect(state == .closed)
    }
  }

  @Test("INIT, INIT ACK and SHUTDOWN COMPLETE beside other chunks are dropped (§6.10)")
  func bundledInit() throws {
    var host = Host(seed: 1)
    let chunks = Self.peerInit().array(.initiation) + Chunk.array(.cookieAck)
    host.take(AttackTests.packet(chunks, tag: 0))
    let (packets, drops) = (host.packets(), host.association.drops[.malformed])
    #expect(packets.isEmpty && drops == 1)
  }

  @Test("An INIT ACK with which nothing can be done ends the attempt and tells the peer (§3.3.3)")
  func unusableInitAck() {
    for (change, cause, isTold) in [
      ({ $0.outboundStreamCount = 0 }, .invalidParameter, true),
      ({ $0.window = 100 }, .invalidParameter, true), ({ $0.initiateTag = 0 }, .invalidParameter, false),
      ({ $0.cookie = [] }, .missingParameter, true),
    ] as [((inout InitChunk) -> Void, ErrorCause, Bool)] {
      var host = Host(seed: 1)
      host.association.connect(at: host.now)
      _ = host.packets()
      var chunk = Self.peerInit()
      chunk.cookie = [1, 2, 3]
      change(&chunk)
      host.take(AttackTests.packet(chunk.array(.initiationAck), tag: host.association.localTag))
      let packets = host.packets()
      #expect(packets.flatMap(Self.types) == (isTold ? [6] : []))
      var closure: SCTPAssociation.Closure?
      while let event = host.association.pollEvent() {
        if case .closed(let reason) = event { closure = reason }
      }
      #expect(closure == .aborted(cause))
    }
  }

  @Test("Unknown parameters of an INIT ACK are reported beside the COOKIE ECHO (§3.2.1)")
  func unknownParameters() throws {
    var host = Host(seed: 1)
    host.association.connect(at: host.now)
    _ = host.packets()
    var chunk = Self.peerInit()
    chunk.cookie = [1, 2, 3, 4]
    let unknown: [UInt8] = [0xff, 0x77, 0, 8, 1, 2, 3, 4]
    var bytes = chunk.array(.initiationAck) + unknown
    bytes[2] = UInt8(bytes.count >> 8)
    bytes[3] = UInt8(truncatingIfNeeded: bytes.count)
    host.take(AttackTests.packet(bytes, tag: host.association.localTag))
    let packet = try #require(host.packets().first)
    #expect(Self.types(of: packet) == [10, 9])
    #expect(packet.suffix(12) == [0, 8, 0, 12] + unknown)
  }

  @Test("An INIT costs nothing but an answer; while answers wait, not even that")
  func statelessness() {
    var host = Host(seed: 1)
    let count = Seeds.count > 100 ? 1_000_000 : 20_000
    for tag in 1...UInt32(count) {
      host.take(AttackTests.packet(Self.peerInit(tag: tag).array(.initiation), tag: 0))
    }
    let (state, drops, deadline) = (
      host.association.state, host.association.drops[.replyQueueFull], host.association.nextDeadline
    )
    #expect(state == .closed && drops == UInt64(count - SCTPLimits.repliesMax) && deadline == nil)
    let answers = host.packets().count
    #expect(answers == SCTPLimits.repliesMax)
  }

  // MARK: Collisions, the table of §5.2.4

  @Test("A: both tags are new and the tie tags match: the peer began anew")
  func actionA() throws {
    var host = try Self.standing()
    let old = host.association.localTag
    host.take(AttackTests.packet(Self.peerInit(tag: 88, tsn: 100).array(.initiation), tag: 0))
    let answer = try #require(host.packets().first)
    let tagInAnswer = try Self.initAck(in: answer).initiateTag
    #expect(tagInAnswer != old, "an INIT does not learn the tag of what stands")
    let before = host.association.localTag
    #expect(before == old)
    host.take(try Self.echo(answer))
    let (events, packets) = (host.events(), host.packets())
    #expect(events == ["restarted"] && packets.flatMap(Self.types).first == 11)
    let (peer, local, next) = (
      host.association.peerTag, host.association.localTag, host.association.received.cumulative
    )
    #expect(peer == 88 && local == tagInAnswer && UInt32(truncatingIfNeeded: next) == 99)
  }

  @Test("A while our SHUTDOWN ACK is under way is refused by an error, and the SHUTDOWN ACK repeated")
  func actionADuringShutdown() throws {
    var host = try Self.standing()
    host.take(AttackTests.packet(Self.peerInit(tag: 88).array(.initiation), tag: 0))
    let answer = try #require(host.packets().first)
    let shutdown = Chunk.array(.shutdown, value: [0, 0, 0, 0])
    host.take(AttackTests.packet(shutdown, tag: host.association.localTag))
    _ = host.packets()
    host.take(try Self.echo(answer))
    let types = host.packets().flatMap(Self.types)
    #expect(types == [8, 9])
    let (state, peer) = (host.association.state, host.association.peerTag)
    #expect(state == .shutdownAckSent && peer == 77)
  }

  @Test("B: our tag and another of the peer's: its handshake replaces what our INIT ACK began")
  func actionB() throws {
    for stands in [false, true] {
      var host = Host(seed: 1)
      host.association.connect(at: host.now)
      _ = host.packets()
      host.take(AttackTests.packet(Self.peerInit(tag: 88).array(.initiation), tag: 0))
      let answer = try #require(host.packets().first)
      var ack = Self.peerInit(tag: 77)
      ack.cookie = [1, 2, 3, 4]
      host.take(AttackTests.packet(ack.array(.initiationAck), tag: host.association.localTag))
      let opening = host.association.state
      #expect(opening == .cookieEchoed)
      if stands { host.take(AttackTests.packet(Chunk.array(.cookieAck), tag: host.association.localTag)) }
      _ = host.events()
      host.take(try Self.echo(answer))
      let (state, peer, events) = (host.association.state, host.association.peerTag, host.events())
      #expect(state == .established && peer == 88)
      #expect(events == [stands ? "restarted" : "connected"])
    }
  }

  @Test("C: an old cookie with another tag of ours and no tie tags is dropped")
  func actionC() throws {
    var host = Host(seed: 1)
    host.take(AttackTests.packet(Self.peerInit().array(.initiation), tag: 0))
    host.take(AttackTests.packet(Self.peerInit().array(.initiation), tag: 0))
    let answers = host.packets()
    host.take(try Self.echo(answers[0]))
    let tag = host.association.localTag
    host.take(try Self.echo(answers[1]))
    let (after, drops) = (host.association.localTag, host.association.drops[.cookie])
    #expect(after == tag && drops == 1)
  }

  @Test("D: both tags match: the COOKIE ACK is repeated, even for a cookie that is stale by now")
  func actionD() throws {
    var host = Host(seed: 1)
    host.take(AttackTests.packet(Self.peerInit().array(.initiation), tag: 0))
    let echo = try Self.echo(try #require(host.packets().first))
    host.take(echo)
    _ = (host.packets(), host.events())
    host.wait(.seconds(70))
    _ = host.packets()
    host.take(echo)
    let (types, events, state) = (
      host.packets().flatMap(Self.types), host.events(), host.association.state
    )
    #expect(types == [11] && events.isEmpty && state == .established)
  }

  @Test("An INIT while our SHUTDOWN ACK is under way brings that again, and nothing else (§9.2)")
  func initDuringShutdown() throws {
    var host = try Self.standing()
    let shutdown = Chunk.array(.shutdown, value: [0, 0, 0, 0])
    host.take(AttackTests.packet(shutdown, tag: host.association.localTag))
    _ = host.packets()
    host.take(AttackTests.packet(Self.peerInit(tag: 88).array(.initiation), tag: 0))
    let types = host.packets().flatMap(Self.types)
    #expect(types == [8])
  }

  // MARK: COOKIE ECHO and COOKIE ACK

  @Test("A stale cookie is told by how much, in microseconds (§3.3.10.3)")
  func staleness() throws {
    var host = Host(seed: 1)
    host.take(AttackTests.packet(Self.peerInit().array(.initiation), tag: 0))
    let echo = try Self.echo(try #require(host.packets().first))
    host.now = host.now + .seconds(62)
    host.take(echo)
    let packet = try #require(host.packets().first)
    #expect(Array(packet[12...]) == [9, 0, 0, 12, 0, 3, 0, 8, 0x00, 0x1e, 0x84, 0x80])
  }

  @Test(
    "A peer that calls its cookies stale is asked anew a few times, data in flight or not; then time decides")
  func staleForEver() throws {
    for hasData in [true, false] {
      var host = Host(seed: 1)
      if hasData { try host.association.send([1], on: 0, payloadProtocol: binary, at: host.now) }
      host.association.connect(at: host.now)
      var initCount = 0
      for _ in 0..<40 {
        for packet in host.packets() {
          let tag = host.association.localTag
          if packet[12] == 1 {
            initCount += 1
            var ack = Self.peerInit()
            ack.cookie = [1, 2, 3, 4]
            host.take(AttackTests.packet(ack.array(.initiationAck), tag: tag))
          } else {
            let error = Chunk.array(.error, value: ErrorCause.staleCookie.array(information: [0, 0, 0, 1]))
            host.take(AttackTests.packet(error, tag: tag))
          }
        }
      }
      #expect(initCount == 1 + SCTPLimits.staleCookiesMax)
      host.wait(.seconds(400))
      let events = host.events()
      #expect(events == ["closed"])
    }
  }

  @Test("The timer doubles once for each COOKIE ECHO that gets lost, with data beside it too")
  func cookieEchoTimer() throws {
    var host = Host(seed: 1)
    try host.association.send([1, 2, 3], on: 0, payloadProtocol: binary, at: host.now)
    host.association.connect(at: host.now)
    _ = host.packets()
    var ack = Self.peerInit()
    ack.cookie = [1, 2, 3, 4]
    host.take(AttackTests.packet(ack.array(.initiationAck), tag: host.association.localTag))
    var times: [Int64] = []
    let start = host.now
    while times.count < 5, let next = host.association.nextDeadline {
      for packet in host.packets() {
        let types = Self.types(of: packet)
        #expect(types == [10, 0], "the data goes with the cookie, and never without")
        times.append((host.now - start).nanoseconds / 1_000_000)
      }
      host.wait(next - host.now)
    }
    #expect(times == [0, 400, 1200, 2800, 5800])
  }

  @Test("Data and SACKs say what a lost COOKIE ACK would have said", arguments: [true, false])
  func impliedCookieAck(byData: Bool) throws {
    var host = Host(seed: 1)
    host.association.connect(at: host.now)
    _ = host.packets()
    var ack = Self.peerInit()
    ack.cookie = [1, 2, 3, 4]
    host.take(AttackTests.packet(ack.array(.initiationAck), tag: host.association.localTag))
    _ = host.packets()
    let chunk = DataChunk(
      flags: [.beginning, .end], tsn: 5, stream: 1, messageID: 0, payloadProtocol: binary,
      isInterleaved: false)
    let payload: [UInt8] = [9]
    let data = [UInt8](writing: 40) { chunk.write(payload.rawSpan, into: &$0) }
    let before = UInt32(truncatingIfNeeded: host.association.retransmissions.cumulative)
    let sack = Chunk.array(
      .sack,
      value: [UInt8](writing: 12) { writer in
        writer.write(before)
        writer.write(100_000 as UInt32)
        writer.write(0 as UInt32)
      })
    host.take(AttackTests.packet(byData ? data : sack, tag: host.association.localTag))
    let (state, events) = (host.association.state, host.events())
    #expect(state == .established && events == (byData ? ["connected", "message"] : ["connected"]))
  }

  @Test("Messages for streams that the peer turns out not to have are let go")
  func fewerStreams() throws {
    var configuration = SCTPAssociation.Configuration()
    configuration.streamCount = 10
    var pair = SimulatedPair(right: configuration)
    for stream: StreamID in [3, 10, 500] {
      try pair.left.association.send([1], on: stream, payloadProtocol: binary, at: pair.now)
    }
    pair.connectBoth()
    pair.run(seconds: 5)
    let (arrived, errors, waiting) = (
      pair.right.messages.map(\.stream), pair.left.closure, pair.left.association.bufferedAmount
    )
    #expect(arrived == [3] && errors == nil && waiting == 0)
    #expect(throws: SCTPAssociation.SendError.noSuchStream) {
      try pair.left.association.send([1], on: 10, payloadProtocol: binary, at: .zero)
    }
  }

  // MARK: Checksums, RFC 9653

  @Test(
    "Packets without checksum are taken where we said so, but no INIT and no COOKIE ECHO",
    arguments: [true, false])
  func zeroChecksum(isOffered: Bool) throws {
    var configuration = SCTPAssociation.Configuration()
    configuration.offersZeroChecksum = isOffered
    var host = Host(seed: 1, configuration)
    func bare(_ packet: [UInt8]) -> [UInt8] {
      var packet = packet
      for index in 8..<12 { packet[index] = 0 }
      return packet
    }
    // The peer announces nothing.
    let initiation = AttackTests.packet(Self.peerInit().array(.initiation), tag: 0)
    host.take(bare(initiation))
    host.take(initiation)
    let echo = try Self.echo(try #require(host.packets().first))
    host.take(bare(echo))
    let early = (host.association.state, host.association.drops[.checksum])
    #expect(early.0 == .closed && early.1 == 2)
    host.take(echo)
    let sealed = host.packets()
    #expect(sealed.allSatisfy { $0[8..<12] != [0, 0, 0, 0] }, "to a peer that said nothing we send sums")
    let heartbeat = AttackTests.packet(
      Chunk.array(.heartbeat, value: [0, 1, 0, 4]), tag: host.association.localTag)
    host.take(bare(heartbeat))
    let types = host.packets().flatMap(Self.types)
    #expect(types == (isOffered ? [5] : []))
  }

  @Test("Only where both offer it do packets go without checksum, the handshake's never", arguments: 0..<4)
  func zeroChecksumNegotiation(offers: Int) throws {
    var (left, right) = (SCTPAssociation.Configuration(), SCTPAssociation.Configuration())
    left.offersZeroChecksum = offers & 1 == 1
    right.offersZeroChecksum = offers & 2 == 2
    var pair = SimulatedPair(left: left, right: right)
    let bare = Box<[UInt8]>([])
    pair.filter = { _, packet in
      if packet[8..<12] == [0, 0, 0, 0] { bare.value.append(packet[12]) }
      return true
    }
    pair.connectBoth()
    pair.run(seconds: 1)
    try pair.left.association.send([1], on: 0, payloadProtocol: binary, at: pair.now)
    pair.run(seconds: 1)
    #expect(bare.value.isEmpty == (offers != 3))
    #expect(!bare.value.contains(1) && !bare.value.contains(2) && !bare.value.contains(10))
  }

  // MARK: Packets that do not belong, §8.4 and §8.5

  @Test(
    "A SHUTDOWN ACK during the handshake is of an older association: it gets a reflected SHUTDOWN COMPLETE")
  func oldShutdownAck() throws {
    var host = Host(seed: 1)
    host.association.connect(at: host.now)
    _ = host.packets()
    host.take(AttackTests.packet(Chunk.array(.shutdownAck), tag: 4711))
    let packet = try #require(host.packets().first)
    let state = host.association.state
    #expect(Self.tag(of: packet) == 4711 && Array(packet[12...]) == [14, 1, 0, 4] && state == .cookieWait)
  }

  @Test("ABORT and SHUTDOWN COMPLETE need our tag, or the peer's with the T bit (§8.5.1)")
  func abortTags() throws {
    for (isReflected, usesLocal, ends) in [
      (false, true, true), (false, false, false), (true, false, true), (true, true, false),
    ] {
      var host = try Self.standing()
      let tag = usesLocal ? host.association.localTag : host.association.peerTag
      let abort = Chunk.array(.abort, flags: isReflected ? 1 : 0)
      host.take(AttackTests.packet(abort, tag: tag))
      let state = host.association.state
      #expect((state == .closed) == ends)
    }
  }

  @Test(
    "A wrong tag is dropped whatever the packet holds",
    arguments: [0, 2, 3, 4, 5, 7, 8, 9, 11, 64, 130, 192] as [UInt8])
  func wrongTag(type: UInt8) throws {
    var host = try Self.standing()
    host.take(
      AttackTests.packet(
        Chunk.array(ChunkType(rawValue: type), value: [UInt8](repeating: 0, count: 20)),
        tag: host.association.localTag &+ 1))
    let (drops, packets, events) = (
      host.association.drops[.verificationTag], host.packets(), host.events()
    )
    #expect(drops == 1 && packets.isEmpty && events.isEmpty)
  }

  @Test("ECN's chunks and padding are stepped over; what follows them counts (RFC 9260 Appendix B, RFC 4820)")
  func ignoredChunks() throws {
    for type: UInt8 in [12, 13, 0x84] {
      var host = try Self.standing()
      let chunks =
        Chunk.array(ChunkType(rawValue: type), value: [0, 0, 0, 0])
        + Chunk.array(.heartbeat, value: [0, 1, 0, 4])
      host.take(AttackTests.packet(chunks, tag: host.association.localTag))
      let types = host.packets().flatMap(Self.types)
      #expect(types == [5], "\(type)")
    }
  }
}
