// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing
import WebRTCTesting

/// The simulator's TCP: ordered, reliable, and blocked where firewalls block it.
@Suite("TCP connections of the simulated network")
struct StreamTests {
  static let server = TransportAddress.ip("192.0.2.1", 443)
  static let host = TransportAddress.ip("192.168.1.2", 40_000)

  /// A host at home behind a box, a server that listens at port 443.
  struct World {
    var network: SimulatedNetwork
    let home: SiteID

    init(conditions: LinkConditions = LinkConditions(delay: .milliseconds(10)), firewall: Firewall = .none) {
      network = SimulatedNetwork(conditions: conditions, seed: 5)
      let nat = NATBehaviour(mapping: .addressAndPortDependent, filtering: .addressAndPortDependent)
      home = network.addSite(SimulatedSite(nat: nat, firewall: firewall))
      _ = network.addHost(host.ip, in: home)
      _ = network.addHost(server.ip)
      network.listen(on: server)
    }

    /// All events until a time, as text with milliseconds.
    mutating func events(until seconds: Int64) -> [String] {
      var result: [String] = []
      while let event = network.receiveStreamEvent(at: .zero + .seconds(seconds)) {
        let kind =
          switch event.kind {
          case .accepted(let source, _): source.ip == server.ip ? "?" : "accepted"
          case .opened: "opened"
          case .refused: "refused"
          case .received(let bytes): "\(bytes)"
          case .closed: "closed"
          }
        result.append("\(Int((event.arrival - .zero).inMilliseconds)) \(event.end) \(kind)")
      }
      return result
    }
  }

  @Test("A connection stands after its handshake's round trips, carries bytes both ways and closes")
  func connects() {
    var world = World()
    let id = world.network.openStream(
      from: Self.host, in: world.home, to: Self.server, handshakeRoundTripCount: 1, at: .zero)
    var events = world.events(until: 1)
    world.network.send([1, 2], on: id, from: .client, at: .zero + .milliseconds(40))
    world.network.send([3], on: id, from: .server, at: .zero + .milliseconds(41))
    world.network.close(id, from: .client, at: .zero + .milliseconds(42))
    events += world.events(until: 2)
    // What the server sent arrives at a client that has gone, and is not told.
    #expect(
      events == ["30 server accepted", "40 client opened", "50 server [1, 2]", "52 server closed"])
  }

  @Test("A server that does not listen refuses at once, a firewall by silence")
  func refuses() {
    var world = World(firewall: .onlyHTTPS)
    world.network.listen(on: .ip("192.0.2.1", 3478))
    for port: UInt16 in [443, 3478] {
      _ = world.network.openStream(
        from: Self.host, in: world.home, to: .ip("192.0.2.1", port), at: .zero)
    }
    world.network.stopListening(on: Self.server)
    _ = world.network.openStream(from: Self.host, in: world.home, to: Self.server, at: .zero + .seconds(1))
    let events = world.events(until: 60)
    #expect(
      events == ["10 server accepted", "20 client opened", "1020 client refused", "15000 client refused"])
  }

  @Test("Bytes arrive in order and each once over links that lose, reorder and jitter")
  func keepsOrder() {
    var world = World(
      conditions: LinkConditions(
        delay: .milliseconds(10), jitter: .milliseconds(50), lossProbability: 0.2,
        duplicationProbability: 0.2, reorderingProbability: 0.2))
    let id = world.network.openStream(from: Self.host, in: world.home, to: Self.server, at: .zero)
    for number in 0..<100 {
      world.network.send([UInt8(number)], on: id, from: .client, at: .zero + .seconds(5))
    }
    var received: [UInt8] = []
    while let event = world.network.receiveStreamEvent(at: .zero + .seconds(60)) {
      if case .received(let bytes) = event.kind { received += bytes }
    }
    #expect(received == [UInt8](0..<100))
  }

  @Test("A connection over a path that broke is closed at both ends after a time", arguments: [true, false])
  func breaks(byReboot: Bool) {
    var world = World()
    let id = world.network.openStream(from: Self.host, in: world.home, to: Self.server, at: .zero)
    _ = world.events(until: 1)
    if byReboot {
      world.network.reboot(world.home)
    } else {
      world.network.update(world.home) { $0.up = .cut }
    }
    world.network.send([1], on: id, from: .client, at: .zero + .seconds(1))
    let events = world.events(until: 60)
    #expect(events == ["16000 client closed", "16000 server closed"])
  }
}
