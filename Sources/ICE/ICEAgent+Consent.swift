// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Keeping the peer's consent to be sent data, and noticing that it is gone (RFC 7675).
///
/// Only authenticated responses to our own checks count. Media that arrives or is sent changes nothing here,
/// and once consent has ended no late response brings it back.
extension ICEAgent {
  /// Decides anew where data is sent, and guards consent there.
  mutating func updateSendRoute(at now: Instant) {
    guard isActive else { return }
    let lasting = configuration.consentTimeout
    var route = selectedRoute
    if route == nil {
      route = checklist.pairs.first { $0.hasConsent(at: now, lasting: lasting) }?.route
    }
    guard route != sendRoute else { return }
    sendRoute = route
    isSilent = false
    guard let route, let index = checklist.index(of: route) else {
      timers[.consentCheck] = nil
      timers[.silence] = nil
      timers[.consentExpiry] = nil
      return
    }
    renewConsent(of: index)
    timers[.consentCheck] = (checklist[index].lastResponseAt ?? now) + nextConsentInterval()
  }

  /// Counts the time of silence and of consent from the last response of the pair that data is sent on.
  mutating func renewConsent(of index: Int) {
    guard let lastResponseAt = checklist[index].lastResponseAt else { return }
    isSilent = false
    timers[.silence] = lastResponseAt + configuration.disconnectedTimeout
    timers[.consentExpiry] = lastResponseAt + configuration.consentTimeout
  }

  /// 0.8 to 1.2 times the interval, at random, so that peers do not fall in step (RFC 7675 §5.1).
  private mutating func nextConsentInterval() -> TimeDelta {
    let permille = Int64.random(in: 800...1200, using: &random)
    return TimeDelta(nanoseconds: configuration.consentInterval.nanoseconds / 1000 &* permille)
  }

  /// Sends a consent check. Each is a transaction of its own and is not repeated (RFC 7675 §5.1).
  mutating func consentCheckIsDue(at now: Instant) {
    guard let sendRoute, let index = checklist.index(of: sendRoute) else { return }
    sendConsentCheck(on: index, at: now)
    timers[.consentCheck] = now + nextConsentInterval()
  }

  mutating func sendConsentCheck(on index: Int, at now: Instant) {
    let id = makeTransactionID()
    register(id, index, .consent, at: now)
    sendRequest(id, on: index, .consent, at: now)
    checklist[index].consentRequestsSent += 1
  }

  mutating func silenceBegan(at now: Instant) {
    isSilent = true
    updateState()
  }

  /// Consent ended where data is sent: sending stops for good, unless nothing is selected yet and another
  /// pair still has consent.
  mutating func consentEnded(at now: Instant) {
    if selectedRoute == nil {
      updateSendRoute(at: now)
      if sendRoute != nil {
        updateState()
        return
      }
    }
    terminate(as: .failed)
  }
}
