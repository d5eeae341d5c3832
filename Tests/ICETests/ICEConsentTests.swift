// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("Consent, RFC 7675, and the pair that is followed")
struct ICEConsentTests {
  private func connected() throws -> AgentPair {
    var pair = AgentPair()
    try pair.addSockets(ipv6: true)
    pair.exchangeAll()
    pair.runUntilSelected()
    pair.run(for: .seconds(1))
    return pair
  }

  @Test("T6: consent checks go on every 4 to 6 seconds and keep the connection")
  func consentChecks() throws {
    var pair = try connected()
    let count = pair.left.requests.count
    pair.run(for: .seconds(120))
    let selected = pair.left.agent.selectedRoute
    let times = pair.left.requests[count...].filter { $0.route == selected }.map(\.at)
    #expect((19...31).contains(times.count))
    for (earlier, later) in zip(times, times.dropFirst()) {
      #expect((.seconds(4)...(.seconds(6))).contains(later - earlier))
    }
    let gaps = Set(zip(times, times.dropFirst()).map { $1 - $0 })
    #expect(gaps.count > 10)
    let states = pair.left.states
    #expect(states == [.checking, .connected])
  }

  @Test("T6: without responses the agent is disconnected, then failed and silent, and not revived")
  func consentLoss() throws {
    var pair = try connected()
    let leftSockets = pair.left.sockets.map(\.address)
    // Responses to the left agent vanish; all else, the peer's own checks included, goes on.
    pair.passes = { _, to, bytes in
      !leftSockets.contains(to) || kind(of: bytes)?.isRequest == true
    }
    let start = pair.now
    pair.run(for: .seconds(60)) { $0.left.agent.connectionState == .disconnected }
    let disconnectedAfter = pair.now - start
    #expect((.seconds(1)...(.seconds(8))).contains(disconnectedAfter))
    let stillSends = pair.left.agent.sendRoute
    #expect(stillSends != nil)
    pair.run(for: .seconds(60)) { $0.left.agent.connectionState == .failed }
    let failedAfter = pair.now - start
    #expect((.seconds(24)...(.seconds(30))).contains(failedAfter))
    let (sendRoute, count) = (pair.left.agent.sendRoute, pair.left.sent.count)
    #expect(sendRoute == nil)
    pair.passes = { _, _, _ in true }
    pair.run(for: .seconds(60))
    let (state, later) = (pair.left.agent.connectionState, pair.left.sent.count)
    #expect(state == .failed)
    #expect(later == count)
    let rightState = pair.right.agent.connectionState
    #expect(rightState == .failed)
  }

  @Test("T6: a late response does not revive consent")
  func lateResponse() throws {
    var pair = try connected()
    var held: [[UInt8]] = []
    let leftSockets = pair.left.sockets.map(\.address)
    pair.passes = { _, to, _ in !leftSockets.contains(to) }
    let sentBefore = pair.right.sent.count
    pair.run(for: .seconds(60)) { $0.left.agent.connectionState == .failed }
    for message in pair.right.sent[sentBefore...] where kind(of: message.bytes)?.isRequest == false {
      held.append(message.bytes)
    }
    let routeFound = pair.left.agent.selectedRoute
    let route = try #require(routeFound)
    #expect(!held.isEmpty)
    for bytes in held { pair.left.agent.receive(bytes.rawSpan, on: route, at: pair.now) }
    let (state, sendRoute) = (pair.left.agent.connectionState, pair.left.agent.sendRoute)
    #expect(state == .failed)
    #expect(sendRoute == nil)
  }

  @Test("A pause shorter than consent is survived")
  func pause() throws {
    var pair = try connected()
    pair.passes = { _, _, _ in false }
    pair.run(for: .seconds(15))
    let during = pair.left.agent.connectionState
    #expect(during == .disconnected)
    pair.passes = { _, _, _ in true }
    pair.run(for: .seconds(10))
    let after = pair.left.agent.connectionState
    #expect(after == .connected)
  }

  /// A request as the controlling peer would write it.
  private func request(
    of pair: borrowing AgentPair, nominates: Bool, password: String? = nil, fragment: String? = nil
  ) -> [UInt8] {
    let ours = pair.right.agent.localCredentials
    let theirs = pair.left.agent.localCredentials.usernameFragment
    var builder = STUNMessageBuilder(
      .request, transactionID: STUNTransactionID(prefix: 1, suffix: UInt64(pair.now.nanoseconds)))
    builder.append(.username, "\(fragment ?? ours.usernameFragment):\(theirs)")
    builder.append(.priority, 1_845_494_271 as UInt32)
    builder.append(.iceControlling, UInt64.max)
    if nominates { builder.append(.useCandidate, []) }
    builder.appendIntegrity(with: STUNIntegrityKey(password: Secret(password ?? ours.password.unredacted)))
    builder.appendFingerprint()
    return builder.bytes
  }

