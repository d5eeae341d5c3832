// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// A STUN or TURN server for the peer connection (RFC 8445 §5.1.1).
public struct ICEServer: Hashable, Sendable {
  /// Addresses such as `turn:192.0.2.1:443?transport=udp`.
  public var urls: [String]
  /// The user name; `nil` for STUN.
  public var username: String?
  /// The password; `nil` for STUN.
  public var credential: Secret<String>?
  /// How long new allocations may be made with these, from when they were fetched; `nil` when they do not end.
  public var timeToLive: Duration?

  /// Joins the parts.
  public init(
    urls: [String], username: String? = nil, credential: Secret<String>? = nil, timeToLive: Duration? = nil
  ) {
    self.urls = urls
    self.username = username
    self.credential = credential
    self.timeToLive = timeToLive
  }

  /// Most servers and most addresses of one server that are taken from an answer; the service sends 2 and 3.
  public static let countMax = 5
  /// Most addresses of one server that are taken from an answer.
  public static let urlsMax = 8

  /// Takes the servers of an answer, within the limits.
  init(entry: KinesisVideoShapes.ICEServerEntry) {
    self.init(
      urls: entry.uris.filter { $0.utf8.count <= 512 }.prefix(Self.urlsMax).map { $0 },
      username: entry.username,
      credential: entry.password.map { Secret($0) },
      timeToLive: entry.ttl.map { .seconds(min(max($0, 30), 86_400)) })
  }
}
