// SPDX-License-Identifier: Apache-2.0

import SDP

/// What all descriptions of one peer connection have in common: its session and its certificates.
///
/// Another offer of a viewer continues the connection that stands when these are the same; a page that was loaded
/// again comes with others.
struct SessionIdentity: Equatable {
  private let username: String
  private let sessionID: UInt64
  private let fingerprints: Set<FingerprintAttribute>

  /// Reads a description; `nil` for a text that is none, and for one without a certificate.
  init?(of sdp: String) {
    guard let description = try? SessionDescription(parsing: sdp) else { return nil }
    (username, sessionID) = (description.origin.username, description.origin.sessionID)
    fingerprints = description.media.indices.reduce(into: []) { found, index in
      found.formUnion(description.transportAttributes(ofMedia: index).fingerprints)
    }
    guard !fingerprints.isEmpty else { return nil }
  }
}