  @Test("The controlled agent follows a peer that changes its mind, also to a worse pair")
  func renomination() throws {
    var pair = try connected()
    let firstFound = pair.right.agent.selectedRoute
    let first = try #require(firstFound)
    #expect(first.remote.ip.family == .ipv6)
    // The peer no longer names the old pair.
    pair.passes = { _, _, bytes in (try? ParsedMessage(bytes))?.usesCandidate != true }
    pair.run(for: .seconds(5))
    let (from, to) = (pair.left.sockets[0].address, pair.right.sockets[0].address)
    // The pair may never have been checked or its consent may be old: several checks, as a peer sends them.
    for _ in 0..<3 {
      pair.inject(request(of: pair, nominates: true), from: from, to: to)
      pair.run(for: .seconds(1))
    }
    let secondFound = pair.right.agent.selectedRoute
    let second = try #require(secondFound)
    #expect(second.remote == from)
    let (isFirstValid, sendRoute) = (pair.right.agent.isValid(first), pair.right.agent.sendRoute)
    #expect(isFirstValid, "what comes by the old pair is still welcome")
    #expect(sendRoute == second)
  }

  @Test("Of pairs that a peer nominates in one go the best is followed")
  func aggressiveNomination() throws {
    var pair = AgentPair()
    try pair.addSockets(ipv6: true)
    pair.giveCredentialsToRight()
    pair.giveCandidatesToRight()
    // The left agent is a mere responder here: its own nominations are held back.
    pair.giveCredentialsToLeft()
    pair.passes = { _, _, bytes in (try? ParsedMessage(bytes))?.usesCandidate != true }
    pair.run(for: .milliseconds(20))
    for index in [0, 1, 0] {
      pair.inject(
        request(of: pair, nominates: true), from: pair.left.sockets[index].address,
        to: pair.right.sockets[index].address)
      pair.run(for: .milliseconds(100))
    }
    let selected = pair.right.agent.selectedRoute
    #expect(selected?.remote.ip.family == .ipv6)
  }

  @Test("T7, T9: forged requests change nothing, whatever they claim")
  func forgedRequests() throws {
    var pair = try connected()
    let attacker = try address("192.0.2.66", 6666)
    let (to, selected) = (pair.right.sockets[0].address, pair.right.agent.selectedRoute)
    let pairs = pair.right.agent.statistics.pairs.count
    let forged = [
      request(of: pair, nominates: true, password: "0000000000000000000000"),
      request(of: pair, nominates: true, fragment: "wxyz"),
      STUNMessageBuilder(.request, transactionID: STUNTransactionID(prefix: 0, suffix: 0)).bytes,
    ]
    for bytes in forged { pair.inject(bytes, from: attacker, to: to) }
    pair.run(for: .seconds(3))
    let (after, pairsAfter) = (pair.right.agent.selectedRoute, pair.right.agent.statistics.pairs.count)
    #expect(after == selected)
    #expect(pairsAfter == pairs)
    let role = pair.right.agent.role
    #expect(role == .controlled)
    let answers = pair.right.sent.filter { $0.route.remote == attacker }.map(\.bytes)
    let errors = try answers.map { try ParsedMessage($0).error }
    #expect(errors == [.unauthenticated, .unauthenticated, .badRequest])
    #expect(answers.allSatisfy { $0.count <= 60 })
    let route = Route(receivedOn: pair.right.sockets[0], from: attacker)
    let isValid = pair.right.agent.isValid(route)
    let isAuthenticated = pair.right.agent.isAuthenticated(route)
    #expect(!isValid && !isAuthenticated)
  }

  @Test("T7: a replayed authentic check moves nothing either: the attacker cannot answer")
  func replayedRequest() throws {
    var pair = try connected()
    let attacker = try address("192.0.2.66", 6666)
    let selected = pair.right.agent.selectedRoute
    let nominations = pair.left.requests.filter { (try? ParsedMessage($0.bytes))?.usesCandidate == true }
    let nomination = try #require(nominations.last)
    pair.inject(nomination.bytes, from: attacker, to: pair.right.sockets[0].address)
    pair.run(for: .seconds(60))
    let (after, sendRoute) = (pair.right.agent.selectedRoute, pair.right.agent.sendRoute)
    #expect(after == selected && sendRoute == selected)
    let route = Route(receivedOn: pair.right.sockets[0], from: attacker)
    let isValid = pair.right.agent.isValid(route)
    #expect(!isValid)
    let requests = pair.right.requests.count { $0.route.remote == attacker }
    #expect(requests <= 7)
  }

