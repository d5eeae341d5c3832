// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// Finds the addresses behind the `.local` names that browsers send in place of host candidates
/// (RFC 6762; draft-ietf-mmusic-mdns-ice-candidates §3.2).
///
/// It only asks, and only for names that a peer sent; it never announces anything. Nobody waits for it: a name
/// that nobody answers for is given up after ``patience``, and the peer's own checks reveal the address anyway.
/// An answer is an address like any other that a peer names, and is trusted no further.
///
/// Whoever drives it sends each query to the group on every link, and hands in what arrives from there. It
/// serves all connections of a loop: a name that several of them ask for is asked for once.
///
/// **How it asks.** One question to a message, and never for an answer by unicast (the QU bit that RFC 6762
/// §5.4 recommends for the first query): Chromium's responder drops queries that have two questions or a class
/// other than plain IN. The repetitions begin sooner than the second of §5.2, because somebody waits for a
/// picture; they are four, and then it is over.
public struct MDNSResolver: ~Copyable {
  /// The port of multicast DNS, of queries and answers alike (RFC 6762 §3, §6).
  public static let port: UInt16 = 5353
  /// 224.0.0.251 and ff02::fb: groups of the link (RFC 6762 §3).
  public static func group(_ family: IPAddress.Family) -> TransportAddress {
    let ip =
      switch family {
      case .ipv4: IPAddress(ipv4: 0xe000_00fb)
      case .ipv6: IPAddress(ipv6High: 0xff02 << 48, low: 0xfb)
      }
    return TransportAddress(ip: ip, port: port)
  }

  /// When a query is sent, counted from the first (RFC 6762 §5.2, adapted: a lost packet costs a quarter of a
  /// second).
  static let querySchedule: [TimeDelta] = [.zero, .milliseconds(250), .seconds(1), .seconds(2)]
  /// How long a name is asked for. A responder on the link needs milliseconds; by then the peer's checks have
  /// arrived.
  static let patience = TimeDelta.seconds(3)
  /// Names that are asked for or remembered at the same time, for all connections.
  static let namesMax = 64
  /// Names that one connection may have in question. A browser has a name for each of its addresses.
  static let openNamesPerOwnerMax = 8
  /// Connections that wait for one name.
  static let ownersPerNameMax = 256
  /// Addresses of one name; a browser's name has one.
  static let addressesPerNameMax = 4
  /// For how long an address is believed at most. The names of browsers live as long as a page, and RFC 6762
  /// §10 recommends 120 s for the addresses of hosts.
  static let timeToLiveMax = TimeDelta.seconds(120)
  /// Questions that wait to be sent: two for each name. What does not fit is asked at the next repetition.
  static let queriesMax = 2 * namesMax

  /// What became of a name.
  public struct Answer: Hashable, Sendable {
    /// The name as it was asked for.
    public let name: String
    /// Who asked.
    public let owner: Int
    /// Its addresses; none when nobody answered, or when it was not asked for.
    public let addresses: [IPAddress]
  }

  /// Why something received was not used.
  public enum DropCause: Int, CaseIterable, Sendable {
    /// Not a message of multicast DNS.
    case malformed
    /// An answer that was not sent from port 5353 (RFC 6762 §6).
    case otherPort
    /// An answer without any address of a name in question; announcements of other hosts end here.
    case notAsked
    /// An address that cannot be sent to, or a loopback address from another host.
    case unusableAddress
  }

  private struct Waiter {
    let owner: Int
    let name: String
  }

  private struct Entry {
    let name: DNSName
    var state: State
  }

  private enum State {
    /// Asked for since `start`; `sentCount` entries of the schedule are done.
    case asking([Waiter], start: Instant, sentCount: Int)
    case known([IPAddress], until: Instant)

    var waiters: [Waiter] {
      if case .asking(let waiters, _, _) = self { waiters } else { [] }
    }
  }

  /// In the order of asking, so that a simulated run repeats exactly.
  private var entries: [Entry] = []
  private var queries = BoundedQueue<DNSQuestion>(capacity: queriesMax)
  private var answers: [Answer] = []

