// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// The name of a part of the simulated network.
public struct SiteID: Hashable, Sendable {
  let index: Int

  init(index: Int) { self.index = index }

  /// Where public addresses are, and every other site ends up.
  public static let internet = SiteID(index: 0)
}

/// A part of the network behind one border: a home, an office, a carrier's customers, or a single host with a link
/// of its own.
public struct SimulatedSite: Sendable {
  /// Where its border leads: the Internet, or another site (a carrier-grade NAT).
  public var parent: SiteID
  /// The border's link towards the parent.
  public var up: LinkConditions
  /// The border's link from the parent.
  public var down: LinkConditions
  /// The way between two hosts inside.
  public var inside: LinkConditions
  /// The box that translates IPv4 at the border, if one does. IPv6 addresses are never translated.
  public var nat: NATBehaviour?
  /// What the border lets through, of both families.
  public var firewall: Firewall

  /// Describes a site; without arguments one that is reached as if it were no part of its own.
  public init(
    parent: SiteID = .internet, up: LinkConditions = .ideal, down: LinkConditions = .ideal,
    inside: LinkConditions = .ideal, nat: NATBehaviour? = nil, firewall: Firewall = .none
  ) {
    self.parent = parent
    self.up = up
    self.down = down
    self.inside = inside
    self.nat = nat
    self.firewall = firewall
  }
}

/// A host of the simulated network: its addresses, and the site that each of them is in.
public struct SimulatedHost: Sendable {
  /// One connection of a host to the network.
  public struct Interface: Hashable, Sendable {
    /// Its address.
    public let ip: IPAddress
    /// Where it is.
    public let site: SiteID

    /// Describes an interface.
    public init(ip: IPAddress, site: SiteID) {
      self.ip = ip
      self.site = site
    }
  }

  /// Its interfaces; a phone has one in its Wi-Fi and one in its carrier's network.
  public var interfaces: [Interface]

  /// Describes a host.
  public init(interfaces: [Interface]) { self.interfaces = interfaces }
}

/// A site with the state of its border.
struct SiteState {
  var conditions: SimulatedSite
  var nat: NATBox?
  var firewall: FirewallState
  var hosts: Set<IPAddress> = []
  /// How often the border started anew; streams do not live through it.
  var bootCount = 0

  init(_ site: SimulatedSite, nat: NATBox?) {
    conditions = site
    self.nat = nat
    firewall = FirewallState(rules: site.firewall)
  }

  /// Whether addresses of a family are translated at the border.
  func translates(_ family: IPAddress.Family) -> Bool { family == .ipv4 && nat != nil }
}
