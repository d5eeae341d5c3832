// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import ICE
import KinesisVideo
public import SansIO

/// What GetIceServerConfig hands out of a running TURN server: addresses, and credentials whose time ends.
public struct RelayOffer: Sendable {
  /// How long credentials are good for making an allocation, in seconds: what the service gives.
  static let lifetimeSeconds = 300

  /// The hosts in the URIs, at most one of an address family: each becomes a server of its own, because some clients
  /// have room for no more than three URIs of one. Without any the one that the request came to is taken, which its
  /// client can reach.
  public var hosts: [String]
  /// The port for UDP and TCP.
  public var port: Int
  /// The port for TLS, if there is one.
  public var tlsPort: Int?
  /// What credentials are made with; the TURN server has the same.
  public var secret: Secret<[UInt8]>

  /// Describes a server.
  public init(hosts: [String], port: Int, tlsPort: Int?, secret: Secret<[UInt8]>) {
    self.hosts = hosts
    self.port = port
    self.tlsPort = tlsPort
    self.secret = secret
  }

  /// The servers for a channel, each of at most three URIs (RFC 7065).
  func entries(
    forChannel arn: String, host requestHost: HostHeader, at now: UnixTime
  ) -> [KinesisVideoShapes.ICEServerEntry] {
    // The identity is the channel, as the service has it: the quota is a channel's.
    let identity = Data("v1:\(arn)".utf8).base64EncodedString()
    let credentials = TURNCredentials(
      identity: identity, expiry: now.seconds + Int64(Self.lifetimeSeconds), secret: secret)
    // Not every client tries all addresses of "localhost", whose first one may be of the family that has no socket.
    let requested = requestHost.name == "localhost" ? "127.0.0.1" : requestHost.name
    return (hosts.isEmpty ? [requested] : hosts).map { host in
      KinesisVideoShapes.ICEServerEntry(
        uris: uris(host: host), username: credentials.username, password: credentials.password.unredacted,
        ttl: Self.lifetimeSeconds)
    }
  }

  private func uris(host name: String) -> [String] {
    let text = name.contains(":") ? "[\(name)]" : name
    return ["turn:\(text):\(port)?transport=udp", "turn:\(text):\(port)?transport=tcp"]
      + (tlsPort.map { ["turns:\(text):\($0)?transport=tcp"] } ?? [])
  }
}
