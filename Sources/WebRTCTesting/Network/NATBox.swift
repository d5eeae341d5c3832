// SPDX-License-Identifier: Apache-2.0

import SansIO

/// What a simulated packet is for boxes on its way.
enum SimulatedTransport: Hashable {
  case udp, tcp
}

/// A network address translator (RFC 4787, for TCP RFC 5382): its bindings and what they let through.
///
/// It belongs to one site. Ports are drawn at random, so nobody can rely on a port being kept.
struct NATBox {
  /// What has a binding of its own.
  private struct Key: Hashable {
    let transport: SimulatedTransport
    let inside: TransportAddress
    /// The destination as far as the mapping depends on it.
    let ip: IPAddress?
    let port: UInt16?
  }

  private struct External: Hashable {
    let transport: SimulatedTransport
    let address: TransportAddress
  }

  private struct Binding {
    let external: TransportAddress
    var usedAt: Instant
    /// Where packets went, and when the last one did.
    var destinations: [TransportAddress: Instant] = [:]
  }

  /// Bindings at most: the ports of one address. More are refused, as by a box that is full.
  static let bindingsMax = 60_000

  let behaviour: NATBehaviour
  let externalAddresses: [IPAddress]
  private var bindings: [Key: Binding] = [:]
  private var keys: [External: Key] = [:]
  private var addressTurn = 0
  private var random: RandomSource

  init(behaviour: NATBehaviour, externalAddresses: [IPAddress], random: RandomSource) {
    precondition(!externalAddresses.isEmpty, "a NAT box has an external address")
    self.behaviour = behaviour
    self.externalAddresses = externalAddresses
    self.random = random
  }

  /// The source that a packet to the outside gets, `nil` where the box is full.
  mutating func translateOut(
    _ source: TransportAddress, to destination: TransportAddress, over transport: SimulatedTransport,
    at now: Instant
  ) -> TransportAddress? {
    let key = key(of: source, to: destination, over: transport)
    if let binding = bindings[key], !isAlive(binding, at: now) { remove(key) }
    if bindings[key] == nil {
      guard bindings.count < Self.bindingsMax else { return nil }
      let external = makeExternal(over: transport)
      bindings[key] = Binding(external: external, usedAt: now)
      keys[External(transport: transport, address: external)] = key
    }
    bindings[key]?.usedAt = now
    bindings[key]?.destinations[destination] = now
    return bindings[key]?.external
  }

  /// The host's socket that a packet from the outside is for, `nil` where no binding lets it in.
  mutating func translateIn(
    _ source: TransportAddress, to destination: TransportAddress, over transport: SimulatedTransport,
    at now: Instant
  ) -> TransportAddress? {
    guard let key = keys[External(transport: transport, address: destination)],
      let binding = bindings[key]
    else { return nil }
    guard isAlive(binding, at: now) else {
      remove(key)
      return nil
    }
    return lets(source, through: binding, at: now) ? key.inside : nil
  }

  /// The box starts anew: it has forgotten everything.
  mutating func reboot() {
    bindings = [:]
    keys = [:]
  }

  private func key(
    of source: TransportAddress, to destination: TransportAddress, over transport: SimulatedTransport
  ) -> Key {
    switch behaviour.mapping {
    case .endpointIndependent: Key(transport: transport, inside: source, ip: nil, port: nil)
    case .addressDependent: Key(transport: transport, inside: source, ip: destination.ip, port: nil)
    case .addressAndPortDependent, .pooled:
      Key(transport: transport, inside: source, ip: destination.ip, port: destination.port)
    }
  }

  private func isAlive(_ binding: Binding, at now: Instant) -> Bool {
    now - binding.usedAt < behaviour.bindingLifetime
  }

  private func lets(_ source: TransportAddress, through binding: Binding, at now: Instant) -> Bool {
    func isRecent(_ time: Instant) -> Bool { now - time < behaviour.bindingLifetime }
    return switch behaviour.filtering {
    case .endpointIndependent: true
    case .addressDependent: binding.destinations.contains { $0.key.ip == source.ip && isRecent($0.value) }
    case .addressAndPortDependent: binding.destinations[source].map(isRecent) ?? false
    }
  }

  private mutating func remove(_ key: Key) {
    guard let binding = bindings.removeValue(forKey: key) else { return }
    keys[External(transport: key.transport, address: binding.external)] = nil
  }

  private mutating func makeExternal(over transport: SimulatedTransport) -> TransportAddress {
    let ip = externalAddresses[addressTurn % externalAddresses.count]
    if behaviour.mapping == .pooled { addressTurn += 1 }
    // There are 64,512 ports and fewer bindings: a free one is found soon.
    while true {
      let address = TransportAddress(ip: ip, port: UInt16.random(in: 1024...65_535, using: &random))
      if keys[External(transport: transport, address: address)] == nil { return address }
    }
  }
}
