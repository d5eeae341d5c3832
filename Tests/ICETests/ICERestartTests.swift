// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("ICE restarts, RFC 8445 §9")
struct ICERestartTests {
  private func connected(seed: UInt64 = 1) throws -> AgentPair {
    var pair = AgentPair(seed: seed)
    try pair.addSockets(ipv6: true)
    pair.exchangeAll()
    pair.runUntilSelected()
    pair.run(for: .seconds(2))
    return pair
  }

  /// Completes the exchange on one side, its peer's credentials and candidates in the given order.
  private func restartLeft(_ pair: inout AgentPair, candidatesFirst: Bool = false) {
    let (credentials, candidates) = (pair.right.agent.localCredentials, pair.right.agent.signaledCandidates)
    if candidatesFirst { for each in candidates { pair.left.agent.addRemoteCandidate(each, at: pair.now) } }
    pair.left.agent.restart(remote: credentials, at: pair.now)
    if !candidatesFirst { for each in candidates { pair.left.agent.addRemoteCandidate(each, at: pair.now) } }
  }

  private func restartRight(_ pair: inout AgentPair, candidatesFirst: Bool = false) {
    let (credentials, candidates) = (pair.left.agent.localCredentials, pair.left.agent.signaledCandidates)
    if candidatesFirst { for each in candidates { pair.right.agent.addRemoteCandidate(each, at: pair.now) } }
    pair.right.agent.restart(remote: credentials, at: pair.now)
    if !candidatesFirst { for each in candidates { pair.right.agent.addRemoteCandidate(each, at: pair.now) } }
  }

