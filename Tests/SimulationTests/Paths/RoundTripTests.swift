// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// How long it takes from the offer to the first sound, in round trips, and what they are spent on. It must not be more
/// than the protocols need:
///
///     0    offer leaves the viewer                                      signaling
///     0.5  master answers, and checks the offer's candidates
///     1    answer at the viewer, which checks at once                   ICE
///     2    the check's answer: a valid pair; ClientHello                DTLS 1.2
///     3    ServerHello to ServerHelloDone; Certificate to Finished
///     3.5  Finished at the master: it is connected and sends
///     4    Finished at the viewer: it is connected, and hears
@Suite("Round trips from offer to media")
struct RoundTripTests {
  static let roundTrip = TimeDelta.milliseconds(50)
  static let cone = NATBehaviour(mapping: .endpointIndependent, filtering: .addressAndPortDependent)
  static let symmetric = NATBehaviour(mapping: .addressAndPortDependent, filtering: .addressAndPortDependent)

  /// What happened when, in round trips since the offer.
  struct Timeline: CustomStringConvertible {
    var steps: [(time: Double, what: String)] = []

    var description: String {
      steps.sorted { $0.time < $1.time }.map { "  \(text($0.time))  \($0.what)" }.joined(separator: "\n")
    }

    private func text(_ time: Double) -> String {
      let hundredths = Int((time * 100).rounded())
      let fraction = hundredths % 100
      return "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)"
    }
  }

  /// Makes a call whose candidates were gathered before, and notes what crosses the network first.
  private func timeline(_ edge: Scenario.Edge, servers: Scenario.Servers) throws -> (
    Timeline, connected: Double
  ) {
    // All delay is in the middle: every path takes a round trip.
    var edge = edge
    (edge.up, edge.down) = (.ideal, .ideal)
    let scenario = try Scenario(
      seed: 1, viewer: edge, master: edge, servers: servers,
      conditions: LinkConditions(delay: Self.roundTrip / 2))
    let (run, call) = (scenario.run, scenario.call)
    run.signalingDelay = Self.roundTrip / 2
    run.run(atMost: .seconds(2))
    let start = run.now
    var timeline = Timeline()
    func note(_ what: String, at time: Instant) {
      let roundTrips = Double((time - start).nanoseconds) / Double(Self.roundTrip.nanoseconds)
      if !timeline.steps.contains(where: { $0.what == what }) { timeline.steps.append((roundTrips, what)) }
    }
    run.network.tap = { [run] bytes, source, _ in
      if let step = Self.step(bytes) { note("\(step) leaves", at: run.now) }
      return [bytes]
    }
    note("offer", at: start)
    try run.negotiate()
    call.sendSound(for: .seconds(2), interval: .milliseconds(1))
    run.run(atMost: .seconds(2)) { run in
      if run.offerer.core.signalingState == .stable { note("answer at the viewer", at: run.now) }
      if run.answerer.connectedAt != nil { note("master connected", at: run.now) }
      if run.offerer.connectedAt != nil { note("viewer connected", at: run.now) }
      if !run.offerer.frames.isEmpty { note("first sound", at: run.now) }
      return !run.offerer.frames.isEmpty && run.isConnected
    }
    run.network.tap = nil
    let connected = timeline.steps.first { $0.what == "viewer connected" }?.time
    return (timeline, try #require(connected, "\(timeline)"))
  }

  /// What a datagram is, also within ChannelData or an indication of TURN.
  private static func step(_ bytes: [UInt8]) -> String? {
    switch (bytes.first ?? 255, bytes.dropFirst().first ?? 255) {
    case (0, 8): return "CreatePermission"
    case (0, 1): return "first check"
    case (1, 1): return "first answer to a check"
    case (22, _) where bytes.count > 13:
      let messages: [UInt8: String] = [1: "ClientHello", 2: "ServerHello", 11: "client's Certificate"]
      return messages[bytes[13]]
    case (20, _): return "Finished of the master"
    case (128...191, _): return "first media"
    default: return nil
    }
  }

  @Test(
    "Without a box in the way and behind boxes, a call stands after four round trips", arguments: [nil, cone])
  func needsFourRoundTrips(nat: NATBehaviour?) throws {
    let (timeline, connected) = try timeline(.init(nat: nat), servers: .stun)
    print("Round trips of 50 ms from the offer, \(nat.map { "NAT \($0)" } ?? "no NAT"):\n\(timeline)")
    // A tenth: the pace of checks, 5 ms, where several candidates are tried.
    #expect(connected <= 4.1)
  }

  @Test("Over a relay every trip between the peers is two, and the permission costs none")
  func takesDetour() throws {
    let (timeline, connected) = try timeline(.init(nat: Self.symmetric), servers: .turn([.udp]))
    print("Round trips of 50 ms from the offer, by relays:\n\(timeline)")
    // The master asks for its permission when the offer comes, so that the viewer's check finds it. Then the check and
    // the handshake's two round trips, each by way of the server; 10 ms for checks of addresses that are better.
    #expect(connected <= 1 + 2 * 3 + 0.25)
  }
}
