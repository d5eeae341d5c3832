// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The way of a packet from site to site.
extension SimulatedNetwork {
  /// Where a packet goes on from within a site.
  enum NextHop {
    case host
    case child(SiteID)
    case parent
    case nowhere
  }

  /// Finds the way on from within a site and sends the packet there.
  mutating func route(_ packet: Packet, in site: SiteID, at now: Instant) {
    let inside = Link.inside(site, packet.source)
    let conditions = site == .internet ? conditions : sites[site.index].conditions.inside
    switch nextHop(to: packet.destination.ip, in: site) {
    case .host: transmit(packet, over: inside, conditions, to: .host(site), at: now)
    case .child(let child): transmit(packet, over: inside, conditions, to: .downlink(child), at: now)
    case .parent: leave(packet, from: site, at: now)
    case .nowhere: losses[.noRoute] += 1
    }
  }

  /// Lets a packet that crossed a link act at its end.
  mutating func proceed(_ packet: Packet, to stage: Stage, at now: Instant) {
    switch stage {
    case .host: preconditionFailure("hosts take their packets by receive(at:)")
    case .downlink(let site):
      transmit(packet, over: .down(site), sites[site.index].conditions.down, to: .border(site), at: now)
    case .border(let site): enter(packet, site, at: now)
    case .routing(let site): route(packet, in: site, at: now)
    }
  }

  func nextHop(to ip: IPAddress, in site: SiteID) -> NextHop {
    if sites[site.index].hosts.contains(ip) { return .host }
    if let child = child(of: site, with: ip) { return .child(child) }
    if site != .internet { return .parent }
    // The flat net without sites knows no hosts: every public address may be one.
    return ip.isRoutedOnInternet && !isTaken(ip) ? .host : .nowhere
  }

  /// The site below this one that an address leads into, seen from above its border.
  private func child(of site: SiteID, with ip: IPAddress) -> SiteID? {
    for index in sites.indices.dropFirst() where sites[index].conditions.parent == site {
      if let nat = sites[index].nat, ip.family == .ipv4 {
        if nat.externalAddresses.contains(ip) { return SiteID(index: index) }
      } else if contains(SiteID(index: index), ip) {
        return SiteID(index: index)
      }
    }
    return nil
  }

  private func contains(_ site: SiteID, _ ip: IPAddress) -> Bool {
    sites[site.index].hosts.contains(ip) || child(of: site, with: ip) != nil
  }

  /// Whether an address was a site's, so that it is no flat one.
  private func isTaken(_ ip: IPAddress) -> Bool { sites.dropFirst().contains { $0.hosts.contains(ip) } }

  /// Out through the border: firewall, NAT box, link.
  private mutating func leave(_ packet: Packet, from site: SiteID, at now: Instant) {
    var packet = packet
    guard
      sites[site.index].firewall.letsOut(packet.source, to: packet.destination, over: .udp, at: now)
    else { return losses[.firewall] += 1 }
    if sites[site.index].translates(packet.source.ip.family) {
      guard
        let source = sites[site.index].nat?.translateOut(
          packet.source, to: packet.destination, over: .udp, at: now)
      else { return losses[.nat] += 1 }
      packet.source = source
      if sites[site.index].owns(packet.destination.ip) {
        // The packet turns around at the box (RFC 4787 §6, with the external source address).
        guard sites[site.index].nat?.behaviour.isHairpinning == true else { return losses[.nat] += 1 }
        return enter(packet, site, at: now)
      }
    }
    let parent = sites[site.index].conditions.parent
    transmit(packet, over: .up(site), sites[site.index].conditions.up, to: .routing(parent), at: now)
  }

  /// In through the border: NAT box, firewall.
  private mutating func enter(_ packet: Packet, _ site: SiteID, at now: Instant) {
    var packet = packet
    if sites[site.index].translates(packet.destination.ip.family) {
      guard
        let inside = sites[site.index].nat?.translateIn(
          packet.source, to: packet.destination, over: .udp, at: now)
      else { return losses[.nat] += 1 }
      packet.destination = inside
    }
    guard sites[site.index].firewall.letsIn(packet.source, to: packet.destination, over: .udp, at: now)
    else { return losses[.firewall] += 1 }
    guard contains(site, packet.destination.ip) else { return losses[.noRoute] += 1 }
    route(packet, in: site, at: now)
  }
}

extension SiteState {
  /// Whether an address is the NAT box's own.
  fileprivate func owns(_ ip: IPAddress) -> Bool { nat?.externalAddresses.contains(ip) ?? false }
}

extension IPAddress {
  /// Whether a router of the Internet knows a way to the address: not to those of hosts, links and private nets
  /// (RFC 1918, RFC 6598, RFC 4193).
  var isRoutedOnInternet: Bool {
    if isLoopback || isLinkLocal || isUnspecified || isMulticastOrBroadcast { return false }
    guard family == .ipv4 else { return high >> 57 != 0x7e }
    return low >> 24 != 10 && low >> 20 != 0xac1 && low >> 16 != 0xc0a8 && low >> 22 != 0x191
  }
}
