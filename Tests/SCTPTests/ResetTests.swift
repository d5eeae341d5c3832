// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing

@testable import SCTP

/// Goal: streams are reset once for each request, with each peer's reading of RFC 6525. Method: a standing
/// association against a forger who plays those peers.
@Suite("Stream resets, RFC 6525")
struct ResetTests {
  typealias Victim = AttackTests.Victim

  private static func request(
    _ victim: inout Victim, ahead: UInt32, by offset: UInt32 = 0, streams: [StreamID] = [3]
  ) -> [UInt8] {
    let sequence = victim.pair.right.association.resets.expectedSequence &+ offset
    let lastTSN = UInt32(truncatingIfNeeded: victim.pair.right.association.received.cumulative) &+ ahead
    return Chunk.array(
      .reconfiguration,
      value: Reconfiguration.outgoingReset(
        sequence: sequence, answering: 0, lastTSN: lastTSN, streams: streams
      ).array())
  }

  /// The RE-CONFIG parameters in what the victim says.
  private static func said(_ victim: inout Victim) -> [Reconfiguration] {
    var items: [Reconfiguration] = []
    for packet in victim.drain() {
      let bytes = packet.rawSpan
      var reader = ByteReader(bytes.extracting(12..<bytes.byteCount))
      while let chunk = try? Chunk(parsing: &reader) {
        guard chunk.type == .reconfiguration else { continue }
        var inner = ByteReader(chunk.value)
        while inner.remaining >= 4, let parameter = try? Parameter(parsing: &inner) {
          if let item = try? Reconfiguration(parameter) { items.append(item) }
        }
      }
    }
    return items
  }

  private static func response(_ sequence: UInt32, _ outcome: Reconfiguration.Outcome) -> [UInt8] {
    Chunk.array(
      .reconfiguration, value: Reconfiguration.response(sequence: sequence, outcome: outcome).array())
  }

  @Test(
    "A request that waits for data is done once, whether it is repeated under its number or under the next")
  func deferred() throws {
    for offset: UInt32 in [0, 1] {
      var victim = Victim(AttackTests.plain)
      let first = victim.pair.right.association.resets.expectedSequence
      let request = Self.request(&victim, ahead: 1)
      let again = Self.request(&victim, ahead: 1, by: offset)
      victim.forge(request)
      let waiting = Self.said(&victim)
      #expect(waiting == [.response(sequence: first, outcome: .inProgress)])
      victim.forge(again)
      let stillWaiting = Self.said(&victim)
      #expect(stillWaiting == [.response(sequence: first &+ offset, outcome: .inProgress)])
      victim.forge(victim.data(10, flags: [.beginning, .end]))
      let done = Self.said(&victim)
      #expect(done.isEmpty, "it is told when asked")
      victim.forge(again)
      let repeated = Self.said(&victim)
      #expect(repeated == [.response(sequence: first &+ offset, outcome: .performed)])
      let resets = victim.pair.right.incomingResets
      #expect(resets == [[3]])
    }
  }

  @Test("A peer that missed our word of a deferred reset and asks under the next number resets nothing twice")
  func lateRenumbering() throws {
    var victim = Victim(AttackTests.plain)
    let (request, next) = (
      Self.request(&victim, ahead: 1), Self.request(&victim, ahead: 1, by: 1)
    )
    victim.forge(request)
    victim.forge(victim.data(10, flags: [.beginning, .end]))
    _ = victim.drain()
    victim.forge(next)
    let answers = Self.said(&victim).map { item in
      if case .response(_, let outcome) = item { outcome } else { Reconfiguration.Outcome.denied }
    }
    let resets = victim.pair.right.incomingResets
    #expect(answers == [.nothingToDo] && resets == [[3]])
  }

  @Test("Once the peer knows of a deferred reset, the same under the next number is another one")
  func sameAgain() throws {
    var victim = Victim(AttackTests.plain)
    let (request, next) = (
      Self.request(&victim, ahead: 1), Self.request(&victim, ahead: 1, by: 1)
    )
    victim.forge(request)
    victim.forge(victim.data(10, flags: [.beginning, .end]))
    victim.forge(request)
    victim.forge(next)
    _ = victim.drain()
    let resets = victim.pair.right.incomingResets
    #expect(resets == [[3], [3]])
  }

