// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing

@Suite("ICE agents connect, RFC 8445")
struct ICEAgentTests {
  @Test("Two agents select the same pair within a few round trips", arguments: [(true, false), (false, true), (true, true)])
  func connects(ipv4: Bool, ipv6: Bool) throws {
    var pair = AgentPair()
    try pair.addSockets(ipv4: ipv4, ipv6: ipv6)
    pair.exchangeAll()
    pair.runUntilSelected()
    let (agrees, now) = (pair.agrees, pair.now)
    #expect(agrees)
    // A check and a nomination of 20 ms each, the pace, and at most the wait for a better pair.
    #expect(now <= .zero + .milliseconds(100))
    pair.run(for: .seconds(1))
    let states = pair.left.states
    #expect(states == [.checking, .connected])
    let family = pair.left.agent.selectedRoute?.remote.ip.family
    #expect(family == (ipv6 ? .ipv6 : .ipv4))
    let roundTripTime = pair.left.agent.roundTripTime
    #expect(roundTripTime == .milliseconds(20))
    pair.left.agent.setEndOfRemoteCandidates(at: pair.now)
    let state = pair.left.agent.connectionState
    #expect(state == .completed)
  }
}
