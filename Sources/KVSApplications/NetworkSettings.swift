// SPDX-License-Identifier: Apache-2.0

import ICE
import SansIO
import WebRTC

/// The flags of a camera's network as they were typed.
public struct NetworkFlags: Sendable {
  var udpPorts: String?
  var advertiseAddress: String?
  var icePolicy: String?
  var relaySpare: String?
  var caFile: String?

  /// Carries flags as they were typed.
  public init(
    udpPorts: String? = nil, advertiseAddress: String? = nil, icePolicy: String? = nil,
    relaySpare: String? = nil, caFile: String? = nil
  ) {
    self.udpPorts = udpPorts
    self.advertiseAddress = advertiseAddress
    self.icePolicy = icePolicy
    self.relaySpare = relaySpare
    self.caFile = caFile
  }
}

/// How a camera reaches its viewers.
struct NetworkSettings: Sendable {
  /// Sockets and relays of the loop.
  var loop: NetworkLoop.Configuration
  /// Which ways media may take.
  var icePolicy: ICETransportPolicy

  /// Reads and checks the settings.
  ///
  /// - Parameter includesLoopback: whether viewers on this host are served, which may have no other network.
  /// - Throws: ``UsageError``.
  init(_ flags: NetworkFlags, _ settings: Settings, includesLoopback: Bool) throws(UsageError) {
    loop = NetworkLoop.Configuration(
      includesLoopback: includesLoopback,
      ports: try settings.value(.udpPort, flag: flags.udpPorts, Self.ports),
      advertisedAddresses: try settings.list(
        .advertiseAddress, flags: [flags.advertiseAddress].compactMap(\.self), IPAddress.init))
    icePolicy = try settings.value(.icePolicy, flag: flags.icePolicy, ICETransportPolicy.init) ?? .all
  }

  /// `50000-50100`, or one port.
  static func ports(_ text: String) -> ClosedRange<UInt16>? {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
    guard (1...2).contains(ends.count), let first = ends.first ?? nil, let last = ends.last ?? nil,
      first > 0, first <= last
    else { return nil }
    return first...last
  }
}