  @Test("What was given up before a reset skips nothing after it", arguments: UInt64(1)...20)
  func staleSkips(seed: UInt64) throws {
    var configuration = SCTPAssociation.Configuration()
    configuration.offersInterleaving = seed % 2 == 0
    let link = Link(
      seed: seed, lossPerMille: 250, duplicationPerMille: 100, jitter: .milliseconds(60))
    var pair = SimulatedPair.connected(link, left: configuration)
    let fleeting = DeliveryOptions(retransmissionsMax: 0)
    for round in 0..<20 {
      // The first message on a stream is reliable, as an OPEN is; the others are given up when they are lost.
      try pair.left.association.send(
        TestMessage.bytes(round, length: 20), on: 1, payloadProtocol: binary, at: pair.now)
      for step in 0..<3000 where pair.left.outgoingResets.count == round {
        if step < 5 {
          try pair.left.association.send(
            [1], on: 1, payloadProtocol: binary, options: fleeting, at: pair.now)
        }
        if step == 5 { pair.left.association.resetStreams([1]) }
        try pair.left.association.send([2], on: 2, payloadProtocol: binary, options: fleeting, at: pair.now)
        let limit = pair.now + .milliseconds(20)
        pair.run(seconds: 1) { $0.now >= limit }
      }
    }
    pair.run(seconds: 60)
    let arrived = pair.right.messages.filter { $0.bytes.count == 20 }.map { TestMessage.index(of: $0.bytes) }
    #expect(arrived == Array(0..<20), "seed \(seed)")
  }

