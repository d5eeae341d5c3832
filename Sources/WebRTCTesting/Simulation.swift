// SPDX-License-Identifier: Apache-2.0

import DTLS
public import ICE
public import SansIO
public import WebRTCCore

/// Two connections of ours, a network with its servers, and one virtual clock: whole calls without a socket or a
/// sleep.
///
/// Time jumps from one event to the next: the arrival of a datagram, a deadline of either core, an action that a
/// test scheduled. The same seed gives the same run.
public final class Simulation {
  /// The virtual time.
  public private(set) var now = Instant.zero
  /// What lies between the peers.
  public var network: SimulatedNetwork
  /// The peer that offers.
  public let offerer: SimulatedPeer
  /// The peer that answers.
  public let answerer: SimulatedPeer
  /// How long a message of the signaling service takes.
  public var signalingDelay = TimeDelta.milliseconds(20)
  /// The seed of this run, for messages of failing tests.
  public let seed: UInt64

  /// Turns that any node was given so far, for a datagram or a deadline: what a call costs at rest.
  public private(set) var turnCount = 0

  private var nodes: [any SimulatedNode] = []
  private var actions = TimedQueue<(Simulation) -> Void>()

  /// Events that one run handles at most: a run that never comes to rest is a fault, not a long test.
  public static let stepsMax = 2_000_000

  /// Makes two peers on the Internet, each with the given addresses.
  public convenience init(
    seed: UInt64, conditions: LinkConditions = LinkConditions(),
    offererAddresses: [TransportAddress] = [.simulated(host: 1)],
    answererAddresses: [TransportAddress] = [.simulated(host: 2)],
    configureOfferer: (inout PeerConnectionCore.Configuration) -> Void = { _ in },
    configureAnswerer: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
  ) throws {
    let network = SimulatedNetwork(conditions: conditions, seed: Self.networkSeed(for: seed))
    try self.init(seed: seed, network: network) { dtls in
      let offerer = try SimulatedPeer(
        addresses: offererAddresses, dtls: dtls, seed: seed &* 5 &+ 2, at: .zero, configure: configureOfferer)
      let answerer = try SimulatedPeer(
        addresses: answererAddresses, dtls: dtls, seed: seed &* 7 &+ 3, at: .zero,
        configure: configureAnswerer)
      return (offerer, answerer)
    }
  }

  /// Makes two peers on two hosts of a network that was built before.
  ///
  /// Of two offers that cross, the answerer takes its own back.
  public convenience init(
    seed: UInt64, network: SimulatedNetwork, offerer: SimulatedHost, answerer: SimulatedHost,
    offererServers: [ICEServer] = [], answererServers: [ICEServer] = [],
    configureOfferer: (inout PeerConnectionCore.Configuration) -> Void = { _ in },
    configureAnswerer: (inout PeerConnectionCore.Configuration) -> Void = { _ in }
  ) throws {
    try self.init(seed: seed, network: network) { dtls in
      let first = try SimulatedPeer(
        host: offerer, servers: offererServers, dtls: dtls, seed: seed &* 5 &+ 2, at: .zero,
        configure: configureOfferer)
      let second = try SimulatedPeer(
        host: answerer, servers: answererServers, dtls: dtls, seed: seed &* 7 &+ 3, at: .zero
      ) { configuration in
        configuration.isPolite = true
        configureAnswerer(&configuration)
      }
      return (first, second)
    }
  }

  private init(
    seed: UInt64, network: SimulatedNetwork,
    makePeers: (DTLSContext) throws -> (SimulatedPeer, SimulatedPeer)
  ) throws {
    VirtualClock.install()
    self.seed = seed
    self.network = network
    (offerer, answerer) = try makePeers(DTLSContext(simulationSeed: seed))
    nodes = [offerer, answerer]
  }

  /// The seed of the network's dice in the run of a seed.
  public static func networkSeed(for seed: UInt64) -> UInt64 { seed &* 3 &+ 1 }

  /// Lets one more node take part: a server, an attacker.
  public func add(_ node: any SimulatedNode) { nodes.append(node) }

  /// Lets a datagram arrive now as if `source` had sent it, and both peers act on it.
  public func inject(_ bytes: [UInt8], from source: TransportAddress, to destination: TransportAddress) {
    network.inject(bytes, from: source, to: destination, at: now)
    while let delivery = network.receive(at: now) { deliver(delivery) }
    drain()
  }

  /// Lets something happen at a later time.
  public func schedule(after delay: TimeDelta, _ body: @escaping (Simulation) -> Void) {
    actions.insert(body, at: now + delay)
  }

  /// Whether a peer that says it needs a negotiation gets one, as applications do.
  public var negotiatesAgain = false {
    didSet { for peer in [offerer, answerer] { peer.wantsNegotiation = false } }
  }