  /// What was received and not used, by cause.
  public private(set) var drops = DropCounters<DropCause>()

  /// Starts without names.
  public init() {}

  /// Whether no name is in question: nothing that arrives is of interest.
  public var isIdle: Bool { !entries.contains { !$0.state.waiters.isEmpty } }

  // MARK: Asking

  /// Asks for a name on behalf of a connection; an ``Answer`` follows, at once where it is known.
  ///
  /// Names that are no candidate names, and those beyond the limits, are answered at once without addresses.
  public mutating func resolve(_ name: String, for owner: Int, at now: Instant) {
    guard let key = DNSName(name), key.isCandidateName else { return refuse(name, of: owner) }
    entries.removeAll { if case .known(_, let until) = $0.state { until <= now } else { false } }
    if let index = entries.firstIndex(where: { $0.name == key }) {
      return join(index, name: name, owner: owner)
    }
    guard openNameCount(of: owner) < Self.openNamesPerOwnerMax, makeRoom() else {
      return refuse(name, of: owner)
    }
    let waiter = Waiter(owner: owner, name: name)
    entries.append(Entry(name: key, state: .asking([waiter], start: now, sentCount: 1)))
    enqueueQueries(for: key)
  }

  /// Forgets what a connection asked for.
  public mutating func cancel(owner: Int) {
    for index in entries.indices {
      guard case .asking(let waiters, let start, let sentCount) = entries[index].state else { continue }
      entries[index].state = .asking(
        waiters.filter { $0.owner != owner }, start: start, sentCount: sentCount)
    }
    entries.removeAll { if case .asking(let waiters, _, _) = $0.state { waiters.isEmpty } else { false } }
    answers.removeAll { $0.owner == owner }
  }

  private mutating func refuse(_ name: String, of owner: Int) {
    answers.append(Answer(name: name, owner: owner, addresses: []))
  }

  private func openNameCount(of owner: Int) -> Int {
    entries.count { $0.state.waiters.contains { $0.owner == owner } }
  }

  private mutating func join(_ index: Int, name: String, owner: Int) {
    switch entries[index].state {
    case .known(let addresses, _):
      answers.append(Answer(name: name, owner: owner, addresses: addresses))
    case .asking(var waiters, let start, let sentCount):
      // Asked twice by the same connection, a name is answered once.
      guard !waiters.contains(where: { $0.owner == owner }) else { return }
      guard waiters.count < Self.ownersPerNameMax,
        openNameCount(of: owner) < Self.openNamesPerOwnerMax
      else { return refuse(name, of: owner) }
      waiters.append(Waiter(owner: owner, name: name))
      entries[index].state = .asking(waiters, start: start, sentCount: sentCount)
    }
  }

  /// Forgets the oldest known name when the table is full.
  private mutating func makeRoom() -> Bool {
    guard entries.count >= Self.namesMax else { return true }
    guard let known = entries.firstIndex(where: { $0.state.waiters.isEmpty }) else { return false }
    entries.remove(at: known)
    return true
  }

  private mutating func enqueueQueries(for name: DNSName) {
    for family in [IPAddress.Family.ipv4, .ipv6] {
      _ = queries.append(DNSQuestion(name: name, family: family))
    }
  }

  // MARK: Time

  /// When ``handleTimeout(at:)`` wants to be called; it may change with every call.
  public var nextDeadline: Instant? {
    var earliest: Instant?
    for entry in entries {
      guard case .asking(_, let start, let sentCount) = entry.state else { continue }
      let delay = sentCount < Self.querySchedule.count ? Self.querySchedule[sentCount] : Self.patience
      earliest = Instant.earliest(earliest, start + delay)
    }
    return earliest
  }

