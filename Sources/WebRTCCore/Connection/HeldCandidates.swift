// SPDX-License-Identifier: Apache-2.0

import ICE

/// A candidate of the peer and where signaling says that it belongs.
struct RemoteCandidate {
  let candidate: ICECandidate
  let mid: String?
  let mLineIndex: Int?
  /// The ICE generation; `nil` where the peer does not say.
  let usernameFragment: String?
}

/// Candidates of the peer that came before the description which begins their ICE generation: signaling need not keep
/// the order (RFC 8838 §11).
struct HeldCandidates {
  /// Candidates held at most (threat T36).
  static let countMax = 50

  private var candidates: [RemoteCandidate] = []
  /// The generation that ended before it began; the inner `nil` where the peer does not say.
  private var ended: String??

  /// Keeps a candidate, or returns false when there is no room.
  mutating func hold(_ candidate: RemoteCandidate) -> Bool {
    guard candidates.count < Self.countMax else { return false }
    candidates.append(candidate)
    return true
  }

  /// Remembers the end of a generation's candidates.
  mutating func holdEnd(of fragment: String?) { ended = .some(fragment) }

  /// Takes everything out when a generation begins: what belongs to it or does not say, whether that is all, and how
  /// many belong to another.
  mutating func take(of generation: String) -> (candidates: [RemoteCandidate], hasEnd: Bool, others: Int) {
    let matching = candidates.filter { ($0.usernameFragment ?? generation) == generation }
    let others = candidates.count - matching.count
    let hasEnd = ended.map { ($0 ?? generation) == generation } ?? false
    self = HeldCandidates()
    return (matching, hasEnd, others)
  }
}
