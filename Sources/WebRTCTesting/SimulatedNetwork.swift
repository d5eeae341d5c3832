// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What a link does to the datagrams that pass it, in one direction.
public struct LinkConditions: Hashable, Sendable {
  /// The time that every datagram takes at least.
  public var delay: TimeDelta
  /// An extra delay, drawn evenly between 0 and this for each datagram; order is lost when it is larger than the
  /// gap between two datagrams.
  public var jitter: TimeDelta
  /// The share of datagrams that never arrive, 0 to 1.
  public var lossProbability: Double
  /// The share of datagrams that arrive twice, 0 to 1.
  public var duplicationProbability: Double
  /// The share of datagrams that are held back for ``reorderingDelay``, 0 to 1.
  public var reorderingProbability: Double
  /// How long a datagram is held back.
  public var reorderingDelay: TimeDelta
  /// Bits per second that pass; `nil` for no limit.
  public var rateBitsPerSecond: Int64?
  /// How long a datagram may wait for its turn where a rate is set; beyond it it is dropped.
  public var queueDelayMax: TimeDelta

  /// A link that only delays, unless told otherwise.
  public init(
    delay: TimeDelta = .milliseconds(10), jitter: TimeDelta = .zero, lossProbability: Double = 0,
    duplicationProbability: Double = 0, reorderingProbability: Double = 0,
    reorderingDelay: TimeDelta = .milliseconds(20), rateBitsPerSecond: Int64? = nil,
    queueDelayMax: TimeDelta = .milliseconds(200)
  ) {
    self.delay = delay
    self.jitter = jitter
    self.lossProbability = lossProbability
    self.duplicationProbability = duplicationProbability
    self.reorderingProbability = reorderingProbability
    self.reorderingDelay = reorderingDelay
    self.rateBitsPerSecond = rateBitsPerSecond
    self.queueDelayMax = queueDelayMax
  }
}

/// A network in memory and in virtual time: datagrams in flight, and the dice that decide over them.
///
/// It knows addresses only. Everything random comes from one seed, so a run repeats exactly.
public struct SimulatedNetwork {
  /// A datagram on its way.
  public struct Delivery {
    /// When it arrives.
    public let arrival: Instant
    /// Who sent it, as the receiver sees it.
    public let source: TransportAddress
    /// Where it arrives.
    public let destination: TransportAddress
    /// Its payload.
    public let bytes: [UInt8]
  }

  /// Datagrams in flight at most; more are lost as in any network.
  public static let inFlightMax = 100_000

  /// The conditions of every link without its own.
  public var conditions: LinkConditions
  /// Whether a datagram may pass at all; a test closes paths with it.
  public var isOpen: (_ source: TransportAddress, _ destination: TransportAddress) -> Bool = { _, _ in true }
  /// Sees every datagram that a peer sends and says what goes on the wire in its place: the same, something
  /// altered, several, nothing. A wiretap, or a man in the middle.
  public var tap:
    ((_ bytes: [UInt8], _ source: TransportAddress, _ destination: TransportAddress) -> [[UInt8]])?
  /// Datagrams that were lost so far.
  public private(set) var lostCount = 0
  /// Datagrams that were sent so far.
  public private(set) var sentCount = 0

  private var random: RandomSource
  private var inFlight = TimedQueue<Delivery>()
  private var linkFreeAt: [TransportAddress: Instant] = [:]

  /// Makes a network whose dice follow from `seed`.
  public init(conditions: LinkConditions, seed: UInt64) {
    self.conditions = conditions
    random = RandomSource(seed: seed)
  }

  /// When the next datagram arrives.
  public var nextArrival: Instant? { inFlight.nextTime }

  /// Puts a datagram on the wire.
  public mutating func send(
    _ bytes: [UInt8], from source: TransportAddress, to destination: TransportAddress, at now: Instant
  ) {
    sentCount += 1
    guard let tap else { return transmit(bytes, from: source, to: destination, at: now) }
    for bytes in tap(bytes, source, destination) {
      transmit(bytes, from: source, to: destination, at: now)
    }
  }

  /// Lets a datagram arrive at once, whoever claims to have sent it: the attacker's way in. Neither the tap nor
  /// the link's conditions apply.
  public mutating func inject(
    _ bytes: [UInt8], from source: TransportAddress, to destination: TransportAddress, at now: Instant
  ) {
    inFlight.insert(
      Delivery(arrival: now, source: source, destination: destination, bytes: bytes), at: now)
  }

  private mutating func transmit(
    _ bytes: [UInt8], from source: TransportAddress, to destination: TransportAddress, at now: Instant
  ) {
    guard isOpen(source, destination), inFlight.count < Self.inFlightMax, !roll(conditions.lossProbability),
      let departure = departure(of: bytes.count, from: source, at: now)
    else {
      lostCount += 1
      return
    }
    let copies = roll(conditions.duplicationProbability) ? 2 : 1
    for _ in 0..<copies {
      var arrival = departure + conditions.delay
      if conditions.jitter > .zero {
        arrival += TimeDelta(nanoseconds: Int64.random(in: 0...conditions.jitter.nanoseconds, using: &random))
      }
      if roll(conditions.reorderingProbability) { arrival += conditions.reorderingDelay }
      inFlight.insert(
        Delivery(arrival: arrival, source: source, destination: destination, bytes: bytes), at: arrival)
    }
  }

  /// Takes the next datagram that has arrived by `now`.
  public mutating func receive(at now: Instant) -> Delivery? {
    inFlight.popFirst(at: now)
  }

  private mutating func departure(of byteCount: Int, from source: TransportAddress, at now: Instant)
    -> Instant?
  {
    guard let rate = conditions.rateBitsPerSecond else { return now }
    let start = max(linkFreeAt[source] ?? now, now)
    guard start - now <= conditions.queueDelayMax else { return nil }
    let end = start + TimeDelta(nanoseconds: Int64(byteCount + 28) * 8 * 1_000_000_000 / rate)
    linkFreeAt[source] = end
    return end
  }

  private mutating func roll(_ probability: Double) -> Bool {
    probability > 0 && Double.random(in: 0..<1, using: &random) < probability
  }
}
