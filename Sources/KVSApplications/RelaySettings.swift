// SPDX-License-Identifier: Apache-2.0

import ICE
import KinesisVideo
import LocalKinesisVideo
import SansIO

/// The flags of the stand-in's TURN server as they were typed.
public struct RelayFlags: Sendable {
  var turnPort: String?
  var turnTLSPort: String?
  var noTURN: Bool
  var relayAddress: String?
  var allowPeers: [String]
  var advertiseAddress: String?
  var iceServers: [String]

  /// Carries flags as they were typed.
  public init(
    turnPort: String? = nil, turnTLSPort: String? = nil, noTURN: Bool = false, relayAddress: String? = nil,
    allowPeers: [String] = [], advertiseAddress: String? = nil, iceServers: [String] = []
  ) {
    self.turnPort = turnPort
    self.turnTLSPort = turnTLSPort
    self.noTURN = noTURN
    self.relayAddress = relayAddress
    self.allowPeers = allowPeers
    self.advertiseAddress = advertiseAddress
    self.iceServers = iceServers
  }
}

extension TURNServer.Configuration {
  /// What flags and settings say; `nil` for no TURN server.
  ///
  /// - Throws: ``UsageError``.
  static func make(_ flags: RelayFlags, _ settings: Settings) throws(UsageError) -> TURNServer.Configuration?
  {
    guard try !settings.isOn(.noTURN, flag: flags.noTURN) else { return nil }
    var configuration = TURNServer.Configuration()
    let ports = 0...65_535
    let isNamed =
      settings.text(.turnPort, flag: flags.turnPort) != nil
      || settings.text(.turnTLSPort, flag: flags.turnTLSPort) != nil
    configuration.port = try settings.number(
      .turnPort, flag: flags.turnPort, in: ports, default: configuration.port)
    configuration.tlsPort = try settings.number(
      .turnTLSPort, flag: flags.turnTLSPort, in: ports, default: configuration.tlsPort)
    // Nobody has to know the ports, since clients are told: only who names one gets it or nothing.
    configuration.mayUseOtherPorts = !isNamed
    configuration.relayAddresses = try settings.list(
      .turnRelayAddress, flags: [flags.relayAddress].compactMap(\.self), IPAddress.init)
    configuration.advertisedAddresses = try settings.list(
      .advertiseAddress, flags: [flags.advertiseAddress].compactMap(\.self), IPAddress.init)
    configuration.allowedPrefixes = try settings.list(.allowPeer, flags: flags.allowPeers, IPPrefix.init)
    return configuration
  }
}

extension RelayFlags {
  /// The servers of others that the stand-in is to name: each `URL`, or `URL,USER,PASSWORD`, behind one another with
  /// blanks between them.
  ///
  /// - Throws: ``UsageError``.
  func otherICEServers(_ settings: Settings) throws(UsageError) -> [KinesisVideo.ICEServer] {
    let flag = iceServers.isEmpty ? nil : iceServers.joined(separator: " ")
    return try settings.value(.iceServer, flag: flag) { text -> [KinesisVideo.ICEServer]? in
      let parts = text.split(separator: " ")
      let servers = parts.compactMap(Self.iceServer)
      return servers.count == parts.count ? servers : nil
    } ?? []
  }

  private static func iceServer(_ text: Substring) -> KinesisVideo.ICEServer? {
    let fields = text.split(separator: ",", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
    guard let url = try? ICEServerURL(parsing: fields[0]) else { return nil }
    switch (url.service, fields.count) {
    case (.stun, 1): return KinesisVideo.ICEServer(urls: [fields[0]])
    case (.turn, 3) where !fields[1].isEmpty && !fields[2].isEmpty:
      return KinesisVideo.ICEServer(urls: [fields[0]], username: fields[1], credential: Secret(fields[2]))
    default: return nil
    }
  }
}

extension LocalKinesisVideoServer.Address {
  /// What the ready file says of the TURN server.
  var relayEntries: [String: String] {
    guard let relay else { return [:] }
    let name = relay.hosts.first ?? "127.0.0.1"
    let host = name.contains(":") ? "[\(name)]" : name
    var entries = ["turn": "\(host):\(relay.port)"]
    if let port = relay.tlsPort { entries["turns"] = "\(host):\(port)" }
    if let caCertificatePath { entries["caCertificate"] = caCertificatePath }
    return entries
  }

  /// What a person is told of the TURN server.
  var relayText: String {
    let entries = relayEntries
    guard let turn = entries["turn"] else { return "There is no TURN server." }
    var text = "STUN and TURN: \(turn) over UDP and TCP"
    if let turns = entries["turns"] { text += ", \(turns) over TLS" }
    if let path = entries["caCertificate"] { text += "\nTLS clients need to trust: \(path)" }
    return text
  }
}
