// SPDX-License-Identifier: Apache-2.0

import DTLS
import ICE
import SDP

/// What the descriptions agreed on below media: with whom we speak, and which m-line stands for it (BUNDLE).
///
/// It is one DTLS association from the first accepted m-line to the end of the connection. ICE generations come and go
/// beneath it, and take nothing of it along: neither certificates nor SRTP's keys nor any sequence number change with
/// a restart (RFC 8842 §4, RFC 8445 §9).
struct StandingTransport {
  /// Generations of the peer that are remembered once they were replaced, so that their late candidates are told from
  /// the early ones of the next.
  static let formerGenerationsMax = 8

  /// The m-line that candidates are signaled for.
  var mid: String
  /// Its place.
  var mLineIndex: Int
  /// The peer's credentials and certificate.
  private(set) var remote: RemoteTransport
  /// Our part in the DTLS association.
  let localRole: DTLSRole
  /// User fragments of the peer that restarts have replaced, oldest first.
  private var formerFragments: [String] = []

  init(mid: String, mLineIndex: Int, remote: RemoteTransport, localRole: DTLSRole) {
    self.mid = mid
    self.mLineIndex = mLineIndex
    self.remote = remote
    self.localRole = localRole
  }

  /// The peer's user fragment in the session that stands.
  var remoteFragment: String { remote.credentials.usernameFragment }

  /// Whether a user fragment of the peer was replaced by a restart.
  func isFormer(_ fragment: String) -> Bool { formerFragments.contains(fragment) }

  /// Whether the peer's parameters in another description begin another ICE generation (RFC 8839 §4.4.1.1.1).
  func isRestarted(by new: RemoteTransport) throws(PeerConnectionError) -> Bool {
    let isSameID = new.tlsID == nil || remote.tlsID == nil || new.tlsID == remote.tlsID
    guard isSameID, Set(new.fingerprints) == Set(remote.fingerprints) else { throw .dtlsAssociationChanged }
    let isFragmentNew = new.credentials.usernameFragment != remoteFragment
    let isPasswordNew = new.credentials.password != remote.credentials.password
    guard isFragmentNew == isPasswordNew else { throw .incompleteICERestart }
    return isFragmentNew
  }

  /// Takes the parameters of the peer's next generation.
  mutating func takeGeneration(_ next: RemoteTransport) {
    formerFragments.append(remoteFragment)
    formerFragments.removeAll { $0 == next.credentials.usernameFragment }
    if formerFragments.count > Self.formerGenerationsMax { formerFragments.removeFirst() }
    remote = next
  }
}

/// An ICE restart that is wanted or under way (RFC 8445 §9).
struct ICERestart {
  /// Whether our next offer is to restart. It lasts until an exchange has done it, whoever's offer it was.
  var isWanted = false
  /// Our credentials for the next generation, made for a description that may never be set.
  var prepared: ICECredentials?
  /// Whether our offer that waits for its answer restarts.
  var isOffered = false
  /// Whether the peer's offer that waits for our answer restarts.
  var isAskedFor = false

  /// Whether an exchange that restarts is under way.
  var isUnderWay: Bool { isOffered || isAskedFor }
}
