// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What a firewall at the border of a site lets through. It stands inside of a NAT box, if there is one.
public struct Firewall: Hashable, Sendable {
  /// Which destination ports are open.
  public enum Ports: Hashable, Sendable {
    /// All.
    case all
    /// These, an empty set for none.
    case only(Set<UInt16>)

    func contains(_ port: UInt16) -> Bool {
      switch self {
      case .all: true
      case .only(let ports): ports.contains(port)
      }
    }
  }

  /// Ports of the outside that hosts may send UDP to.
  public var outgoingUDP: Ports
  /// Ports of the outside that hosts may open TCP connections to.
  public var outgoingTCP: Ports
  /// Whether only answers come in: packets from addresses and ports that were sent to from the same socket
  /// (RFC 6092, what home routers do with IPv6).
  public var isStateful: Bool
  /// How long answers come in after the last outgoing packet; RFC 6092 REC-14 wants two minutes.
  public var stateLifetime: TimeDelta

  /// Describes a firewall.
  public init(
    outgoingUDP: Ports = .all, outgoingTCP: Ports = .all, isStateful: Bool = true,
    stateLifetime: TimeDelta = .seconds(120)
  ) {
    self.outgoingUDP = outgoingUDP
    self.outgoingTCP = outgoingTCP
    self.isStateful = isStateful
    self.stateLifetime = stateLifetime
  }

  /// No firewall: everything passes in both directions.
  public static let none = Firewall(isStateful: false)
  /// Everything leaves, answers come in.
  public static let stateful = Firewall()
  /// UDP neither leaves nor comes in.
  public static let withoutUDP = Firewall(outgoingUDP: .only([]))
  /// Only TCP connections to port 443 leave.
  public static let onlyHTTPS = Firewall(outgoingUDP: .only([]), outgoingTCP: .only([443]))
}

/// A firewall with what it remembers.
struct FirewallState {
  private struct Flow: Hashable {
    let transport: SimulatedTransport
    let inside: TransportAddress
    let outside: TransportAddress
  }

  var rules: Firewall
  private var flows: [Flow: Instant] = [:]

  init(rules: Firewall) { self.rules = rules }

  /// Whether a packet may leave; if so, its answers may come in.
  mutating func letsOut(
    _ source: TransportAddress, to destination: TransportAddress, over transport: SimulatedTransport,
    at now: Instant
  ) -> Bool {
    let ports = transport == .udp ? rules.outgoingUDP : rules.outgoingTCP
    let flow = Flow(transport: transport, inside: source, outside: destination)
    guard ports.contains(destination.port) else { return false }
    if rules.isStateful { flows[flow] = now }
    return true
  }

  /// Whether a packet of the outside may come in.
  func letsIn(
    _ source: TransportAddress, to destination: TransportAddress, over transport: SimulatedTransport,
    at now: Instant
  ) -> Bool {
    guard rules.isStateful else { return true }
    guard let time = flows[Flow(transport: transport, inside: destination, outside: source)] else {
      return false
    }
    return now - time < rules.stateLifetime
  }

  /// The firewall starts anew.
  mutating func reboot() { flows = [:] }
}
