// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Goal: no packet that is cut short or damaged does worse than being refused, whatever state it meets. Method:
/// one packet of each kind; every prefix and every single flipped bit of it goes, with a right checksum and the
/// right tag, into associations in several states.
@Suite("Every prefix and every flipped bit of one packet of each kind")
struct FixtureTests {
  /// Chunks of each kind, for an association whose peer's next TSN is `tsn` and that has sent up to `sent`.
  private static func fixtures(tsn: UInt32, sent: UInt32, isInterleaved: Bool) -> [(String, [UInt8])] {
    func data(_ flags: DataChunk.Flags, _ offset: UInt32) -> [UInt8] {
      let chunk = DataChunk(
        flags: flags, tsn: tsn &+ offset, stream: 1, messageID: 0, fragment: offset, payloadProtocol: binary,
        isInterleaved: isInterleaved)
      let payload: [UInt8] = [1, 2, 3, 4, 5]
      return [UInt8](writing: 32) { chunk.write(payload.rawSpan, into: &$0) }
    }
    func words(_ words: [UInt32]) -> [UInt8] {
      [UInt8](writing: 4 * words.count) { writer in for word in words { writer.write(word) } }
    }
    func reconfiguration(_ item: Reconfiguration) -> [UInt8] {
      Chunk.array(.reconfiguration, value: item.array())
    }
    let forward = ForwardTSN(
      cumulativeTSN: tsn &+ 1,
      skipped: [
        .init(stream: 1, isUnordered: false, messageID: 0),
        .init(stream: 2, isUnordered: isInterleaved, messageID: 9),
      ], isInterleaved: isInterleaved)
    var initAck = HandshakeTests.peerInit()
    initAck.cookie = [UInt8](repeating: 7, count: 80)
    return [
      ("INIT", HandshakeTests.peerInit().array(.initiation)), ("INIT ACK", initAck.array(.initiationAck)),
      ("COOKIE ECHO", Chunk.array(.cookieEcho, value: initAck.cookie)),
      ("COOKIE ACK", Chunk.array(.cookieAck)),
      ("DATA", data([.beginning, .end], 0)), ("fragments", data(.beginning, 0) + data([], 1) + data(.end, 2)),
      ("gap", data([.beginning, .end], 3)),
      ("SACK", Chunk.array(.sack, value: words([sent, 100_000, 0x0001_0001, 0x0002_0003, tsn]))),
      ("FORWARD-TSN", forward.array()),
      (
        "reset",
        reconfiguration(
          .outgoingReset(sequence: tsn, answering: 0, lastTSN: tsn &- 1, streams: [1, 2]))
      ),
      (
        "deferred reset",
        reconfiguration(
          .outgoingReset(sequence: tsn, answering: 0, lastTSN: tsn &+ 5, streams: []))
      ),
      ("answer", reconfiguration(.response(sequence: sent, outcome: .performed))),
      ("HEARTBEAT", Chunk.array(.heartbeat, value: [0, 1, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8])),
      ("HEARTBEAT ACK", Chunk.array(.heartbeatAck, value: [0, 1, 0, 12, 1, 2, 3, 4, 5, 6, 7, 8])),
      ("ERROR", Chunk.array(.error, value: ErrorCause.staleCookie.array(information: [0, 0, 0, 1]))),
      ("SHUTDOWN", Chunk.array(.shutdown, value: words([sent]))), ("SHUTDOWN ACK", Chunk.array(.shutdownAck)),
      ("SHUTDOWN COMPLETE", Chunk.array(.shutdownComplete)),
      ("ABORT", Chunk.array(.abort, value: ErrorCause.userInitiated.array(information: [1, 2]))),
    ]
  }

  /// A host in one of some states, with data of its own under way.
  private static func host(_ state: Int) throws -> HandshakeTests.Host {
    var host = HandshakeTests.Host(seed: 1)
    if state >= 2 { host = try HandshakeTests.standing() } else { host.association.connect(at: host.now) }
    if state == 1 {
      _ = host.packets()
      var ack = HandshakeTests.peerInit()
      ack.cookie = [1, 2, 3, 4]
      host.take(AttackTests.packet(ack.array(.initiationAck), tag: host.association.localTag))
    }
    if state >= 1 {
      try host.association.send(
        [UInt8](repeating: 1, count: 3000), on: 1, payloadProtocol: binary, at: host.now)
      host.association.resetStreams([1])
    }
    if state == 3 { host.association.shutdown(at: host.now) }
    _ = host.packets()
    return host
  }

  @Test("Each is refused or taken; what is held stays small, and nothing traps", arguments: 0..<4)
  func damage(state: Int) throws {
    let model = try Self.host(state)
    let tsn = UInt32(truncatingIfNeeded: model.association.received.cumulative) &+ 1
    let sent = UInt32(truncatingIfNeeded: model.association.retransmissions.cumulative)
    var (prefixes, flips) = (0, 0)
    for isInterleaved in [false, true] {
      for (name, chunks) in Self.fixtures(tsn: tsn, sent: sent, isInterleaved: isInterleaved) {
        var host = try Self.host(state)
        for length in 0...chunks.count {
          try feed(Array(chunks.prefix(length)), to: &host, state, name)
          prefixes += 1
        }
        for bit in 0..<chunks.count * 8 {
          var damaged = chunks
          damaged[bit / 8] ^= 1 << UInt8(bit % 8)
          try feed(damaged, to: &host, state, name)
          flips += 1
        }
      }
    }
    #expect(prefixes > 1000 && flips > 8000, "\(prefixes) prefixes, \(flips) flips")
  }

  private func feed(
    _ chunks: [UInt8], to host: inout HandshakeTests.Host, _ state: Int, _ name: String
  ) throws {
    // One that ended, or that was moved to another state, makes way for a fresh one.
    if host.association.state == .closed || host.association.receiveBufferedByteCount > 0 {
      host = try Self.host(state)
    }
    let tag = chunks.first == ChunkType.initiation.rawValue ? 0 : host.association.localTag
    host.take(AttackTests.packet(chunks, tag: tag))
    host.association.handleTimeout(at: host.now)
    let packets = host.packets()
    #expect(packets.count < 10, "\(name)")
    let held = host.association.receiveBufferedByteCount
    #expect(held < 2000, "\(name): \(held)")
    _ = host.events()
  }
}
