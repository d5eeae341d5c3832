// SPDX-License-Identifier: Apache-2.0

public import SansIO

/// How a network address translator behaves, in the words of RFC 4787.
///
/// What is often called a full cone is endpoint-independent in both respects, a port-restricted cone is
/// endpoint-independent in mapping and address- and port-dependent in filtering, and what is called symmetric is
/// address- and port-dependent in both.
public struct NATBehaviour: Hashable, Sendable, CustomStringConvertible {
  /// When a host's socket gets another external address (RFC 4787 §4.1).
  public enum Mapping: String, CaseIterable, Sendable {
    /// Never: all destinations see the same external address.
    case endpointIndependent = "EI"
    /// For each destination address.
    case addressDependent = "AD"
    /// For each destination address and port.
    case addressAndPortDependent = "APD"
    /// For each destination address and port, and each time from the next IP address of a pool (the pooling that
    /// RFC 4787 §4.1 calls arbitrary): even who lets a known IP address in from any port does not know this one.
    case pooled = "pool"
  }

  /// Whose packets pass a binding to the host behind it (RFC 4787 §5).
  ///
  /// The RFC speaks of what the host's socket has sent; here it is what it has sent through this binding, which
  /// is the same for endpoint-independent mapping, and what boxes do in other cases.
  public enum Filtering: String, CaseIterable, Sendable {
    /// Everyone's.
    case endpointIndependent = "EI"
    /// Those from IP addresses that were sent to.
    case addressDependent = "AD"
    /// Those from IP addresses and ports that were sent to.
    case addressAndPortDependent = "APD"
  }

  /// When a socket gets another external address.
  public var mapping: Mapping
  /// Whose packets come in.
  public var filtering: Filtering
  /// Whether two hosts behind the box reach each other by their external addresses (RFC 4787 §6).
  public var isHairpinning: Bool
  /// How long a binding lives without an outgoing packet. RFC 4787 §4.3 wants two minutes; boxes with 30 s are
  /// common.
  public var bindingLifetime: TimeDelta

  /// Describes a box.
  public init(
    mapping: Mapping, filtering: Filtering, isHairpinning: Bool = false,
    bindingLifetime: TimeDelta = .seconds(120)
  ) {
    self.mapping = mapping
    self.filtering = filtering
    self.isHairpinning = isHairpinning
    self.bindingLifetime = bindingLifetime
  }

  /// The four kinds of mapping with the three kinds of filtering.
  public static let all: [NATBehaviour] = Mapping.allCases.flatMap { mapping in
    Filtering.allCases.map { NATBehaviour(mapping: mapping, filtering: $0) }
  }

  /// How many external IP addresses a box of this kind has. A pool has more than one call makes bindings.
  public var externalAddressCount: Int { mapping == .pooled ? 64 : 1 }

  /// Mapping and filtering: `EI/APD`.
  public var description: String { "\(mapping.rawValue)/\(filtering.rawValue)" }
}
