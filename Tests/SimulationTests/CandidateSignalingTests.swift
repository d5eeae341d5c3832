// SPDX-License-Identifier: Apache-2.0

import ICE
import SDP
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Which candidates stand in descriptions, which come later, and what becomes of the peer's in any order.
@Suite("Signaling of candidates")
struct CandidateSignalingTests {
  private let mapped = TransportAddress(ip: IPAddress(ipv4: 0xcb00_7105), port: 40_000)
  private let relay = LocalSocket(
    id: 0x8000_0000, address: TransportAddress(ip: IPAddress(ipv4: 0xc000_0207), port: 50_000))

  private func kinds(_ description: SessionDescriptionInit) throws -> [String] {
    let parsed = try SessionDescription(parsing: description.sdp)
    return try parsed.media.flatMap(\.candidates).map { try ICECandidate(parsing: $0).kind.rawValue }
  }

  @Test(
    "What is known when the description is written stands in it; the rest comes as events under its fragment")
  func tellsAllOnce() throws {
    let call = try Call(seed: 320)
    let now = call.run.now
    let base = try #require(call.viewer.sockets.first)
    call.viewer.core.addServerReflexiveAddress(mapped, base: base, at: now)
    call.run.run(atMost: .zero)
    #expect(call.viewer.trickled.isEmpty)
    let offer = try call.viewer.core.createOffer(at: now)
    #expect(try kinds(offer) == ["host", "srflx"])
    #expect(!offer.sdp.contains("a=end-of-candidates"))
    // Between writing and setting: neither in the text nor lost.
    call.viewer.core.addRelay(relay, mapped: mapped, over: .udp, at: now)
    var events: [ICECandidateInit] = []
    func takeEvents() {
      while let event = call.viewer.core.pollEvent() {
        if case .localCandidate(let candidate) = event { events.append(candidate) }
      }
    }
    takeEvents()
    #expect(events.isEmpty)
    try call.viewer.core.setLocalDescription(offer, at: now)
    takeEvents()
    #expect(events.count == 1)
    let candidate = try #require(events.first)
    #expect(candidate.usernameFragment == call.viewer.core.localUsernameFragment)
    #expect(candidate.sdpMid == "0")
    #expect(candidate.sdpMLineIndex == 0)
    #expect(try ICECandidate(parsing: candidate.candidate).kind == .relayed)
    // Nothing twice.
    call.viewer.core.addServerReflexiveAddress(mapped, base: base, at: now)
    takeEvents()
    #expect(events.count == 1)
  }

  @Test("Gathering is new, gathering, complete; then descriptions say that no more will come")
  func tellsEnd() throws {
    let call = try Call(seed: 321)
    #expect(call.viewer.core.iceGatheringState == .gathering)
    call.viewer.core.setEndOfLocalCandidates(at: call.run.now)
    call.viewer.core.setEndOfLocalCandidates(at: call.run.now)
    #expect(call.viewer.core.iceGatheringState == .complete)
    call.run.run(atMost: .zero)
    let states: [ICEGatheringState] = call.viewer.events.compactMap {
      if case .iceGatheringStateChanged(let state) = $0 { state } else { nil }
    }
    #expect(states == [.gathering, .complete])
    let ends = call.viewer.events.count { if case .endOfLocalCandidates = $0 { true } else { false } }
    #expect(ends == 1)
    let offer = try SessionDescription(parsing: try call.viewer.core.createOffer(at: call.run.now).sdp)
    #expect(offer.media.map(\.endOfCandidates) == [true, false])
  }

  @Test("Names and TCP addresses of the peer are passed on to be resolved and connected to")
  func passesOn() throws {
    let call = try Call(seed: 325)
    try call.run.negotiate(alteringOffer: { offer in
      SessionDescriptionInit(type: .offer, sdp: offer).replacingLines { line in
        guard line.hasPrefix("a=candidate:") else { return line }
        return line.split(separator: " ").enumerated()
          .map { $0.offset == 4 ? "hidden.local" : String($0.element) }.joined(separator: " ")
          + "\r\na=candidate:8 1 tcp 1 198.18.0.50 9000 typ host tcptype passive"
      }.sdp
    })
    // What the peer sends before the name is resolved would tell its address.
    call.run.network.isOpen = { source, _ in source != .simulated(host: 1) }
    call.run.run(atMost: .milliseconds(500))
    var (names, connections) = ([String](), [TransportAddress]())
    for event in call.master.events {
      if case .nameNeedsResolving(let name) = event { names.append(name) }
      if case .tcpConnectionWanted(let from, let to) = event {
        #expect(from == TransportAddress.simulated(host: 2).ip)
        connections.append(to)
      }
    }
    #expect(names == ["hidden.local"])
    #expect(connections == [.simulated(host: 50, port: 9000)])
    let wire = Wiretap(call.run)
    let address = TransportAddress.simulated(host: 1)
    call.run.run(atMost: .seconds(1))
    #expect(!wire.datagrams.contains { $0.destination == address })
    call.master.core.resolved(name: "hidden.local", to: [address.ip], at: call.run.now)
    call.run.run(atMost: .milliseconds(100))
    #expect(wire.datagrams.contains { $0.destination == address && $0.isSTUN })
    let connection = LocalSocket(id: 0x4000_0000, address: .simulated(host: 2, port: 40_000))
    call.master.core.addTCPConnection(connection, to: .simulated(host: 50, port: 9000), at: call.run.now)
    call.run.run(atMost: .milliseconds(500))
    func hasPair() -> Bool {
      call.master.core.statistics(at: call.run.now).ice.pairs.contains { $0.route.socket == connection }
    }
    #expect(hasPair())
    call.master.core.tcpConnectionFailed(to: .simulated(host: 50, port: 9000), at: call.run.now)
    #expect(!hasPair())
  }