  @Test("A number that is neither the next nor the last is bad; streams that do not exist are wrong")
  func badRequests() {
    var victim = Victim(AttackTests.plain)
    let first = victim.pair.right.association.resets.expectedSequence
    victim.forge(Self.request(&victim, ahead: 0, by: 5))
    victim.forge(Self.request(&victim, ahead: 0, streams: [3, 5000]))
    let answers = Self.said(&victim)
    #expect(
      answers == [
        .response(sequence: first &+ 5, outcome: .badSequenceNumber),
        .response(sequence: first, outcome: .wrongSequence),
      ])
    let resets = victim.pair.right.incomingResets
    #expect(resets.isEmpty)
  }

  @Test("More requests than answers that can wait are not done, so that work stays in proportion")
  func storm() {
    var victim = Victim(AttackTests.plain)
    for _ in 0..<500 { victim.forge(Self.request(&victim, ahead: 0, streams: [1, 2, 3])) }
    victim.pair.right.takeEvents()
    let resets = victim.pair.right.incomingResets.count
    #expect(resets == SCTPLimits.controlChunksMax)
    let (control, drops) = (
      victim.pair.right.association.controlChunks.count,
      victim.pair.right.association.drops[.replyQueueFull]
    )
    #expect(control == SCTPLimits.controlChunksMax && drops == 500 - UInt64(control))
  }

  @Test("Numbers wrap from 2^32 - 1 to 0 in both directions")
  func wrap() throws {
    var pair = SimulatedPair.connected()
    pair.left.association.resets.nextSequence = .max
    pair.right.association.resets.expectedSequence = .max
    for round in 0..<3 {
      try pair.left.association.send(
        TestMessage.bytes(round, length: 10), on: 1, payloadProtocol: binary, at: pair.now)
      pair.left.association.resetStreams([1])
      pair.run(seconds: 1)
    }
    let (out, incoming, messages) = (
      pair.left.outgoingResets.map(\.isPerformed), pair.right.incomingResets, pair.right.messages.count
    )
    #expect(out == [true, true, true] && incoming == [[1], [1], [1]] && messages == 3)
  }

  /// What our side makes of the peer's answers to its requests: the numbers that it asked under, and the end.
  private static func ask(
    seconds: Int64, answering: (Int, UInt32) -> [UInt8]?
  ) -> (numbers: [UInt32], outcome: Bool?) {
    var victim = Victim(AttackTests.plain)
    let first = victim.pair.right.association.resets.nextSequence
    victim.pair.right.association.resetStreams([1])
    var numbers: [UInt32] = []
    let end = victim.pair.now + .seconds(seconds)
    while victim.pair.right.outgoingResets.isEmpty {
      for item in said(&victim) {
        guard case .outgoingReset(let sequence, _, _, _) = item else { continue }
        numbers.append(sequence &- first)
        if let answer = answering(numbers.count, sequence) { victim.forge(answer) }
      }
      victim.pair.right.takeEvents()
      guard let next = victim.pair.right.association.nextDeadline, next <= end else { break }
      victim.pair.now = max(victim.pair.now, next)
      victim.pair.right.association.handleTimeout(at: victim.pair.now)
    }
    return (numbers, victim.pair.right.outgoingResets.first?.isPerformed)
  }

  @Test(
    "Each answer has its meaning",
    arguments: [
      (0, true), (1, true), (2, false), (3, false), (5, false), (99, false),
    ] as [(UInt32, Bool)])
  func answers(code: UInt32, isPerformed: Bool) {
    let result = Self.ask(seconds: 5) { _, sequence in
      let value = [UInt8](writing: 8) { writer in
        writer.write(sequence)
        writer.write(code)
      }
      return Chunk.array(.reconfiguration, value: Parameter.array(.reconfigurationResponse, value: value))
    }
    #expect(result.numbers == [0] && result.outcome == isPerformed)
  }

  @Test(
    "In progress: asked again under the same number, as RFC 6525 says; later under new ones, for dcSCTP")
  func inProgress() {
    let result = Self.ask(seconds: 20) { count, sequence in
      Self.response(sequence, count < 5 ? .inProgress : .performed)
    }
    #expect(result.numbers == [0, 0, 0, 1, 2] && result.outcome == true)
  }

  @Test("In progress, then done under the first number, as usrsctp says when the data is there")
  func lateAnswer() {
    var first: UInt32?
    let result = Self.ask(seconds: 20) { count, sequence in
      first = first ?? sequence
      return count < 5 ? Self.response(sequence, .inProgress) : Self.response(first ?? 0, .performed)
    }
    #expect(result.outcome == true)
  }

  @Test("A peer that talks but never answers counts as one that will not reset, after twenty requests")
  func unanswered() {
    let result = Self.ask(seconds: 100) { _, _ in Chunk.array(.heartbeat, value: [0, 1, 0, 4]) }
    #expect(result.numbers == [UInt32](repeating: 0, count: SCTPLimits.resetRequestsMax))
    #expect(result.outcome == false)
  }

  @Test("A path that is away for a minute only delays a reset")
  func outage() throws {
    var pair = SimulatedPair.connected()
    pair.link.lossPerMille = 1000
    pair.left.association.resetStreams([1])
    pair.run(seconds: 60)
    pair.link.lossPerMille = 0
    pair.run(seconds: 10)
    let (outcome, incoming) = (pair.left.outgoingResets.first?.isPerformed, pair.right.incomingResets)
    #expect(outcome == true && incoming == [[1]])
  }

  @Test("More streams are granted up to our own limit; all else that RFC 6525 knows is denied")
  func otherRequests() {
    var configuration = AttackTests.plain
    configuration.streamCount = 2000
    var victim = Victim(configuration)
    let first = victim.pair.right.association.resets.expectedSequence
    let before = victim.pair.right.association.receiveStreamCount
    let items: [Reconfiguration] = [
      .addStreams(sequence: first, count: 10, isOutgoing: true),
      .addStreams(sequence: first &+ 1, count: 65_535, isOutgoing: true),
      .addStreams(sequence: first &+ 2, count: 1, isOutgoing: false),
      .incomingReset(sequence: first &+ 3, streams: [1]), .associationReset(sequence: first &+ 4),
    ]
    for item in items { victim.forge(Chunk.array(.reconfiguration, value: item.array())) }
    let outcomes = Self.said(&victim).map { item in
      if case .response(_, let outcome) = item { outcome } else { Reconfiguration.Outcome.inProgress }
    }
    #expect(outcomes == [.performed, .denied, .denied, .denied, .denied])
    let after = victim.pair.right.association.receiveStreamCount
    #expect(after == before + 10)
  }
}
