// SPDX-License-Identifier: Apache-2.0

import SansIO

/// A shared socket whose address, as others see it, is of interest.
struct SharedSocket: Sendable {
  let socket: LocalSocket
  /// One for each server that it asks.
  var probes: [ServerReflexiveProbe] = []
  /// The server that keeps the NAT's mapping alive: the first that answered. One is enough, since a NAT whose
  /// mappings differ by destination has none that a peer could use.
  var keeper: ICEServerURL?
}

/// The Bindings of one shared socket to one server (RFC 8489 §7, RFC 8445 §5.1.1.2).
struct ServerReflexiveProbe: Sendable {
  /// How far the present Binding is.
  enum Phase: Sendable {
    /// None is under way; the next begins at that time, or when something else asks for it.
    case idle(until: Instant?)
    /// A request was sent, or is about to be.
    case asking(Binding)
  }

  /// A Binding request that waits for its response.
  struct Binding: Sendable {
    let id: STUNTransactionID
    let route: Route
    var requestsSent = 1
    /// When it is sent again, or given up.
    var nextAt: Instant
    var isUnsent = true
  }

  let url: ICEServerURL
  var phase = Phase.idle(until: nil)
  /// Which of the server's addresses of the socket's family is asked.
  var addressIndex = 0
  /// What the server saw when it last answered.
  var mapped: TransportAddress?
  /// Bindings in a row that got no answer.
  var failureCount = 0
  /// Whether there is an answer, or no hope of one soon.
  var hasSettled = false

  init(url: ICEServerURL) { self.url = url }

  var isAsking: Bool {
    if case .asking = phase { true } else { false }
  }

  var nextDeadline: Instant? {
    switch phase {
    case .idle(let until): until
    case .asking(let binding): binding.nextAt
    }
  }

  /// Begins a Binding.
  mutating func ask(_ route: Route, id: STUNTransactionID, at now: Instant) {
    phase = .asking(Binding(id: id, route: route, nextAt: now + RelayLimits.probeTimeout))
  }

  /// Whether a response belongs to the request under way: by its id, and by where it came from.
  func isAnswered(by id: STUNTransactionID, on route: Route) -> Bool {
    guard case .asking(let binding) = phase else { return false }
    return binding.id == id && binding.route.socket.id == route.socket.id
      && binding.route.remote == route.remote
  }

  /// Repeats the request when its time has come (RFC 8489 §6.2.1). Returns whether it is to be given up instead.
  mutating func handleTimeout(at now: Instant) -> Bool {
    guard case .asking(var binding) = phase, binding.nextAt <= now else { return false }
    guard binding.requestsSent < TURNLimits.requestsMax else { return true }
    let isLast = binding.requestsSent + 1 == TURNLimits.requestsMax
    let factor = isLast ? TURNLimits.lastRequestTimeoutMultiplier : 1 << Int64(binding.requestsSent)
    binding.nextAt = now + RelayLimits.probeTimeout * factor
    binding.requestsSent += 1
    binding.isUnsent = true
    phase = .asking(binding)
    return false
  }

  /// The request, if it waits to be sent.
  mutating func takeUnsent() -> (route: Route, bytes: [UInt8])? {
    guard case .asking(var binding) = phase, binding.isUnsent else { return nil }
    binding.isUnsent = false
    phase = .asking(binding)
    var builder = STUNMessageBuilder(.request, transactionID: binding.id)
    builder.appendFingerprint()
    return (binding.route, builder.bytes)
  }
}
