// SPDX-License-Identifier: Apache-2.0

import SansIO
import Testing
import WebRTCTesting

/// The simulator's NAT boxes do what RFC 4787 says of each kind: what servers see and what comes back in.
@Suite("NAT boxes of the simulated network, RFC 4787")
struct NATBoxTests {
  /// A host behind a box, and servers on the Internet.
  struct World {
    static let host = TransportAddress.ip("192.168.1.2", 5000)
    static let server = TransportAddress.ip("192.0.2.1", 3478)
    static let serverOtherPort = TransportAddress.ip("192.0.2.1", 3479)
    static let otherServer = TransportAddress.ip("192.0.2.9", 3478)

    var network = SimulatedNetwork(conditions: LinkConditions(delay: .milliseconds(1)), seed: 1)
    let home: SiteID
    var now = Instant.zero

    init(_ behaviour: NATBehaviour) {
      home = network.addSite(SimulatedSite(nat: behaviour))
      _ = network.addHost(Self.host.ip, in: home)
      _ = network.addHost(Self.server.ip)
      _ = network.addHost(Self.otherServer.ip)
    }

    /// Sends a packet from the host and gives the source that the destination sees.
    mutating func mapped(to destination: TransportAddress) throws -> TransportAddress {
      let delivery = send(from: Self.host, in: home, to: destination)
      return try #require(delivery).source
    }

    mutating func send(
      from source: TransportAddress, in site: SiteID = .internet, to destination: TransportAddress
    ) -> SimulatedNetwork.Delivery? {
      network.send([1, 2, 3], from: source, in: site, to: destination, at: now)
      now += .milliseconds(5)
      return network.receive(at: now)
    }
  }

  @Test(
    "A socket's external address changes with the destination as its kind of mapping says",
    arguments: NATBehaviour.all)
  func maps(behaviour: NATBehaviour) throws {
    var world = World(behaviour)
    let first = try world.mapped(to: World.server)
    let again = try world.mapped(to: World.server)
    let otherPort = try world.mapped(to: World.serverOtherPort)
    let otherServer = try world.mapped(to: World.otherServer)
    #expect(first == again)
    #expect((first == otherPort) == [.endpointIndependent, .addressDependent].contains(behaviour.mapping))
    #expect((first == otherServer) == (behaviour.mapping == .endpointIndependent))
    #expect((first.ip == otherServer.ip) == (behaviour.mapping != .pooled))
  }

  @Test("A binding lets in whom its kind of filtering says", arguments: NATBehaviour.all)
  func filters(behaviour: NATBehaviour) throws {
    var world = World(behaviour)
    let external = try world.mapped(to: World.server)
    let answer = world.send(from: World.server, to: external)
    let fromOtherPort = world.send(from: World.serverOtherPort, to: external)
    let fromOtherServer = world.send(from: World.otherServer, to: external)
    #expect(answer?.destination == World.host)
    #expect(answer?.site == world.home)
    #expect((fromOtherPort != nil) == (behaviour.filtering != .addressAndPortDependent))
    #expect((fromOtherServer != nil) == (behaviour.filtering == .endpointIndependent))
  }

  @Test("Nothing comes in without a binding, and none leads to the private address from outside")
  func refusesStrangers() throws {
    var world = World(NATBehaviour(mapping: .endpointIndependent, filtering: .endpointIndependent))
    let external = try #require(world.network.externalAddress(of: world.home))
    let stray = world.send(from: World.server, to: TransportAddress(ip: external, port: 5000))
    let direct = world.send(from: World.server, to: World.host)
    #expect(stray == nil)
    #expect(direct == nil)
    #expect(world.network.losses[.nat] == 1)
    #expect(world.network.losses[.noRoute] == 1)
  }

  @Test("A binding ends when nothing left for its lifetime; packets from outside do not keep it")
  func expires() throws {
    var world = World(
      NATBehaviour(
        mapping: .endpointIndependent, filtering: .endpointIndependent, bindingLifetime: .seconds(30)))
    let external = try world.mapped(to: World.server)
    world.now += .seconds(29)
    let late = world.send(from: World.server, to: external)
    #expect(late != nil)
    world.now += .seconds(2)
    let tooLate = world.send(from: World.server, to: external)
    #expect(tooLate == nil)
    let renewed = try world.mapped(to: World.server)
    #expect(renewed != external)
  }

  @Test("A box that starts anew has forgotten its bindings and makes others")
  func reboots() throws {
    var world = World(NATBehaviour(mapping: .endpointIndependent, filtering: .endpointIndependent))
    let external = try world.mapped(to: World.server)
    world.network.reboot(world.home)
    let answer = world.send(from: World.server, to: external)
    #expect(answer == nil)
    let renewed = try world.mapped(to: World.server)
    #expect(renewed != external)
  }

  @Test(
    "Two hosts behind one box reach each other by external addresses only if it hairpins",
    arguments: [true, false])
  func hairpins(isHairpinning: Bool) throws {
    var world = World(
      NATBehaviour(
        mapping: .endpointIndependent, filtering: .addressAndPortDependent, isHairpinning: isHairpinning))
    let neighbour = TransportAddress.ip("192.168.1.3", 5000)
    world.network.attach(neighbour.ip, to: world.home)
    let external = try world.mapped(to: World.server)
    let delivery = world.send(from: neighbour, in: world.home, to: World.server)
    let other = try #require(delivery).source
    let opening = world.send(from: World.host, in: world.home, to: other)
    #expect(opening == nil)
    let arrival = world.send(from: neighbour, in: world.home, to: external)
    #expect((arrival?.destination == World.host) == isHairpinning)
    #expect((arrival?.source == other) == isHairpinning)
  }

  @Test("Boxes stand behind boxes: each translates, and two homes of one carrier meet below its border")
  func nests() throws {
    let cone = NATBehaviour(mapping: .endpointIndependent, filtering: .addressAndPortDependent)
    var network = SimulatedNetwork(conditions: LinkConditions(delay: .milliseconds(1)), seed: 2)
    let carrier = network.addSite(SimulatedSite(nat: cone))
    let homes = (0..<2).map { _ in network.addSite(SimulatedSite(parent: carrier, nat: cone)) }
    // The same private address in both homes: only their sites tell them apart.
    for home in homes { network.attach(World.host.ip, to: home) }
    network.attach(World.server.ip, to: .internet)

    network.send([1], from: World.host, in: homes[0], to: World.server, at: .zero)
    let request = network.receive(at: .zero + .milliseconds(2))
    let seen = try #require(request)
    #expect(seen.source.ip == network.externalAddress(of: carrier))
    network.send([2], from: World.server, to: seen.source, at: .zero + .milliseconds(2))
    let answer = network.receive(at: .zero + .milliseconds(4))
    #expect(answer?.destination == World.host)
    #expect(answer?.site == homes[0])

    let addresses = homes.compactMap { network.externalAddress(of: $0) }
    #expect(Set(addresses).count == 2)
    network.send(
      [3], from: World.host, in: homes[0], to: TransportAddress(ip: addresses[1], port: 7000),
      at: .zero + .milliseconds(5))
    let stray = network.receive(at: .zero + .milliseconds(9))
    #expect(stray == nil)
    // It did not leave the carrier's net, but the other home's box had no binding for it.
    #expect(network.losses[.nat] == 1)
  }
}

extension TransportAddress {
  /// An address for a test, of text that is one.
  static func ip(_ text: String, _ port: UInt16) -> TransportAddress {
    guard let ip = IPAddress(text) else { preconditionFailure("\(text) is no address") }
    return TransportAddress(ip: ip, port: port)
  }
}
