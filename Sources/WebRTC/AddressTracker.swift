// SPDX-License-Identifier: Apache-2.0

import SansIO

/// Decides which addresses get a socket and which lose theirs when the host's addresses change.
///
/// A plain value, without sockets and clocks.
struct AddressTracker {
  /// How long an address may be missing before its socket goes. A Wi-Fi that changes its access point is away
  /// for less; peers on another path would notice by themselves only after several seconds of silence.
  static let absenceMax = TimeDelta.seconds(1)

  /// What is to be done.
  struct Plan: Equatable {
    /// Addresses that are to be bound.
    var toOpen: [IPAddress] = []
    /// Addresses whose sockets are to be closed.
    var toClose: [IPAddress] = []
    /// When to look again: an address is missing that may come back until then.
    var nextLook: Instant?
  }

  private var missingSince: [IPAddress: Instant] = [:]

  /// Compares what is bound with what there is.
  ///
  /// - Parameters:
  ///   - bound: the addresses of our sockets.
  ///   - wanted: the addresses that should have a socket, the best first.
  ///   - existing: the addresses of the host. A bound one stays while it exists, even if a start today would
  ///     choose others: connections may run over it.
  mutating func plan(
    bound: [IPAddress], wanted: [IPAddress], existing: Set<IPAddress>, at now: Instant
  ) -> Plan {
    var plan = Plan()
    let missing = bound.filter { !existing.contains($0) }
    missingSince = missingSince.filter { missing.contains($0.key) }
    for address in missing {
      let since = missingSince[address] ?? now
      missingSince[address] = since
      if since + Self.absenceMax <= now {
        plan.toClose.append(address)
        missingSince[address] = nil
      } else {
        plan.nextLook = Instant.earliest(plan.nextLook, since + Self.absenceMax)
      }
    }
    let room = NetworkInterfaces.addressesMax - (bound.count - plan.toClose.count)
    plan.toOpen = Array(wanted.filter { !bound.contains($0) }.prefix(max(0, room)))
    return plan
  }
}
