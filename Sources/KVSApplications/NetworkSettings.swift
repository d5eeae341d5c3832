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

extension NetworkLoop.Configuration {
  /// How a camera reaches its viewers, as flags and settings say.
  ///
  /// - Parameter includesLoopback: whether viewers on this host are served, which may have no other network.
  /// - Throws: ``UsageError``.
  init(_ flags: NetworkFlags, _ settings: Settings, includesLoopback: Bool) throws(UsageError) {
    self.init(
      includesLoopback: includesLoopback,
      ports: try settings.value(.udpPort, flag: flags.udpPorts, Self.portRange),
      advertisedAddresses: try settings.list(
        .advertiseAddress, flags: [flags.advertiseAddress].compactMap(\.self), IPAddress.init))
    iceTransportPolicy =
      try settings.value(.icePolicy, flag: flags.icePolicy, ICETransportPolicy.init) ?? .all
    relaySpareCount = try settings.number(
      .relaySpare, flag: flags.relaySpare, in: 0...RelayLimits.relaySpareCountMax, default: relaySpareCount)
    if let file = settings.text(.caFile, flag: flags.caFile) { trustRoots = .file(file) }
  }

  /// `50000-50100`, or one port.
  static func portRange(_ text: String) -> ClosedRange<UInt16>? {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { UInt16($0) }
    guard (1...2).contains(ends.count), let first = ends.first ?? nil, let last = ends.last ?? nil,
      first > 0, first <= last
    else { return nil }
    return first...last
  }
}
