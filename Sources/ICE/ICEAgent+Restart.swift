// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// ICE restarts (RFC 8445 §9, RFC 8839 §4.4.1): another session with other credentials on the same sockets.
///
/// A restart is prepared before our description is written, from when on checks with its credentials are
/// answered, and takes effect when the peer's are known. The selected path goes on under the old credentials
/// until a pair of the new session is selected. Roles stay (RFC 8445 §9).
extension ICEAgent {
  /// The user fragments by which the peer's checks may call us, the one to be signaled first.
  public var localUsernameFragments: [String] {
    [preparedSession, session, previousSession].compactMap { $0?.local.usernameFragment }
  }

  /// Begins a restart: makes new credentials for the next description, which ``localCredentials`` are from now
  /// on. They are accepted beside the old ones. A restart that is prepared already stays.
  @discardableResult
  public mutating func prepareRestart() -> ICECredentials {
    if let preparedSession { return preparedSession.local }
    let prepared = ICESession(local: ICECredentials.generate(using: &random))
    preparedSession = prepared
    return prepared.local
  }

  /// Takes a restart back that was prepared: its description was rolled back.
  public mutating func cancelRestart() {
    preparedSession = nil
    earlyChecks = []
  }

  /// Restarts with the peer's new credentials: the exchange of descriptions is complete. The peer's new
  /// candidates are to be added after it. An agent that has failed comes back to life.
  public mutating func restart(remote: ICECredentials, at now: Instant) {
    guard connectionState != .closed else { return }
    guard remote.areUsable else {
      drops[.invalidCredentials] += 1
      return
    }
    prepareRestart()
    beginNextSession(remote: remote, at: now)
    armPatience(at: now)
    if sendPair == nil {
      hasBeenConnected = false
      changeState(to: .checking)
    }
    let arrived = futureCandidates
    futureCandidates = []
    for candidate in arrived { addRemoteCandidate(candidate, at: now) }
    replayEarlyChecks(at: now)
    scheduleChecks(at: now)
    updateSendRoute(at: now)
    updateState()
  }

  /// Puts the prepared session into the current one's place, of which nothing stays but the path in use.
  private mutating func beginNextSession(remote: ICECredentials, at now: Instant) {
    guard var next = preparedSession else { return }
    next.setRemote(remote)
    let kept = sendPair
    if kept == nil {
      previousSession = nil
    } else if kept?.generation == generation {
      // Otherwise, of two restarts in a row, the path in use is of the session before the last one.
      previousSession = session
    }
    checklist.removeAll { $0.id != kept }
    selectedPair = kept
    session = next
    preparedSession = nil
    generation += 1
    failureReason = nil
    timers.stopAll()
    refreshWelcomeRoutes()
    remoteCandidates = []
    remoteNames = []
    tcpAttempts.removeAll { attempt in
      !localCandidates.contains { $0.connectedRemote == attempt.remote }
    }
    hasAllRemoteCandidates = false
    hasSelected = false
    hasAdvisedRestart = false
    isNominationWaitOver = false
    for index in localCandidates.indices {
      localCandidates[index].candidate.usernameFragment = next.local.usernameFragment
    }
    for index in reflexiveLocalCandidates.indices {
      reflexiveLocalCandidates[index].candidate.usernameFragment = next.local.usernameFragment
    }
  }

  /// Whether a session replaced another one and has no selected pair yet.
  var isRestarting: Bool { generation > 0 && !hasSelected }

  /// The credentials of a pair.
  func session(of pair: PairID) -> ICESession? { pair.generation == generation ? session : previousSession }

  /// Keeps an authenticated check for the prepared session until that begins.
  mutating func noteEarlyCheck(_ check: EarlyCheck) {
    if let index = earlyChecks.firstIndex(where: { $0.route == check.route }) {
      earlyChecks[index].nominates = earlyChecks[index].nominates || check.nominates
    } else if earlyChecks.count < ICELimits.earlyChecksMax {
      earlyChecks.append(check)
    }
  }

  private mutating func replayEarlyChecks(at now: Instant) {
    let checks = earlyChecks
    earlyChecks = []
    for check in checks where check.remoteFragment == session.remote?.usernameFragment {
      notePeerCheck(check, at: now)
    }
  }

  /// The new path is in use at both ends: what is left of the previous session goes.
  mutating func forgetPreviousSession(at now: Instant) {
    previousSession = nil
    checklist.removeAll { $0.id.generation != generation }
    refreshWelcomeRoutes()
    updateSendRoute(at: now)
  }
}
