// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import Testing
import WebRTCCore
import WebRTCTesting

/// Whole calls between networks as people have them: IPv6 behind firewalls, both families, offices that let nothing
/// out but the web. Connected whenever there is a path, failed with a reason when not.
@Suite("IPv6, dual stack and firewalls")
struct FirewallMatrixTests {
  /// A network that people have.
  struct Place: Sendable {
    let name: String
    let edge: Scenario.Edge

    static let symmetric = NATBehaviour(
      mapping: .addressAndPortDependent, filtering: .addressAndPortDependent)
    static let cone = NATBehaviour(mapping: .endpointIndependent, filtering: .addressAndPortDependent)

    static let all = [
      Place(name: "public IPv4", edge: .init()),
      Place(name: "public IPv4, stateful", edge: .init(firewall: .stateful)),
      Place(name: "home NAT", edge: .init(nat: cone)),
      Place(name: "mobile NAT", edge: .init(nat: symmetric)),
      Place(name: "IPv6 only", edge: .init(families: [.ipv6], firewall: .stateful)),
      Place(
        name: "dual stack", edge: .init(families: [.ipv4, .ipv6], nat: symmetric, firewall: .stateful)),
      Place(name: "no UDP", edge: .init(nat: cone, firewall: .withoutUDP)),
      Place(
        name: "only the web", edge: .init(families: [.ipv4, .ipv6], nat: symmetric, firewall: .onlyHTTPS)),
      Place(name: "IPv6, only the web", edge: .init(families: [.ipv6], firewall: .onlyHTTPS)),
    ]
  }

  struct Pair: Sendable, CustomTestStringConvertible {
    let left: Place
    let right: Place

    var testDescription: String { "\(left.name) and \(right.name)" }

    static let all = Place.all.indices.flatMap { index in
      Place.all[index...].map { Pair(left: Place.all[index], right: $0) }
    }
  }

  /// Which servers there are.
  enum Help: CaseIterable {
    case stun, turnOverUDP, turnOverAll

    var ways: [SimulatedTURNServer.Way] {
      switch self {
      case .stun: []
      case .turnOverUDP: [.udp]
      case .turnOverAll: SimulatedTURNServer.Way.all
      }
    }
  }

  @Test("Two places connect exactly where theory has a path", arguments: Pair.all, Help.allCases)
  func connects(pair: Pair, help: Help) throws {
    for seed in Seeds.few {
      let scenario = try Scenario(
        seed: seed, viewer: pair.left.edge, master: pair.right.edge,
        servers: help == .stun ? .stun : .turn(help.ways))
      let outcome = try scenario.outcome()
      if PathTheory.isPathPossible(pair.left.edge, pair.right.edge, ways: help.ways) {
        #expect(outcome == .connected, "seed \(seed)")
        let carriesMedia = scenario.carriesMedia()
        #expect(carriesMedia, "seed \(seed)")
      } else {
        #expect(outcome.isFailure, "seed \(seed)")
      }
    }
  }

  @Test(
    "Two hosts of one home meet inside, two homes of one carrier where its box hairpins",
    arguments: [true, false])
  func connectsBelowOneBox(isHairpinning: Bool) throws {
    let cone = NATBehaviour(
      mapping: .endpointIndependent, filtering: .addressAndPortDependent, isHairpinning: isHairpinning)
    for sameHome in [true, false] {
      var network = SimulatedNetwork(seed: Simulation.networkSeed(for: 1))
      let server = SimulatedTURNServer(addresses: [IPAddress(ipv4: 0xc000_0201)], in: &network, seed: 1)
      let carrier = network.addSite(SimulatedSite(nat: cone))
      let homes = (0..<2).map { _ in network.addSite(SimulatedSite(parent: carrier, nat: cone)) }
      let viewer = network.addHost(IPAddress(ipv4: 0xc0a8_0102), in: homes[0])
      let master = network.addHost(IPAddress(ipv4: 0xc0a8_0103), in: homes[sameHome ? 0 : 1])
      let run = try Simulation(
        seed: 1, network: network, offerer: viewer, answerer: master, offererServers: [server.stunServer],
        answererServers: [server.stunServer])
      run.add(server)
      let call = Call(run)
      let isConnected = try call.connect(within: .seconds(60))
      #expect(isConnected == (sameHome || isHairpinning), "same home: \(sameHome)")
    }
  }
}