  /// Repeats the questions that are due and gives up those that took too long.
  public mutating func handleTimeout(at now: Instant) {
    for index in entries.indices {
      guard case .asking(let waiters, let start, var sentCount) = entries[index].state else { continue }
      guard now < start + Self.patience else {
        finish(index, with: [], until: now)
        continue
      }
      let dueCount = Self.querySchedule.count { start + $0 <= now }
      guard dueCount > sentCount else { continue }
      sentCount = dueCount
      entries[index].state = .asking(waiters, start: start, sentCount: sentCount)
      enqueueQueries(for: entries[index].name)
    }
    entries.removeAll { if case .known(_, let until) = $0.state { until <= now } else { false } }
  }

  // MARK: Bytes

  /// Writes the next query into lent memory of at least 512 bytes: one datagram, for the group on every link.
  ///
  /// - Returns: false when there is none.
  public mutating func pollQuery(into bytes: inout OutputRawSpan) -> Bool {
    while let question = queries.popFirst() {
      // It may have been answered while it waited.
      let isOpen = entries.contains { $0.name == question.name && !$0.state.waiters.isEmpty }
      guard isOpen else { continue }
      DNSMessage(isResponse: false, questions: [question]).write(into: &bytes)
      return true
    }
    return false
  }

  /// Takes a datagram that came by the group. Queries of others are ignored.
  public mutating func receive(_ datagram: RawSpan, from remote: TransportAddress, at now: Instant) {
    let message: DNSMessage
    do throws(ParseError) { message = try DNSMessage(parsing: datagram) } catch {
      drops[.malformed] += 1
      return
    }
    guard message.isResponse else { return }
    guard remote.port == Self.port else {
      drops[.otherPort] += 1
      return
    }
    var isOfInterest = false
    for index in entries.indices {
      let records = message.records.filter { $0.name == entries[index].name }
      guard !records.isEmpty else { continue }
      isOfInterest = true
      take(records, for: index, from: remote.ip, at: now)
    }
    if !isOfInterest { drops[.notAsked] += 1 }
  }

  /// The next answer for a connection.
  public mutating func pollAnswer() -> Answer? { answers.isEmpty ? nil : answers.removeFirst() }

  private mutating func take(
    _ records: [DNSAddressRecord], for index: Int, from responder: IPAddress, at now: Instant
  ) {
    let usable = records.filter { Self.isUsable($0.address, from: responder) }
    drops[.unusableAddress] += UInt64(records.count - usable.count)
    let lasting = usable.filter { $0.timeToLiveSeconds > 0 }
    var addresses: [IPAddress] = []
    if case .known(let earlier, let until) = entries[index].state, until > now {
      // What the message says all of, or takes back, is not kept.
      addresses = earlier.filter { address in
        !usable.contains {
          $0.address == address || $0.flushesCache && $0.address.family == address.family
        }
      }
    }
    for record in lasting where !addresses.contains(record.address) { addresses.append(record.address) }
    addresses = Array(addresses.prefix(Self.addressesPerNameMax))
    let lifetimes = lasting.map { min(TimeDelta.seconds(Int64($0.timeToLiveSeconds)), Self.timeToLiveMax) }
    if let lifetime = lifetimes.min() {
      finish(index, with: addresses, until: now + lifetime)
    } else if case .known(_, let until) = entries[index].state {
      entries[index].state = .known(addresses, until: addresses.isEmpty ? now : until)
    }
  }

  /// Tells all who wait for a name, and remembers the addresses.
  private mutating func finish(_ index: Int, with addresses: [IPAddress], until: Instant) {
    for waiter in entries[index].state.waiters {
      answers.append(Answer(name: waiter.name, owner: waiter.owner, addresses: addresses))
    }
    entries[index].state = .known(addresses, until: until)
  }

  /// Whether an address may stand behind a name. Loopback is believed of the own host alone: a neighbour must
  /// not be able to aim checks at our local services.
  private static func isUsable(_ address: IPAddress, from responder: IPAddress) -> Bool {
    !address.isUnspecified && !address.isMulticastOrBroadcast && !address.isIPv4Mapped
      && (!address.isLoopback || responder.isLoopback)
  }
}
