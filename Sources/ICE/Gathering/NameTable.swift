// SPDX-License-Identifier: Apache-2.0

import SansIO

/// The names of servers, and the addresses that they stand for.
///
/// Each name is looked up once, again after a failure, and again when nothing at its addresses works. It holds as
/// many names as there are URLs in use.
struct NameTable: Sendable {
  private enum Phase: Sendable {
    /// The shell was asked.
    case asking(until: Instant)
    /// The addresses are there.
    case known(since: Instant)
    /// There are none, or none were to be had.
    case unknown(retryAt: Instant)
  }

  private struct Entry: Sendable {
    let host: String
    var addresses: [IPAddress] = []
    var phase: Phase
    var failureCount = 0
  }

  /// In the order in which they were wanted.
  private var entries: [Entry] = []

  /// The addresses of a name, or of an address itself; `nil` until they are known.
  func addresses(of url: ICEServerURL) -> [IPAddress]? {
    if let address = url.address { return [address] }
    guard let entry = entries.first(where: { $0.host == url.host }), !entry.addresses.isEmpty else {
      return nil
    }
    return entry.addresses
  }

  /// Whether a name has stood for something.
  func hasAddresses(_ host: String) -> Bool { entries.contains { $0.host == host && !$0.addresses.isEmpty } }

  /// Whether the shell was asked for a name and has not answered.
  func isAsking(_ host: String) -> Bool {
    guard case .asking? = entries.first(where: { $0.host == host })?.phase else { return false }
    return true
  }

  /// Asks for a name unless that was done; `isAgain` asks as well where the answer is older than
  /// ``RelayLimits/nameLifetime``. Returns whether the shell has to be asked.
  mutating func want(_ url: ICEServerURL, isAgain: Bool = false, until: Instant, at now: Instant) -> Bool {
    guard url.address == nil else { return false }
    guard let index = entries.firstIndex(where: { $0.host == url.host }) else {
      entries.append(Entry(host: url.host, phase: .asking(until: until)))
      return true
    }
    guard isAgain, case .known(let since) = entries[index].phase, now - since >= RelayLimits.nameLifetime
    else { return false }
    entries[index].phase = .asking(until: until)
    return true
  }

  /// Forgets all names but those of the URLs that are in use.
  mutating func keepOnly(_ servers: [UsedServer]) {
    entries.removeAll { entry in !servers.contains { $0.url.host == entry.host } }
  }

  /// Takes the shell's answer; returns whether it was waited for. Old addresses are better than none.
  mutating func resolved(
    _ host: String, to addresses: [IPAddress], random: inout RandomSource, at now: Instant
  ) -> Bool {
    guard let index = entries.firstIndex(where: { $0.host == host }), case .asking = entries[index].phase
    else { return false }
    let usable = Self.alternating(addresses.filter { !$0.isMulticastOrBroadcast && !$0.isIPv4Mapped })
    guard !usable.isEmpty else {
      entries[index].failureCount += 1
      let delay = BackOff.delay(after: entries[index].failureCount, random: &random)
      entries[index].phase = .unknown(retryAt: now + delay)
      return true
    }
    entries[index].failureCount = 0
    entries[index].addresses = usable
    entries[index].phase = .known(since: now)
    return true
  }

  /// The names that are to be asked for again, and those that the shell did not answer in time.
  mutating func due(until: Instant, at now: Instant) -> (toAsk: [String], timedOut: [String]) {
    var (toAsk, timedOut) = ([String](), [String]())
    for index in entries.indices {
      switch entries[index].phase {
      case .unknown(let retryAt) where retryAt <= now:
        entries[index].phase = .asking(until: until)
        toAsk.append(entries[index].host)
      case .asking(let end) where end <= now: timedOut.append(entries[index].host)
      case .unknown, .asking, .known: break
      }
    }
    return (toAsk, timedOut)
  }

  var nextDeadline: Instant? {
    entries.lazy.compactMap { entry in
      switch entry.phase {
      case .asking(let until): until
      case .unknown(let retryAt): retryAt
      case .known: nil
      }
    }.min()
  }

  /// Addresses in the order in which they are tried: the resolver's, families in turn (RFC 8305 §4).
  private static func alternating(_ addresses: [IPAddress]) -> [IPAddress] {
    guard let first = addresses.first?.family else { return [] }
    var (one, other) = (
      addresses.filter { $0.family == first }[...], addresses.filter { $0.family != first }[...]
    )
    var result: [IPAddress] = []
    while result.count < RelayLimits.addressesPerNameMax, !(one.isEmpty && other.isEmpty) {
      for next in [one.popFirst(), other.popFirst()] {
        if let next, !result.contains(next) { result.append(next) }
      }
    }
    return result
  }
}

/// Waits that grow, with jitter, so that many who lost the same server do not come back together.
enum BackOff {
  /// After the first failure about 1 s, then twice as long each time, up to a minute; half of it to one and a half
  /// times of it.
  static func delay(
    after failureCount: Int, min: TimeDelta = .seconds(1), max: TimeDelta = .seconds(60),
    random: inout RandomSource
  ) -> TimeDelta {
    let doubled = min.nanoseconds << Int64(Swift.min(Swift.max(failureCount - 1, 0), 10))
    let delay = Swift.min(doubled, max.nanoseconds)
    return TimeDelta(nanoseconds: delay / 2 + Int64.random(in: 0...delay, using: &random))
  }
}
