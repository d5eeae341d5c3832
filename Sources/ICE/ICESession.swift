// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The credentials of one ICE session on both sides: a restart begins another with new ones (RFC 8445 §9).
///
/// An agent has the current session, before an exchange of descriptions is complete a prepared one, and for a
/// while after it the previous one.
struct ICESession: Sendable {
  let local: ICECredentials
  /// Authenticates requests that we receive, and our responses.
  let localKey: STUNIntegrityKey
  private(set) var remote: ICECredentials?
  /// Authenticates requests that we send, and their responses.
  private(set) var remoteKey: STUNIntegrityKey?

  init(local: ICECredentials) {
    self.local = local
    localKey = STUNIntegrityKey(password: local.password)
  }

  mutating func setRemote(_ credentials: ICECredentials) {
    remote = credentials
    remoteKey = STUNIntegrityKey(password: credentials.password)
  }
}

/// An authenticated check for a prepared session: it is acted upon when the exchange is complete.
struct EarlyCheck: Sendable {
  let route: Route
  let priority: UInt32?
  let remoteFragment: String?
  var nominates: Bool
}
