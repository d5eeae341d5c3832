// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// STUN and TURN servers that share credentials: W3C's RTCIceServer.
public struct ICEServer: Hashable, Sendable {
  /// Where the servers are; at most ``RelayLimits/urlsPerServerMax`` are used.
  public var urls: [ICEServerURL]
  /// The user name for TURN; at most ``TURNLimits/usernameByteCountMax`` bytes.
  public var username: String?
  /// The password for TURN.
  public var credential: Secret<String>?

  /// Names servers, and what they want to know before they relay.
  public init(urls: [ICEServerURL], username: String? = nil, credential: Secret<String>? = nil) {
    self.urls = urls
    self.username = username
    self.credential = credential
  }
}