  @Test("T7: responses that are forged, asymmetric or belong to nothing are counted and dropped")
  func forgedResponses() throws {
    var pair = AgentPair()
    try pair.addSockets()
    pair.passes = { _, _, _ in false }
    pair.exchangeAll()
    pair.run(for: .zero)
    let request = try ParsedMessage(try #require(pair.left.requests.first).bytes)
    let password = pair.right.agent.localCredentials.password
    func response(_ id: STUNTransactionID, _ password: Secret<String>) -> [UInt8] {
      var builder = STUNMessageBuilder(.successResponse, transactionID: id)
      builder.append(.xorMappedAddress, pair.left.sockets[0].address)
      builder.appendIntegrity(with: STUNIntegrityKey(password: password))
      builder.appendFingerprint()
      return builder.bytes
    }
    let socket = pair.left.sockets[0]
    let good = Route(receivedOn: socket, from: pair.right.sockets[0].address)
    let bad = Route(receivedOn: socket, from: try address("192.0.2.66", 6666))
    let forged = response(request.transactionID, Secret("0000000000000000000000"))
    let authentic = response(request.transactionID, password)
    let unknown = response(STUNTransactionID(prefix: 1, suffix: 1), password)
    pair.left.agent.receive(forged.rawSpan, on: good, at: pair.now)
    pair.left.agent.receive(authentic.rawSpan, on: bad, at: pair.now)
    pair.left.agent.receive(unknown.rawSpan, on: good, at: pair.now)
    let causes = Set(pair.left.agent.drops.nonZero.map(\.cause))
    #expect(causes == [.unauthenticatedResponse, .asymmetricResponse, .unknownTransaction])
    let before = pair.left.agent.sendRoute
    #expect(before == nil)
    pair.left.agent.receive(authentic.rawSpan, on: good, at: pair.now)
    let after = pair.left.agent.sendRoute
    #expect(after == good)
  }

  @Test("Unknown comprehension-required attributes are answered 420, floods of errors are not answered")
  func errorAnswers() throws {
    var pair = try connected()
    let ours = pair.right.agent.localCredentials
    let route = Route(receivedOn: pair.right.sockets[0], from: pair.left.sockets[0].address)
    var builder = STUNMessageBuilder(.request, transactionID: STUNTransactionID(prefix: 1, suffix: 2))
    builder.append(
      .username, "\(ours.usernameFragment):\(pair.left.agent.localCredentials.usernameFragment)")
    for type in 0x7f00..<0x7f20 { builder.append(STUNAttributeType(rawValue: UInt16(type)), []) }
    builder.appendIntegrity(with: STUNIntegrityKey(password: ours.password))
    builder.appendFingerprint()
    let count = pair.right.sent.count
    for _ in 0..<1000 { pair.right.agent.receive(builder.bytes.rawSpan, on: route, at: pair.now) }
    pair.run(for: .zero)
    let answers = Array(pair.right.sent[count...])
    #expect(answers.count == 10)
    for answer in answers {
      let parsed = try ParsedMessage(answer.bytes, password: ours.password.unredacted)
      #expect(parsed.error == .unknownAttribute && parsed.isAuthentic)
      #expect(answer.bytes.count <= builder.bytes.count)
    }
    let limited = pair.right.agent.drops[.errorResponseRateLimited]
    #expect(limited == 990)
  }

  @Test("T9: wrong credentials never connect", arguments: [true, false])
  func wrongCredentials(isFragmentRight: Bool) throws {
    var pair = AgentPair()
    try pair.addSockets()
    let right = pair.right.agent.localCredentials
    pair.left.agent.setRemoteCredentials(
      ICECredentials(
        usernameFragment: isFragmentRight ? right.usernameFragment : "wxyz",
        password: isFragmentRight ? Secret("0000000000000000000000") : right.password), at: .zero)
    pair.giveCredentialsToRight()
    pair.giveCandidatesToLeft()
    pair.giveCandidatesToRight()
    pair.run(for: .seconds(100))
    let (left, rightState) = (pair.left.agent.connectionState, pair.right.agent.connectionState)
    #expect(left == .failed && rightState == .failed)
    // An agent that knows the right password may validate a pair, but nobody nominates it.
    let (states, selected) = (pair.left.states, pair.left.selected + pair.right.selected)
    #expect(!states.contains(.connected))
    #expect(selected.isEmpty)
  }

  @Test("T5: any datagram may come; none traps", arguments: 0..<4 as Range<UInt64>)
  func anything(seed: UInt64) throws {
    var pair = try connected()
    var random = RandomSource(seed: seed)
    let samples = (pair.left.sent + pair.right.sent).map(\.bytes)
    let (sockets, peers) = (pair.right.sockets, pair.left.sockets.map(\.address))
    for _ in 0..<1000 {
      var bytes = samples[Int.random(in: 0..<samples.count, using: &random)]
      for _ in 0..<Int.random(in: 0...3, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = .random(in: 0...255, using: &random)
      }
      if Bool.random(using: &random) { bytes = Array(bytes.dropLast(8)) + [] }
      let index = Int.random(in: 0...1, using: &random)
      let route = Route(receivedOn: sockets[index], from: peers[Int.random(in: 0...1, using: &random)])
      pair.right.agent.receive(bytes.rawSpan, on: route, at: pair.now)
      _ = pair.right.drain(at: pair.now)
    }
  }
}
