// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// What lives at addresses of the simulated network and is driven by a ``Simulation``.
///
/// It has no clock and sends nothing by itself: after each call it is drained.
public protocol SimulatedNode: AnyObject {
  /// When ``handleTimeout(at:)`` is due.
  var nextDeadline: Instant? { get }
  /// Takes a datagram; returns false if it is for somebody else.
  func receive(_ delivery: SimulatedNetwork.Delivery, at now: Instant) -> Bool
  /// Takes an event of a connection; returns false if it is for somebody else.
  func receive(_ event: StreamEvent, at now: Instant) -> Bool
  /// Does what is due.
  func handleTimeout(at now: Instant)
  /// Moves all that it wants to send to the network.
  func drain(into network: inout SimulatedNetwork, at now: Instant)
}