  @Test("A relay's pairs are told from others in statistics, and go with it")
  func reportsRelays() throws {
    let call = try Call(seed: 326)
    let now = call.run.now
    call.master.core.addRelay(relay, mapped: mapped, over: .tls, at: now)
    let isConnected = try call.connect()
    #expect(isConnected)
    let before = call.master.core.statistics(at: call.run.now).ice
    let relayed = try #require(before.localCandidates.firstIndex { $0.kind == .relayed })
    #expect(before.localCandidates[relayed].relayProtocol == .tls)
    #expect(before.pairs.contains { $0.localCandidateIndex == relayed && $0.route.socket == relay })
    call.master.core.removeLocalSocket(id: relay.id, at: call.run.now)
    let after = call.master.core.statistics(at: call.run.now).ice
    #expect(!after.localCandidates.contains { $0.kind == .relayed })
    #expect(!after.pairs.contains { $0.route.socket == relay })
    #expect(call.run.isConnected)
  }

  @Test("With the policy relay no address of ours but the relay's is told to anybody")
  func hidesAddresses() throws {
    let call = try Call(seed: 322, configureViewer: { $0.ice.transportPolicy = .relay })
    let now = call.run.now
    let base = try #require(call.viewer.sockets.first)
    call.viewer.core.addServerReflexiveAddress(mapped, base: base, at: now)
    call.viewer.core.addRelay(relay, mapped: mapped, over: .udp, at: now)
    let offer = try call.viewer.core.createOffer(at: now)
    #expect(try kinds(offer) == ["relay"])
    #expect(!offer.sdp.contains(base.address.ip.description))
    #expect(!offer.sdp.contains(mapped.ip.description))
  }

  @Test("A restart's description and events carry all candidates again, under the new fragment")
  func tellsAgainAfterRestart() throws {
    let call = try Call(seed: 323)
    let isConnected = try call.connect()
    #expect(isConnected)
    let now = call.run.now
    let old = call.viewer.core.localUsernameFragment
    let offer = try call.viewer.core.createOffer(iceRestart: true, at: now)
    let fragment = try #require(offer.values(of: "ice-ufrag").first)
    #expect(fragment != old)
    #expect(offer.values(of: "candidate").allSatisfy { $0.hasSuffix("ufrag \(fragment)") })
    #expect(offer.values(of: "candidate").count == 1)
    try call.viewer.core.setLocalDescription(offer, at: now)
    let socket = LocalSocket(id: 7, address: .simulated(host: 1, port: 5007))
    call.viewer.core.addLocalSocket(socket, at: now)
    var fragments: [String?] = []
    func takeEvents() {
      while let event = call.viewer.core.pollEvent() {
        if case .localCandidate(let candidate) = event { fragments.append(candidate.usernameFragment) }
      }
    }
    takeEvents()
    #expect(fragments == [fragment])
    // The session that stands goes on without the restart, and has not heard of the socket yet.
    try call.viewer.core.setLocalDescription(.rollback, at: now)
    takeEvents()
    #expect(fragments == [fragment, old])
  }

