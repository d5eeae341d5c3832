// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Calls over networks that a seed made up: whatever they are, a call ends as theory says, and the same seed makes
/// the same call byte for byte.
@Suite("Random networks")
struct RandomNetworkTests {
  static func edge(_ random: inout RandomSource) -> Scenario.Edge {
    var edge = Scenario.Edge()
    edge.families = [[.ipv4], [.ipv6], [.ipv4, .ipv6]].randomElement(using: &random) ?? [.ipv4]
    if Int.random(in: 0..<4, using: &random) > 0 { edge.nat = NATBehaviour.all.randomElement(using: &random) }
    edge.nat?.isHairpinning = Bool.random(using: &random)
    edge.nat?.bindingLifetime = .seconds([30, 60, 120].randomElement(using: &random) ?? 120)
    edge.firewall =
      [.none, .stateful, .stateful, .withoutUDP, .onlyHTTPS].randomElement(using: &random) ?? .none
    if edge.nat != nil, Int.random(in: 0..<4, using: &random) == 0 {
      edge.carrier = NATBehaviour.all.randomElement(using: &random)
    }
    edge.up = link(&random)
    edge.down = link(&random)
    return edge
  }

  /// A link that is bad, but not so bad that seven checks in a row would be lost.
  private static func link(_ random: inout RandomSource) -> LinkConditions {
    LinkConditions(
      delay: .milliseconds(Int64.random(in: 0...80, using: &random)),
      jitter: .milliseconds(Int64.random(in: 0...20, using: &random)),
      lossProbability: Double.random(in: 0...0.03, using: &random),
      burstLoss: Bool.random(using: &random) ? BurstLoss(startProbability: 0.005, endProbability: 0.5) : nil,
      duplicationProbability: Double.random(in: 0...0.05, using: &random),
      reorderingProbability: Double.random(in: 0...0.05, using: &random),
      rateBitsPerSecond: Bool.random(using: &random) ? 2_000_000 : nil, packetByteCountMax: 1500)
  }

  /// The scenario of a seed, and whether there is a path; `nil` where theory is silent: behind two boxes without help.
  private func scenario(_ seed: UInt64) throws -> (scenario: Scenario, isPathPossible: Bool?) {
    var random = RandomSource(seed: seed)
    let (viewer, master) = (Self.edge(&random), Self.edge(&random))
    let ways: [SimulatedTURNServer.Way] =
      [[], [.udp], [.udp, .tcp], SimulatedTURNServer.Way.all].randomElement(using: &random) ?? []
    let scenario = try Scenario(
      seed: seed, viewer: viewer, master: master, servers: ways.isEmpty ? .stun : .turn(ways))
    let isKnown = viewer.carrier == nil && master.carrier == nil
    let isPathPossible = PathTheory.isPathPossible(viewer, master, ways: ways)
    let isRelayed = [viewer, master].allSatisfy { PathTheory.canHaveRelay($0, ways) }
    return (scenario, isKnown || isRelayed ? isPathPossible : nil)
  }

  @Test("A call over a random network connects exactly where theory has a path", arguments: Seeds.many)
  func connects(seed: UInt64) throws {
    let (scenario, isPathPossible) = try scenario(seed)
    let outcome = try scenario.outcome()
    switch isPathPossible {
    case .some(true): #expect(outcome == .connected, "seed \(seed)")
    case .some(false): #expect(outcome.isFailure, "seed \(seed)")
    case .none: #expect(outcome == .connected || outcome.isFailure, "seed \(seed): \(outcome)")
    }
  }

  @Test(
    "The same seed makes the same call, byte for byte and to the nanosecond",
    arguments: [1, 7, 23] as [UInt64])
  func repeats(seed: UInt64) throws {
    func digest() throws -> UInt64 {
      let (scenario, _) = try scenario(seed)
      if try scenario.outcome() == .connected { _ = scenario.carriesMedia() }
      return scenario.run.network.digest
    }
    let (first, second) = (try digest(), try digest())
    #expect(first == second)
  }
}
