// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// What happens to relays under a running call: nonces and credentials end, servers start anew.
@Suite("Relays in long calls")
struct RelayFaultTests {
  static let symmetric = NATBehaviour(mapping: .addressAndPortDependent, filtering: .addressAndPortDependent)

  /// A call that has no path but relays.
  private func relayedCall(
    seed: UInt64, ways: [SimulatedTURNServer.Way] = [.udp], credentialLifetime: TimeDelta = .seconds(3600),
    configureServer: (inout TURNServerCore.Configuration) -> Void = { _ in }
  ) throws -> Scenario {
    let scenario = try Scenario(
      seed: seed, viewer: .init(nat: Self.symmetric), master: .init(nat: Self.symmetric),
      servers: .turn(ways), configureServer: configureServer, credentialLifetime: credentialLifetime)
    let outcome = try scenario.outcome()
    try #require(outcome == .connected, "seed \(seed)")
    scenario.run.run(atMost: .seconds(5))
    scenario.run.negotiatesAgain = true
    return scenario
  }

  @Test("A nonce that goes stale, again and again, is not to be heard", arguments: Seeds.few)
  func nonceGoesStale(seed: UInt64) throws {
    let scenario = try relayedCall(seed: seed) { $0.nonceLifetime = .seconds(20) }
    let (run, start) = (scenario.run, scenario.run.now)
    let before = scenario.server.core.drops[.challenged]
    // Ten minutes see refreshes of permissions and channels.
    scenario.call.sendSound(for: .seconds(600), interval: .milliseconds(100))
    run.run(atMost: .seconds(600))
    #expect(scenario.server.core.drops[.challenged] > before, "seed \(seed)")
    #expect(scenario.call.longestGap(from: start, to: run.now) <= .milliseconds(300), "seed \(seed)")
  }

  @Test("A relay lives on when the credentials that made it have ended", arguments: Seeds.few)
  func passwordExpires(seed: UInt64) throws {
    let scenario = try relayedCall(seed: seed, credentialLifetime: .seconds(60))
    let (run, start) = (scenario.run, scenario.run.now)
    // An allocation lasts ten minutes without a refresh.
    scenario.call.sendSound(for: .seconds(1500), interval: .milliseconds(500))
    run.run(atMost: .seconds(1500))
    #expect(scenario.call.longestGap(from: start, to: run.now) <= .seconds(1), "seed \(seed)")
    #expect(run.isConnected, "seed \(seed)")
  }

  @Test(
    "A server that starts anew costs the time to notice and 3 s",
    arguments: [.udp, .tcp, .https] as [SimulatedTURNServer.Way])
  func serverRestarts(way: SimulatedTURNServer.Way) throws {
    for seed in Seeds.few {
      let scenario = try relayedCall(seed: seed, ways: [way])
      let result = scenario.call.interruption { _ in scenario.server.restart() }
      let repair = try #require(result.repair, "seed \(seed): \(result)")
      #expect(repair <= .seconds(3), "seed \(seed): \(result)")
      #expect(result.gap <= .seconds(13), "seed \(seed): \(result)")
    }
  }

  @Test(
    "A server that starts anew after the credentials ended serves those who have renewed ones",
    arguments: Seeds.few)
  func renews(seed: UInt64) throws {
    let scenario = try relayedCall(seed: seed, credentialLifetime: .seconds(60))
    scenario.run.run(atMost: .seconds(50))
    let renewed = [
      scenario.server.stunServer, scenario.server.iceServer(lifetime: .seconds(600), at: scenario.run.now),
    ]
    for peer in [scenario.call.viewer, scenario.call.master] {
      peer.update(servers: renewed, at: scenario.run.now)
    }
    scenario.run.run(atMost: .seconds(50))
    let result = scenario.call.interruption { _ in scenario.server.restart() }
    let repair = try #require(result.repair, "seed \(seed): \(result)")
    #expect(repair <= .seconds(3), "seed \(seed): \(result)")
  }
}
