// SPDX-License-Identifier: Apache-2.0

import SansIO

/// A request whose response is still welcome.
struct CheckTransaction: Sendable {
  /// What a request was sent for.
  enum Purpose: Sendable {
    /// To find out whether a pair works.
    case check
    /// To nominate a pair that works.
    case nomination
    /// To learn whether the peer still wants our data (RFC 7675).
    case consent
  }

  let id: STUNTransactionID
  let pair: PairID
  let purpose: Purpose
  /// The role that the request claimed.
  let role: ICERole
  let sentAt: Instant
  /// Whether it was sent more than once, so that its response time says nothing (Karn's rule, RFC 6298 §3).
  var wasRepeated = false
}

/// The requests whose responses are still welcome, oldest first; the oldest gives way when the table is full.
struct TransactionTable: Sendable {
  private var transactions: [CheckTransaction] = []

  mutating func insert(_ transaction: CheckTransaction) {
    if transactions.count >= ICELimits.transactionsMax { transactions.removeFirst() }
    transactions.append(transaction)
  }

  func find(_ id: STUNTransactionID) -> CheckTransaction? { transactions.last { $0.id == id } }

  mutating func remove(_ id: STUNTransactionID) { transactions.removeAll { $0.id == id } }

  /// Forgets all requests on a pair: their responses come too late.
  mutating func removeAll(of pair: PairID) { transactions.removeAll { $0.pair == pair } }

  mutating func markRepeated(_ id: STUNTransactionID) {
    guard let index = transactions.lastIndex(where: { $0.id == id }) else { return }
    transactions[index].wasRepeated = true
  }

  mutating func removeAll() { transactions = [] }
}

/// Lets at most so many things happen in each period.
struct RateLimiter: Sendable {
  let countMax: Int
  let period: TimeDelta
  private var periodStart = Instant(nanoseconds: .min)
  private var count = 0

  init(countMax: Int, period: TimeDelta) {
    self.countMax = countMax
    self.period = period
  }

  /// Whether one more may happen now; if so it counts.
  mutating func allows(at now: Instant) -> Bool {
    if count == 0 || now - periodStart >= period {
      periodStart = now
      count = 0
    }
    guard count < countMax else { return false }
    count += 1
    return true
  }
}
