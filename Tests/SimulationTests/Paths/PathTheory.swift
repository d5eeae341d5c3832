// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import WebRTCTesting

/// What theory says of two peers behind NAT boxes that know each other's server-reflexive addresses: an oracle for
/// the simulator's matrix, derived on paper from RFC 4787 and RFC 8445.
enum PathTheory {
  /// Whether UDP finds a direct path between two boxes, whoever succeeds first.
  static func isDirectPathPossible(_ left: NATBehaviour, _ right: NATBehaviour) -> Bool {
    isDirectPathPossible(Border(nat: left), Border(nat: right))
  }

  /// A NAT box, and whether a stateful firewall stands behind it.
  private struct Border {
    var nat: NATBehaviour
    /// Whether only those get to the host's socket whom it has sent to, through whatever binding.
    var isStateful = false
  }

  private static func isDirectPathPossible(_ left: Border, _ right: Border) -> Bool {
    reaches(from: left, to: right) || reaches(from: right, to: left)
  }

  /// Whether UDP finds a direct path between two peers at the edges of the network.
  static func isDirectPathPossible(_ left: Scenario.Edge, _ right: Scenario.Edge) -> Bool {
    guard left.passesUDP, right.passesUDP else { return false }
    return left.families.contains { family in
      // Stateful firewalls that translate nothing let answers in, and each side's checks make the other's answers.
      right.families.contains(family)
        && (family == .ipv6 || isDirectPathPossible(border(of: left), border(of: right)))
    }
  }

  /// A border's way with IPv4. One without a box is as open as one with the most open box.
  private static func border(of edge: Scenario.Edge) -> Border {
    Border(
      nat: edge.nat ?? NATBehaviour(mapping: .endpointIndependent, filtering: .endpointIndependent),
      isStateful: edge.firewall.isStateful)
  }

  /// Whether a peer gets a relay. Then it reaches everyone who may send UDP to the Internet or has a relay too.
  static func canHaveRelay(_ edge: Scenario.Edge, _ ways: [SimulatedTURNServer.Way]) -> Bool {
    ways.contains { way in
      let ports = way.transport == .udp ? edge.firewall.outgoingUDP : edge.firewall.outgoingTCP
      return switch ports {
      case .all: true
      case .only(let open): open.contains(way.port)
      }
    }
  }

  /// Whether two peers can connect with the help of a server that relays IPv4.
  static func isPathPossible(
    _ left: Scenario.Edge, _ right: Scenario.Edge, ways: [SimulatedTURNServer.Way]
  ) -> Bool {
    if isDirectPathPossible(left, right) { return true }
    func reachesRelay(_ edge: Scenario.Edge) -> Bool {
      canHaveRelay(edge, ways) || (edge.passesUDP && edge.families.contains(.ipv4))
    }
    return (canHaveRelay(left, ways) && reachesRelay(right))
      || (canHaveRelay(right, ways) && reachesRelay(left))
  }

  /// Whether a check from behind `a` gets in at the address that `b` told, and what follows ends in a pair of
  /// addresses that both sides use in both directions, as a valid pair of ICE has to be.
  private static func reaches(from left: Border, to right: Border) -> Bool {
    let (a, b) = (left.nat, right.nat)
    // 1. B has sent checks to the address that A told. Does that let A's check in at the address that B told, which
    //    B's box made for the STUN server?
    let isHeard =
      switch b.filtering {
      // Everyone comes in.
      case .endpointIndependent: true
      // B's checks went through this binding only if its box makes no others, and A's check has to come from the IP
      // address that A told.
      case .addressDependent: b.mapping == .endpointIndependent && a.mapping != .pooled
      // Beyond that it has to come from the very port.
      case .addressAndPortDependent: b.mapping == .endpointIndependent && a.mapping == .endpointIndependent
      }
    // A firewall knows the address that A told, and no other.
    guard isHeard, !right.isStateful || a.mapping == .endpointIndependent else { return false }
    // 2. B answers from where it was reached if its box makes one binding for all: a valid pair.
    if b.mapping == .endpointIndependent { return true }
    // 3. Otherwise B's box (which lets everyone in) makes a new binding for the answer. It gets in at A's binding for
    //    B's told address if that lets in others than this one.
    let isAnswerHeard =
      switch a.filtering {
      case .endpointIndependent: true
      case .addressDependent: b.mapping != .pooled
      case .addressAndPortDependent: false
      }
    guard isAnswerHeard, !left.isStateful else { return false }
    // 4. A has learnt B's new address by B's triggered check. Each side now answers to the other's latest address,
    //    and it ends well as soon as one of them answers from an unchanged one.
    func keepsAddress(_ one: NATBehaviour, towards other: NATBehaviour) -> Bool {
      switch one.mapping {
      case .endpointIndependent: true
      // The other's new port is at the IP address that the binding is for, unless a pool made it.
      case .addressDependent: other.mapping != .pooled
      case .addressAndPortDependent, .pooled: false
      }
    }
    return keepsAddress(a, towards: b) || keepsAddress(b, towards: a)
  }
}

extension Scenario.Edge {
  /// Whether UDP to the ports of peers leaves, and its answers come in.
  fileprivate var passesUDP: Bool { firewall.outgoingUDP == .all }
}
