// SPDX-License-Identifier: Apache-2.0

/// One direction of a link: decides for each packet whether and when it comes out at the other end.
///
/// A value in virtual time. It knows packets only by *slots*, places in memory that its owner keeps: the owner claims a
/// slot, fills it, has the packet accepted, and later writes out what `nextDelivery` gives. All memory is taken at the
/// beginning; no call allocates. The same seed and the same calls give the same fates.
public struct LinkDirection: ~Copyable {
  /// A packet that has arrived.
  public struct Delivery: Equatable, Sendable {
    /// Where its bytes are. To be given back by `release(_:)`, also when the same slot comes a second time.
    public let slot: Int32
    /// How many.
    public let byteCount: Int
    /// When it arrived: at or before the time of the call.
    public let arrival: Nanoseconds
  }

  /// What the link does at present; changed by `change(to:at:)`.
  public private(set) var conditions: LinkConditions
  /// What became of the packets so far.
  public var statistics = LinkStatistics()

  // Memory: which slots are free, what each holds, and how many deliveries (1, or 2 when doubled) still need it.
  private var freeSlots: [Int32]
  private var byteCounts: [Int32]
  private var uses: [UInt8]

  // The bottleneck: its queue's first packet is the one that is passing, and has passed at `passageEnd`.
  private var queue: SlotRing
  private var queueByteCount: Int64 = 0
  private var passageEnd: Nanoseconds?

  // The way behind it.
  private var underWay: DeliveryHeap
  private var latestArrival = Nanoseconds.min
  private var lossProcess = LossProcess()
  private var lossRandom: SeededRandom
  private var jitterRandom: SeededRandom
  private var reorderingRandom: SeededRandom
  private var duplicationRandom: SeededRandom

  /// Makes a direction that can hold `packetsMax` packets.
  public init(conditions: LinkConditions, seed: UInt64, packetsMax: Int) {
    precondition(packetsMax > 0 && packetsMax <= Int(Int32.max))
    self.conditions = conditions
    freeSlots = (0..<Int32(packetsMax)).reversed()
    byteCounts = Array(repeating: 0, count: packetsMax)
    uses = Array(repeating: 0, count: packetsMax)
    queue = SlotRing(capacity: packetsMax)
    underWay = DeliveryHeap(capacity: 2 * packetsMax)
    // A generator for each decision: another jitter does not change which packets are lost.
    var seeds = SeededRandom(seed: seed)
    lossRandom = SeededRandom(seed: seeds.next())
    jitterRandom = SeededRandom(seed: seeds.next())
    reorderingRandom = SeededRandom(seed: seeds.next())
    duplicationRandom = SeededRandom(seed: seeds.next())
  }

  /// When `nextDelivery` is worth calling again; nil when nothing is under way.
  public var nextDeadline: Nanoseconds? {
    switch (passageEnd, underWay.first?.arrival) {
    case (let end?, let arrival?): min(end, arrival)
    case (let end, let arrival): end ?? arrival
    }
  }

  // MARK: Slots

  /// Lends a slot for one packet; nil when all are taken.
  public mutating func claimSlot() -> Int32? {
    guard let slot = freeSlots.popLast() else { return nil }
    uses[Int(slot)] = 1
    return slot
  }

  /// Takes a slot back after its packet was written out, or when there was none to put there.
  public mutating func release(_ slot: Int32) {
    precondition(uses[Int(slot)] > 0, "a slot was released twice")
    uses[Int(slot)] -= 1
    if uses[Int(slot)] == 0 { freeSlots.append(slot) }
  }

  // MARK: Packets

  /// Takes the packet of `byteCount` bytes in a claimed slot. The slot is the link's own from here on.
  public mutating func accept(_ slot: Int32, byteCount: Int, at now: Nanoseconds) {
    advance(to: now)
    statistics.packetsReceived += 1
    statistics.bytesReceived += byteCount
    byteCounts[Int(slot)] = Int32(byteCount)
    guard conditions.rateBitsPerSecond != nil else { return send(slot, at: now) }
    // A packet that finds the bottleneck idle passes, however small the queue is.
    guard queue.count == 0 || queueByteCount + Int64(byteCount) <= conditions.queueBytesMax else {
      statistics.queueDrops += 1
      return release(slot)
    }
    queue.append(slot)
    queueByteCount += Int64(byteCount)
    statistics.queueBytesPeak = max(statistics.queueBytesPeak, Int(queueByteCount))
    if passageEnd == nil { beginPassage(at: now) }
  }

  /// The next packet that has arrived by `now`.
  public mutating func nextDelivery(at now: Nanoseconds) -> Delivery? {
    advance(to: now)
    guard let first = underWay.first, first.arrival <= now else { return nil }
    _ = underWay.removeFirst()
    let byteCount = Int(byteCounts[Int(first.slot)])
    statistics.packetsDelivered += 1
    statistics.bytesDelivered += byteCount
    return Delivery(slot: first.slot, byteCount: byteCount, arrival: first.arrival)
  }

  /// Changes what the link does from `now` on. Waiting packets pass at the new rate, also the rest of the one that is
  /// passing; packets that travel already keep their arrival, and later ones do not overtake them.
  public mutating func change(to new: LinkConditions, at now: Nanoseconds) {
    advance(to: now)
    let oldRate = conditions.rateBitsPerSecond
    conditions = new
    guard let end = passageEnd, let oldRate, oldRate != new.rateBitsPerSecond else { return }
    if let newRate = new.rateBitsPerSecond {
      passageEnd = now + Nanoseconds(Double(end - now) * Double(oldRate) / Double(newRate))
    } else {
      passageEnd = nil
      while queue.count > 0 { endPassage(at: now) }
    }
  }

  /// Lets time pass at the bottleneck.
  private mutating func advance(to now: Nanoseconds) {
    while let end = passageEnd, end <= now {
      endPassage(at: end)
      beginPassage(at: end)
    }
  }

  private mutating func beginPassage(at now: Nanoseconds) {
    guard let slot = queue.first, let rate = conditions.rateBitsPerSecond else {
      passageEnd = nil
      return
    }
    passageEnd = now + Int64(byteCounts[Int(slot)]) * 8 * 1_000_000_000 / rate
  }

  private mutating func endPassage(at now: Nanoseconds) {
    let slot = queue.removeFirst()
    queueByteCount -= Int64(byteCounts[Int(slot)])
    send(slot, at: now)
  }

  /// The way behind the bottleneck: the packet is lost, or under way.
  private mutating func send(_ slot: Int32, at now: Nanoseconds) {
    let isLost = lossProcess.losesNext(by: conditions.loss, random: &lossRandom)
    let deviation = Nanoseconds((jitterRandom.nextUnit() * 2 - 1) * Double(conditions.jitter))
    let isHeldBack = reorderingRandom.happens(conditions.reordering)
    let isDoubled = duplicationRandom.happens(conditions.duplication)
    if isLost {
      statistics.losses += 1
      return release(slot)
    }
    var arrival = max(now, now + conditions.delay + deviation, latestArrival)
    if isHeldBack {
      statistics.reordered += 1
      arrival += conditions.reorderingDelay
    } else {
      latestArrival = arrival
    }
    underWay.insert(slot: slot, arrival: arrival)
    if isDoubled {
      statistics.duplicated += 1
      uses[Int(slot)] += 1
      underWay.insert(slot: slot, arrival: arrival)
    }
  }
}
