// SPDX-License-Identifier: Apache-2.0

/// Who may watch: viewers by the client id that the service vouches for, up to a limit (threat T36).
///
/// A plain value that decides; connections are made and closed by whoever owns it. `Candidate` is what a viewer may
/// send before its offer: the service keeps candidates apart from offers and may deliver them first.
struct ViewerSlots<Session, Candidate> {
  /// Candidates that a client may send before its offer.
  static var earlyCandidatesMax: Int { 50 }
  /// Clients whose early candidates are kept; the oldest is forgotten beyond it.
  static var earlyClientsMax: Int { 32 }

  /// What an offer leads to.
  enum OfferDecision {
    /// Serve it: end what stood before under the same id, ``occupy(_:with:)``, and apply what came early.
    case admit(replacing: Session?, early: [Candidate])
    /// All slots are taken. `isNews` once, until a slot has become free.
    case refuse(isNews: Bool)
  }

  /// What a candidate leads to.
  enum CandidateDecision {
    case deliver(Session)
    case held
    case dropped
  }

  let limit: Int
  private var sessions: [String: Session] = [:]
  private var early: [(clientID: String, candidates: [Candidate])] = []
  private var hasToldFull = false

  init(limit: Int) { self.limit = limit }

  var count: Int { sessions.count }
  /// Whether a newcomer would be refused.
  var isFull: Bool { sessions.count >= limit }

  /// The session in a client's slot.
  func session(of clientID: String) -> Session? { sessions[clientID] }

  mutating func offer(from clientID: String) -> OfferDecision {
    let standing = sessions[clientID]
    guard standing != nil || !isFull else {
      defer { hasToldFull = true }
      _ = takeEarly(of: clientID)
      return .refuse(isNews: !hasToldFull)
    }
    return .admit(replacing: standing, early: takeEarly(of: clientID))
  }

  /// Puts the admitted session in its slot.
  mutating func occupy(_ clientID: String, with session: Session) { sessions[clientID] = session }

  mutating func candidate(_ candidate: Candidate, from clientID: String) -> CandidateDecision {
    if let session = sessions[clientID] { return .deliver(session) }
    guard let index = early.firstIndex(where: { $0.clientID == clientID }) else {
      if early.count == Self.earlyClientsMax { early.removeFirst() }
      early.append((clientID, [candidate]))
      return .held
    }
    guard early[index].candidates.count < Self.earlyCandidatesMax else { return .dropped }
    early[index].candidates.append(candidate)
    return .held
  }

  /// Frees the slots of all such sessions, and gives the sessions.
  @discardableResult
  mutating func release(where isOver: (Session) -> Bool) -> [Session] {
    let over = sessions.filter { isOver($0.value) }
    for clientID in over.keys { sessions[clientID] = nil }
    if !over.isEmpty { hasToldFull = false }
    return Array(over.values)
  }

  private mutating func takeEarly(of clientID: String) -> [Candidate] {
    guard let index = early.firstIndex(where: { $0.clientID == clientID }) else { return [] }
    return early.remove(at: index).candidates
  }
}
