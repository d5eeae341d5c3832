// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

/// Paths die and come back, sockets come and go, sessions restart with lost and late exchanges, all at random.
@Suite("Two agents in chaos")
struct ICEChaosTests {
  private final class Network {
    var dead: Set<[TransportAddress]> = []
  }

  /// Whether a host may send where it does: a response came by there within 30 s.
  private static func hasConsent(_ host: borrowing Host, at now: Instant) -> Bool {
    guard let route = host.agent.sendRoute else { return true }
    return host.answeredAt[route].map { now - $0 <= .seconds(30) } ?? false
  }

  private func restart(_ pair: inout AgentPair, using random: inout RandomSource, mayCancel: Bool = true) {
    pair.left.agent.prepareRestart()
    if mayCancel, Int.random(in: 0..<5, using: &random) == 0 { return pair.left.agent.cancelRestart() }
    pair.right.agent.prepareRestart()
    let left = (pair.left.agent.localCredentials, pair.left.agent.signaledCandidates)
    pair.right.agent.restart(remote: left.0, at: pair.now)
    for candidate in left.1 { pair.right.agent.addRemoteCandidate(candidate, at: pair.now) }
    pair.run(for: .milliseconds(.random(in: 0...3000, using: &random)))
    let right = (pair.right.agent.localCredentials, pair.right.agent.signaledCandidates)
    pair.left.agent.restart(remote: right.0, at: pair.now)
    for candidate in right.1 { pair.left.agent.addRemoteCandidate(candidate, at: pair.now) }
  }

  private func disturb(
    _ pair: inout AgentPair, _ network: Network, using random: inout RandomSource, socketID: UInt32
  ) throws {
    switch Int.random(in: 0..<8, using: &random) {
    case 0...2:
      let ways = pair.left.sockets.flatMap { left in
        pair.right.sockets.map { [left.address, $0.address] }
      }
      network.dead = Set(ways.filter { _ in Bool.random(using: &random) })
    case 3: network.dead = []
    case 4:
      pair.lossPercent = .random(in: 0...20, using: &random)
    case 5:
      let ip = "192.0.2.\(socketID % 250 + 3)"
      try pair.left.addSocket(socketID, ip, UInt16(7000 + socketID), at: pair.now)
      guard let candidate = pair.left.candidates.last else { return }
      pair.right.agent.addRemoteCandidate(candidate, at: pair.now)
    case 6:
      guard pair.left.sockets.count > 1, let gone = pair.left.sockets.randomElement(using: &random) else {
        return
      }
      pair.left.sockets.removeAll { $0 == gone }
      pair.left.agent.removeLocalSocket(id: gone.id, at: pair.now)
    default: restart(&pair, using: &random)
    }
  }

  @Test(
    "T6: nothing is ever sent without consent, and when the network is well again a restart connects",
    arguments: 1...40 as ClosedRange<UInt64>)
  func chaos(seed: UInt64) throws {
    let network = Network()
    var random = RandomSource(seed: seed)
    var pair = AgentPair(seed: seed)
    try pair.addSockets(ipv6: true)
    try pair.left.addRelay(0x8000_0001, "198.51.100.1", 50_001)
    pair.passes = { from, to, _ in
      !network.dead.contains([from, to]) && !network.dead.contains([to, from])
    }
    pair.exchangeAll()
    for step in 0..<60 as Range<UInt32> {
      try disturb(&pair, network, using: &random, socketID: 10 + step)
      for _ in 0..<Int.random(in: 1...12, using: &random) {
        pair.run(for: .seconds(1))
        let consents = [Self.hasConsent(pair.left, at: pair.now), Self.hasConsent(pair.right, at: pair.now)]
        #expect(consents == [true, true], "seed \(seed) step \(step)")
        let rests = [pair.left.agent.nextDeadline, pair.right.agent.nextDeadline]
        let states = [pair.left.agent.connectionState, pair.right.agent.connectionState]
        for (deadline, state) in zip(rests, states) where state != .failed { #expect(deadline != nil) }
      }
    }
    network.dead = []
    pair.lossPercent = 0
    restart(&pair, using: &random, mayCancel: false)
    pair.run(for: .seconds(20))
    let agrees = pair.agrees
    let states = [pair.left.agent.connectionState, pair.right.agent.connectionState]
    #expect(agrees, "seed \(seed)")
    #expect(states.allSatisfy { $0 == .connected || $0 == .completed }, "seed \(seed)")
  }
}
