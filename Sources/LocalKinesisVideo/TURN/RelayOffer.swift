// SPDX-License-Identifier: Apache-2.0

import FoundationEssentials
import ICE
import KinesisVideo
public import SansIO

/// What GetIceServerConfig hands out of a running TURN server: addresses, and credentials whose time ends.
public struct RelayOffer: Sendable {
  /// How long credentials are good for making an allocation, in seconds: what the service gives.
  static let lifetimeSeconds = 300

  /// The host in the URIs; `nil` takes the one that the request came to, which its client can reach.
  public var host: String?
  /// The port for UDP and TCP.
  public var port: Int
  /// The port for TLS, if there is one.
  public var tlsPort: Int?
  /// What credentials are made with; the TURN server has the same.
  public var secret: Secret<[UInt8]>

  /// Describes a server.
  public init(host: String?, port: Int, tlsPort: Int?, secret: Secret<[UInt8]>) {
    self.host = host
    self.port = port
    self.tlsPort = tlsPort
    self.secret = secret
  }

  /// One server for a channel, at most three URIs (RFC 7065): some clients have room for no more.
  func entry(
    forChannel arn: String, host requestHost: HostHeader, at now: UnixTime
  ) -> KinesisVideoShapes.ICEServerEntry {
    // The identity is the channel, as the service has it: the quota is a channel's.
    let identity = Data("v1:\(arn)".utf8).base64EncodedString()
    let credentials = TURNCredentials(
      identity: identity, expiry: now.seconds + Int64(Self.lifetimeSeconds), secret: secret)
    return KinesisVideoShapes.ICEServerEntry(
      uris: uris(requestHost: requestHost), username: credentials.username,
      password: credentials.password.unredacted, ttl: Self.lifetimeSeconds)
  }

  private func uris(requestHost: HostHeader) -> [String] {
    // Not every client tries all addresses of "localhost", whose first one may be of the family that has no socket.
    let name = host ?? (requestHost.name == "localhost" ? "127.0.0.1" : requestHost.name)
    let text = name.contains(":") ? "[\(name)]" : name
    return ["turn:\(text):\(port)?transport=udp", "turn:\(text):\(port)?transport=tcp"]
      + (tlsPort.map { ["turns:\(text):\($0)?transport=tcp"] } ?? [])
  }
}