  @Test(
    "From either side, in any order and with delay, data goes on and both select a pair of the new session",
    arguments: [true, false], [true, false])
  func restarts(leftOffers: Bool, candidatesFirst: Bool) throws {
    for delay in [TimeDelta.zero, .milliseconds(15), .seconds(1), .seconds(20)] {
      var pair = try connected()
      let old = [pair.left.agent.localCredentials, pair.right.agent.localCredentials]
      let selections = [pair.left.selected.count, pair.right.selected.count]
      let states = [pair.left.states, pair.right.states]
      pair.left.agent.prepareRestart()
      pair.right.agent.prepareRestart()
      let new = [pair.left.agent.localCredentials, pair.right.agent.localCredentials]
      #expect(Set(old + new).count == 4)
      if leftOffers {
        restartRight(&pair, candidatesFirst: candidatesFirst)
      } else {
        restartLeft(&pair, candidatesFirst: candidatesFirst)
      }
      var alwaysSends = true
      func watch(_ length: TimeDelta) {
        pair.run(for: length) { pair in
          if pair.left.agent.sendRoute == nil || pair.right.agent.sendRoute == nil { alwaysSends = false }
          return false
        }
      }
      watch(delay)
      if leftOffers {
        restartLeft(&pair, candidatesFirst: candidatesFirst)
      } else {
        restartRight(&pair, candidatesFirst: candidatesFirst)
      }
      watch(.milliseconds(300))
      #expect(alwaysSends, "delay \(delay)")
      let agrees = pair.agrees
      #expect(agrees, "delay \(delay)")
      #expect(pair.left.selected.count > selections[0] && pair.right.selected.count > selections[1])
      watch(.seconds(60))
      #expect(alwaysSends, "delay \(delay)")
      #expect([pair.left.states, pair.right.states] == states, "delay \(delay)")
      let roles = [pair.left.agent.role, pair.right.agent.role]
      #expect(roles == [.controlling, .controlled])
      let last = try ParsedMessage(try #require(pair.left.requests.last).bytes)
      #expect(last.username == "\(new[1].usernameFragment):\(new[0].usernameFragment)")
      let fragments = pair.left.agent.localUsernameFragments
      #expect(fragments == [new[0].usernameFragment])
    }
  }

  @Test("While the exchange is not complete, the old path keeps its consent under the old credentials")
  func oldConsent() throws {
    var pair = try connected()
    let (left, right) = (pair.left.agent.localCredentials, pair.right.agent.localCredentials)
    pair.left.agent.prepareRestart()
    pair.right.agent.prepareRestart()
    // Our answer does not reach the peer for a minute.
    restartRight(&pair)
    pair.run(for: .seconds(60))
    let sends = [pair.left.agent.sendRoute, pair.right.agent.sendRoute]
    #expect(!sends.contains(nil))
    let names = try pair.right.requests.suffix(1).map { try ParsedMessage($0.bytes).username }
    #expect(names == ["\(left.usernameFragment):\(right.usernameFragment)"])
    let fragments = pair.right.agent.localUsernameFragments
    #expect(fragments.count == 2 && fragments.last == right.usernameFragment)
  }

  @Test("A check for the prepared session is answered at once, changes nothing, and is followed up later")
  func earlyChecks() throws {
    var pair = try connected()
    let old = pair.left.agent.selectedRoute
    pair.left.agent.prepareRestart()
    pair.right.agent.prepareRestart()
    restartRight(&pair)
    let count = pair.left.sent.count
    pair.run(for: .milliseconds(100))
    let answers = pair.left.sent[count...].filter { kind(of: $0.bytes)?.isRequest == false }
    #expect(answers.count >= 2)
    let (selected, pairs) = (pair.left.agent.selectedRoute, pair.left.agent.statistics.pairs.count)
    #expect(selected == old && pairs == 2)
    // The peer's candidates are not known: its checks are enough.
    let credentials = pair.right.agent.localCredentials
    let selections = pair.left.selected.count
    pair.left.agent.restart(remote: credentials, at: pair.now)
    pair.run(for: .milliseconds(200))
    let agrees = pair.agrees
    #expect(agrees && pair.left.selected.count > selections)
  }

  @Test("A restart that is taken back leaves nothing behind")
  func cancelled() throws {
    var pair = try connected()
    let old = pair.left.agent.localCredentials
    let prepared = pair.left.agent.prepareRestart()
    let again = pair.left.agent.prepareRestart()
    #expect(prepared == again && prepared != old)
    pair.left.agent.cancelRestart()
    let after = pair.left.agent.localCredentials
    #expect(after == old)
    let signaled = Set(pair.left.agent.signaledCandidates.map(\.usernameFragment))
    #expect(signaled == [old.usernameFragment])
    var builder = STUNMessageBuilder(.request, transactionID: STUNTransactionID(prefix: 1, suffix: 2))
    builder.append(.username, "\(prepared.usernameFragment):abcd")
    builder.append(.iceControlled, 1 as UInt64)
    builder.appendIntegrity(with: STUNIntegrityKey(password: prepared.password))
    builder.appendFingerprint()
    let route = Route(receivedOn: pair.left.sockets[0], from: pair.right.sockets[0].address)
    pair.left.agent.receive(builder.bytes.rawSpan, on: route, at: pair.now)
    let wrong = pair.left.agent.drops[.wrongUsername]
    #expect(wrong == 1)
  }

  @Test("After it failed, a restart brings an agent back by way of checking")
  func revival() throws {
    final class Gate { var isOpen = true }
    let gate = Gate()
    var pair = try connected()
    pair.passes = { _, _, _ in gate.isOpen }
    gate.isOpen = false
    pair.run(for: .seconds(60))
    let reasons = [pair.left.agent.failureReason, pair.right.agent.failureReason]
    #expect(reasons == [.consentLost, .consentLost])
    gate.isOpen = true
    pair.left.agent.prepareRestart()
    pair.right.agent.prepareRestart()
    restartRight(&pair)
    pair.run(for: .milliseconds(50))
    restartLeft(&pair)
    pair.run(for: .seconds(1))
    let (agrees, reason) = (pair.agrees, pair.left.agent.failureReason)
    #expect(agrees && reason == nil)
    #expect(pair.left.states.suffix(3) == [.failed, .checking, .connected])
    pair.run(for: .seconds(60))
    let state = pair.left.agent.connectionState
    #expect(state == .connected)
  }

  @Test("A restart towards nobody fails after patience; a closed agent stays closed")
  func noRevival() throws {
    var pair = try connected()
    pair.passes = { _, _, _ in false }
    pair.run(for: .seconds(60))
    var random = RandomSource(seed: 9)
    pair.left.agent.restart(remote: .generate(using: &random), at: pair.now)
    let start = pair.now
    pair.run(for: .seconds(90)) { $0.left.agent.connectionState == .failed }
    let (reason, elapsed) = (pair.left.agent.failureReason, pair.now - start)
    #expect(reason == .noCandidates)
    #expect((.milliseconds(39_500)...(.seconds(60))).contains(elapsed))
    pair.left.agent.close()
    pair.left.agent.restart(remote: .generate(using: &random), at: pair.now)
    let (state, count) = (pair.left.agent.connectionState, pair.left.sent.count)
    pair.run(for: .seconds(10))
    #expect(state == .closed && pair.left.sent.count == count)
  }

  @Test("Checks under the old credentials are refused once the new path has been selected for a while")
  func oldCredentialsEnd() throws {
    var pair = try connected()
    let old = pair.left.agent.localCredentials
    let theirs = pair.right.agent.localCredentials
    pair.left.agent.prepareRestart()
    pair.right.agent.prepareRestart()
    restartRight(&pair)
    restartLeft(&pair)
    let route = Route(receivedOn: pair.left.sockets[0], from: pair.right.sockets[0].address)
    func check(_ pair: inout AgentPair) throws -> STUNErrorCode? {
      var builder = STUNMessageBuilder(
        .request, transactionID: STUNTransactionID(prefix: 1, suffix: UInt64(pair.now.nanoseconds)))
      builder.append(.username, "\(old.usernameFragment):\(theirs.usernameFragment)")
      builder.append(.iceControlled, 1 as UInt64)
      builder.appendIntegrity(with: STUNIntegrityKey(password: old.password))
      builder.appendFingerprint()
      pair.left.agent.receive(builder.bytes.rawSpan, on: route, at: pair.now)
      return try ParsedMessage(try #require(pair.left.drain(at: pair.now).last).bytes).error
    }
    pair.run(for: .seconds(1))
    let early = try check(&pair)
    pair.run(for: .seconds(11))
    let late = try check(&pair)
    #expect(early == nil && late == .unauthenticated)
  }

  @Test(
    "An address changes during a call: the restart has data flowing within 3 s", arguments: [true, false])
  func addressChange(leftOffers: Bool) throws {
    var pair = try connected()
    for id in [1, 2] as [UInt32] { pair.left.agent.removeLocalSocket(id: id, at: pair.now) }
    pair.left.sockets = []
    let start = pair.now
    try pair.left.addSocket(3, "192.0.2.33", 7001, at: pair.now)
    pair.left.agent.prepareRestart()
    pair.run(for: .milliseconds(100))
    pair.right.agent.prepareRestart()
    if leftOffers { restartRight(&pair) } else { restartLeft(&pair) }
    pair.run(for: .milliseconds(100))
    if leftOffers { restartLeft(&pair) } else { restartRight(&pair) }
    pair.run(for: .seconds(10)) { pair in
      pair.left.agent.sendRoute?.socket.id == 3 && pair.right.agent.sendRoute?.remote.port == 7001
    }
    let elapsed = pair.now - start
    #expect(elapsed <= .seconds(3))
    pair.run(for: .seconds(20))
    let (agrees, state) = (pair.agrees, pair.right.agent.connectionState)
    #expect(agrees && state == .connected)
  }

  @Test("30 % loss does not keep a restart from its end", arguments: 1...20 as ClosedRange<UInt64>)
  func loss(seed: UInt64) throws {
    var pair = try connected(seed: seed)
    pair.lossPercent = 30
    pair.left.agent.prepareRestart()
    pair.right.agent.prepareRestart()
    restartRight(&pair)
    pair.run(for: .milliseconds(100))
    restartLeft(&pair)
    pair.run(for: .seconds(30))
    let fragments = [pair.left.agent.localUsernameFragments, pair.right.agent.localUsernameFragments]
    let (left, right) = (pair.left.agent.sendRoute, pair.right.agent.sendRoute)
    #expect(left != nil && right != nil, "seed \(seed)")
    #expect(fragments.allSatisfy { $0.count == 1 }, "seed \(seed)")
  }
}