  /// Carries an offer and its answer over the simulated signaling service, each taking ``signalingDelay``.
  ///
  /// - Parameters:
  ///   - answererOffers: whether the roles of the first exchange are swapped.
  ///   - alteringOffer: what the service does to the offer's text; for attacks.
  ///   - alteringAnswer: what the service does to the answer's text.
  public func negotiate(
    answererOffers: Bool = false, alteringOffer: @escaping (String) -> String = { $0 },
    alteringAnswer: @escaping (String) -> String = { $0 }
  ) throws {
    let (from, to) = answererOffers ? (answerer, offerer) : (offerer, answerer)
    from.wantsNegotiation = false
    let offer = try from.core.createOffer(at: now)
    try from.core.setLocalDescription(offer, at: now)
    drain()
    schedule(after: signalingDelay) { run in
      do {
        let received = SessionDescriptionInit(type: .offer, sdp: alteringOffer(offer.sdp))
        do { try to.core.setRemoteDescription(received, at: run.now) } catch PeerConnectionError
          .offerCollision
        { return }
        let answer = try to.core.createAnswer(at: run.now)
        try to.core.setLocalDescription(answer, at: run.now)
        run.schedule(after: run.signalingDelay) { run in
          let received = SessionDescriptionInit(type: .answer, sdp: alteringAnswer(answer.sdp))
          do { try from.core.setRemoteDescription(received, at: run.now) } catch {
            run.negotiationError = error
          }
        }
      } catch {
        run.negotiationError = error
      }
    }
  }

  private func negotiateIfWanted() {
    guard negotiatesAgain else { return }
    for peer in [offerer, answerer] where peer.wantsNegotiation && peer.core.signalingState == .stable {
      do { try negotiate(answererOffers: peer === answerer) } catch { negotiationError = error }
    }
  }

  /// What a description was refused for, if one was.
  public private(set) var negotiationError: (any Error)?

  /// Runs until `condition` holds after a step, at most until `limit` from now.
  ///
  /// - Returns: whether the condition held.
  @discardableResult
  public func run(
    atMost limit: TimeDelta, until condition: (Simulation) -> Bool = { _ in false }
  ) -> Bool {
    let end = now + limit
    drain()
    for _ in 0..<Self.stepsMax {
      if condition(self) { return true }
      guard let next = nextEvent, next <= end else { break }
      now = max(now, next)
      step()
    }
    if !condition(self) { now = max(now, end) }
    return condition(self)
  }

  private var nextEvent: Instant? {
    nodes.reduce(Instant.earliest(network.nextArrival, actions.nextTime)) { next, node in
      Instant.earliest(next, node.nextDeadline)
    }
  }

  private func step() {
    while let action = actions.popFirst(at: now) {
      action(self)
      drain()
    }
    while let time = network.nextArrival, time <= now {
      while let delivery = network.receive(at: now) {
        deliver(delivery)
        drain()
      }
      while let event = network.receiveStreamEvent(at: now) {
        _ = nodes.first { $0.receive(event, at: now) }
        turnCount += 1
        drain()
      }
    }
    for node in nodes {
      guard let deadline = node.nextDeadline, deadline <= now else { continue }
      node.handleTimeout(at: now)
      turnCount += 1
    }
    drain()
  }

  private func deliver(_ delivery: SimulatedNetwork.Delivery) {
    let isTaken = nodes.contains { $0.receive(delivery, at: now) }
    if isTaken { turnCount += 1 }
  }

  private func drain() {
    for node in nodes { node.drain(into: &network, at: now) }
    carryCandidates(from: offerer, to: answerer)
    carryCandidates(from: answerer, to: offerer)
    negotiateIfWanted()
  }

  private func carryCandidates(from source: SimulatedPeer, to destination: SimulatedPeer) {
    for candidate in source.trickled {
      schedule(after: signalingDelay) { run in
        try? destination.core.addICECandidate(candidate, at: run.now)
      }
    }
    source.trickled = []
  }

  /// Whether both sides are connected.
  public var isConnected: Bool {
    offerer.connectionState == .connected && answerer.connectionState == .connected
  }
}

extension TransportAddress {
  /// 198.18.0.`host`, port 5000: from the block for tests of networks (RFC 2544).
  public static func simulated(host: UInt8, port: UInt16 = 5000) -> TransportAddress {
    TransportAddress(ip: IPAddress(ipv4: 0xc612_0000 | UInt32(host)), port: port)
  }

  /// 2001:db8::`host`, port 5000 (RFC 3849).
  public static func simulatedIPv6(host: UInt8, port: UInt16 = 5000) -> TransportAddress {
    TransportAddress(ip: IPAddress(ipv6High: 0x2001_0db8_0000_0000, low: UInt64(host)), port: port)
  }
}
