// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import WebRTCCore
import WebRTCTesting

/// A network with two peers at its edges and a STUN and TURN server in its middle, and the call between them.
struct Scenario {
  /// What stands at a peer's border.
  struct Edge: Sendable {
    var families: [IPAddress.Family] = [.ipv4]
    var nat: NATBehaviour?
    /// A second box above the first, the carrier's.
    var carrier: NATBehaviour?
    var firewall = Firewall.none
    var up = LinkConditions(delay: .milliseconds(2))
    var down = LinkConditions(delay: .milliseconds(2))
  }

  /// Which servers peers know.
  enum Servers {
    case none
    case stun
    case turn([SimulatedTURNServer.Way])
  }

  let call: Call
  let server: SimulatedTURNServer
  let sites: [SiteID]

  var run: Simulation { call.run }

  init(
    seed: UInt64, viewer: Edge, master: Edge, servers: Servers = .turn([.udp]),
    conditions: LinkConditions = LinkConditions(delay: .milliseconds(10)),
    configureServer: (inout TURNServerCore.Configuration) -> Void = { _ in },
    credentialLifetime: TimeDelta = .seconds(3600),
    configure: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
  ) throws {
    var network = SimulatedNetwork(conditions: conditions, seed: Simulation.networkSeed(for: seed))
    let addresses = [IPAddress(ipv4: 0xc000_0201), TransportAddress.simulatedIPv6(host: 0x53).ip]
    server = SimulatedTURNServer(
      addresses: addresses, in: &network, seed: seed &* 11 &+ 4, configure: configureServer)
    var hosts: [SimulatedHost] = []
    var sites: [SiteID] = []
    for (number, edge) in [viewer, master].enumerated() {
      let parent = edge.carrier.map { network.addSite(SimulatedSite(nat: $0)) } ?? .internet
      let site = network.addSite(
        SimulatedSite(
          parent: parent, up: edge.up, down: edge.down, nat: edge.nat, firewall: edge.firewall))
      // Both homes use the same private address, as homes do.
      let ipv4 =
        edge.nat == nil
        ? TransportAddress.simulated(host: UInt8(number + 1)).ip : IPAddress(ipv4: 0xc0a8_0102)
      let interfaces = edge.families.map { family in
        network.attach(
          family == .ipv4 ? ipv4 : TransportAddress.simulatedIPv6(host: UInt8(number + 1)).ip, to: site)
      }
      hosts.append(SimulatedHost(interfaces: interfaces))
      sites.append(site)
    }
    self.sites = sites
    let known: [ICEServer] =
      switch servers {
      case .none: []
      case .stun: [server.stunServer]
      case .turn(let ways):
        [server.stunServer, server.iceServer(ways: ways, lifetime: credentialLifetime)]
      }
    let run = try Simulation(
      seed: seed, network: network, offerer: hosts[0], answerer: hosts[1], offererServers: known,
      answererServers: known, configureOfferer: configure, configureAnswerer: configure)
    run.add(server)
    call = Call(run)
  }

  /// What became of a call.
  enum Outcome: Equatable, CustomStringConvertible {
    case connected
    /// Both sides gave up, and say why.
    case failed(ICEFailureReason, ICEFailureReason)
    /// Neither: what must never be.
    case wedged(PeerConnectionState, PeerConnectionState)

    var isFailure: Bool { if case .failed = self { true } else { false } }

    var description: String {
      switch self {
      case .connected: "connected"
      case .failed(let viewer, let master): "failed (\(viewer), \(master))"
      case .wedged(let viewer, let master): "wedged (\(viewer), \(master))"
      }
    }
  }

  /// Makes the call and waits until both sides have connected or given up.
  func outcome(within limit: TimeDelta = .seconds(90)) throws -> Outcome {
    try run.negotiate()
    run.run(atMost: limit) { run in
      run.isConnected || [run.offerer, run.answerer].allSatisfy { $0.connectionState == .failed }
    }
    if run.isConnected { return .connected }
    if let viewer = run.offerer.core.iceFailureReason, let master = run.answerer.core.iceFailureReason {
      return .failed(viewer, master)
    }
    return .wedged(run.offerer.connectionState, run.answerer.connectionState)
  }

  /// Whether media goes from master to viewer now.
  func carriesMedia() -> Bool {
    let before = call.viewer.frames(of: call.viewerAudio).count
    call.sendMedia(pictures: 2, byteCount: 500)
    run.run(atMost: .milliseconds(500))
    return call.viewer.frames(of: call.viewerAudio).count - before == 4
  }
}