  @Test("Candidates connect a call in any order of them and the descriptions", arguments: UInt64(330)..<350)
  func takesAnyOrder(seed: UInt64) throws {
    var random = RandomSource(seed: seed)
    let call = try Call(seed: seed)
    let strip: (SessionDescriptionInit) -> SessionDescriptionInit = { description in
      description.replacingLines { $0.hasPrefix("a=candidate:") ? nil : $0 }
    }
    // First the session, then a restart of it; each time the candidates travel apart from the descriptions.
    for round in 0..<2 {
      let now = call.run.now
      let offer = try call.viewer.core.createOffer(iceRestart: round > 0, at: now)
      try call.viewer.core.setLocalDescription(offer, at: now)
      trickle(offer, to: call.master, of: call, mayBeUnnamed: round == 0, random: &random)
      call.run.schedule(after: .milliseconds(50)) { run in
        do {
          try call.master.core.setRemoteDescription(strip(offer), at: run.now)
          let answer = try call.master.core.createAnswer(at: run.now)
          try call.master.core.setLocalDescription(answer, at: run.now)
          trickle(answer, to: call.viewer, of: call, mayBeUnnamed: round == 0, random: &random)
          run.schedule(after: .milliseconds(50)) { run in
            #expect(throws: Never.self) {
              try call.viewer.core.setRemoteDescription(strip(answer), at: run.now)
            }
          }
        } catch {
          Issue.record(error)
        }
      }
      call.run.run(atMost: .milliseconds(300))
      let isConnected = call.run.run(atMost: .seconds(10)) { $0.isConnected }
      #expect(isConnected, "seed \(seed), round \(round)")
    }
    let remotes = call.viewer.core.statistics(at: call.run.now).ice.remoteCandidates
    #expect(remotes.contains { $0.kind == .host }, "seed \(seed): the signaled candidate was lost")
  }

  /// Sends a description's candidates ahead of it or after it, at random.
  ///
  /// - Parameter mayBeUnnamed: whether a candidate ahead of its description may leave out which generation it is of.
  ///   In a restart it would be taken for one of the session that stands.
  private func trickle(
    _ description: SessionDescriptionInit, to peer: SimulatedPeer, of call: Call, mayBeUnnamed: Bool,
    random: inout RandomSource
  ) {
    let fragment = description.values(of: "ice-ufrag").first
    let says = Bool.random(using: &random)
    for value in description.values(of: "candidate") {
      let line = "candidate:" + (value.split(separator: " ufrag ").first.map(String.init) ?? value)
      let candidate = ICECandidateInit(
        candidate: line, sdpMid: "0", sdpMLineIndex: 0, usernameFragment: says ? fragment : nil)
      let delay = says || mayBeUnnamed ? Int64.random(in: 0...100, using: &random) : 60
      call.run.schedule(after: .milliseconds(delay)) { run in
        try? peer.core.addICECandidate(candidate, at: run.now)
      }
    }
  }

  @Test("The end of candidates counts for its generation only, also when it comes before the description")
  func takesEnd() throws {
    let call = try Call(seed: 327)
    func iceState() -> ICEConnectionState { call.viewer.core.statistics(at: call.run.now).transport.iceState }
    func end(_ fragment: String?) throws {
      let end = ICECandidateInit(candidate: "", usernameFragment: fragment)
      try call.viewer.core.addICECandidate(end, at: call.run.now)
    }
    try end("another")
    let isConnected = try call.connect()
    #expect(isConnected)
    call.run.run(atMost: .seconds(2))
    #expect(iceState() == .connected)
    let first = call.master.core.localUsernameFragment
    try end(first)
    #expect(iceState() == .completed)
    let negotiator = Negotiator(call.run)
    negotiator.offer(from: call.viewer, iceRestart: true)
    negotiator.run(atMost: .seconds(2))
    try end(first)
    negotiator.run(atMost: .seconds(1))
    #expect(iceState() == .connected)
    // The answer to the next restart has its end ahead of it.
    negotiator.offer(from: call.viewer, iceRestart: true)
    try end(nil)
    negotiator.run(atMost: .seconds(3))
    #expect(negotiator.completedCount == 2)
    #expect(iceState() == .completed)
  }

  @Test(
    "A candidate of a generation that ended is ignored; one of none that came to be is forgotten, and counted"
  )
  func ignoresOtherGenerations() throws {
    let call = try Call(seed: 324)
    let isConnected = try call.connect()
    #expect(isConnected)
    let old = call.master.core.localUsernameFragment
    func add(_ host: Int, _ fragment: String) throws {
      let line = "candidate:9 1 udp 2122260223 198.18.3.\(host) 6000 typ host ufrag \(fragment)"
      try call.viewer.core.addICECandidate(ICECandidateInit(candidate: line, sdpMid: "0"), at: call.run.now)
    }
    for host in 1...60 { try add(host, "never") }
    #expect(call.viewer.core.dropCounters[.earlyCandidateOverflow] == 10)
    let negotiator = Negotiator(call.run)
    negotiator.offer(from: call.viewer, iceRestart: true)
    negotiator.run(atMost: .seconds(2))
    #expect(negotiator.completedCount == 1)
    #expect(call.viewer.core.dropCounters[.candidateOfOtherGeneration] == 50)
    try add(61, old)
    #expect(call.viewer.core.dropCounters[.candidateOfOtherGeneration] == 51)
    let wire = Wiretap(call.run)
    call.run.run(atMost: .seconds(5))
    #expect(wire.datagrams.allSatisfy { $0.destination.port == 5000 })
    #expect(call.run.isConnected)
  }
}
